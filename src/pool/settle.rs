//! What an answer means for the events of a batch. The only place where the writers' side of the ledger changes, but for
//! the claim that opens it.

use super::Pool;
use super::faults::{Fault, What};
use super::state::State;
use crate::batch::token::{self, Answered, unknown};
use crate::batch::{Batch, BatchView, Phase, Place};
use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME};
use crate::platform::sync::MutexGuard;
use crate::platform::{random, time};
use crate::status::{Error, PIPELINE_ERR_INVALID, Result};
use crate::storage::{
    PIPELINE_REASON_REJECTED, PIPELINE_REASON_RETRY_AGE, PIPELINE_REASON_RETRY_LIMIT, PIPELINE_STORE_OK,
    PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY,
};
use std::ptr::NonNull;
use std::sync::Arc;

/// Why a batch that was answered with a retry gets none; `None`: it gets one.
fn spent(st: &State, batch: &Batch, now: u64) -> Option<i32> {
    if batch.attempt >= st.config.retry_limit {
        return Some(PIPELINE_REASON_RETRY_LIMIT);
    }
    let age = now.saturating_sub(batch.first_attempt_ns);
    (age >= st.config.retry_max_age_ms.saturating_mul(1_000_000)).then_some(PIPELINE_REASON_RETRY_AGE)
}

/// Every event of the batch is stored. Answers how many, and their payload bytes; without a look at each, as a rule: in a span none is
/// older than the one before.
fn note_stored_whole(st: &mut State, batch: &Batch, now: u64) -> (u64, u64) {
    if batch.own_times {
        return note_stored(st, batch, batch.events.len(), |_| false, now, |_| {});
    }
    let mut rest = batch.events.as_slice();
    for (_, span) in &batch.spans {
        let (events, others) = rest.split_at(span.events as usize);
        rest = others;
        if !batch.meta {
            st.latency.note_falling(events.len(), |i| now.saturating_sub(events[i].timestamp_ns));
        }
    }
    (batch.events.len() as u64, batch.spans.iter().map(|(_, span)| span.bytes).sum())
}

/// The events of the batch before `stored_to` are stored, but for those that are rejected, which `refuse` is shown. Answers how
/// many, and their payload bytes.
fn note_stored(
    st: &mut State,
    batch: &Batch,
    stored_to: usize,
    is_rejected: impl Fn(usize) -> bool,
    now: u64,
    mut refuse: impl FnMut(&EventView),
) -> (u64, u64) {
    let (mut stored, mut bytes) = (0, 0);
    for (i, event) in batch.events.iter().enumerate() {
        if is_rejected(i) {
            refuse(event);
        } else if i < stored_to {
            stored += 1;
            bytes += event.len as u64;
            if !batch.meta && event.flags & PIPELINE_EVENT_OWN_TIME == 0 {
                st.latency.note(now.saturating_sub(event.timestamp_ns));
            }
        }
    }
    (stored, bytes)
}

impl Pool {
    /// The storage has answered the open attempt of a batch.
    pub(super) fn apply(
        &self,
        st: &mut State,
        slot: usize,
        result: i32,
        prefix: usize,
        now: u64,
        writer: Option<u32>,
    ) {
        let Some(mut batch) = st.batches[slot].take() else { return };
        batch.token = 0;
        st.answer_average_ns = (st.answer_average_ns * 7 + now.saturating_sub(batch.since_ns)) / 8;
        let before = batch.unsettled();
        let prefix = prefix.max(batch.prefix).min(batch.events.len());
        if !matches!(result, PIPELINE_STORE_OK | PIPELINE_STORE_RETRY | PIPELINE_STORE_REJECT) {
            st.faults.note(Fault::with(&batch, What::Answered(result), now));
        }
        let stored_to = if result == PIPELINE_STORE_OK { batch.events.len() } else { prefix };

        let mut rejected = std::mem::take(&mut batch.rejected);
        let is_rejected = |i: usize| rejected.get(i).is_some_and(|&r| r);
        let (stored, bytes) = if stored_to == batch.events.len() && rejected.is_empty() && batch.is_whole() {
            note_stored_whole(st, &batch, now)
        } else {
            let mut dead = std::mem::take(&mut batch.dead);
            let refuse = |event: &EventView| dead.push((PIPELINE_REASON_REJECTED, *event));
            let noted = note_stored(st, &batch, stored_to, is_rejected, now, refuse);
            batch.dead = dead;
            noted
        };
        if stored_to == batch.events.len() {
            batch.events.clear();
        } else {
            let mut index = 0;
            batch.events.retain(|_| {
                index += 1;
                index > stored_to && !is_rejected(index - 1)
            });
        }
        // Whatever is decided of an event shows that the storage lives.
        let failed = !matches!(result, PIPELINE_STORE_OK | PIPELINE_STORE_REJECT)
            && stored == 0
            && !rejected.iter().any(|&r| r);
        rejected.clear();
        batch.rejected = rejected;
        batch.prefix = 0;
        if failed {
            self.storage_failed(st, &batch, now);
        } else {
            self.storage_works(st, now);
        }

        if !batch.events.is_empty() {
            let give_up = if result == PIPELINE_STORE_REJECT {
                Some(PIPELINE_REASON_REJECTED)
            } else {
                spent(st, &batch, now)
            };
            if let Some(reason) = give_up {
                batch.bury(reason);
            }
        }
        if let Some(w) = writer.and_then(|id| st.writer(id)) {
            if batch.events.is_empty() && batch.dead.is_empty() {
                (w.events, w.bytes) = (w.events + stored, w.bytes + bytes);
            }
            w.retries += u64::from(!batch.events.is_empty());
        }
        if !batch.meta {
            st.settled.stored += stored;
            st.settled.bytes_stored += bytes;
        }
        self.take_off_account(st, &mut batch, before);
        let retry = !batch.events.is_empty();
        st.batches[slot] = Some(batch);
        if retry {
            self.back_off(st, slot, now);
        } else {
            self.after_store(st, slot);
        }
    }

    /// `before` events were unsettled, now it is fewer; and the batch is no longer in doubt.
    fn take_off_account(&self, st: &mut State, batch: &mut Batch, before: u64) {
        let after = batch.unsettled();
        if batch.in_doubt {
            batch.in_doubt = false;
            st.doubtful -= 1;
            st.open += 1;
            st.settled.in_doubt -= before;
            st.settled.in_flight += after;
        } else {
            st.settled.in_flight -= before - after;
        }
    }

    /// Every event is stored or on its way to the dead letter.
    pub(super) fn after_store(&self, st: &mut State, slot: usize) {
        loop {
            let Some(batch) = st.batches[slot].as_deref_mut() else { return };
            batch.attempt = 0;
            let Some(&(reason, _)) = batch.dead.first() else { break };
            let run = batch.dead.iter().take_while(|(r, _)| *r == reason).count();
            if batch.meta || !self.can.dead_letter {
                batch.dead.drain(..run);
                if !batch.meta {
                    st.settled.discarded += run as u64;
                    st.settled.in_flight -= run as u64;
                }
                continue;
            }
            batch.reason = reason;
            batch.events.clear();
            let dead: Vec<_> = batch.dead.drain(..run).map(|(_, e)| e).collect();
            batch.events.extend(dead);
            st.make_ready(slot, Phase::DeadLetter);
            return;
        }
        let wanted =
            st.batches[slot].as_ref().is_some_and(|b| !b.meta && (b.marked || !self.can.release_marked));
        if self.can.release && wanted {
            st.make_ready(slot, Phase::Release);
        } else {
            self.close_batch(st, slot);
        }
    }

    /// The dead letter has answered.
    pub(super) fn apply_dead_letter(&self, st: &mut State, slot: usize, answer: i32, now: u64) {
        let Some(mut batch) = st.batches[slot].take() else { return };
        let before = batch.unsettled();
        let count = batch.events.len() as u64;
        match answer {
            0 => st.settled.dead_lettered += count,
            PIPELINE_STORE_REJECT => st.settled.discarded += count,
            other => {
                if other != PIPELINE_STORE_RETRY {
                    st.faults.note(Fault::with(&batch, What::Answered(other), now));
                }
                if spent(st, &batch, now).is_none() {
                    self.take_off_account(st, &mut batch, before);
                    st.batches[slot] = Some(batch);
                    self.back_off(st, slot, now);
                    return;
                }
                st.settled.discarded += count;
            }
        }
        batch.events.clear();
        self.take_off_account(st, &mut batch, before);
        st.batches[slot] = Some(batch);
        self.after_store(st, slot);
    }

    /// The batch waits for its next attempt: doubled each time, up to a limit, shortened by up to half at random.
    fn back_off(&self, st: &mut State, slot: usize, now: u64) {
        st.jitter = random::mix(st.jitter);
        let jitter = st.jitter;
        let wait = st.batches[slot].as_ref().map_or(0, |b| st.back_off_ns(b.attempt));
        if let Some(batch) = st.batch(slot) {
            batch.due_ns = now + wait - if wait > 1 { jitter % (wait / 2 + 1) } else { 0 };
            batch.place = Place::BackOff;
            st.back_off.push(slot);
        }
    }

    /// The writer that carried it is gone without an answer: that counts as one, a retry (unless the storage had answered before
    /// by its token). So a storage that ends its callers' threads uses up the batch's attempts.
    pub(super) fn redeliver(&self, st: &mut State, slot: usize, now: u64) {
        let Some(batch) = st.batch(slot) else { return };
        let early = batch.early.take();
        match batch.phase {
            Phase::Store => {
                let (prefix, result) = early.unwrap_or((0, PIPELINE_STORE_RETRY));
                self.apply(st, slot, result, prefix, now, None);
            }
            Phase::DeadLetter => self.apply_dead_letter(st, slot, PIPELINE_STORE_RETRY, now),
            // It goes on behind the event in which the thread ended.
            Phase::Release => st.make_ready(slot, Phase::Release),
        }
    }

    /// Every event of the batch has left: its space is released, its slot is free.
    pub(super) fn close_batch(&self, st: &mut State, slot: usize) {
        let Some(batch) = st.batches[slot].take() else { return };
        for (ring, span) in &batch.spans {
            if self.rings.all()[*ring].log().is_some_and(|log| log.settle(span.start)) {
                self.space_came(st, *ring);
            }
        }
        self.count_round(st);
        if !batch.meta {
            st.settled_batches += 1;
        }
        if batch.in_doubt {
            st.doubtful -= 1;
        } else {
            st.open -= 1;
        }
        st.return_slot(slot, batch);
    }
}

impl Answered for Pool {
    fn set_stored(&self, slot: usize, token: u64, prefix: usize) -> Result<()> {
        let mut st = self.lock();
        let batch = open_attempt(&mut st, slot, token)?;
        check_prefix(batch, prefix)?;
        batch.prefix = prefix;
        Ok(())
    }

    fn set_rejected(&self, slot: usize, token: u64, index: usize) -> Result<()> {
        let mut st = self.lock();
        let batch = open_attempt(&mut st, slot, token)?;
        if index >= batch.events.len() {
            return Err(Error::new(
                PIPELINE_ERR_INVALID,
                format!("index: below {} allowed (the batch's events), {index} given", batch.events.len()),
            ));
        }
        let count = batch.events.len();
        batch.rejected.resize(count, false);
        batch.rejected[index] = true;
        Ok(())
    }

    fn complete(self: Arc<Self>, slot: usize, token: u64, prefix: usize, result: i32) -> Result<()> {
        self.answered(self.lock(), slot, token, prefix, result)
    }

    fn try_complete(self: Arc<Self>, slot: usize, token: u64, result: i32) -> Result<()> {
        let st = self.state.try_lock().ok_or_else(token::busy)?;
        self.answered(st, slot, token, 0, result)
    }

    fn exchange(self: Arc<Self>, slot: usize, token: u64, result: i32) -> Result<Option<NonNull<BatchView>>> {
        Self::exchange(&self, slot, token, result)
    }
}

impl Pool {
    /// The answer to an attempt has come, from whichever thread.
    pub(super) fn answered(
        self: &Arc<Self>,
        mut st: MutexGuard<'_, State>,
        slot: usize,
        token: u64,
        prefix: usize,
        result: i32,
    ) -> Result<()> {
        let batch = open_attempt(&mut st, slot, token)?;
        check_prefix(batch, prefix)?;
        if batch.place == Place::InCall {
            // `store` has not returned: it still reads the batch.
            batch.early = Some((prefix, result));
            return Ok(());
        }
        // Who slept because nothing more could be claimed has left the gate open: nobody else would wake it.
        let unwatched = !self.may_claim(&st);
        self.apply_answer(&mut st, slot, prefix, result);
        let wake = unwatched || st.has_due() || self.rings.any_claimable(self.ordered);
        self.leave_books(st, wake);
        Ok(())
    }

    /// An attempt waits for its answer from here on, and the pool with it, whoever lets go of it meanwhile.
    pub(super) fn await_answer(self: &Arc<Self>, st: &mut State) {
        st.pending += 1;
        st.stays.get_or_insert_with(|| Arc::clone(self));
    }

    /// A pending attempt is answered. (Whoever brings the answer has the pool as well, so that it does not go here.)
    pub(super) fn apply_answer(self: &Arc<Self>, st: &mut State, slot: usize, prefix: usize, result: i32) {
        st.pending -= 1;
        if st.pending == 0 {
            st.stays = None;
        }
        self.apply(st, slot, result, prefix, time::now_ns(), None);
        self.notify(st);
    }

    /// Gives the lock back after an answer; `wake`: to a writer that sleeps, if one does.
    pub(super) fn leave_books(&self, mut st: MutexGuard<'_, State>, wake: bool) {
        let wake = wake && st.sleeping > 0;
        let news = std::mem::take(&mut st.news);
        let abandoned = st.abandoned;
        drop(st);
        self.tell(news);
        if wake {
            self.front().call(1);
        }
        if abandoned {
            self.last_one_out();
        }
    }
}

/// A stored prefix is at most the whole batch.
fn check_prefix(batch: &Batch, prefix: usize) -> Result<()> {
    let count = batch.events.len();
    if prefix <= count {
        return Ok(());
    }
    Err(Error::new(
        PIPELINE_ERR_INVALID,
        format!("stored_prefix: 0 to {count} allowed (the batch's events), {prefix} given"),
    ))
}

/// The batch whose open attempt has this token.
pub(super) fn open_attempt(st: &mut State, slot: usize, token: u64) -> Result<&mut Batch> {
    match st.batch(slot) {
        Some(batch) if batch.token == token && token != 0 && batch.early.is_none() => Ok(batch),
        _ => Err(unknown(token)),
    }
}

#[cfg(test)]
mod tests;
