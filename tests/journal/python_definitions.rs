//! The definitions of kinds that Python reads by docs/format.md, and that it refuses, are those that the library reads and refuses.

use crate::random::Random;
use capture_pipeline::kinds::{Definition, EnumValue, Field, Hint, Integer, Length, Role, Type};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A definition that is allowed more often than not.
fn random_definition(random: &mut Random, kind: u32) -> Definition {
    let mut definition =
        Definition::new(kind, ["k", "Kind_2", "long_name_of_a_kind"][random.below(3) as usize]);
    definition.category = ["", "memory", "größe"][random.below(3) as usize].into();
    definition.role = Role::ALL[random.below(7) as usize];
    for index in 0..random.below(6) {
        let integer = Integer::ALL[random.below(8) as usize];
        let value = |value, name: &str| EnumValue { value, name: name.into() };
        let field_type = match random.below(9) {
            0..=2 => Type::Integer(integer),
            3 => Type::Enum { integer, values: vec![value(1, "one"), value(integer.range().1, "last")] },
            4 => [Type::F32, Type::F64][random.below(2) as usize].clone(),
            5 => Type::Bool,
            6 => Type::Address,
            7 => Type::String,
            _ => Type::Bytes,
        };
        let fixed = field_type.size().unwrap_or(1 + random.below(9) as u32);
        definition.fit();
        let offset = definition.size + random.below(3) as u32;
        let mut field = Field::new(&format!("f{index}"), field_type, offset);
        field.length = Length::Fixed(fixed);
        field.hint =
            if field.field_type.is_number() && random.one_in(3) { Hint::Nanoseconds } else { Hint::None };
        field.unit = ["", "ms", "m/s²"][random.below(3) as usize].into();
        definition.fields.push(field);
    }
    if let Some(last) = definition.fields.last_mut()
        && last.field_type.size().is_none()
        && random.one_in(2)
    {
        last.length = Length::Rest;
    }
    definition.fit();
    definition.size += random.below(2) as u32;
    let integer = definition.fields.iter().position(|field| matches!(field.field_type, Type::Integer(_)));
    definition.duration_field = integer.filter(|_| definition.role == Role::Complete);
    definition.key_field = (!definition.fields.is_empty() && random.one_in(3)).then_some(0);
    definition.pairs_with = matches!(definition.role, Role::Begin | Role::End).then_some(kind + 1);
    definition
}

/// A definition that breaks a rule, or may.
fn broken(random: &mut Random, definition: &mut Definition) {
    let texts = ["", "x", "X", "9x", "_x", "a b", "é", "tab\t", "del\u{7f}", "next\u{85}", "f0", "F0", "f1"];
    let text = |random: &mut Random| match random.below(3) {
        0 => "n".repeat([31, 32, 63, 64][random.below(4) as usize]),
        _ => texts[random.below(texts.len() as u64) as usize].to_owned(),
    };
    let near = |random: &mut Random, number: u32| number.wrapping_add(random.below(5) as u32).wrapping_sub(2);
    let count = definition.fields.len() as u64;
    let which = random.below(count.max(1)) as usize;
    match (random.below(15), definition.fields.get_mut(which)) {
        (0, _) => definition.name = text(random),
        (1, _) => definition.category = text(random),
        (2, _) => definition.role = Role::ALL[random.below(7) as usize],
        (3, _) => {
            definition.pairs_with =
                [None, Some(definition.kind), Some(5), Some(0xFFFF_0000)][random.below(4) as usize];
        }
        (4, _) => definition.key_field = Some(random.below(count + 2) as usize),
        (5, _) => definition.duration_field = Some(random.below(count + 2) as usize),
        (14, _) => definition.fields.reverse(),
        (6, _) => definition.size = near(random, definition.size),
        (7, Some(field)) => field.name = text(random),
        (8, Some(field)) => field.unit = text(random),
        (9, Some(field)) => field.hint = Hint::ALL[random.below(4) as usize],
        (10, Some(field)) => field.offset = near(random, field.offset),
        (11, Some(field)) => {
            field.length = match field.length {
                Length::Fixed(length) if random.one_in(2) => Length::Fixed(near(random, length)),
                _ => Length::Rest,
            };
        }
        (_, Some(Field { field_type: Type::Enum { integer, values }, .. })) => match random.below(4) {
            0 => values.clear(),
            1 => values[0].value = [integer.range().1, integer.range().0, -1, 200][random.below(4) as usize],
            2 => values[0].name = if random.one_in(2) { "last".into() } else { text(random) },
            _ => *integer = Integer::ALL[random.below(8) as usize],
        },
        _ => {}
    }
}

/// A payload that a byte, or a part, makes another one.
fn changed(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.below(3) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.below(20) as u8,
            2 => bytes.truncate(at.max(1)),
            3 => bytes.extend(random.bytes(4)),
            _ => bytes[at % 24] = random.below(8) as u8,
        }
    }
    bytes
}

fn shown(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    if digits.is_empty() { "-".into() } else { digits }
}

/// The line of definitions.py for a payload.
fn line(node: u64, bytes: &[u8]) -> String {
    let Ok(definition) = Definition::from_bytes(bytes) else { return "invalid".into() };
    if u64::from(definition.kind) != node {
        return "invalid".into();
    }
    let index = |index: Option<usize>| index.map_or(0, |index| index + 1);
    let mut words = format!(
        "{} {} {} {} {} {} {} {}",
        definition.kind,
        definition.role as u32,
        index(definition.key_field),
        index(definition.duration_field),
        definition.pairs_with.unwrap_or(u32::MAX),
        definition.size,
        shown(&definition.name),
        shown(&definition.category),
    );
    for field in &definition.fields {
        let (integer, values) = match &field.field_type {
            Type::Enum { integer, values } => (integer.code(), &values[..]),
            _ => (0, &[][..]),
        };
        let length = if let Length::Fixed(length) = field.length { length } else { u32::MAX };
        let (code, hint) = (field.field_type.code(), field.hint as u32);
        words += &format!(
            " field {} {code} {integer} {hint} {} {length} {}",
            shown(&field.name),
            field.offset,
            shown(&field.unit)
        );
        values.iter().for_each(|value| words += &format!(" {}={}", value.value, shown(&value.name)));
    }
    words
}

#[test]
fn python_reads_and_refuses_the_same_definitions() {
    let mut random = Random(7);
    let mut payloads = Vec::new();
    for _ in 0..4_000 {
        let kind = random.below(9) as u32;
        let mut definition = random_definition(&mut random, kind);
        let bytes = if random.one_in(2) {
            broken(&mut random, &mut definition);
            definition.to_bytes()
        } else {
            changed(&mut random, definition.to_bytes())
        };
        payloads.push((u64::from(kind) + u64::from(random.one_in(50)), bytes));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/definitions.py");
    let mut python = Command::new("python3");
    let mut python =
        python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs");
    let mut input = python.stdin.take().expect("a pipe");
    let requests: String =
        payloads.iter().map(|(node, bytes)| format!("{node} {}\n", digits(bytes))).collect();
    let writer = std::thread::spawn(move || input.write_all(requests.as_bytes()).expect("python3 reads"));
    let output = python.wait_with_output().expect("python3 ends");
    writer.join().expect("the thread");
    let answers = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), payloads.len());
    let (mut valid, mut reasons) = (0, BTreeSet::new());
    for ((node, bytes), answer) in payloads.iter().zip(answers) {
        let ours = line(*node, bytes);
        if let Some(reason) = answer.strip_prefix("invalid ") {
            reasons.insert(reason);
            assert_eq!(ours, "invalid", "Python: {reason}; node {node}, {}", digits(bytes));
        } else {
            valid += 1;
            let why = Definition::from_bytes(bytes).map(|definition| definition.kind);
            assert_eq!(ours, answer, "{why:?}; node {node}, {}", digits(bytes));
        }
    }
    assert!(valid > 1_000 && reasons.len() > 20, "{valid} valid, refused for {reasons:?}");
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
