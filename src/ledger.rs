//! The ledger: where every event that was offered has gone.
//!
//! Producers count what they capture, drop and refuse. Writers count what they claim and settle ([`ClaimedEvents`], under the pool's
//! lock). [`Ledger`] adds up both, and has the two equations that hold whenever no event is in motion.

mod priority;

use crate::capture::Producer;
use crate::platform::sync::Ordering;
use crate::ring::refused::Refused;
pub use priority::PriorityLedger;

/// The writers' side of the ledger: where the events are that writers have claimed. It changes by its methods alone, each of which
/// moves events from one term to another, so that `claimed` and `recovered` are always the sum of the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClaimedEvents {
    claimed: u64,
    recovered: u64,
    stored: u64,
    dead_lettered: u64,
    discarded: u64,
    filtered: u64,
    in_flight: u64,
    in_doubt: u64,
    bytes_stored: u64,
}

/// How events are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `store` has taken them.
    Stored {
        /// Their payload bytes.
        bytes: u64,
    },
    /// `dead_letter` has taken them.
    DeadLettered,
    /// Nothing has.
    Discarded,
    /// A transform has filtered them.
    Filtered,
}

impl ClaimedEvents {
    /// Events were claimed; they are in flight.
    #[inline]
    pub fn claim(&mut self, events: u64) {
        self.claimed += events;
        self.in_flight += events;
    }

    /// Events of a run that has ended were claimed; they are in flight.
    pub fn recover(&mut self, events: u64) {
        self.recovered += events;
        self.in_flight += events;
    }

    /// Events in flight are in doubt: their attempt has outlived its deadline.
    pub fn doubt(&mut self, events: u64) {
        self.in_flight -= events;
        self.in_doubt += events;
    }

    /// Events in doubt are in flight again: their attempt has ended.
    pub fn end_doubt(&mut self, events: u64) {
        self.in_doubt -= events;
        self.in_flight += events;
    }

    /// Events in flight are settled.
    #[inline]
    pub fn settle(&mut self, events: u64, outcome: Outcome) {
        self.in_flight -= events;
        match outcome {
            Outcome::Stored { bytes } => {
                self.stored += events;
                self.bytes_stored += bytes;
            }
            Outcome::DeadLettered => self.dead_lettered += events,
            Outcome::Discarded => self.discarded += events,
            Outcome::Filtered => self.filtered += events,
        }
    }

    /// Events that `store` has taken.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Their payload bytes.
    pub fn bytes_stored(&self) -> u64 {
        self.bytes_stored
    }
}

/// The ledger of a pipeline: counts of events. `pipeline_metrics_t` has the same names, and says more of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Copied into a ring buffer.
    pub captured: u64,
    /// Found in the ring files of a process that died.
    pub recovered: u64,
    /// Dropped because the ring buffer was full.
    pub dropped_full: u64,
    /// Dropped by sampling.
    pub dropped_sampled: u64,
    /// Dropped by a rule.
    pub dropped_rule: u64,
    /// Refused because they are larger than `max_event_bytes`.
    pub refused_too_large: u64,
    /// Refused because the pipeline was closed.
    pub refused_closed: u64,
    /// Refused because an argument was invalid.
    pub refused_invalid: u64,
    /// Refused because the ring buffer was in use.
    pub refused_busy: u64,
    /// Refused because there was no ring buffer.
    pub refused_no_ring: u64,
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
    /// In a ring buffer, unclaimed.
    pub buffered: u64,
    /// Claimed and not settled.
    pub in_flight: u64,
    /// The same, and past the deadline of the storage.
    pub in_doubt: u64,
    /// Left in the ring buffers at the close, unclaimed.
    pub left: u64,
    /// Records that a recovery found torn.
    pub torn: u64,
    /// The payload bytes of the captured events.
    pub bytes_captured: u64,
    /// The weights of the captured events, which estimate `captured` and `dropped_sampled` together.
    pub weight_captured: u64,
    /// The part of all this that concerns priority ring buffers.
    pub priority: PriorityLedger,
}

impl Ledger {
    /// The ledger of a pipeline. `writers`, and `priority` of them, were read before the producers' counts, so that no event is stored and not yet
    /// captured; `closed`: no writer will claim what is unclaimed.
    pub fn new(
        writers: &ClaimedEvents,
        priority: &ClaimedEvents,
        producers: &[Producer],
        refused: &Refused,
        closed: bool,
    ) -> Self {
        let mut l = Self {
            priority: PriorityLedger::new(priority, producers, refused, closed),
            recovered: writers.recovered,
            stored: writers.stored,
            dead_lettered: writers.dead_lettered,
            discarded: writers.discarded,
            filtered: writers.filtered,
            in_flight: writers.in_flight,
            in_doubt: writers.in_doubt,
            refused_too_large: refused.too_large.load(Ordering::Relaxed),
            refused_closed: refused.closed.load(Ordering::Relaxed),
            refused_invalid: refused.invalid.load(Ordering::Relaxed),
            refused_busy: refused.busy.load(Ordering::Relaxed),
            refused_no_ring: refused.no_ring.load(Ordering::Relaxed),
            ..Self::default()
        };
        for counts in producers.iter().flat_map(|p| [Some(p), p.priority()]).flatten().map(Producer::counts) {
            l.captured += counts.captured;
            l.dropped_full += counts.dropped_full;
            l.dropped_sampled += counts.dropped_sampled;
            l.dropped_rule += counts.dropped_rule;
            l.weight_captured += counts.captured + counts.weight_beyond;
            l.overwritten += counts.overwritten;
            l.bytes_captured += counts.bytes;
        }
        let waiting = l.captured.saturating_sub(l.overwritten).saturating_sub(writers.claimed);
        if closed {
            l.left = waiting;
        } else {
            l.buffered = waiting;
        }
        l
    }

    /// All events that were offered.
    pub fn offered(&self) -> u64 {
        self.captured
            + self.dropped_full
            + self.dropped_sampled
            + self.dropped_rule
            + self.refused_too_large
            + self.refused_closed
            + self.refused_invalid
            + self.refused_busy
            + self.refused_no_ring
    }

    /// The sum of all places where a captured event can be.
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

    /// Whether every captured event is accounted for: always true while no event is in motion.
    pub fn balances(&self) -> bool {
        self.captured + self.recovered == self.accounted()
    }
}

/// Events per second, since a reading that is one to a few seconds old.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Two earlier readings: time, captured, stored.
    readings: [(u64, u64, u64); 2],
}

impl Rates {
    /// Nothing was captured before `now_ns`.
    pub const fn new(now_ns: u64) -> Self {
        Self { readings: [(now_ns, 0, 0); 2] }
    }

    /// Takes a reading, and answers how many events were captured and stored per second.
    pub fn read(&mut self, now_ns: u64, ledger: &Ledger) -> (f64, f64) {
        const SECOND: u64 = 1_000_000_000;
        if now_ns.saturating_sub(self.readings[1].0) >= SECOND {
            self.readings = [self.readings[1], (now_ns, ledger.captured, ledger.stored)];
        }
        let (since, captured, stored) = self.readings[0];
        let seconds = now_ns.saturating_sub(since).max(1) as f64 / SECOND as f64;
        (
            // A drop in motion may have counted as captured for a moment: the count may be lower than in the reading before.
            ledger.captured.saturating_sub(captured) as f64 / seconds,
            ledger.stored.saturating_sub(stored) as f64 / seconds,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each count a bit of its own, so that no two sums are the same.
    fn counted() -> Ledger {
        Ledger {
            captured: 1 << 18,
            recovered: 1,
            dropped_full: 1 << 1,
            dropped_sampled: 1 << 2,
            dropped_rule: 1 << 3,
            refused_too_large: 1 << 4,
            refused_closed: 1 << 5,
            refused_invalid: 1 << 6,
            refused_busy: 1 << 7,
            refused_no_ring: 1 << 8,
            stored: 1 << 9,
            filtered: 1 << 10,
            dead_lettered: 1 << 11,
            discarded: 1 << 12,
            overwritten: 1 << 13,
            buffered: 1 << 14,
            in_flight: 1 << 15,
            in_doubt: 1 << 16,
            left: 1 << 17,
            torn: 1 << 20,
            bytes_captured: 1 << 21,
            weight_captured: 1 << 22,
            priority: PriorityLedger::default(),
        }
    }

    #[test]
    fn claimed_events_are_moved_from_term_to_term_and_never_lost() {
        let mut events = ClaimedEvents::default();
        events.claim(70);
        events.recover(30);
        events.doubt(60);
        events.end_doubt(50);
        events.settle(20, Outcome::Stored { bytes: 7 });
        events.settle(8, Outcome::DeadLettered);
        events.settle(3, Outcome::Discarded);
        events.settle(4, Outcome::Filtered);
        let e = events;
        assert_eq!((e.stored, e.bytes_stored, e.dead_lettered, e.discarded, e.filtered), (20, 7, 8, 3, 4));
        assert_eq!((e.in_flight, e.in_doubt), (55, 10));
        assert_eq!((e.claimed, e.recovered), (70, 30));
        assert_eq!(
            e.claimed + e.recovered,
            e.stored + e.dead_lettered + e.discarded + e.filtered + e.in_flight + e.in_doubt
        );
    }

    #[test]
    fn what_was_offered_is_what_was_captured_dropped_or_refused() {
        assert_eq!(counted().offered(), (1 << 18) + (1 << 9) - 2);
    }

    #[test]
    fn it_balances_when_every_captured_or_recovered_event_is_in_exactly_one_place() {
        let terms = (1 << 18) - (1 << 9);
        assert_eq!(counted().accounted(), terms);
        let mut l = Ledger { captured: terms - 1, ..counted() };
        assert!(l.balances());
        l.captured += 1;
        assert!(!l.balances());
    }

    #[test]
    fn the_account_has_every_reason_to_refuse() {
        let refused = Refused::default();
        for (n, count) in
            [&refused.too_large, &refused.closed, &refused.invalid, &refused.busy, &refused.no_ring]
                .into_iter()
                .enumerate()
        {
            count.store(n as u64 + 1, Ordering::Relaxed);
        }
        let l = Ledger::new(&ClaimedEvents::default(), &ClaimedEvents::default(), &[], &refused, false);
        let told =
            [l.refused_too_large, l.refused_closed, l.refused_invalid, l.refused_busy, l.refused_no_ring];
        assert_eq!((told, l.offered()), ([1, 2, 3, 4, 5], 15));
    }
}
