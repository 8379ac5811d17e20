//! The kinds and fields that a rule names, and whether they are known.

use super::known::Known;
use super::rule::{Redact, Rule};
use crate::expression::{Expression, Own};
use crate::kinds::{Definition, Type};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Whether a rule is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Active,
    /// It waits for what it names: the reason.
    Inactive(String),
}

/// What is known of the kinds, in the order in which it is looked up. Names are in lower case, except those that were given by themselves.
pub(super) struct Index<'a> {
    kinds: HashMap<String, &'a Definition>,
    fields: HashSet<String>,
    names: HashSet<&'a [u8]>,
}

/// Why a rule is not in effect.
pub(super) enum Not {
    /// What it names may become known.
    Yet(String),
    /// It names what cannot be.
    Ever(String),
}

/// What an event has before it is captured.
pub(super) fn is_known_at_capture(own: Own) -> bool {
    use Own::{CorrelationId, Flags, Kind, KindName, NodeId, Payload, PayloadBytes};
    matches!(own, Kind | KindName | CorrelationId | NodeId | Flags | PayloadBytes | Payload)
}

fn not_at_capture(own: Own, name: &str) -> Not {
    let known: Vec<&str> =
        Own::ALL.into_iter().filter(|own| is_known_at_capture(*own)).map(Own::name).collect();
    let of_field = if name.starts_with('_') { "" } else { "; a field of this name is KIND.FIELD" };
    Not::Ever(format!(
        "{name}: {} is not known when rules are applied, before the event is captured; known are {}{of_field}",
        own.name(),
        known.join(" ")
    ))
}

impl<'a> Index<'a> {
    pub fn new(known: Known<'a>) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase();
        let fields = known.all().flat_map(|definition| &definition.fields);
        Self {
            kinds: known.all().map(|definition| (lower(&definition.name), definition)).collect(),
            fields: fields.map(|field| lower(&field.name)).collect(),
            names: known.names.values().copied().collect(),
        }
    }

    /// Whether all that a rule names is known.
    pub fn check(&self, rule: &Rule) -> Result<(), Not> {
        if let Some(condition) = &rule.condition {
            self.check_condition(condition)?;
        }
        for part in &rule.actions.redact {
            let Redact::Field { kind, field } = part else { continue };
            if let (None, Some(_)) = (kind, Own::named(field)) {
                return Err(Not::Ever(format!(
                    "redact: {field} is no part of the payload; a field of this name is KIND.{field}"
                )));
            }
            self.check_field(kind.as_deref(), field)?;
        }
        Ok(())
    }

    fn check_condition(&self, condition: &Expression) -> Result<(), Not> {
        for own in condition.own() {
            if !is_known_at_capture(own) {
                return Err(not_at_capture(own, &format!("_{}", own.name())));
            }
        }
        for (kind, field) in condition.fields() {
            match (kind, Own::named(field)) {
                (None, Some(own)) if is_known_at_capture(own) => {}
                (None, Some(own)) => return Err(not_at_capture(own, field)),
                _ => self.check_field(kind, field)?,
            }
        }
        for (kind, field, text) in condition.compared_texts() {
            self.check_value(kind, field, text)?;
        }
        for name in condition.kind_names() {
            if !self.names.contains(name) {
                let name = String::from_utf8_lossy(name);
                return Err(Not::Yet(format!("no kind has the name {name:?} yet")));
            }
        }
        Ok(())
    }

    fn check_field(&self, kind: Option<&str>, field: &str) -> Result<(), Not> {
        let Some(kind) = kind else {
            return if self.fields.contains(&field.to_ascii_lowercase()) {
                Ok(())
            } else {
                Err(Not::Yet(format!("no defined kind has a field {field} yet")))
            };
        };
        match self.kinds.get(&kind.to_ascii_lowercase()) {
            None => Err(Not::Yet(format!("the kind {kind} is not defined yet"))),
            Some(definition) if definition.field_named(field).is_some() => Ok(()),
            Some(definition) => {
                let known: Vec<&str> = definition.fields.iter().map(|field| field.name.as_str()).collect();
                let known = if known.is_empty() { "no fields".into() } else { known.join(" ") };
                Err(Not::Ever(format!("the kind {} has no field {field}; it has {known}", definition.name)))
            }
        }
    }

    /// A text that a field is compared with is the name of a value, where the field is an enum in every kind that has it.
    fn check_value(&self, kind: Option<&str>, field: &str, text: &[u8]) -> Result<(), Not> {
        let mut names = BTreeSet::new();
        let asked = kind.map(str::to_ascii_lowercase);
        let definitions: Box<dyn Iterator<Item = &&Definition>> = match &asked {
            Some(kind) => Box::new(self.kinds.get(kind).into_iter()),
            None => Box::new(self.kinds.values()),
        };
        for definition in definitions {
            let found = definition.field_named(field).map(|index| &definition.fields[index].field_type);
            match found {
                None => {}
                Some(Type::Enum { values, .. }) => {
                    names.extend(values.iter().map(|value| value.name.as_str()))
                }
                Some(_) => return Ok(()),
            }
        }
        if names.is_empty() || names.iter().any(|name| name.as_bytes() == text) {
            return Ok(());
        }
        let (text, names) = (String::from_utf8_lossy(text), names.into_iter().collect::<Vec<_>>().join(" "));
        let reason = format!("{field} has no value named {text:?}; there are {names}");
        // Where the kind is not named, another one may still have such a value.
        Err(if kind.is_some() { Not::Ever(reason) } else { Not::Yet(reason) })
    }
}
