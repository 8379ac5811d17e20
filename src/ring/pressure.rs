//! How urgently a pipeline needs relief: one word, 0 to 100, which programs may read before each capture.

use crate::platform::sync::{AtomicU32, Ordering};
use crossbeam_utils::CachePadded;

/// No pressure is as high.
const NEVER: u32 = u32::MAX;

/// A part of a whole that is not 0, in percent, at most 100.
pub fn percent(part: u64, whole: u64) -> u32 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    percent.min(100) as u32
}

/// The pressure, in a cache line of its own, because captures read what lies beside it.
///
/// Writers and the supervisor [`set`](Self::set) it to what they have measured. A capture that finds its ring filled beyond the watermark
/// [raises](Self::raise) it at once, because a ring is full long before a writer or the supervisor measures again.
#[derive(Debug)]
pub struct Pressure(CachePadded<Words>);

#[derive(Debug)]
struct Words {
    percent: AtomicU32,
    /// The supervisor must know when the pressure rises to this.
    high: AtomicU32,
    /// The supervisor must know when the pressure falls to this.
    low: AtomicU32,
}

impl Default for Pressure {
    fn default() -> Self {
        let words = Words { percent: AtomicU32::new(0), high: AtomicU32::new(NEVER), low: AtomicU32::new(0) };
        Self(CachePadded::new(words))
    }
}

impl Pressure {
    /// The word itself, for programs that read it without a call.
    pub fn word(&self) -> &AtomicU32 {
        &self.0.percent
    }

    /// The pressure, 0 to 100.
    #[inline(always)]
    pub fn percent(&self) -> u32 {
        self.0.percent.load(Ordering::Relaxed)
    }

    /// From here on [`set`](Self::set) and [`raise`](Self::raise) tell of crossings of these two. `None`: of none.
    pub fn watch(&self, thresholds: Option<(u32, u32)>) {
        let (low, high) = thresholds.unwrap_or((0, NEVER));
        self.0.low.store(low, Ordering::Relaxed);
        self.0.high.store(high, Ordering::Relaxed);
    }

    /// Sets what was measured. Returns whether a threshold was crossed.
    pub fn set(&self, percent: u32) -> bool {
        let before = self.0.percent.swap(percent, Ordering::Relaxed);
        self.crosses(before, percent)
    }

    /// Raises the pressure, unless it is that high already. Returns whether a threshold was crossed.
    pub fn raise(&self, percent: u32) -> bool {
        let higher = |before: u32| (before < percent).then_some(percent);
        let raised = self.0.percent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, higher);
        raised.is_ok_and(|before| self.crosses(before, percent))
    }

    fn crosses(&self, before: u32, now: u32) -> bool {
        let (low, high) = (self.0.low.load(Ordering::Relaxed), self.0.high.load(Ordering::Relaxed));
        high != NEVER && (before < high && high <= now || now <= low && low < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raise_never_lowers_and_a_measurement_may() {
        let pressure = Pressure::default();
        pressure.raise(80);
        pressure.raise(75);
        assert_eq!(pressure.percent(), 80);
        pressure.set(10);
        assert_eq!((pressure.percent(), pressure.word().load(Ordering::Relaxed)), (10, 10));
    }

    #[test]
    fn a_crossing_is_told_where_it_reaches_a_threshold_that_it_was_not_at() {
        let pressure = Pressure::default();
        assert!(!pressure.set(100) && !pressure.set(0), "nothing is watched");
        pressure.watch(Some((20, 80)));
        for (percent, crosses) in [
            (79, false),
            (80, true),
            (100, false),
            (21, false),
            (20, true),
            (0, false),
            (100, true),
            (0, true),
        ] {
            assert_eq!(pressure.set(percent), crosses, "{percent}");
        }
        assert!(!pressure.raise(79) && pressure.raise(85) && !pressure.raise(90));
        pressure.watch(None);
        assert!(!pressure.set(0) && !pressure.raise(100));
    }
}
