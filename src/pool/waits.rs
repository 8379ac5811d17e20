//! How callers wait: for a flush, for the drain of a close. Every wait keeps its timeout, whatever the storage does.

use super::Pool;
use super::state::{FlushJob, Life, State, Teardown};
use crate::platform::sync::MutexGuard;
use crate::platform::{thread, time};
use crate::status::{
    Error, PIPELINE_ERR_CLOSED, PIPELINE_ERR_STORAGE, PIPELINE_ERR_TIMEOUT, PIPELINE_ERR_WOULD_DEADLOCK,
    Result,
};
use std::sync::Arc;
use std::time::Duration;

/// A point in time until which a caller waits.
#[derive(Clone, Copy, Debug)]
struct Deadline(u64);

impl Deadline {
    fn after(timeout: Option<Duration>) -> Self {
        let ns = timeout.map_or(u64::MAX, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX));
        Self(time::now_ns().saturating_add(ns))
    }

    fn left(self) -> Option<Duration> {
        (self.0 != u64::MAX).then(|| Duration::from_nanos(self.0.saturating_sub(time::now_ns())))
    }

    fn passed(self) -> bool {
        self.0 != u64::MAX && time::now_ns() >= self.0
    }
}

impl Pool {
    /// Waits until `done`; `false` if the deadline passes first.
    fn wait_until<'a>(
        &'a self,
        mut st: MutexGuard<'a, State>,
        deadline: Deadline,
        mut done: impl FnMut(&mut State) -> bool,
    ) -> (MutexGuard<'a, State>, bool) {
        loop {
            if done(&mut st) {
                return (st, true);
            }
            if deadline.passed() {
                return (st, false);
            }
            st.waiters += 1;
            // Not for ever at once: a writer that sleeps with a linger must be told of the waiter, and a release of space
            // by a producer that overwrites tells nobody.
            let most = Duration::from_millis(50);
            let wait = deadline.left().map_or(most, |left| left.min(most));
            st = self.changed.wait(st, Some(wait));
            st.waiters -= 1;
        }
    }

    fn would_deadlock(&self, what: &str) -> Result<()> {
        if thread::works_for() == self.id {
            return Err(Error::new(
                PIPELINE_ERR_WOULD_DEADLOCK,
                format!("{what}: called on a thread of pipeline {} itself", self.name),
            ));
        }
        Ok(())
    }

    /// How far each ring is published now.
    fn heads(&self) -> Vec<u64> {
        self.rings.all().iter().map(|r| r.log().map_or(0, |l| l.head())).collect()
    }

    fn all_claimed(&self, heads: &[u64]) -> bool {
        self.rings.all().iter().zip(heads).all(|(r, &h)| r.log().is_none_or(|l| l.claimed() >= h))
    }

    fn all_released(&self, heads: &[u64]) -> bool {
        self.rings.all().iter().zip(heads).all(|(r, &h)| r.log().is_none_or(|l| l.released() >= h))
    }

    /// Waits until every event captured before is settled and the storage has flushed.
    pub fn flush(self: &Arc<Self>, timeout: Option<Duration>) -> Result<()> {
        self.would_deadlock("pipeline_flush")?;
        let deadline = Deadline::after(timeout);
        self.check_running()?;
        if timeout == Some(Duration::ZERO) {
            let settled = self.all_released(&self.heads());
            return if settled { Ok(()) } else { Err(self.timed_out("pipeline_flush", timeout)) };
        }
        self.settle_all(deadline, "pipeline_flush", timeout)
    }

    fn timed_out(&self, what: &str, timeout: Option<Duration>) -> Error {
        let ledger = self.ledger();
        let ms = timeout.map_or(0, |t| t.as_millis());
        Error::new(
            PIPELINE_ERR_TIMEOUT,
            format!(
                "{what}: after {ms} ms, {} events are unclaimed, {} in flight, {} in doubt",
                ledger.buffered + ledger.left,
                ledger.in_flight,
                ledger.in_doubt
            ),
        )
    }

    /// Three steps: everything is handed to the storage; the storage flushes (it may answer pending batches only then); everything
    /// is settled.
    fn settle_all(&self, deadline: Deadline, what: &str, timeout: Option<Duration>) -> Result<()> {
        let heads = self.heads();
        self.front().call(1);
        let mut barrier = None;
        let (st, handed) = self.wait_until(self.lock(), deadline, |st| {
            if st.life == Life::Stopped {
                return true;
            }
            if barrier.is_none() && st.claiming == 0 && self.all_claimed(&heads) {
                barrier = Some(st.next_batch);
            }
            barrier.is_some_and(|b| st.oldest_unanswered().is_none_or(|id| id >= b))
        });
        if st.life == Life::Stopped && !self.all_released(&heads) {
            return Err(Error::new(PIPELINE_ERR_CLOSED, format!("pipeline {} was closed", self.name)));
        }
        drop(st);
        if !handed {
            return Err(self.timed_out(what, timeout));
        }
        let flushed = self.flush_storage(deadline, what, timeout);
        if let Err(error) = &flushed
            && error.status == PIPELINE_ERR_TIMEOUT
        {
            return flushed;
        }
        let (st, settled) = self
            .wait_until(self.lock(), deadline, |st| self.all_released(&heads) || st.life == Life::Stopped);
        drop(st);
        if !settled {
            return Err(self.timed_out(what, timeout));
        }
        if !self.all_released(&heads) {
            return Err(Error::new(PIPELINE_ERR_CLOSED, format!("pipeline {} was closed", self.name)));
        }
        flushed
    }

    /// Has a writer call the storage's `flush`.
    fn flush_storage(&self, deadline: Deadline, what: &str, timeout: Option<Duration>) -> Result<()> {
        if !self.can.flush {
            return Ok(());
        }
        let mut st = self.lock();
        let id = st.next_flush;
        st.next_flush += 1;
        st.flushes.push(FlushJob { id, deadline_ns: deadline.0, runner: None, answer: None });
        drop(st);
        self.front().call(1);
        let (mut st, answered) = self.wait_until(self.lock(), deadline, |st| {
            st.life == Life::Stopped || st.flushes.iter().any(|j| j.id == id && j.answer.is_some())
        });
        let answer = st.flushes.iter().find(|j| j.id == id).and_then(|j| j.answer);
        st.flushes.retain(|j| j.id != id);
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
            None if answered => {
                Err(Error::new(PIPELINE_ERR_CLOSED, format!("pipeline {} was closed", self.name)))
            }
            None => Err(self.timed_out(what, timeout)),
        }
    }

    /// Refuses new events, drains, flushes, ends the writers.
    pub fn close(self: &Arc<Self>, timeout: Option<Duration>) -> Result<()> {
        self.would_deadlock("pipeline_close")?;
        let deadline = Deadline::after(timeout);
        {
            let mut st = self.lock();
            if st.closed || st.abandoned || st.teardown != Teardown::NotYet {
                return Err(Error::new(
                    PIPELINE_ERR_CLOSED,
                    format!("pipeline {} is closed already", self.name),
                ));
            }
            st.life = Life::Draining;
        }
        let all_in = self.rings.shut(|| !deadline.passed());
        // A capture that is not published yet is in no ring, so that the rest may look drained without it.
        let result = if all_in {
            self.drain(deadline, timeout)
        } else {
            Err(self.timed_out("pipeline_close", timeout))
        };
        if result.is_err() && self.lock().life == Life::Stopped {
            // Another close has given up meanwhile and stopped the writers; perhaps a third one is about to go on.
            return result;
        }
        if result.as_ref().is_err_and(|e| e.status == PIPELINE_ERR_TIMEOUT) {
            let mut st = self.lock();
            st.exiting |= st.at_exit;
        }
        self.stop();
        if result.as_ref().is_err_and(|e| e.status == PIPELINE_ERR_TIMEOUT) {
            return result;
        }
        let (mut st, ended) = self.wait_until(self.lock(), deadline, |st| st.writers.is_empty());
        // Not drained is not closed: if no writer could be started, say, a later close goes on.
        st.closed |= ended && self.is_settled(&st);
        drop(st);
        if !ended {
            return Err(self.timed_out("pipeline_close", timeout));
        }
        result
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
            if st.staying() == 0 {
                self.hire(&mut st, 0)?;
            }
        }
        let flushed = self.settle_all(deadline, "pipeline_close", timeout);
        if flushed.as_ref().is_err_and(|e| e.status == PIPELINE_ERR_TIMEOUT) {
            return flushed;
        }
        let (st, _) =
            self.wait_until(self.lock(), deadline, |st| self.is_settled(st) || st.life == Life::Stopped);
        let (settled, stopped) = (self.is_settled(&st), st.life == Life::Stopped);
        drop(st);
        if settled {
            flushed
        } else if stopped {
            Err(Error::new(PIPELINE_ERR_CLOSED, format!("pipeline {} was closed by another", self.name)))
        } else {
            Err(self.timed_out("pipeline_close", timeout))
        }
    }

    /// Whether nothing is in the rings and nothing is out.
    fn is_settled(&self, st: &State) -> bool {
        st.open + st.doubtful + st.claiming == 0 && self.rings.iter().all(|r| r.is_drained())
    }
}
