//! The rules as a whole: from a text to a ruling.

mod property;
mod refusals;
mod rulings;
mod words;

use super::{Event, Known, Look, Ranges, Rule, RuleSet, Ruling, State, parse};
use crate::kinds::{Definition, Definitions, EnumValue, Field, Integer, Length, Type};
use crate::status::Result;
use std::collections::HashMap;

/// Kinds as a pipeline knows them.
#[derive(Default)]
struct Kinds {
    definitions: Definitions,
    names: HashMap<u32, &'static [u8]>,
}

impl Kinds {
    fn known(&self) -> Known<'_> {
        Known { definitions: &self.definitions, more: None, names: &self.names }
    }

    fn name(&mut self, kind: u32, name: &'static str) {
        self.names.insert(kind, name.as_bytes());
    }

    fn define(&mut self, definition: Definition) {
        self.name(definition.kind, definition.name.clone().leak());
        assert!(self.definitions.admits(&definition).unwrap());
        self.definitions.append(definition);
    }

    fn set(&self, text: &str) -> Result<RuleSet> {
        self.set_of(parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}")))
    }

    fn set_of(&self, rules: Vec<Rule>) -> Result<RuleSet> {
        RuleSet::new(rules, false, 4, 0, self.known())
    }
}

/// The kind 7, "alloc": size u64 at 0, change i16 at 8, ok bool at 10, status enum u8 at 11, ratio f32 at 12, name string of 8 at 16, the rest bytes.
fn alloc() -> Definition {
    let mut definition = Definition::new(7, "alloc");
    let values =
        vec![EnumValue { value: 0, name: "fine".into() }, EnumValue { value: 3, name: "error".into() }];
    let mut name = Field::new("name", Type::String, 16);
    name.length = Length::Fixed(8);
    definition.fields = vec![
        Field::new("size", Type::Integer(Integer::U64), 0),
        Field::new("change", Type::Integer(Integer::I16), 8),
        Field::new("ok", Type::Bool, 10),
        Field::new("status", Type::Enum { integer: Integer::U8, values }, 11),
        Field::new("ratio", Type::F32, 12),
        name,
        Field::new("data", Type::Bytes, 24),
    ];
    definition.fit();
    definition
}

/// The kind 8, "free": size u32 at 4, site address at 8.
fn free() -> Definition {
    let mut definition = Definition::new(8, "free");
    definition.fields =
        vec![Field::new("size", Type::Integer(Integer::U32), 4), Field::new("site", Type::Address, 8)];
    definition.fit();
    definition
}

fn event(kind: u32, payload: &[u8]) -> Event<'_> {
    Event { kind, flags: 0, correlation_id: 0, node_id: 0, payload }
}

/// What the rules say of an event. What is known of it at once must agree with that, also in what is counted.
fn judged(set: &RuleSet, event: &Event<'_>, producer: u32) -> (Option<Ruling>, Ranges) {
    let counts = || (0..set.rules().len()).map(|rule| set.counts_of(rule)).collect::<Vec<_>>();
    let mut redact = Ranges::NONE;
    let mut ruling = Ruling::default();
    let (look, mut before) = (set.look(event), counts());
    let matched = set.judge(event, producer, &mut ruling, &mut redact);
    match look {
        Look::Passes => {
            assert!(!matched && before == counts(), "a rule matches what is said to pass: {event:?}")
        }
        Look::Drops(rule) => {
            before[rule as usize].matched += 1;
            assert!(matched && before == counts(), "{event:?} is said to be dropped by {rule} alone");
            assert_eq!(ruling.dropped_by, Some(rule), "{event:?}");
        }
        Look::Unsure => {}
    }
    (matched.then_some(ruling), redact)
}

/// What the rules say, in short: the rule that drops, or what is done.
fn words((ruling, redact): (Option<Ruling>, Ranges)) -> String {
    let Some(ruling) = ruling else { return "-".into() };
    if let Some(rule) = ruling.dropped_by {
        return format!("drop by {rule}");
    }
    let mut words = Vec::new();
    if ruling.keep {
        words.push(if ruling.promote { "keep trace".into() } else { "keep".to_owned() });
    }
    if ruling.weight > 1 {
        words.push(format!("1/{} by {}", ruling.weight, ruling.sampled_by));
    }
    if ruling.priority {
        words.push("priority".into());
    }
    if ruling.snapshot {
        words.push("snapshot".into());
    }
    if ruling.tags != 0 {
        words.push(format!("tags {:#b}", ruling.tags));
    }
    words.extend(redact.list().iter().map(|range| match range.end {
        u32::MAX => format!("redact {}..", range.start),
        end => format!("redact {}..{end}", range.start),
    }));
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}
