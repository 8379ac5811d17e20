//! Spans and log records that are gathered until they are written.

use super::output::Output;
use super::spans::{Ids, Whole};
use super::values::{Resources, attribute, fields, origin, scope, text, unsigned};
use crate::failure::Failure;
use crate::journal::Found;
use capture_pipeline::kinds::Type;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
use std::collections::BTreeMap;

/// See the module. The keys are the runs.
#[derive(Default)]
pub struct Records {
    spans: BTreeMap<u64, Vec<Span>>,
    logs: BTreeMap<u64, Vec<LogRecord>>,
    len: usize,
}

impl Records {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds a span.
    pub fn span(&mut self, (generation, span): Whole) {
        self.len += 1;
        self.spans.entry(generation).or_default().push(span);
    }

    /// Adds an event as a log record. `parent`: the ids of the span that it lies in. `is_unpaired`: it ends a span that is not there.
    pub fn log(
        &mut self,
        found: &Found<'_>,
        ids: &Ids,
        parent: Option<([u8; 16], [u8; 8])>,
        payload: Option<bool>,
        is_unpaired: bool,
    ) {
        let event = found.event;
        let mut attributes = fields(found, payload);
        attributes.extend(origin(found));
        if is_unpaired {
            attributes.push(attribute("capture_pipeline.truncated", text("begin")));
        }
        let trace = ids.trace_of(found).or(parent.map(|(trace, _)| trace));
        let record = LogRecord {
            time_unix_nano: event.realtime_ns,
            observed_time_unix_nano: event.realtime_ns,
            body: message(found),
            attributes,
            trace_id: trace.map(|id| id.to_vec()).unwrap_or_default(),
            span_id: parent.map(|(_, id)| id.to_vec()).unwrap_or_default(),
            event_name: found.kind.label(),
            ..LogRecord::default()
        };
        self.len += 1;
        self.logs.entry(event.generation).or_default().push(record);
    }

    /// Notes that events are missing before this one.
    pub fn lost(&mut self, found: &Found<'_>, realtime_ns: u64, count: u64) {
        let mut attributes = vec![
            attribute("capture_pipeline.lost", unsigned(count)),
            attribute("capture_pipeline.ring_id", unsigned(found.event.ring_id)),
        ];
        attributes.extend(origin(found).into_iter().filter(|own| own.key.starts_with("thread.")));
        let record = LogRecord {
            time_unix_nano: realtime_ns,
            observed_time_unix_nano: realtime_ns,
            severity_number: SeverityNumber::Warn.into(),
            severity_text: "WARN".into(),
            body: Some(text(format!("{count} events are missing before this time"))),
            attributes,
            event_name: "capture_pipeline.lost".into(),
            ..LogRecord::default()
        };
        self.len += 1;
        self.logs.entry(found.event.generation).or_default().push(record);
    }

    /// Writes all of them.
    pub fn write(&mut self, resources: &Resources, output: &mut Output) -> Result<(), Failure> {
        self.len = 0;
        let spans: Vec<_> = std::mem::take(&mut self.spans)
            .into_iter()
            .map(|(generation, spans)| ResourceSpans {
                resource: resources.of(generation),
                scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            })
            .collect();
        let logs: Vec<_> = std::mem::take(&mut self.logs)
            .into_iter()
            .map(|(generation, log_records)| ResourceLogs {
                resource: resources.of(generation),
                scope_logs: vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }],
                ..ResourceLogs::default()
            })
            .collect();
        if !spans.is_empty() {
            output.put("traces", &TracesData { resource_spans: spans })?;
        }
        if !logs.is_empty() {
            output.put("logs", &LogsData { resource_logs: logs })?;
        }
        Ok(())
    }
}

/// The text of a message: the first field that is one; or else the payload, if nothing is known of it and it is a text.
fn message(found: &Found<'_>) -> Option<AnyValue> {
    let payload = found.event.payload;
    let Some(definition) = &found.kind.definition else {
        let payload = std::str::from_utf8(payload).ok().filter(|payload| !payload.is_empty());
        return payload.map(text);
    };
    let field = definition.fields.iter().find(|field| field.field_type == Type::String)?;
    field.value(payload).map(super::values::value)
}
