//! Which slices lie within each other in one row.
//!
//! A viewer stacks the slices of a row by their times: each must lie within another one, or beside it. Slices that begin and end by events come in the order
//! of time. A slice whose event comes at its end may begin anywhere before: [`Nest::add`] says whether it fits into what is there.

use std::collections::TryReserveError;

/// The most items that are remembered of a level, unless [`Nest::of`] says less. Older ones become one.
const MOST: usize = 1_024;

/// The most slices that lie within each other in one row: Perfetto's trace processor takes 512, and ends the wrong ones past that. Deeper ones are in rows of
/// their own.
pub const MOST_DEEP: usize = 500;

/// See the module. Times are not before those of earlier calls, but for the begin of [`Nest::add`].
#[derive(Clone, Debug)]
pub struct Nest {
    /// The most items that are remembered of a level.
    most: usize,
    /// What is open, and what has ended since, beside each other, in the order of their begins.
    items: Vec<Item>,
    /// How many are open.
    open: usize,
    /// How many have ended since the last one that is open.
    ended: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// When it began, and how many had ended before it in its level.
    Open(u64, usize),
    Ended(Ended),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    began: u64,
    ns: u64,
    /// How many lie within each other in its row, with it.
    height: usize,
}

impl Default for Nest {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Nest {
    /// One that remembers at most so many items of a level, at least 4.
    pub fn of(most: usize) -> Self {
        Self { most: most.max(4), items: Vec::new(), open: 0, ended: 0 }
    }

    /// Makes room for one more slice. Without this, memory is allocated as it is needed.
    #[inline]
    pub fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.items.try_reserve(1)
    }

    /// Becomes what another one is.
    pub fn copy(&mut self, other: &Self) -> Result<(), TryReserveError> {
        self.items.clear();
        self.items.try_reserve(other.items.len())?;
        self.items.extend_from_slice(&other.items);
        (self.most, self.open, self.ended) = (other.most, other.open, other.ended);
        Ok(())
    }

    /// Nothing is open, and nothing is remembered.
    pub fn clear(&mut self) {
        self.items.clear();
        (self.open, self.ended) = (0, 0);
    }

    /// How many slices are open.
    #[inline]
    pub fn depth(&self) -> usize {
        self.open
    }

    /// A slice begins, within those that are open.
    #[inline]
    pub fn begin(&mut self, ns: u64) {
        self.items.push(Item::Open(ns, self.ended));
        self.open += 1;
        self.ended = 0;
    }

    /// The slice ends that began last.
    #[inline]
    pub fn end(&mut self, ns: u64) {
        let mut within = 0;
        while let Some(item) = self.items.pop() {
            match item {
                Item::Ended(ended) => within = within.max(ended.height),
                Item::Open(began, before) => {
                    self.open -= 1;
                    self.ended = before;
                    // What lies within the last one of a row is in the next row.
                    let is_last = self.open % MOST_DEEP == MOST_DEEP - 1;
                    let height = if is_last { 1 } else { within + 1 };
                    return self.put(Ended { began, ns, height });
                }
            }
        }
    }

    /// A slice that is known when it ends. `false`: it does not fit, and nothing has changed.
    pub fn add(&mut self, began: u64, ns: u64) -> bool {
        let (mut count, mut within) = (0, 0);
        for item in self.items.iter().rev() {
            match *item {
                // (One that began at the same time was drawn before, so it could not lie within this one.)
                Item::Ended(ended) if ended.began > began => {
                    count += 1;
                    within = within.max(ended.height);
                }
                Item::Ended(ended) if ended.ns <= began => break,
                Item::Open(start, _) if start <= began => break,
                _ => return false,
            }
        }
        if self.open % MOST_DEEP + within + 1 > MOST_DEEP {
            return false;
        }
        self.items.truncate(self.items.len() - count);
        self.ended -= count;
        self.put(Ended { began, ns, height: within + 1 });
        true
    }

    fn put(&mut self, ended: Ended) {
        if self.ended >= self.most {
            let first = self.items.len() - self.ended;
            let old = self.items[first..first + self.most / 2].iter().filter_map(|item| match item {
                Item::Ended(ended) => Some(*ended),
                Item::Open(..) => None,
            });
            let one =
                old.reduce(|one, next| Ended { ns: next.ns, height: one.height.max(next.height), ..one });
            if let Some(one) = one {
                self.items[first] = Item::Ended(one);
                self.items.drain(first + 1..first + self.most / 2);
                self.ended -= self.most / 2 - 1;
            }
        }
        self.items.push(Item::Ended(ended));
        self.ended += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether of two slices one lies within the other, or both beside each other, if `first` was drawn before `second`.
    fn are_nested(first: (u64, u64), second: (u64, u64)) -> bool {
        // (The second one cannot be before the first: it ends now.)
        let beside = first.1 <= second.0;
        // (Behind an end that was drawn, at the same time, it would be the other one that ends.)
        let second_within = first.0 <= second.0 && first.1 == u64::MAX;
        let first_within = second.0 < first.0 && first.1 <= second.1;
        beside || second_within || first_within
    }

    /// Every slice that fits must fit, as long as little is remembered, and none may that does not.
    #[test]
    fn slices_that_fit_are_those_that_lie_within_or_beside_all_others() {
        let (mut fitted, mut refused) = (0, 0);
        for seed in 0..2_000_u64 {
            let mut state = seed;
            let mut random = |bound: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % bound
            };
            let mut nest = Nest::default();
            // Slices with their begins and ends; `u64::MAX`: it is open.
            let mut slices: Vec<(u64, u64)> = Vec::new();
            let mut open: Vec<usize> = Vec::new();
            let mut now = 1_000;
            for _ in 0..60 {
                now += random(3);
                match random(4) {
                    0 if open.len() < 5 => {
                        nest.begin(now);
                        open.push(slices.len());
                        slices.push((now, u64::MAX));
                    }
                    1 if !open.is_empty() => {
                        nest.end(now);
                        slices[open.pop().expect("one is open")].1 = now;
                    }
                    _ => {
                        let slice = (now - random(12), now);
                        let fits = slices.iter().all(|other| are_nested(*other, slice));
                        assert_eq!(nest.add(slice.0, slice.1), fits, "seed {seed}: {slice:?} in {slices:?}");
                        if fits {
                            slices.push(slice);
                            fitted += 1;
                        } else {
                            refused += 1;
                        }
                    }
                }
            }
        }
        assert!(fitted > 10_000 && refused > 10_000, "{fitted} {refused}");
    }

    /// Each lies within the next one, which is known later.
    #[test]
    fn slices_are_not_deeper_than_a_row_takes() {
        for open in [0, 1, MOST_DEEP - 1, MOST_DEEP, MOST_DEEP + 7] {
            let mut nest = Nest::default();
            (0..open).for_each(|_| nest.begin(1));
            let fit = MOST_DEEP - open % MOST_DEEP;
            let at = |n: usize| (10_000 - n as u64, 10_000 + n as u64);
            for n in 0..fit {
                assert!(nest.add(at(n).0, at(n).1), "{open} {n}");
            }
            assert!(!nest.add(at(fit).0, at(fit).1), "{open}");
            // Beside them there is room.
            assert!(nest.add(at(fit).1, at(fit).1 + 1), "{open}");
            assert_eq!(nest.depth(), open);
        }
        let mut nest = Nest::default();
        (0..MOST_DEEP + 3).for_each(|_| nest.begin(10));
        (0..MOST_DEEP + 3).for_each(|_| nest.end(20));
        assert!(!nest.add(5, 30), "the row is full of what lies in it");
        assert!(nest.add(20, 30));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_no_slice_fits_for_it() {
        let mut nest = Nest::default();
        nest.begin(1);
        for n in 1..100_000 {
            assert!(nest.add(10 * n, 10 * n + 5));
            assert!(nest.items.len() <= MOST + 2);
        }
        // It would lie across the first of those that became one.
        assert!(!nest.add(12, 1_000_000));
        assert!(nest.add(10 * 99_999 - 2, 1_000_000));
        nest.end(1_000_001);
        assert_eq!(nest.items.len(), 1);
    }
}
