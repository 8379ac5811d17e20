//! What a reader could not give, and why.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The most examples that are kept of each kind of loss. All are counted.
pub const EXAMPLES: usize = 64;

/// What a reader has found to be missing, damaged or contradictory so far. It is complete when everything has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Blocks whose header is right and whose body is not.
    pub damaged_blocks: u64,
    /// How many events headers count in them, and in what changed while it was read.
    pub damaged_events: u64,
    /// Places where a block should begin and none does.
    pub damages: u64,
    /// The bytes of both.
    pub damaged_bytes: u64,
    /// Segments without a seal whose writer does not live any more, and whose last bytes are no block: a write that was interrupted.
    pub torn_tails: u64,
    /// The bytes of those.
    pub torn_bytes: u64,
    /// Blocks that this library cannot read, by the reason: an encoding that it does not know, an event that is larger than the reader's memory.
    pub unreadable: BTreeMap<Cow<'static, str>, Unreadable>,
    /// Events that were stored more than once and are given once. They are no loss.
    pub duplicates: u64,
    /// Identities with two contents. The one that was stored first is given.
    pub contradictions: u64,
    /// Examples of those.
    pub contradicting: Vec<Identity>,
    /// Facts that contradict an earlier one: a kind that is defined twice and differently.
    pub contradicting_facts: u64,
    /// Examples of those: generation and kind.
    pub contradicting_kinds: Vec<(u64, u32)>,
    /// Facts that cannot be read: a definition that breaks its rules.
    pub unreadable_facts: u64,
    /// Facts that are left out, because there are more than `Facts::MAX_BYTES`.
    pub facts_left_out: u64,
    /// Segments that are not read, or not to their end.
    pub refused: Vec<Refused>,
    /// Segments that were deleted before they were read to their end. That is no damage.
    pub gone: Vec<Gone>,
}

/// A segment that was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Its file.
    pub path: PathBuf,
    /// The blocks that were not read any more; 0: it was gone before its headers were read.
    pub blocks: u64,
    /// The events in them.
    pub events: u64,
}

/// Blocks that are not read for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// The blocks.
    pub blocks: u64,
    /// The events that their headers count.
    pub events: u64,
}

/// The identity of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The run.
    pub generation: u64,
    /// The ring.
    pub ring_id: u64,
    /// The number in the ring.
    pub sequence: u64,
}

/// A segment that is not read, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its file.
    pub path: PathBuf,
    /// Where reading ended; 0: it was not read at all.
    pub offset: u64,
    /// Why.
    pub reason: String,
}

/// A line for each kind of loss, and for segments that are not read; nothing if nothing is lost. Duplicates are not among them.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.damaged_blocks > 0 {
            let (blocks, events) = (self.damaged_blocks, self.damaged_events);
            writeln!(f, "damaged blocks: {blocks}, with {events} events")?;
        }
        if self.damages > 0 {
            writeln!(f, "places without a block: {}", self.damages)?;
        }
        if self.damaged_bytes > 0 {
            writeln!(f, "damaged bytes: {}", self.damaged_bytes)?;
        }
        if self.torn_tails > 0 {
            writeln!(f, "interrupted writes: {}, of {} bytes", self.torn_tails, self.torn_bytes)?;
        }
        for (reason, Unreadable { blocks, events }) in &self.unreadable {
            writeln!(f, "blocks that are not read: {blocks}, with {events} events: {reason}")?;
        }
        if self.contradictions > 0 {
            writeln!(f, "identities with two contents: {}", self.contradictions)?;
        }
        for Identity { generation, ring_id, sequence } in &self.contradicting {
            writeln!(f, "two contents: generation {generation:016x}, ring {ring_id}, sequence {sequence}")?;
        }
        if self.contradicting_facts > 0 {
            writeln!(f, "definitions that contradict the first one: {}", self.contradicting_facts)?;
        }
        for (generation, kind) in &self.contradicting_kinds {
            writeln!(f, "two definitions: generation {generation:016x}, kind {kind}")?;
        }
        if self.unreadable_facts > 0 {
            writeln!(f, "facts that cannot be read: {}", self.unreadable_facts)?;
        }
        if self.facts_left_out > 0 {
            writeln!(f, "facts that are left out, because there are too many: {}", self.facts_left_out)?;
        }
        for Refused { path, offset, reason } in self.refused.iter().take(EXAMPLES) {
            match offset {
                0 => writeln!(f, "{}: not read: {reason}", path.display())?,
                _ => writeln!(f, "{}: not read from byte {offset} on: {reason}", path.display())?,
            }
        }
        more(f, self.refused.len(), "segments that are not read, or not to their end")?;
        for Gone { path, events, .. } in self.gone.iter().take(EXAMPLES) {
            writeln!(f, "{}: deleted before it was read, with {events} events", path.display())?;
        }
        more(f, self.gone.len(), "segments that were deleted before they were read")
    }
}

/// Counts what is not listed.
fn more(f: &mut fmt::Formatter<'_>, count: usize, what: &str) -> fmt::Result {
    if count > EXAMPLES { writeln!(f, "and {} more {what}", count - EXAMPLES) } else { Ok(()) }
}

impl Losses {
    /// Whether nothing is lost. Duplicates are no loss.
    pub fn is_empty(&self) -> bool {
        *self == Self { duplicates: self.duplicates, ..Self::default() }
    }
}

/// The events of a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingEvents {
    /// The run.
    pub generation: u64,
    /// The ring.
    pub ring_id: u64,
    /// The lowest sequence that is stored. Earlier ones may have been deleted with their segments.
    pub first_sequence: u64,
    /// The highest sequence that is stored.
    pub last_sequence: u64,
    /// The events that are stored, each counted once. Exact when everything has been read.
    pub events: u64,
}

impl RingEvents {
    /// The sequences between the first and the last that are not stored: events that were dropped, sampled out, ruled out or overwritten, that lie in a damaged or
    /// deleted part, or that are not written yet.
    pub fn missing(&self) -> u64 {
        (self.last_sequence - self.first_sequence).saturating_add(1).saturating_sub(self.events)
    }
}
