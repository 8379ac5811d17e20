//! How long events take from capture to acknowledgement: a histogram of fixed size.
//!
//! Buckets are exact to 1/16 of their value (four bits below the leading one, as in HdrHistogram by Gil Tene).

const SUB: u32 = 4;
const BUCKETS: usize = ((64 - SUB as usize) + 1) << SUB;

/// The histogram, as fine as it is kept.
#[derive(Debug)]
pub struct Latency {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    max: u64,
}

/// Events that fall into one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Alike {
    bucket: usize,
    /// The shortest time that falls into it.
    pub from: u64,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The 99.9th percentile.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

/// How many [`Spread::BOUNDS_NS`] there are.
const BOUNDS: usize = 26;

/// The histogram in few buckets, as programs that draw histograms want it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many events took at most as long as each of [`Self::BOUNDS_NS`].
    pub up_to: [u64; BOUNDS],
    /// How many events there were.
    pub count: u64,
    /// How long all of them took together, in nanoseconds. It is added up from the fine buckets, so it is exact to 1/32.
    pub sum_ns: u128,
    /// How long the longest took, in nanoseconds.
    pub max_ns: u64,
}

impl Spread {
    /// The bounds: 2^10 - 1 ns (1 us), and each time about twice as much, to 2^35 - 1 ns (34 s). Fine buckets end at each of them, so the
    /// counts are exact.
    pub const BOUNDS_NS: [u64; BOUNDS] = {
        let mut bounds = [0; BOUNDS];
        let mut n = 0;
        while n < BOUNDS {
            bounds[n] = (1 << (10 + n)) - 1;
            n += 1;
        }
        bounds
    };
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, max: 0 }
    }
}

fn bucket(ns: u64) -> usize {
    if ns < 1 << SUB {
        return ns as usize;
    }
    let exponent = 63 - ns.leading_zeros();
    (((exponent - SUB + 1) as usize) << SUB) + ((ns >> (exponent - SUB)) as usize & ((1 << SUB) - 1))
}

/// The largest value that falls into a bucket.
fn top(bucket: usize) -> u64 {
    if bucket < 1 << SUB {
        return bucket as u64;
    }
    let exponent = (bucket >> SUB) as u32 + SUB - 1;
    let base = (1u64 << SUB) + (bucket as u64 & ((1 << SUB) - 1));
    let width = exponent - SUB;
    (base << width) + ((1u64 << width) - 1)
}

impl Latency {
    /// Notes one event.
    #[inline]
    pub fn note(&mut self, ns: u64) {
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.max = self.max.max(ns);
    }

    /// Notes `count` events of which none took longer than the one before; `ns` says how long each took. Events of one bucket, as a rule
    /// most of a batch, are noted together.
    pub fn note_falling(&mut self, count: usize, ns: impl Fn(usize) -> u64) {
        let mut from = 0;
        while from < count {
            let here = bucket(ns(from));
            let is_here = |i: usize| bucket(ns(i)) == here;
            // Steps of doubled length: events before `low` are in the bucket, events from `high` on are not.
            let (mut low, mut high) = (from + 1, count);
            let mut step = 1;
            while low < high {
                let probe = (low + step - 1).min(high - 1);
                if is_here(probe) {
                    low = probe + 1;
                    step *= 2;
                } else {
                    high = probe;
                    break;
                }
            }
            while low < high {
                let middle = low + (high - low) / 2;
                if is_here(middle) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            self.buckets[here] += (low - from) as u64;
            self.max = self.max.max(ns(from));
            from = low;
        }
        self.count += count as u64;
    }

    /// What is noted as an event that took so long. A longer one has been noted before.
    pub fn alike(ns: u64) -> Alike {
        let bucket = bucket(ns);
        Alike { bucket, from: if bucket == 0 { 0 } else { top(bucket - 1) + 1 } }
    }

    /// Notes `count` events, none of which took longer than one that was noted, or shorter than `alike.from`.
    #[inline]
    pub fn note_alike(&mut self, alike: Alike, count: u64) {
        self.buckets[alike.bucket] += count;
        self.count += count;
    }

    /// No event that is noted took longer than this.
    pub fn note_longest(&mut self, ns: u64) {
        self.max = self.max.max(ns);
    }

    /// All events so far in few buckets. Nothing in it is ever less than it was before.
    pub fn spread(&self) -> Spread {
        let mut spread = Spread { count: self.count, max_ns: self.max, ..Spread::default() };
        let mut seen = 0;
        // The 16 buckets of one power of two, most of which are empty.
        for (power, buckets) in self.buckets.chunks_exact(1 << SUB).enumerate() {
            let events: u64 = buckets.iter().sum();
            if events > 0 {
                seen += events;
                for (at, &n) in buckets.iter().enumerate().filter(|(_, n)| **n > 0) {
                    let bucket = (power << SUB) + at;
                    let from = bucket.checked_sub(1).map_or(0, |before| top(before) + 1);
                    spread.sum_ns += u128::from(n) * u128::from(from + (top(bucket) - from) / 2);
                }
            }
            // They end at 2^(SUB + power) - 1.
            let bound = (SUB as usize + power).checked_sub(10).and_then(|n| spread.up_to.get_mut(n));
            if let Some(up_to) = bound {
                *up_to = seen;
            }
        }
        spread
    }

    /// The longest time so far.
    pub fn longest(&self) -> u64 {
        self.max
    }

    /// The percentiles of all events so far; zeros without any.
    pub fn percentiles(&self) -> Percentiles {
        let at = |per_mille: u64| {
            let rank = (self.count * per_mille).div_ceil(1000).max(1);
            let mut seen = 0;
            for (i, &n) in self.buckets.iter().enumerate() {
                seen += n;
                if seen >= rank {
                    return top(i).min(self.max);
                }
            }
            self.max
        };
        if self.count == 0 {
            return Percentiles::default();
        }
        Percentiles { p50: at(500), p99: at(990), p999: at(999), max: self.max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_whose_top_is_within_a_sixteenth() {
        let mut values: Vec<u64> = (0..4096).collect();
        for shift in 0..64 {
            for low in 0..33 {
                values.push((1u64 << shift).wrapping_add(low) | 1u64 << shift);
            }
        }
        values.push(u64::MAX);
        for v in values {
            let t = top(bucket(v));
            assert!(t >= v && t - v <= v / 16, "{v} in bucket {} with top {t}", bucket(v));
        }
    }

    #[test]
    fn what_is_noted_together_counts_as_what_is_noted_singly() {
        for (first, step, count) in
            [(0, 0, 0), (7, 0, 1), (5_000, 0, 512), (100_000, 1, 512), (u64::MAX, 1 << 52, 4000)]
        {
            let ns = |i: usize| first - step * i as u64;
            let (mut singly, mut together) = (Latency::default(), Latency::default());
            (0..count).for_each(|i| singly.note(ns(i)));
            together.note_falling(count, ns);
            assert_eq!(
                (singly.buckets, singly.count, singly.max),
                (together.buckets, together.count, together.max)
            );
        }
    }

    #[test]
    fn what_is_noted_alike_counts_as_what_is_noted_singly() {
        for ns in [0, 1, 15, 16, 17, 31, 32, 5_000, 100_000, u64::MAX] {
            let alike = Latency::alike(ns);
            assert!(bucket(alike.from) == bucket(ns) && alike.from <= ns);
            assert!(alike.from == 0 || bucket(alike.from - 1) != bucket(ns), "{ns}: from {}", alike.from);
            let (mut singly, mut together) = (Latency::default(), Latency::default());
            (0..9).for_each(|_| singly.note(ns));
            together.note_longest(ns);
            together.note_alike(alike, 9);
            assert_eq!(
                (singly.buckets, singly.count, singly.max),
                (together.buckets, together.count, together.max)
            );
        }
    }

    #[test]
    fn the_spread_counts_every_event_exactly_and_adds_up_times_to_a_thirty_second() {
        let mut l = Latency::default();
        assert_eq!(l.spread(), Spread::default());
        let mut times: Vec<u64> =
            Spread::BOUNDS_NS.iter().flat_map(|b| [b - 1, *b, b + 1, b * 3 / 2]).collect();
        times.extend([0, 1, 15, 16, 17, 1 << 40]);
        times.iter().for_each(|&ns| l.note(ns));
        let spread = l.spread();
        for (bound, up_to) in Spread::BOUNDS_NS.into_iter().zip(spread.up_to) {
            assert_eq!(up_to, times.iter().filter(|&&ns| ns <= bound).count() as u64, "at most {bound} ns");
        }
        let sum: u128 = times.iter().map(|&ns| u128::from(ns)).sum();
        assert!(spread.sum_ns.abs_diff(sum) <= sum / 32, "{} for {sum}", spread.sum_ns);
        assert_eq!((spread.count, spread.max_ns), (times.len() as u64, 1 << 40));
        l.note(u64::MAX);
        assert_eq!(l.spread().count, times.len() as u64 + 1);
    }

    #[test]
    fn percentiles_are_those_of_what_was_noted() {
        let mut l = Latency::default();
        assert_eq!(l.percentiles(), Percentiles::default());
        for v in 1..=1000 {
            l.note(v);
        }
        let p = l.percentiles();
        assert!((500..=531).contains(&p.p50) && (990..=1000).contains(&p.p99), "{p:?}");
        assert_eq!((p.p999.max(999), p.max), (p.p999, 1000));
    }
}
