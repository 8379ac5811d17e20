//! From the rings to a batch: what a writer claims, and when it lets more gather first.

use super::Pool;
use super::clock::Times;
use super::sleep::WORTH_WAKING_NS;
use super::state::State;
use super::tasks::Queued;
use crate::batch::Batch;
use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_RELEASE};
use crate::platform::sync::{MutexGuard, Ordering};
use crate::platform::time;
use crate::ring::log::{Limits, Log, Span};
use crate::ring::record::{Head, Tag};
use std::ops::Range;
use std::sync::Arc;

/// A writer that follows a producer too closely takes the cache lines out of its hands while it writes them, and makes each
/// capture several times dearer. After a claim of less than this part of a batch it lets more gather, for so long.
const SMALL: usize = 4;
pub(super) const REST_NS: u64 = 5_000;

/// Claims in a row that may come from one ring, if each fills its batch and the storage answers quickly: what lies behind a claim was
/// fetched with it, and would go to waste if the next claim were of another ring. So nobody waits for long.
pub(super) const IN_A_ROW: u64 = 8;

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
    /// Claims a batch.
    pub(super) fn claim<'a>(
        self: &'a Arc<Self>,
        st: MutexGuard<'a, State>,
        id: u32,
    ) -> (MutexGuard<'a, State>, Option<Queued>) {
        let (mut st, claimed) = self.claim_batch(st);
        let claimed = claimed.map(|(slot, small)| {
            if let Some(w) = st.writer(id) {
                (w.rests, w.rests_until) = (small, 0);
            }
            Queued::Batch(slot)
        });
        (st, claimed)
    }

    /// Claims a batch: in which slot it is then, and whether it is a small one. The lock is given back meanwhile.
    pub(super) fn claim_batch<'a>(
        &'a self,
        mut st: MutexGuard<'a, State>,
    ) -> (MutexGuard<'a, State>, Option<(usize, bool)>) {
        st.claiming += 1;
        let (slot, mut batch) = st.take_slot(self.id, self.generation);
        let (events, bytes) = (st.config.batch_size, st.config.batch_bytes);
        // (A storage that fails is not quick: what is claimed is a probe then, and may be of a ring of which none can succeed.)
        let took = st.call_average_ns.max(st.answer_average_ns);
        let quick = took < WORTH_WAKING_NS && st.breaker.is_closed();
        let in_a_row = if quick { IN_A_ROW } else { 1 };
        let knocked = std::mem::take(&mut st.knocked);
        drop(st);
        if knocked {
            // Until that capture all rings were empty: what has come to others since may be of the next batch.
            let knocker = self.rings.knocker();
            self.gather(&mut batch, events, bytes, 1, knocker..knocker + 1, 0..0);
        }
        if batch.spans.is_empty() {
            let (rings, turn) = (self.rings.used(), self.turn.load(Ordering::Relaxed));
            let first = (turn / IN_A_ROW) as usize % rings.max(1);
            self.gather(&mut batch, events, bytes, in_a_row, first..rings, 0..first);
        }
        let mut st = self.lock();
        st.claiming -= 1;
        if batch.spans.is_empty() {
            st.return_slot(slot, batch);
            return (st, None);
        }
        batch.id = st.next_batch;
        st.next_batch += 1;
        let count = batch.unsettled();
        st.settled.claimed += count;
        st.settled.in_flight += count;
        st.open += 1;
        st.unclaimed_since = None;
        st.gathered = false;
        let taken: u64 = batch.spans.iter().map(|(_, span)| span.bytes).sum();
        st.polled = false;
        st.naps.claimed(batch.events.len());
        let small = batch.events.len() < events as usize / SMALL && taken < bytes / SMALL as u64;
        st.batches[slot] = Some(batch);
        (st, Some((slot, small)))
    }

    /// Fills a batch from the rings at these places, in this order. The first of them may fill so many batches `in_a_row`.
    fn gather(
        &self,
        batch: &mut Batch,
        events: u32,
        bytes: u64,
        in_a_row: u64,
        from: Range<usize>,
        then: Range<usize>,
    ) {
        let turn = self.turn.load(Ordering::Relaxed);
        let first = from.start;
        let mut left = (events, bytes);
        let mut times = self.clock.times();
        for index in from.chain(then) {
            let ring = &self.rings.all()[index];
            let Some(log) = ring.log() else { continue };
            if !log.has_unclaimed() {
                continue;
            }
            let meta = ring.is_meta();
            if meta && !batch.spans.is_empty() {
                continue;
            }
            let limits = Limits {
                events: left.0,
                bytes: left.1,
                exceed: batch.spans.is_empty(),
                alone: self.ordered,
                cover: self.rings.cover(log),
            };
            let Some(span) = log.claim(&limits) else { continue };
            if batch.spans.is_empty() {
                let so_far = if index == first { turn % IN_A_ROW } else { 0 };
                let full = span.events == events;
                let goes_on = if full && so_far + 1 < in_a_row { so_far + 1 } else { IN_A_ROW };
                self.turn.store(index as u64 * IN_A_ROW + goes_on, Ordering::Relaxed);
            }
            ring.add_claimed(span.events.into());
            self.take(batch, log, &span, ring.id(), &mut times);
            batch.spans.push((index, span));
            batch.meta = meta;
            left = (left.0 - span.events, left.1.saturating_sub(span.bytes));
            if meta || self.ordered || left.0 == 0 || left.1 == 0 {
                break;
            }
        }
    }

    /// Adds the events of a claimed span to a batch.
    #[inline(never)]
    fn take(&self, batch: &mut Batch, log: &Log, span: &Span, ring_id: u64, times: &mut Times<'_>) {
        let (mut flags, mut newest, mut unknown) = (0, batch.newest_ns, 0);
        let before = batch.events.len();
        batch.events.reserve(span.events as usize);
        let mut at = span.start;
        // No call lies within `collect`, which is over an event in some 50 instructions.
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

    /// Lets more gather, for some microseconds: too short to sleep.
    pub(super) fn rest<'a>(&'a self, st: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        drop(st);
        let until = time::now_ns() + REST_NS / 4;
        while time::now_ns() < until {
            std::hint::spin_loop();
        }
        self.lock()
    }
}
