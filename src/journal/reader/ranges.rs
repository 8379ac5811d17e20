//! Finds the sequences that more than one block may have, by the headers alone and in bounded memory.
//!
//! Each block has a range of sequences of one ring. The ranges of all blocks are joined where they touch; where two overlap, the sequences that both have are
//! *contested*. A journal has few ranges, however many blocks it has: they touch unless events were dropped. If there are more ranges than there is memory for, the upper
//! half is left for another pass over the headers.

use crate::journal::format::block::BlockHeader;
use std::collections::HashMap;

/// Sequences of one ring. They are ordered by run, ring and first sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Range {
    pub generation: u64,
    pub ring_id: u64,
    pub first: u64,
    pub last: u64,
}

impl Range {
    /// The sequences of a block. `None`: it has no events.
    pub fn of(header: &BlockHeader) -> Option<Self> {
        let range = Self {
            generation: header.generation,
            ring_id: header.ring_id,
            first: header.first_sequence,
            last: header.last_sequence,
        };
        (header.count > 0 && range.first <= range.last).then_some(range)
    }

    fn is_ring_of(&self, other: &Self) -> bool {
        (self.generation, self.ring_id) == (other.generation, other.ring_id)
    }

    fn start(&self) -> Start {
        (self.generation, self.ring_id, self.first)
    }

    /// The sequences that both have.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let both = Self { first: self.first.max(other.first), last: self.last.min(other.last), ..*self };
        (self.is_ring_of(other) && both.first <= both.last).then_some(both)
    }
}

/// A run, a ring and a sequence.
type Start = (u64, u64, u64);

/// The ranges of the blocks that were added, and those that are contested.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Sorted up to `sorted`, where no two overlap or touch.
    ranges: Vec<Range>,
    sorted: usize,
    /// The last range of each ring in the current segment.
    last: HashMap<(u64, u64), usize>,
    contested: Vec<Range>,
    /// This pass begins here.
    from: Option<Start>,
    /// What begins here or behind it is left to the next pass.
    cut: Option<Start>,
    most: usize,
    /// Too many ranges are joined over the gaps between them, so that one pass is enough. A reader that follows a journal keeps its ranges for later blocks.
    coarse: bool,
}

/// The most rings of a segment whose last range is remembered.
const MAX_RINGS: usize = 1 << 14;

impl Ranges {
    /// At most `most` ranges are kept at once.
    pub fn new(most: usize, coarse: bool) -> Self {
        Self { most: most.max(16), coarse, ..Self::default() }
    }

    /// Adds the range of a block. `false`: there is not enough memory.
    pub fn add(&mut self, mut range: Range) -> bool {
        if let Some((generation, ring_id, sequence)) = self.from {
            if (range.generation, range.ring_id, range.last) < (generation, ring_id, sequence) {
                return true;
            }
            if (range.generation, range.ring_id) == (generation, ring_id) {
                range.first = range.first.max(sequence);
            }
        }
        if let Some((generation, ring_id, sequence)) = self.cut {
            if range.start() >= (generation, ring_id, sequence) {
                return true;
            }
            if (range.generation, range.ring_id) == (generation, ring_id) {
                range.last = range.last.min(sequence - 1);
            }
        }
        let ring = (range.generation, range.ring_id);
        if let Some(&last) = self.last.get(&ring)
            && let Some(before) = self.ranges.get_mut(last)
            && before.last.checked_add(1) == Some(range.first)
        {
            before.last = range.last;
            return true;
        }
        if self.ranges.len() >= self.most {
            if !self.join() {
                return false;
            }
            self.halve();
        }
        if self.ranges.try_reserve(1).is_err() || self.last.try_reserve(1).is_err() {
            return false;
        }
        if self.last.len() >= MAX_RINGS {
            self.last.clear();
        }
        self.last.insert(ring, self.ranges.len());
        self.ranges.push(range);
        true
    }

    /// The blocks that are added from now on are in another segment.
    pub fn next_segment(&mut self) {
        self.last.clear();
    }

    /// Ends a pass over all blocks. `true`: another one is needed. `None`: there is not enough memory.
    pub fn next_pass(&mut self) -> Option<bool> {
        if !self.join() {
            return None;
        }
        self.from = self.cut.take();
        if self.from.is_some() {
            self.ranges.clear();
            self.sorted = 0;
        }
        Some(self.from.is_some())
    }

    /// After the last pass: what has become contested since the last call, sorted, without overlaps. `None`: in too many rings.
    pub fn take_contested(&mut self) -> Option<Vec<Range>> {
        let contested = std::mem::take(&mut self.contested);
        (contested.len() <= self.most).then_some(contested)
    }

    /// They are still contested.
    pub fn put_back(&mut self, contested: Vec<Range>) {
        self.contested = contested;
    }

    /// Joins what overlaps and what touches, and notes what overlaps. `false`: there is not enough memory, and nothing is joined that overlaps.
    fn join(&mut self) -> bool {
        self.last.clear();
        if self.sorted == self.ranges.len() {
            return true;
        }
        self.ranges.sort_unstable();
        // First what overlaps, because there may be no memory for it.
        let mut reach: Option<Range> = None;
        for range in &self.ranges {
            let before = reach.filter(|before| before.is_ring_of(range));
            if let Some(both) = before.and_then(|before| before.meet(range)) {
                if self.contested.try_reserve(1).is_err() {
                    return false;
                }
                self.contested.push(both);
            }
            let last = before.map_or(range.last, |before| before.last.max(range.last));
            reach = Some(Range { last, ..*range });
        }
        union(&mut self.contested, self.most / 4);
        union(&mut self.ranges, usize::MAX);
        self.sorted = self.ranges.len();
        true
    }

    /// If there are still many, leaves the upper half to the next pass.
    fn halve(&mut self) {
        if self.ranges.len() <= self.most / 4 * 3 {
            return;
        }
        if self.coarse {
            union(&mut self.ranges, self.most / 2);
            self.sorted = self.ranges.len();
        } else {
            let middle = self.ranges.len() / 2;
            self.cut = Some(self.ranges[middle].start());
            self.ranges.truncate(middle);
            self.sorted = middle;
        }
    }
}

/// Joins sorted or unsorted ranges where they overlap or touch. If there are more than `most`, ranges of one ring are joined over their gaps: more than what is
/// contested is then compared, which costs time alone.
pub(super) fn union(ranges: &mut Vec<Range>, most: usize) {
    ranges.sort_unstable();
    let mut gap = 1;
    loop {
        ranges.dedup_by(|range, before| {
            let joins = before.is_ring_of(range) && range.first.saturating_sub(before.last) <= gap;
            if joins {
                before.last = before.last.max(range.last);
            }
            joins
        });
        if ranges.len() <= most || gap == u64::MAX {
            return;
        }
        gap = gap.saturating_mul(16);
    }
}

/// Whether any of the sorted ranges has a sequence of `range`. Returns their positions.
pub(super) fn meeting(ranges: &[Range], range: &Range) -> std::ops::Range<usize> {
    let key = |range: &Range| (range.generation, range.ring_id);
    let start = ranges.partition_point(|r| (key(r), r.last) < (key(range), range.first));
    let end = ranges.partition_point(|r| (key(r), r.first) <= (key(range), range.last));
    start..end.max(start)
}
