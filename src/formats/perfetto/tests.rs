//! What the packets consist of. What the reader makes of them is checked with the reader itself.

use super::*;
use crate::kinds::Value;

#[test]
fn names_have_numbers_as_long_as_there_are_few() {
    let mut names = Names::default();
    let first = names.name(NameOf::Event, b"a");
    assert_eq!(names.name(NameOf::Event, b"a"), first);
    let other = names.name(NameOf::Annotation, b"a");
    assert_eq!((first.number, other.number), (1, 2));
    for n in 0..5_000 {
        names.name(NameOf::Text, format!("{n}").as_bytes());
    }
    let rest = names.name(NameOf::Event, b"b\0\xFF");
    assert_eq!((rest.number, &*rest.text), (0, "b\u{2400}\u{FFFD}"));
    assert_eq!(names.name(NameOf::Event, b"a"), first);
}

#[test]
fn an_event_has_the_difference_of_its_time_and_says_a_name_once() {
    let (mut encoder, mut names) = (Encoder::default(), Names::default());
    let mut sequence = Sequence::new(2, 77);
    let name = names.name(NameOf::Event, b"e");
    let field = names.name(NameOf::Annotation, b"f");
    let mut event = |ns| {
        encoder.out.clear();
        encoder.event(
            &mut sequence,
            Event { name: Some(&name), ..Event::new(ns, Mark::Instant) },
            |fields| {
                fields.value(&field, Value::Unsigned(5));
            },
        );
        encoder.out.clone()
    };
    let first = event(1_000);
    assert!(first.windows(5).any(|window| window == b"\x08\x01\x12\x01e"), "{first:?}");
    let second = event(1_003);
    assert_eq!(
        second,
        [10, 18, 0x40, 3, 0x50, 2, 0x68, 2, 0x5A, 10, 0x48, 3, 0x50, 1, 0x22, 4, 8, 2, 0x18, 5]
    );
}
