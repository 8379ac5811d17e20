//! CSV: a line with the names of the columns, then one for each event.

use super::Exporter;
use super::groups::Groups;
use super::target::Output;
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use crate::numbers;
use capture_pipeline::kinds::Value;

/// The columns of every event, behind those of the fields.
const OWN: [&str; 14] = [
    "_wall_time",
    "_time_ns",
    "_generation",
    "_ring_id",
    "_sequence",
    "_kind",
    "_kind_name",
    "_correlation_id",
    "_node_id",
    "_weight",
    "_flags",
    "_tid",
    "_thread_name",
    "_payload",
];

/// See the module.
pub struct Csv {
    writer: csv::Writer<Output>,
    groups: Groups,
    /// Where the columns of each group begin, and how many all of them have.
    starts: Vec<usize>,
    fields: usize,
    payload: Option<bool>,
    text: Vec<u8>,
}

impl Csv {
    /// Writes to `output`.
    pub fn new(
        output: Output,
        journal: &Journal,
        payload: Option<bool>,
        only_one: bool,
    ) -> Result<Self, Failure> {
        let groups = Groups::new(journal.kinds(), only_one);
        let writer = csv::WriterBuilder::new().buffer_capacity(256 << 10).from_writer(output);
        let mut names = Vec::new();
        let mut starts = Vec::new();
        for group in &groups.list {
            starts.push(names.len());
            let name = |field: &str| {
                if groups.is_single { field.to_owned() } else { format!("{}.{field}", group.name) }
            };
            names.extend(group.definition.fields.iter().map(|field| name(&field.name)));
        }
        let fields = names.len();
        names.extend(OWN.map(str::to_owned));
        let mut csv = Self { writer, groups, starts, fields, payload, text: Vec::new() };
        let done = csv.writer.write_record(&names);
        csv.check(done)?;
        Ok(csv)
    }

    fn check(&self, done: csv::Result<()>) -> Result<(), Failure> {
        done.map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => self.writer.get_ref().failed(&error),
            other => Failure::new(format!("CSV: {other:?}")),
        })
    }

    /// Writes a field, whose text `write` appends to an empty buffer.
    fn field(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Failure> {
        self.text.clear();
        write(&mut self.text);
        let done = self.writer.write_field(&self.text);
        self.check(done)
    }

    fn empty(&mut self, count: usize) -> Result<(), Failure> {
        (0..count).try_for_each(|_| self.field(|_| {}))
    }
}

impl Exporter for Csv {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        let (event, kind) = (found.event, found.kind);
        let mut written = 0;
        if let (Some(group), Some(definition)) = (self.groups.of(found.kind_at), &kind.definition) {
            let start = self.starts[group];
            self.empty(start)?;
            for (_, value) in definition.values(event.payload) {
                self.field(|into| {
                    if let Some(value) = value {
                        append(into, value);
                    }
                })?;
            }
            written = start + definition.fields.len();
        }
        self.empty(self.fields - written)?;
        self.field(|into| numbers::time(into, event.realtime_ns))?;
        self.field(|into| numbers::integer(into, event.timestamp_ns))?;
        self.field(|into| numbers::generation(into, event.generation))?;
        self.field(|into| numbers::integer(into, event.ring_id))?;
        self.field(|into| numbers::integer(into, event.sequence))?;
        self.field(|into| numbers::integer(into, event.kind))?;
        self.field(|into| into.extend_from_slice(kind.name.as_deref().unwrap_or("").as_bytes()))?;
        self.field(|into| numbers::integer(into, event.correlation_id))?;
        self.field(|into| numbers::integer(into, event.node_id))?;
        self.field(|into| numbers::float(into, event.weight))?;
        self.field(|into| numbers::integer(into, event.flags))?;
        let thread = found.thread;
        self.field(|into| {
            if let Some(thread) = thread {
                numbers::integer(into, thread.thread_id);
            }
        })?;
        self.field(|into| {
            if let Some(thread) = thread {
                into.extend_from_slice(String::from_utf8_lossy(&thread.name).as_bytes());
            }
        })?;
        let shown = self.payload.unwrap_or_else(|| !kind.says_all(event.payload));
        self.field(|into| {
            if shown {
                numbers::hexadecimal(into, event.payload);
            }
        })?;
        let done = self.writer.write_record(None::<&[u8]>);
        self.check(done)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        let done = self.writer.flush();
        done.map_err(|error| self.writer.get_ref().failed(&error))
    }
}

/// Appends a value. Texts are UTF-8, whatever was captured; bytes are in hexadecimal.
fn append(into: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Unsigned(number) | Value::Address(number) => numbers::integer(into, number),
        Value::Signed(number) => numbers::integer(into, number),
        Value::F32(number) => numbers::single(into, number),
        Value::F64(number) => numbers::float(into, number),
        Value::Bool(value) => into.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::String(bytes) => into.extend_from_slice(String::from_utf8_lossy(bytes).as_bytes()),
        Value::Bytes(bytes) => numbers::hexadecimal(into, bytes),
        Value::Enum { name: Some(name), .. } => into.extend_from_slice(name.as_bytes()),
        Value::Enum { value, name: None } => numbers::integer(into, value),
    }
}
