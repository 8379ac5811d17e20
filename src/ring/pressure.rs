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
/// [raises](Self::raise) it at once, because a ring is full long before a writer or the supervisor measures again. A measurement that began before a
/// raise does not undo it: it may not have seen what the capture has seen.
#[derive(Debug)]
pub struct Pressure(CachePadded<Words>);

/// The bits of the word that are the pressure. The others count its changes. `PIPELINE_FAST_PRESSURE` in `capture_pipeline_fast.h`.
pub(crate) const PERCENT: u32 = 0xFF;
const CHANGE: u32 = PERCENT + 1;

#[derive(Debug)]
struct Words {
    word: AtomicU32,
    /// The supervisor must know when the pressure rises to this.
    high: AtomicU32,
    /// The supervisor must know when the pressure falls to this.
    low: AtomicU32,
}

impl Default for Pressure {
    fn default() -> Self {
        let words = Words { word: AtomicU32::new(0), high: AtomicU32::new(NEVER), low: AtomicU32::new(0) };
        Self(CachePadded::new(words))
    }
}

impl Pressure {
    /// The word itself, for programs that read it without a call.
    pub fn word(&self) -> &AtomicU32 {
        &self.0.word
    }

    /// The pressure, 0 to 100.
    #[inline(always)]
    pub fn percent(&self) -> u32 {
        self.0.word.load(Ordering::Relaxed) & PERCENT
    }

    /// From here on [`set`](Self::set) and [`raise`](Self::raise) tell of crossings of these two. `None`: of none.
    pub fn watch(&self, thresholds: Option<(u32, u32)>) {
        let (low, high) = thresholds.unwrap_or((0, NEVER));
        self.0.low.store(low, Ordering::Relaxed);
        self.0.high.store(high, Ordering::Relaxed);
    }

    /// To be called before a measurement begins, whose result [`set`](Self::set) takes.
    pub fn begin(&self) -> Measurement {
        Measurement(self.0.word.load(Ordering::Acquire))
    }

    /// Sets what was measured, unless the pressure was changed since the measurement began. Returns whether a threshold was crossed.
    pub fn set(&self, measurement: Measurement, percent: u32) -> bool {
        let Measurement(before) = measurement;
        let now = (before & !PERCENT).wrapping_add(CHANGE) | percent;
        let set = self.0.word.compare_exchange(before, now, Ordering::AcqRel, Ordering::Relaxed);
        set.is_ok() && self.crosses(before & PERCENT, percent)
    }

    /// Raises the pressure, unless it is that high already. Returns whether a threshold was crossed.
    pub fn raise(&self, percent: u32) -> bool {
        let raised = |before: u32| {
            let highest = percent.max(before & PERCENT);
            Some((before & !PERCENT).wrapping_add(CHANGE) | highest)
        };
        // (Never fails.)
        let before =
            self.0.word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, raised).unwrap_or_default();
        let before = before & PERCENT;
        self.crosses(before, percent.max(before))
    }

    /// Raises the pressure to 100 because an event was dropped. As a rule it is 100 already, and this only reads it: many threads may drop at once. (No
    /// measurement that has missed the full ring can follow: the capture that filled it has raised the pressure.)
    pub fn raise_to_full(&self) -> bool {
        self.percent() < 100 && self.raise(100)
    }

    fn crosses(&self, before: u32, now: u32) -> bool {
        let (low, high) = (self.0.low.load(Ordering::Relaxed), self.0.high.load(Ordering::Relaxed));
        high != NEVER && (before < high && high <= now || now <= low && low < before)
    }
}

/// A measurement that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Measurement(u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raise_never_lowers_and_a_measurement_may() {
        let pressure = Pressure::default();
        pressure.raise(80);
        pressure.raise(75);
        assert_eq!(pressure.percent(), 80);
        pressure.set(pressure.begin(), 10);
        assert_eq!(pressure.percent(), 10);
        assert_eq!(pressure.word().load(Ordering::Relaxed) & PERCENT, 10);
    }

    #[test]
    fn a_measurement_does_not_undo_what_came_after_it_had_begun() {
        let pressure = Pressure::default();
        for first in [0, 80] {
            pressure.set(pressure.begin(), first);
            let (early, late) = (pressure.begin(), pressure.begin());
            pressure.raise(80);
            assert!(!pressure.set(early, 0));
            assert_eq!(pressure.percent(), 80);
            let next = pressure.begin();
            pressure.set(next, 50);
            pressure.set(late, 3);
            pressure.set(next, 4);
            assert_eq!(pressure.percent(), 50);
        }
    }

    #[test]
    fn a_crossing_is_told_where_it_reaches_a_threshold_that_it_was_not_at() {
        let pressure = Pressure::default();
        let set = |percent| pressure.set(pressure.begin(), percent);
        assert!(!set(100) && !set(0), "nothing is watched");
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
            assert_eq!(set(percent), crosses, "{percent}");
        }
        assert!(!pressure.raise(79) && pressure.raise(85) && !pressure.raise(90));
        pressure.watch(None);
        assert!(!set(0) && !pressure.raise(100));
    }
}
