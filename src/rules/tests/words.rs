//! Rules on single numbers of the payload, of every size, at every place, against a plain comparison: also what is known of an event at once.

use super::*;
use crate::rules::tests::property::Random;

const INTEGERS: [Integer; 8] = [
    Integer::U8,
    Integer::U16,
    Integer::U32,
    Integer::U64,
    Integer::I8,
    Integer::I16,
    Integer::I32,
    Integer::I64,
];

/// The number in the payload. `None`: the payload is too short.
fn read(payload: &[u8], offset: usize, integer: Integer) -> Option<i128> {
    let size = integer.size() as usize;
    let bytes = payload.get(offset..offset + size)?;
    let unsigned = bytes.iter().rev().fold(0, |number, byte| number << 8 | i128::from(*byte));
    let negative = integer.signed() && bytes[size - 1] >= 128;
    Some(if negative { unsigned - (1 << (8 * size)) } else { unsigned })
}

/// A number near an end of the range, near 0, or anywhere, and also outside.
fn near(random: &mut Random, (least, most): (i128, i128)) -> i128 {
    let near = [least, most, 0, (least + most) / 2 + random.below(1 << 20) as i128];
    random.one_of(&near) + random.below(7) as i128 - 3
}

#[test]
fn a_number_of_any_size_at_any_place_is_compared_as_a_plain_evaluator_does() {
    let mut random = Random(7);
    let (mut passed, mut dropped, mut unsure) = (0, 0, 0);
    for round in 0..6_000 {
        let (integer, offset) = (random.one_of(&INTEGERS), random.below(12));
        let (size, range) = (integer.size() as usize, integer.range());
        let mut definition = Definition::new(7, "k");
        definition.fields = vec![Field::new("n", Type::Integer(integer), offset as u32)];
        definition.fit();
        let mut kinds = Kinds::default();
        kinds.define(definition);

        let (operator, bound, not) = (
            random.one_of(&["=", "!=", "<", "<=", ">", ">=", "in"]),
            near(&mut random, range),
            random.below(3) == 0,
        );
        let list: Vec<_> = (0..1 + random.below(3)).map(|_| near(&mut random, range)).collect();
        let words: Vec<_> = list.iter().map(i128::to_string).collect();
        let right = if operator == "in" { format!("({})", words.join(", ")) } else { bound.to_string() };
        let text = format!("drop if {} (n {operator} {right})", if not { "not" } else { "" });
        let set = kinds.set(&text).unwrap();

        let mut payload: Vec<u8> = (0..random.below(26)).map(|_| random.below(256) as u8).collect();
        if random.below(2) == 0
            && let Some(place) = payload.get_mut(offset..offset + size)
        {
            let near = if operator == "in" { list[0] } else { bound } + random.below(3) as i128 - 1;
            place.copy_from_slice(&near.to_le_bytes()[..size]);
        }
        let holds = read(&payload, offset, integer).is_some_and(|number| match operator {
            "=" => number == bound,
            "!=" => number != bound,
            "<" => number < bound,
            "<=" => number <= bound,
            ">" => number > bound,
            ">=" => number >= bound,
            _ => list.contains(&number),
        });
        let (event, want) = (event(7, &payload), if holds == not { "-" } else { "drop by 0" });
        assert_eq!(words_of(&set, &event), want, "{round}: {text} {integer:?} at {offset} of {payload:?}");
        // Where eight bytes end with the number, or begin the payload and have it, one look is enough.
        let plain = payload.len() >= 8.max(offset + size) && operator != "in";
        match set.look(&event) {
            Look::Passes => passed += 1,
            Look::Drops(0) => dropped += 1,
            // (What holds for no number, or for any, is not asked as a word.)
            _ => {
                assert!(
                    !plain || bound < range.0 || bound > range.1 || holds == not,
                    "{text} {integer:?} {payload:?}"
                );
                unsure += 1;
            }
        }
    }
    assert!(passed > 1_200 && dropped > 900 && unsure > 600, "{passed} {dropped} {unsure}");
}

fn words_of(set: &RuleSet, event: &Event<'_>) -> String {
    words(judged(set, event, 0))
}
