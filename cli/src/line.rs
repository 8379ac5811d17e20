//! An event as a line of text: for people, or as JSON.

use crate::journal::Found;
use crate::numbers;
use capture_pipeline::event::{
    PIPELINE_EVENT_OPAQUE, PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_PARTIAL, PIPELINE_EVENT_PRIORITY,
    PIPELINE_EVENT_RELEASE, PIPELINE_EVENT_TRANSFORMED,
};
use capture_pipeline::kinds::{Hint, Value};
use std::io::Write;

/// Appends the line for people: time, thread, kind, the fields, and what else is not as usual.
pub fn text(into: &mut Vec<u8>, found: Found<'_>, ids: bool) {
    // Writing to a vector does not fail.
    let _ = write_text(into, found, ids);
    into.push(b'\n');
}

fn write_text(into: &mut Vec<u8>, found: Found<'_>, ids: bool) -> std::io::Result<()> {
    let (event, kind) = (found.event, found.kind);
    numbers::time(into, event.realtime_ns);
    match found.thread {
        Some(thread) => write!(into, " {}/{}", shown(&thread.name), thread.thread_id)?,
        None => write!(into, " ring{}", event.ring_id)?,
    }
    write!(into, " {}", shown(kind.label().as_bytes()))?;
    if let Some(definition) = &kind.definition {
        for field in &definition.fields {
            write!(into, " {}={}", field.name, field.show(event.payload))?;
        }
    }
    if !kind.fits(event.payload) {
        into.extend_from_slice(b" payload=");
        payload(into, event.payload);
    }
    for (name, number) in [("correlation_id", event.correlation_id), ("node_id", event.node_id)] {
        if number != 0 {
            write!(into, " {name}={number}")?;
        }
    }
    if event.weight != 1.0 {
        write!(into, " weight={}", event.weight)?;
    }
    if event.flags != 0 {
        write!(into, " flags={}", flags(event.flags))?;
    }
    if ids {
        write!(into, " id={:016x}:{}:{}", event.generation, event.ring_id, event.sequence)?;
    }
    Ok(())
}

/// A text that a terminal may show.
pub fn shown(bytes: &[u8]) -> impl std::fmt::Display {
    Value::String(bytes).show(Hint::None)
}

fn flags(flags: u32) -> String {
    let known = [
        (PIPELINE_EVENT_PRIORITY, "priority"),
        (PIPELINE_EVENT_OWN_TIME, "own_time"),
        (PIPELINE_EVENT_RELEASE, "release"),
        (PIPELINE_EVENT_OPAQUE, "opaque"),
        (PIPELINE_EVENT_PARTIAL, "partial"),
        (PIPELINE_EVENT_TRANSFORMED, "transformed"),
    ];
    let mut names: Vec<String> =
        known.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| (*name).to_owned()).collect();
    let rest = known.iter().fold(flags, |rest, (flag, _)| rest & !flag);
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names.join("+")
}

/// A payload without a definition: a text in quotes, or hexadecimal.
fn payload(into: &mut Vec<u8>, bytes: &[u8]) {
    let is_text = std::str::from_utf8(bytes).is_ok_and(|text| {
        !text.is_empty() && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    });
    if is_text {
        numbers::json_string(into, bytes);
    } else {
        numbers::hexadecimal(into, bytes);
    }
}

/// How JSON is written.
#[derive(Clone, Copy, Debug)]
pub struct Json {
    /// Large numbers as strings.
    pub strings: bool,
    /// Integers of 64 bits as strings, whatever their values are.
    pub wide: bool,
    /// Payloads beside the fields: always, where the fields do not say all (`None`), never.
    pub payload: Option<bool>,
    /// The attributes of the event's run.
    pub attributes: bool,
}

impl Json {
    /// Appends the line.
    pub fn write(self, into: &mut Vec<u8>, found: Found<'_>) {
        let (event, kind) = (found.event, found.kind);
        into.extend_from_slice(b"{\"generation\":\"");
        numbers::generation(into, event.generation);
        into.extend_from_slice(b"\",\"ring_id\":");
        self.integer(into, event.ring_id);
        into.extend_from_slice(b",\"sequence\":");
        self.integer(into, event.sequence);
        into.extend_from_slice(b",\"wall_time\":\"");
        numbers::time(into, event.realtime_ns);
        into.extend_from_slice(b"\",\"time_ns\":");
        self.integer(into, event.timestamp_ns);
        into.extend_from_slice(&kind.json);
        self.integer(into, event.correlation_id);
        into.extend_from_slice(b",\"node_id\":");
        self.integer(into, event.node_id);
        into.extend_from_slice(b",\"weight\":");
        numbers::json_float(into, event.weight);
        into.extend_from_slice(b",\"flags\":");
        numbers::integer(into, event.flags);
        if let Some(thread) = found.thread {
            into.extend_from_slice(b",\"tid\":");
            self.integer(into, thread.thread_id);
            into.extend_from_slice(b",\"thread_name\":");
            numbers::json_string(into, &thread.name);
        }
        if let Some(definition) = &kind.definition {
            into.extend_from_slice(b",\"fields\":{");
            let start = into.len();
            for (field, name) in definition.fields.iter().zip(&kind.json_names) {
                if let Some(value) = field.value(event.payload) {
                    // (Without the comma before the first one.)
                    into.extend_from_slice(if into.len() == start { &name[1..] } else { name });
                    Self { wide: self.wide && field.field_type.size() == Some(8), ..self }.value(into, value);
                }
            }
            into.push(b'}');
        }
        if self.payload.unwrap_or_else(|| !kind.says_all(event.payload)) {
            into.extend_from_slice(b",\"payload\":\"");
            numbers::hexadecimal(into, event.payload);
            into.push(b'"');
        }
        if self.attributes {
            into.extend_from_slice(&kind.attributes);
        }
        into.extend_from_slice(b"}\n");
    }

    fn integer(self, into: &mut Vec<u8>, number: u64) {
        into.extend(self.wide.then_some(b'"'));
        numbers::json_integer(into, number, self.strings && !self.wide);
        into.extend(self.wide.then_some(b'"'));
    }

    /// Appends the value of a field.
    pub fn value(self, into: &mut Vec<u8>, value: Value<'_>) {
        match value {
            Value::Unsigned(number) | Value::Address(number) => self.integer(into, number),
            Value::Signed(number) if number < 0 => {
                let quote = self.wide || self.strings && number < -(1 << 53);
                into.extend(quote.then_some(b'"'));
                numbers::integer(into, number);
                into.extend(quote.then_some(b'"'));
            }
            Value::Signed(number) => self.integer(into, number.unsigned_abs()),
            Value::F32(number) if number.is_finite() => numbers::single(into, number),
            Value::F32(_) => into.extend_from_slice(b"null"),
            Value::F64(number) => numbers::json_float(into, number),
            Value::Bool(value) => into.extend_from_slice(if value { b"true" } else { b"false" }),
            Value::String(bytes) => numbers::json_string(into, bytes),
            Value::Bytes(bytes) => {
                into.push(b'"');
                numbers::hexadecimal(into, bytes);
                into.push(b'"');
            }
            Value::Enum { name: Some(name), .. } => numbers::json_string(into, name.as_bytes()),
            // As a string, too: a reader expects the same type in all lines.
            Value::Enum { value, name: None } => {
                into.push(b'"');
                numbers::integer(into, value);
                into.push(b'"');
            }
        }
    }
}
