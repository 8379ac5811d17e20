//! From the rings to a batch: what a writer claims, and when it lets more events gather first.

use super::Pool;
use super::clock::Times;
use super::spans::most_of_a_batch;
use super::state::{State, sleep::Work, writer::GATHER_NS};
use crate::batch::Batch;
use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_RELEASE};
use crate::platform::sync::{AtomicU32, AtomicU64, MutexGuard, Ordering};
use crate::platform::{park, time};
use crate::ring::record::{HEADER, Head, Tag};
use crate::ring::ring_buffer::{Limits, RingBuffer, Span};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A claim of less than a quarter of a batch is small: after it a writer lets events gather.
const SMALL: usize = 4;

/// At most so many claims in a row are of one ring, and only while each fills its batch and the storage answers quickly. Staying with a
/// ring is faster, because the processor has already prefetched the records behind the last claim. The number is small, so that no other
/// ring waits for long.
pub(super) const IN_A_ROW: u64 = 8;

/// The result of a claim.
pub(super) enum Claimed {
    /// The batch in this slot.
    Batch { slot: usize, small: bool },
    /// There was nothing to be claimed.
    Nothing,
    /// There are events, and no memory for a batch of them.
    NoMemory,
}

/// An event as a storage sees it.
pub(super) fn view(ring_id: u64, tag: Tag, head: &Head, timestamp_ns: u64, payload: *const u8) -> EventView {
    EventView {
        ring_id,
        sequence: head.sequence,
        timestamp_ns,
        correlation_id: head.correlation_id,
        node_id: head.node_id,
        kind: head.kind,
        flags: tag.flags(),
        weight: f64::from(head.weight),
        data: payload.cast(),
        len: tag.payload_len(),
    }
}

impl Pool {
    // ---- whether to claim ----

    /// Whether the rings hold unclaimed events, those with priority or others, and whether these are to be claimed now. Events with priority do not
    /// linger.
    pub(super) fn work(&self, st: &mut State, now: u64, priority: bool) -> Work {
        let any = self.rings.any_claimable(priority, self.ordered);
        if priority {
            return if any { Work::Ripe } else { Work::None };
        }
        if !any {
            st.sleep.unclaimed_since = None;
            return Work::None;
        }
        let linger = st.config.linger_us * 1000;
        if linger == 0 || !st.life.is_running() || !st.flushes.is_empty() || st.waiters > 0 {
            return Work::Ripe;
        }
        self.ripening(st, now, linger)
    }

    /// The same if batches linger: a batch waits until it is full or `linger_us` is over.
    #[cold]
    fn ripening(&self, st: &mut State, now: u64, linger: u64) -> Work {
        // The next batch is to hold events of all rings, not of the one that woke a writer alone: what it left behind would linger once
        // more.
        st.sleep.woken_by_capture = false;
        let since = *st.sleep.unclaimed_since.get_or_insert(now);
        let (events, bytes, fullest) = self.rings.unclaimed();
        let most = most_of_a_batch(&st.config, self.can.span_bytes);
        let full = st.sleep.gathered
            || events >= u64::from(most.0)
            || bytes >= most.1
            || fullest >= st.config.ring_bytes / 4;
        if full || now >= since + linger { Work::Ripe } else { Work::RipeAt(since + linger) }
    }

    // ---- the claim ----

    /// Claims a batch, of events with priority or of others. Does not hold the lock while it gathers the events.
    pub(super) fn claim_batch<'a>(
        self: &'a Arc<Self>,
        mut st: MutexGuard<'a, State>,
        priority: bool,
    ) -> (MutexGuard<'a, State>, Claimed) {
        let Some((slot, mut batch)) = st.batches.begin_claim(self.id, self.generation, priority) else {
            return (st, Claimed::NoMemory);
        };
        if batch.issuer.is_none() && !self.make_issuer(&mut batch, slot) {
            st.batches.cancel_claim(slot, batch);
            return (st, Claimed::NoMemory);
        }
        let span_bytes = self.begin_views(&st, &mut batch);
        let (events, bytes) = most_of_a_batch(&st.config, span_bytes);
        // While the circuit is not closed, each claim is of another ring: the batch is a probe, and it may be that no event of one ring
        // can ever be stored.
        let quick = st.writers.answers_are_quick() && st.retries.breaker.is_closed();
        let in_a_row = if quick { IN_A_ROW } else { 1 };
        let woken_by_capture = std::mem::take(&mut st.sleep.woken_by_capture);
        drop(st);
        let mut no_memory = false;
        if woken_by_capture {
            // All rings were empty until that capture. Other rings need not be searched: what has come to them since goes into the next
            // batch.
            let ring = self.rings.last_waker();
            if self.rings.slot(ring).is_some_and(|ring| ring.is_priority() == priority) {
                no_memory = !self.gather(&mut batch, events, bytes, 1, ring..ring + 1, 0..0);
            }
        }
        if batch.spans.is_empty() {
            let (rings, turn) = (self.rings.used(priority), self.turn(priority).load(Ordering::Relaxed));
            let first = rings.start + (turn / IN_A_ROW) as usize % rings.len().max(1);
            no_memory |=
                !self.gather(&mut batch, events, bytes, in_a_row, first..rings.end, rings.start..first);
        }
        let mut st = self.lock();
        if batch.spans.is_empty() {
            st.batches.cancel_claim(slot, batch);
            return (st, if no_memory { Claimed::NoMemory } else { Claimed::Nothing });
        }
        let taken: u64 = batch.spans.iter().map(|(_, span)| self.size(&batch, span, batch.meta)).sum();
        let small = batch.count() < events as usize / SMALL && taken < bytes / SMALL as u64;
        let sleep = &mut st.sleep;
        sleep.polled = false;
        sleep.naps.claimed(batch.count());
        if priority {
            st.turns.claimed(time::now_ns());
        } else {
            let sleep = &mut st.sleep;
            (sleep.unclaimed_since, sleep.gathered) = (None, false);
        }
        if batch.viewed {
            Self::give_transform(&st, &mut batch);
        }
        st.batches.end_claim(slot, batch);
        (st, Claimed::Batch { slot, small })
    }

    /// Which ring is next, for events with priority or for others.
    fn turn(&self, priority: bool) -> &AtomicU64 {
        if priority { &self.priority_turn } else { &self.turn }
    }

    /// Fills a batch with at most so many events and bytes, from the rings with these indices, in this order. The first ring may fill so
    /// many batches `in_a_row` before another has its turn. `false`: there is no memory for more.
    fn gather(
        &self,
        batch: &mut Batch,
        events: u32,
        bytes: u64,
        in_a_row: u64,
        from: Range<usize>,
        then: Range<usize>,
    ) -> bool {
        let next = self.turn(batch.priority);
        let turn = next.load(Ordering::Relaxed);
        let first = from.start;
        let mut left = (events, bytes);
        let mut times = self.clock.times();
        for index in from.chain(then) {
            let Some(ring) = self.rings.slot(index) else { continue };
            let Some(log) = ring.buffer() else { continue };
            if !log.has_unclaimed() {
                continue;
            }
            let meta = ring.is_meta();
            if meta && !(batch.spans.is_empty() && self.rings.is_its_turn(ring)) {
                continue;
            }
            let whole = self.takes_spans(batch, meta);
            let room = if whole { u32::MAX } else { self.make_room(batch, log, left) };
            if room == 0 {
                return false;
            }
            let limits = Limits {
                events: room,
                bytes: left.1,
                exceed: batch.spans.is_empty(),
                alone: self.ordered || meta,
                cover: self.rings.cover(log),
            };
            let claimed = if whole {
                let Some(claimed) = self.claim_span(batch, ring, log, &limits) else { return false };
                claimed
            } else {
                log.claim(&limits)
            };
            let Some(span) = claimed else { continue };
            let size = self.size(batch, &span, meta);
            if batch.spans.is_empty() {
                let so_far = if index == first { turn % IN_A_ROW } else { 0 };
                let full = if whole { size > bytes - bytes / 8 } else { span.events == events };
                let goes_on = if full && so_far + 1 < in_a_row { so_far + 1 } else { IN_A_ROW };
                let place = (index - self.rings.first(batch.priority)) as u64;
                next.store(place * IN_A_ROW + goes_on, Ordering::Relaxed);
            }
            ring.add_claimed(span.events.into());
            if !whole {
                self.take(batch, log, &span, ring.id(), &mut times);
            }
            batch.spans.push((index, span));
            batch.meta = meta;
            left = (left.0 - span.events, left.1.saturating_sub(size));
            if meta || self.ordered || left.0 == 0 || left.1 == 0 {
                break;
            }
        }
        true
    }

    /// Reserves memory in a batch for a claim of this ring, at most so many events and bytes. Returns how many events fit: fewer if memory
    /// is short, 0 if there is none.
    #[inline]
    fn make_room(&self, batch: &mut Batch, log: &RingBuffer, (events, bytes): (u32, u64)) -> u32 {
        let there = log.head().saturating_sub(log.claimed()).min(bytes.saturating_add(log.capacity() / 4));
        let most = (there / HEADER + 1).min(events.into()) as u32;
        let free = (batch.events.capacity() - batch.events.len()) as u64;
        let spans = batch.spans.len() < batch.spans.capacity();
        let times = !self.can.release || batch.times.capacity() >= batch.events.capacity();
        if free >= most.into() && spans && times {
            return events.min(free.min(u32::MAX.into()) as u32);
        }
        self.make_more_room(batch, events, most)
    }

    #[cold]
    #[inline(never)]
    fn make_more_room(&self, batch: &mut Batch, events: u32, most: u32) -> u32 {
        /// The events of a batch when memory has run out: the library's reserve of memory has room for so many.
        const LITTLE: u32 = 16;
        if batch.spans.try_reserve(1).is_err() {
            return 0;
        }
        let used = batch.events.len();
        for wanted in [most, most.min(LITTLE)] {
            if batch.events.try_reserve(wanted as usize).is_ok()
                && (!self.can.release
                    || batch.times.try_reserve(batch.events.capacity() - batch.times.len()).is_ok())
            {
                break;
            }
        }
        let mut free = batch.events.capacity() - used;
        if self.can.release {
            free = free.min(batch.times.capacity() - batch.times.len());
        }
        events.min(u32::try_from(free).unwrap_or(u32::MAX))
    }

    /// Waits a little, because there is no memory for a batch. (Batches that are settled meanwhile give memory back.)
    #[cold]
    pub(super) fn wait_for_memory<'a>(&'a self, st: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        const WAIT: Duration = Duration::from_millis(2);
        drop(st);
        // A sleep: no thread changes the word.
        park::wait(&AtomicU32::new(0), 0, Some(WAIT));
        self.lock()
    }

    /// Adds the events of a claimed span to a batch, which has room for them.
    #[inline(never)]
    pub(super) fn take(
        &self,
        batch: &mut Batch,
        log: &RingBuffer,
        span: &Span,
        ring_id: u64,
        times: &mut Times<'_>,
    ) {
        let (mut flags, mut newest, mut unknown) = (0, batch.newest_ns, 0);
        let before = batch.events.len();
        let mut at = span.start;
        // `collect` stops at a reading that the clock piece in `known` does not cover, and `learn` finds the right piece. So the loop of
        // `collect` calls no function, and takes an event in some 50 instructions.
        while at < span.end {
            let known = *times;
            at = log.collect(span, at, &mut batch.events, |tag, head, payload| {
                unknown = head.timestamp;
                let at = known.known(tag, head.timestamp)?;
                flags |= tag.flags();
                if tag.flags() & PIPELINE_EVENT_OWN_TIME == 0 {
                    newest = newest.max(at);
                }
                Some(view(ring_id, tag, &head, at, payload))
            });
            if at < span.end {
                times.learn(unknown);
            }
        }
        if self.can.release {
            batch.times.extend(batch.events[before..].iter().map(|event| event.timestamp_ns));
        }
        batch.newest_ns = newest;
        batch.marked |= flags & PIPELINE_EVENT_RELEASE != 0;
        batch.own_times |= flags & PIPELINE_EVENT_OWN_TIME != 0;
    }

    /// Spins for a microsecond while events gather. A sleep would take longer.
    pub(super) fn spin<'a>(&'a self, st: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        drop(st);
        let until = time::now_ns() + GATHER_NS / 4;
        while time::now_ns() < until {
            std::hint::spin_loop();
        }
        self.lock()
    }
}
