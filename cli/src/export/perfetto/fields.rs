//! What an event has beside its time: its name, its fields, its ids.

use crate::journal::Found;
use crate::kinds::Kind;
use crate::timeline::long::beginning;
use capture_pipeline::formats::perfetto::{Annotations, Name, NameOf, Names};
use capture_pipeline::kinds::{Type, Value};

/// What events have beside their fields.
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

struct FieldNames {
    name: Name,
    /// The names of an enum's values.
    values: Vec<(i128, Name)>,
}

impl KindNames {
    /// With their numbers.
    pub fn new(names: &mut Names, kind: &Kind) -> Self {
        let definition = kind.definition.as_ref();
        let name = names.name(NameOf::Event, kind.label().as_bytes());
        let category = definition.map(|definition| definition.category.as_bytes());
        let category =
            category.filter(|text| !text.is_empty()).map(|text| names.name(NameOf::Category, text));
        let mut fields = Vec::new();
        for field in definition.iter().flat_map(|definition| &definition.fields) {
            let name = names.name(NameOf::Annotation, field.name.as_bytes());
            let values = match &field.field_type {
                Type::Enum { values, .. } => &values[..],
                _ => &[],
            };
            let of_value = |text: &str| names.name(NameOf::Text, text.as_bytes());
            let mut of_value = of_value;
            let values = values.iter().map(|entry| (entry.value, of_value(&entry.name))).collect();
            fields.push(FieldNames { name, values });
        }
        Self { name, category, fields }
    }
}

/// Adds the fields of an event, and what else is not as usual. `payload`: always, never, or where its fields do not tell what it is.
#[inline]
pub fn annotate(
    annotations: &mut Annotations<'_>,
    own: &OwnNames,
    names: &KindNames,
    found: &Found<'_>,
    payload: Option<bool>,
) {
    let event = found.event;
    if let Some(definition) = &found.kind.definition {
        for (field, name) in definition.fields.iter().zip(&names.fields) {
            match field.value(event.payload) {
                None => {}
                Some(Value::Enum { value, .. }) => match name.values.iter().find(|(of, _)| *of == value) {
                    Some((_, text)) => annotations.one_of(&name.name, text),
                    None => annotations.text(&name.name, value.to_string().as_bytes()),
                },
                Some(value) => annotate_value(annotations, &name.name, value),
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
    if payload.unwrap_or_else(|| !found.kind.fits(event.payload)) {
        annotate_value(annotations, &own.payload, shown(event.payload));
    }
}

#[inline]
fn annotate_value(annotations: &mut Annotations<'_>, name: &Name, value: Value<'_>) {
    match beginning(&value) {
        Some(text) => annotations.text(name, text.as_bytes()),
        None => annotations.value(name, value),
    }
}

/// A payload as a text, if it is one; else its bytes.
fn shown(payload: &[u8]) -> Value<'_> {
    let is_text = std::str::from_utf8(payload).is_ok_and(|text| {
        !text.is_empty() && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    });
    if is_text { Value::String(payload) } else { Value::Bytes(payload) }
}
