//! How a pipeline ends: close, the exit of the process, destroy, abandon.
//!
//! Only a close and the exit of the process wait. The teardown calls `release` for the events that are left and drops the storage, which may
//! take long. `destroy` tears down on its caller's thread, when no thread of the pipeline's own runs any more. After `abandon` a thread of the
//! pipeline's own tears down: the last writer or the supervisor. [`life_cycle`](super::state::life_cycle) has the stages.

use super::Pool;
use super::flush::{Deadline, has_timed_out};
use super::state::EXIT_PATIENCE_MS;
use super::state::State;
use super::state::flushes::Finish;
use super::state::life_cycle::{Exit, Stage, Step};
use super::state::pressure_watch::Caller;
use crate::platform::sync::MutexGuard;
use crate::platform::{thread, time};
use crate::status::{Error, PIPELINE_ERR_TIMEOUT, Result};
use std::sync::Arc;
use std::time::Duration;

/// How long a close waits for captures that are under way before it stores the rest without them: each takes less than a microsecond
/// while its thread runs. (`pipeline_close` names it.)
const CAPTURE_PATIENCE_MS: u64 = 2_000;
/// From one look of the supervisor at an abandoned pipeline to the next, at first; doubled each time.
pub(super) const FIRST_LOOK_MS: u64 = 1;

/// Whether a pipeline was abandoned, and may be torn down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abandoned {
    /// It was not.
    No,
    /// A writer, an answer or a capture is under way.
    InUse,
    /// Nothing of it is in use: it is to be torn down.
    AtRest,
}

impl Pool {
    // ---- close ----

    /// Refuses new events, drains, flushes, lets the storage finish, ends the writers.
    pub fn close(self: &Arc<Self>, timeout: Option<Duration>) -> Result<()> {
        self.would_deadlock("pipeline_close")?;
        let deadline = Deadline::after(timeout);
        let at_exit = {
            let mut st = self.lock();
            // Once `finish` has begun, everything is settled, and no writer gets another task.
            let (stage, finishing) = (st.life.stage(), st.finish.has_begun());
            if stage.after(Step::Drain).is_none() {
                return Err(self.closed(" is closed already"));
            }
            if !finishing {
                st.life.step(Step::Drain);
            }
            st.life.exit.is_some()
        };
        self.call_recovery();
        let patience_ms = if at_exit { EXIT_PATIENCE_MS } else { CAPTURE_PATIENCE_MS };
        let patience = Deadline::after(Some(Duration::from_millis(patience_ms)));
        let all_in = self.rings.shut(|| !deadline.passed() && !patience.passed());
        // A capture that is not published yet is not visible in its ring, so the rings may look drained without it.
        let result = if all_in {
            self.drain_and_finish(deadline, timeout)
        } else {
            self.drain_around_captures(deadline, timeout, patience_ms)
        };
        if result.is_err() && self.is_stopped_by_another() {
            // Another close has ended in vain meanwhile and stopped the writers; perhaps a third one is about to go on.
            return result;
        }
        if has_timed_out(&result) {
            self.lock().life.end_exit();
            self.stop();
            return result;
        }
        // What has left is acknowledged, so that no later recovery delivers it again. What has not is delivered then.
        drop(self.wait_until(self.lock(), deadline, |st| !st.recovery.is_ending()));
        self.stop();
        let (mut st, _) = self.wait_until(self.lock(), deadline, |st| st.writers.list.is_empty());
        // A `finish` that takes longer goes on by itself: everything is stored.
        let ended = match st.finish {
            Finish::Running(id) => st.writers.list.iter().all(|w| w.id == id),
            _ => st.writers.list.is_empty(),
        };
        // A pipeline that is not drained is not closed: a later close goes on, for example if no writer could be started.
        if ended && self.is_settled(&st) {
            st.life.step(Step::Close);
            self.delete_empty_ring_file();
        }
        drop(st);
        if !ended {
            return Err(self.timed_out("pipeline_close", timeout));
        }
        result.and_then(|()| self.answer_of_finish())
    }

    /// Whether the writers were told to stop, and not because the storage finishes.
    fn is_stopped_by_another(&self) -> bool {
        let st = self.lock();
        st.life.has_stopped() && !st.finish.has_begun()
    }

    /// Drains, then lets the storage finish. The error of the storage's `flush` comes after that.
    fn drain_and_finish(self: &Arc<Self>, deadline: Deadline, timeout: Option<Duration>) -> Result<()> {
        if self.lock().finish.has_begun() {
            return Ok(());
        }
        let drained = self.drain(deadline, timeout);
        {
            let st = self.lock();
            let finishes = self.can.finish && st.life.exit.is_none() && self.is_settled(&st);
            if !finishes || has_timed_out(&drained) {
                return drained;
            }
            if st.life.has_stopped() && !st.finish.has_begun() {
                // Everything is stored, but the writers have been stopped by another close, whose time was over.
                return Err(self.closed(": another thread has closed it meanwhile"));
            }
        }
        self.ask_for_finish(deadline, timeout).and(drained)
    }

    /// A capture does not end: its thread does not run, or a signal handler has left it by `siglongjmp`. The rest is stored without it.
    fn drain_around_captures(
        self: &Arc<Self>,
        deadline: Deadline,
        timeout: Option<Duration>,
        patience_ms: u64,
    ) -> Result<()> {
        if deadline.passed() {
            return Err(self.timed_out("pipeline_close", timeout));
        }
        let drained = self.drain(deadline, timeout);
        if has_timed_out(&drained) {
            return drained;
        }
        if !self.rings.any_capturing() {
            return self.drain_and_finish(deadline, timeout);
        }
        Err(Error::new(
            PIPELINE_ERR_TIMEOUT,
            format!(
                "pipeline_close: a capture has not ended for {patience_ms} ms, as its thread does not run or a signal handler has left \
                 it by siglongjmp; all other events are stored"
            ),
        ))
    }

    fn drain(self: &Arc<Self>, deadline: Deadline, timeout: Option<Duration>) -> Result<()> {
        if timeout == Some(Duration::ZERO) {
            let st = self.lock();
            if !self.is_settled(&st) {
                drop(st);
                return Err(self.timed_out("pipeline_close", timeout));
            }
        }
        {
            let mut st = self.lock();
            if st.writers.staying() == 0 {
                self.start_writer(&mut st, 0)?;
            }
        }
        let flushed = self.settle_all(deadline, "pipeline_close", timeout);
        if has_timed_out(&flushed) {
            return flushed;
        }
        let (st, _) =
            self.wait_until(self.lock(), deadline, |st| self.is_settled(st) || st.life.has_stopped());
        let (settled, stopped) = (self.is_settled(&st), st.life.has_stopped());
        drop(st);
        if settled {
            flushed
        } else if stopped {
            Err(self.closed(": another thread has closed it meanwhile"))
        } else {
            Err(self.timed_out("pipeline_close", timeout))
        }
    }

    /// Whether no event is in the rings or in a batch.
    pub(super) fn is_settled(&self, st: &State) -> bool {
        st.batches.unsettled() + st.batches.claiming == 0 && self.rings.iter().all(|r| r.is_drained())
    }

    // ---- the exit of the process ----

    /// The process ends: drains, and when the time is over writers that have not ended yet make no further call at all.
    pub fn close_for_exit(self: &Arc<Self>, timeout: Duration) {
        let short = timeout.min(Duration::from_millis(EXIT_PATIENCE_MS));
        let (abandoned, something, anything) = {
            let mut st = self.lock();
            st.life.exit = Some(Exit { since_ns: time::now_ns(), is_over: false });
            let ledger = self.ledger_of(&st);
            let waits = ledger.buffered + ledger.in_flight + ledger.in_doubt + ledger.left;
            let unflushed = self.can.flush && st.flushes.are_needed(st.batches.settled);
            let something = waits > 0 || unflushed || self.rings.any_capturing();
            (st.life.is_abandoned(), something, ledger.captured + ledger.recovered > 0)
        };
        if self.would_deadlock("exit").is_err() {
            // A callback ends the process: it would wait for itself.
        } else if abandoned {
            // The storage's `destroy` may be running, or be about to, on a thread that the exit would end.
            let begins = |st: &mut State| st.life.stage() >= Stage::TearingDown || self.at_rest(st);
            let (st, begins) = self.wait_until(self.lock(), Deadline::after(Some(short)), begins);
            if begins {
                let done = |st: &mut State| st.life.stage() == Stage::TornDown;
                drop(self.wait_until(st, Deadline::after(Some(timeout)), done));
            }
        } else if something {
            let _ = self.close(Some(timeout));
        } else if anything {
            // At most the library's own events are left, such as names of threads.
            let _ = self.close(Some(short));
        } else {
            self.rings.shut(|| false);
            self.stop();
            let ended = |st: &mut State| st.writers.list.is_empty();
            drop(self.wait_until(self.lock(), Deadline::after(Some(short)), ended));
        }
        self.lock().life.end_exit();
        self.stop();
    }

    // ---- destroy and abandon ----

    /// No writer gets another task; each ends after the call that it is in.
    pub fn stop(&self) {
        let mut st = self.lock();
        st.life.step(Step::Stop);
        self.end_writers(st);
    }

    fn end_writers(&self, mut st: MutexGuard<'_, State>) {
        st.writers.dismiss_all();
        self.unlock_changed(st);
        self.wake_all();
        self.call_recovery();
    }

    /// Whether no thread of the library is in the storage, or will be until the teardown. A capture that was let in must be published first;
    /// otherwise its event would never be released.
    fn at_rest(&self, st: &State) -> bool {
        st.life.has_stopped()
            && st.writers.list.is_empty()
            && st.pressure.caller == Caller::None
            && st.writers.calling + st.batches.claiming + st.batches.pending == 0
            && !self.rings.any_capturing()
    }

    /// Tears down if everything is at rest. Returns whether it is.
    pub fn tear_down_if_at_rest(&self) -> bool {
        let mut st = self.lock();
        if !self.at_rest(&st) {
            return false;
        }
        // The exit of the process starts no call of its own.
        if st.life.stage() == Stage::Abandoned && st.life.is_exit_over() {
            return false;
        }
        if !st.life.step(Step::TearDown) {
            return st.life.stage() == Stage::TornDown;
        }
        drop(st);
        self.end_supervisor();
        self.dismiss_recovery();
        // From here on, calls of the library by the storage's functions answer that they would wait for themselves.
        let worked_for = thread::works_for();
        thread::set_works_for(self.id);
        let owned = self.drop_what_is_the_programs();
        thread::set_works_for(worked_for);
        if !owned {
            return true;
        }
        let mut st = self.lock();
        let kept = st.life.torn_down();
        self.unlock_changed(st);
        // (Never the last reference: the caller has one.)
        drop(kept);
        true
    }

    /// The last calls of the program's functions: `release` for the events that are left, and what destroys the transforms and the storage. `false`: one of them
    /// has forked, and this is the child. There everything is the parent's, and a thread that the child does not have may hold a lock.
    fn drop_what_is_the_programs(&self) -> bool {
        self.release_rest();
        if self.intake().forked() {
            return false;
        }
        self.give_up_ring_file();
        self.drop_transforms();
        if self.intake().forked() {
            return false;
        }
        // SAFETY: `Step::TearDown` succeeds for one thread alone; no writer is left and none can start.
        drop(unsafe { (*self.storage.get()).take() });
        !self.intake().forked()
    }

    /// Whether the calling thread is tearing it down.
    pub fn is_torn_down_here(&self) -> bool {
        thread::works_for() == self.id && self.lock().life.stage() == Stage::TearingDown
    }

    /// Gives the pool up without waiting: a thread of the pipeline itself tears down when everything is at rest.
    pub fn abandon(self: &Arc<Self>) {
        self.rings.shut(|| false);
        let mut st = self.lock();
        let abandoned = st.life.abandon(Arc::clone(self) as _);
        self.end_writers(st);
        if abandoned {
            self.call_supervisor();
        }
    }

    /// The start has failed: there may be no thread of the pipeline's own.
    pub(super) fn give_up_start(self: &Arc<Self>) {
        self.rings.shut(|| false);
        let mut st = self.lock();
        st.life.abandon(Arc::clone(self) as _);
        self.end_writers(st);
        self.tear_down_if_abandoned();
    }

    /// On a thread of the pipeline itself, after work that may have been the last.
    pub(super) fn tear_down_if_abandoned(&self) {
        if self.lock().life.is_abandoned() {
            self.tear_down_if_at_rest();
        }
    }

    /// Whether the supervisor is to tear down.
    pub(super) fn look_after_abandoned(&self) -> Abandoned {
        let st = self.lock();
        match st.life.is_abandoned() {
            false => Abandoned::No,
            true if self.at_rest(&st) && !st.life.is_exit_over() => Abandoned::AtRest,
            true => Abandoned::InUse,
        }
    }
}

#[cfg(test)]
mod tests;
