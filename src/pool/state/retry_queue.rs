//! Which batch goes to the storage next, and when: the batches that are ready, those that wait for their next attempt, and what the
//! circuit breaker lets through of both.

use super::State;
use super::batches::Batches;
use super::retries::{back_off_ns, pace, too_old_at};
use super::turns::Which;
use crate::batch::{Batch, Phase, Place};
use crate::storage::PIPELINE_REASON_RETRY_AGE;
use log::Level;

/// When the next attempt is due (0: at once).
fn due_ns(batch: &Batch) -> u64 {
    if let Place::BackOff { due_ns, .. } = batch.place { due_ns } else { 0 }
}

/// When the last attempt began.
fn since_ns(batch: &Batch) -> u64 {
    if let Place::BackOff { since_ns, .. } = batch.place { since_ns } else { 0 }
}

impl State {
    fn is_for_store(&self, slot: usize) -> bool {
        self.batches.get(slot).is_some_and(|b| b.phase == Phase::Store)
    }

    /// When something is due that waits for nothing but the time: an attempt, a probe, a batch that becomes too old. `which`: with which batches a call may
    /// begin.
    pub fn next_due(&self, now: u64, which: Which) -> Option<u64> {
        let Self { batches, config, retries, .. } = self;
        let waiting = batches.back_off.iter().filter_map(|&slot| batches.get(slot));
        let waiting = waiting.filter(|batch| which.includes(batch.priority));
        if retries.breaker.is_closed() {
            return waiting.map(due_ns).min();
        }
        let each =
            waiting.map(|b| if b.phase == Phase::Store { too_old_at(config, b) } else { due_ns(b) }).min();
        // A probe that is due and has no batch waits for a capture, not for the time.
        let can_probe = batches.back_off.iter().chain(&batches.ready).any(|&slot| self.is_for_store(slot));
        let probe = retries.breaker.probe_due().filter(|&due| can_probe || due > now);
        each.into_iter().chain(probe).min()
    }

    /// Takes out the batch that goes next, if one of `which` is due. `None` also if a newly claimed one is to be the probe; `fresh`: there is one
    /// to be claimed. While the circuit is not closed, all batches are looked at.
    pub fn take_due(
        &mut self,
        now: u64,
        which: Which,
        fresh: impl FnOnce(&mut Self) -> bool,
    ) -> Option<usize> {
        let due = |st: &Self, slot: usize| st.batches.get(slot).is_none_or(|b| due_ns(b) <= now);
        if self.retries.breaker.is_closed() {
            let is_one = |st: &Self, slot: usize| {
                which == Which::All || st.batches.get(slot).is_none_or(|b| which.includes(b.priority))
            };
            if let Some(at) = self.batches.ready.iter().position(|&slot| is_one(self, slot)) {
                return self.batches.ready.remove(at);
            }
            let at = self.batches.back_off.iter().position(|&slot| is_one(self, slot) && due(self, slot))?;
            return Some(self.batches.back_off.swap_remove(at));
        }
        // The circuit breaker is for `store` alone.
        if let Some(at) = self.batches.ready.iter().position(|&slot| !self.is_for_store(slot)) {
            return self.batches.ready.remove(at);
        }
        let other = |&slot: &usize| !self.is_for_store(slot) && due(self, slot);
        if let Some(at) = self.batches.back_off.iter().position(other) {
            return Some(self.batches.back_off.swap_remove(at));
        }
        if !self.retries.breaker.allows(now) {
            return None;
        }
        // Every other probe is a batch that was never tried, so that a batch which can never be stored does not keep the circuit open for
        // the others. The other probes take turns: the batch that has waited longest comes first.
        if self.retries.breaker.probes.is_multiple_of(2) {
            if let Some(slot) = self.batches.ready.pop_front() {
                return Some(slot);
            }
            if fresh(self) {
                return None;
            }
        }
        let Batches { back_off, .. } = &self.batches;
        let longest =
            (0..back_off.len()).min_by_key(|&at| self.batches.get(back_off[at]).map_or(0, since_ns));
        match longest {
            Some(at) => Some(self.batches.back_off.swap_remove(at)),
            None => self.batches.ready.pop_front(),
        }
    }

    /// While the circuit is not closed batches wait without an attempt, but not for longer than they may: takes out one that has become too
    /// old and gives it up, from place `at` in the list on.
    pub fn give_up_too_old(&mut self, at: &mut usize, now: u64) -> Option<usize> {
        let Self { batches, config, .. } = self;
        while let Some(&slot) = batches.back_off.get(*at) {
            let old = |b: &&mut Batch| b.phase == Phase::Store && too_old_at(config, b) <= now;
            // (If there is no memory for that, it is given up later.)
            if batches.get_mut(slot).filter(old).is_some_and(|b| b.give_up(PIPELINE_REASON_RETRY_AGE)) {
                batches.back_off.swap_remove(*at);
                return Some(slot);
            }
            *at += 1;
        }
        None
    }

    // ---- what the storage's answers say of it ----

    /// The storage has kept or rejected something.
    #[inline]
    pub fn storage_works(&mut self, now: u64) {
        self.retries.failing_since = None;
        if let Some(open_ns) = self.retries.breaker.acknowledged(now) {
            self.circuit_closed(now);
            let probes = self.retries.breaker.probes;
            self.report(
                Level::Info,
                format!(
                    "the storage works again: the circuit is closed after {} ms ({probes} probes in all)",
                    open_ns / 1_000_000
                ),
            );
        }
    }

    /// All batches that waited for the storage go on at once.
    fn circuit_closed(&mut self, now: u64) {
        for at in 0..self.batches.back_off.len() {
            if let Some(batch) = self.batches.get_mut(self.batches.back_off[at])
                && batch.phase == Phase::Store
                && let Place::BackOff { due_ns, .. } = &mut batch.place
            {
                *due_ns = now;
            }
        }
    }

    /// An attempt to store a batch has failed.
    #[cold]
    pub fn storage_failed(&mut self, batch: &Batch, now: u64) {
        let jitter = self.retries.next_jitter();
        self.retries.note_failure(now);
        let (pace, wait) = (pace(&self.config), back_off_ns(&self.config, batch.attempts));
        if !self.retries.breaker.failed(batch.id, wait, now, pace, jitter) {
            return;
        }
        let last = match self.faults.of(batch.id, batch.attempts) {
            Some(fault) => fault.to_string(),
            None => format!(
                "the storage returned PIPELINE_STORE_RETRY to writer {} with batch {}",
                batch.writer(),
                batch.id
            ),
        };
        let breaker = &self.retries.breaker;
        let next_ms = breaker.probe_due().map_or(0, |due| due.saturating_sub(now) / 1_000_000);
        let message = format!(
            "the circuit is open: {} attempts in a row have failed, breaker_failures is {}; the last: {last}; \
             the first probe follows in {next_ms} ms",
            breaker.in_a_row, pace.failures,
        );
        self.report(Level::Warn, message);
    }

    /// The configuration has changed.
    pub fn update_breaker(&mut self, now: u64) {
        self.retries.breaker.hasten(now, pace(&self.config));
        if self.config.breaker_failures == 0 && self.retries.breaker.close(now).is_some() {
            self.circuit_closed(now);
            self.report(Level::Info, "the circuit is closed: breaker_failures is 0".to_owned());
        }
    }

    /// A probe past `storage_deadline_ms` makes way for the next. Answers whether one did.
    pub fn give_up_late_probe(&mut self, now: u64) -> bool {
        let Some((batch, _)) = self.retries.breaker.probe() else { return false };
        let (deadline, jitter) = (self.storage_deadline_ns(), self.retries.next_jitter());
        let late = self.retries.breaker.give_up_late_probe(deadline, now, pace(&self.config), jitter);
        if late {
            let ms = self.config.storage_deadline_ms;
            self.report(
                Level::Warn,
                format!("the probe with batch {batch} has no answer after {ms} ms (storage_deadline_ms): another follows"),
            );
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const MS: u64 = 1_000_000;

    /// A state with a circuit that was opened at time 0 by one failure; the first probe is due after a millisecond.
    fn open() -> State {
        let config = Config { breaker_failures: 1, retry_max_age_ms: 50, ..Config::default() };
        let mut st = State::new(config, 0, 0);
        let pace = pace(&st.config);
        assert!(st.retries.breaker.failed(99, 0, 0, pace, 0));
        st
    }

    fn claimed(st: &mut State, attempts: u32, at_ns: u64) -> usize {
        let (slot, mut batch) = st.batches.begin_claim(1, 1, false).unwrap();
        (batch.attempts, batch.first_attempt_ns) = (attempts, at_ns);
        st.batches.end_claim(slot, batch);
        slot
    }

    fn ready(st: &mut State, phase: Phase) -> usize {
        let slot = claimed(st, 0, 0);
        st.batches.make_ready(slot, phase);
        slot
    }

    fn waiting(st: &mut State, phase: Phase, at_ns: u64) -> usize {
        let slot = claimed(st, 1, at_ns);
        st.batches.get_mut(slot).unwrap().phase = phase;
        st.batches.back_off(slot, at_ns, at_ns + 500 * MS);
        slot
    }

    const DEAD: Phase = Phase::DeadLetter { reason: 1 };

    /// The probe is taken, and fails at once.
    fn probe(st: &mut State, now: u64, fresh: bool) -> Option<usize> {
        let slot = st.take_due(now, Which::All, |_| fresh);
        let id = slot.map_or(1000, |slot| st.batches.get(slot).unwrap().id);
        st.retries.breaker.begin(id, now);
        let pace = pace(&st.config);
        st.retries.breaker.failed(id, 0, now, pace, 0);
        slot
    }

    #[test]
    fn while_the_circuit_is_open_only_what_is_not_for_store_goes_before_a_probe_is_due() {
        let mut st = open();
        waiting(&mut st, Phase::Store, 0);
        ready(&mut st, Phase::Store);
        let dead = waiting(&mut st, DEAD, 0);
        let release = ready(&mut st, Phase::Release);
        assert_eq!(st.take_due(0, Which::All, |_| true), Some(release));
        assert_eq!(st.take_due(0, Which::All, |_| true), None);
        assert_eq!(st.next_due(0, Which::All), Some(MS));
        st.retries.breaker.begin(7, MS);
        // A probe is out, and no other follows; a dead letter that is due goes all the same.
        assert_eq!(st.take_due(499 * MS, Which::All, |_| true), None);
        assert_eq!(st.take_due(500 * MS, Which::All, |_| true), Some(dead));
    }

    #[test]
    fn probes_take_turns_between_what_was_never_tried_and_what_has_waited_longest() {
        let mut st = open();
        let slots: Vec<usize> =
            [30, 10, 20].into_iter().map(|at| waiting(&mut st, Phase::Store, at)).collect();
        let never_tried = ready(&mut st, Phase::Store);
        let now = u64::MAX / 2;
        assert_eq!(probe(&mut st, now, true), Some(never_tried));
        assert_eq!(probe(&mut st, now + 500 * MS, true), Some(slots[1]));
        assert_eq!(probe(&mut st, now + 1500 * MS, true), None); // a new claim
        assert_eq!(probe(&mut st, now + 2500 * MS, true), Some(slots[2]));
        assert_eq!(probe(&mut st, now + 3500 * MS, false), Some(slots[0]));
    }

    #[test]
    fn what_has_become_too_old_is_given_up_and_nothing_else() {
        let mut st = open();
        let old = [0, 0].map(|at| waiting(&mut st, Phase::Store, at));
        let young = waiting(&mut st, Phase::Store, 1);
        let dead = waiting(&mut st, DEAD, 0);
        let mut given_up = Vec::new();
        let mut at = 0;
        while let Some(slot) = st.give_up_too_old(&mut at, 50 * MS) {
            given_up.push(slot);
        }
        given_up.sort_unstable();
        assert_eq!(given_up, old);
        let mut left = st.batches.back_off.clone();
        left.sort_unstable();
        assert_eq!(left, [young, dead]);
    }

    #[test]
    fn time_is_kept_for_probes_and_for_age_but_not_for_attempts_that_may_not_be_made() {
        let mut st = open();
        // No batch: what is needed is a capture, once the probe is due.
        assert_eq!(st.next_due(0, Which::All), Some(MS));
        assert_eq!(st.next_due(MS, Which::All), None);
        waiting(&mut st, Phase::Store, 3 * MS);
        assert_eq!(st.next_due(0, Which::All), Some(MS));
        assert_eq!(st.next_due(2 * MS, Which::All), Some(MS));
        st.retries.breaker.begin(7, 2 * MS);
        assert_eq!(st.next_due(2 * MS, Which::All), Some(53 * MS)); // too old
        waiting(&mut st, DEAD, 0);
        assert_eq!(st.next_due(2 * MS, Which::All), Some(53 * MS));
        st.batches.back_off.remove(0);
        assert_eq!(st.next_due(2 * MS, Which::All), Some(500 * MS));
        // What was never tried does not grow old.
        st.batches.back_off.clear();
        ready(&mut st, Phase::Store);
        assert_eq!(st.next_due(2 * MS, Which::All), None);
    }
}
