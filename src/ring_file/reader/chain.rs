//! The chain of records in a ring's memory, and what breaks it.
//!
//! A process that is killed leaves every record below `head` whole. So whatever does not fit together here is damage by something else: a failing disk, or another program
//! that has written to the file. Records behind damage cannot be found, because each is found by the length of the one before.

use crate::event::{
    KNOWN_FLAGS, PIPELINE_EVENT_PARTIAL, PIPELINE_EVENT_TAG_1, PIPELINE_EVENT_TAG_8, PIPELINE_KIND_RESERVED,
};
use crate::journal::format::bytes::{u32_at, u64_at};
use crate::ring::record::{HEADER, Head, Record, TICKS, Tag};

/// Why a ring's records, or the facts, end before they should.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// A position is no multiple of 8.
    Misaligned,
    /// `released` lies behind `head`.
    Backward,
    /// More is committed than the memory holds.
    TooFull(u64),
    /// Records in a ring that has no id.
    NoRingId,
    /// A pad that does not reach to the end of the memory, or is no multiple of 8.
    Pad(u64),
    /// A record that reaches over the end of the memory.
    CrossesEnd(u64),
    /// A record or pad that reaches behind `head`.
    BehindHead(u64),
    /// A kind that does not belong there.
    Kind(u32),
    /// Flags that no record has.
    Flags(u32),
    /// A weight that no event has.
    Weight(f32),
    /// A sequence that does not follow: the one before, and this one.
    Sequence(u64, u64),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Misaligned => f.write_str("a position is no multiple of 8"),
            Self::Backward => f.write_str("released lies behind head"),
            Self::TooFull(bytes) => write!(f, "{bytes} bytes are committed, more than the ring holds"),
            Self::NoRingId => f.write_str("the ring has records and no id"),
            Self::Pad(bytes) => write!(f, "a pad of {bytes} bytes does not end where the ring's memory does"),
            Self::CrossesEnd(bytes) => {
                write!(f, "a record of {bytes} bytes reaches over the end of the ring's memory")
            }
            Self::BehindHead(bytes) => write!(f, "a record of {bytes} bytes reaches behind head"),
            Self::Kind(kind) => write!(f, "a record of kind {kind:#x}, which does not belong there"),
            Self::Flags(flags) => write!(f, "a record with the flags {flags:#x}, some of which are reserved"),
            Self::Weight(weight) => write!(f, "a record of weight {weight}"),
            Self::Sequence(before, this) => {
                write!(f, "a record of sequence {this} behind one of sequence {before}")
            }
        }
    }
}

/// What lies at a place of the chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// A record.
    Record(Record<'a>),
    /// A pad.
    Pad,
    /// A record of which so many bytes are needed from its beginning on.
    Needs(u64),
    /// Damage.
    Damaged(Reason),
    /// The chain has been read to its end.
    End,
}

/// Which records a chain may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Events. Whether their timestamps may be readings of the processor's counter.
    Events(bool),
    /// Facts.
    Facts,
}

/// Reads a chain of records from bytes that come in pieces.
#[derive(Clone, Debug)]
pub struct Chain {
    /// What it consists of.
    of: Of,
    /// The size of the memory, a power of two; 0: positions never wrap.
    memory: u64,
    /// Where the next record is.
    at: u64,
    /// Where the chain ends.
    end: u64,
    /// The sequence of the record before.
    last: Option<u64>,
}

impl Chain {
    /// The chain from `at` to `end`, in memory of so many bytes. Damage: these cannot be its bounds.
    pub fn new(of: Of, memory: u64, at: u64, end: u64) -> Result<Self, Reason> {
        if !(at | end).is_multiple_of(8) {
            return Err(Reason::Misaligned);
        }
        match end.checked_sub(at) {
            None => Err(Reason::Backward),
            Some(bytes) if bytes > memory => Err(Reason::TooFull(bytes)),
            Some(_) => Ok(Self { of, memory, at, end, last: None }),
        }
    }

    /// Where the next record is.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Where the chain ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes lie one behind the other in the memory, from the next record on.
    pub fn in_one_piece(&self) -> u64 {
        (self.end - self.at).min(self.memory - (self.at & (self.memory - 1)))
    }

    /// Goes on behind this position, because what lies before it is gone.
    pub fn skip_to(&mut self, at: u64) {
        self.at = at.clamp(self.at, self.end);
    }

    /// The next record, of which `bytes` are the first: as many as are there, of those that lie in one piece. It moves behind what it gives.
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let room = self.in_one_piece();
        if room == 0 {
            return Step::End;
        }
        if bytes.len() < 8 {
            return Step::Needs(8);
        }
        let to_memory_end = self.memory - (self.at & (self.memory - 1));
        let tag = Tag(u64_at(bytes, 0));
        if tag.is_pad() {
            let length = tag.stride();
            let pad = match self.of {
                Of::Events(_) if length == to_memory_end && tag.all_flags() == 0 => length,
                _ => return Step::Damaged(Reason::Pad(length)),
            };
            if pad > room {
                return Step::Damaged(Reason::BehindHead(pad));
            }
            self.at += pad;
            return Step::Pad;
        }
        let stride = tag.stride();
        if stride > to_memory_end {
            return Step::Damaged(Reason::CrossesEnd(stride));
        }
        if stride > room {
            return Step::Damaged(Reason::BehindHead(stride));
        }
        if (bytes.len() as u64) < HEADER {
            return Step::Needs(HEADER);
        }
        let head = Head {
            kind: u32_at(bytes, 8),
            weight: f32::from_bits(u32_at(bytes, 12)),
            sequence: u64_at(bytes, 16),
            timestamp: u64_at(bytes, 24),
            correlation_id: u64_at(bytes, 32),
            node_id: u64_at(bytes, 40),
        };
        if let Some(reason) = self.what_is_wrong(tag, &head) {
            return Step::Damaged(reason);
        }
        let Some(payload) = bytes.get(HEADER as usize..HEADER as usize + tag.payload_len()) else {
            return Step::Needs(stride);
        };
        self.at += stride;
        self.last = Some(head.sequence);
        Step::Record(Record { tag, head, payload })
    }

    fn what_is_wrong(&self, tag: Tag, head: &Head) -> Option<Reason> {
        // Those that a capture sets.
        const TAGS: u32 = 2 * PIPELINE_EVENT_TAG_8 - PIPELINE_EVENT_TAG_1;
        const OF_EVENTS: u32 = KNOWN_FLAGS | PIPELINE_EVENT_PARTIAL | TAGS;
        let (flags, reserved_kind, least_weight) = match self.of {
            Of::Events(in_ticks) => (OF_EVENTS | if in_ticks { TICKS } else { 0 }, false, 1.0),
            Of::Facts => (0, true, 0.0),
        };
        if tag.all_flags() & !flags != 0 {
            return Some(Reason::Flags(tag.all_flags()));
        }
        if (head.kind >= PIPELINE_KIND_RESERVED) != reserved_kind {
            return Some(Reason::Kind(head.kind));
        }
        if !(head.weight >= least_weight && head.weight.is_finite()) {
            return Some(Reason::Weight(head.weight));
        }
        self.last.filter(|&last| last >= head.sequence).map(|last| Reason::Sequence(last, head.sequence))
    }
}
