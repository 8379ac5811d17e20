//! The writers' side of a ring buffer: claims, what they hold, and the release of their space.

use super::{Limits, RingBuffer, Span, Spans};
use crate::platform::kill_point::{Point, pass};
use crate::platform::sync::{MutexGuard, Ordering, fence};
use crate::ring::record::{HEADER, Head, Tag};

/// How many bytes ahead a walk over the tags prefetches. For records longer than two cache lines, [`ahead`] makes it a number of records. A
/// tag says where the next one is, so without the prefetch each line must arrive, from the producer's cache or from memory, before the next
/// can be requested. Measured in pairs: claiming, storing nowhere and releasing takes 37 ns an event of 64 bytes, without the prefetch 63;
/// of 512 bytes 92 and 117.
pub(super) const AHEAD_BYTES: u64 = 8192;
pub(super) const AHEAD_RECORDS: u64 = 16;
/// Bytes of a cache line.
pub(super) const LINE: u64 = 64;

/// That distance in bytes after a record of this stride.
#[inline(always)]
fn ahead(stride: u64) -> u64 {
    if stride <= 2 * LINE { AHEAD_BYTES } else { stride.wrapping_mul(AHEAD_RECORDS) }
}

/// Allocates room for one more span in the list. `false`: there is no memory.
#[cold]
#[inline(never)]
fn more_room(spans: &mut Spans) -> bool {
    spans.0.try_reserve(1).is_ok()
}

impl RingBuffer {
    /// Claims the oldest unclaimed events, within `limits`. `None`: there are none, or another thread holds the list of spans.
    pub fn claim(&self, limits: &Limits) -> Option<Span> {
        if limits.events == 0 || !self.is_claimable(limits.cover) {
            return None;
        }
        let walk = |start, reach, head| self.walk(start, reach, head, limits);
        self.claim_under(self.spans.try_lock()?, limits, walk)
    }

    /// Claims all unclaimed events. It waits for the lock of the list of spans, because no writer is left that would come back for the
    /// rest. `None`: there are none.
    pub fn claim_rest(&self) -> Option<Span> {
        let all = Limits { events: u32::MAX, bytes: u64::MAX, exceed: true, alone: false, cover: u64::MAX };
        self.claim_under(self.spans.lock(), &all, |start, reach, head| self.walk(start, reach, head, &all))
    }

    /// Claims what `walk` measures, which is told where to begin, how far the claim may reach, and the head.
    #[inline]
    pub(super) fn claim_under(
        &self,
        mut spans: MutexGuard<'_, Spans>,
        limits: &Limits,
        mut walk: impl FnMut(u64, u64, u64) -> Span,
    ) -> Option<Span> {
        if limits.alone && !spans.0.is_empty() {
            return None;
        }
        // Makes room first, because the claim must get into the list. There usually is room.
        if spans.0.len() == spans.0.capacity() && !more_room(&mut spans) {
            return None;
        }
        loop {
            let start = self.words.claimed.0.load(Ordering::Acquire);
            let head = self.words.head.0.load(Ordering::Acquire);
            let reach = self.released().saturating_add(limits.cover);
            let span = walk(start, reach, head);
            // Pairs with the fence in `overwrite`: if a tag that the walk read was written after an overwriting swap,
            // what follows sees that swap.
            fence(Ordering::Acquire);
            if span.events == 0 {
                if self.words.claimed.0.load(Ordering::Acquire) == start {
                    return None;
                }
                continue; // the walk read overwritten tags
            }
            if self
                .words
                .claimed
                .0
                .compare_exchange(start, span.end, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                spans.0.push_back((span, false));
                pass(Point::BatchClaimed);
                return Some(span);
            }
        }
    }

    /// Prefetches two cache lines from `at` on, which is the whole of a small record or the header of a large one. Lines behind `known` are
    /// left out.
    #[inline(always)]
    pub(super) fn fetch(&self, at: u64, known: u64) {
        if at < known {
            // (An overwritten tag may have led to an odd position.)
            self.memory.fetch(at & self.mask & !7);
            self.memory.fetch(at.wrapping_add(LINE) & self.mask & !7);
        }
    }

    /// Measures what a claim from `start` would take. While a producer overwrites records, the walk may read other bytes as tags. Then
    /// the result means nothing and the claim fails; but the walk ends, and stays inside the memory.
    #[inline(always)]
    fn walk(&self, start: u64, reach: u64, head: u64, limits: &Limits) -> Span {
        // Lines that the producer may be writing stay in its cache.
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
        // One event may always be claimed, however low the limits.
        let (mut furthest, mut most) = (u64::MAX, if limits.exceed { u64::MAX } else { limits.bytes });
        while at < head && events < limits.events {
            let tag = self.memory.peek(at & self.mask);
            let stride = tag.stride();
            let next = at.saturating_add(stride);
            if tag.is_pad() {
                // This is no tag, because the length of a record or pad is a multiple of 8. With any other length the next tag would lie
                // across two words, or across the end.
                if next <= at || !next.is_multiple_of(8) {
                    break;
                }
                at = next;
                continue;
            }
            self.fetch(at.wrapping_add(ahead(stride)), known);
            let with_it = bytes + tag.payload_len() as u64;
            // A record that ends behind the head is none.
            if next > head || next > furthest || with_it > most {
                break;
            }
            (at, end, events, bytes) = (next, next, events + 1, with_it);
            (furthest, most) = (reach, limits.bytes);
        }
        Span { start, end, events, bytes }
    }

    /// Appends to `into` what `make` returns for the tag, header and payload of each event of a claimed span, from the position `from`
    /// on. Returns where it ended: behind the span, or at an event for which `make` returned `None`.
    #[inline(always)]
    pub fn collect<T: Copy>(
        &self,
        span: &Span,
        from: u64,
        into: &mut Vec<T>,
        mut make: impl FnMut(Tag, Head, *const u8) -> Option<T>,
    ) -> u64 {
        let mut spare = into.spare_capacity_mut().iter_mut();
        let before = spare.len();
        let mut at = from;
        while at < span.end {
            let offset = at & self.mask;
            let tag = self.memory.tag(offset);
            if !tag.is_pad() {
                // SAFETY: claimed, so no thread writes it; the claim's swap ordered its publication before this.
                let head = unsafe { self.memory.head(offset) };
                let Some(made) = make(tag, head, self.memory.payload(offset)) else { break };
                let Some(slot) = spare.next() else { break };
                slot.write(made);
            }
            at += tag.stride();
        }
        let made = before - spare.len();
        // SAFETY: so many elements have been written behind those that were there.
        unsafe { into.set_len(into.len() + made) };
        at
    }

    /// Shows the tag, header and payload of each event of a claimed span.
    pub fn read(&self, span: &Span, mut show: impl FnMut(Tag, Head, *const u8)) {
        let mut at = span.start;
        while at < span.end {
            let offset = at & self.mask;
            let tag = self.memory.tag(offset);
            if !tag.is_pad() {
                // SAFETY: claimed, so no thread writes it; the claim's swap ordered its publication before this.
                let head = unsafe { self.memory.head(offset) };
                show(tag, head, self.memory.payload(offset));
            }
            at += tag.stride();
        }
    }

    /// The tag and timestamp of the oldest event that is not released. `None`: there is none, or a producer overwrites
    /// faster than this can look.
    pub fn oldest(&self) -> Option<(Tag, u64)> {
        // While the list of spans is held, no event can be claimed or settled.
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

    /// The same for the oldest event that is not claimed.
    pub fn oldest_unclaimed(&self) -> Option<(Tag, u64)> {
        if !self.has_unclaimed() {
            return None;
        }
        let _held = self.spans.lock();
        self.first_unclaimed()
    }

    /// To be called only while the list of spans is locked, so that no event is claimed meanwhile.
    fn first_unclaimed(&self) -> Option<(Tag, u64)> {
        // As in a claim: a tag that was overwritten meanwhile is discarded.
        let (start, head) = (self.claimed(), self.head());
        let still = || {
            fence(Ordering::Acquire);
            self.words.claimed.0.load(Ordering::Acquire) == start
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
        pass(Point::BatchSettled);
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
            // A producer that overwrites may have moved it further already, so it only ever moves forward.
            Some(end) => {
                let moved = self.release_to(end);
                pass(Point::SpaceReleased);
                moved
            }
            None => false,
        }
    }

    /// How many claimed spans are not released.
    pub fn spans(&self) -> usize {
        self.spans.lock().0.len()
    }
}
