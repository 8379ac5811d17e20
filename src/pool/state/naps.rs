//! Naps: sleeps that end by the clock. A writer naps while events come so fast that it would sleep more often than heavy barriers are
//! rationed, and so slowly that it would have little to do if it stayed awake.
//!
//! A nap costs captures nothing, but it costs the system a timer and two context switches: 5 us of processor time on some machines, 25 us
//! on some virtual ones. So the cost is measured, and a nap lasts a multiple of it. While no event comes, naps grow. Once they have taken
//! as long as it takes to earn a barrier, the writer sleeps.

/// The time in which one more heavy barrier is earned.
pub const BARRIER_EARNED_NS: u64 = 1_000_000;
/// Heavy barriers that may come at once.
const BARRIER_BURST: u32 = 128;
/// A nap lasts at least so many times the processor time that it costs, and at least the time below.
const SHARE: u64 = 4;
const SHORTEST_NS: u64 = 20_000;
/// After a claim of fewer events a writer that naps does so again, instead of staying awake for the next ones.
const FEW: usize = 32;

/// A ration of heavy barriers, as a token bucket: each interrupts the cores of the host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Barriers {
    since_ns: u64,
    left: u32,
}

impl Barriers {
    fn earned(self, now_ns: u64) -> u32 {
        ((now_ns - self.since_ns) / BARRIER_EARNED_NS).min(u64::from(BARRIER_BURST)) as u32
    }

    /// Whether there is one.
    pub fn any(self, now_ns: u64) -> bool {
        !cfg!(target_os = "linux") || self.left > 0 || self.earned(now_ns) > 0
    }

    /// One is used.
    pub fn spend(&mut self, now_ns: u64) {
        let earned = self.earned(now_ns);
        if earned > 0 {
            *self = Self { since_ns: now_ns, left: (self.left + earned).min(BARRIER_BURST) };
        }
        self.left = self.left.saturating_sub(1);
    }
}

/// The naps of a pool's writers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Naps {
    /// Writers nap, and none has slept without an end by the clock since.
    on: bool,
    /// The length of the naps since the last claim.
    for_ns: u64,
    /// The processor time that a nap costs, on average.
    cost_ns: u64,
    /// The last claim was of few events.
    few: bool,
}

impl Naps {
    /// None so far.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { on: false, for_ns: 0, cost_ns: 0, few: false };

    /// Whether naps have begun, and the next sleep is one of them whether there is a barrier or not.
    pub fn go_on(self) -> bool {
        self.on && self.for_ns < BARRIER_EARNED_NS
    }

    /// How long the next nap is.
    pub fn next(self) -> u64 {
        let shortest = (self.cost_ns * SHARE).clamp(SHORTEST_NS, BARRIER_EARNED_NS);
        let most = BARRIER_EARNED_NS.saturating_sub(self.for_ns).max(SHORTEST_NS);
        self.for_ns.max(shortest).min(most)
    }

    /// The next nap begins.
    pub fn begin(&mut self) {
        self.for_ns += self.next();
        self.on = true;
    }

    /// A writer sleeps without an end by the clock.
    pub fn end(&mut self) {
        self.on = false;
    }

    /// What the last one cost.
    pub fn note_cost(&mut self, ns: u64) {
        self.cost_ns = (self.cost_ns * 7 + ns.min(BARRIER_EARNED_NS)) / 8;
    }

    /// So many events were claimed.
    #[inline]
    pub fn claimed(&mut self, events: usize) {
        self.for_ns = 0;
        self.few = events < FEW;
    }

    /// Whether a writer that lets events gather naps meanwhile, instead of spinning.
    pub fn while_gathering(self) -> bool {
        self.on && self.few
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costing(ns: u64) -> Naps {
        let mut naps = Naps::default();
        (0..100).for_each(|_| naps.note_cost(ns));
        naps
    }

    /// Begins a nap; how long it is.
    fn nap(naps: &mut Naps) -> u64 {
        let next = naps.next();
        naps.begin();
        next
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
        assert!(!naps.go_on());
        let mut all = vec![nap(&mut naps)];
        while naps.go_on() {
            all.push(nap(&mut naps));
        }
        assert!(all.windows(2).all(|w| w[0] <= w[1] || w[1] == *all.last().unwrap()), "{all:?}");
        assert!((3..12).contains(&all.len()), "{all:?}");
        assert!((BARRIER_EARNED_NS..2 * BARRIER_EARNED_NS).contains(&all.iter().sum()), "{all:?}");
        assert!(!naps.go_on());
    }

    #[test]
    fn an_event_makes_naps_short_again() {
        let mut naps = costing(10_000);
        let first = nap(&mut naps);
        let _ = (nap(&mut naps), nap(&mut naps));
        naps.claimed(1);
        assert!(naps.go_on() && naps.while_gathering());
        assert_eq!(nap(&mut naps), first);
        naps.claimed(FEW);
        assert!(!naps.while_gathering());
    }

    #[test]
    fn barriers_are_rationed_by_the_time_and_none_is_saved_beyond_the_burst() {
        let mut barriers = Barriers::default();
        assert_eq!(barriers.any(BARRIER_EARNED_NS - 1), !cfg!(target_os = "linux"));
        for _ in 0..BARRIER_BURST {
            assert!(barriers.any(1000 * BARRIER_EARNED_NS));
            barriers.spend(1000 * BARRIER_EARNED_NS);
        }
        assert_eq!(barriers.any(1001 * BARRIER_EARNED_NS - 1), !cfg!(target_os = "linux"));
        assert!(barriers.any(1001 * BARRIER_EARNED_NS));
        // One is left over from this, and many are earned later.
        barriers.spend(1002 * BARRIER_EARNED_NS);
        for _ in 0..BARRIER_BURST {
            assert!(barriers.any(5000 * BARRIER_EARNED_NS));
            barriers.spend(5000 * BARRIER_EARNED_NS);
        }
        assert_eq!(barriers.any(5000 * BARRIER_EARNED_NS), !cfg!(target_os = "linux"));
    }
}
