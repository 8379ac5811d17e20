//! The batches of a pool, and their counts.
//!
//! A batch stands in a slot from its claim until its last event has left the pipeline. Then the slot is free, and the batch with the
//! memory of its lists waits there for the next claim. What changes together changes here: the place of a batch, the queues of slots, the
//! counts of batches, and the terms of the ledger.

use crate::batch::recovered::Part;
use crate::batch::{Attempt, Batch, Phase, Place};
use crate::ledger::{ClaimedEvents, Outcome};
use crate::platform::memory;
use std::collections::VecDeque;
use std::ops::Deref;

/// The counts of batches, for all to read; [`Batches`] alone changes them.
#[derive(Debug, Default)]
pub struct Counts {
    /// Batches that are not settled, without those in doubt.
    pub in_flight: u32,
    /// Batches whose attempt has outlived its deadline.
    pub in_doubt: u32,
    /// Slots whose batch is being filled, by a thread that claims events.
    pub claiming: u32,
    /// Those of the batches in flight that hold events with priority.
    pub priority_in_flight: u32,
    /// Those of the batches in flight that hold events of runs that have ended.
    pub recovered_in_flight: u32,
    /// Those of the slots being filled that are for events with priority.
    pub priority_claiming: u32,
    /// Batches whose answer comes by token: `store` has returned `PIPELINE_STORE_PENDING`.
    pub pending: u32,
    /// The id of the last batch that was claimed.
    pub last_id: u64,
    /// Batches settled.
    pub settled: u64,
    /// The events of all batches: the writers' side of the ledger.
    pub events: ClaimedEvents,
    /// Those of them with priority.
    pub priority_events: ClaimedEvents,
}

impl Counts {
    /// Changes the writers' side of the ledger, for events of a batch with priority or of another.
    #[inline]
    fn change_events(&mut self, priority: bool, change: impl Fn(&mut ClaimedEvents)) {
        change(&mut self.events);
        if priority {
            change(&mut self.priority_events);
        }
    }
}

/// The batches of a pool.
#[derive(Debug, Default)]
pub struct Batches {
    counts: Counts,
    /// `None`: being filled, or never used.
    slots: Vec<Option<Box<Batch>>>,
    free: Vec<usize>,
    /// Slots of the batches that a writer takes up at once.
    pub ready: VecDeque<usize>,
    /// Slots of the batches that wait for their next attempt.
    pub back_off: Vec<usize>,
}

impl Deref for Batches {
    type Target = Counts;
    #[inline]
    fn deref(&self) -> &Counts {
        &self.counts
    }
}

/// A batch that has come to be in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubted {
    /// Its slot.
    pub slot: usize,
    /// Its id.
    pub batch: u64,
    /// For how long its attempt has run.
    pub late_ns: u64,
}

impl Batches {
    /// Batches that are not settled, in doubt or not.
    pub fn unsettled(&self) -> u32 {
        self.in_flight + self.in_doubt
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The batch in a slot.
    #[inline]
    pub fn get(&self, slot: usize) -> Option<&Batch> {
        self.slots.get(slot)?.as_deref()
    }

    /// The batch in a slot, to be changed.
    #[inline]
    pub fn get_mut(&mut self, slot: usize) -> Option<&mut Batch> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// The batches in all slots, free ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.slots.iter().flatten().map(Box::as_ref)
    }

    /// Takes a batch out of its slot, to be worked on while other parts of the state change. To be given back by [`put`](Self::put).
    #[inline]
    pub fn take(&mut self, slot: usize) -> Option<Box<Batch>> {
        self.slots.get_mut(slot)?.take()
    }

    /// Gives a batch back that was taken out.
    #[inline]
    pub fn put(&mut self, slot: usize, batch: Box<Batch>) {
        self.slots[slot] = Some(batch);
    }

    // ---- filled from the rings ----

    /// A free slot, with an empty batch that is to be filled, with events that have `priority` or with others. `None`: there is no memory for
    /// another.
    #[inline]
    pub fn begin_claim(
        &mut self,
        pipeline_id: u64,
        generation: u64,
        priority: bool,
    ) -> Option<(usize, Box<Batch>)> {
        let mut taken = match self.free.pop() {
            Some(slot) => {
                let batch = self.slots[slot].take();
                (slot, batch.unwrap_or_else(|| Self::another_batch(pipeline_id, generation)))
            }
            None => self.another_slot(pipeline_id, generation)?,
        };
        taken.1.priority = priority;
        self.counts.claiming += 1;
        self.counts.priority_claiming += u32::from(priority);
        Some(taken)
    }

    /// Makes another slot. Every list of slots gets room for all of them here, so that settling a batch needs no memory.
    #[cold]
    fn another_slot(&mut self, pipeline_id: u64, generation: u64) -> Option<(usize, Box<Batch>)> {
        let all = self.slots.len() + 1;
        if memory::is_scarce()
            || self.slots.try_reserve(1).is_err()
            || self.free.try_reserve(all - self.free.len()).is_err()
            || self.ready.try_reserve(all.saturating_sub(self.ready.len())).is_err()
            || self.back_off.try_reserve(all.saturating_sub(self.back_off.len())).is_err()
        {
            return None;
        }
        self.slots.push(None);
        Some((all - 1, Self::another_batch(pipeline_id, generation)))
    }

    #[cold]
    fn another_batch(pipeline_id: u64, generation: u64) -> Box<Batch> {
        Box::new(Batch::new(pipeline_id, generation))
    }

    /// The batch has stayed empty.
    pub fn cancel_claim(&mut self, slot: usize, batch: Box<Batch>) {
        self.end_filling(&batch);
        self.free_slot(slot, batch);
    }

    /// The batch is filled: it has an id, and its events are in flight.
    #[inline]
    pub fn end_claim(&mut self, slot: usize, mut batch: Box<Batch>) {
        self.end_filling(&batch);
        self.counts.in_flight += 1;
        self.counts.priority_in_flight += u32::from(batch.priority);
        self.counts.last_id += 1;
        batch.id = self.last_id;
        let unsettled = batch.unsettled();
        if batch.recovered().is_some() {
            self.counts.recovered_in_flight += 1;
            self.counts.events.recover(unsettled);
        } else {
            self.counts.change_events(batch.priority, |events| events.claim(unsettled));
        }
        self.put(slot, batch);
    }

    #[inline]
    fn end_filling(&mut self, batch: &Batch) {
        self.counts.claiming -= 1;
        self.counts.priority_claiming -= u32::from(batch.priority);
    }

    #[inline]
    fn free_slot(&mut self, slot: usize, mut batch: Box<Batch>) {
        batch.clear();
        self.put(slot, batch);
        self.free.push(slot);
    }

    // ---- between two attempts ----

    /// Queues a batch to be taken up at once.
    pub fn make_ready(&mut self, slot: usize, phase: Phase) {
        if let Some(batch) = self.get_mut(slot) {
            (batch.phase, batch.place) = (phase, Place::Ready);
            self.ready.push_back(slot);
        }
    }

    /// Queues a batch whose next call has not begun.
    pub fn put_off(&mut self, slot: usize) {
        if let Some(phase) = self.get(slot).map(|batch| batch.phase) {
            self.make_ready(slot, phase);
        }
    }

    /// Lets a batch wait for its next attempt.
    pub fn back_off(&mut self, slot: usize, since_ns: u64, due_ns: u64) {
        if let Some(batch) = self.get_mut(slot) {
            batch.place = Place::BackOff { since_ns, due_ns };
            self.back_off.push(slot);
        }
    }

    /// Whether batches wait for a writer, or for their time.
    #[inline]
    pub fn has_queued(&self) -> bool {
        !self.ready.is_empty() || !self.back_off.is_empty()
    }

    // ---- attempts ----

    /// A writer enters a call of the storage with the batch.
    #[inline]
    pub fn begin_call(&mut self, slot: usize, attempt: Attempt) {
        if let Some(batch) = self.get_mut(slot) {
            batch.place = Place::InCall(attempt);
        }
    }

    /// The batch is with the storage, outside a call; its answer comes by token.
    #[inline]
    pub fn begin_pending(&mut self, slot: usize, attempt: Attempt) {
        if let Some(batch) = self.get_mut(slot) {
            batch.place = Place::Pending(attempt);
            self.counts.pending += 1;
        }
    }

    /// The call has returned, and the answer comes by token.
    #[inline]
    pub fn answer_later(&mut self, slot: usize) {
        if let Some(attempt) = self.get_mut(slot).and_then(|batch| batch.attempt().copied()) {
            self.begin_pending(slot, attempt);
        }
    }

    /// The attempt has ended, answered or not: the batch is in doubt no longer. `None`: there was none.
    #[inline]
    pub fn end_attempt(&mut self, slot: usize) -> Option<Attempt> {
        let batch = self.slots.get_mut(slot)?.as_deref_mut()?;
        let attempt = match std::mem::replace(&mut batch.place, Place::Ready) {
            Place::InCall(attempt) => attempt,
            Place::Pending(attempt) => {
                self.counts.pending -= 1;
                attempt
            }
            before => {
                batch.place = before;
                return None;
            }
        };
        if attempt.in_doubt {
            self.counts.in_doubt -= 1;
            self.counts.in_flight += 1;
            self.counts.priority_in_flight += u32::from(batch.priority);
            self.counts.recovered_in_flight += u32::from(batch.recovered().is_some());
            let unsettled = batch.unsettled();
            self.counts.change_events(batch.priority, |events| events.end_doubt(unsettled));
        }
        Some(attempt)
    }

    /// Batches whose attempt has outlived the deadline are in doubt from here on, at most `most` of them.
    pub fn doubt_late(&mut self, deadline_ns: u64, most: u32, now_ns: u64) -> Vec<Doubted> {
        let mut doubted = Vec::new();
        for (slot, batch) in self.slots.iter_mut().enumerate() {
            let Some(batch) = batch else { continue };
            let (id, unsettled, priority) = (batch.id, batch.unsettled(), batch.priority);
            let recovered = batch.recovered().is_some();
            let Some(attempt) = batch.attempt_mut() else { continue };
            let late_ns = now_ns.saturating_sub(attempt.since_ns);
            if attempt.in_doubt || late_ns < deadline_ns || self.counts.in_doubt >= most {
                continue;
            }
            attempt.in_doubt = true;
            self.counts.in_flight -= 1;
            self.counts.priority_in_flight -= u32::from(priority);
            self.counts.recovered_in_flight -= u32::from(recovered);
            self.counts.in_doubt += 1;
            self.counts.change_events(priority, |events| events.doubt(unsettled));
            doubted.push(Doubted { slot, batch: id, late_ns });
        }
        doubted
    }

    /// The lowest id of a batch that the storage has not been given, or has not answered and may answer before it is flushed.
    pub fn oldest_unanswered(&self) -> Option<u64> {
        self.iter().filter(|b| !matches!(b.place, Place::Idle | Place::Pending(_))).map(|b| b.id).min()
    }

    // ---- settled ----

    /// Events of a batch are settled.
    #[inline]
    pub fn settle(&mut self, batch: &Batch, events: u64, outcome: Outcome) {
        if !batch.meta {
            self.counts.change_events(batch.priority, |terms| terms.settle(events, outcome));
        }
    }

    /// Every event of the batch has left, and its space is released: its slot is free. Returns the part that it was made of, if its events
    /// are those of a run that has ended.
    #[inline]
    pub fn close(&mut self, slot: usize, mut batch: Box<Batch>) -> Option<Box<Part>> {
        self.counts.in_flight -= 1;
        self.counts.priority_in_flight -= u32::from(batch.priority);
        self.counts.settled += u64::from(!batch.meta);
        let part = batch.take_recovered();
        self.counts.recovered_in_flight -= u32::from(part.is_some());
        self.free_slot(slot, batch);
        part
    }

    /// The batches with events of runs that have ended.
    pub fn recovered(&self) -> impl Iterator<Item = (&Batch, &Part)> {
        self.iter().filter_map(|batch| batch.recovered().map(|part| (batch, part)))
    }
}

#[cfg(test)]
mod tests;
