//! What a writer does next.

use super::Pool;
use super::claims::view;
use super::faults::{Fault, What};
use super::sleep::Work;
use super::state::{Doing, Life, State};
use crate::batch::{Phase, Place, token};
use crate::event::EventView;
use crate::platform::sync::{AtomicU64, MutexGuard, Ordering};
use crate::platform::time;
use crate::ring::log::Limits;
use crate::storage::{
    PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY, Storage,
    WriterData, caught,
};
use crate::writer::{Desk, Task};
use std::cell::Cell;
use std::sync::Arc;

/// Overwritten events that a writer releases before it looks for other work.
const SPILLED_AT_ONCE: u32 = 1024;

thread_local! {
    /// The overwritten event that this writer is showing to `release`: index of its ring, and where its span starts.
    static SPILLING: Cell<(usize, u64)> = const { Cell::new((usize::MAX, 0)) };
}

/// What the calling thread was showing to `release` when it ended.
pub(super) fn take_spilling() -> (usize, u64) {
    SPILLING.replace((usize::MAX, 0))
}

impl Desk for Arc<Pool> {
    fn storage(&self) -> &dyn Storage {
        match self.storage_ref() {
            Some(storage) => storage,
            None => &Gone,
        }
    }

    fn next(&self, id: u32) -> Task {
        let mut st = self.lock();
        if let Some(w) = st.writer(id)
            && w.opened
        {
            st.set_doing(id, Doing::Searching);
        }
        loop {
            if let Some(task) = self.leave_or_open(&mut st, id) {
                match task {
                    Ok(task) => {
                        drop(st);
                        // A wake that was meant for whoever works may have come here, and the call may be long.
                        self.front().call(1);
                        return task;
                    }
                    Err(until) => {
                        st = self.wait_to_open(st, until);
                        continue;
                    }
                }
            }
            if let Some(task) = self.queued(&mut st, id) {
                return self.enter(st, id, task);
            }
            let now = time::now_ns();
            if self.may_claim(&st) && self.work(&mut st, now) == Work::Ripe {
                if st.rests(id, now) {
                    st = self.rest(st);
                    continue;
                }
                let (back, task) = self.claim(st, id);
                st = back;
                match task {
                    // Stopped meanwhile, or no more batches are let through: it waits for whoever takes it up, or for the
                    // teardown.
                    Some(Queued::Batch(slot))
                        if st.life == Life::Stopped || !st.breaker.allows(time::now_ns()) =>
                    {
                        st.make_ready(slot, Phase::Store)
                    }
                    Some(task) => return self.enter(st, id, task),
                    None => {}
                }
                // The lock was given back: what was decided before may no longer hold.
                if self.rings.any_claimable(self.ordered) || st.is_leaving(id) {
                    continue;
                }
            }
            st = self.sleep(st, id);
        }
    }

    fn opened(&self, id: u32, result: Result<WriterData, i32>) {
        let mut st = self.lock();
        let now = time::now_ns();
        self.note_panic(&mut st, id, now);
        let mut failed = None;
        if let Some(w) = st.writer(id) {
            match result {
                Ok(data) => {
                    (w.opened, w.data, w.open_failures) = (true, data, 0);
                }
                Err(status) => {
                    w.open_failures += 1;
                    w.open_status = status;
                    let wait = (1_000_000u64 << w.open_failures.min(10)).min(1_000_000_000);
                    w.doing = Doing::Opening(now + wait);
                    failed = Some((status, w.open_failures));
                }
            }
        }
        if failed.is_none() {
            st.set_doing(id, Doing::Searching);
        }
        self.notify(&st);
        drop(st);
        if let Some((status, times)) = failed {
            log::warn!(
                "pipeline {}: open_writer of writer {id} answered {status} ({times} times)",
                self.name
            );
        }
    }

    fn stored(&self, id: u32, slot: usize, answer: i32) {
        let mut st = self.lock();
        let (now, panicked) = self.back_with(&mut st, id, slot);
        if !panicked && (PIPELINE_STORE_OK..=PIPELINE_STORE_PENDING).contains(&answer) {
            st.faults.answered_well();
        }
        let Some(batch) = st.batch(slot) else { return };
        if let Some((prefix, result)) = batch.early.take() {
            if answer != PIPELINE_STORE_PENDING && !panicked {
                let fault = Fault::with(batch, What::Answered(answer), now);
                st.faults.note(fault);
            }
            self.apply(&mut st, slot, result, prefix, now, Some(id));
        } else if answer == PIPELINE_STORE_PENDING {
            batch.place = Place::Pending;
            st.pending += 1;
        } else {
            self.apply(&mut st, slot, answer, 0, now, Some(id));
        }
        self.notify(&st);
        let news = std::mem::take(&mut st.news);
        drop(st);
        self.tell(news);
    }

    fn dead_lettered(&self, id: u32, slot: usize, answer: i32) {
        let mut st = self.lock();
        let (now, panicked) = self.back_with(&mut st, id, slot);
        if !panicked && matches!(answer, PIPELINE_STORE_OK | PIPELINE_STORE_RETRY | PIPELINE_STORE_REJECT) {
            st.faults.answered_well();
        }
        self.apply_dead_letter(&mut st, slot, answer, now);
        self.notify(&st);
    }

    fn each_event(&self, slot: usize, show: &mut dyn FnMut(&EventView)) {
        let (spans, released): (*const [(usize, crate::ring::log::Span)], *const AtomicU64) =
            match self.lock().batch(slot) {
                Some(batch) => (batch.spans.as_slice(), &raw const batch.released),
                None => return,
            };
        // SAFETY: the batch is in this writer's hands (Phase::Release, InCall): nobody changes its spans meanwhile, and the
        // count is an atomic.
        let (spans, released) = unsafe { (&*spans, &*released) };
        // If a callback ends its thread, the next writer goes on behind that event: noted before it is shown.
        let skip = released.load(Ordering::Relaxed);
        let mut seen = 0;
        for (ring, span) in spans {
            self.show_span(*ring, span, &mut |event| {
                seen += 1;
                if seen > skip {
                    released.store(seen, Ordering::Relaxed);
                    show(event);
                }
            });
        }
    }

    fn released(&self, id: u32, slot: usize) {
        let mut st = self.lock();
        self.back_with(&mut st, id, slot);
        self.close_batch(&mut st, slot);
        self.notify(&st);
    }

    fn each_spilled(&self, index: usize, show: &mut dyn FnMut(&EventView)) {
        let ring = &self.rings.all()[index];
        let Some(log) = ring.spill() else { return };
        // One at a time, and noted before it is shown: if the callback ends its thread, that event is released, and no other.
        let one = Limits { events: 1, bytes: u64::MAX, exceed: true, alone: false, cover: log.capacity() };
        let id = ring.id();
        for _ in 0..SPILLED_AT_ONCE {
            let Some(span) = log.claim(&one) else { break };
            SPILLING.set((index, span.start));
            log.read(&span, |tag, head, payload| show(&view(id, tag, &head, payload)));
            SPILLING.set((usize::MAX, 0));
            log.settle(span.start);
        }
    }

    fn spilled(&self, id: u32) {
        let mut st = self.lock();
        self.back_without(&mut st, id);
        self.notify(&st);
    }

    fn flushed(&self, id: u32, job: u64, answer: i32) {
        let mut st = self.lock();
        self.back_without(&mut st, id);
        if let Some(job) = st.flushes.iter_mut().find(|j| j.id == job) {
            job.runner = None;
            job.answer = Some(answer);
        }
        self.notify(&st);
    }

    fn exited(&self, id: u32) {
        let mut st = self.lock();
        self.note_panic(&mut st, id, time::now_ns());
        st.set_doing(id, Doing::Opening(0));
        st.writers.retain(|w| w.id != id);
        self.notify(&st);
        drop(st);
        // A wake that was meant for whoever works may have come here.
        self.front().call(1);
    }

    fn forked(&self) -> bool {
        self.front().forked()
    }
}

/// Stands where the storage was, for a call that cannot happen.
struct Gone;

// SAFETY: touches nothing.
unsafe impl Storage for Gone {
    fn store(&self, _: &crate::batch::BatchView) -> i32 {
        PIPELINE_STORE_RETRY
    }
}

impl Pool {
    /// Whether the writer shall end, or open itself first (`Err`: not before that time).
    fn leave_or_open(&self, st: &mut State, id: u32) -> Option<Result<Task, u64>> {
        let Some(w) = st.writer(id) else {
            return Some(Ok(Task::Exit { opened: false, data: WriterData::NONE }));
        };
        if w.leaving {
            let (opened, data) = (w.opened, w.data);
            let opened = opened && !st.exiting;
            // From here on it is in a call: what it has open is its own.
            st.set_doing(id, Doing::Opening(0));
            return Some(Ok(Task::Exit { opened, data }));
        }
        match w.doing {
            Doing::Opening(at) if !w.opened => {
                if time::now_ns() < at {
                    Some(Err(at))
                } else {
                    Some(Ok(Task::Open))
                }
            }
            _ => None,
        }
    }

    /// Waits until a writer may try to open itself again.
    fn wait_to_open<'a>(&'a self, st: MutexGuard<'a, State>, until: u64) -> MutexGuard<'a, State> {
        // Not on the gate: a wake that is meant for whoever can work must not come here.
        let seen = self.openers.load(Ordering::Acquire);
        drop(st);
        let wait = std::time::Duration::from_nanos(until.saturating_sub(time::now_ns()));
        crate::platform::park::wait(&self.openers, seen, Some(wait));
        self.lock()
    }

    /// What waits in the pool itself for writer `id`: batches to be taken up, flushes, overwritten events.
    fn queued(&self, st: &mut State, id: u32) -> Option<Queued> {
        if !self.may_call(st) {
            return None;
        }
        let now = time::now_ns();
        if let Some(slot) = self.take_due(st, now) {
            return Some(Queued::Batch(slot));
        }
        if let Some(job) = st.flushes.iter_mut().find(|j| j.runner.is_none() && j.answer.is_none()) {
            job.runner = Some(id);
            let timeout_ms = if job.deadline_ns == u64::MAX {
                -1
            } else {
                (job.deadline_ns.saturating_sub(now) / 1_000_000) as i64
            };
            return Some(Queued::Task(Task::Flush { job: job.id, timeout_ms }));
        }
        let spilled = |r: &crate::ring::buffer::Ring| r.spill().is_some_and(|l| l.has_unclaimed());
        if self.can.release
            && let Some(ring) = self.rings.all().iter().position(spilled)
        {
            return Some(Queued::Task(Task::Spill { ring }));
        }
        None
    }

    /// The writer enters a call.
    fn enter<'a>(self: &'a Arc<Self>, mut st: MutexGuard<'a, State>, id: u32, queued: Queued) -> Task {
        let now = time::now_ns();
        st.calls += 1;
        st.set_doing(id, Doing::Calling(now));
        let task = match queued {
            Queued::Task(task) => task,
            Queued::Batch(slot) => self.present(&mut st, id, slot, now),
        };
        let wake = self.hand_over_watch(&st);
        let look = self.wants_look(&mut st, now);
        drop(st);
        if wake {
            self.front().call(1);
        }
        if look {
            self.call_supervisor();
        }
        task
    }

    /// Opens an attempt.
    fn present(self: &Arc<Self>, st: &mut State, id: u32, slot: usize, now: u64) -> Task {
        let mut data = WriterData::NONE;
        if let Some(w) = st.writer(id) {
            w.slot = Some(slot);
            w.attempts += 1;
            data = w.data;
        }
        let Some(batch) = st.batches[slot].as_deref_mut() else {
            return Task::Release { slot };
        };
        batch.place = Place::InCall;
        batch.since_ns = now;
        if batch.phase == Phase::Release {
            return Task::Release { slot };
        }
        batch.attempt += 1;
        if batch.attempt == 1 {
            batch.first_attempt_ns = now;
        } else {
            st.retries += 1;
        }
        if batch.phase == Phase::DeadLetter {
            let batch_view = batch.present(id, data, now, time::realtime_offset_ns());
            return Task::DeadLetter { slot, batch: batch_view, reason: batch.reason };
        }
        st.breaker.begin(batch.id, now);
        batch.prefix = 0;
        batch.rejected.clear();
        batch.early = None;
        batch.token = token::issue(Arc::clone(self) as Arc<dyn token::Answered>, slot);
        Task::Store { slot, batch: batch.present(id, data, now, time::realtime_offset_ns()) }
    }

    /// The writer is back from a call with a batch. Answers the time, and whether the storage panicked.
    fn back_with(&self, st: &mut State, id: u32, slot: usize) -> (u64, bool) {
        let now = self.back_from_call(st, id);
        let panics = caught::take_panics();
        for _ in 0..panics {
            if let Some(batch) = st.batch(slot) {
                let fault = Fault::with(batch, What::Panicked, now);
                st.faults.note(fault);
            }
        }
        (now, panics > 0)
    }

    /// The same without a batch.
    fn back_without(&self, st: &mut State, id: u32) {
        let now = self.back_from_call(st, id);
        self.note_panic(st, id, now);
    }

    /// A call without a batch may have panicked.
    fn note_panic(&self, st: &mut State, writer: u32, now: u64) {
        for _ in 0..caught::take_panics() {
            st.faults.note(Fault { writer, batch: 0, attempt: 0, what: What::Panicked, at_ns: now });
        }
    }

    /// The writer is back from a call. Answers the time.
    fn back_from_call(&self, st: &mut State, id: u32) -> u64 {
        let now = time::now_ns();
        st.calls = st.calls.saturating_sub(1);
        st.deaths_in_a_row = 0;
        if let Some(w) = st.writer(id) {
            w.slot = None;
            let was_stuck = std::mem::take(&mut w.stuck);
            if let Doing::Calling(since) = w.doing {
                let took = now.saturating_sub(since);
                w.call_ns += took;
                st.calls_ns += took;
                st.call_average_ns = (st.call_average_ns * 7 + took) / 8;
            }
            if was_stuck && st.staying() > st.wanted() {
                // Another has taken its place meanwhile.
                if let Some(w) = st.writer(id) {
                    w.leaving = true;
                }
            }
        }
        st.set_doing(id, Doing::Searching);
        now
    }
}

/// Something to be done, not yet entered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Queued {
    Batch(usize),
    Task(Task),
}
