use super::*;
use crate::kinds::{Definition, EnumValue, Field, Integer, Length, Type};

#[derive(Clone, Debug, Default)]
struct Event {
    payload: Vec<u8>,
    wall_time: u64,
    thread_name: Option<Vec<u8>>,
}

impl Subject for Event {
    fn payload(&self) -> &[u8] {
        &self.payload
    }
    fn number(&self, own: Own) -> Option<u64> {
        Some(match own {
            Own::WallTime => self.wall_time,
            Own::Time => 77,
            Own::Generation => u64::MAX,
            Own::RingId => 3,
            Own::Sequence => 4,
            Own::CorrelationId => 5,
            Own::NodeId => 6,
            Own::Flags => 7,
            Own::PayloadBytes => self.payload.len() as u64,
            Own::ThreadId if self.thread_name.is_some() => 9,
            _ => return None,
        })
    }
    fn weight(&self) -> f64 {
        1.5
    }
    fn thread_name(&self) -> Option<&[u8]> {
        self.thread_name.as_deref()
    }
}

/// The kind 7, "sample".
fn definition() -> Definition {
    let mut definition = Definition::new(7, "sample");
    let values =
        vec![EnumValue { value: 1, name: "red".into() }, EnumValue { value: 2, name: "green".into() }];
    let mut name = Field::new("name", Type::String, 40);
    name.length = Length::Fixed(8);
    definition.fields = vec![
        Field::new("size", Type::Integer(Integer::U64), 0),
        Field::new("change", Type::Integer(Integer::I32), 8),
        Field::new("ok", Type::Bool, 12),
        Field::new("color", Type::Enum { integer: Integer::U8, values }, 13),
        Field::new("ratio", Type::F32, 16),
        Field::new("exact", Type::F64, 20),
        Field::new("site", Type::Address, 28),
        Field::new("len", Type::Integer(Integer::U16), 36),
        name,
        Field::new("key", Type::Bytes, 48),
    ];
    definition.fit();
    definition.check().expect("a definition");
    definition
}

fn event() -> Event {
    let mut payload = Vec::new();
    payload.extend_from_slice(&(3_u64 << 20).to_le_bytes());
    payload.extend_from_slice(&(-5_i32).to_le_bytes());
    payload.extend_from_slice(&[1, 2, 0, 0]);
    payload.extend_from_slice(&0.1_f32.to_le_bytes());
    payload.extend_from_slice(&0.1_f64.to_le_bytes());
    payload.extend_from_slice(&0x7FFF_1234_u64.to_le_bytes());
    payload.extend_from_slice(&[0xFF, 0x01, 0, 0]);
    payload.extend_from_slice(b"alpha\0xx");
    payload.extend_from_slice(&[0xDE, 0xAD, 0xBE, 0xEF]);
    Event { payload, wall_time: 1_700_000_000_500_000_000, thread_name: Some(b"main".to_vec()) }
}

fn answer(text: &str) -> bool {
    let expression = Expression::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
    expression.bind(7, Some(b"sample"), Some(&definition())).matches(&event())
}

#[test]
fn comparisons_of_fields_with_values() {
    for text in [
        "size = 3145728",
        "size == 0x30_0000",
        "size = 3 MiB",
        "size = 3MiB and size > 3 MB",
        "size >= 3MiB && size <= 3 MiB || size = 1",
        "1 MiB < size",
        "size != 4",
        "size <> 4",
        "SIZE > 3.1e6 and Size < 3.2e+6",
        "change < 0 and change = -5 and change > -5.5 and change != -4.5",
        "ok and ok = true and ok != false and ok = 1",
        "color = \"green\" and color = 2 and color != 'red' and color != 1",
        "color in ('blue', \"green\") and color in (0, 2) and not color in (3)",
        "ratio = 0.1 and exact = 0.1 and ratio != exact",
        "site = 0x7fff1234 and site > 0x7fff_0000",
        "name = 'alpha' and name > \"al\" and name < 'b' and name contains 'lph' and name contains ''",
        "key = x'deadbeef' and key contains x\"ADBE\" and key = '\\xde\\xad\\xbe\\xef'",
        "size > change and change < size",
        "sample.size = size and Sample.LEN = 511",
        "len = 511 and _len = 52 and payload_bytes = 52",
        "kind = 7 and kind = 'sample' and kind_name = \"sample\" and kind contains 'amp' and kind in ('x', 'sample')",
        "time > '2023-11-14' and time < \"2023-11-14T22:13:21Z\" and _time in ('2023-11-14 22:13:20.5')",
        "wall_time = 1700000000500000000 and time_ns = 77ns and generation = 0xffff_ffff_ffff_ffff",
        "ring = 3 and ring_id = 3 and sequence = 4 and correlation_id = 5 and node_id = 6 and flags = 7 and weight = 1.5",
        "tid = 9 and thread = 'main' and thread_name contains 'ai' and payload contains x'adbeef'",
        "not size = 4 and !(size = 4) and not not size",
        "size = 4 or size = 5 or size = 3MiB",
        "size = 4 and size = 5 or size = 3MiB",
        "(size = 3MiB or size = 5) and true",
        "1ms = 1000000 and 1 h = 60 min and 1.5 us = 1500",
    ] {
        assert!(answer(text), "{text}");
        assert!(!answer(&format!("not ({text})")), "not ({text})");
    }
}

#[test]
fn a_comparison_with_what_is_absent_or_of_another_type_is_false() {
    for text in [
        "nothing = 1",
        "nothing != 1",
        "nothing",
        "nothing in (1)",
        "1 = nothing",
        "other.size = 3 MiB",
        "size = 'x'",
        "size != 'x'",
        "size contains 3",
        "size contains 'x'",
        "name = 3",
        "name != 3",
        "key < 3",
        "size in ()",
        "kind = 'other'",
        "sample.kind = 7",
    ] {
        match Expression::parse(text) {
            Ok(_) => {
                assert!(!answer(text), "{text}");
                assert!(answer(&format!("not {text}")), "not {text}");
            }
            Err(_) => assert_eq!(text, "size in ()"),
        }
    }
    // The payload is too short for the field.
    let bound =
        |text: &str| Expression::parse(text).expect("parsed").bind(7, Some(b"sample"), Some(&definition()));
    let short = Event { payload: vec![1; 9], ..event() };
    assert!(bound("size = 0x0101010101010101").matches(&short));
    for text in ["change = 1", "change != 1", "change", "name != ''", "key = ''"] {
        assert!(!bound(text).matches(&short), "{text}");
    }
    // Without a definition, names are those of every event.
    let bound = |text: &str| Expression::parse(text).expect("parsed").bind(7, None, None);
    let event = Event { thread_name: None, ..event() };
    for (text, expected) in [
        ("len = 52", true),
        ("size = 3145728", false),
        ("kind_name = ''", false),
        ("tid", false),
        ("kind = 7", true),
    ] {
        assert_eq!(bound(text).matches(&event), expected, "{text}");
    }
}

#[test]
fn not_a_number_is_unequal_to_all() {
    let mut event = event();
    event.payload[20..28].copy_from_slice(&f64::NAN.to_le_bytes());
    let answer = |text: &str| {
        Expression::parse(text).expect("parsed").bind(7, None, Some(&definition())).matches(&event)
    };
    assert!(answer("exact != 1 and exact != exact and exact != 0.5"));
    for text in ["exact = exact", "exact < 1", "exact >= 1", "exact = size", "exact > size"] {
        assert!(!answer(text), "{text}");
    }
}

#[test]
fn large_numbers_are_compared_exactly() {
    let mut event = event();
    for (size, text, expected) in [
        (u64::MAX, "size = 18446744073709551615", true),
        (u64::MAX, "size > 9223372036854775807", true),
        (u64::MAX, "size < 18446744073709551616.0", true),
        ((1 << 53) + 1, "size > 9007199254740992.0", true),
        ((1 << 53) + 1, "size = 9007199254740992.0", false),
        (u64::MAX, "size < 1e300 and size > -1e300", true),
        (0, "size = 0.0 and size > -0.5 and size < 0.5", true),
    ] {
        event.payload[..8].copy_from_slice(&size.to_le_bytes());
        let bound = Expression::parse(text).expect("parsed").bind(7, None, Some(&definition()));
        assert_eq!(bound.matches(&event), expected, "{text}");
    }
}

#[test]
fn what_is_the_same_for_all_events_of_a_kind_is_decided_when_it_is_bound() {
    let always = |text: &str| {
        Expression::parse(text).expect("parsed").bind(7, Some(b"sample"), Some(&definition())).always()
    };
    for (text, expected) in [
        ("kind = 'sample'", Some(true)),
        ("kind = 8 and size > 3", Some(false)),
        ("kind = 7 and size > 3", None),
        ("kind = 7 or size > 3", Some(true)),
        ("kind = 8 or size > 3", None),
        ("nothing > 1", Some(false)),
        ("not nothing > 1", Some(true)),
        ("other.size > 1 or 1 = 2", Some(false)),
        ("size > 3", None),
    ] {
        assert_eq!(always(text), expected, "{text}");
    }
}

#[test]
fn the_fields_of_an_expression_are_known() {
    let expression = Expression::parse("a.size > 1 and not (len in (b, 2) or _kind = c)").expect("parsed");
    let expected = [(Some("a"), "size"), (None, "len"), (None, "b"), (None, "c")];
    assert_eq!(expression.fields(), expected);
}

#[test]
fn the_texts_that_fields_are_compared_with_are_known() {
    let text = r#"a.state = "on" and not ("off" != state or level in (1, "high", "low") or name contains "x" or size < "y" or state)"#;
    let expression = Expression::parse(text).expect("parsed");
    let expected: [(Option<&str>, &str, &[u8]); 4] = [
        (Some("a"), "state", b"on"),
        (None, "state", b"off"),
        (None, "level", b"high"),
        (None, "level", b"low"),
    ];
    assert_eq!(expression.compared_texts(), expected);
}

#[test]
fn a_text_that_is_no_expression_is_refused_with_the_place() {
    for (text, at, part) in [
        ("", 0, "the end found"),
        ("size >", 6, "the end found"),
        ("size > > 1", 7, "'>' found"),
        ("size 5", 5, "5 found"),
        ("5", 1, "a comparison expected"),
        ("'x'", 3, "a comparison expected"),
        ("(size = 1", 9, "')' expected"),
        ("size = 1)", 8, "')' found"),
        ("size = 1 size", 9, "'size' found"),
        ("size = 5 parsecs", 9, "'parsecs' found"),
        ("size = 5parsecs", 8, "unknown unit 'parsecs'"),
        ("size = 'x", 7, "no closing quote"),
        ("size = '\\q'", 8, "have a meaning"),
        ("size = '\\x0g'", 8, "hexadecimal"),
        ("key = x'abc'", 7, "pairs"),
        ("ü = 1", 0, "no meaning"),
        ("'ü' = ü", 6, "no meaning"),
        ("size in 1", 8, "'(' expected"),
        ("size in (1 2)", 11, "',' or ')'"),
        ("a.b.c = 1", 0, "no name"),
        (".a = 1", 0, "no meaning"),
        ("a. = 1", 0, "no name"),
        ("_nothing = 1", 0, "_wall_time"),
        ("a._kind = 1", 0, "unknown name"),
        ("time = 'yesterday'", 7, "a time expected"),
        ("size = 0x", 7, "hexadecimal"),
        ("size = 0xfffffffffffffffffffffffffffffffff", 7, "31"),
        ("size = 999999999999999999999999999999999999999999", 7, "too large"),
        ("size = 99999999999999999999999999999999 TiB", 7, "too large"),
        ("and = 1", 0, "'and' found"),
        ("size = - x", 9, "a number expected"),
    ] {
        let problem = Expression::parse(text).expect_err(text);
        assert_eq!(problem.at, at, "{text}: {problem}");
        assert!(problem.to_string().contains(part), "{text}: {problem}");
    }
    let deep = |depth| format!("{}size{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expression::parse(&deep(MAX_DEPTH - 1)).is_ok());
    assert!(Expression::parse(&deep(MAX_DEPTH)).expect_err("too deep").reason.contains("nested"));
    assert!(Expression::parse(&"not ".repeat(60_000 / 4)).expect_err("too deep").reason.contains("nested"));
    assert!(Expression::parse(&" ".repeat(MAX_LEN + 1)).expect_err("too long").reason.contains("at most"));
}

/// Numbers that a seed determines.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

const WORDS: [&str; 48] = [
    "size",
    "change",
    "ok",
    "color",
    "ratio",
    "exact",
    "site",
    "name",
    "key",
    "len",
    "kind",
    "time",
    "thread",
    "_payload",
    "sample.size",
    "nothing",
    "1",
    "3 MiB",
    "0x30",
    "-5",
    "0.1",
    "1e300",
    "'alpha'",
    "\"green\"",
    "x'de'",
    "true",
    "and",
    "or",
    "not",
    "in",
    "contains",
    "(",
    ")",
    ",",
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "&&",
    "||",
    "!",
    "-",
    "'",
    "ü",
    "_",
    ".",
];

#[test]
fn no_text_makes_it_panic_and_what_is_parsed_obeys_logic() {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(30_000);
    let (definition, event) = (definition(), event());
    let mut random = Random(1);
    let (mut parsed, mut last) = (0, "true".to_owned());
    for _ in 0..rounds {
        let mut text = String::new();
        if random.below(3) == 0 {
            // A comparison, so that enough texts are expressions.
            let words = [
                WORDS[random.below(26)],
                ["=", "<", ">=", "!=", "contains"][random.below(5)],
                WORDS[random.below(26)],
            ];
            text = words.join(" ");
        } else {
            for _ in 0..random.below(9) {
                text += WORDS[random.below(WORDS.len())];
                text += ["", " "][random.below(2)];
            }
        }
        let Ok(expression) = Expression::parse(&text) else { continue };
        parsed += 1;
        let mut event = event.clone();
        event.payload.truncate(random.below(60));
        let answer =
            |expression: &Expression| expression.bind(7, Some(b"sample"), Some(&definition)).matches(&event);
        let combined = |text: String| {
            answer(&Expression::parse(&text).unwrap_or_else(|problem| panic!("{text}: {problem}")))
        };
        let (this, other) = (answer(&expression), combined(last.clone()));
        assert_eq!(combined(format!("not ({text})")), !this, "{text}");
        assert_eq!(combined(format!("({text}) and ({last})")), this && other, "{text} | {last}");
        assert_eq!(combined(format!("({text}) or ({last})")), this || other, "{text} | {last}");
        last = text;
    }
    assert!(parsed > rounds / 10, "{parsed} of {rounds}");
}
