//! When a batch whose attempt has failed is tried again, and what is known of the storage's failures.

use super::breaker::{Breaker, Pace};
use crate::batch::Batch;
use crate::config::Config;
use crate::platform::random;
use crate::storage::{PIPELINE_REASON_RETRY_AGE, PIPELINE_REASON_RETRY_LIMIT};

/// What is known of failures.
#[derive(Debug, Default)]
pub struct Retries {
    /// Whether batches may be given to `store`.
    pub breaker: Breaker,
    /// Attempts after the first of a batch.
    pub count: u64,
    /// Since when every call has failed; `None`: the last one has not.
    pub failing_since: Option<u64>,
    /// The state of the random numbers that vary the pauses.
    jitter: u64,
}

impl Retries {
    /// No failure so far.
    pub fn new(jitter: u64) -> Self {
        Self { jitter, ..Self::default() }
    }

    /// The next random number.
    pub fn next_jitter(&mut self) -> u64 {
        self.jitter = random::mix(self.jitter);
        self.jitter
    }

    /// When a batch with so many failed attempts is due again: the pause doubles each time, up to a limit, and is shortened by up to half
    /// at random.
    pub fn due(&mut self, config: &Config, attempts: u32, now_ns: u64) -> u64 {
        let pause = back_off_ns(config, attempts);
        let jitter = self.next_jitter();
        now_ns + pause - if pause > 1 { jitter % (pause / 2 + 1) } else { 0 }
    }

    /// A call of the storage has failed.
    pub fn note_failure(&mut self, now_ns: u64) {
        self.failing_since.get_or_insert(now_ns);
    }
}

/// The longest pause after so many failed attempts.
pub fn back_off_ns(config: &Config, attempts: u32) -> u64 {
    let (initial, most) = (config.retry_initial_us * 1000, config.retry_max_us * 1000);
    initial.saturating_mul(1u64 << attempts.saturating_sub(1).min(40)).min(most)
}

/// When a batch is too old for another attempt.
pub fn too_old_at(config: &Config, batch: &Batch) -> u64 {
    batch.first_attempt_ns.saturating_add(config.retry_max_age_ms.saturating_mul(1_000_000))
}

/// Why a batch gets no further attempt; `None`: it gets one.
pub fn spent(config: &Config, batch: &Batch, now_ns: u64) -> Option<i32> {
    if batch.attempts >= config.retry_limit {
        return Some(PIPELINE_REASON_RETRY_LIMIT);
    }
    (now_ns >= too_old_at(config, batch)).then_some(PIPELINE_REASON_RETRY_AGE)
}

/// What the configuration says of the circuit breaker.
pub fn pace(config: &Config) -> Pace {
    Pace { failures: config.breaker_failures, longest_ns: config.retry_max_us.saturating_mul(1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn pauses_double_up_to_the_limit_and_are_shortened_by_half_at_most() {
        let config = Config { retry_initial_us: 1000, retry_max_us: 5000, ..Config::default() };
        let mut retries = Retries::new(1);
        for (attempts, most) in [(1, MS), (2, 2 * MS), (3, 4 * MS), (4, 5 * MS), (u32::MAX, 5 * MS)] {
            for _ in 0..100 {
                let due = retries.due(&config, attempts, 7 * MS);
                assert!((7 * MS + most / 2..=7 * MS + most).contains(&due), "{attempts}: {due}");
            }
        }
        let at_once = Config { retry_initial_us: 0, ..config };
        assert_eq!(retries.due(&at_once, 9, 7), 7);
    }

    #[test]
    fn attempts_end_by_their_number_or_by_the_age_of_the_first() {
        let config = Config { retry_limit: 3, retry_max_age_ms: 10, ..Config::default() };
        let mut batch = Batch::new(1, 2);
        (batch.attempts, batch.first_attempt_ns) = (2, MS);
        assert_eq!(spent(&config, &batch, 11 * MS - 1), None);
        assert_eq!(spent(&config, &batch, 11 * MS), Some(PIPELINE_REASON_RETRY_AGE));
        batch.attempts = 3;
        assert_eq!(spent(&config, &batch, 0), Some(PIPELINE_REASON_RETRY_LIMIT));
    }
}
