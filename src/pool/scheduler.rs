//! What a writer does next: it ends, opens itself, takes up what waits in the pool, claims from the rings, or sleeps.

use super::Pool;
use super::claims::Claimed;
use super::flush::left_ms;
use super::state::State;
use super::state::turns::Which;
use super::state::writer::{Call, Doing, GATHER_NS, Gather};
use super::writer::Task;
use crate::batch::token::{Answered, Issuer};
use crate::batch::{Attempt, Batch, BatchView, Form, Phase};
use crate::platform::sync::{MutexGuard, Ordering};
use crate::platform::{park, time};
use crate::ring::slot::Slot;
use crate::storage::WriterData;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What a writer takes up.
#[derive(Clone, Copy, Debug)]
enum Queued {
    /// The batch in this slot.
    Batch(usize),
    /// A call without a batch.
    Call(Task),
}

/// What a writer does before it is open, or when it is to end.
enum Outside {
    /// This task.
    Task(Task),
    /// It waits until this time, and opens itself then.
    Wait(u64),
}

impl Pool {
    /// What writer `id` is to do next; waits until there is something.
    pub(super) fn next_task(self: &Arc<Self>, id: u32) -> Task {
        let mut st = self.lock();
        if st.writers.get(id).is_some_and(|w| w.opened) {
            st.writers.set_doing(id, Doing::Searching);
        }
        'look: loop {
            match self.outside(&mut st, id) {
                None => {}
                Some(Outside::Task(task)) => {
                    self.keep_permits(&mut st);
                    drop(st);
                    // This writer may have been woken for work. Another one must do it, because this one's call may be long.
                    self.intake().wake(1);
                    return task;
                }
                Some(Outside::Wait(until)) => {
                    st = self.wait_to_open(st, until);
                    continue 'look;
                }
            }
            if !self.gets_permit(&mut st) {
                st = self.sleep(st, id, false);
                continue;
            }
            let now = time::now_ns();
            for &which in self.looks(&st) {
                if let Some(queued) = self.queued(&mut st, id, now, which) {
                    if self.can_be_shown(&mut st, queued) {
                        return self.begin(st, id, queued);
                    }
                    st = self.wait_for_memory(st);
                    continue 'look;
                }
                if self.recovered_is_next(&mut st, which) {
                    if let Some(slot) = self.claim_recovered(&mut st)
                        && self.can_be_shown(&mut st, Queued::Batch(slot))
                    {
                        return self.begin(st, id, Queued::Batch(slot));
                    }
                    st = self.wait_for_memory(st);
                    continue 'look;
                }
                let Some(priority) = self.to_claim(&mut st, now, which) else { continue };
                if st.gathers(id, now) {
                    let naps = st.sleep.naps.while_gathering();
                    st = if naps { self.sleep(st, id, true) } else { self.spin(st) };
                    continue 'look;
                }
                let (back, claimed) = self.claim_batch(st, priority);
                st = back;
                match claimed {
                    Claimed::Batch { slot, small } => {
                        if let Some(w) = st.writers.get(id) {
                            w.gather = if small { Gather::FromNextCall } else { Gather::No };
                        }
                        let breaker = &st.retries.breaker;
                        let allowed = breaker.is_closed() || breaker.allows(time::now_ns());
                        if allowed && !st.life.has_stopped() {
                            if self.can_be_shown(&mut st, Queued::Batch(slot)) {
                                return self.begin(st, id, Queued::Batch(slot));
                            }
                            st = self.wait_for_memory(st);
                            continue 'look;
                        }
                        // The next writer takes it up, or the teardown.
                        st.batches.put_off(slot);
                    }
                    Claimed::Nothing => {}
                    Claimed::NoMemory => {
                        st = self.wait_for_memory(st);
                        continue 'look;
                    }
                }
                // The lock was given back: what was decided before may no longer hold.
                if self.rings.any_claimable(priority, self.ordered) || st.writers.is_leaving(id) {
                    continue 'look;
                }
            }
            st = self.sleep(st, id, false);
        }
    }

    /// What the writer does if it is to end or is not open.
    #[inline]
    fn outside(&self, st: &mut State, id: u32) -> Option<Outside> {
        match st.writers.get(id) {
            Some(w) if w.opened && !w.leaving => None,
            _ => self.outside_generally(st, id),
        }
    }

    #[cold]
    fn outside_generally(&self, st: &mut State, id: u32) -> Option<Outside> {
        let Some(w) = st.writers.get(id) else {
            return Some(Outside::Task(Task::Exit { opened: false, data: WriterData::NONE }));
        };
        let now = time::now_ns();
        if w.leaving {
            let (opened, data) = (w.opened, w.data);
            let opened = opened && !st.life.is_exit_over();
            st.writers.set_doing(id, if opened { Doing::Ending(now) } else { Doing::Opening(0) });
            return Some(Outside::Task(Task::Exit { opened, data }));
        }
        match w.doing {
            Doing::Opening(at) if !w.opened && now < at => Some(Outside::Wait(at)),
            Doing::Opening(_) if !w.opened => {
                st.writers.set_doing(id, Doing::Entering(now));
                Some(Outside::Task(Task::Open))
            }
            _ => None,
        }
    }

    /// Waits until a writer may try to open itself again.
    fn wait_to_open<'a>(&'a self, st: MutexGuard<'a, State>, until: u64) -> MutexGuard<'a, State> {
        // Not on the doorbell: a wake that is meant for a writer that can work must not come here.
        let seen = self.openers.load(Ordering::Acquire);
        drop(st);
        let wait = Duration::from_nanos(until.saturating_sub(time::now_ns()));
        park::wait(&self.openers, seen, Some(wait));
        self.lock()
    }

    /// What waits in the pool itself for writer `id`: batches of `which` to be taken up, calls without a batch.
    #[inline]
    fn queued(self: &Arc<Self>, st: &mut State, id: u32, now: u64, which: Which) -> Option<Queued> {
        let anything = st.batches.has_queued()
            || !st.flushes.is_empty()
            || self.can.release
            || !st.life.is_running()
            || !st.retries.breaker.is_closed();
        if !anything || !self.may_call(st) || which == Which::Ordinary && !self.may_call_ordinary(st) {
            return None;
        }
        self.queued_generally(st, id, now, which)
    }

    #[cold]
    fn queued_generally(self: &Arc<Self>, st: &mut State, id: u32, now: u64, which: Which) -> Option<Queued> {
        if !st.retries.breaker.is_closed() {
            self.give_up_too_old(st, now);
        }
        if let Some(slot) = st.take_due(now, which, |st| self.to_claim(st, now, which).is_some()) {
            return Some(Queued::Batch(slot));
        }
        if which == Which::Priority {
            // The calls without a batch come with the ordinary ones.
            return None;
        }
        let settled = st.batches.settled;
        if !st.flushes.is_empty()
            && st.writers.may_flush(st.config.max_in_doubt)
            && let Some((flush, deadline_ns)) = st.flushes.take_up(id, settled)
        {
            return Some(Queued::Call(Task::Flush { id: flush, timeout_ms: left_ms(deadline_ns, now) }));
        }
        if let Some(task) = self.begin_finish(st, id, now) {
            return Some(Queued::Call(task));
        }
        let overwritten = |slot: &Slot| slot.spill().is_some_and(|log| log.has_unclaimed());
        let mut used = self.rings.all_used().filter(|_| self.can.release);
        let ring = used.find(|&ring| self.rings.slot(ring).is_some_and(overwritten))?;
        Some(Queued::Call(Task::ReleaseOverwritten { ring }))
    }

    /// Makes the views of a batch that has neither views nor spans, and the room for what its transform makes of it. `false`: there is no
    /// memory for them, and the batch is queued again.
    #[inline]
    fn can_be_shown(&self, st: &mut State, queued: Queued) -> bool {
        let Queued::Batch(slot) = queued else { return true };
        let scratch = st.config.batch_bytes;
        let made = match st.batches.get_mut(slot) {
            Some(batch) if batch.phase == Phase::Transform => self.can_be_transformed(scratch, batch),
            Some(batch) if batch.form == Form::Bare => self.make_views(batch).is_ok(),
            _ => return true,
        };
        if !made {
            st.batches.put_off(slot);
        }
        made
    }

    /// The writer enters a call.
    fn begin<'a>(self: &'a Arc<Self>, mut st: MutexGuard<'a, State>, id: u32, queued: Queued) -> Task {
        let now = time::now_ns();
        st.writers.set_doing(id, Doing::Calling(now));
        let task = match queued {
            Queued::Call(task) => Self::begin_call(&mut st, id, task),
            Queued::Batch(slot) => self.begin_batch(&mut st, id, slot, now),
        };
        let wake = self.hand_over_watch(&st);
        let look = self.wants_look(&mut st, now);
        drop(st);
        if wake {
            self.intake().wake(1);
        }
        if look {
            self.call_supervisor();
        }
        if matches!(task, Task::Finish { .. }) {
            // The other writers end.
            self.wake_all();
        }
        task
    }

    /// A call without a batch.
    #[cold]
    fn begin_call(st: &mut State, id: u32, task: Task) -> Task {
        if let Some(w) = st.writers.get(id) {
            w.priority = false;
            w.call = match task {
                Task::Flush { .. } => Call::Flush,
                Task::Finish { .. } => Call::Finish,
                _ => Call::Release,
            };
        }
        task
    }

    /// A call with a batch.
    #[inline]
    fn begin_batch(self: &Arc<Self>, st: &mut State, id: u32, slot: usize, now: u64) -> Task {
        let mut data = WriterData::NONE;
        let priority = st.batches.get(slot).is_some_and(|batch| batch.priority);
        if let Some(w) = st.writers.get(id) {
            (w.slot, w.priority) = (Some(slot), priority);
            w.attempts += 1;
            if w.gather == Gather::FromNextCall {
                w.gather = Gather::Until(now + GATHER_NS);
            }
            data = w.data;
        }
        if st.batches.get(slot).is_some_and(|b| b.phase == Phase::Store)
            && let Some((attempt, batch)) = self.begin_attempt(st, id, data, slot, now)
        {
            st.batches.begin_call(slot, attempt);
            return match st.batches.get(slot).and_then(Batch::spans_to_show) {
                Some(batch) => Task::StoreSpans { slot, batch },
                None => Task::Store { slot, batch },
            };
        }
        Self::begin_other_phase(st, id, data, slot, now)
    }

    /// The batch goes to another function than `store`.
    #[cold]
    fn begin_other_phase(st: &mut State, id: u32, data: WriterData, slot: usize, now: u64) -> Task {
        st.batches.begin_call(slot, Attempt::new(0, now));
        let Some(batch) = st.batches.get_mut(slot) else { return Task::Release { slot } };
        if batch.phase == Phase::Transform {
            if let Some(w) = st.writers.get(id) {
                w.attempts -= 1;
            }
            return Task::Transform { slot, work: batch.transforming_cell() };
        }
        let Phase::DeadLetter { reason } = batch.phase else { return Task::Release { slot } };
        let view = batch.begin_attempt(0, id, data, now, time::realtime_offset_ns());
        st.retries.count += u64::from(batch.attempts > 1);
        st.turns.begun(batch.priority, batch.recovered().is_some());
        Task::DeadLetter { slot, batch: view, reason }
    }
}

impl Pool {
    /// Counts an attempt of writer `id` to store the batch, and fills in what the storage is shown.
    pub(super) fn begin_attempt(
        self: &Arc<Self>,
        st: &mut State,
        id: u32,
        data: WriterData,
        slot: usize,
        now: u64,
    ) -> Option<(Attempt, *const BatchView)> {
        let batch = st.batches.get_mut(slot)?;
        let token = self.next_token(batch, slot);
        let view = batch.begin_attempt(token, id, data, now, time::realtime_offset_ns());
        st.retries.count += u64::from(batch.attempts > 1);
        st.turns.begun(batch.priority, batch.recovered().is_some());
        st.retries.breaker.begin(batch.id, now);
        Some((Attempt::new(token, now), view))
    }

    /// The token of an attempt; 0 if there is no memory for another issuer of tokens.
    fn next_token(self: &Arc<Self>, batch: &mut Batch, slot: usize) -> u64 {
        let token = batch.issuer.as_mut().and_then(Issuer::issue);
        token.unwrap_or_else(|| self.token_of_another_issuer(batch, slot))
    }

    #[cold]
    fn token_of_another_issuer(self: &Arc<Self>, batch: &mut Batch, slot: usize) -> u64 {
        self.make_issuer(batch, slot);
        batch.issuer.as_mut().and_then(Issuer::issue).unwrap_or(0)
    }

    /// Makes the issuer of the tokens of a batch. `false`: there is no memory for it.
    #[cold]
    pub(super) fn make_issuer(self: &Arc<Self>, batch: &mut Batch, slot: usize) -> bool {
        batch.issuer = Issuer::new(Arc::downgrade(self) as Weak<dyn Answered>, slot);
        batch.issuer.is_some()
    }
}
