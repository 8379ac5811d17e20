//! The limit of a rate, as one word that every thread may change (GCRA, the leaky bucket as a meter: ITU-T I.371).

use super::Limit;
use crate::platform::sync::{AtomicU64, Ordering};

/// Times are counted in parts of a nanosecond, so that a rate is met with a small error: 64 of them last for nine years.
const PARTS: u64 = 64;
const SECOND: u64 = 1_000_000_000 * PARTS;

/// Admits events at a rate.
#[derive(Debug)]
pub(super) struct Limiter {
    /// From this time on the bucket is full again.
    full_at: AtomicU64,
    /// Between two events at the rate.
    interval: u64,
    /// How far `full_at` may be ahead.
    burst: u64,
    /// The time that all others are counted from.
    start_ns: u64,
}

impl Limiter {
    pub fn new(limit: Limit, now_ns: u64) -> Self {
        // Rounded up, so that it is never more than the rate.
        let interval = SECOND.div_ceil(limit.per_second.max(1));
        Self {
            full_at: AtomicU64::new(0),
            interval,
            burst: interval.saturating_mul(limit.burst.max(1)),
            start_ns: now_ns,
        }
    }

    /// Whether an event at this time is within the rate. It is counted then.
    pub fn admits(&self, now_ns: u64) -> bool {
        let now = now_ns.saturating_sub(self.start_ns).saturating_mul(PARTS);
        self.full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let next = full_at.max(now).saturating_add(self.interval);
                (next - now <= self.burst).then_some(next)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(limiter: &Limiter, times: impl Iterator<Item = u64>) -> u64 {
        times.filter(|now| limiter.admits(*now)).count() as u64
    }

    #[test]
    fn after_a_pause_a_burst_is_admitted_and_then_the_rate() {
        for (per_second, burst) in [(1, 1), (10, 3), (100, 100), (3, 7), (1_000_000, 1), (1000, 5000)] {
            let limiter = Limiter::new(Limit { per_second, burst }, 5_000);
            assert_eq!(
                admitted(&limiter, std::iter::repeat_n(5_000, 10_000)),
                burst,
                "{per_second}/s {burst}"
            );
            // Ten seconds, with ten offers for each that is admitted.
            let offers = 100 * per_second;
            let later = (1..=offers).map(|n| 5_000 + n * 10_000_000_000 / offers);
            let got = admitted(&limiter, later);
            assert!((10 * per_second - 1..=10 * per_second).contains(&got), "{per_second}/s {burst}: {got}");
            // A clock that goes back, and one that leaps.
            assert!(!limiter.admits(0));
            assert_eq!(admitted(&limiter, std::iter::repeat_n(u64::MAX / 128, 10_000)), burst);
        }
    }

    #[test]
    fn threads_together_get_no_more_than_one_would() {
        let limiter = Limiter::new(Limit { per_second: 1000, burst: 500 }, 0);
        let total: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| admitted(&limiter, std::iter::repeat_n(1, 5_000)))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 500);
    }
}
