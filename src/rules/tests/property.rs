//! Any set of rules against a plain evaluator, which looks every name up for each event and compares what it finds. Values are small numbers and short
//! texts, so that comparisons often hold.

use super::*;
use crate::rules::Range;

pub(super) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    pub fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

#[derive(Clone, Debug)]
enum Value {
    Name(&'static str),
    Integer(i64),
    Float(f64),
    Text(&'static str),
    Bool(bool),
}

#[derive(Clone, Debug)]
enum Condition {
    Or(Vec<Condition>),
    And(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Value, &'static str, Value),
    In(Value, Vec<Value>),
    Truth(Value),
}

const NAMES: [&str; 22] = [
    "kind",
    "kind",
    "kind_name",
    "correlation_id",
    "correlation_id",
    "node_id",
    "node_id",
    "_node_id",
    "flags",
    "payload_bytes",
    "len",
    "_payload",
    "size",
    "SIZE",
    "alloc.size",
    "free.size",
    "change",
    "ok",
    "status",
    "ratio",
    "name",
    "other.size",
];
const TEXTS: [&str; 7] = ["alloc", "free", "named", "fine", "error", "a", ""];
const INTEGERS: [i64; 14] = [0, 1, 2, 3, 4, 7, 8, 9, 24, -1, -2, 255, 256, i64::MAX];

fn value(random: &mut Random) -> Value {
    match random.below(10) {
        0..5 => Value::Integer(random.one_of(&INTEGERS)),
        5 => Value::Float(random.one_of(&[0.0, 0.5, 1.0, 2.5, -1.5, 1e30])),
        6 | 7 => Value::Text(random.one_of(&TEXTS)),
        8 => Value::Bool(random.below(2) == 0),
        _ => Value::Name(random.one_of(&NAMES)),
    }
}

fn condition(random: &mut Random, depth: usize) -> Condition {
    let parts =
        |random: &mut Random| (0..2 + random.below(2)).map(|_| condition(random, depth - 1)).collect();
    match random.below(if depth == 0 { 5 } else { 9 }) {
        0 => Condition::Truth(Value::Name(random.one_of(&NAMES))),
        1 => {
            let list = (0..1 + random.below(12)).map(|_| value(random)).collect();
            Condition::In(Value::Name(random.one_of(&NAMES)), list)
        }
        2..5 => {
            let operator = random.one_of(&["=", "=", "=", "!=", "<", "<=", ">", ">=", "contains"]);
            let (name, other) = (Value::Name(random.one_of(&NAMES)), value(random));
            if random.below(4) == 0 {
                Condition::Compare(other, operator, name)
            } else {
                Condition::Compare(name, operator, other)
            }
        }
        5 => Condition::Or(parts(random)),
        6 | 7 => Condition::And(parts(random)),
        _ => Condition::Not(Box::new(condition(random, depth - 1))),
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Name(name) => (*name).into(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => format!("'{text}'"),
        Value::Bool(value) => value.to_string(),
    }
}

fn text(condition: &Condition) -> String {
    let join =
        |parts: &[Condition], word| format!("({})", parts.iter().map(text).collect::<Vec<_>>().join(word));
    match condition {
        Condition::Or(parts) => join(parts, " or "),
        Condition::And(parts) => join(parts, " and "),
        Condition::Not(part) => format!("not ({})", text(part)),
        Condition::Compare(left, operator, right) => {
            format!("{} {operator} {}", value_text(left), value_text(right))
        }
        Condition::In(value, list) => {
            format!(
                "{} in ({})",
                value_text(value),
                list.iter().map(value_text).collect::<Vec<_>>().join(", ")
            )
        }
        Condition::Truth(value) => value_text(value),
    }
}

/// A value that was found.
#[derive(Clone, Debug)]
enum Found {
    Integer(i128),
    Single(f32),
    Literal(f64),
    Bytes(Vec<u8>),
    Named(i128, Option<&'static str>),
}

const KIND_NAMES: [(u32, &str); 3] = [(7, "alloc"), (8, "free"), (9, "named")];

fn bytes<const N: usize>(payload: &[u8], at: usize) -> Option<[u8; N]> {
    payload.get(at..at + N)?.try_into().ok()
}

fn look_up(name: &str, event: &Event<'_>) -> Option<Found> {
    let (kind, payload) = (event.kind, event.payload);
    let kind_name = KIND_NAMES.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name);
    Some(match (kind, name.to_lowercase().as_str()) {
        (7, "size" | "alloc.size") => Found::Integer(u64::from_le_bytes(bytes(payload, 0)?).into()),
        (8, "size" | "free.size") => Found::Integer(u32::from_le_bytes(bytes(payload, 4)?).into()),
        (7, "change") => Found::Integer(i16::from_le_bytes(bytes(payload, 8)?).into()),
        (7, "ok") => Found::Integer((*payload.get(10)? != 0).into()),
        (7, "status") => {
            let value = *payload.get(11)?;
            Found::Named(
                value.into(),
                match value {
                    0 => Some("fine"),
                    3 => Some("error"),
                    _ => None,
                },
            )
        }
        (7, "ratio") => Found::Single(f32::from_le_bytes(bytes(payload, 12)?)),
        (7, "name") => Found::Bytes(bytes::<8>(payload, 16)?.split(|byte| *byte == 0).next()?.to_vec()),
        (_, "kind") => Found::Named(kind.into(), kind_name),
        (_, "kind_name") => Found::Bytes(kind_name?.into()),
        (_, "correlation_id") => Found::Integer(event.correlation_id.into()),
        (_, "node_id" | "_node_id") => Found::Integer(event.node_id.into()),
        (_, "flags") => Found::Integer(event.flags.into()),
        (_, "payload_bytes" | "len") => Found::Integer(payload.len() as i128),
        (_, "_payload") => Found::Bytes(payload.to_vec()),
        _ => return None,
    })
}

fn find(value: &Value, event: &Event<'_>) -> Option<Found> {
    Some(match value {
        Value::Name(name) => look_up(name, event)?,
        Value::Integer(number) => Found::Integer((*number).into()),
        Value::Float(number) => Found::Literal(*number),
        Value::Text(text) => Found::Bytes(text.as_bytes().to_vec()),
        Value::Bool(value) => Found::Integer((*value).into()),
    })
}

fn number(found: &Found) -> Option<f64> {
    Some(match found {
        Found::Integer(number) | Found::Named(number, _) => *number as f64,
        Found::Single(number) => (*number).into(),
        Found::Literal(number) => *number,
        Found::Bytes(_) => return None,
    })
}

fn compare(left: &Found, operator: &str, right: &Found) -> bool {
    let texts = match (left, right) {
        (Found::Bytes(left), Found::Bytes(right)) => Some((left.clone(), right.clone())),
        (Found::Named(_, Some(left)), Found::Bytes(right)) => Some((left.as_bytes().to_vec(), right.clone())),
        (Found::Bytes(left), Found::Named(_, Some(right))) => Some((left.clone(), right.as_bytes().to_vec())),
        _ => None,
    };
    let order = match (&texts, left, right) {
        (Some((left, right)), ..) if operator == "contains" => {
            return right.is_empty() || left.windows(right.len()).any(|part| part == right.as_slice());
        }
        (Some((left, right)), ..) => Some(left.cmp(right)),
        (None, Found::Integer(a) | Found::Named(a, _), Found::Integer(b) | Found::Named(b, _)) => {
            Some(a.cmp(b))
        }
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => left.partial_cmp(&right),
            _ => return false,
        },
    };
    match (operator, order) {
        ("=", Some(order)) => order.is_eq(),
        ("!=", order) => order.is_none_or(|order| order.is_ne()),
        ("<", Some(order)) => order.is_lt(),
        ("<=", Some(order)) => order.is_le(),
        (">", Some(order)) => order.is_gt(),
        (">=", Some(order)) => order.is_ge(),
        _ => false,
    }
}

fn holds(condition: &Condition, event: &Event<'_>) -> bool {
    match condition {
        Condition::Or(parts) => parts.iter().any(|part| holds(part, event)),
        Condition::And(parts) => parts.iter().all(|part| holds(part, event)),
        Condition::Not(part) => !holds(part, event),
        Condition::Compare(left, operator, right) => match (find(left, event), find(right, event)) {
            (Some(left), Some(right)) => compare(&left, operator, &right),
            _ => false,
        },
        Condition::In(value, list) => find(value, event).is_some_and(|left| {
            list.iter().filter_map(|value| find(value, event)).any(|right| compare(&left, "=", &right))
        }),
        Condition::Truth(value) => match find(value, event) {
            Some(Found::Bytes(bytes)) => !bytes.is_empty(),
            Some(found) => number(&found) != Some(0.0),
            None => false,
        },
    }
}

/// Whether the rule waits for what it names: a kind of this name, or a value of the only enum.
fn waits(condition: &Condition) -> bool {
    let unknown = |left: &Value, right: &Value| match (left, right) {
        (Value::Name("kind" | "kind_name"), Value::Text(text)) => {
            !KIND_NAMES.iter().any(|(_, name)| name == text)
        }
        (Value::Name("status"), Value::Text(text)) => !["fine", "error"].contains(text),
        _ => false,
    };
    let other = |value: &Value| matches!(value, Value::Name("other.size"));
    match condition {
        Condition::Or(parts) | Condition::And(parts) => parts.iter().any(waits),
        Condition::Not(part) => waits(part),
        Condition::Compare(left, operator, right) => {
            other(left)
                || other(right)
                || (["=", "!="].contains(operator) && (unknown(left, right) || unknown(right, left)))
        }
        Condition::In(value, list) => {
            other(value) || list.iter().any(|right| other(right) || unknown(value, right))
        }
        Condition::Truth(value) => other(value),
    }
}

const ACTIONS: [&str; 9] = [
    "drop",
    "keep",
    "keep trace",
    "sample 1/2",
    "sample 1/7",
    "priority",
    "tag 3",
    "redact size, payload[20..]",
    "dry drop",
];

fn expected(rules: &[(&str, Condition)], event: &Event<'_>) -> String {
    let (mut ruling, mut redact): (Option<Ruling>, Ranges) = (None, Ranges::NONE);
    for (rule, (action, condition)) in rules.iter().enumerate() {
        if waits(condition) || !holds(condition, event) || *action == "dry drop" {
            continue;
        }
        let ruling = ruling.get_or_insert_with(Ruling::default);
        let rule = rule as u32;
        match *action {
            "drop" => return format!("drop by {rule}"),
            "keep" | "keep trace" => {
                (ruling.keep, ruling.promote, ruling.weight) = (true, *action == "keep trace", 1);
                return words((Some(*ruling), redact));
            }
            "sample 1/2" if ruling.weight < 2 => (ruling.weight, ruling.sampled_by) = (2, rule),
            "sample 1/7" if ruling.weight < 7 => (ruling.weight, ruling.sampled_by) = (7, rule),
            "priority" => ruling.priority = true,
            "tag 3" => ruling.tags |= 4,
            "redact size, payload[20..]" => {
                let size = match event.kind {
                    7 => Some(Range { start: 0, end: 8 }),
                    8 => Some(Range { start: 4, end: 8 }),
                    _ => None,
                };
                size.into_iter().for_each(|range| redact.add(range));
                redact.add(Range { start: 20, end: u32::MAX });
            }
            _ => {}
        }
    }
    words((ruling, redact))
}

#[test]
fn any_set_of_rules_says_what_a_plain_evaluator_says() {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000);
    let mut kinds = Kinds::default();
    kinds.define(alloc());
    kinds.define(free());
    kinds.name(9, "named");
    let mut random = Random(1);
    let (mut matched, mut waiting, mut several, mut passed, mut dropped) = (0, 0, 0, 0, 0);
    for round in 0..rounds {
        let count = if round % 50 == 0 { 150 } else { 1 + random.below(6) };
        let rules: Vec<_> =
            (0..count).map(|_| (random.one_of(&ACTIONS), condition(&mut random, 2))).collect();
        let lines: Vec<String> =
            rules.iter().map(|(action, when)| format!("{action} if {}\n", text(when))).collect();
        let set = kinds.set(&lines.concat()).unwrap_or_else(|error| panic!("{}: {error}", lines.concat()));
        for (rule, (_, condition)) in rules.iter().enumerate() {
            let waits = waits(condition);
            assert_eq!(
                set.state(rule) != Some(&State::Active),
                waits,
                "{}: {:?}",
                lines[rule],
                set.state(rule)
            );
            waiting += usize::from(waits);
        }
        for _ in 0..8 {
            let payload: Vec<u8> =
                (0..random.below(40)).map(|_| random.one_of(&[0, 0, 1, 2, 3, 255, b'a'])).collect();
            let event = Event {
                kind: random.one_of(&[1, 7, 7, 7, 8, 8, 9]),
                flags: random.below(3) as u32,
                correlation_id: random.one_of(&[0, 1, 2, 3, 255, u64::MAX]),
                node_id: random.one_of(&[0, 1, 4, 7, 8, u64::MAX]),
                payload: &payload,
            };
            match set.look(&event) {
                Look::Passes => passed += 1,
                Look::Drops(_) => dropped += 1,
                Look::Unsure => {}
            }
            let (got, want) = (words(judged(&set, &event, 0)), expected(&rules, &event));
            assert_eq!(got, want, "{event:?}\n{}", lines.concat());
            matched += usize::from(got != "-");
            several += usize::from(got.contains(','));
        }
    }
    let share = |n: usize| n * 100 / (8 * rounds);
    assert!(
        share(matched) > 30
            && share(several) > 3
            && share(passed) > 10
            && dropped > rounds / 10
            && waiting > rounds / 10,
        "{matched} {several} {passed} {dropped} {waiting} of {rounds}"
    );
}
