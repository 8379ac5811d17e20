//! What an answer means for the events of a batch. Every answer comes to [`Pool::settle`]. `results` brings the answer of a writer's call,
//! and a retry in place of the answer of a writer that died. `answers` brings answers by token, `exchange` those that ask for the next
//! batch.

use super::Pool;
use super::state::State;
use super::state::faults::{Fault, What};
use super::state::retries::spent;
use crate::batch::{Answer, Attempt, Batch, Form, Phase};
use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME};
use crate::latency::Latency;
use crate::ledger::Outcome;
use crate::ring::slot::Slot;
use crate::storage::{
    PIPELINE_REASON_REJECTED, PIPELINE_STORE_OK, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY,
};

/// Notes that every event of the batch is stored. Returns how many, and their payload bytes. Within a span no event is older than the one
/// before, so a few of them tell the latencies of all.
fn note_stored_whole(latency: &mut Latency, batch: &Batch, now: u64) -> (u64, u64) {
    if batch.own_times {
        return note_stored(latency, batch, batch.events.len(), |_| false, now, |_| {});
    }
    let mut rest = batch.events.as_slice();
    for (_, span) in &batch.spans {
        let (events, others) = rest.split_at(span.events as usize);
        rest = others;
        if !batch.meta {
            latency.note_falling(events.len(), |i| now.saturating_sub(events[i].timestamp_ns));
        }
    }
    (batch.events.len() as u64, batch.spans.iter().map(|(_, span)| span.bytes).sum())
}

/// Notes that the events before the index `stored_to` are stored, except the rejected ones, with which it calls `refuse`. Returns how many
/// are stored, and their payload bytes.
fn note_stored(
    latency: &mut Latency,
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
            // (How long the events of another run have waited says nothing of this one, and their clock may be that of another boot.)
            if !batch.meta && batch.recovered().is_none() && event.flags & PIPELINE_EVENT_OWN_TIME == 0 {
                latency.note(now.saturating_sub(event.timestamp_ns));
            }
        }
    }
    (stored, bytes)
}

impl Pool {
    /// Every answer to an attempt comes here. `writer`: whose call has returned it; `None` for an answer by token, and for a writer that
    /// died.
    #[inline]
    pub(super) fn settle(&self, st: &mut State, slot: usize, answer: Answer, now: u64, writer: Option<u32>) {
        let Some(attempt) = st.batches.end_attempt(slot) else { return };
        match st.batches.get(slot).map(|batch| batch.phase) {
            Some(Phase::Store) => self.settle_store(st, slot, attempt, answer, now, writer),
            Some(Phase::DeadLetter { .. }) => self.settle_dead_letter(st, slot, attempt, answer.result, now),
            Some(Phase::Release) => self.close_batch(st, slot),
            Some(Phase::Transform) | None => {}
        }
    }

    fn settle_store(
        &self,
        st: &mut State,
        slot: usize,
        attempt: Attempt,
        answer: Answer,
        now: u64,
        writer: Option<u32>,
    ) {
        let Some(mut batch) = st.batches.take(slot) else { return };
        st.writers.note_answer(now.saturating_sub(attempt.since_ns));
        let (result, count) = (answer.result, batch.count());
        let prefix = answer.stored_prefix.max(attempt.stored_prefix).min(count);
        if !matches!(result, PIPELINE_STORE_OK | PIPELINE_STORE_RETRY | PIPELINE_STORE_REJECT) {
            st.faults.note(Fault::with(&batch, What::Answered(result), now));
        }
        let stored_to = if result == PIPELINE_STORE_OK { count } else { prefix };

        let mut rejected = std::mem::take(&mut batch.rejected);
        let is_rejected = |i: usize| rejected.get(i).is_some_and(|&r| r);
        // (Views were made when the storage named a prefix, or rejected an event.)
        let (stored, bytes) = if stored_to == count && rejected.is_empty() && batch.is_whole() {
            if self.can.release_unstored && result == PIPELINE_STORE_OK {
                batch.keep();
            }
            match batch.form {
                Form::Views if batch.transformed || batch.recovered().is_some() => {
                    note_stored(&mut st.latency, &batch, count, |_| false, now, |_| {})
                }
                Form::Views => note_stored_whole(&mut st.latency, &batch, now),
                Form::Spans | Form::Bare => self.note_spans_stored(&mut st.latency, &batch, now),
            }
        } else {
            let mut dead = std::mem::take(&mut batch.dead);
            let refuse = |event: &EventView| dead.push((PIPELINE_REASON_REJECTED, *event));
            let noted = note_stored(&mut st.latency, &batch, stored_to, is_rejected, now, refuse);
            batch.dead = dead;
            noted
        };
        if stored_to == count {
            batch.clear_events();
        } else {
            let mut index = 0;
            batch.events.retain(|_| {
                index += 1;
                index > stored_to && !is_rejected(index - 1)
            });
        }
        // A storage that stores or rejects an event works, so this is no failure for the circuit breaker.
        let failed = !matches!(result, PIPELINE_STORE_OK | PIPELINE_STORE_REJECT)
            && stored == 0
            && !rejected.iter().any(|&r| r);
        rejected.clear();
        batch.rejected = rejected;
        if failed {
            st.storage_failed(&batch, now);
        } else {
            st.storage_works(now);
        }
        if batch.count() > 0 {
            let reason = if result == PIPELINE_STORE_REJECT {
                Some(PIPELINE_REASON_REJECTED)
            } else {
                spent(&st.config, &batch, now)
            };
            // (If there is no memory for the list, the batch is tried once more instead.)
            let _given_up = reason.is_some_and(|reason| batch.give_up(reason));
        }
        let retry = batch.count() > 0;
        if let Some(w) = writer.and_then(|id| st.writers.get(id)) {
            if !retry && batch.dead.is_empty() {
                (w.events, w.bytes) = (w.events + stored, w.bytes + bytes);
            }
            w.retries += u64::from(retry);
        }
        st.batches.settle(&batch, stored, Outcome::Stored { bytes });
        let attempts = batch.attempts;
        st.batches.put(slot, batch);
        if retry {
            st.back_off(slot, attempts, attempt.since_ns, now);
        } else {
            self.after_store(st, slot);
        }
    }

    #[cold]
    fn settle_dead_letter(&self, st: &mut State, slot: usize, attempt: Attempt, result: i32, now: u64) {
        let Some(mut batch) = st.batches.take(slot) else { return };
        let outcome = match result {
            PIPELINE_STORE_OK => {
                st.retries.failing_since = None;
                Outcome::DeadLettered
            }
            PIPELINE_STORE_REJECT => Outcome::Discarded,
            other => {
                st.retries.note_failure(now);
                if other != PIPELINE_STORE_RETRY {
                    st.faults.note(Fault::with(&batch, What::Answered(other), now));
                }
                if spent(&st.config, &batch, now).is_none() {
                    let attempts = batch.attempts;
                    st.batches.put(slot, batch);
                    return st.back_off(slot, attempts, attempt.since_ns, now);
                }
                Outcome::Discarded
            }
        };
        st.batches.settle(&batch, batch.events.len() as u64, outcome);
        batch.events.clear();
        st.batches.put(slot, batch);
        self.after_store(st, slot);
    }

    /// No event of the batch is to be stored any more. Events that were rejected or given up go to the dead letter, one reason after the
    /// other. What its transform has not seen yet goes there. Then the batch goes to `release` if the storage has one, and is closed.
    pub(super) fn after_store(&self, st: &mut State, slot: usize) {
        let Some(mut batch) = st.batches.take(slot) else { return };
        batch.attempts = 0;
        let next = loop {
            let Some(&(reason, _)) = batch.dead.first() else { break None };
            let run = batch.dead.iter().take_while(|(r, _)| *r == reason).count();
            if !batch.meta && self.can.dead_letter {
                batch.events.clear();
                // This allocates nothing, because the list had room for all events of the batch.
                let Batch { events, dead, .. } = &mut *batch;
                events.extend(dead.drain(..run).map(|(_, event)| event));
                break Some(Phase::DeadLetter { reason });
            }
            batch.dead.drain(..run);
            st.batches.settle(&batch, run as u64, Outcome::Discarded);
        };
        let release = self.must_release(&batch);
        let another_part = next.is_none() && batch.next_part();
        st.batches.put(slot, batch);
        match next {
            Some(phase) => st.batches.make_ready(slot, phase),
            None if another_part => st.batches.make_ready(slot, Phase::Transform),
            None if release => st.batches.make_ready(slot, Phase::Release),
            None => self.close_batch(st, slot),
        }
    }

    /// Whether the events of a batch that has left are to be shown to `release`.
    #[inline]
    pub(super) fn must_release(&self, batch: &Batch) -> bool {
        // (What the events of another process were handles of is gone with it.)
        self.can.release
            && !batch.meta
            && batch.recovered().is_none()
            && !batch.is_kept()
            && (batch.marked || !self.can.release_marked)
    }

    /// Gives up the batches that have become too old while the circuit was not closed.
    pub(super) fn give_up_too_old(&self, st: &mut State, now: u64) {
        let mut at = 0;
        while let Some(slot) = st.give_up_too_old(&mut at, now) {
            self.after_store(st, slot);
            self.notify(st);
        }
    }

    /// Every event of the batch has left: its space is released, its slot is free.
    fn close_batch(&self, st: &mut State, slot: usize) {
        let Some(batch) = st.batches.take(slot) else { return };
        for (ring, span) in &batch.spans {
            if self.rings.slot(*ring).and_then(Slot::buffer).is_some_and(|log| log.settle(span.start)) {
                self.space_released(st, *ring);
            }
        }
        if st.deferred_space.count_batch() {
            self.tell_of_deferred_space(st);
        }
        if let Some(part) = st.batches.close(slot, batch) {
            st.recovery.left(part);
            self.call_recovery();
        }
    }
}

impl State {
    /// The batch waits for its next attempt.
    fn back_off(&mut self, slot: usize, attempts: u32, since_ns: u64, now: u64) {
        let due_ns = self.retries.due(&self.config, attempts, now);
        self.batches.back_off(slot, since_ns, due_ns);
    }
}
