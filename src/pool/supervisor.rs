//! What happens when time passes and nothing else does: calls that outlive their deadline, rings that stay pinned, work
//! that nobody has seen. A thread of its own, asleep but for a tick now and then.

use super::Pool;
use super::clock::Told;
use super::sleep::Work;
use super::state::{Doing, State};
use crate::batch::Place;
use crate::platform::sync::Ordering;
use crate::platform::{park, thread, time};
use std::sync::Arc;
use std::time::Duration;

/// When the system has refused a thread that is needed: until the next try, doubled each time.
const HIRE_AGAIN_MS: u64 = 4;
/// Between ticks while nothing is in flight.
pub(super) const IDLE_MS: u64 = 1_000;
/// The same while batches are out, or nobody else looks.
pub(super) const BUSY_MS: u64 = 100;
/// The bit and the step of the word that it sleeps on.
const END: u32 = 1;
const CALL: u32 = 2;

impl Pool {
    /// `told`: what the storage knows of the clock.
    pub(super) fn start_supervisor(self: &Arc<Self>, told: Option<Told>) -> crate::status::Result<()> {
        let pool = Arc::downgrade(self);
        let id = self.id;
        let name = format!("cp-pool-{}", self.name);
        // The handle is dropped: the thread ends by itself, soon after the pool, and is never waited for.
        thread::spawn(
            &name,
            Box::new(move || {
                thread::set_works_for(id);
                let mut pinned: Vec<(u64, u64)> = Vec::new();
                let mut told = told;
                while let Some(pool) = pool.upgrade() {
                    let seen = pool.supervisor.load(Ordering::Acquire);
                    if seen & END != 0 {
                        break;
                    }
                    let pause = pool.tick(&mut pinned);
                    pool.tell_clock(&mut told);
                    park::wait(&pool.supervisor, seen, Some(pause));
                }
            }),
        )?
        .detach();
        Ok(())
    }

    pub(super) fn end_supervisor(&self) {
        self.supervisor.fetch_or(END, Ordering::Release);
        park::wake(&self.supervisor, 1);
    }

    /// The supervisor shall look now.
    pub(super) fn call_supervisor(&self) {
        self.supervisor.fetch_add(CALL, Ordering::Release);
        park::wake(&self.supervisor, 1);
    }

    /// One look. Answers how long until the next.
    fn tick(self: &Arc<Self>, pinned: &mut Vec<(u64, u64)>) -> Duration {
        let scaler = Duration::from_nanos(self.autoscale());
        self.keep_time();
        let mut st = self.lock();
        let now = time::now_ns();
        let doubted = self.doubt_late_batches(&mut st, now);
        let probe_is_late = self.give_up_late_probe(&mut st, now);
        let busy = st.open + st.doubtful > 0;
        let deadline_ms = st.config.storage_deadline_ms;
        let unseen = st.searching == 0
            && st.sleeping > 0
            && ((self.may_claim(&st) && self.work(&mut st, now) == Work::Ripe) || self.rings.any_spilled());
        self.announce_owed(&mut st);
        let hired = self.stand_in(&mut st);
        let mut pause = IDLE_MS.min((deadline_ms / 4).max(1));
        if hired.is_err() {
            pause = pause.min(HIRE_AGAIN_MS << st.hire_failures.min(7));
            st.hire_failures = st.hire_failures.saturating_add(1);
        } else {
            st.hire_failures = 0;
        }
        let tell_failure = st.hire_failures.is_power_of_two();
        if busy || self.rings.keeps_overwritten() {
            pause = pause.min(st.config.poll_interval_ms).min(BUSY_MS);
        }
        let news = std::mem::take(&mut st.news);
        drop(st);
        self.tell(news);
        if let Err(error) = hired
            && tell_failure
        {
            log::error!("pipeline {}: no writer to stand in for a stuck one: {error}", self.name);
        }
        let doubted_any = !doubted.is_empty();
        for (batch, late_ms, writer) in doubted {
            let who = writer.map_or("a pending answer".to_owned(), |id| format!("writer {id}"));
            log::warn!(
                "pipeline {}: batch {batch} is in doubt: {who} has taken {late_ms} ms, storage_deadline_ms is \
                 {deadline_ms}",
                self.name
            );
        }
        // (A batch in doubt is none of those in flight: a writer that slept because there were too many may go on.)
        if unseen || doubted_any || probe_is_late {
            self.front().call(1);
        }
        if !self.ordered {
            self.replace_pinned_rings(pinned, now, deadline_ms.saturating_mul(1_000_000));
        }
        Duration::from_millis(pause).min(scaler)
    }

    /// Batches whose call or pending answer has outlived the deadline are in doubt from here on.
    fn doubt_late_batches(&self, st: &mut State, now: u64) -> Vec<(u64, u64, Option<u32>)> {
        let deadline = st.config.storage_deadline_ms.saturating_mul(1_000_000);
        let mut doubted = Vec::new();
        let State { batches, writers, settled, open, doubtful, config, .. } = st;
        for (slot, batch) in batches.iter_mut().enumerate() {
            let Some(batch) = batch else { continue };
            let waits = matches!(batch.place, Place::InCall | Place::Pending);
            let late = now.saturating_sub(batch.since_ns);
            if !waits || batch.in_doubt || late < deadline || *doubtful >= config.max_in_doubt {
                continue;
            }
            batch.in_doubt = true;
            *open -= 1;
            *doubtful += 1;
            settled.in_flight -= batch.unsettled();
            settled.in_doubt += batch.unsettled();
            let carrier =
                |w: &&mut super::state::Writer| w.slot == Some(slot) && matches!(w.doing, Doing::Calling(_));
            let writer = writers.iter_mut().find(carrier).map(|w| {
                w.stuck = true;
                w.id
            });
            doubted.push((batch.id, late / 1_000_000, writer));
        }
        doubted
    }

    /// Sees to it that there are as many writers as there must be: in place of one that could not be replaced when it died, and,
    /// where calls may overlap, of one that is stuck (their number is bounded by that of batches in doubt).
    fn stand_in(self: &Arc<Self>, st: &mut State) -> crate::status::Result<()> {
        let stuck = st.writers.iter().filter(|w| w.stuck && !w.leaving).count() as u32;
        let covered = if self.can.concurrent { 0 } else { stuck };
        while st.staying() + covered < st.wanted() {
            self.hire(st, 0)?;
        }
        Ok(())
    }

    /// A ring whose release has not moved for the deadline gets a successor, which its producer moves to when it finds it
    /// full.
    fn replace_pinned_rings(&self, pinned: &mut Vec<(u64, u64)>, now: u64, deadline: u64) {
        pinned.resize(self.rings.all().len(), (0, now));
        for (ring, (released, since)) in self.rings.iter().zip(pinned) {
            let Some(log) = ring.log() else { continue };
            let at = log.released();
            if at != *released || log.spans() == 0 {
                (*released, *since) = (at, now);
            } else if now.saturating_sub(*since) >= deadline && self.rings.offer_successor(ring) {
                log::warn!("pipeline {}: ring {} is pinned and gets a successor", self.name, ring.id());
                *since = now;
            }
        }
    }
}
