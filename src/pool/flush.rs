//! How callers wait: for a flush, for the drain of a close. Every wait keeps its timeout, whatever the storage does.

use super::Pool;
use super::state::State;
use crate::platform::sync::MutexGuard;
use crate::platform::{thread, time};
use crate::ring::ring_buffer::RingBuffer;
use crate::ring::slot::Slot;
use crate::status::{
    Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_STORAGE, PIPELINE_ERR_TIMEOUT, PIPELINE_ERR_WOULD_DEADLOCK,
    Result,
};
use std::sync::Arc;
use std::time::Duration;

/// A point in time until which a caller waits; `u64::MAX`: for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(pub(super) u64);

/// The milliseconds that are left, as a storage is told them; -1: there is no limit.
pub(super) fn left_ms(deadline_ns: u64, now: u64) -> i64 {
    if deadline_ns == u64::MAX { -1 } else { (deadline_ns.saturating_sub(now) / 1_000_000) as i64 }
}

/// Whether a call has failed because its time was over, or because this is a forked child.
pub(super) fn has_timed_out(result: &Result<()>) -> bool {
    result.as_ref().is_err_and(|error| matches!(error.status, PIPELINE_ERR_TIMEOUT | PIPELINE_ERR_FORKED))
}

impl Deadline {
    pub(super) fn after(timeout: Option<Duration>) -> Self {
        let ns = timeout.map_or(u64::MAX, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX));
        Self(time::now_ns().saturating_add(ns))
    }

    fn left(self) -> Option<Duration> {
        (self.0 != u64::MAX).then(|| Duration::from_nanos(self.0.saturating_sub(time::now_ns())))
    }

    pub(super) fn passed(self) -> bool {
        self.0 != u64::MAX && time::now_ns() >= self.0
    }
}

impl Pool {
    /// Waits until `done`; `false` if the deadline passes first.
    pub(super) fn wait_until<'a>(
        &'a self,
        mut st: MutexGuard<'a, State>,
        deadline: Deadline,
        mut done: impl FnMut(&mut State) -> bool,
    ) -> (MutexGuard<'a, State>, bool) {
        loop {
            if done(&mut st) {
                return (st, true);
            }
            if self.intake().forked() {
                // A signal handler has forked, and has come back to this wait in the child as well.
                return (st, false);
            }
            if deadline.passed() || st.is_given_up(time::now_ns()) {
                return (st, false);
            }
            st.waiters += 1;
            // Not for ever at once: a writer that lingers must be told of the waiter, and a producer that releases space by overwriting
            // tells no thread.
            let most = Duration::from_millis(50);
            let wait = deadline.left().map_or(most, |left| left.min(most));
            st = self.changed.wait(st, Some(wait));
            st.waiters -= 1;
        }
    }

    /// Fails on a thread that works for this pipeline: the call `what` would wait for itself.
    pub fn would_deadlock(&self, what: &str) -> Result<()> {
        if thread::works_for() == self.id {
            return Err(Error::new(
                PIPELINE_ERR_WOULD_DEADLOCK,
                format!("{what}: called on a thread of pipeline {} itself", self.name),
            ));
        }
        Ok(())
    }

    /// The index and the head of each ring. `None`: there is no memory for the list. Then the caller waits until the rings are empty, which is as good
    /// where no new event comes.
    fn heads(&self) -> Option<Vec<(usize, u64)>> {
        // Rings that come later hold no event that was captured before.
        let used = self.rings.all_used();
        let mut heads = Vec::new();
        heads.try_reserve_exact(used.size_hint().0).ok()?;
        let head = |index| self.buffer(index).map_or(0, RingBuffer::head);
        heads.extend(used.map(|index| (index, head(index))));
        Some(heads)
    }

    fn buffer(&self, index: usize) -> Option<&RingBuffer> {
        self.rings.slot(index)?.buffer()
    }

    /// Whether the `position` of each ring has reached the ring's head in `heads`.
    fn all_are(&self, heads: Option<&[(usize, u64)]>, position: impl Fn(&RingBuffer) -> u64) -> bool {
        match heads {
            Some(heads) => {
                heads.iter().all(|&(index, head)| self.buffer(index).is_none_or(|l| position(l) >= head))
            }
            None => self.rings.iter().filter_map(Slot::buffer).all(|l| position(l) >= l.head()),
        }
    }

    fn all_released(&self, heads: Option<&[(usize, u64)]>) -> bool {
        self.all_are(heads, RingBuffer::released)
    }

    /// Waits until every event captured before is settled and the storage has flushed.
    pub fn flush(self: &Arc<Self>, timeout: Option<Duration>) -> Result<()> {
        self.would_deadlock("pipeline_flush")?;
        let deadline = Deadline::after(timeout);
        self.check_running()?;
        if timeout == Some(Duration::ZERO) {
            let settled =
                self.all_released(self.heads().as_deref()) && self.lock().has_settled_recovered(u64::MAX);
            return if settled { Ok(()) } else { Err(self.timed_out("pipeline_flush", timeout)) };
        }
        self.settle_all(deadline, "pipeline_flush", timeout)
    }

    pub(super) fn timed_out(&self, what: &str, timeout: Option<Duration>) -> Error {
        if self.intake().forked() {
            return Error::new(PIPELINE_ERR_FORKED, "the pipeline belongs to the parent of this process");
        }
        let ledger = self.ledger();
        let ms = timeout.map_or(0, |t| t.as_millis());
        // No count includes them.
        let own = match self.rings.iter().any(|ring| ring.is_meta() && !ring.is_drained()) {
            true => "; the library's own events (names of kinds, facts about clocks) are not all stored",
            false => "",
        };
        Error::new(
            PIPELINE_ERR_TIMEOUT,
            format!(
                "{what}: after {ms} ms, {} events are unclaimed, {} in flight, {} in doubt{own}{}",
                ledger.buffered + ledger.left,
                ledger.in_flight,
                ledger.in_doubt,
                self.words_of_calls()
            ),
        )
    }

    /// Three steps: every event is given to the storage; the storage flushes (it may answer pending batches only then); every event is
    /// settled.
    pub(super) fn settle_all(&self, deadline: Deadline, what: &str, timeout: Option<Duration>) -> Result<()> {
        let heads = self.heads();
        let heads = heads.as_deref();
        let st = self.lock();
        // With the lock, so that a writer that lingers looks again when this thread is among the waiters.
        self.intake().wake(1);
        let recovered = st.batches.last_id;
        let mut last = None;
        let (st, given) = self.wait_until(st, deadline, |st| {
            if st.life.has_stopped() {
                return true;
            }
            if last.is_none() && st.batches.claiming == 0 && self.all_are(heads, RingBuffer::claimed) {
                last = Some(st.batches.last_id);
            }
            last.is_some_and(|last| st.batches.oldest_unanswered().is_none_or(|id| id > last))
        });
        let all_settled = |st: &State| self.all_released(heads) && st.has_settled_recovered(recovered);
        if st.life.has_stopped() && !all_settled(&st) {
            return Err(self.closed(" was closed"));
        }
        drop(st);
        if !given {
            return Err(self.timed_out(what, timeout));
        }
        let flushed = self.flush_storage(deadline, what, timeout);
        if has_timed_out(&flushed) {
            return flushed;
        }
        let (st, settled) =
            self.wait_until(self.lock(), deadline, |st| all_settled(st) || st.life.has_stopped());
        let all = all_settled(&st);
        drop(st);
        if !settled {
            return Err(self.timed_out(what, timeout));
        }
        if !all {
            return Err(self.closed(" was closed"));
        }
        flushed
    }

    /// Has a writer call the storage's `flush`.
    fn flush_storage(&self, deadline: Deadline, what: &str, timeout: Option<Duration>) -> Result<()> {
        let mut st = self.lock();
        let in_vain = st.life.exit.is_some() && !st.flushes.are_needed(st.batches.settled);
        if !self.can.flush || in_vain {
            return Ok(());
        }
        let id = st.flushes.ask(deadline.0)?;
        drop(st);
        self.intake().wake(1);
        let (mut st, answered) = self
            .wait_until(self.lock(), deadline, |st| st.life.has_stopped() || st.flushes.answer(id).is_some());
        let answer = st.flushes.answer(id);
        st.flushes.forget(id);
        drop(st);
        match answer {
            Some(0) => Ok(()),
            Some(status) if status < 0 => {
                Err(Error::new(status, format!("{what}: the storage's flush answered {status}")))
            }
            Some(status) => Err(Error::new(
                PIPELINE_ERR_STORAGE,
                format!("{what}: the storage's flush answered {status}, not 0"),
            )),
            None if answered => Err(self.closed(" was closed")),
            None => Err(self.timed_out(what, timeout)),
        }
    }
}

impl State {
    /// Whether no recovered batch with this id, or a lower one, is unsettled. (Its events lie in no ring, whose release would tell.)
    fn has_settled_recovered(&self, id: u64) -> bool {
        self.batches.recovered().all(|(batch, _)| batch.id > id)
    }
}
