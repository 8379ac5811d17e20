//! The ledger: where every event that was offered has gone. The only place where counters meet.
//!
//! What producers count lies with them; what writers count lies in the pool's state, under its lock. Here both become
//! one account, and the two equations that must hold whenever nothing is in motion.

use crate::platform::sync::Ordering;
use crate::ring::front::Refused;
use crate::ring::producer::Producer;

/// The writers' side of the account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settled {
    /// Events that writers took out of the rings' unclaimed part.
    pub claimed: u64,
    /// Acknowledged.
    pub stored: u64,
    /// Kept by the dead letter.
    pub dead_lettered: u64,
    /// Given up.
    pub discarded: u64,
    /// Claimed and not settled, within the storage's deadline.
    pub in_flight: u64,
    /// Claimed and not settled, past it.
    pub in_doubt: u64,
    /// Payload bytes of what was stored.
    pub bytes_stored: u64,
}

/// The whole account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of `pipeline_metrics_t`, and documented there
pub struct Ledger {
    pub captured: u64,
    pub recovered: u64,
    pub dropped_full: u64,
    pub dropped_sampled: u64,
    pub dropped_rule: u64,
    pub refused_too_large: u64,
    pub refused_closed: u64,
    pub refused_invalid: u64,
    pub refused_busy: u64,
    pub refused_no_ring: u64,
    pub stored: u64,
    pub filtered: u64,
    pub dead_lettered: u64,
    pub discarded: u64,
    pub overwritten: u64,
    pub buffered: u64,
    pub in_flight: u64,
    pub in_doubt: u64,
    pub left: u64,
    pub torn: u64,
    pub bytes_captured: u64,
}

impl Ledger {
    /// Draws up the account. `settled` was read before (so that nothing stored is missing among the captured); `closed`
    /// says that what is unclaimed will stay so.
    pub fn draw_up(settled: &Settled, producers: &[Producer], refused: &Refused, closed: bool) -> Self {
        let mut l = Self {
            stored: settled.stored,
            dead_lettered: settled.dead_lettered,
            discarded: settled.discarded,
            in_flight: settled.in_flight,
            in_doubt: settled.in_doubt,
            refused_too_large: refused.too_large.load(Ordering::Relaxed),
            refused_closed: refused.closed.load(Ordering::Relaxed),
            refused_invalid: refused.invalid.load(Ordering::Relaxed),
            refused_busy: refused.busy.load(Ordering::Relaxed),
            refused_no_ring: refused.no_ring.load(Ordering::Relaxed),
            ..Self::default()
        };
        for producer in producers {
            let counts = producer.counts();
            l.captured += counts.captured;
            l.dropped_full += counts.dropped_full;
            l.overwritten += counts.overwritten;
            l.bytes_captured += counts.bytes;
        }
        let waiting = l.captured.saturating_sub(l.overwritten).saturating_sub(settled.claimed);
        if closed {
            l.left = waiting;
        } else {
            l.buffered = waiting;
        }
        l
    }

    /// Everything that captures were asked to take.
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

    /// Where the captured events are.
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

    /// Whether every captured event is accounted for. Always, when nothing is in motion.
    pub fn balances(&self) -> bool {
        self.captured + self.recovered == self.accounted()
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
        }
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
        let l = Ledger::draw_up(&Settled::default(), &[], &refused, false);
        let told =
            [l.refused_too_large, l.refused_closed, l.refused_invalid, l.refused_busy, l.refused_no_ring];
        assert_eq!((told, l.offered()), ([1, 2, 3, 4, 5], 15));
    }
}
