//! What the rules say of an event. It holds nothing by reference, so that it outlives the set that made it.

/// Bytes of a payload, from the first up to the last, which is not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub start: u32,
    /// Behind the last; may lie behind the payload.
    pub end: u32,
}

/// The most ranges of a payload that are kept apart.
pub const MAX_RANGES: usize = 8;

/// The bytes of a payload that are zeroed in the copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    list: [Range; MAX_RANGES],
    count: u32,
}

impl Ranges {
    /// None.
    pub const NONE: Self = Self { list: [Range { start: 0, end: 0 }; MAX_RANGES], count: 0 };

    /// The ranges.
    pub fn list(&self) -> &[Range] {
        self.list.get(..self.count as usize).unwrap_or(&self.list)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds several.
    #[inline(never)]
    pub fn add_all(&mut self, ranges: &[Range]) {
        for range in ranges {
            self.add(*range);
        }
    }

    /// Adds a range. Where there are too many already, one of them grows over what lies between: rather too much is zeroed than too little.
    pub fn add(&mut self, range: Range) {
        let count = self.count as usize;
        let known = self.list.iter_mut().take(count);
        let joined =
            |known: &Range| Range { start: known.start.min(range.start), end: known.end.max(range.end) };
        let grows = |known: &Range| {
            let joined = joined(known);
            u64::from(joined.end - joined.start) - u64::from(known.end - known.start)
        };
        // Nothing grows but by what is added, where they touch.
        let touches = |known: &Range| known.start <= range.end && range.start <= known.end;
        let nearest = known.min_by_key(|known| (!touches(known), grows(known)));
        match nearest {
            Some(known) if touches(known) || count == MAX_RANGES => *known = joined(known),
            _ => {
                self.list[count] = range;
                self.count += 1;
            }
        }
    }

    /// Zeroes them in a copy of the payload.
    pub fn redact(&self, payload: &mut [u8]) {
        for range in self.list() {
            let end = (range.end as usize).min(payload.len());
            if let Some(part) = payload.get_mut(range.start as usize..end) {
                part.fill(0);
            }
        }
    }
}

/// What the rules say of an event for which one of them matched.
#[derive(Clone, Copy, Debug)]
pub struct Ruling {
    /// The index of the rule that drops the event.
    pub dropped_by: Option<u32>,
    /// The event is to be kept whatever else would drop it by chance: its weight is 1.
    pub keep: bool,
    /// Its trace is to be kept from here on.
    pub promote: bool,
    /// One of so many such events is to be kept, at most [`MAX_WEIGHT`](super::MAX_WEIGHT); 1: all.
    pub weight: u32,
    /// The index of the rule that the weight is from, if it is more than 1.
    pub sampled_by: u32,
    /// The event is a priority one.
    pub priority: bool,
    /// It asks for a snapshot.
    pub snapshot: bool,
    /// Its tags: bit N - 1 for the tag N.
    pub tags: u32,
}

impl Default for Ruling {
    /// No rule has said anything.
    #[inline]
    fn default() -> Self {
        Self {
            dropped_by: None,
            keep: false,
            promote: false,
            weight: 1,
            sampled_by: 0,
            priority: false,
            snapshot: false,
            tags: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_zeroed_is_and_nothing_else_while_there_are_few_ranges() {
        let mut seed = 1u64;
        let mut random = |below: u32| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u32 % below
        };
        for round in 0..20_000 {
            let (mut ranges, mut expected) = (Ranges::default(), [1u8; 64]);
            let count = random(16);
            for _ in 0..count {
                let start = random(70);
                let end = if random(9) == 0 { u32::MAX } else { start + 1 + random(6) };
                ranges.add(Range { start, end });
                let end = (end as usize).min(64);
                expected.get_mut(start as usize..end).into_iter().for_each(|part| part.fill(0));
            }
            let mut payload = [1u8; 64];
            ranges.redact(&mut payload);
            for at in 0..64 {
                assert!(payload[at] <= expected[at], "{round}: byte {at} is left");
            }
            if count <= MAX_RANGES as u32 {
                assert_eq!(payload, expected, "{round}");
            }
            assert!(ranges.list().len() <= MAX_RANGES && ranges.is_empty() == (count == 0));
        }
    }
}
