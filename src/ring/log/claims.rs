//! The writers' side of a ring buffer: claims, what they hold, and the release of their space.

use super::{Limits, Log, Span, Spans};
use crate::platform::sync::{MutexGuard, Ordering, fence};
use crate::ring::record::{HEADER, Head, Tag};

/// How far ahead of itself a walk over the tags fetches: so many bytes where two lines are a whole record, else so many records. A tag
/// says where the next one is, so without this each line would be waited for before the next is asked for; they come from the producer's
/// cache, or from memory.
const AHEAD_BYTES: u64 = 8192;
const AHEAD_RECORDS: u64 = 16;
/// Bytes of a cache line.
const LINE: u64 = 64;

/// How far that is; where it is further than that, on the header of a record, if all are of one size.
#[inline(always)]
fn ahead(stride: u64) -> u64 {
    if stride <= 2 * LINE { AHEAD_BYTES } else { stride.wrapping_mul(AHEAD_RECORDS) }
}

impl Log {
    /// Claims the oldest unclaimed events, within `limits`. `None`: there are none, or another thread is at the list.
    pub fn claim(&self, limits: &Limits) -> Option<Span> {
        if limits.events == 0 || !self.is_claimable(limits.cover) {
            return None;
        }
        self.claim_under(self.spans.try_lock()?, limits)
    }

    /// Claims all there is, also if another thread is looking at the list: no writer is left, and nobody would come back for what
    /// this leaves. `None`: there is nothing.
    pub fn claim_rest(&self) -> Option<Span> {
        let all = Limits { events: u32::MAX, bytes: u64::MAX, exceed: true, alone: false, cover: u64::MAX };
        self.claim_under(self.spans.lock(), &all)
    }

    fn claim_under(&self, mut spans: MutexGuard<'_, Spans>, limits: &Limits) -> Option<Span> {
        if limits.alone && !spans.0.is_empty() {
            return None;
        }
        loop {
            let start = self.claimed.load(Ordering::Acquire);
            let head = self.head.load(Ordering::Acquire);
            let reach = self.released().saturating_add(limits.cover);
            let span = self.walk(start, reach, head, limits);
            // Pairs with the fence in `overwrite`: if a tag that the walk read was written after an overwriting swap,
            // what follows sees that swap.
            fence(Ordering::Acquire);
            if span.events == 0 {
                if self.claimed.load(Ordering::Acquire) == start {
                    return None;
                }
                continue; // it was nonsense
            }
            if self.claimed.compare_exchange(start, span.end, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                spans.0.push_back((span, false));
                return Some(span);
            }
        }
    }

    /// Fetches two lines from `at` on: all there is of a small record, the header of a large one. None that lie behind `known`.
    #[inline(always)]
    fn fetch(&self, at: u64, known: u64) {
        if at < known {
            // (Nonsense may be odd.)
            self.memory.fetch(at & self.mask & !7);
            self.memory.fetch(at.wrapping_add(LINE) & self.mask & !7);
        }
    }

    /// Measures what a claim from `start` would take. While a producer overwrites, the tags may be nonsense; then so is
    /// the answer, and the claim fails, but the walk ends.
    fn walk(&self, start: u64, reach: u64, head: u64, limits: &Limits) -> Span {
        // What the producer may be writing is left with it.
        let known = head.saturating_sub(2 * LINE);
        if start < head {
            let stride = self.memory.peek(start & self.mask).stride().max(HEADER);
            let until = known.min(start.saturating_add(ahead(stride)));
            let mut at = start;
            while at < until {
                self.fetch(at, known);
                at = at.saturating_add(stride);
            }
        }
        let (mut at, mut end, mut events, mut bytes) = (start, start, 0, 0);
        // One event may always be claimed, however narrow the limits.
        let (mut furthest, mut most) = (u64::MAX, if limits.exceed { u64::MAX } else { limits.bytes });
        while at < head && events < limits.events {
            let tag = self.memory.peek(at & self.mask);
            let stride = tag.stride();
            let next = at.saturating_add(stride);
            if tag.is_pad() {
                // A payload read as a pad may have any length; from an odd one the next tag would lie across words, or the end.
                if next <= at || !next.is_multiple_of(8) {
                    break; // nonsense
                }
                at = next;
                continue;
            }
            self.fetch(at.wrapping_add(ahead(stride)), known);
            let with_it = bytes + tag.payload_len() as u64;
            // Behind the head is nonsense.
            if next > head || next > furthest || with_it > most {
                break;
            }
            (at, end, events, bytes) = (next, next, events + 1, with_it);
            (furthest, most) = (reach, limits.bytes);
        }
        Span { start, end, events, bytes }
    }

    /// Appends what `make` makes of each event from the position `from` of a claimed span on: of its tag, header and payload. Answers
    /// where it ended: behind the span, or at an event of which `make` made nothing.
    #[inline(always)]
    pub fn collect<T: Copy>(
        &self,
        span: &Span,
        from: u64,
        into: &mut Vec<T>,
        mut make: impl FnMut(Tag, Head, *const u8) -> Option<T>,
    ) -> u64 {
        let mut places = into.spare_capacity_mut().iter_mut();
        let before = places.len();
        let mut at = from;
        while at < span.end {
            let offset = at & self.mask;
            let tag = self.memory.tag(offset);
            if !tag.is_pad() {
                // SAFETY: claimed, so nobody writes it; the claim's swap ordered its publication before this.
                let head = unsafe { self.memory.head(offset) };
                let Some(made) = make(tag, head, self.memory.payload(offset)) else { break };
                let Some(place) = places.next() else { break };
                place.write(made);
            }
            at += tag.stride();
        }
        let made = before - places.len();
        // SAFETY: so many have been written, one behind the other, behind those that were there.
        unsafe { into.set_len(into.len() + made) };
        at
    }

    /// Shows each event of a claimed span: its position, tag and header.
    pub fn read(&self, span: &Span, mut show: impl FnMut(Tag, Head, *const u8)) {
        let mut at = span.start;
        while at < span.end {
            let offset = at & self.mask;
            let tag = self.memory.tag(offset);
            if !tag.is_pad() {
                // SAFETY: claimed, so nobody writes it; the claim's swap ordered its publication before this.
                let head = unsafe { self.memory.head(offset) };
                show(tag, head, self.memory.payload(offset));
            }
            at += tag.stride();
        }
    }

    /// The tag and timestamp of the oldest event that is not released. `None`: there is none, or a producer overwrites
    /// faster than this can look.
    pub fn oldest(&self) -> Option<(Tag, u64)> {
        // While the list is held nothing can be claimed or settled.
        let spans = self.spans.lock();
        if let Some(&(span, _)) = spans.0.front() {
            let mut at = span.start;
            while at < span.end {
                let tag = self.memory.tag(at & self.mask);
                if !tag.is_pad() {
                    // SAFETY: claimed, and not settled while we hold the list.
                    let head = unsafe { self.memory.head(at & self.mask) };
                    return Some((tag, head.timestamp));
                }
                at += tag.stride();
            }
            return None;
        }
        self.first_unclaimed()
    }

    /// The same of the oldest event that is not claimed.
    pub fn oldest_unclaimed(&self) -> Option<(Tag, u64)> {
        if !self.has_unclaimed() {
            return None;
        }
        let _held = self.spans.lock();
        self.first_unclaimed()
    }

    /// Only called while the list is held, so that nothing is claimed.
    fn first_unclaimed(&self) -> Option<(Tag, u64)> {
        // As in a claim: what was overwritten meanwhile is thrown away.
        let (start, head) = (self.claimed(), self.head());
        let still = || {
            fence(Ordering::Acquire);
            self.claimed.load(Ordering::Acquire) == start
        };
        let mut at = start;
        while at < head {
            let tag = self.memory.peek(at & self.mask);
            if !still() {
                return None;
            }
            if !tag.is_pad() {
                let time = self.memory.peek_time(at & self.mask);
                return still().then_some((tag, time));
            }
            at += tag.stride();
        }
        None
    }

    /// A claimed span is settled: releases the space of all spans that are settled up to the first one that is not.
    /// `true` if `released` moved.
    pub fn settle(&self, start: u64) -> bool {
        let mut spans = self.spans.lock();
        if let Some((_, done)) = spans.0.iter_mut().find(|(span, _)| span.start == start) {
            *done = true;
        }
        let mut end = None;
        while let Some(&(span, true)) = spans.0.front() {
            spans.0.pop_front();
            end = Some(span.end);
        }
        match end {
            // By maximum: a producer that overwrites behind us may have moved it further already.
            Some(end) => self.release_to(end),
            None => false,
        }
    }

    /// How many claims are out.
    pub fn spans(&self) -> usize {
        self.spans.lock().0.len()
    }
}
