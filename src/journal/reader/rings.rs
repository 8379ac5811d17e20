//! Which sequences of each ring are stored.

use super::losses::RingEvents;
use super::ranges::Range;
use std::collections::BTreeMap;

/// The rings of all runs.
#[derive(Debug, Default)]
pub(super) struct Rings {
    known: BTreeMap<(u64, u64), RingEvents>,
    /// Blocks of rings that are not listed, because there are too many.
    pub not_listed: u64,
}

/// The most rings that are listed.
pub(super) const MAX_RINGS: usize = 1 << 16;

impl Rings {
    /// Adds a block with `count` events.
    pub fn add(&mut self, range: &Range, count: u32) {
        let key = (range.generation, range.ring_id);
        if self.known.len() >= MAX_RINGS && !self.known.contains_key(&key) {
            self.not_listed += 1;
            return;
        }
        let ring = self.known.entry(key).or_insert(RingEvents {
            generation: range.generation,
            ring_id: range.ring_id,
            first_sequence: range.first,
            last_sequence: range.last,
            events: 0,
        });
        ring.first_sequence = ring.first_sequence.min(range.first);
        ring.last_sequence = ring.last_sequence.max(range.last);
        ring.events = ring.events.saturating_add(count.into());
    }

    /// `count` events of a block are stored elsewhere as well, or cannot be read.
    pub fn remove(&mut self, generation: u64, ring_id: u64, count: u64) {
        if let Some(ring) = self.known.get_mut(&(generation, ring_id)) {
            ring.events = ring.events.saturating_sub(count);
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &RingEvents> {
        self.known.values()
    }
}
