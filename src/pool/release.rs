//! What the storage's `release` is shown: every captured event once, whichever way it leaves, even if the callback ends its thread in
//! between.

use super::Pool;
use super::claims::view;
use crate::batch::Place;
use crate::batch::transforming::is_kept;
use crate::event::EventView;
use crate::platform::sync::{AtomicU64, Ordering};
use crate::ring::ring_buffer::{Limits, RingBuffer, Span};
use std::cell::Cell;

/// Overwritten events that a writer releases before it looks for other work.
const AT_ONCE: u32 = 1024;

thread_local! {
    /// The overwritten event that this writer is showing to `release`: index of its ring, and where its span starts.
    static SHOWING: Cell<(usize, u64)> = const { Cell::new((usize::MAX, 0)) };
}

/// What the calling thread was showing to `release` when it ended.
pub(super) fn take_showing() -> (usize, u64) {
    SHOWING.replace((usize::MAX, 0))
}

impl Pool {
    /// Calls the storage's `release`, unless an earlier call has forked and this is the child, where the events are the parent's.
    pub(super) fn release(&self, event: &EventView) {
        if !self.intake().forked() {
            self.storage().release(event);
        }
    }

    /// Shows the events of a batch to `release`, each once, even if the writer that shows them dies.
    pub(super) fn show_batch(&self, slot: usize, show: &mut dyn FnMut(&EventView)) {
        let (spans, times, fates): (*const [(usize, Span)], *const [u64], *const [u8]);
        let released: *const AtomicU64;
        match self.lock().batches.get(slot) {
            Some(batch) => {
                (spans, times, fates) = (batch.spans.as_slice(), batch.times.as_slice(), batch.fates());
                released = &raw const batch.released;
            }
            None => return,
        }
        // SAFETY: this writer carries the batch (`Phase::Release`, `Place::InCall`): no other thread changes these lists meanwhile, and the
        // count is an atomic.
        let (spans, times, fates, released) = unsafe { (&*spans, &*times, &*fates, &*released) };
        // Each event is counted before it is shown: if the callback ends its thread, the next writer goes on behind that event.
        let skip = released.load(Ordering::Relaxed);
        let mut seen = 0;
        for (ring, span) in spans {
            self.show_span(*ring, span, times, &mut seen, &mut |seen, event| {
                if seen > skip && !is_kept(fates, seen - 1) {
                    released.store(seen, Ordering::Relaxed);
                    show(event);
                }
            });
        }
    }

    /// Shows overwritten events of a ring to `release`, at most [`AT_ONCE`] of them.
    pub(super) fn show_overwritten(&self, index: usize, show: &mut dyn FnMut(&EventView)) {
        let Some(ring) = self.rings.slot(index) else { return };
        let Some(log) = ring.spill() else { return };
        // One at a time, and noted before it is shown: if the callback ends its thread, that event counts as released, and no other.
        let one = Limits { events: 1, bytes: u64::MAX, exceed: true, alone: false, cover: log.capacity() };
        let id = ring.id();
        for _ in 0..AT_ONCE {
            if self.intake().forked() {
                break;
            }
            let Some(span) = log.claim(&one) else { break };
            SHOWING.set((index, span.start));
            let mut times = self.clock.times();
            log.read(&span, |tag, head, payload| {
                show(&view(id, tag, &head, times.of(tag, head.timestamp), payload))
            });
            SHOWING.set((usize::MAX, 0));
            log.settle(span.start);
        }
    }

    /// Calls `show` with each event of a span and its number in the batch, counted from 1. `seen` counts the events of the batch so far.
    /// `times` are the timestamps that the storage was shown.
    fn show_span(
        &self,
        ring: usize,
        span: &Span,
        times: &[u64],
        seen: &mut u64,
        show: &mut dyn FnMut(u64, &EventView),
    ) {
        let Some(ring) = self.rings.slot(ring) else { return };
        let id = ring.id();
        if let Some(log) = ring.buffer() {
            log.read(span, |tag, head, payload| {
                let at = times.get(*seen as usize).copied().unwrap_or(head.timestamp);
                *seen += 1;
                show(*seen, &view(id, tag, &head, at, payload));
            });
        }
    }

    /// Before the storage is dropped: shows every event that is left to its `release`.
    pub(super) fn release_rest(&self) {
        if !self.can.release {
            return;
        }
        let mut show = |event: &EventView| self.release(event);
        let slots = self.lock().batches.slots();
        for slot in 0..slots {
            if self.intake().forked() {
                return;
            }
            // (No other thread uses it any more.)
            let Some(batch) = self.lock().batches.take(slot) else { continue };
            if !matches!(batch.place, Place::Idle) && !batch.meta {
                let (mut seen, skip) = (0, batch.released.load(Ordering::Relaxed));
                for (ring, span) in &batch.spans {
                    self.show_span(*ring, span, &batch.times, &mut seen, &mut |seen, event| {
                        if seen > skip && !is_kept(batch.fates(), seen - 1) {
                            show(event);
                        }
                    });
                }
            }
            if self.intake().forked() {
                // Dropped it would give back what is the parent's, and a thread that the child does not have may hold the lock.
                return std::mem::forget(batch);
            }
            self.lock().batches.put(slot, batch);
        }
        for ring in self.rings.iter().filter(|r| !r.is_meta()) {
            let id = ring.id();
            for log in [ring.buffer(), ring.spill()].into_iter().flatten() {
                self.release_log(log, id, &mut show);
            }
        }
    }

    /// Claims and shows all that a log still holds.
    fn release_log(&self, log: &RingBuffer, ring_id: u64, show: &mut dyn FnMut(&EventView)) {
        let mut times = self.clock.times();
        while let Some(span) = log.claim_rest() {
            if self.intake().forked() {
                return;
            }
            log.read(&span, |tag, head, payload| {
                show(&view(ring_id, tag, &head, times.of(tag, head.timestamp), payload));
            });
            // (What lies in a file is left there.)
            if !log.is_in_file() {
                log.settle(span.start);
            }
        }
    }
}
