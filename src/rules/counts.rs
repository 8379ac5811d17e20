//! What the rules of a set have counted.

use crate::platform::sync::{AtomicU64, Ordering};

/// What a rule has counted. It counts only events that came as far as to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Events that its condition chose.
    pub matched: u64,
    /// Events beyond its limit.
    pub limited: u64,
    /// Events that were sampled out at its rate.
    pub sampled_out: u64,
}

/// Which count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Matched,
    Limited,
    SampledOut,
}

/// The counts of a rule lie together, in the order of [`Count`].
const PER_RULE: usize = 3;

/// What a processor fetches together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lines([AtomicU64; WORDS]);

const WORDS: usize = 16;

/// The counts of a set, in several shards so that producers do not share cache lines. The first producers have a shard of their own each, in which no other
/// writes while they hold their busy word; so they need no locked instruction. All others share the last one.
#[derive(Debug)]
pub(super) struct Counts {
    lines: Box<[Lines]>,
    /// Between one shard and the next.
    stride: usize,
    shards: usize,
    rules: usize,
}

/// The most shards, and the most bytes of all together, beyond the first shard.
const MOST_SHARDS: usize = 65;
const MOST_BYTES: usize = 4 << 20;

impl Counts {
    /// Counts for so many rules and producers. `None`: no memory.
    pub fn new(rules: usize, producers: usize) -> Option<Self> {
        let stride = (rules * PER_RULE).div_ceil(WORDS).max(1);
        let affordable = MOST_BYTES / (stride * size_of::<Lines>());
        let shards = (producers + 1).min(MOST_SHARDS).min(affordable).max(1);
        let mut lines = Vec::new();
        lines.try_reserve_exact(shards * stride).ok()?;
        lines.resize_with(shards * stride, Lines::default);
        Some(Self { lines: lines.into_boxed_slice(), stride, shards, rules })
    }

    #[inline(always)]
    fn word(&self, shard: usize, rule: usize, count: Count) -> Option<&AtomicU64> {
        let at = rule * PER_RULE + count as usize;
        self.lines.get(shard * self.stride + at / WORDS).map(|lines| &lines.0[at % WORDS])
    }

    /// Adds one to a count of a rule.
    #[inline(always)]
    pub fn add(&self, producer: u32, rule: u32, count: Count) {
        let shard = (producer as usize).min(self.shards - 1);
        let Some(word) = self.word(shard, rule as usize, count) else { return };
        if shard + 1 < self.shards {
            word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            word.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts of a rule.
    pub fn of(&self, rule: usize) -> RuleCounts {
        let sum = |count| {
            let words = (0..self.shards).filter_map(|shard| self.word(shard, rule, count));
            if rule < self.rules { words.map(|word| word.load(Ordering::Relaxed)).sum() } else { 0 }
        };
        RuleCounts {
            matched: sum(Count::Matched),
            limited: sum(Count::Limited),
            sampled_out: sum(Count::SampledOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_of_every_producer_is_in_the_sum() {
        for (rules, producers, threads) in [(1, 1, 1), (10, 3, 4), (10_000, 1000, 4), (0, 4, 1)] {
            let counts = Counts::new(rules, producers).unwrap();
            assert!(size_of_val(&*counts.lines) <= MOST_BYTES);
            // Those with a shard of their own once each; all others together.
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let counts = &counts;
                    scope.spawn(move || {
                        for producer in
                            (0..producers as u32 + 3).filter(|producer| producer % threads == thread)
                        {
                            for rule in (0..rules as u32).step_by(rules / 10 + 1) {
                                counts.add(producer, rule, Count::Matched);
                                counts.add(producer, rule, Count::Limited);
                                counts.add(producer, rule, Count::Limited);
                            }
                        }
                    });
                }
            });
            let all = producers as u64 + 3;
            for rule in (0..rules).step_by(rules / 10 + 1) {
                let expected = RuleCounts { matched: all, limited: 2 * all, sampled_out: 0 };
                assert_eq!(counts.of(rule), expected, "{rules} {producers} {rule}");
            }
            assert_eq!(counts.of(rules), RuleCounts::default());
        }
    }
}
