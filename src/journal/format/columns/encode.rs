//! From the records of a block to its body.

use super::codec::Compressor;
use super::column::{self, Level, Work};
use super::shapes::{COLUMNS, FIELDS, Shapes};
use super::{NoMemory, SURPLUS, reserve, room, trim};
use crate::journal::format::block::{codec, filter};
use crate::journal::format::bytes::{u32_at, u64_at};

/// The sequence, the timestamp, the correlation id, the node id: their number, and where the first one lies in a record.
const WORDS: usize = 4;
const FIRST_WORD: usize = 16;
const HEADER: usize = 48;

/// The body of a block, as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// The number for the block's header: [`filter::COLUMNS`], or [`filter::NONE`] if columns are no shorter than the records.
    pub filter: u8,
    /// The number for the block's header.
    pub codec: u8,
    /// The number of records.
    pub count: u32,
    /// The length of the records.
    pub raw_len: u64,
    /// The bytes. Empty without filter and codec: then the body is the records as they were given.
    pub bytes: &'a [u8],
}

/// Why records cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// There is not enough memory. The records can be written raw.
    NoMemory,
    /// The bytes of a span are not whole records.
    NotRecords,
}

impl From<NoMemory> for EncodeError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// Makes the bodies of blocks. One serves any number of blocks, one after another, and keeps its memory.
#[derive(Default)]
pub struct Encoder {
    shapes: Shapes,
    /// The number of the shape of each record.
    numbers: Vec<u64>,
    /// The other fields of each record.
    fields: [Vec<u64>; WORDS],
    /// The words of the payloads: for each shape in columns, each column in one piece.
    words: Vec<u64>,
    /// Where the next payload of each shape goes in `words`.
    next: Vec<usize>,
    work: Work,
    columns: Vec<u8>,
    packed: Vec<u8>,
    compressor: Compressor,
}

/// The payload of a record with what pads it, and its length with the header.
#[inline(always)]
fn split(rest: &[u8]) -> Option<(&[u8; HEADER], &[u8], usize)> {
    let (header, rest) = rest.split_first_chunk::<HEADER>()?;
    let padded = (u32_at(header, 0) as usize).next_multiple_of(8);
    Some((header, rest.get(..padded)?, HEADER + padded))
}

impl Encoder {
    /// Encodes the records of a block, which lie in one or several spans of whole records. `with` is the codec that the body should have;
    /// where it does not pay, or this build does not have it, the body has none.
    pub fn encode<'s>(
        &mut self,
        spans: impl Iterator<Item = &'s [u8]> + Clone,
        with: u8,
    ) -> Result<Body<'_>, EncodeError> {
        self.trim();
        let raw_len = self.gather(spans.clone())?;
        let (count, raw_len_u64) = (self.numbers.len() as u32, raw_len as u64);
        let raw = Body { filter: filter::NONE, codec: codec::NONE, count, raw_len: raw_len_u64, bytes: &[] };
        self.write_columns(spans)?;
        if self.columns.len() > raw_len.saturating_add(SURPLUS) {
            return Ok(raw);
        }
        let packed = self.compressor.compress(with, &self.columns, &mut self.packed)?;
        let (codec, bytes) = match packed {
            Some(len) if len < self.columns.len() => (with, &self.packed[..len]),
            _ => (codec::NONE, &self.columns[..]),
        };
        Ok(if bytes.len() <= raw_len { Body { filter: filter::COLUMNS, codec, bytes, ..raw } } else { raw })
    }

    /// Reads the headers of the records into columns, and answers the length of all records.
    fn gather<'s>(&mut self, spans: impl Iterator<Item = &'s [u8]>) -> Result<usize, EncodeError> {
        self.shapes.clear();
        self.numbers.clear();
        self.fields.iter_mut().for_each(Vec::clear);
        let mut raw_len = 0_usize;
        for span in spans {
            let most = span.len() / HEADER;
            reserve(&mut self.numbers, most)?;
            let [sequences, times, correlations, nodes] = &mut self.fields;
            for field in [&mut *sequences, &mut *times, &mut *correlations, &mut *nodes] {
                reserve(field, most)?;
            }
            let mut rest = span;
            while !rest.is_empty() {
                let (header, payload, stride) = split(rest).ok_or(EncodeError::NotRecords)?;
                self.numbers.push(self.shapes.number(header, payload)?);
                sequences.push(u64_at(header, FIRST_WORD));
                times.push(u64_at(header, FIRST_WORD + 8));
                correlations.push(u64_at(header, FIRST_WORD + 16));
                nodes.push(u64_at(header, FIRST_WORD + 24));
                rest = &rest[stride..];
            }
            raw_len += span.len();
        }
        if u32::try_from(self.numbers.len()).is_err() { Err(EncodeError::NotRecords) } else { Ok(raw_len) }
    }

    fn write_columns<'s>(
        &mut self,
        spans: impl Iterator<Item = &'s [u8]> + Clone,
    ) -> Result<(), EncodeError> {
        let Self { shapes, numbers, fields, words, next, work, columns, .. } = self;
        columns.clear();
        reserve(columns, 8)?;
        columns.extend_from_slice(&(numbers.len() as u32).to_le_bytes());
        columns.extend_from_slice(&(shapes.list.len() as u32).to_le_bytes());
        for field in 0..FIELDS {
            let of_shapes = room(words, shapes.list.len())?;
            of_shapes.iter_mut().zip(&shapes.list).for_each(|(to, shape)| *to = shape.fields()[field]);
            column::write(of_shapes, Level::Field, work, columns)?;
        }
        column::write(numbers, Level::Field, work, columns)?;
        for field in fields {
            column::write(field, Level::Field, work, columns)?;
        }

        // The payloads: first where the columns of each shape lie.
        next.clear();
        reserve(next, shapes.list.len())?;
        let mut total = 0;
        let mut rows_len = 0;
        for shape in &shapes.list {
            next.push(if shape.layout() == COLUMNS { total } else { usize::MAX });
            if shape.layout() == COLUMNS {
                total += shape.words() * shape.count;
            } else {
                rows_len += shape.len() * shape.count;
            }
        }
        let words = room(words, total)?;
        for_each(spans.clone(), numbers, |number, payload| {
            let at = next[number];
            if at != usize::MAX {
                let shape = &shapes.list[number];
                let padding = shape.words() * 8 - shape.len();
                let mut place = at;
                for word in payload.chunks_exact(8) {
                    words[place] = u64_at(word, 0);
                    place += shape.count;
                }
                // The padding of a record has any bytes.
                words[place - shape.count] &= u64::MAX >> (8 * padding);
                next[number] = at + 1;
            }
        });
        let mut rest = &*words;
        for shape in shapes.list.iter().filter(|shape| shape.layout() == COLUMNS) {
            for _ in 0..shape.words() {
                let (values, behind) = rest.split_at(shape.count);
                column::write(values, Level::Field, work, columns)?;
                rest = behind;
            }
        }
        if rows_len > 0 {
            reserve(columns, rows_len)?;
            for_each(spans, numbers, |number, payload| {
                if next[number] == usize::MAX {
                    columns.extend_from_slice(&payload[..shapes.list[number].len()]);
                }
            });
        }
        Ok(())
    }

    fn trim(&mut self) {
        self.fields.iter_mut().chain([&mut self.numbers, &mut self.words]).for_each(trim);
        trim(&mut self.columns);
        trim(&mut self.packed);
    }
}

/// Calls `act` with the shape's number and the padded payload of each record.
#[inline(always)]
fn for_each<'s>(
    spans: impl Iterator<Item = &'s [u8]>,
    numbers: &[u64],
    mut act: impl FnMut(usize, &'s [u8]),
) {
    let mut numbers = numbers.iter();
    for span in spans {
        let mut rest = span;
        while !rest.is_empty() {
            let (Some((_, payload, stride)), Some(number)) = (split(rest), numbers.next()) else { return };
            act(*number as usize, payload);
            rest = &rest[stride..];
        }
    }
}
