//! The events of a class, as bytes.

use crate::journal::Found;
use capture_pipeline::kinds::{Field, Type};

/// A class of events: a kind with its fields, or with its payload alone.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its number in the trace.
    pub id: u32,
    /// It has the fields of the definition.
    pub has_fields: bool,
    /// It has the payload.
    pub has_payload: bool,
}

impl Class {
    /// Appends an event without its time.
    #[inline]
    pub fn write(&self, into: &mut Vec<u8>, found: &Found<'_>) {
        let event = found.event;
        into.extend_from_slice(&self.id.to_le_bytes());
        let (tid, name) =
            found.thread.map_or((0, &[][..]), |thread| (thread.thread_id, thread.name.as_slice()));
        into.extend_from_slice(&tid.to_le_bytes());
        match name.first() {
            None | Some(0) => text(into, format!("ring {}", event.ring_id).as_bytes()),
            Some(_) => text(into, name),
        }
        for word in [event.ring_id, event.sequence, event.correlation_id, event.node_id] {
            into.extend_from_slice(&word.to_le_bytes());
        }
        into.extend_from_slice(&event.weight.to_le_bytes());
        into.extend_from_slice(&event.flags.to_le_bytes());
        into.extend_from_slice(&event.kind.to_le_bytes());
        if self.has_fields {
            for field in found.kind.definition.iter().flat_map(|definition| &definition.fields) {
                value(into, field, field.bytes(event.payload).unwrap_or_default());
            }
        }
        if self.has_payload {
            bytes(into, event.payload);
        }
    }
}

/// What stands for a text without characters: a space without a width. babeltrace 2.0.4 shows the text of an earlier event for one that has none.
const EMPTY: &str = "\u{200B}";

/// A text that ends with a NUL, or before one.
fn text(into: &mut Vec<u8>, text: &[u8]) {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    into.extend_from_slice(if end == 0 { EMPTY.as_bytes() } else { &text[..end] });
    into.push(0);
}

/// Bytes with their number before them.
fn bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    into.extend_from_slice(bytes);
}

fn value(into: &mut Vec<u8>, field: &Field, value: &[u8]) {
    match field.field_type {
        Type::String => text(into, value),
        Type::Bytes => bytes(into, value),
        Type::Bool => into.push(u8::from(value.first().is_some_and(|byte| *byte != 0))),
        _ => into.extend_from_slice(value),
    }
}
