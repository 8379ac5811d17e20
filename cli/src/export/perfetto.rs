//! Perfetto: a trace of track events, which ui.perfetto.dev and `trace_processor` open.

use super::Exporter;
use super::target::Output;
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use crate::kinds::Kind;
use crate::timeline::rows::{RowOf, Rows};
use crate::timeline::{Drawing, Timeline};
use capture_pipeline::formats::perfetto::{
    Annotations, Encoder, Event, Mark, Name, NameOf, Names, Sequence, Track, TrackKind, Unit,
};
use capture_pipeline::kinds::{Hint, Type, Value};

/// The file is written in pieces of this size.
const PIECE: usize = 256 << 10;
/// The sequences of rows have numbers from here on: the encoder has 1 for itself.
const FIRST_SEQUENCE: u32 = 2;

/// See the module.
pub struct Perfetto {
    timeline: Timeline,
    trace: Trace,
}

/// What is drawn.
struct Trace {
    output: Output,
    encoder: Encoder,
    names: Names,
    own: OwnNames,
    /// The names of kinds, by their places.
    kinds: Vec<Option<KindNames>>,
    /// The sequences of rows, by their places.
    sequences: Vec<Sequence>,
    /// The processes that are described.
    described: Vec<bool>,
    payload: Option<bool>,
    /// The difference of the clocks that was said last.
    clocks: Option<i64>,
}

/// What an event has beside its fields.
struct OwnNames {
    correlation_id: Name,
    node_id: Name,
    weight: Name,
    flags: Name,
    payload: Name,
}

struct KindNames {
    name: Name,
    category: Option<Name>,
    fields: Vec<FieldNames>,
}

struct FieldNames {
    name: Name,
    /// The names of an enum's values, in their order.
    values: Vec<(i128, Name)>,
}

impl KindNames {
    fn new(names: &mut Names, kind: &Kind) -> Self {
        let definition = kind.definition.as_ref();
        let category =
            definition.map(|definition| definition.category.as_bytes()).filter(|text| !text.is_empty());
        let fields = definition.iter().flat_map(|definition| &definition.fields).map(|field| FieldNames {
            name: names.name(NameOf::Annotation, field.name.as_bytes()),
            values: match &field.field_type {
                Type::Enum { values, .. } => {
                    let name = |names: &mut Names, text: &str| names.name(NameOf::Text, text.as_bytes());
                    values.iter().map(|entry| (entry.value, name(names, &entry.name))).collect()
                }
                _ => Vec::new(),
            },
        });
        let fields = fields.collect();
        Self {
            name: names.name(NameOf::Event, kind.label().as_bytes()),
            category: category.map(|text| names.name(NameOf::Category, text)),
            fields,
        }
    }
}

impl Perfetto {
    /// Writes to `output`.
    pub fn new(output: Output, journal: &Journal, payload: Option<bool>) -> Self {
        let mut names = Names::default();
        let mut own = |text: &str| names.name(NameOf::Annotation, text.as_bytes());
        let own = OwnNames {
            correlation_id: own("_correlation_id"),
            node_id: own("_node_id"),
            weight: own("_weight"),
            flags: own("_flags"),
            payload: own("_payload"),
        };
        let trace = Trace {
            output,
            encoder: Encoder::default(),
            names,
            own,
            kinds: Vec::new(),
            sequences: Vec::new(),
            described: Vec::new(),
            payload,
            clocks: None,
        };
        Self { timeline: Timeline::new(journal), trace }
    }
}

impl Exporter for Perfetto {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        self.timeline.add(&found, &mut self.trace)?;
        if self.trace.encoder.out.len() >= PIECE { self.trace.write() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        self.trace.write()
    }
}

impl Trace {
    fn write(&mut self) -> Result<(), Failure> {
        self.output.put(&self.encoder.out)?;
        self.encoder.out.clear();
        Ok(())
    }

    /// Prepares what an event of a kind in a row needs.
    #[inline]
    fn prepare(&mut self, rows: &Rows, row: usize, kind: Option<&Found<'_>>) {
        if self.sequences.get(row).is_none_or(|sequence| !sequence.has_begun()) {
            self.describe(rows, row);
        }
        if let Some(found) = kind {
            let offset = found.event.realtime_ns.wrapping_sub(found.event.timestamp_ns).cast_signed();
            if self.clocks != Some(offset) {
                self.relate(found, offset);
            }
            if self.kinds.get(found.kind_at).is_none_or(Option::is_none) || found.kind.is_rest {
                if self.kinds.len() <= found.kind_at {
                    self.kinds.resize_with(found.kind_at + 1, || None);
                }
                self.kinds[found.kind_at] = Some(KindNames::new(&mut self.names, found.kind));
            }
        }
    }

    #[cold]
    fn relate(&mut self, found: &Found<'_>, offset: i64) {
        if self.clocks.is_none() {
            self.encoder.clocks(found.event.timestamp_ns, found.event.realtime_ns);
        }
        self.clocks = Some(offset);
    }

    #[cold]
    fn describe(&mut self, rows: &Rows, at: usize) {
        let row = rows.get(at);
        while self.sequences.len() <= at {
            let number = FIRST_SEQUENCE + self.sequences.len() as u32;
            self.sequences.push(Sequence::new(number, rows.get(self.sequences.len()).uuid));
        }
        let process = match row.of {
            RowOf::Thread(thread) => rows.places.threads[thread].process,
            RowOf::Counter(process, _) => process,
        };
        let of_process = &rows.places.processes[process];
        if self.described.len() <= process {
            self.described.resize(process + 1, false);
        }
        if !std::mem::replace(&mut self.described[process], true) {
            self.encoder.describe(&Track {
                uuid: of_process.uuid,
                parent: 0,
                name: &of_process.program,
                kind: TrackKind::Process { pid: of_process.pid },
            });
        }
        let (name, kind) = match row.of {
            RowOf::Thread(thread) => {
                let thread = &rows.places.threads[thread];
                let kind = match thread.tid {
                    Some(tid) => TrackKind::Thread { pid: of_process.pid, tid },
                    None => TrackKind::Events,
                };
                (thread.name.as_slice(), kind)
            }
            RowOf::Counter(_, hint) => {
                let unit = match hint {
                    Hint::Bytes => Unit::Bytes,
                    Hint::Nanoseconds => Unit::Nanoseconds,
                    _ => Unit::Named(&row.unit),
                };
                (row.name.as_bytes(), TrackKind::Counter(unit))
            }
        };
        self.encoder.describe(&Track { uuid: row.uuid, parent: of_process.uuid, name, kind });
    }

    fn event(&mut self, row: usize, ns: u64, mark: Mark, found: &Found<'_>, flow: u64) {
        let Some(Some(names)) = self.kinds.get(found.kind_at) else { return };
        // A name at the end of a slice would be a condition.
        let is_named = mark != Mark::End;
        let (own, payload) = (&self.own, self.payload);
        let event = Event {
            ns,
            mark,
            name: is_named.then_some(&names.name),
            category: names.category.as_ref().filter(|_| is_named),
            flow,
        };
        self.encoder.event(&mut self.sequences[row], event, |annotations| {
            fields(annotations, own, names, found, payload)
        });
    }
}

fn fields(
    annotations: &mut Annotations<'_>,
    own: &OwnNames,
    names: &KindNames,
    found: &Found<'_>,
    payload: Option<bool>,
) {
    let event = found.event;
    if let Some(definition) = &found.kind.definition {
        for ((_, value), name) in definition.values(event.payload).zip(&names.fields) {
            match value {
                None => {}
                Some(Value::Enum { value, name: Some(_) }) => {
                    match name.values.iter().find(|(of, _)| *of == value) {
                        Some((_, text)) => annotations.one_of(&name.name, text),
                        None => annotations.text(&name.name, value.to_string().as_bytes()),
                    }
                }
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
    if payload.unwrap_or_else(|| !found.kind.fits(event.payload)) {
        annotations.value(&own.payload, Value::Bytes(event.payload));
    }
}

impl Drawing for Trace {
    fn begin(&mut self, rows: &Rows, row: usize, ns: u64, found: &Found<'_>) -> Result<(), Failure> {
        self.prepare(rows, row, Some(found));
        self.event(row, ns, Mark::Begin, found, 0);
        Ok(())
    }

    fn end(&mut self, rows: &Rows, row: usize, ns: u64, by: Option<&Found<'_>>) -> Result<(), Failure> {
        self.prepare(rows, row, by);
        match by {
            Some(found) => self.event(row, ns, Mark::End, found, 0),
            None => self.encoder.event(&mut self.sequences[row], Event::new(ns, Mark::End), |_| {}),
        }
        Ok(())
    }

    fn instant(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        flow: u64,
    ) -> Result<(), Failure> {
        self.prepare(rows, row, Some(found));
        self.event(row, ns, Mark::Instant, found, flow);
        Ok(())
    }

    fn number(&mut self, rows: &Rows, row: usize, ns: u64, value: Value<'_>) -> Result<(), Failure> {
        self.prepare(rows, row, None);
        self.encoder.counter(&mut self.sequences[row], ns, value);
        Ok(())
    }
}
