//! Values and attributes, and the resources: what is the same for all of a run.

use crate::journal::{Found, Journal};
use crate::numbers;
use capture_pipeline::kinds::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::collections::HashMap;

/// A text.
pub fn text(text: impl Into<String>) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(text.into())) }
}

/// A number. Numbers are signed; a greater one is a text.
pub fn unsigned(number: u64) -> AnyValue {
    match i64::try_from(number) {
        Ok(number) => AnyValue { value: Some(any_value::Value::IntValue(number)) },
        Err(_) => text(number.to_string()),
    }
}

fn float(number: f64) -> AnyValue {
    // JSON has no name for the others.
    if number.is_finite() {
        return AnyValue { value: Some(any_value::Value::DoubleValue(number)) };
    }
    text(if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    })
}

/// The value of a field.
pub fn value(value: Value<'_>) -> AnyValue {
    match value {
        Value::Unsigned(number) => unsigned(number),
        Value::Signed(number) => AnyValue { value: Some(any_value::Value::IntValue(number)) },
        Value::F32(number) => float(number.into()),
        Value::F64(number) => float(number),
        Value::Bool(value) => AnyValue { value: Some(any_value::Value::BoolValue(value)) },
        Value::Address(address) => text(format!("{address:#x}")),
        Value::String(bytes) => text(String::from_utf8_lossy(bytes)),
        Value::Bytes(value) => bytes(value),
        Value::Enum { name: Some(name), .. } => text(name),
        Value::Enum { value, name: None } => text(value.to_string()),
    }
}

/// Bytes.
pub fn bytes(bytes: &[u8]) -> AnyValue {
    AnyValue { value: Some(any_value::Value::BytesValue(bytes.to_vec())) }
}

/// An attribute.
pub fn attribute(key: impl Into<String>, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

/// What the fields of an event say; and its payload, if that is wanted or says more than they do.
pub fn fields(found: &Found<'_>, payload: Option<bool>) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    if let Some(definition) = &found.kind.definition {
        for (field, own) in definition.values(found.event.payload) {
            attributes.extend(own.map(|own| attribute(field.name.as_str(), value(own))));
        }
    }
    let says_all = found.kind.says_all(found.event.payload) || found.event.payload.is_empty();
    if payload.unwrap_or(!says_all) {
        attributes.push(attribute("capture_pipeline.payload", bytes(found.event.payload)));
    }
    attributes
}

/// Where an event was captured, and what else is not as usual.
pub fn origin(found: &Found<'_>) -> Vec<KeyValue> {
    let event = found.event;
    let own = |name: &str| format!("capture_pipeline.{name}");
    let mut attributes = vec![
        attribute(own("kind"), unsigned(event.kind.into())),
        attribute(own("ring_id"), unsigned(event.ring_id)),
        attribute(own("sequence"), unsigned(event.sequence)),
    ];
    for (name, number) in
        [("correlation_id", event.correlation_id), ("node_id", event.node_id), ("flags", event.flags.into())]
    {
        if number != 0 {
            attributes.push(attribute(own(name), unsigned(number)));
        }
    }
    if event.weight != 1.0 {
        attributes.push(attribute(own("weight"), float(event.weight)));
    }
    if let Some(thread) = found.thread {
        if thread.thread_id != 0 {
            attributes.push(attribute("thread.id", unsigned(thread.thread_id)));
        }
        if !thread.name.is_empty() {
            attributes.push(attribute("thread.name", text(String::from_utf8_lossy(&thread.name))));
        }
    }
    attributes
}

/// The scope of all that is written.
pub fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "capture_pipeline".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    }
}

/// The runs as resources.
pub struct Resources(HashMap<u64, Resource>);

impl Resources {
    /// Those of a journal.
    pub fn new(journal: &Journal) -> Self {
        let mut resources = HashMap::new();
        let reader = journal.reader();
        for segment in reader.segments() {
            let (header, generation) = (&segment.header, segment.header.generation);
            resources.entry(generation).or_insert_with(|| {
                let mut attributes: Vec<KeyValue> = reader
                    .facts()
                    .attributes_of(generation)
                    .map(|(name, value)| {
                        attribute(String::from_utf8_lossy(name), text(String::from_utf8_lossy(value)))
                    })
                    .collect();
                let mut add = |name: &str, value: AnyValue| {
                    if !attributes.iter().any(|known| known.key == name) {
                        attributes.push(attribute(name, value));
                    }
                };
                add("service.name", text(String::from_utf8_lossy(&header.program)));
                add("process.pid", unsigned(header.owner.pid.into()));
                let mut run = Vec::new();
                numbers::generation(&mut run, generation);
                add("capture_pipeline.generation", text(String::from_utf8_lossy(&run)));
                Resource { attributes, ..Resource::default() }
            });
        }
        Self(resources)
    }

    /// The resource of a run.
    pub fn of(&self, generation: u64) -> Option<Resource> {
        self.0.get(&generation).cloned()
    }
}
