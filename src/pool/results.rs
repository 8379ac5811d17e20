//! What a writer reports when a call of the storage has returned, or has not.

use super::Pool;
use super::state::State;
use super::state::faults::{Fault, What};
use super::state::flushes::Finish;
use super::state::writer::Doing;
use super::writer::Task;
use crate::batch::{Answer, Phase};
use crate::platform::time;
use crate::storage::{
    PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY, WriterData,
    panic_guard,
};
use log::Level;

/// How long a writer waits after so many failures in a row: doubled each time, up to a second.
pub(super) fn pause_ns(failures: u32) -> u64 {
    (1_000_000u64 << failures.min(10)).min(1_000_000_000)
}

impl Pool {
    /// `open_writer` has returned.
    pub(super) fn opened(&self, id: u32, result: Result<WriterData, i32>) {
        let mut st = self.lock();
        let now = time::now_ns();
        self.note_panics(&mut st, id, None, now);
        match (result, st.writers.get(id)) {
            (_, None) => {}
            (Ok(data), Some(w)) => {
                (w.opened, w.data, w.open_failures) = (true, data, 0);
                st.writers.set_doing(id, Doing::Searching);
            }
            (Err(status), Some(w)) => {
                w.open_failures += 1;
                w.open_status = status;
                let (times, pause) = (w.open_failures, pause_ns(w.open_failures));
                st.writers.set_doing(id, Doing::Opening(now + pause));
                st.retries.note_failure(now);
                st.report(
                    Level::Warn,
                    format!("open_writer of writer {id} returned {status} ({times} times)"),
                );
            }
        }
        let wanted = st.writers_wanted();
        st.writers.no_longer_stuck(id, wanted);
        self.unlock_changed(st);
    }

    /// The call with the batch in this slot has returned.
    pub(super) fn returned(&self, id: u32, slot: usize, result: i32) {
        let mut st = self.lock();
        let (now, panicked) = self.back_from_call(&mut st, id, Some(slot));
        self.call_returned(&mut st, id, slot, result, panicked, now);
        let unused = st.transforms.take_unused();
        self.unlock_changed(st);
        drop(unused);
        self.keep_pressure(now);
    }

    /// A call without a batch has returned.
    pub(super) fn returned_without_batch(&self, id: u32, task: Task, answer: i32) {
        let mut st = self.lock();
        self.back_from_call(&mut st, id, None);
        match task {
            Task::Flush { id: flush, .. } => st.flushes.answered(flush, answer),
            Task::Finish { .. } => st.finished(Finish::Answered(answer)),
            _ => {}
        }
        self.unlock_changed(st);
    }

    /// The writer ends.
    pub(super) fn exited(&self, id: u32) {
        let mut st = self.lock();
        self.note_panics(&mut st, id, None, time::now_ns());
        st.writers.remove(id);
        self.keep_permits(&mut st);
        self.leave_shares(&mut st);
        self.unlock_changed(st);
        // This writer may have been woken for work that it does not do.
        self.intake().wake(1);
    }

    /// The writer is back from a call, with the batch in `slot` if there is one. Returns the time, and whether the storage panicked.
    #[inline]
    fn back_from_call(&self, st: &mut State, id: u32, slot: Option<usize>) -> (u64, bool) {
        let now = time::now_ns();
        let wanted = st.writers_wanted();
        st.writers.returned(id, wanted, now);
        (now, self.note_panics(st, id, slot, now))
    }

    /// Counts the panics of the call that has returned. Returns whether there were any.
    #[inline]
    fn note_panics(&self, st: &mut State, writer: u32, slot: Option<usize>, at_ns: u64) -> bool {
        let panics = panic_guard::take_panics();
        for _ in 0..panics {
            let what = What::Panicked;
            let fault = match slot.and_then(|slot| st.batches.get(slot)) {
                Some(batch) => Fault::with(batch, what, at_ns),
                None => Fault { writer, batch: 0, attempt: 0, what, at_ns },
            };
            st.faults.note(fault);
        }
        panics > 0
    }

    /// The call of writer `id` with the batch has returned.
    #[inline]
    pub(super) fn call_returned(
        &self,
        st: &mut State,
        id: u32,
        slot: usize,
        result: i32,
        panicked: bool,
        now: u64,
    ) {
        let Some(batch) = st.batches.get_mut(slot) else { return };
        let early = batch.attempt_mut().and_then(|attempt| attempt.answer.take());
        let phase = batch.phase;
        let proper = match phase {
            Phase::Store => (PIPELINE_STORE_OK..=PIPELINE_STORE_PENDING).contains(&result),
            Phase::DeadLetter { .. } => (PIPELINE_STORE_OK..=PIPELINE_STORE_REJECT).contains(&result),
            Phase::Release => false, // (it returns nothing)
            Phase::Transform => return self.transform_returned(st, id, slot, now),
        };
        if proper && !panicked {
            st.faults.answered_properly();
        }
        match early {
            Some(answer) => {
                if result != PIPELINE_STORE_PENDING && !panicked {
                    st.note_fault(slot, What::Answered(result), now);
                }
                self.settle(st, slot, answer, now, Some(id));
            }
            None if result == PIPELINE_STORE_PENDING && phase == Phase::Store => {
                st.batches.answer_later(slot)
            }
            None => self.settle(st, slot, Answer::new(result), now, Some(id)),
        }
    }

    /// The writer that carried the batch died in its call. That counts as a retry, so that a storage that ends its callers' threads uses up
    /// the batch's attempts. But if the storage had answered by token before, that answer counts.
    pub(super) fn call_never_returned(&self, st: &mut State, slot: usize, now: u64) {
        let Some(batch) = st.batches.get_mut(slot) else { return };
        let phase = batch.phase;
        if matches!(phase, Phase::Transform | Phase::Release) {
            // The next writer goes on behind the event in which the thread ended.
            if phase == Phase::Transform {
                batch.transform_ended();
            }
            st.batches.end_attempt(slot);
            return st.batches.make_ready(slot, phase);
        }
        let early = batch.attempt().and_then(|attempt| attempt.answer);
        self.settle(st, slot, early.unwrap_or(Answer::new(PIPELINE_STORE_RETRY)), now, None);
    }
}

impl State {
    fn note_fault(&mut self, slot: usize, what: What, now: u64) {
        if let Some(batch) = self.batches.get(slot) {
            self.faults.note(Fault::with(batch, what, now));
        }
    }
}
