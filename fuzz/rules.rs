//! Fuzzes the text of rules: the input is a text up to the first NUL, then a payload. fuzz/run.sh builds and runs it.

use capture_pipeline::kinds::{Definition, Definitions, EnumValue, Field, Integer, Type};
use capture_pipeline::rules::{Event, Known, Look, Ranges, RuleSet, Ruling, parse};
use std::collections::HashMap;
use std::sync::LazyLock;

static KINDS: LazyLock<(Definitions, HashMap<u32, &'static [u8]>)> = LazyLock::new(|| {
    let mut definition = Definition::new(7, "k");
    let values = vec![EnumValue { value: 1, name: "red".into() }, EnumValue { value: 2, name: "x".into() }];
    definition.fields = vec![
        Field::new("a", Type::Integer(Integer::U64), 0),
        Field::new("b", Type::Integer(Integer::I16), 8),
        Field::new("c", Type::Enum { integer: Integer::U8, values }, 10),
        Field::new("d", Type::F64, 11),
        Field::new("e", Type::F32, 19),
        Field::new("f", Type::Bool, 23),
        Field::new("g", Type::String, 24),
    ];
    definition.fit();
    let mut definitions = Definitions::default();
    assert!(definitions.admits(&definition).is_ok());
    definitions.append(definition);
    (definitions, HashMap::from([(7, &b"k"[..]), (8, b"n")]))
});

/// What libFuzzer calls with each input.
///
/// # Safety
/// `data` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, len: usize) -> i32 {
    // SAFETY: by contract; libFuzzer's pointer may be NULL only for no bytes.
    let input = if len == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(data, len) } };
    let (text, payload) = input.split_at(input.iter().position(|byte| *byte == 0).unwrap_or(len));
    let Ok(text) = std::str::from_utf8(text) else { return 0 };
    let rules = match parse(text) {
        Ok(rules) => rules,
        Err(fault) => {
            let lines = text.lines().count().max(1) as u32;
            assert!(
                fault.place.is_none_or(|(line, column)| (1..=lines).contains(&line) && column > 0),
                "{fault}"
            );
            return 0;
        }
    };
    let known = Known { definitions: &KINDS.0, more: None, names: &KINDS.1 };
    let Ok(set) = RuleSet::new(rules.clone(), false, 2, 0, known) else { return 0 };
    let dry = RuleSet::new(rules, true, 2, 0, known).expect("it is allowed, dry or not");
    let payload = payload.get(1..).unwrap_or_default();
    for kind in [7, 8, 9] {
        let event = Event { kind, flags: 0, correlation_id: u64::from(kind), node_id: 3, payload };
        let mut redact = Ranges::NONE;
        let (mut ruling, mut none) = (Ruling::default(), Ranges::NONE);
        let look = set.look(&event);
        let matched = set.judge(&event, 0, &mut ruling, &mut redact);
        assert!(!dry.judge(&event, 0, &mut { Ruling::default() }, &mut none) && none.is_empty());
        match look {
            Look::Passes => assert!(!matched),
            Look::Drops(rule) => assert!(matched && ruling.dropped_by == Some(rule)),
            Look::Unsure => {}
        }
        let mut copy = payload.to_vec();
        if matched {
            assert!(ruling.weight >= 1 && (!ruling.keep || ruling.weight == 1));
            redact.redact(&mut copy);
        }
        // Where a byte has changed it is 0.
        assert!(copy.iter().zip(payload).all(|(now, before)| now == before || *now == 0));
    }
    0
}
