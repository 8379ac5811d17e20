//! Which events have come, as intervals of sequences of each ring. Their number is bounded.

use std::collections::{BTreeMap, HashMap};

/// The most intervals that are remembered, of all rings.
pub const MOST_INTERVALS: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub struct Seen {
    rings: HashMap<(u64, u64), Ring>,
    intervals: usize,
    most: usize,
    /// How many times a ring was used.
    uses: u64,
}

#[derive(Debug, Default)]
struct Ring {
    /// The last sequence of each interval, by its first.
    intervals: BTreeMap<u64, u64>,
    used: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self::new(MOST_INTERVALS)
    }
}

impl Seen {
    fn new(most: usize) -> Self {
        Self { rings: HashMap::new(), intervals: 0, most, uses: 0 }
    }

    /// Adds an event. `false`: it has come before.
    pub fn add(&mut self, generation: u64, ring_id: u64, sequence: u64) -> bool {
        self.uses += 1;
        let ring = self.rings.entry((generation, ring_id)).or_default();
        ring.used = self.uses;
        let before = ring.intervals.range(..=sequence).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= sequence) {
            return false;
        }
        let behind = sequence.checked_add(1).and_then(|next| ring.intervals.get(&next).copied());
        let first = match before {
            Some((first, last)) if last + 1 == sequence => first,
            _ => {
                self.intervals += 1;
                sequence
            }
        };
        if behind.is_some() {
            ring.intervals.remove(&(sequence + 1));
            self.intervals -= 1;
        }
        ring.intervals.insert(first, behind.unwrap_or(sequence));
        self.forget();
        true
    }

    /// Forgets the ring that was used least recently; of the only one, the lowest sequences.
    fn forget(&mut self) {
        while self.intervals > self.most {
            let oldest = self.rings.iter().min_by_key(|(_, ring)| ring.used).map(|(key, _)| *key);
            let Some(key) = oldest else { return };
            if self.rings.len() > 1 {
                self.intervals -= self.rings.remove(&key).map_or(0, |ring| ring.intervals.len());
            } else if let Some(ring) = self.rings.get_mut(&key) {
                ring.intervals.pop_first();
                self.intervals -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_new_once_whatever_the_order() {
        // Every order of two passes over some sequences, by a generator.
        let mut state = 1_u64;
        for round in 0..50_u64 {
            let mut seen = Seen::default();
            let mut expected = std::collections::HashSet::new();
            for _ in 0..400 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let ring = state >> 33 & 1;
                let sequence = if round % 2 == 0 { state >> 40 & 63 } else { u64::MAX - (state >> 40 & 63) };
                assert_eq!(seen.add(7, ring, sequence), expected.insert((ring, sequence)));
            }
            let intervals: usize = seen.rings.values().map(|ring| ring.intervals.len()).sum();
            assert_eq!(seen.intervals, intervals);
        }
        let mut seen = Seen::default();
        (0..1000).for_each(|sequence| assert!(seen.add(1, 2, sequence)));
        assert_eq!(seen.intervals, 1);
        assert!(seen.add(2, 2, 0) && !seen.add(1, 2, 999));
    }

    #[test]
    fn what_was_used_least_recently_is_forgotten() {
        let mut seen = Seen::new(10);
        (0..6).for_each(|n| assert!(seen.add(1, 1, 2 * n)));
        (0..4).for_each(|n| assert!(seen.add(1, 2, 2 * n)));
        assert!(!seen.add(1, 1, 0));
        assert!(seen.add(1, 3, 0));
        // Ring 2 is gone.
        assert!(!seen.add(1, 1, 0) && seen.add(1, 2, 0));
        let mut seen = Seen::new(3);
        (0..4).for_each(|n| assert!(seen.add(1, 1, 2 * n)));
        assert!(!seen.add(1, 1, 6) && !seen.add(1, 1, 2));
        assert!(seen.add(1, 1, 0), "the lowest sequence is forgotten");
        assert!(seen.intervals <= 3);
    }
}
