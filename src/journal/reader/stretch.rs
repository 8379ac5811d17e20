//! A stretch: neighbouring blocks of a segment that are read at once. A large block is a stretch of its own.

use super::allocation::push;
use super::body::{Decoding, NoBody, check, is_raw, records as records_of};
use super::event::{Event, realtime};
use super::filter::Filter;
use super::place::{Entry, Key, Place};
use super::segment::Open;
use super::skips::Skips;
use super::window::read_up_to;
use crate::journal::format::block::{BlockHeader, BlockType, Piece};
use crate::journal::format::record::{Record, TICKS};
use std::io;
use std::ops::Range;

/// A block of a stretch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    pub generation: u64,
    pub ring_id: u64,
    pub realtime_offset: i64,
    /// The bounds of the times of its events in the order of time.
    pub first: u64,
    pub last: u64,
    pub shift: u64,
    pub segment: u32,
    /// Its records are among those that were decoded, and not where they were read.
    pub decoded: bool,
    /// Its one record is not here, because it is large: the position of its stretch in the index.
    pub elsewhere: Option<usize>,
    /// The sequence of the first record.
    pub sequence: u64,
}

mod collect;

/// What to take from a stretch.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub blocks: BlockType,
    pub filter: &'a Filter,
    pub skips: &'a Skips,
    /// The reader's memory.
    pub memory: u64,
    /// Only events from here on.
    pub from: Option<Key>,
    /// Only events before this.
    pub before: Option<Key>,
    /// In the order of time.
    pub sorted: bool,
}

/// A block that gave no events.
#[derive(Debug)]
pub(super) struct Failure {
    pub why: NoBody,
    /// `None`: there is no valid block any more.
    pub header: Option<BlockHeader>,
    /// The bytes that are skipped.
    pub bytes: u64,
    /// The events in them, as far as headers have counted them.
    pub events: u32,
}

impl Failure {
    /// Of a block that has a valid header.
    pub fn of(header: &BlockHeader, why: NoBody) -> Self {
        let events = if header.kind == BlockType::EVENTS { header.count } else { 0 };
        Self { why, header: Some(*header), bytes: header.total(), events }
    }
}

/// Neighbouring blocks, as they are read.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    read: Vec<u8>,
    decoded: Vec<u8>,
    pieces: Vec<Piece>,
    pub blocks: Vec<Block>,
    pub table: Vec<Entry>,
    /// The entry of the next event.
    next: usize,
    /// The block of another stretch whose event was copied last.
    copied: Option<u32>,
    /// The blocks that gave none of their events.
    pub failures: Vec<Failure>,
}

impl Stretch {
    pub fn clear(&mut self) {
        self.copied = None;
        self.blocks.clear();
        self.table.clear();
        self.failures.clear();
        self.next = 0;
    }

    /// The memory that it holds.
    pub fn memory(&self) -> usize {
        let table = self.table.capacity() * size_of::<Entry>();
        self.read.capacity() + self.decoded.capacity() + self.blocks.capacity() * size_of::<Block>() + table
    }

    /// Gives large buffers back.
    pub fn shrink(&mut self, to: usize) {
        if self.memory() > to {
            *self = Self::default();
        }
    }

    /// Reads the stretch at a place. Blocks that cannot be read are in `failures`. An error: the system refuses to read, or there is no memory (`OutOfMemory`).
    pub fn load(
        &mut self,
        open: &Open,
        place: &Place,
        wanted: &Wanted<'_>,
        decoding: &mut Decoding,
    ) -> io::Result<()> {
        self.clear();
        self.decoded.clear();
        let len = usize::try_from(place.len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if self.read.len() < len {
            let more = len - self.read.len();
            self.read.try_reserve_exact(more).map_err(|_| io::ErrorKind::OutOfMemory)?;
            self.read.resize(len, 0);
        }
        let read = read_up_to(open.file()?, &mut self.read[..len], place.offset)?;
        let (mut at, mut events) = (0, place.events);
        while at < len {
            let header = self.header_at(at, read, open, place.offset);
            let Some(header) = header else {
                let bytes = (len - at) as u64;
                push(&mut self.failures, Failure { why: NoBody::Damaged, header: None, bytes, events })?;
                break;
            };
            if header.kind == wanted.blocks && wanted.filter.wants_block(&header) {
                events = events.saturating_sub(header.count);
                let taken = self.take(at..read, open, place, &header, wanted, decoding);
                if let Err(why) = taken {
                    if matches!(why, NoBody::NoMemory) {
                        return Err(io::ErrorKind::OutOfMemory.into());
                    }
                    push(&mut self.failures, Failure::of(&header, why))?;
                }
            }
            at = at.saturating_add(usize::try_from(header.total()).unwrap_or(usize::MAX));
        }
        if wanted.sorted {
            self.sort();
        }
        Ok(())
    }

    fn header_at(&mut self, at: usize, read: usize, open: &Open, offset: u64) -> Option<BlockHeader> {
        self.pieces.clear();
        let bytes = self.read.get(at..read)?;
        let generation = open.info.header.generation;
        BlockHeader::decode(bytes, open.salted, generation, offset + at as u64, &mut self.pieces)
    }

    /// Takes the events of the block that was read to `at`.
    fn take(
        &mut self,
        Range { start: at, end: read }: Range<usize>,
        open: &Open,
        place: &Place,
        header: &BlockHeader,
        wanted: &Wanted<'_>,
        decoding: &mut Decoding,
    ) -> Result<(), NoBody> {
        // The file may have changed since its headers were read.
        check(header, wanted.memory)?;
        let start = at + header.size();
        let end = usize::try_from(header.stored_len).ok().and_then(|len| start.checked_add(len));
        let end = end.filter(|&end| end <= read).ok_or(NoBody::Damaged)?;
        let stored = &self.read[start..end];
        if open.salted.of(&[stored]) != header.body_sum {
            return Err(NoBody::Damaged);
        }
        let raw = is_raw(header);
        let (records, start) = if raw {
            (&self.read[..end], start)
        } else {
            let start = self.decoded.len();
            decoding.decode(stored, header, &mut self.decoded)?;
            (&self.decoded[..], start)
        };
        let block = Block {
            generation: header.generation,
            ring_id: header.ring_id,
            realtime_offset: header.realtime_offset_ns,
            first: header.first_ns.saturating_add(open.shift),
            last: header.last_ns.max(header.first_ns).saturating_add(open.shift),
            shift: open.shift,
            segment: place.segment,
            decoded: !raw,
            elsewhere: None,
            sequence: header.first_sequence,
        };
        let skip = wanted.skips.of(place.segment, header.offset);
        let before = self.table.len();
        self.blocks.try_reserve(1).map_err(|_| NoBody::NoMemory)?;
        let number = self.blocks.len() as u32;
        // The whole table of the block at once, because one entry at a time would check for room each time.
        self.table.try_reserve(header.count as usize).map_err(|_| NoBody::NoMemory)?;
        let kept = records_of(records, start, header, &self.pieces, |record, at, time, index| {
            let key = || block.key(time, record.sequence);
            let taken = wanted.filter.wants(record.kind, record.correlation_id, time, block.realtime_offset)
                && skip.is_none_or(|skip| !skip.has(index))
                && wanted.from.is_none_or(|from| key() >= from)
                && wanted.before.is_none_or(|before| key() < before);
            if taken {
                self.table.push(Entry { time, at: at as u32, block: number });
            }
        });
        if !kept {
            self.table.truncate(before);
            return Err(NoBody::Damaged);
        }
        self.blocks.push(block);
        Ok(())
    }

    /// Brings the table into the order of time.
    pub fn sort(&mut self) {
        let out_of_order = |pair: &[Entry]| {
            let [first, second] = pair else { return false };
            let (a, b) = (&self.blocks[first.block as usize], &self.blocks[second.block as usize]);
            let (a, b) = (a.time(first.time), b.time(second.time));
            a > b || a == b && first.block != second.block
        };
        if !self.table.windows(2).any(out_of_order) {
            return;
        }
        let mut table = std::mem::take(&mut self.table);
        table.sort_unstable_by_key(|entry| self.key(entry));
        self.table = table;
    }

    /// The order of an event.
    pub fn key(&self, entry: &Entry) -> Key {
        let block = &self.blocks[entry.block as usize];
        let sequence = match block.elsewhere {
            Some(_) => block.sequence,
            None => self.record(entry).map_or(0, |record| record.sequence),
        };
        block.key(entry.time, sequence)
    }

    /// The time of an event in the order of time.
    #[inline]
    pub fn time(&self, entry: &Entry) -> u64 {
        self.blocks[entry.block as usize].time(entry.time)
    }

    /// Goes to the next event. `false`: there is none.
    #[inline]
    pub fn go_on(&mut self) -> bool {
        let goes = self.has_next();
        self.next += usize::from(goes);
        goes
    }

    /// Whether there is a next event.
    #[inline]
    pub fn has_next(&self) -> bool {
        self.next < self.table.len()
    }

    /// Goes to the next event, if its time is before `limit`.
    #[inline]
    pub fn go_on_before(&mut self, limit: u64) -> bool {
        let goes = self.table.get(self.next).is_some_and(|entry| self.time(entry) < limit);
        self.next += usize::from(goes);
        goes
    }

    /// The order of the next event.
    pub fn head(&self) -> Option<Key> {
        self.table.get(self.next).map(|entry| self.key(entry))
    }

    /// Where the next event lies, if that is elsewhere.
    pub fn elsewhere(&self) -> Option<usize> {
        self.blocks.get(self.table.get(self.next)?.block as usize)?.elsewhere
    }

    /// The current event.
    #[inline]
    pub fn current(&self) -> Option<Event<'_>> {
        self.event(self.table.get(self.next.checked_sub(1)?)?)
    }

    /// The record of an event.
    #[inline]
    pub fn record(&self, entry: &Entry) -> Option<Record<'_>> {
        let block = self.blocks.get(entry.block as usize)?;
        let bytes = if block.decoded { &self.decoded } else { &self.read };
        Some(Record::decode(bytes, entry.at as usize)?.0)
    }

    /// The bytes of a record.
    fn record_bytes(&self, entry: &Entry) -> Option<&[u8]> {
        let bytes = if self.blocks.get(entry.block as usize)?.decoded { &self.decoded } else { &self.read };
        let (_, end) = Record::decode(bytes, entry.at as usize)?;
        bytes.get(entry.at as usize..end)
    }

    /// An event.
    #[inline]
    pub fn event(&self, entry: &Entry) -> Option<Event<'_>> {
        let record = self.record(entry)?;
        let block = self.blocks.get(entry.block as usize)?;
        Some(Event {
            generation: block.generation,
            ring_id: block.ring_id,
            sequence: record.sequence,
            timestamp_ns: entry.time,
            realtime_ns: realtime(entry.time, block.realtime_offset),
            correlation_id: record.correlation_id,
            node_id: record.node_id,
            kind: record.kind,
            flags: record.flags & !TICKS,
            weight: f64::from(record.weight),
            segment: block.segment as usize,
            payload: record.payload,
        })
    }
}

impl Block {
    /// The time of an event in the order of time. A header that is wrong about the times of its events must not bring events before those that have been given.
    #[inline]
    pub fn time(&self, time: u64) -> u64 {
        time.saturating_add(self.shift).clamp(self.first, self.last)
    }

    #[inline]
    pub fn key(&self, time: u64, sequence: u64) -> Key {
        Key { time: self.time(time), generation: self.generation, ring_id: self.ring_id, sequence }
    }
}
