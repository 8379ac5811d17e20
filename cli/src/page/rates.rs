//! How many events there were in each part of the time. The time may grow: then two parts become one.

/// The most parts.
const STEPS: usize = 120;

/// See the module.
pub struct Rates {
    /// When the first part begins. `None`: there was no event yet.
    first: Option<u64>,
    /// The length of a part.
    step: u64,
    counts: [u64; STEPS],
}

impl Rates {
    /// For events whose wall times are expected between these, the first above the second for none.
    pub fn new((first, last): (u64, u64)) -> Self {
        let step = last.saturating_sub(first) / STEPS as u64 + 1;
        Self { first: (first <= last).then_some(first), step, counts: [0; STEPS] }
    }

    /// The part of a time; one before the first part is in that.
    fn part(&self, ns: u64) -> usize {
        let after = ns.saturating_sub(self.first.unwrap_or(ns)) / self.step;
        usize::try_from(after).unwrap_or(usize::MAX)
    }

    /// Counts an event.
    pub fn add(&mut self, ns: u64) {
        self.first.get_or_insert(ns);
        while self.part(ns) >= STEPS {
            for at in 0..STEPS / 2 {
                self.counts[at] = self.counts[2 * at] + self.counts[2 * at + 1];
            }
            self.counts[STEPS / 2..].fill(0);
            self.step = self.step.saturating_mul(2);
        }
        self.counts[self.part(ns)] += 1;
    }

    /// The counts of the parts up to the last event's.
    pub fn of(&self, last: u64) -> &[u64] {
        &self.counts[..(self.part(last) + 1).min(STEPS)]
    }

    /// The length of these parts together.
    pub fn length(&self, last: u64) -> u64 {
        self.step.saturating_mul(self.of(last).len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_counted_in_its_part_while_the_time_grows() {
        let mut rates = Rates::new((1_000, 1_119));
        (1_000..1_120).for_each(|ns| rates.add(ns));
        assert_eq!((rates.of(1_119), rates.length(1_119)), (&[1; STEPS][..], 120));
        rates.add(1_120);
        assert_eq!(rates.of(1_120), [&[2; 60][..], &[1]].concat());
        assert_eq!(rates.length(1_120), 122);
        // Ever later, and one that is earlier than all others.
        rates.add(u64::MAX);
        rates.add(3);
        assert_eq!(rates.counts.iter().sum::<u64>(), 123);
        assert_eq!(rates.of(u64::MAX).first(), Some(&122));
        assert_eq!(rates.of(u64::MAX).last(), Some(&1));
    }

    #[test]
    fn without_an_event_the_first_one_begins_it() {
        let mut rates = Rates::new((u64::MAX, 0));
        rates.add(5_000);
        assert_eq!((rates.of(5_000), rates.length(5_000)), (&[1][..], 1));
        rates.add(5_001);
        assert_eq!(rates.of(5_001), [1, 1]);
    }
}
