//! A message that was checked, and its events one after another.

use crate::journal::blocks::facts::FactRef;
use crate::journal::format::block::{Piece, piece_of};
use crate::journal::format::record::{Record, TICKS};
use crate::journal::reader::Event;
use crate::journal::reader::event::realtime;
use std::ops::Range;

/// What a reader has found in a message. The message itself is the caller's.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub blocks: Vec<Block>,
    pub facts: Vec<Place>,
    pub pieces: Vec<Piece>,
    /// The records of blocks that lie otherwise in the message.
    pub records: Vec<u8>,
    generation: u64,
    /// The address and the length of the message.
    message: (usize, usize),
}

/// A block of events that has been checked.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub ring_id: u64,
    pub realtime_offset_ns: i64,
    pub pieces: Range<usize>,
    pub records: Place,
}

/// Where records lie.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Message(Range<usize>),
    Decoded(Range<usize>),
}

impl Place {
    pub fn of<'a>(&self, message: &'a [u8], decoded: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Message(range) => message.get(range.clone()),
            Self::Decoded(range) => decoded.get(range.clone()),
        }
        .unwrap_or_default()
    }
}

/// The records of a body that was checked.
pub(super) struct Records<'a>(pub &'a [u8], pub usize);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (record, next) = Record::decode(self.0, self.1)?;
        self.1 = next;
        Some(record)
    }
}

/// A place among the events of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    block: usize,
    at: usize,
}

/// The events of a message, in their order.
#[derive(Debug)]
pub struct Events<'a> {
    taken: &'a Taken,
    message: &'a [u8],
    at: Cursor,
    /// The block behind the last one.
    end: usize,
}

/// The events of one block: a stretch of one ring.
#[derive(Debug)]
pub struct Stretch<'a> {
    /// The ring.
    pub ring_id: u64,
    /// CLOCK_REALTIME minus CLOCK_MONOTONIC, when the message was made.
    pub realtime_offset_ns: i64,
    /// The events.
    pub events: Events<'a>,
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        self.taken.next(self.message, &mut self.at, self.end)
    }
}

/// More is given back after a message.
const KEPT: usize = 16 << 20;

impl Taken {
    /// It is what was found in this message.
    pub fn is(&mut self, message: &[u8], generation: u64) {
        self.message = (message.as_ptr().addr(), message.len());
        self.generation = generation;
    }

    pub fn clear(&mut self) {
        self.message = (0, 0);
        self.generation = 0;
        self.blocks.clear();
        self.facts.clear();
        self.pieces.clear();
        self.records.clear();
        if self.records.capacity() > KEPT {
            self.records = Vec::new();
        }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn is_of(&self, message: &[u8]) -> bool {
        self.message == (message.as_ptr().addr(), message.len())
    }

    pub fn events<'a>(&'a self, message: &'a [u8]) -> Events<'a> {
        Events { taken: self, message, at: Cursor::default(), end: self.blocks.len() }
    }

    pub fn stretches<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = Stretch<'a>> {
        let blocks = if self.is_of(message) { &self.blocks[..] } else { &[] };
        blocks.iter().enumerate().map(move |(at, block)| Stretch {
            ring_id: block.ring_id,
            realtime_offset_ns: block.realtime_offset_ns,
            events: Events { taken: self, message, at: Cursor { block: at, at: 0 }, end: at + 1 },
        })
    }

    pub fn told<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = FactRef<'a>> {
        let facts = if self.is_of(message) { &self.facts[..] } else { &[] };
        let records = facts.iter().flat_map(move |place| Records(place.of(message, &self.records), 0));
        records.map(|record| FactRef {
            kind: record.kind,
            correlation_id: record.correlation_id,
            node_id: record.node_id,
            payload: record.payload,
        })
    }

    /// The event at a place before the block `end`, if this is the message. The place moves on.
    pub fn next<'a>(&'a self, message: &'a [u8], cursor: &mut Cursor, end: usize) -> Option<Event<'a>> {
        if !self.is_of(message) {
            return None;
        }
        while cursor.block < end {
            let block = self.blocks.get(cursor.block)?;
            let records = block.records.of(message, &self.records);
            let Some((record, next)) = Record::decode(records, cursor.at) else {
                *cursor = Cursor { block: cursor.block + 1, at: 0 };
                continue;
            };
            cursor.at = next;
            return Some(self.event(block, &record));
        }
        None
    }

    fn event<'a>(&self, block: &Block, record: &Record<'a>) -> Event<'a> {
        let timestamp_ns = if record.flags & TICKS == 0 {
            record.timestamp
        } else {
            let pieces = &self.pieces[block.pieces.clone()];
            piece_of(pieces, record.timestamp).map_or(0, |piece| piece.ns(record.timestamp))
        };
        Event {
            generation: self.generation,
            ring_id: block.ring_id,
            sequence: record.sequence,
            timestamp_ns,
            realtime_ns: realtime(timestamp_ns, block.realtime_offset_ns),
            correlation_id: record.correlation_id,
            node_id: record.node_id,
            kind: record.kind,
            flags: record.flags & !TICKS,
            weight: f64::from(record.weight),
            segment: 0,
            payload: record.payload,
        }
    }
}
