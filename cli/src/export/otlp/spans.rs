//! Spans, and their ids.

use super::values::{attribute, fields, origin, text, value};
use crate::journal::Found;
use crate::timeline::Why;
use crate::timeline::places::number_of;
use capture_pipeline::kinds::{Type, Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};

/// How ids are made.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// The first half of trace ids, the same in several processes; `None`: the run.
    pub trace_prefix: Option<u64>,
}

/// A field of an event that has this name and is so many bytes, of which one is not 0.
fn id_field<const N: usize>(found: &Found<'_>, name: &str) -> Option<[u8; N]> {
    let definition = found.kind.definition.as_ref()?;
    let field = definition.fields.get(definition.field_named(name)?)?;
    let bytes = field.bytes(found.event.payload).filter(|_| field.field_type == Type::Bytes)?;
    bytes.try_into().ok().filter(|id| *id != [0; N])
}

/// Two numbers as the id of a trace.
fn joined(first: u64, second: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&first.to_be_bytes());
    id[8..].copy_from_slice(&second.to_be_bytes());
    id
}

impl Ids {
    fn prefix(self, found: &Found<'_>) -> u64 {
        self.trace_prefix.unwrap_or(found.event.generation)
    }

    /// The trace of an event: by its field `trace_id`, or its correlation id. `None`: it has none of its own.
    pub fn trace_of(self, found: &Found<'_>) -> Option<[u8; 16]> {
        id_field(found, "trace_id").or_else(|| {
            let id = found.event.correlation_id;
            (id != 0).then(|| joined(self.prefix(found), id))
        })
    }

    /// The id of the span that an event begins: that of its field `span_id`, or one that no other event has.
    fn span_of(found: &Found<'_>) -> [u8; 8] {
        let event = found.event;
        let own = number_of(&[event.generation, event.ring_id, event.sequence]);
        id_field(found, "span_id").unwrap_or(own.to_be_bytes())
    }
}

/// A span that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    span: Span,
    generation: u64,
    /// When it began, by its run's own clock.
    ns: u64,
}

/// A span that is whole, and its run.
pub type Whole = (u64, Span);

impl Begun {
    /// By this event. `parent`: the ids of the span that it lies in.
    pub fn new(
        found: &Found<'_>,
        ids: &Ids,
        parent: Option<([u8; 16], [u8; 8])>,
        payload: Option<bool>,
    ) -> Self {
        let event = found.event;
        let span_id = Ids::span_of(found);
        let trace = ids.trace_of(found).or(parent.map(|(trace, _)| trace));
        // A trace of its own, if there is nothing that it belongs to.
        let trace = trace.unwrap_or_else(|| joined(ids.prefix(found), u64::from_be_bytes(span_id)));
        let parent = id_field(found, "parent_span_id").or(parent.map(|(_, span)| span));
        let mut attributes = fields(found, payload);
        attributes.extend(origin(found));
        let span = Span {
            trace_id: trace.to_vec(),
            span_id: span_id.to_vec(),
            parent_span_id: parent.map(|id: [u8; 8]| id.to_vec()).unwrap_or_default(),
            name: found.kind.label(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: event.realtime_ns,
            attributes,
            ..Span::default()
        };
        Self { span, generation: event.generation, ns: event.timestamp_ns }
    }

    /// The ids of its trace and of itself.
    pub fn ids(&self) -> ([u8; 16], [u8; 8]) {
        let trace = self.span.trace_id.as_slice().try_into().unwrap_or_default();
        (trace, self.span.span_id.as_slice().try_into().unwrap_or_default())
    }

    /// The run.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// It has lasted until this time. The wall clock may have been set meanwhile, so its end is counted from its start.
    fn until(mut self, ns: u64) -> Whole {
        let took = ns.saturating_sub(self.ns);
        self.span.end_time_unix_nano = self.span.start_time_unix_nano.saturating_add(took);
        (self.generation, self.span)
    }

    /// It ends by this event. A field that the begin has as well is `end.NAME`.
    pub fn end(mut self, found: &Found<'_>, payload: Option<bool>) -> Whole {
        for mut own in fields(found, payload) {
            if self.span.attributes.iter().any(|known| known.key == own.key) {
                own.key.insert_str(0, "end.");
            }
            self.span.attributes.push(own);
        }
        self.until(found.event.timestamp_ns)
    }

    /// Its end is not there.
    pub fn cut(mut self, ns: u64, why: Why) -> Whole {
        self.span.attributes.push(attribute("capture_pipeline.truncated", text(why.name())));
        self.until(ns)
    }

    /// It ends with the event that it was made of, which says how long it has lasted.
    pub fn complete(mut self, found: &Found<'_>) -> Whole {
        let definition = found.kind.definition.as_ref();
        let field = definition.and_then(|definition| definition.fields.get(definition.duration_field?));
        let took = match field.and_then(|field| field.value(found.event.payload)) {
            Some(Value::Unsigned(took)) => took,
            Some(Value::Signed(took)) => took.max(0).unsigned_abs(),
            Some(other) => {
                self.span.attributes.push(attribute("capture_pipeline.duration", value(other)));
                0
            }
            None => 0,
        };
        let end = found.event.realtime_ns;
        self.span.start_time_unix_nano = end.saturating_sub(took);
        self.span.end_time_unix_nano = end;
        (self.generation, self.span)
    }
}
