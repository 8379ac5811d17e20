//! From the rings to a batch: what a writer claims, and when it lets more gather first.

use super::Pool;
use super::state::State;
use super::tasks::Queued;
use crate::batch::Batch;
use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_RELEASE};
use crate::platform::sync::{MutexGuard, Ordering};
use crate::platform::time;
use crate::ring::log::Limits;
use crate::ring::record::{Head, Tag};
use std::sync::Arc;

/// A writer that follows a producer too closely takes the cache lines out of its hands while it writes them, and makes each
/// capture several times dearer. After a claim of less than this part of a batch it lets more gather, for so long.
const SMALL: usize = 4;
const REST_NS: u64 = 5_000;

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
                w.rests_until = if small { time::now_ns() + REST_NS } else { 0 };
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
        drop(st);
        self.gather(&mut batch, events, bytes);
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

    /// Fills a batch from the rings, beginning with another one each time.
    fn gather(&self, batch: &mut Batch, events: u32, bytes: u64) {
        let rings = self.rings.used();
        let start = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let mut left = (events, bytes);
        let mut times = self.clock.times();
        for i in 0..rings {
            let index = (start + i) % rings;
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
            ring.add_claimed(span.events.into());
            let id = ring.id();
            let mut flags = 0;
            batch.events.reserve(span.events as usize);
            log.read(&span, |tag, head, payload| {
                flags |= tag.flags();
                let at = times.of(tag, head.timestamp);
                if tag.flags() & PIPELINE_EVENT_OWN_TIME == 0 {
                    batch.newest_ns = batch.newest_ns.max(at);
                }
                if self.can.release {
                    batch.times.push(at);
                }
                batch.events.push(view(id, tag, &head, at, payload));
            });
            batch.marked |= flags & PIPELINE_EVENT_RELEASE != 0;
            batch.own_times |= flags & PIPELINE_EVENT_OWN_TIME != 0;
            batch.spans.push((index, span));
            batch.meta = meta;
            left = (left.0 - span.events, left.1.saturating_sub(span.bytes));
            if meta || self.ordered || left.0 == 0 || left.1 == 0 {
                break;
            }
        }
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
