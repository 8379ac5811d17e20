//! The part of the ledger that concerns priority ring buffers.

use super::ClaimedEvents;
use crate::capture::Producer;
use crate::platform::sync::Ordering;
use crate::ring::refused::Refused;

/// The ledger of the events that went to priority ring buffers, or were to go there. Each is in the counts of [`Ledger`](super::Ledger) as well. The same
/// two equations hold of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriorityLedger {
    /// Copied into a priority ring buffer.
    pub captured: u64,
    /// Dropped because it was full.
    pub dropped_full: u64,
    /// Dropped by sampling.
    pub dropped_sampled: u64,
    /// Dropped by a rule.
    pub dropped_rule: u64,
    /// Refused, for any reason.
    pub refused: u64,
    /// Acknowledged by the storage.
    pub stored: u64,
    /// Filtered by a transform.
    pub filtered: u64,
    /// Kept by the storage's dead letter.
    pub dead_lettered: u64,
    /// Given up, and not kept by the dead letter.
    pub discarded: u64,
    /// Overwritten by newer ones.
    pub overwritten: u64,
    /// In a priority ring buffer, unclaimed.
    pub buffered: u64,
    /// Claimed and not settled.
    pub in_flight: u64,
    /// The same, and past the deadline of the storage.
    pub in_doubt: u64,
    /// Left in the priority ring buffers at the close, unclaimed.
    pub left: u64,
}

impl PriorityLedger {
    pub(super) fn new(
        writers: &ClaimedEvents,
        producers: &[Producer],
        refused: &Refused,
        closed: bool,
    ) -> Self {
        let mut l = Self {
            stored: writers.stored,
            dead_lettered: writers.dead_lettered,
            discarded: writers.discarded,
            filtered: writers.filtered,
            in_flight: writers.in_flight,
            in_doubt: writers.in_doubt,
            refused: refused.priority.load(Ordering::Relaxed),
            ..Self::default()
        };
        for counts in producers.iter().filter_map(Producer::priority).map(Producer::counts) {
            l.captured += counts.captured;
            l.dropped_full += counts.dropped_full;
            l.dropped_sampled += counts.dropped_sampled;
            l.dropped_rule += counts.dropped_rule;
            l.overwritten += counts.overwritten;
        }
        let waiting = l.captured.saturating_sub(l.overwritten).saturating_sub(writers.claimed);
        *(if closed { &mut l.left } else { &mut l.buffered }) = waiting;
        l
    }

    /// All events that were to go to a priority ring buffer.
    pub fn offered(&self) -> u64 {
        self.captured + self.dropped_full + self.dropped_sampled + self.dropped_rule + self.refused
    }

    /// The sum of all places where a captured one can be.
    pub fn accounted(&self) -> u64 {
        self.stored
            + self.filtered
            + self.dead_lettered
            + self.discarded
            + self.overwritten
            + self.buffered
            + self.in_flight
            + self.in_doubt
            + self.left
    }

    /// Whether every captured one is accounted for: always true while no event is in motion.
    pub fn balances(&self) -> bool {
        self.captured == self.accounted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted_priority() -> PriorityLedger {
        PriorityLedger {
            captured: 1 << 13,
            dropped_full: 1,
            dropped_sampled: 1 << 1,
            dropped_rule: 1 << 2,
            refused: 1 << 3,
            stored: 1 << 4,
            filtered: 1 << 5,
            dead_lettered: 1 << 6,
            discarded: 1 << 7,
            overwritten: 1 << 8,
            buffered: 1 << 9,
            in_flight: 1 << 10,
            in_doubt: 1 << 11,
            left: 1 << 12,
        }
    }

    #[test]
    fn both_equations_hold_of_priority_events_alone() {
        let terms = (1 << 13) - (1 << 4);
        let mut l = PriorityLedger { captured: terms, ..counted_priority() };
        assert_eq!((l.offered(), l.accounted()), (terms + (1 << 4) - 1, terms));
        assert!(l.balances());
        l.captured += 1;
        assert!(!l.balances());
    }
}
