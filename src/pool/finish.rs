//! The storage's `finish`: final work that takes long and may fail. A close asks for it when everything is settled. A writer makes the
//! call, at most once, and no other call with a batch, a flush or an event follows.

use super::Pool;
use super::flush::{Deadline, left_ms};
use super::state::State;
use super::state::flushes::Finish;
use super::state::life_cycle::{Stage, Step};
use super::writer::Task;
use crate::status::{Error, PIPELINE_ERR_STORAGE, PIPELINE_ERR_TIMEOUT, Result};
use log::Level;
use std::sync::Arc;
use std::time::Duration;

impl Pool {
    /// The task of a writer that finds the storage ready for its `finish`: the storage has no batch, and none can come any more. All writers
    /// end afterwards.
    pub(super) fn begin_finish(&self, st: &mut State, writer: u32, now: u64) -> Option<Task> {
        let Finish::Asked(deadline_ns) = st.finish else { return None };
        let draining = st.life.stage() == Stage::Draining && !st.life.is_exit_over();
        if !draining || st.writers.calling > 0 || !self.is_settled(st) {
            return None;
        }
        st.finish = Finish::Running(writer);
        st.life.step(Step::Stop);
        st.writers.dismiss_all();
        self.notify(st);
        Some(Task::Finish { timeout_ms: left_ms(deadline_ns, now) })
    }

    /// Asks for `finish`, and waits until a writer is in it. Everything is settled.
    pub(super) fn ask_for_finish(
        self: &Arc<Self>,
        deadline: Deadline,
        timeout: Option<Duration>,
    ) -> Result<()> {
        {
            let mut st = self.lock();
            if st.finish.has_begun() {
                return Ok(());
            }
            st.finish = Finish::Asked(deadline.0);
        }
        self.intake().wake(1);
        let (mut st, _) =
            self.wait_until(self.lock(), deadline, |st| st.finish.has_begun() || st.life.has_stopped());
        if st.finish.has_begun() {
            return Ok(());
        }
        st.finish = Finish::NotAsked;
        let stopped = st.life.has_stopped();
        drop(st);
        if stopped {
            return Err(self.closed(": another thread has closed it meanwhile"));
        }
        let ms = timeout.map_or(0, |t| t.as_millis());
        Err(Error::new(
            PIPELINE_ERR_TIMEOUT,
            format!(
                "pipeline_close: after {ms} ms everything is stored, and no writer could call the storage's finish{}",
                self.words_of_calls()
            ),
        ))
    }

    /// The answer of a close, as far as `finish` is concerned. It is OK while `finish` runs, because everything is stored.
    pub(super) fn answer_of_finish(&self) -> Result<()> {
        match self.lock().finish.failure() {
            None => Ok(()),
            Some(words) => Err(Error::new(
                PIPELINE_ERR_STORAGE,
                format!("pipeline_close: everything is stored, but {words}"),
            )),
        }
    }
}

impl State {
    /// The call of `finish` has ended.
    pub(super) fn finished(&mut self, finish: Finish) {
        self.finish = finish;
        if let Some(failure) = finish.failure() {
            self.report(
                Level::Error,
                format!("{failure}: every event is stored, but the storage's final work (indexes, a seal) is missing"),
            );
        }
    }
}
