//! What an event has beside its time: its name, its fields, its ids.

use super::packets::LONGEST;
use super::{Annotations, Name, NameOf, Names};
use crate::kinds::{Definition, Type, Value};
use std::collections::TryReserveError;

/// Names of what events have beside their fields.
pub struct OwnNames {
    correlation_id: Name,
    node_id: Name,
    weight: Name,
    flags: Name,
    payload: Name,
    /// Why a slice ends without its end.
    pub truncated: Name,
    /// A slice was closed before, and goes on.
    pub continued: Name,
    /// An end without a begin.
    pub unpaired: Name,
    /// How many are missing.
    pub events: Name,
    /// What is drawn where events are missing.
    pub lost: Name,
    /// Its category.
    pub losses: Name,
}

impl OwnNames {
    /// With their numbers.
    pub fn new(names: &mut Names) -> Self {
        let mut own = |text: &str| names.name(NameOf::Annotation, text.as_bytes());
        Self {
            correlation_id: own("_correlation_id"),
            node_id: own("_node_id"),
            weight: own("_weight"),
            flags: own("_flags"),
            payload: own("_payload"),
            truncated: own("_truncated"),
            continued: own("_continued"),
            unpaired: own("_unpaired"),
            events: own("events"),
            lost: names.name(NameOf::Event, b"lost"),
            losses: names.name(NameOf::Category, b"losses"),
        }
    }
}

/// The names of a kind.
pub struct KindNames {
    /// Its own.
    pub name: Name,
    /// Of its category.
    pub category: Option<Name>,
    fields: Vec<FieldNames>,
}

impl KindNames {
    /// With their numbers. `label`: what the kind is called. Fails if there is no memory.
    pub fn new(
        names: &mut Names,
        label: &str,
        definition: Option<&Definition>,
    ) -> Result<Self, TryReserveError> {
        let name = names.name(NameOf::Event, label.as_bytes());
        let category = definition.map(|definition| definition.category.as_bytes());
        let category =
            category.filter(|text| !text.is_empty()).map(|text| names.name(NameOf::Category, text));
        let mut fields = Vec::new();
        for field in definition.iter().flat_map(|definition| &definition.fields) {
            let name = names.name(NameOf::Annotation, field.name.as_bytes());
            let mut values = Vec::new();
            if let Type::Enum { values: all, .. } = &field.field_type {
                values.try_reserve_exact(all.len())?;
                let of_value = |text: &str| names.name(NameOf::Text, text.as_bytes());
                let mut of_value = of_value;
                values.extend(all.iter().map(|entry| (entry.value, of_value(&entry.name))));
            }
            fields.try_reserve_exact(1)?;
            fields.push(FieldNames { name, values });
        }
        Ok(Self { name, category, fields })
    }

    /// At least as many bytes as the packet of an event of the kind takes.
    pub fn most_bytes(&self, definition: Option<&Definition>, payload: &[u8]) -> usize {
        // A name is written with its number, and its text; each may need a length and a field's number.
        let of_name = |name: &Name| name.text.len() + 24;
        let mut bytes = 1_024 + of_name(&self.name) + self.category.as_ref().map_or(0, of_name);
        for (field, names) in definition.iter().flat_map(|definition| &definition.fields).zip(&self.fields) {
            bytes += of_name(&names.name) + 64;
            match field.field_type {
                Type::Enum { .. } => bytes += 128,
                Type::String | Type::Bytes => bytes += of_text(field.bytes(payload).map_or(0, <[u8]>::len)),
                _ => {}
            }
        }
        bytes + of_text(payload.len())
    }
}

/// At least as many bytes as a text or bytes of this length take.
fn of_text(len: usize) -> usize {
    3 * len.min(LONGEST) + 16
}

struct FieldNames {
    name: Name,
    /// The names of an enum's values.
    values: Vec<(i128, Name)>,
}

/// What is shown of an event beside its time.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its payload.
    pub payload: &'a [u8],
    /// Whether the payload is shown as a whole, beside the fields.
    pub shows_payload: bool,
    /// Its ids; 0: none.
    pub correlation_id: u64,
    /// See `correlation_id`.
    pub node_id: u64,
    /// How many events it stands for.
    pub weight: f64,
    /// Its flags.
    pub flags: u32,
}

/// Adds the fields of an event, and what else is not as usual.
#[inline]
pub fn annotate(
    annotations: &mut Annotations<'_>,
    own: &OwnNames,
    names: &KindNames,
    definition: Option<&Definition>,
    event: &About<'_>,
) {
    if let Some(definition) = definition {
        for (field, name) in definition.fields.iter().zip(&names.fields) {
            match field.value(event.payload) {
                None => {}
                Some(Value::Enum { value, .. }) => match name.values.iter().find(|(of, _)| *of == value) {
                    Some((_, text)) => annotations.one_of(&name.name, text),
                    None => annotations.text(&name.name, value.to_string().as_bytes()),
                },
                Some(value) => annotations.value(&name.name, value),
            }
        }
    }
    if event.correlation_id != 0 {
        annotations.unsigned(&own.correlation_id, event.correlation_id);
    }
    if event.node_id != 0 {
        annotations.unsigned(&own.node_id, event.node_id);
    }
    if event.weight != 1.0 {
        annotations.value(&own.weight, Value::F64(event.weight));
    }
    if event.flags != 0 {
        annotations.unsigned(&own.flags, event.flags.into());
    }
    if event.shows_payload {
        annotations.value(&own.payload, shown(event.payload));
    }
}

/// A payload as a text, if it is one; else its bytes.
fn shown(payload: &[u8]) -> Value<'_> {
    let is_text = std::str::from_utf8(payload).is_ok_and(|text| {
        !text.is_empty() && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    });
    if is_text { Value::String(payload) } else { Value::Bytes(payload) }
}
