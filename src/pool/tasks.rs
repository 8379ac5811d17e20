//! What a writer does next: ends, opens itself, takes up what waits in the pool, claims from the rings, or sleeps.

use super::Pool;
use super::claims::REST_NS;
use super::sleep::Work;
use super::state::{Doing, Life, State};
use crate::batch::token::{Answered, Issuer};
use crate::batch::{Batch, BatchView, Phase, Place};
use crate::platform::sync::{MutexGuard, Ordering};
use crate::platform::time;
use crate::storage::WriterData;
use crate::writer::Task;
use std::sync::{Arc, Weak};

impl Pool {
    /// What writer `id` is to do next; waits until there is something.
    pub(super) fn next_task(self: &Arc<Self>, id: u32) -> Task {
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
            let now = time::now_ns();
            if let Some(task) = self.queued(&mut st, id, now) {
                return self.enter(st, id, task);
            }
            if self.may_claim(&st) && self.work(&mut st, now) == Work::Ripe {
                if st.rests(id, now) {
                    st = if st.naps.while_more_gather() { self.sleep(st, id, true) } else { self.rest(st) };
                    continue;
                }
                let (back, task) = self.claim(st, id);
                st = back;
                match task {
                    // Stopped meanwhile, or no more batches are let through: it waits for whoever takes it up, or for the
                    // teardown.
                    Some(Queued::Batch(slot))
                        if st.life == Life::Stopped
                            || (!st.breaker.is_closed() && !st.breaker.allows(time::now_ns())) =>
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
            st = self.sleep(st, id, false);
        }
    }

    /// Whether the writer shall end, or open itself first (`Err`: not before that time).
    fn leave_or_open(&self, st: &mut State, id: u32) -> Option<Result<Task, u64>> {
        match st.writer(id) {
            Some(w) if w.opened && !w.leaving => None,
            _ => self.leave_or_open_generally(st, id),
        }
    }

    #[cold]
    fn leave_or_open_generally(&self, st: &mut State, id: u32) -> Option<Result<Task, u64>> {
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
    fn queued(&self, st: &mut State, id: u32, now: u64) -> Option<Queued> {
        let anything = st.has_due() || !st.flushes.is_empty() || self.can.release || !st.breaker.is_closed();
        if !anything || !self.may_call(st) {
            return None;
        }
        self.queued_generally(st, id, now)
    }

    #[cold]
    fn queued_generally(&self, st: &mut State, id: u32, now: u64) -> Option<Queued> {
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
            if std::mem::take(&mut w.rests) {
                w.rests_until = now + REST_NS;
            }
            data = w.data;
        }
        let Some(batch) = st.batches[slot].as_deref_mut() else {
            return Task::Release { slot };
        };
        batch.place = Place::InCall;
        batch.since_ns = now;
        if batch.phase != Phase::Store {
            return self.present_otherwise(st, id, data, slot, now);
        }
        match self.open_attempt(st, id, data, slot, now) {
            Some(batch) => Task::Store { slot, batch },
            None => Task::Release { slot },
        }
    }

    /// The batch goes elsewhere than to `store`.
    #[cold]
    fn present_otherwise(&self, st: &mut State, id: u32, data: WriterData, slot: usize, now: u64) -> Task {
        match st.batches[slot].as_deref_mut() {
            Some(batch) if batch.phase == Phase::DeadLetter => {
                let reason = batch.reason;
                batch.begin_attempt(now);
                st.retries += u64::from(batch.attempt > 1);
                let batch = batch.present(id, data, now, time::realtime_offset_ns());
                Task::DeadLetter { slot, batch, reason }
            }
            _ => Task::Release { slot },
        }
    }

    /// Opens an attempt to store a batch, under a token of its own.
    pub(super) fn open_attempt(
        self: &Arc<Self>,
        st: &mut State,
        id: u32,
        data: WriterData,
        slot: usize,
        now: u64,
    ) -> Option<*const BatchView> {
        let batch = st.batches[slot].as_deref_mut()?;
        batch.begin_attempt(now);
        st.retries += u64::from(batch.attempt > 1);
        st.breaker.begin(batch.id, now);
        batch.prefix = 0;
        batch.rejected.clear();
        batch.early = None;
        batch.token = self.name_attempt(batch, slot);
        Some(batch.present(id, data, now, time::realtime_offset_ns()))
    }
}

impl Pool {
    /// The token of an attempt; 0 if there is no memory at all.
    fn name_attempt(self: &Arc<Self>, batch: &mut Batch, slot: usize) -> u64 {
        let token = batch.issuer.as_mut().and_then(Issuer::issue);
        token.unwrap_or_else(|| self.name_by_another(batch, slot))
    }

    #[cold]
    fn name_by_another(self: &Arc<Self>, batch: &mut Batch, slot: usize) -> u64 {
        batch.issuer = Issuer::new(Arc::downgrade(self) as Weak<dyn Answered>, slot);
        batch.issuer.as_mut().and_then(Issuer::issue).unwrap_or(0)
    }
}

/// Something to be done, not yet entered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Queued {
    Batch(usize),
    Task(Task),
}
