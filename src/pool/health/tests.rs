//! Many things are late at once.

use super::*;

#[test]
fn the_longest_are_named_in_their_order_and_the_others_counted() {
    let words = |all: &[u64]| {
        let longest = Longest::of(all.iter().copied().zip('a'..));
        (longest.count, longest.words("late", |ns, name| format!("{name}{ns}")))
    };
    assert_eq!(words(&[]), (0, String::new()));
    assert_eq!(words(&[3]), (1, "a3".to_owned()));
    assert_eq!(words(&[3, 5]), (2, "b5, a3".to_owned()));
    assert_eq!(words(&[5, 9, 9, 1, 7]), (5, "b9, c9, 3 more late".to_owned()));
}
