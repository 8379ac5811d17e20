//! A batch for a batch: a storage that answers a pending batch by `pipeline_batch_exchange` gets the next batch in the same call, without
//! a writer's help.
//!
//! The next batch is claimed first, and then the old one is settled. While it is unsettled, its token keeps the pipeline from being torn
//! down, and no writer that sleeps because no more batches may be in flight is woken in vain. Whether the settled batch will make room for
//! the next one is therefore decided before the claim.

use super::Pool;
use super::answers::answerable;
use super::claims::Claimed;
use super::state::{State, turns::Which};
use crate::batch::{Answer, BatchView, Phase, Place, token};
use crate::platform::time;
use crate::status::Result;
use crate::storage::PIPELINE_STORE_OK;
use std::ptr::NonNull;
use std::sync::Arc;

impl Pool {
    /// Returns the attempt of the batch in `slot`, and hands out the next batch, if there is one and it may be claimed.
    pub(super) fn exchange(
        self: &Arc<Self>,
        slot: usize,
        token: u64,
        result: i32,
    ) -> Result<Option<NonNull<BatchView>>> {
        let mut st = self.state.try_lock().ok_or_else(token::busy)?;
        let answer = Answer::new(result);
        let batch = answerable(&mut st, slot, token)?;
        let writer = batch.writer();
        // The answer settles the batch at once, and so makes room for another, unless events were rejected or given up before, or must be
        // shown to `release`.
        let settled = result == PIPELINE_STORE_OK
            && !batch.transformed
            && batch.dead.is_empty()
            && batch.rejected.is_empty()
            && (!self.must_release(batch) || (self.can.release_unstored && batch.is_whole()));
        // (While `store` has not returned, it still reads the batch.)
        let freed = match &batch.place {
            Place::Pending(attempt) => Some(settled && !attempt.in_doubt),
            _ => None,
        };
        // (One with recovered events takes no place that another may have.)
        let freed = freed.map(|freed| (freed && batch.recovered().is_none()).then_some(batch.priority));
        let next = freed.and_then(|freed| self.may_exchange(&mut st, freed));
        let Some(next) = next.filter(|_| st.writers.data_of(writer).is_some()) else {
            self.answered_by_token(st, slot, token, answer)?;
            return Ok(None);
        };
        let unwatched = !self.may_claim(&st).ordinary;
        // From here on no other thread can answer this attempt, or reject an event of the batch.
        if let Some(attempt) = answerable(&mut st, slot, token)?.attempt_mut() {
            attempt.answer = Some(answer);
        }
        let (mut st, claimed) = self.claim_batch(st, next);
        self.settle(&mut st, slot, answer, time::now_ns(), None);
        self.notify(&st);
        let next = match claimed {
            Claimed::Batch { slot, .. } => self.hand_out(&mut st, slot, writer).or_else(|| {
                // The next writer takes it up, or the teardown.
                st.batches.put_off(slot);
                None
            }),
            Claimed::Nothing | Claimed::NoMemory => None,
        };
        let may = self.may_claim(&st);
        let wake = (unwatched && may.ordinary)
            || st.batches.has_queued()
            || self.any_claimable(may)
            || self.may_claim_recovered(&st);
        self.unlock_answered(st, wake);
        Ok(next)
    }

    /// Whether a batch can be claimed in exchange for one that is about to be settled, and which: of events with priority, or of others. `freed`: which batch is
    /// not in flight any more then; `None`: none.
    fn may_exchange(&self, st: &mut State, freed: Option<bool>) -> Option<bool> {
        let now = time::now_ns();
        // In per-producer order a ring has one batch in flight at a time, which may be the one that is being answered.
        let waits = self.ordered
            || !st.batches.ready.is_empty()
            || st.transforms.current().is_some()
            || st.recovery.has_offered() && st.turns.recovered_may_go()
            || st.next_due(now, Which::All).is_some_and(|due| due <= now);
        if waits {
            return None;
        }
        let may = self.may_claim_without(st, freed);
        self.to_claim_of(st, now, Which::All, may)
    }

    /// Begins an attempt as if a writer had called `store` with the batch, and `store` had returned `PIPELINE_STORE_PENDING`. `None`: the
    /// pipeline was stopped meanwhile, the circuit breaker allows no attempt, the writer ends, or the batch is to be transformed.
    fn hand_out(self: &Arc<Self>, st: &mut State, slot: usize, writer: u32) -> Option<NonNull<BatchView>> {
        let now = time::now_ns();
        // (A transform is called on a writer alone.)
        let transforms = st.batches.get(slot).is_some_and(|batch| batch.phase == Phase::Transform);
        if transforms || st.life.has_stopped() || !st.retries.breaker.allows(now) {
            return None;
        }
        let data = st.writers.data_of(writer)?;
        // (The caller gets views. If there is no memory for them, a writer tries again.)
        self.make_views(st.batches.get_mut(slot)?).ok()?;
        let (attempt, view) = self.begin_attempt(st, writer, data, slot, now)?;
        if let Some(w) = st.writers.get(writer) {
            w.attempts += 1;
        }
        st.batches.begin_pending(slot, attempt);
        NonNull::new(view.cast_mut())
    }
}

#[cfg(test)]
mod tests;
