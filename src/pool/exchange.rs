//! A batch for a batch: whoever answers one that was pending gets the next in the same call, without a writer's help.
//!
//! The answer comes after the claim, so that the token answered for keeps the pipeline from being torn down meanwhile, and a writer
//! that sleeps because no more batches may be out is not woken in between. What the answer is, is settled before: the place that it frees
//! is what the claim may take.

use super::Pool;
use super::settle::open_attempt;
use super::sleep::Work;
use super::state::{Life, State};
use crate::batch::{BatchView, Phase, Place, token};
use crate::platform::time;
use crate::status::Result;
use crate::storage::{PIPELINE_STORE_OK, WriterData};
use std::ptr::NonNull;
use std::sync::Arc;

impl Pool {
    /// Answers the open attempt of the batch in `slot`, and hands out the next batch, if there is one and nothing stands against it.
    pub(super) fn exchange(
        self: &Arc<Self>,
        slot: usize,
        token: u64,
        result: i32,
    ) -> Result<Option<NonNull<BatchView>>> {
        let mut st = self.state.try_lock().ok_or_else(token::busy)?;
        let batch = open_attempt(&mut st, slot, token)?;
        let writer = batch.writer();
        // `store` may not have returned yet: then it still reads the batch.
        let waits = batch.place == Place::Pending;
        // What is neither tried again nor rejected in part nor to be released is gone for good with this answer, and makes room.
        let gone = result == PIPELINE_STORE_OK
            && batch.dead.is_empty()
            && batch.rejected.is_empty()
            && !(self.can.release && (batch.marked || !self.can.release_marked));
        let freed = u32::from(gone && !batch.in_doubt);
        if !waits || !self.may_exchange(&mut st, freed) || Self::data_of(&mut st, writer).is_none() {
            self.answered(st, slot, token, 0, result)?;
            return Ok(None);
        }
        let unwatched = !self.may_claim(&st);
        // From here on the token is answered for: nobody else makes the batch stay, by another answer or an event that is rejected.
        open_attempt(&mut st, slot, token)?.early = Some((0, result));
        let (mut st, claimed) = self.claim_batch(st);
        if let Some((prefix, result)) = st.batch(slot).and_then(|batch| batch.early.take()) {
            self.apply_answer(&mut st, slot, prefix, result);
        }
        let next = claimed.and_then(|(next, _)| {
            let given = self.hand_out(&mut st, next, writer);
            if given.is_none() {
                // Stopped meanwhile, or whatever else: it waits for a writer, or for the teardown.
                st.make_ready(next, Phase::Store);
            }
            given
        });
        let claimable = self.may_claim(&st) && self.rings.any_claimable(self.ordered);
        let wake = (unwatched && self.may_claim(&st)) || st.has_due() || claimable;
        self.leave_books(st, wake);
        Ok(next)
    }

    /// Whether a batch may be claimed by whoever answers one of those that are out (which makes it `freed` fewer), and there is one.
    fn may_exchange(&self, st: &mut State, freed: u32) -> bool {
        // In order of the producers a ring has one batch out, which may be this one.
        let now = time::now_ns();
        if self.ordered || !st.ready.is_empty() || st.next_due(now).is_some_and(|due| due <= now) {
            return false;
        }
        st.open -= freed;
        let may = self.may_claim(st);
        st.open += freed;
        may && self.work(st, now) == Work::Ripe
    }

    /// What a writer was given when it opened itself, if it is there to stay.
    fn data_of(st: &mut State, id: u32) -> Option<WriterData> {
        st.writer(id).filter(|w| w.opened && !w.leaving && !w.stuck).map(|w| w.data)
    }

    /// Opens an attempt as if a writer had called `store` with the batch and got `PIPELINE_STORE_PENDING` for an answer.
    fn hand_out(self: &Arc<Self>, st: &mut State, slot: usize, writer: u32) -> Option<NonNull<BatchView>> {
        let now = time::now_ns();
        if st.life == Life::Stopped || !st.breaker.allows(now) {
            return None;
        }
        let data = Self::data_of(st, writer)?;
        let view = self.open_attempt(st, writer, data, slot, now)?;
        if let Some(w) = st.writer(writer) {
            w.attempts += 1;
        }
        if let Some(batch) = st.batch(slot) {
            (batch.place, batch.since_ns) = (Place::Pending, now);
        }
        self.await_answer(st);
        NonNull::new(view.cast_mut())
    }
}

#[cfg(test)]
mod tests;
