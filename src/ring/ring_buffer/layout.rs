//! Claims of whole records, for those who take their bytes as they lie.

use super::claims::{AHEAD_BYTES, AHEAD_RECORDS, LINE};
use super::{Limits, RingBuffer, Span};
use crate::ring::record::{Head, Tag, stride};

/// Of so many records one is marked.
pub const MARK_EVERY: u32 = 16;
/// Bytes that are prefetched at a time, which divide a ring's capacity.
const FETCH: u64 = 4 * LINE;

/// How the records of a span lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The position of the last record.
    pub last: u64,
    /// The union of the records' flags, with [`TICKS`](crate::ring::record::TICKS).
    pub flags: u32,
    /// The position of the last pad that the walk has met. It may lie behind the span.
    pad: u64,
}

impl Layout {
    const NONE: Self = Self { last: 0, flags: 0, pad: u64::MAX };

    /// The span without its pad, in a ring of `capacity` bytes: two ranges, as position and length. The second is empty unless
    /// records lie at both ends of the ring's memory.
    fn parts(&self, span: &Span, capacity: u64) -> [(u64, u64); 2] {
        // A pad takes up the rest of the ring's memory, so there is one at most, and what follows begins where the memory does.
        let turn = (span.start | (capacity - 1)) + 1;
        let first = (span.start, self.pad.min(span.end).min(turn) - span.start);
        let second = (turn, span.end.saturating_sub(turn));
        if first.1 == 0 { [second, (span.end, 0)] } else { [first, second] }
    }
}

/// Records that follow one another without a pad.
struct Run {
    /// The position behind the last one.
    end: u64,
    /// The position of the last one.
    last: u64,
    records: u32,
    /// Payload bytes.
    bytes: u64,
    /// The union of their tags.
    tags: u64,
}

/// Prefetches small records, line by line, some of them ahead of a walk.
struct Ahead {
    /// Up to here.
    fetched: u64,
    /// No further than this.
    known: u64,
}

impl Ahead {
    #[inline(always)]
    fn fetch(&mut self, ring: &RingBuffer, at: u64) {
        let until = self.known.min(at.saturating_add(AHEAD_BYTES));
        while self.fetched.saturating_add(FETCH) <= until {
            // Positions of so many bytes do not lie across the end of the memory.
            let offset = self.fetched & ring.mask;
            (0..FETCH / LINE).for_each(|line| ring.memory.fetch(offset + line * LINE));
            self.fetched += FETCH;
        }
    }
}

impl RingBuffer {
    /// Claims the oldest unclaimed records, within `limits`, whose bytes are those of records and pads. Also answers how they lie, and appends
    /// to `marks` the positions of one record of [`MARK_EVERY`], as long as that list has room. `None`: as for [`claim`](Self::claim).
    pub fn claim_whole(&self, limits: &Limits, marks: &mut Vec<u64>) -> Option<(Span, Layout)> {
        if !self.is_claimable(limits.cover) {
            return None;
        }
        let before = marks.len();
        let mut layout = Layout::NONE;
        let span = self.claim_under(self.spans.try_lock()?, limits, |start, reach, head| {
            marks.truncate(before);
            let (span, lies) = self.walk_whole(start, reach, head, limits, marks);
            layout = lies;
            span
        })?;
        Some((span, layout))
    }

    /// Measures what a claim of whole records would take, as [`walk`](Self::walk) does for others, in half its instructions.
    fn walk_whole(
        &self,
        start: u64,
        reach: u64,
        head: u64,
        limits: &Limits,
        marks: &mut Vec<u64>,
    ) -> (Span, Layout) {
        let most = start.saturating_add(limits.bytes);
        // No record may end behind this, but the first one may end behind the reach, and if it may exceed the limits, behind those.
        let last_end = head.min(reach).min(most);
        let mut end = if limits.exceed { head } else { head.min(most) };
        let mut ahead = Ahead { fetched: start & !(FETCH - 1), known: head.saturating_sub(2 * LINE) };
        let (mut at, mut events, mut bytes) = (start, 0, 0);
        let (mut last, mut tags, mut behind_pad) = (start, 0, u64::MAX);
        let mut layout = Layout::NONE;
        loop {
            let most = if events == 0 { 1 } else { MARK_EVERY - events % MARK_EVERY };
            let run = if at - last <= 2 * LINE {
                ahead.fetch(self, at);
                self.run::<true>(at, end, most, ahead.known)
            } else {
                self.run::<false>(at, end, most, ahead.known)
            };
            if run.records > 0 {
                if events.is_multiple_of(MARK_EVERY) && marks.len() < marks.capacity() {
                    marks.push(at);
                }
                (at, last, end) = (run.end, run.last, last_end);
                (events, bytes, tags) = (events + run.records, bytes + run.bytes, tags | run.tags);
            }
            if run.records == most {
                continue;
            }
            let tag = self.memory.peek(at & self.mask);
            let next = at.wrapping_add(tag.stride());
            // (Other bytes than a tag, if the producer overwrites records.)
            if !tag.is_pad() || next <= at || next > head || !next.is_multiple_of(8) {
                break;
            }
            (layout.pad, behind_pad, at) = (at, next, next);
        }
        (layout.last, layout.flags) = (last, Tag(tags).all_flags());
        // A pad that no record follows is not a part of the span.
        let end = if at == behind_pad { layout.pad } else { at };
        (Span { start, end, events, bytes }, layout)
    }

    /// Walks over at most so many records from `at` on, none of which ends behind `end`, up to a pad. A function of its own, so that the
    /// loop keeps all that it needs in registers. Small records are prefetched by the caller.
    #[inline(never)]
    fn run<const SMALL: bool>(&self, mut at: u64, end: u64, most: u32, known: u64) -> Run {
        let mut run = Run { end: at, last: at, records: 0, bytes: 0, tags: 0 };
        let mut left = most;
        while left > 0 {
            let tag = self.memory.peek(at & self.mask);
            let next = at.wrapping_add(stride(tag.payload_len()));
            if tag.is_pad() || next > end {
                break;
            }
            if !SMALL {
                self.fetch(at.wrapping_add((next - at).wrapping_mul(AHEAD_RECORDS)), known);
            }
            run.tags |= tag.0;
            run.bytes += tag.payload_len() as u64;
            (run.last, at) = (at, next);
            left -= 1;
        }
        (run.end, run.records) = (at, most - left);
        run
    }

    /// The bytes of the records in a claimed span, without its pad: addresses and lengths. The second part is empty unless records lie at
    /// both ends of the ring's memory.
    #[cfg(not(loom))]
    pub fn parts(&self, span: &Span, layout: &Layout) -> [(*const u8, usize); 2] {
        layout
            .parts(span, self.capacity())
            .map(|(at, len)| (self.memory.record(at & self.mask).cast_const(), len as usize))
    }

    /// The record at a position in a claimed span: its tag and header.
    pub fn header(&self, at: u64) -> (Tag, Head) {
        let offset = at & self.mask;
        // SAFETY: claimed, so no thread writes it; the claim's swap ordered its publication before this.
        (self.memory.tag(offset), unsafe { self.memory.head(offset) })
    }

    /// The position of the first record in a claimed span.
    pub fn first(&self, span: &Span, layout: &Layout) -> u64 {
        layout.parts(span, self.capacity())[0].0
    }
}
