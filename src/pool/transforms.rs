//! Transforms: the program's function that is shown each event of a batch before the storage is.
//!
//! A batch gets the transform that is set when it is claimed, and keeps it. It comes to the transform once, before its first attempt, in a
//! phase of its own ([`Phase::Transform`]), as a task of a writer. So it is supervised like a call of the storage.

use super::Pool;
use super::state::State;
use super::state::faults::{Fault, What};
use crate::batch::transforming::Transforming;
use crate::batch::{Batch, Phase};
use crate::ledger::Outcome;
use crate::platform::memory;
use crate::status::Result;
use crate::transform::Transform;
use std::sync::Arc;

impl Pool {
    /// Sets the transform of the batches that are claimed from now on, or none.
    pub fn set_transform(&self, transform: Option<Arc<Transform>>) -> Result<()> {
        let mut st = self.lock();
        if let Err(error) = self.check_open(&st) {
            drop(st);
            return Err(error);
        }
        // (The former one is destroyed without the lock.)
        let former = st.transforms.replace(transform);
        st.faults.transform.in_a_row = 0;
        drop(st);
        drop(former);
        Ok(())
    }

    /// A batch is about to be claimed. If there is a transform, the batch is claimed with views. Returns the most bytes of records if it is
    /// claimed as its records lie.
    #[inline]
    pub(super) fn begin_views(&self, st: &State, batch: &mut Batch) -> Option<u64> {
        batch.viewed = st.transforms.current().is_some();
        if batch.viewed {
            return None;
        }
        batch.free_transforming();
        self.can.span_bytes
    }

    /// A batch was claimed, with views. It gets the transform that is set, unless it holds the library's own events.
    #[cold]
    pub(super) fn give_transform(st: &State, batch: &mut Batch) {
        if let Some(transform) = st.transforms.current().filter(|_| !batch.meta) {
            batch.begin_transform(Arc::clone(transform));
        }
    }

    /// Gets the memory that the transform needs for a batch. `false`: there is none.
    pub(super) fn can_be_transformed(&self, scratch: u64, batch: &mut Batch) -> bool {
        let most = self.intake().max_event_bytes;
        !memory::is_scarce() && batch.prepare_transform(scratch, most, self.can.release_unstored).is_ok()
    }

    /// Shows the events of a batch to its transform.
    pub(super) fn transform(&self, work: *mut Transforming) {
        // SAFETY: of the batch that this writer carries (`Phase::Transform`, `Place::InCall`), which lives until the task is done: no other
        // thread uses it meanwhile.
        if let Some(work) = unsafe { work.as_mut() } {
            work.run(|| self.intake().forked());
        }
    }

    /// The pool is torn down: nobody needs a transform any more.
    pub(super) fn drop_transforms(&self) {
        let mut st = self.lock();
        for slot in 0..st.batches.slots() {
            if let Some(batch) = st.batches.get_mut(slot) {
                batch.free_transforming();
            }
        }
        let (current, former) = st.transforms.take_all();
        drop(st);
        for transform in current.into_iter().chain(former) {
            // One whose destructor has forked is the last one that is dropped in the child.
            if self.intake().forked() { std::mem::forget(transform) } else { drop(transform) }
        }
    }

    /// The call of the transform has returned for a part of the batch.
    #[cold]
    pub(super) fn transform_returned(&self, st: &mut State, writer: u32, slot: usize, at_ns: u64) {
        if st.batches.end_attempt(slot).is_none() {
            return;
        }
        let Some(mut batch) = st.batches.take(slot) else { return };
        let part = batch.end_transform();
        st.transforms.rewritten += u64::from(part.rewritten);
        match part.wrong {
            (_, None) => st.faults.transform.in_a_row = 0,
            (0, _) => {}
            (times, Some(wrong)) => {
                let what = What::Transform(wrong);
                let fault = Fault { writer, batch: batch.id, attempt: 0, what, at_ns };
                st.faults.note_transform(fault, times);
            }
        }
        st.batches.settle(&batch, part.filtered.into(), Outcome::Filtered);
        let empty = batch.count() == 0;
        st.batches.put(slot, batch);
        if empty {
            // Nothing for the storage.
            self.after_store(st, slot);
        } else {
            st.batches.make_ready(slot, Phase::Store);
        }
    }
}
