//! The desk at which writers ask for work and to which they bring back what the storage answered.

use super::Pool;
use super::faults::{Fault, What};
use super::state::{Doing, State};
use crate::batch::Place;
use crate::event::EventView;
use crate::platform::time;
use crate::storage::{
    PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY, Storage,
    WriterData, caught,
};
use crate::writer::{Desk, Task};
use std::sync::Arc;

impl Desk for Arc<Pool> {
    fn storage(&self) -> &dyn Storage {
        match self.storage_ref() {
            Some(storage) => storage,
            None => &Gone,
        }
    }

    fn next(&self, id: u32) -> Task {
        self.next_task(id)
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
            self.await_answer(&mut st);
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
        self.show_batch(slot, show);
    }

    fn released(&self, id: u32, slot: usize) {
        let mut st = self.lock();
        self.back_with(&mut st, id, slot);
        self.close_batch(&mut st, slot);
        self.notify(&st);
    }

    fn each_spilled(&self, index: usize, show: &mut dyn FnMut(&EventView)) {
        self.show_spilled(index, show);
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
