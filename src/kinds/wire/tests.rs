use super::*;
use crate::platform::random::mix;

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % sides
    }

    fn text(&mut self, most: u64) -> String {
        let characters = ['a', 'Z', '0', ' ', '\'', '"', ';', 'µ', '€', '\u{1F600}'];
        let wanted = self.roll(most + 1) as usize;
        let mut text = String::new();
        loop {
            let next = characters[self.roll(10) as usize];
            if text.len() + next.len_utf8() > wanted {
                return text;
            }
            text.push(next);
        }
    }

    fn integer(&mut self) -> Integer {
        Integer::ALL[self.roll(8) as usize]
    }

    fn field_type(&mut self) -> Type {
        match self.roll(9) {
            0 => Type::F32,
            1 => Type::F64,
            2 => Type::Bool,
            3 => Type::Address,
            4 => Type::String,
            5 => Type::Bytes,
            6 => {
                let integer = self.integer();
                let (least, greatest) = integer.range();
                let mut values = Vec::new();
                for n in 0..=self.roll(9) {
                    let value = if n % 2 == 0 { least + i128::from(n) } else { greatest - i128::from(n) };
                    values.push(EnumValue { value, name: format!("{n}{}", self.text(20)) });
                }
                Type::Enum { integer, values }
            }
            _ => Type::Integer(self.integer()),
        }
    }
}

/// An allowed definition.
fn random(seed: u64) -> Definition {
    let mut dice = Dice(seed << 20);
    let mut definition = Definition::new(dice.roll(0xFFFF_0000) as u32, "k");
    definition.name = "k".repeat(1 + dice.roll(63) as usize);
    definition.category = dice.text(63);
    let mut offset = 0;
    let fields = dice.roll(65);
    for n in 0..fields {
        let mut field = Field::new(&format!("f_{n}"), dice.field_type(), offset + dice.roll(9) as u32);
        if field.length == Length::Rest && (n + 1 < fields || dice.roll(2) == 0) {
            field.length = Length::Fixed(1 + dice.roll(100) as u32);
        }
        field.unit = dice.text(31);
        field.hint = match field.field_type {
            Type::Integer(_) => Hint::ALL[dice.roll(4) as usize],
            Type::Address | Type::Bytes => Hint::ALL[dice.roll(2) as usize],
            _ => Hint::None,
        };
        offset = field.end().unwrap_or(0) as u32;
        definition.fields.push(field);
    }
    definition.fit();
    definition.size += dice.roll(2) as u32 * 7;
    definition.role = Role::ALL[dice.roll(7) as usize];
    let integer = definition.fields.iter().position(|field| matches!(field.field_type, Type::Integer(_)));
    match definition.role {
        Role::Begin | Role::End => {
            definition.pairs_with = Some((definition.kind + 1) % 0xFFFF_0000);
        }
        Role::Complete => definition.duration_field = integer,
        _ => {}
    }
    if integer.is_none() && matches!(definition.role, Role::Complete | Role::Counter) {
        definition.role = Role::Log;
    }
    definition.key_field = fields.checked_sub(1).filter(|_| dice.roll(2) == 0).map(|last| last as usize);
    definition
}

#[test]
fn a_definition_is_read_as_it_was_written() {
    let mut fields = 0;
    for seed in 0..1_000 {
        let definition = random(seed);
        let bytes = definition.to_bytes();
        assert_eq!(bytes.len(), definition.encoded_len());
        match definition.check() {
            Ok(()) => assert_eq!(Definition::from_bytes(&bytes).as_ref(), Ok(&definition), "{seed}"),
            // The one rule that the dice do not know.
            Err(why) => assert!(why.reason.starts_with("the names and values take"), "{seed}: {why}"),
        }
        fields += definition.fields.len();
    }
    assert!(fields > 20_000);
}

#[test]
fn the_wire_form_is_that_of_the_documentation() {
    let mut definition = Definition::new(0x0102_0304, "k");
    definition.category = "cat".into();
    (definition.role, definition.duration_field) = (Role::Complete, Some(0));
    let values = vec![EnumValue { value: -1, name: "no".into() }];
    definition.fields = vec![
        Field {
            unit: "ns".into(),
            hint: Hint::Nanoseconds,
            ..Field::new("t", Type::Integer(Integer::U64), 0)
        },
        Field::new("e", Type::Enum { integer: Integer::I16, values }, 8),
        Field::new("r", Type::Bytes, 10),
    ];
    definition.key_field = Some(1);
    definition.fit();
    #[rustfmt::skip]
    let expected = [
        &[1, 0, 24, 0, 4, 3, 2, 1, 3, 0, 3, 0, 2, 0, 1, 0, 255, 255, 255, 255, 10, 0, 0, 0, 1, b'k', 3, b'c', b'a', b't'][..],
        &[21, 0, 4, 0, 3, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, b't', 2, b'n', b's'],
        &[30, 0, 15, 6, 0, 0, 1, 0, 8, 0, 0, 0, 2, 0, 0, 0, 1, b'e', 0, 255, 255, 255, 255, 255, 255, 255, 255, 2, b'n', b'o'],
        &[19, 0, 14, 0, 0, 0, 0, 0, 10, 0, 0, 0, 255, 255, 255, 255, 1, b'r', 0],
    ];
    assert_eq!(definition.to_bytes(), expected.concat());
}

#[test]
fn what_a_later_version_appends_is_passed_over() {
    let definition = random(5);
    let bytes = definition.to_bytes();
    let header = HEADER;
    let mut longer = [&bytes[..header], &[7; 3], &bytes[header..]].concat();
    longer[2] += 3;
    longer.extend([1, 2, 3]);
    assert_eq!(Definition::from_bytes(&longer), Ok(definition.clone()));
    // In the last field, and with an unknown hint.
    let last = definition.fields.last().map_or(0, |field| bytes.len() - field.encoded_len());
    let mut longer = [&bytes[..], &[9; 5]].concat();
    longer[last] += 5;
    longer[last + 4] = 200;
    let read = Definition::from_bytes(&longer).map(|read| read.same_layout(&definition));
    assert_eq!(read, Ok(Ok(())));
}

#[test]
fn bytes_that_are_no_definition_are_refused_by_what_is_wrong() {
    let good = {
        let mut definition = Definition::new(7, "kind");
        definition.fields = vec![Field::new("size", Type::Integer(Integer::U64), 0)];
        definition.fit();
        definition.to_bytes()
    };
    let field = HEADER + 5 + 1;
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        Definition::from_bytes(&bytes).map_or_else(|why| why.to_string(), |_| "read".into())
    };
    for (at, to, expected) in [
        (0, &[2][..], "definition: version 2; this library reads version 1"),
        (2, &[23], "definition: its header has 23 bytes, at least 24 expected"),
        (2, &[0, 9], "definition: it is cut at 52 bytes"),
        (6, &[255, 255], "kind: below 0xffff0000 allowed, 0xffff0007 given"),
        (8, &[7], "role: 0 to 6 allowed, 7 given"),
        (10, &[65], "fields: at most 64 allowed, 65 given"),
        (10, &[2], "definition: it is cut at 52 bytes"),
        (12, &[2], "key_field: fields[1] is missing, there are 1 fields"),
        (14, &[1], "duration_field: only for the role complete, given with instant"),
        (16, &[1, 0, 0, 0], "pairs_with: only for the roles begin and end, 1 given with instant"),
        (20, &[7], "field size: offset 0, length 8 is outside of the payload, which has 7 bytes"),
        (24, &[200], "definition: it is cut at 52 bytes"),
        (25, &[0xFF], "name: UTF-8 expected, \"\\\\xffind\" given"),
        (field, &[15], "field fields[0]: it is cut at 15 bytes"),
        (field, &[255], "definition: it is cut at 52 bytes"),
        (field + 2, &[0], "field size: type: 0 is unknown"),
        (field + 2, &[16], "field size: type: 16 is unknown"),
        (field + 2, &[15], "field size: type: an enum's integer is 1 to 8, 0 given"),
        (field + 6, &[255, 255], "field fields[0]: it is cut at 22 bytes"),
        (field + 12, &[255; 4], "field size: length: the rest is for strings and bytes, u64 has 8"),
        (field + 17, &[0xC3, 0x28], "field fields[0]: name: UTF-8 expected, \"\\\\xc3(ze\" given"),
    ] {
        assert_eq!(changed(at, to), expected, "{at}");
    }
    assert_eq!(changed(field + 4, &[99]), "read");
    for cut in 0..good.len() {
        assert!(Definition::from_bytes(&good[..cut]).is_err(), "{cut}");
    }
    let why = Definition::from_bytes(&vec![0; MAX_BYTES + 1]).unwrap_err().to_string();
    assert_eq!(why, "definition: at most 16384 bytes allowed, 16385 given");
}

#[test]
fn hostile_bytes_never_panic_and_what_is_read_is_allowed() {
    let mut read = 0;
    for seed in 0..6_000 {
        let mut dice = Dice(seed << 20);
        let mut bytes = random(seed % 500).to_bytes();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(bytes.len() as u64) as usize;
            match dice.roll(5) {
                0 => bytes[at] = dice.roll(256) as u8,
                1 => bytes[at] ^= 1 << dice.roll(8),
                2 => bytes.truncate(at.max(1)),
                3 => bytes.insert(at, [0, 255][dice.roll(2) as usize]),
                _ => {
                    let end = bytes.len().min(at + 8);
                    bytes[at..end].fill(255);
                }
            }
        }
        if let Ok(definition) = Definition::from_bytes(&bytes) {
            read += 1;
            assert_eq!(definition.check(), Ok(()), "{seed}");
            assert_eq!(Definition::from_bytes(&definition.to_bytes()).as_ref(), Ok(&definition), "{seed}");
            let payload = &bytes[..dice.roll(bytes.len() as u64) as usize];
            for (field, value) in definition.values(payload) {
                let fits = field.end().unwrap_or(field.offset.into()) <= payload.len() as u64;
                assert_eq!(value.is_some(), fits, "{seed} {}", field.name);
                assert!(!field.show(payload).to_string().contains(char::is_control), "{seed} {}", field.name);
            }
        }
    }
    assert!(read > 200, "{read}");
}
