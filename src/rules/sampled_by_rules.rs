//! The weights at which rules sample traces: the largest of the list in force, and the largest of late.
//!
//! Rules decide each event by itself, so nothing remembers which traces they have cut. Whether a trace was kept at a weight follows from its hash
//! alone, though, so the largest weight tells which traces may have lost events.

use crate::platform::sync::{AtomicU64, Ordering};

/// The largest weights. 0 and 1: no rule samples.
#[derive(Debug, Default)]
pub(super) struct SampledByRules {
    /// The weight of the list in force, and in the upper half the largest of late. They change together.
    weights: AtomicU64,
    /// When the list was put in force.
    since_ns: AtomicU64,
}

impl SampledByRules {
    /// The largest weight of late.
    #[inline]
    pub fn of_late(&self) -> u32 {
        (self.weights.load(Ordering::Relaxed) >> 32) as u32
    }

    /// The largest weight of the list in force.
    pub fn in_force(&self) -> u32 {
        self.weights.load(Ordering::Relaxed) as u32
    }

    /// The list in force samples at this weight at most, from now on.
    pub fn note(&self, weight: u32, now_ns: u64) {
        self.since_ns.store(now_ns, Ordering::Relaxed);
        let noted = |weights: u64| {
            let of_late = ((weights >> 32) as u32).max(weights as u32).max(weight);
            Some(u64::from(of_late) << 32 | u64::from(weight))
        };
        // (Never fails.)
        let _ = self.weights.fetch_update(Ordering::AcqRel, Ordering::Acquire, noted);
    }

    /// Forgets lists that were replaced longer than `hold_ns` ago.
    pub fn forget(&self, now_ns: u64, hold_ns: u64) {
        let seen = self.weights.load(Ordering::Acquire);
        let in_force = u64::from(seen as u32);
        if seen >> 32 != in_force && now_ns.saturating_sub(self.since_ns.load(Ordering::Relaxed)) >= hold_ns {
            // (If it fails, another list was put in force just now.)
            let _ = self.weights.compare_exchange(
                seen,
                in_force << 32 | in_force,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_of_a_replaced_list_counts_for_the_hold_time() {
        let by_rules = SampledByRules::default();
        assert_eq!((by_rules.of_late(), by_rules.in_force()), (0, 0));
        by_rules.note(10, 1_000);
        by_rules.forget(9_000, 100);
        assert_eq!((by_rules.of_late(), by_rules.in_force()), (10, 10));
        by_rules.note(1, 10_000);
        by_rules.note(3, 10_050);
        by_rules.forget(10_149, 100);
        assert_eq!((by_rules.of_late(), by_rules.in_force()), (10, 3));
        by_rules.forget(10_150, 100);
        assert_eq!((by_rules.of_late(), by_rules.in_force()), (3, 3));
        by_rules.note(0, 10_200);
        by_rules.forget(10_300, 100);
        assert_eq!((by_rules.of_late(), by_rules.in_force()), (0, 0));
    }
}
