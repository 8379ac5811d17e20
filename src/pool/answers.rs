//! Answers by token, from any thread: see [`token`].

use super::Pool;
use super::state::State;
use crate::batch::recovered::Run;
use crate::batch::token::{self, Answered, unknown};
use crate::batch::{Answer, Batch, BatchView, Place};
use crate::event::EventView;
use crate::facts::Facts;
use crate::platform::sync::MutexGuard;
use crate::platform::{memory, time};
use crate::status::{Error, PIPELINE_ERR_INVALID, Result};
use std::ptr::NonNull;
use std::sync::Arc;

impl Pool {
    /// The answer to an attempt has come by its token, from any thread.
    pub(super) fn answered_by_token(
        self: &Arc<Self>,
        mut st: MutexGuard<'_, State>,
        slot: usize,
        token: u64,
        answer: Answer,
    ) -> Result<()> {
        let batch = answerable(&mut st, slot, token)?;
        self.take_prefix(batch, answer.stored_prefix)?;
        if let Place::InCall(attempt) = &mut batch.place {
            // `store` has not returned: it still reads the batch.
            attempt.answer = Some(answer);
            return Ok(());
        }
        // While no batch may be claimed, writers sleep without watching the rings, and no capture wakes them. This answer must, if it
        // makes room. (While none but priority batches may be claimed, they watch the priority rings alone.)
        let unwatched = !self.may_claim(&st).ordinary;
        let now = time::now_ns();
        self.settle(&mut st, slot, answer, now, None);
        self.notify(&st);
        let wake = unwatched
            || st.batches.has_queued()
            || self.anything_claimable()
            || self.may_claim_recovered(&st);
        self.unlock_answered(st, wake);
        self.keep_pressure(now);
        Ok(())
    }

    /// Checks that a stored prefix is no longer than the batch. If it ends inside the batch, makes a view of each event, which settling
    /// needs then.
    fn take_prefix(&self, batch: &mut Batch, prefix: usize) -> Result<()> {
        let count = batch.count();
        if prefix > count {
            return Err(Error::new(
                PIPELINE_ERR_INVALID,
                format!("stored_prefix: 0 to {count} allowed (the batch's events), {prefix} given"),
            ));
        }
        if prefix == 0 || prefix == count { Ok(()) } else { self.make_views(batch) }
    }

    /// Gives the lock back after an answer. `wake`: there is work, so a sleeping writer is woken, if there is one.
    pub(super) fn unlock_answered(&self, st: MutexGuard<'_, State>, wake: bool) {
        let wake = wake && st.writers.sleeping > 0;
        let abandoned = st.life.is_abandoned();
        self.unlock(st);
        if wake {
            self.intake().wake(1);
        }
        if abandoned {
            // The teardown is not made here: this may be any thread of the program, and the storage's `destroy` may take long.
            self.call_supervisor();
        }
    }
}

impl Answered for Pool {
    fn set_stored(&self, slot: usize, token: u64, prefix: usize) -> Result<()> {
        let mut st = self.lock();
        let batch = answerable(&mut st, slot, token)?;
        self.take_prefix(batch, prefix)?;
        if let Some(attempt) = batch.attempt_mut() {
            attempt.stored_prefix = prefix;
        }
        Ok(())
    }

    fn set_rejected(&self, slot: usize, token: u64, index: usize) -> Result<()> {
        let mut st = self.lock();
        let batch = answerable(&mut st, slot, token)?;
        let count = batch.count();
        if index >= count {
            return Err(Error::new(
                PIPELINE_ERR_INVALID,
                format!("index: below {count} allowed (the batch's events), {index} given"),
            ));
        }
        self.make_views(batch)?;
        if batch.rejected.try_reserve(count.saturating_sub(batch.rejected.len())).is_err()
            || batch.dead.try_reserve(count).is_err()
        {
            return Err(memory::refused(count * size_of::<(i32, EventView)>()));
        }
        batch.rejected.resize(count, false);
        batch.rejected[index] = true;
        Ok(())
    }

    fn complete(self: Arc<Self>, slot: usize, token: u64, prefix: usize, result: i32) -> Result<()> {
        self.answered_by_token(self.lock(), slot, token, Answer { stored_prefix: prefix, result })
    }

    fn facts(&self) -> Option<&Arc<Facts>> {
        Some(&self.facts)
    }

    fn thread_of(&self, ring_id: u64) -> Option<(u32, [u8; 16])> {
        self.rings.thread_of(ring_id)
    }

    fn old_run(&self, generation: u64) -> Option<Arc<Run>> {
        Self::old_run(self, generation)
    }

    fn try_complete(self: Arc<Self>, slot: usize, token: u64, result: i32) -> Result<()> {
        let st = self.state.try_lock().ok_or_else(token::busy)?;
        self.answered_by_token(st, slot, token, Answer::new(result))
    }

    fn exchange(self: Arc<Self>, slot: usize, token: u64, result: i32) -> Result<Option<NonNull<BatchView>>> {
        Self::exchange(&self, slot, token, result)
    }
}

/// The batch whose attempt has this token, if that is not answered yet.
#[inline]
pub(super) fn answerable(st: &mut State, slot: usize, token: u64) -> Result<&mut Batch> {
    match st.batches.get_mut(slot) {
        Some(batch)
            if batch.attempt().is_some_and(|a| a.token == token && token != 0 && a.answer.is_none()) =>
        {
            Ok(batch)
        }
        _ => Err(unknown(token)),
    }
}

#[cfg(test)]
mod tests;
