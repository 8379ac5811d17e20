//! Which batch goes to the storage next, and when: those that are ready, those in back-off, and what the circuit breaker
//! lets through of both.

use super::Pool;
use super::breaker::{Circuit, Pace};
use super::sleep::Work;
use super::state::State;
use crate::batch::{Batch, Phase, Place};
use crate::platform::{random, time};
use crate::storage::PIPELINE_REASON_RETRY_AGE;
use log::Level;

impl State {
    /// What the configuration says of the circuit breaker.
    pub fn pace(&self) -> Pace {
        Pace {
            failures: self.config.breaker_failures,
            longest_ns: self.config.retry_max_us.saturating_mul(1000),
        }
    }

    fn is_for_store(&self, slot: usize) -> bool {
        self.batches[slot].as_ref().is_some_and(|b| b.phase == Phase::Store)
    }

    /// When a batch that waits for its next attempt is too old for one.
    fn too_old_at(&self, batch: &Batch) -> u64 {
        batch.first_attempt_ns.saturating_add(self.config.retry_max_age_ms.saturating_mul(1_000_000))
    }

    /// When something is due that waits for nothing but the time: an attempt, a probe, a batch that becomes too old.
    pub fn next_due(&self, now: u64) -> Option<u64> {
        let waiting = self.back_off.iter().filter_map(|&s| self.batches[s].as_ref());
        if self.breaker.is_closed() {
            return waiting.map(|b| b.due_ns).min();
        }
        let each = waiting.map(|b| if b.phase == Phase::Store { self.too_old_at(b) } else { b.due_ns }).min();
        // A probe that is due and has no batch waits for a capture, not for the time.
        let can_probe = self.back_off.iter().chain(&self.ready).any(|&s| self.is_for_store(s));
        let probe = self.breaker.probe_due().filter(|&due| can_probe || due > now);
        each.into_iter().chain(probe).min()
    }

    /// Takes out the batch that is to go next, if one is due; `None` also where a newly claimed one is to be the probe, as
    /// `fresh` says that one can be.
    pub fn take_due(&mut self, now: u64, fresh: impl FnOnce(&mut Self) -> bool) -> Option<usize> {
        let due = |st: &Self, slot: usize| st.batches[slot].as_ref().is_none_or(|b| b.due_ns <= now);
        if self.breaker.is_closed() {
            return self.ready.pop_front().or_else(|| {
                let at = self.back_off.iter().position(|&s| due(self, s))?;
                Some(self.back_off.swap_remove(at))
            });
        }
        // What does not go to `store` is not the circuit's business.
        if let Some(at) = self.ready.iter().position(|&s| !self.is_for_store(s)) {
            return self.ready.remove(at);
        }
        if let Some(at) = self.back_off.iter().position(|&s| !self.is_for_store(s) && due(self, s)) {
            return Some(self.back_off.swap_remove(at));
        }
        if !self.breaker.allows(now) {
            return None;
        }
        // Every other probe is a batch that was never tried, so that one which can never be stored does not keep the circuit open
        // for the others; the rest goes round, whoever has waited longest first.
        if self.breaker.probes().is_multiple_of(2) {
            if let Some(slot) = self.ready.pop_front() {
                return Some(slot);
            }
            if fresh(self) {
                return None;
            }
        }
        let since = |st: &Self, slot: usize| st.batches[slot].as_ref().map_or(0, |b| b.since_ns);
        if let Some(at) = (0..self.back_off.len()).min_by_key(|&at| since(self, self.back_off[at])) {
            return Some(self.back_off.swap_remove(at));
        }
        self.ready.pop_front()
    }

    /// Something that is to be logged once the lock is given back.
    pub fn report(&mut self, level: Level, words: String) {
        self.news.push((level, words));
    }
}

impl Pool {
    /// The batch that a writer is to take up now.
    pub(super) fn take_due(&self, st: &mut State, now: u64) -> Option<usize> {
        if !st.breaker.is_closed() {
            self.bury_the_old(st, now);
        }
        st.take_due(now, |st| self.may_claim(st) && self.work(st, now) == Work::Ripe)
    }

    /// While the circuit is not closed batches wait without an attempt, but not for longer than they may.
    fn bury_the_old(&self, st: &mut State, now: u64) {
        let old = |st: &State, slot: usize| {
            st.batches[slot].as_ref().is_some_and(|b| b.phase == Phase::Store && st.too_old_at(b) <= now)
        };
        let mut at = 0;
        while let Some(&slot) = st.back_off.get(at) {
            if !old(st, slot) {
                at += 1;
                continue;
            }
            st.back_off.swap_remove(at);
            if let Some(batch) = st.batch(slot) {
                batch.place = Place::Ready;
                batch.bury(PIPELINE_REASON_RETRY_AGE);
            }
            self.after_store(st, slot);
            self.notify(st);
        }
    }

    /// Whether the circuit breaker lets a newly claimed batch through: while it is not closed, one.
    pub(super) fn lets_through(&self, st: &State) -> bool {
        st.breaker.is_closed() || (st.claiming == 0 && st.breaker.allows(time::now_ns()))
    }

    /// The storage has kept or rejected something.
    pub(super) fn storage_works(&self, st: &mut State, now: u64) {
        if let Some(open_ns) = st.breaker.acknowledged(now) {
            self.circuit_closed(st, now);
            let probes = st.breaker.probes();
            st.report(
                Level::Info,
                format!(
                    "the storage works again: the circuit is closed after {} ms ({probes} probes in all)",
                    open_ns / 1_000_000
                ),
            );
        }
    }

    /// All batches that waited for the storage go on at once.
    fn circuit_closed(&self, st: &mut State, now: u64) {
        let State { back_off, batches, .. } = st;
        for &slot in back_off.iter() {
            if let Some(batch) = &mut batches[slot]
                && batch.phase == Phase::Store
            {
                batch.due_ns = now;
            }
        }
    }

    /// An attempt has failed.
    pub(super) fn storage_failed(&self, st: &mut State, batch: &Batch, now: u64) {
        st.jitter = random::mix(st.jitter);
        let (pace, jitter) = (st.pace(), st.jitter);
        if !st.breaker.failed(batch.id, st.back_off_ns(batch.attempt), now, pace, jitter) {
            return;
        }
        let last = match st.faults.of(batch.id, batch.attempt) {
            Some(fault) => fault.to_string(),
            None => {
                format!("writer {} was answered PIPELINE_STORE_RETRY with batch {}", batch.writer(), batch.id)
            }
        };
        let next_ms = st.breaker.probe_due().map_or(0, |due| due.saturating_sub(now) / 1_000_000);
        let words = format!(
            "the circuit is open: {} attempts in a row have failed, breaker_failures is {}; the last: {last}; \
             the storage is probed from {next_ms} ms on",
            st.breaker.in_a_row(),
            pace.failures,
        );
        st.report(Level::Warn, words);
    }

    /// The configuration has changed.
    pub(super) fn update_breaker(&self, st: &mut State) {
        let now = time::now_ns();
        st.breaker.hasten(now, st.pace());
        if st.config.breaker_failures == 0 && st.breaker.close(now).is_some() {
            self.circuit_closed(st, now);
            st.report(Level::Info, "the circuit is closed: breaker_failures is 0".to_owned());
        }
    }

    /// A probe past `storage_deadline_ms` makes way for the next. Answers whether one did.
    pub(super) fn give_up_late_probe(&self, st: &mut State, now: u64) -> bool {
        if st.breaker.circuit() != Circuit::HalfOpen {
            return false;
        }
        st.jitter = random::mix(st.jitter);
        let deadline = st.config.storage_deadline_ms.saturating_mul(1_000_000);
        let (pace, jitter) = (st.pace(), st.jitter);
        let probe = st.breaker.probe().map_or(0, |(batch, _)| batch);
        let late = st.breaker.give_up_late_probe(deadline, now, pace, jitter);
        if late {
            st.report(
                Level::Warn,
                format!("the probe with batch {probe} has no answer: another will follow"),
            );
        }
        late
    }

    /// Logs what was reported; with the lock given back.
    pub(super) fn tell(&self, news: Vec<(Level, String)>) {
        for (level, words) in news {
            log::log!(level, "pipeline {}: {words}", self.name);
        }
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
        let pace = st.pace();
        assert!(st.breaker.failed(99, 0, 0, pace, 0));
        st
    }

    fn add(st: &mut State, phase: Phase, attempt: u32, at_ns: u64) -> usize {
        let mut batch = Box::new(Batch::new(1, 1));
        batch.id = st.batches.len() as u64 + 1;
        (batch.phase, batch.attempt) = (phase, attempt);
        (batch.since_ns, batch.first_attempt_ns, batch.due_ns) = (at_ns, at_ns, at_ns + 500 * MS);
        st.batches.push(Some(batch));
        st.batches.len() - 1
    }

    fn waiting(st: &mut State, phase: Phase, at_ns: u64) -> usize {
        let slot = add(st, phase, 1, at_ns);
        st.back_off.push(slot);
        slot
    }

    /// The probe is taken, and fails at once.
    fn probe(st: &mut State, now: u64, fresh: bool) -> Option<usize> {
        let slot = st.take_due(now, |_| fresh);
        let id = slot.map_or(1000, |s| st.batches[s].as_ref().unwrap().id);
        st.breaker.begin(id, now);
        let pace = st.pace();
        st.breaker.failed(id, 0, now, pace, 0);
        slot
    }

    #[test]
    fn while_the_circuit_is_open_only_what_is_not_for_store_goes_before_a_probe_is_due() {
        let mut st = open();
        waiting(&mut st, Phase::Store, 0);
        let never_tried = add(&mut st, Phase::Store, 0, 0);
        st.ready.push_back(never_tried);
        let dead = waiting(&mut st, Phase::DeadLetter, 0);
        let release = add(&mut st, Phase::Release, 0, 0);
        st.ready.push_back(release);
        assert_eq!(st.take_due(0, |_| true), Some(release));
        assert_eq!(st.take_due(0, |_| true), None);
        assert_eq!(st.next_due(0), Some(MS));
        st.breaker.begin(7, MS);
        // A probe is out, and no other follows; a dead letter that is due goes all the same.
        assert_eq!(st.take_due(499 * MS, |_| true), None);
        assert_eq!(st.take_due(500 * MS, |_| true), Some(dead));
    }

    #[test]
    fn probes_take_turns_between_what_was_never_tried_and_what_has_waited_longest() {
        let mut st = open();
        let slots: Vec<usize> =
            [30, 10, 20].into_iter().map(|at| waiting(&mut st, Phase::Store, at)).collect();
        let never_tried = add(&mut st, Phase::Store, 0, 0);
        st.ready.push_back(never_tried);
        let now = u64::MAX / 2;
        assert_eq!(probe(&mut st, now, true), Some(never_tried));
        assert_eq!(probe(&mut st, now + 500 * MS, true), Some(slots[1]));
        assert_eq!(probe(&mut st, now + 1500 * MS, true), None); // a new claim
        assert_eq!(probe(&mut st, now + 2500 * MS, true), Some(slots[2]));
        assert_eq!(probe(&mut st, now + 3500 * MS, false), Some(slots[0]));
    }

    #[test]
    fn time_is_kept_for_probes_and_for_age_but_not_for_attempts_that_may_not_be_made() {
        let mut st = open();
        // No batch: what is needed is a capture, once the probe is due.
        assert_eq!(st.next_due(0), Some(MS));
        assert_eq!(st.next_due(MS), None);
        waiting(&mut st, Phase::Store, 3 * MS);
        assert_eq!(st.next_due(0), Some(MS));
        assert_eq!(st.next_due(2 * MS), Some(MS));
        st.breaker.begin(7, 2 * MS);
        assert_eq!(st.next_due(2 * MS), Some(53 * MS)); // too old
        waiting(&mut st, Phase::DeadLetter, 0);
        assert_eq!(st.next_due(2 * MS), Some(53 * MS));
        st.back_off.remove(0);
        assert_eq!(st.next_due(2 * MS), Some(500 * MS));
        // What was never tried does not grow old.
        st.back_off.clear();
        let never_tried = add(&mut st, Phase::Store, 0, 0);
        st.ready.push_back(never_tried);
        assert_eq!(st.next_due(2 * MS), None);
    }
}
