//! The rows of a row group, column by column.

use super::column::Column;
use super::schema::{ColumnType, OWN, Presence};
use crate::export::groups::Groups;
use crate::journal::Found;
use capture_pipeline::kinds::Value;

/// A row group is written when it has so many bytes or rows.
const MAX_BYTES: usize = 24 << 20;
const MAX_ROWS: usize = 1 << 19;
/// The size is computed after so many rows. Each has less than a payload beside its numbers.
const LOOK_EVERY: usize = 256;

/// An event with a payload beyond this is not collected with others.
const LARGE: usize = MAX_BYTES / 4;

/// Whether the event takes so much memory that it should be alone.
pub fn is_large(found: &Found<'_>) -> bool {
    found.event.payload.len() > LARGE
}

/// The columns of a group.
struct Fields {
    /// The first one, among all columns.
    first: usize,
    count: usize,
    /// The level of a row of this group whose field is absent.
    absent: i16,
    /// The rows of this group.
    rows: Vec<u32>,
}

/// See the module.
pub struct Rows {
    columns: Vec<Column>,
    groups: Vec<Fields>,
    /// The first column of every event.
    own: usize,
    count: usize,
    /// The bytes of payloads since the size was computed.
    unseen: usize,
    is_full: bool,
}

impl Rows {
    /// No rows.
    pub fn new(groups: &Groups) -> Self {
        let mut columns = Vec::new();
        let mut fields = Vec::new();
        // Beside the field itself its group may be absent.
        let absent = i16::from(!groups.is_single);
        for group in &groups.list {
            let definition = &group.definition;
            let count = definition.fields.len();
            fields.push(Fields { first: columns.len(), count, absent, rows: Vec::new() });
            columns.extend(
                definition.fields.iter().map(|field| ColumnType::of(&field.field_type).column(absent + 1)),
            );
        }
        let own = columns.len();
        columns.extend(
            OWN.iter().map(|(_, column, presence)| column.column(i16::from(*presence == Presence::Optional))),
        );
        Self { columns, groups: fields, own, count: 0, unseen: 0, is_full: false }
    }

    /// Whether it is to be written.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds the row of an event.
    pub fn add(&mut self, found: Found<'_>, groups: &Groups, payload: Option<bool>) {
        let (event, kind) = (found.event, found.kind);
        if let (Some(group), Some(definition)) = (groups.of(found.kind_at), &kind.definition) {
            let fields = &mut self.groups[group];
            fields.rows.push(self.count as u32);
            let columns = &mut self.columns[fields.first..fields.first + fields.count];
            for (column, (_, value)) in columns.iter_mut().zip(definition.values(event.payload)) {
                match value {
                    Some(value) => add_value(column, value),
                    None => column.level(fields.absent),
                }
            }
        }
        let [
            wall,
            time,
            generation,
            ring,
            sequence,
            number,
            name,
            correlation,
            node,
            weight,
            flags,
            tid,
            thread,
            bytes,
        ] = &mut self.columns[self.own..]
        else {
            return;
        };
        // 2^63 - 1 means infinity to some readers.
        match i64::try_from(event.realtime_ns) {
            Ok(ns) if ns < i64::MAX => wall.integer(ns),
            _ => wall.level(0),
        }
        time.integer(event.timestamp_ns.cast_signed());
        generation.integer(event.generation.cast_signed());
        ring.integer(event.ring_id.cast_signed());
        sequence.integer(event.sequence.cast_signed());
        number.integer(event.kind.into());
        match &kind.name {
            Some(text) => name.bytes(text.as_bytes()),
            None => name.level(0),
        }
        correlation.integer(event.correlation_id.cast_signed());
        node.integer(event.node_id.cast_signed());
        weight.float(event.weight);
        flags.integer(event.flags.into());
        match found.thread {
            Some(found) => {
                tid.integer(found.thread_id.cast_signed());
                thread.text(&found.name);
            }
            None => [tid, thread].into_iter().for_each(|column| column.level(0)),
        }
        if payload.unwrap_or_else(|| !kind.says_all(event.payload)) {
            bytes.bytes(event.payload);
        } else {
            bytes.level(0);
        }
        self.count += 1;
        self.unseen += event.payload.len();
        if self.count.is_multiple_of(LOOK_EVERY) || self.unseen > MAX_BYTES / 8 {
            self.unseen = 0;
            let columns: usize = self.columns.iter().map(Column::size).sum();
            let rows: usize = self.groups.iter().map(|group| group.rows.len() * 4).sum();
            self.is_full = columns + rows >= MAX_BYTES || self.count >= MAX_ROWS;
        }
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns, each with the rows that it has levels for; `None`: for every row.
    pub fn columns_with_rows(&mut self) -> impl Iterator<Item = (&mut Column, Option<&[u32]>)> {
        let of_fields = self
            .groups
            .iter()
            .flat_map(|group| std::iter::repeat_n(Some(group.rows.as_slice()), group.count));
        self.columns.iter_mut().zip(of_fields.chain(std::iter::repeat(None)))
    }

    /// The number of rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Removes the rows.
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(Column::clear);
        self.groups.iter_mut().for_each(|group| group.rows.clear());
        (self.count, self.unseen, self.is_full) = (0, 0, false);
    }
}

fn add_value(column: &mut Column, value: Value<'_>) {
    match value {
        Value::Unsigned(number) | Value::Address(number) => column.integer(number.cast_signed()),
        Value::Signed(number) => column.integer(number),
        Value::F32(number) => column.float(number.into()),
        Value::F64(number) => column.float(number),
        Value::Bool(value) => column.bool(value),
        Value::String(bytes) => column.text(bytes),
        Value::Bytes(bytes) => column.bytes(bytes),
        Value::Enum { name: Some(name), .. } => column.bytes(name.as_bytes()),
        Value::Enum { value, name: None } => column.bytes(value.to_string().as_bytes()),
    }
}
