//! From the body of a block to its records.

use super::codec::Decompressor;
use super::column::{self, Input, Level, Work};
use super::decode_error::DecodeError;
use super::shapes::{FIELDS, ReadShape};
use super::{SURPLUS, reserve, room, trim};
use crate::journal::format::block::{codec, filter};

const WORDS: usize = 4;
const HEADER: usize = 48;

/// Restores the records of blocks. One serves any number of blocks, one after another, and keeps its memory.
#[derive(Default)]
pub struct Decoder {
    columns: Vec<u8>,
    shapes: Vec<ReadShape>,
    /// The fields of the shapes, then the words of one column.
    values: Vec<u64>,
    /// The number of the shape of each record.
    numbers: Vec<u64>,
    fields: [Vec<u64>; WORDS],
    /// Where the records lie in the result: shape by shape, and in their order within each.
    places: Vec<usize>,
    /// Where the next record of each shape goes in `places`.
    next: Vec<usize>,
    work: Work,
    decompressor: Decompressor,
}

impl Decoder {
    /// Puts the records of a body into `records`, in the place of what is there. `raw_len` is the length of the records by the block's header.
    ///
    /// The decoder needs memory for some three times `raw_len`, so the caller refuses a length beyond its own limit before. It does not look
    /// into the records of a body without filter.
    pub fn decode(
        &mut self,
        body: &[u8],
        with_filter: u8,
        with_codec: u8,
        raw_len: usize,
        records: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        self.trim();
        records.clear();
        let done = match (with_filter, with_codec) {
            (filter::NONE, codec::NONE) if body.len() == raw_len => {
                reserve(records, raw_len)?;
                records.extend_from_slice(body);
                Ok(())
            }
            (filter::NONE, codec::NONE) => {
                Err(DecodeError::Damaged("a body without codec has another length"))
            }
            (filter::NONE, _) => {
                let into = room(records, raw_len)?;
                match self.decompressor.decompress(with_codec, body, into) {
                    Ok(len) if len == raw_len => Ok(()),
                    Ok(_) => Err(DecodeError::Damaged("the records have another length")),
                    Err(error) => Err(error),
                }
            }
            (filter::COLUMNS, codec::NONE) => self.restore(body, raw_len, records),
            (filter::COLUMNS, _) => {
                let mut columns = std::mem::take(&mut self.columns);
                let most = raw_len.saturating_add(SURPLUS);
                let done = room(&mut columns, most).map_err(DecodeError::from).and_then(|into| {
                    let len = self.decompressor.decompress(with_codec, body, into)?;
                    self.restore(&into[..len], raw_len, records)
                });
                self.columns = columns;
                done
            }
            (other, _) => Err(DecodeError::Filter(other)),
        };
        if done.is_err() {
            records.clear();
        }
        done
    }

    fn restore(&mut self, columns: &[u8], raw_len: usize, records: &mut Vec<u8>) -> Result<(), DecodeError> {
        let mut input = Input::new(columns);
        let (count, shapes) = (input.number()? as usize, input.number()? as usize);
        if count > raw_len / HEADER || shapes > count {
            return Err(DecodeError::Damaged("the columns have more records than the block"));
        }
        self.read_shapes(&mut input, shapes)?;
        let numbers = room(&mut self.numbers, count)?;
        column::read(&mut input, Level::Field, &mut self.work, numbers)?;
        for field in &mut self.fields {
            column::read(&mut input, Level::Field, &mut self.work, room(field, count)?)?;
        }
        self.write_headers(count, raw_len, records)?;
        self.write_words(&mut input, records)?;
        self.write_rows(&mut input, count, records)?;
        if input.is_empty() { Ok(()) } else { Err(DecodeError::Damaged("bytes behind the columns")) }
    }

    fn read_shapes(&mut self, input: &mut Input, count: usize) -> Result<(), DecodeError> {
        let values = room(&mut self.values, count.saturating_mul(FIELDS))?;
        for field in values.chunks_exact_mut(count.max(1)) {
            column::read(input, Level::Field, &mut self.work, field)?;
        }
        if count == 0 {
            for _ in 0..FIELDS {
                column::read(input, Level::Field, &mut self.work, &mut [])?;
            }
        }
        self.shapes.clear();
        reserve(&mut self.shapes, count)?;
        for n in 0..count {
            let fields = std::array::from_fn(|field| values[field * count + n]);
            let shape = ReadShape::from_fields(fields);
            self.shapes.push(shape.ok_or(DecodeError::Damaged("a shape has a field out of its range"))?);
        }
        Ok(())
    }

    /// Makes room for the records, zeroed, and writes their headers.
    fn write_headers(
        &mut self,
        count: usize,
        raw_len: usize,
        records: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let mut total = 0_usize;
        for number in &self.numbers[..count] {
            let shape = usize::try_from(*number).ok().and_then(|number| self.shapes.get_mut(number));
            let shape = shape.ok_or(DecodeError::Damaged("a record has an unknown shape"))?;
            shape.count += 1;
            total = total.saturating_add(shape.stride());
        }
        if total != raw_len {
            return Err(DecodeError::Damaged("the records have another length"));
        }
        self.next.clear();
        reserve(&mut self.next, self.shapes.len())?;
        let mut before = 0;
        for shape in &self.shapes {
            self.next.push(before);
            before += shape.count;
        }
        reserve(records, raw_len)?;
        records.resize(raw_len, 0);
        let places = room(&mut self.places, count)?;
        let [sequences, times, correlations, nodes] = &self.fields;
        let fields = sequences.iter().zip(times).zip(correlations).zip(nodes);
        let mut at = 0;
        for (number, (((sequence, time), correlation), node)) in self.numbers[..count].iter().zip(fields) {
            let number = *number as usize;
            let shape = &self.shapes[number];
            let Some(header) = records.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<HEADER>()) else {
                break;
            };
            header[..16].copy_from_slice(&shape.start);
            header[16..24].copy_from_slice(&sequence.to_le_bytes());
            header[24..32].copy_from_slice(&time.to_le_bytes());
            header[32..40].copy_from_slice(&correlation.to_le_bytes());
            header[40..48].copy_from_slice(&node.to_le_bytes());
            places[self.next[number]] = at;
            self.next[number] += 1;
            at += shape.stride();
        }
        Ok(())
    }

    /// Writes the payloads that lie in columns.
    fn write_words(&mut self, input: &mut Input, records: &mut [u8]) -> Result<(), DecodeError> {
        let mut places = &self.places[..];
        for shape in &self.shapes {
            let (own, others) = places.split_at(shape.count);
            places = others;
            if !shape.columns {
                continue;
            }
            let values = room(&mut self.values, shape.count)?;
            for word in 0..shape.words() {
                column::read(input, Level::Field, &mut self.work, values)?;
                let offset = HEADER + word * 8;
                // The bytes behind a payload stay zero.
                let mask = u64::MAX >> (8 * (word * 8 + 8).saturating_sub(shape.len));
                for (value, place) in values.iter().zip(own) {
                    let at = place + offset;
                    if let Some(to) = records.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<8>()) {
                        *to = (value & mask).to_le_bytes();
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the payloads that lie one after another.
    fn write_rows(&self, input: &mut Input, count: usize, records: &mut [u8]) -> Result<(), DecodeError> {
        if self.shapes.iter().all(|shape| shape.columns || shape.len == 0) {
            return Ok(());
        }
        let mut at = 0;
        for number in &self.numbers[..count] {
            let shape = &self.shapes[*number as usize];
            if !shape.columns {
                let payload = input.take(shape.len)?;
                let start = at + HEADER;
                if let Some(to) = records.get_mut(start..start + shape.len) {
                    to.copy_from_slice(payload);
                }
            }
            at += shape.stride();
        }
        Ok(())
    }

    fn trim(&mut self) {
        self.fields.iter_mut().chain([&mut self.numbers, &mut self.values]).for_each(trim);
        trim(&mut self.columns);
        trim(&mut self.places);
    }
}
