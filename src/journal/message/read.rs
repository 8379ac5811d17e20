//! From messages to events.

use super::SALT;
use super::known::Known;
use super::taken::{Block, Cursor, Events, Place, Records, Stretch, Taken};
use crate::journal::blocks::facts::FactRef;
use crate::journal::format::aligned;
use crate::journal::format::block::{BlockHeader, BlockType, CRITICAL, MAGIC, Piece, SIZE};
use crate::journal::format::checksum::Salted;
use crate::journal::reader::body::{self, Decoding, NoBody};
use crate::journal::reader::{Facts, Options};
use crate::platform::memory;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, PIPELINE_ERR_UNSUPPORTED, Result};
use std::ops::Range;

/// An event of a message.
pub use crate::journal::reader::Event;

/// What is in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The run of the pipeline.
    pub generation: u64,
    /// The blocks of events: stretches of one ring each.
    pub stretches: u32,
    /// The events.
    pub events: u64,
    /// The ring of the first event.
    pub ring_id: u64,
    /// The sequence of the first event; without events the number of the first fact.
    pub first_sequence: u64,
    /// The facts.
    pub facts: u64,
}

/// Gives the events of messages, one message after another, and remembers the facts in them.
///
/// ```
/// use capture_pipeline::journal::message::Reader;
///
/// # fn print(body: &[u8]) -> Result<(), capture_pipeline::status::Error> {
/// let mut reader = Reader::default();
/// let summary = reader.take(body)?;
/// for event in reader.events(body) {
///     println!("{:x} {} {} {}", event.generation, event.ring_id, event.sequence, event.payload.len());
/// }
/// # assert!(summary.events > 0);
/// # Ok(())
/// # }
/// # assert!(print(b"no message").is_err());
/// ```
#[derive(Debug)]
pub struct Reader {
    memory: u64,
    taken: Taken,
    decoding: Decoding,
    known: Known,
    keeps_facts: bool,
}

impl Default for Reader {
    /// With the memory that a reader of journals has.
    fn default() -> Self {
        Self {
            memory: Options::MEMORY as u64,
            taken: Taken::default(),
            decoding: Decoding::default(),
            known: Known::default(),
            keeps_facts: true,
        }
    }
}

impl Reader {
    /// A reader that uses at most about so many bytes of memory for a message. An error: they are too few.
    pub fn new(memory_bytes: u64) -> Result<Self> {
        let least = Options::MIN_MEMORY as u64;
        if memory_bytes < least {
            let detail = format!("memory_bytes: at least {least} allowed, {memory_bytes} given");
            return Err(Error::new(PIPELINE_ERR_INVALID, detail));
        }
        Ok(Self { memory: memory_bytes, ..Self::default() })
    }

    /// The same reader, which remembers no facts. [`told`](Self::told) has those of the message.
    pub fn without_facts(self) -> Self {
        Self { keeps_facts: false, known: Known::default(), ..self }
    }

    /// The bytes of memory that the events of the message take, beside the message.
    pub fn decoded_bytes(&self) -> usize {
        self.taken.records.len()
    }

    /// Takes a message: checks all of it, and remembers its facts. A message that is damaged anywhere is refused as a whole, and then the reader has no message.
    ///
    /// Errors: `PIPELINE_ERR_INVALID`: it is no message, or damaged. `_UNSUPPORTED`: a later version, or another build of the library, wrote it. `_LIMIT`: it needs
    /// more than the reader's memory. `_NO_MEMORY`: take it again later.
    pub fn take(&mut self, message: &[u8]) -> Result<Summary> {
        self.taken.clear();
        let taken = self.check(message);
        match &taken {
            Ok(summary) => self.taken.is(message, summary.generation),
            Err(_) => self.taken.clear(),
        }
        taken
    }

    /// The events of the message that was taken last, which is `message`. Another message has none.
    pub fn events<'a>(&'a self, message: &'a [u8]) -> Events<'a> {
        self.taken.events(message)
    }

    /// The same, block by block.
    pub fn stretches<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = Stretch<'a>> {
        self.taken.stretches(message)
    }

    /// The facts in the message, in their order.
    pub fn told<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = FactRef<'a>> {
        self.taken.told(message)
    }

    /// What messages have told so far about the events of a run. The runs that were used least recently are forgotten, if there are too many.
    pub fn facts(&self, generation: u64) -> &Facts {
        self.known.of(generation)
    }

    /// The run of the message that was taken last.
    pub fn generation(&self) -> u64 {
        self.taken.generation()
    }

    /// The event at a place of the message that was taken last, if this is it. The place moves on.
    pub(crate) fn next<'a>(&'a self, message: &'a [u8], cursor: &mut Cursor) -> Option<Event<'a>> {
        self.taken.next(message, cursor, usize::MAX)
    }

    fn check(&mut self, message: &[u8]) -> Result<Summary> {
        let generation = message.first_chunk::<16>().map_or(0, |start| {
            u64::from_le_bytes([
                start[8], start[9], start[10], start[11], start[12], start[13], start[14], start[15],
            ])
        });
        let mut summary = Summary { generation, ..Summary::default() };
        let mut at = 0;
        if message.is_empty() {
            return Err(invalid("the message is empty".into()));
        }
        while at < message.len() {
            let (header, pieces) = self.header(message, at, generation)?;
            let start = at + header.size();
            let stored_len = usize::try_from(header.stored_len).unwrap_or(usize::MAX);
            let Some(body) = message.get(start..).and_then(|rest| rest.get(..stored_len)) else {
                let detail = format!(
                    "the block at byte {at} has a body of {} bytes, and the message ends {} bytes behind its header",
                    header.stored_len,
                    message.len().saturating_sub(start)
                );
                return Err(invalid(detail));
            };
            at = start.saturating_add(aligned(header.stored_len) as usize);
            if !matches!(header.kind, BlockType::EVENTS | BlockType::FACTS) {
                if header.flags & CRITICAL != 0 {
                    let detail =
                        format!("a critical block of type {}: a later version wrote it", header.kind.0);
                    return Err(Error::new(PIPELINE_ERR_UNSUPPORTED, detail));
                }
                continue;
            }
            let place = self.body(&header, start, body)?;
            let records = place.of(message, &self.taken.records);
            let mut first = true;
            let is_right =
                body::records(records, 0, &header, &self.taken.pieces[pieces.clone()], |record, _, _, _| {
                    if std::mem::take(&mut first) {
                        summary.note(&header, record.sequence);
                    }
                });
            if !is_right {
                return Err(damaged(&header));
            }
            if header.kind == BlockType::FACTS {
                self.taken.facts.try_reserve(1).map_err(|_| memory::refused(size_of::<Place>()))?;
                self.taken.facts.push(place);
            } else {
                self.taken.blocks.try_reserve(1).map_err(|_| memory::refused(size_of::<Block>()))?;
                self.taken.blocks.push(Block {
                    ring_id: header.ring_id,
                    realtime_offset_ns: header.realtime_offset_ns,
                    pieces,
                    records: place,
                });
            }
        }
        // Nothing of a damaged message counts, so its facts come last.
        for place in self.taken.facts.iter().filter(|_| self.keeps_facts) {
            for record in Records(place.of(message, &self.taken.records), 0) {
                self.known.add(generation, &record)?;
            }
        }
        Ok(summary)
    }

    /// The header of the block at a place, and where its clock pieces are.
    fn header(&mut self, message: &[u8], at: usize, generation: u64) -> Result<(BlockHeader, Range<usize>)> {
        let rest = message.get(at..).unwrap_or_default();
        let first = self.taken.pieces.len();
        if let Some(size) = BlockHeader::peek_size(rest).filter(|size| *size <= rest.len()) {
            self.taken.pieces.try_reserve(size / size_of::<Piece>()).map_err(|_| memory::refused(size))?;
            let salted = Salted::new(SALT);
            let header = BlockHeader::decode(rest, salted, generation, at as u64, &mut self.taken.pieces);
            if let Some(header) = header {
                return Ok((header, first..self.taken.pieces.len()));
            }
        }
        Err(invalid(match at {
            0 if !rest.starts_with(&MAGIC) => {
                format!("no message of capture_pipeline: {} bytes that begin otherwise", message.len())
            }
            _ if rest.len() < SIZE => format!("{} bytes behind the last block, at byte {at}", rest.len()),
            _ => format!("no valid header of a block at byte {at} of {}", message.len()),
        }))
    }

    /// Checks the body of a block, and decodes it.
    fn body(&mut self, header: &BlockHeader, start: usize, stored: &[u8]) -> Result<Place> {
        if Salted::new(SALT).of(&[stored]) != header.body_sum {
            return Err(damaged(header));
        }
        let refused = |why| match why {
            NoBody::Damaged => damaged(header),
            NoBody::NoMemory => memory::refused(header.raw_len as usize),
            NoBody::Unreadable(why) => {
                let detail = format!("the block at byte {}: {why}", header.offset);
                Error::new(PIPELINE_ERR_UNSUPPORTED, detail)
            }
        };
        let raw = self.taken.records.len() as u64;
        if header.raw_len.max(header.stored_len) > self.memory / 8
            || raw.saturating_add(header.raw_len) > self.memory / 4
        {
            let detail = format!(
                "the block at byte {} has {} bytes of events, {raw} are before it, and memory_bytes is {}",
                header.offset, header.raw_len, self.memory
            );
            return Err(Error::new(PIPELINE_ERR_LIMIT, detail));
        }
        body::check(header, u64::MAX).map_err(refused)?;
        if body::is_raw(header) {
            return Ok(Place::Message(start..start + stored.len()));
        }
        let first = self.taken.records.len();
        self.decoding.decode(stored, header, &mut self.taken.records).map_err(refused)?;
        Ok(Place::Decoded(first..self.taken.records.len()))
    }
}

impl Summary {
    /// A block whose first record has this sequence.
    fn note(&mut self, header: &BlockHeader, sequence: u64) {
        let count = u64::from(header.count);
        if header.kind == BlockType::FACTS {
            if self.facts == 0 && self.stretches == 0 {
                self.first_sequence = sequence;
            }
            self.facts += count;
            return;
        }
        if self.stretches == 0 {
            (self.ring_id, self.first_sequence) = (header.ring_id, sequence);
        }
        self.stretches += 1;
        self.events += count;
    }
}

fn invalid(detail: String) -> Error {
    Error::new(PIPELINE_ERR_INVALID, detail)
}

fn damaged(header: &BlockHeader) -> Error {
    invalid(format!("the block at byte {} is damaged: its body is not what its header says", header.offset))
}
