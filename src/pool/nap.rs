//! How long a writer naps: while events come so fast that it would sleep more often than barriers are rationed, and so slowly
//! that it would have little to do if it stayed awake.
//!
//! A nap ends by the clock and costs its captures nothing, but the system's timers and two switches between threads: 5
//! microseconds of the processor on some machines, 25 on some virtual ones. So that is measured, and a nap is some times as long.
//! While nothing comes it grows; once that has gone on for as long as a barrier is earned in, the writer sleeps.

use super::sleep::BARRIER_EARNED_NS;

/// A nap is at least so many times as long as it keeps the processor busy, and so long.
const SHARE: u64 = 4;
const SHORTEST_NS: u64 = 20_000;
/// After a claim of fewer events a writer that naps does so again, instead of staying awake for the next ones.
const FEW: usize = 32;

/// The naps of a pool's writers.
#[derive(Debug, Default)]
pub struct Naps {
    /// They nap, and have not slept since.
    on: bool,
    /// Napped since the last event.
    for_ns: u64,
    /// What a nap costs, on average.
    cost_ns: u64,
    /// The last claim was of few events.
    few: bool,
}

impl Naps {
    /// Whether the next sleep is a nap, barriers or not. If not, naps are over.
    pub(super) fn goes_on(&mut self) -> bool {
        self.on &= self.for_ns < BARRIER_EARNED_NS;
        self.on
    }

    /// Begins a nap; answers how long.
    pub(super) fn next(&mut self) -> u64 {
        self.on = true;
        let shortest = (self.cost_ns * SHARE).clamp(SHORTEST_NS, BARRIER_EARNED_NS);
        let most = BARRIER_EARNED_NS.saturating_sub(self.for_ns).max(SHORTEST_NS);
        let nap = self.for_ns.max(shortest).min(most);
        self.for_ns += nap;
        nap
    }

    /// What the last one cost.
    pub(super) fn cost(&mut self, ns: u64) {
        self.cost_ns = (self.cost_ns * 7 + ns.min(BARRIER_EARNED_NS)) / 8;
    }

    /// So many events were claimed.
    pub(super) fn claimed(&mut self, events: usize) {
        self.for_ns = 0;
        self.few = events < FEW;
    }

    /// Whether whoever lets more gather naps meanwhile.
    pub(super) fn while_more_gather(&self) -> bool {
        self.on && self.few
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costing(ns: u64) -> Naps {
        let mut naps = Naps::default();
        (0..100).for_each(|_| naps.cost(ns));
        naps
    }

    #[test]
    fn a_nap_is_some_times_as_long_as_what_it_costs_within_bounds() {
        for (cost, nap) in [(0, SHORTEST_NS), (1_000, SHORTEST_NS), (u64::MAX, BARRIER_EARNED_NS)] {
            assert_eq!(costing(cost).next(), nap);
        }
        let nap = costing(25_000).next();
        assert!((SHARE * 24_000..=SHARE * 25_000).contains(&nap), "{nap}");
    }

    #[test]
    fn naps_grow_while_nothing_comes_and_end_when_a_barrier_is_earned() {
        let mut naps = costing(10_000);
        assert!(!naps.goes_on());
        let mut all = vec![naps.next()];
        while naps.goes_on() {
            all.push(naps.next());
        }
        assert!(all.windows(2).all(|w| w[0] <= w[1] || w[1] == *all.last().unwrap()), "{all:?}");
        assert!((3..12).contains(&all.len()), "{all:?}");
        assert!((BARRIER_EARNED_NS..2 * BARRIER_EARNED_NS).contains(&all.iter().sum()), "{all:?}");
        assert!(!naps.goes_on());
    }

    #[test]
    fn an_event_makes_naps_short_again() {
        let mut naps = costing(10_000);
        let first = naps.next();
        let _ = (naps.next(), naps.next());
        naps.claimed(1);
        assert!(naps.goes_on() && naps.while_more_gather());
        assert_eq!(naps.next(), first);
        naps.claimed(FEW);
        assert!(!naps.while_more_gather());
    }
}
