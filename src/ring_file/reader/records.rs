//! The events of one ring, read piece by piece in bounded memory.

use super::aligned::Aligned;
use super::chain::{Chain, Of, Reason, Step};
use super::clock::Clock;
use super::directory::no_memory;
use super::file::{RingFile, RingWords};
use crate::event::PIPELINE_EVENT_RELEASE;
use crate::files::failure::Failure;
use crate::journal::reader::Event;
use crate::ring::record::{Record, Records};
use std::sync::atomic::{Ordering, fence};

/// So many bytes are read at once, or one record, if that is larger.
pub const PIECE_BYTES: u64 = 256 << 10;

/// How often a piece of a ring is read again because its owner has released all of it meanwhile, or because it begins with a record that is larger.
const TRIES: u32 = 1_000;

/// A piece of a ring: records that lie one behind the other. Its memory is used again if it is given to [`RingReader::next`] again.
#[derive(Debug, Default)]
pub struct Piece {
    bytes: Aligned,
    /// Where the events begin in the bytes. Handles are not among them.
    events: Vec<u32>,
    ring: u64,
    ring_id: u64,
    /// The position of the first byte.
    base: u64,
    from: u64,
    upto: u64,
    handles: u64,
}

impl Piece {
    /// Empties it, and makes room for so many bytes from this position on.
    fn begin(&mut self, ring: u64, ring_id: u64, base: u64, bytes: u64) -> Result<(), Failure> {
        self.events.clear();
        (self.ring, self.ring_id, self.handles) = (ring, ring_id, 0);
        (self.base, self.from, self.upto) = (base, base, base);
        let fits = usize::try_from(bytes).map_err(|_| no_memory(usize::MAX));
        self.bytes.resize(fits?)
    }

    /// The number of the ring in its file.
    pub fn ring(&self) -> u64 {
        self.ring
    }

    /// The ring's id.
    pub fn ring_id(&self) -> u64 {
        self.ring_id
    }

    /// The position of the first record.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The position behind the last record or pad.
    pub fn upto(&self) -> u64 {
        self.upto
    }

    /// Events whose payloads are handles (`PIPELINE_EVENT_RELEASE`). They mean nothing outside the process that captured them, and are left out.
    pub fn handles(&self) -> u64 {
        self.handles
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it has no event: only pads and handles.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The records of the events from the number `first` on.
    fn records(&self, first: usize) -> impl Iterator<Item = Record<'_>> {
        self.events.iter().skip(first).filter_map(|&at| {
            // (They were read once already, so each is one.)
            Records::new(self.bytes.get(at as usize..)?).next()
        })
    }

    /// The events from the number `first` on, in their order. `offset` is CLOCK_REALTIME minus CLOCK_MONOTONIC. Their payloads are aligned to 8 bytes.
    pub fn events<'a>(
        &'a self,
        first: usize,
        generation: u64,
        clock: &'a Clock,
        offset: i64,
    ) -> impl Iterator<Item = Event<'a>> {
        self.records(first).map(move |Record { tag, head, payload }| {
            let timestamp_ns = if tag.in_ticks() { clock.ns(head.timestamp) } else { head.timestamp };
            Event {
                generation,
                ring_id: self.ring_id,
                sequence: head.sequence,
                timestamp_ns,
                realtime_ns: timestamp_ns.saturating_add_signed(offset),
                correlation_id: head.correlation_id,
                node_id: head.node_id,
                kind: head.kind,
                flags: tag.flags(),
                weight: f64::from(head.weight),
                segment: 0,
                payload,
            }
        })
    }

    /// The position of the event with this number; of none, the position behind all.
    pub fn position(&self, event: usize) -> u64 {
        self.events.get(event).map_or(self.upto, |&at| self.base + u64::from(at))
    }
}

/// What [`RingReader::next`] has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// A piece.
    Piece,
    /// There is no more.
    End,
    /// The ring has come to another thread, under another id, while it was read. What it had is gone.
    Reassigned,
    /// Damage ends the ring.
    Damaged(Damage),
}

/// Damage in a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Damage {
    /// The number of the ring in its file.
    pub ring: u64,
    /// The ring's id.
    pub ring_id: u64,
    /// The position of the record that is damaged.
    pub position: u64,
    /// What is wrong with it.
    pub reason: Reason,
    /// The bytes from there to `head`, which are given up; at most the size of the ring.
    pub bytes: u64,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ring, ring_id, position, reason, bytes } = self;
        write!(f, "ring {ring} (id {ring_id}) at position {position}: {reason}; {bytes} bytes are given up")
    }
}

/// Reads the records of a ring, from `released` to `head` as they were when the reading began.
#[derive(Debug)]
pub struct RingReader {
    ring: u64,
    words: RingWords,
    chain: Chain,
    lives: bool,
}

impl RingReader {
    /// Reads this ring, whose words are these. `lives`: its owner may go on capturing meanwhile. `None`: there is nothing to read.
    pub fn new(file: &RingFile, ring: u64, words: RingWords, lives: bool) -> Result<Option<Self>, Damage> {
        let shape = &file.header().shape;
        if words.head == words.released || (lives && words.released > words.head) {
            return Ok(None); // (A living owner may have released what it had not committed yet when `head` was read.)
        }
        let memory = shape.bytes_of(ring);
        let chain = Chain::new(Of::Events(file.header().in_ticks), memory, words.released, words.head)
            .and_then(|chain| if words.ring_id == 0 { Err(Reason::NoRingId) } else { Ok(chain) });
        match chain {
            Ok(chain) => Ok(Some(Self { ring, words, chain, lives })),
            Err(reason) => Err(Damage {
                ring,
                ring_id: words.ring_id,
                position: words.released,
                reason,
                bytes: words.head.saturating_sub(words.released).min(memory),
            }),
        }
    }

    /// The words with which the reading began.
    pub fn words(&self) -> &RingWords {
        &self.words
    }

    /// Reads the next piece. While the owner lives, records that it has released or overwritten since are left out. After anything but a piece there is no more.
    pub fn next(&mut self, file: &RingFile, piece: &mut Piece) -> Result<Next, Failure> {
        let shape = file.header().shape;
        let memory = shape.bytes_of(self.ring);
        let mut wanted = PIECE_BYTES;
        for _ in 0..TRIES {
            let room = self.chain.in_one_piece();
            if room == 0 {
                return Ok(Next::End);
            }
            piece.begin(self.ring, self.words.ring_id, self.chain.at(), wanted.min(room))?;
            file.read(&mut piece.bytes, shape.ring_at(self.ring) + (self.chain.at() & (memory - 1)))?;
            if self.lives {
                match self.cut(file, piece)? {
                    None => {}
                    Some(end) => return Ok(end),
                }
            }
            let behind = self.take(piece)?;
            if piece.upto != piece.from {
                return Ok(Next::Piece);
            }
            match behind {
                Step::Damaged(reason) => return Ok(Next::Damaged(self.damage(reason))),
                Step::Needs(all) => wanted = all,
                // All of it was released meanwhile.
                Step::End | Step::Pad | Step::Record(_) => wanted = PIECE_BYTES,
            }
        }
        Err(Failure::transient("the ring changes faster than it can be read"))
    }

    fn damage(&self, reason: Reason) -> Damage {
        Damage {
            ring: self.ring,
            ring_id: self.words.ring_id,
            position: self.chain.at(),
            reason,
            bytes: self.chain.end() - self.chain.at(),
        }
    }

    /// Leaves out what the owner has released while the piece was read: it may have overwritten that. Answers what ends the reading, if anything does.
    fn cut(&mut self, file: &RingFile, piece: &mut Piece) -> Result<Option<Next>, Failure> {
        // The bytes were read before the words are. The owner moves `released` before it writes over what it has released.
        fence(Ordering::Acquire);
        let now = file.ring(self.ring)?;
        if now.ring_id != self.words.ring_id {
            return Ok(Some(Next::Reassigned));
        }
        if !now.released.is_multiple_of(8) {
            return Ok(Some(Next::Damaged(self.damage(Reason::Misaligned))));
        }
        self.chain.skip_to(now.released);
        (piece.from, piece.upto) = (self.chain.at(), self.chain.at());
        Ok(None)
    }

    /// Takes the records of a piece that are whole. Answers what ends them.
    fn take(&mut self, piece: &mut Piece) -> Result<Step<'static>, Failure> {
        loop {
            let at = self.chain.at() - piece.base;
            let rest = usize::try_from(at).ok().and_then(|at| piece.bytes.get(at..));
            match self.chain.step(rest.unwrap_or_default()) {
                Step::Record(record) => {
                    if record.tag.flags() & PIPELINE_EVENT_RELEASE != 0 {
                        piece.handles += 1;
                    } else {
                        piece.events.try_reserve(1).map_err(|_| no_memory(size_of::<u32>()))?;
                        piece.events.push(at as u32);
                    }
                    piece.upto = self.chain.at();
                }
                Step::Pad => piece.upto = self.chain.at(),
                Step::Needs(all) => return Ok(Step::Needs(all)),
                Step::Damaged(reason) => return Ok(Step::Damaged(reason)),
                Step::End => return Ok(Step::End),
            }
        }
    }
}
