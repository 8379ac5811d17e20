//! The supervisor: the thread that acts when nothing but time passes. It finds calls that outlive their deadline, rings that stay pinned,
//! and work that no writer has seen. Between two ticks it sleeps.

use super::Pool;
use super::clock_watch::Told;
use super::ring_file::Figures;
use super::sampling::SAMPLING_MS;
use super::shutdown::{Abandoned, FIRST_LOOK_MS};
use super::state::life_cycle::Stage;
use super::state::{State, turns::Which};
use crate::platform::sync::Ordering;
use crate::platform::{park, thread, time};
use crate::ring::intake::supervisor;
use crate::status::Result;
use log::Level;
use std::ffi::c_void;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The pause before the next try when the system has refused to start a writer's thread, doubled each time.
const START_AGAIN_MS: u64 = 4;
/// The time between ticks while nothing is in flight.
pub(super) const IDLE_MS: u64 = 1_000;
/// The same while batches are in flight, or there is no writer.
pub(super) const BUSY_MS: u64 = 100;

/// What the supervisor's thread is started with.
struct Start {
    pool: Weak<Pool>,
    id: u64,
    name: String,
    told: Option<Told>,
}

/// The supervisor's thread. It holds nothing to unwind: a `release` or `destroy` of an abandoned pipeline that ends its thread ends this
/// one alone.
extern "C-unwind" fn supervisor_main(start: *mut c_void) -> *mut c_void {
    // SAFETY: made by `start_supervisor`, and only this thread has it.
    let Start { pool, id, name, told } = *unsafe { Box::from_raw(start.cast::<Start>()) };
    thread::list_own();
    thread::arm_end();
    thread::set_name(&thread::short_name(&format!("cp-pool-{name}")));
    thread::run_start_hook();
    thread::set_works_for(id);
    let watch = |pool: &Weak<Pool>, told| {
        catch_unwind(AssertUnwindSafe(|| Pool::supervise(pool, told))).ok().flatten()
    };
    let mut abandoned = watch(&pool, told);
    drop((pool, name));
    while let Some(pool) = abandoned {
        let torn_down = pool.tear_down_if_at_rest();
        if pool.intake().forked() {
            // One of the storage's functions has forked and returned in the child, where all of it is the parent's.
            return std::ptr::null_mut();
        }
        if torn_down {
            break;
        }
        // Not at rest any more: a producer handle that is still open tries to capture, and is being refused. The next look is better.
        abandoned = watch(&Arc::downgrade(&pool), None);
    }
    thread::run_stop_hook();
    std::ptr::null_mut()
}

impl Pool {
    /// `told`: what the storage knows of the clock.
    pub(super) fn start_supervisor(self: &Arc<Self>, told: Option<Told>) -> Result<()> {
        let start = Start { pool: Arc::downgrade(self), id: self.id, name: self.name.clone(), told };
        let start = Box::into_raw(Box::new(start)).cast::<c_void>();
        // The thread ends by itself, soon after the pool, and is never waited for.
        thread::spawn_plain(supervisor_main, start).inspect_err(|_| {
            // SAFETY: no thread got it.
            drop(unsafe { Box::from_raw(start.cast::<Start>()) });
        })
    }

    /// Ticks until the pool has ended. Returns the pool if it was abandoned and is to be torn down.
    fn supervise(pool: &Weak<Self>, mut told: Option<Told>) -> Option<Arc<Self>> {
        let mut pinned = [Vec::new(), Vec::new()];
        let mut look_ms = FIRST_LOOK_MS;
        let mut figures = Figures::default();
        while let Some(pool) = pool.upgrade() {
            let seen = pool.intake().supervisor.load(Ordering::Acquire);
            if seen & supervisor::END != 0 {
                break;
            }
            let mut pause = pool.tick(&mut pinned);
            pool.tell_clock(&mut told);
            pool.write_figures(&mut figures);
            match pool.look_after_abandoned() {
                Abandoned::No => {}
                Abandoned::AtRest => return Some(pool),
                Abandoned::InUse => {
                    pause = Duration::from_millis(look_ms);
                    look_ms = (look_ms * 2).min(IDLE_MS);
                }
            }
            park::wait(&pool.intake().supervisor, seen, Some(pause));
        }
        None
    }

    pub(super) fn end_supervisor(&self) {
        self.intake().judge.trigger.end();
        let word = &self.intake().supervisor;
        word.fetch_or(supervisor::END, Ordering::Release);
        park::wake(word, 1);
    }

    /// Wakes the supervisor for a tick.
    pub(super) fn call_supervisor(&self) {
        self.intake().call_supervisor();
    }

    /// One tick. Returns how long until the next.
    fn tick(self: &Arc<Self>, pinned: &mut [Vec<(u64, u64)>; 2]) -> Duration {
        let next_look = Duration::from_nanos(self.autoscale());
        self.keep_time();
        let mut st = self.lock();
        let now = time::now_ns();
        self.measure_pressure(now);
        self.rings.free_replaced_rules();
        self.tell_of_pressure(&mut st);
        let samples = self.keep_sampling(&mut st, now);
        let doubts = st.doubt_late_batches(now);
        st.mark_late_calls(now);
        // (Calls that are stuck hold no permit.)
        self.keep_permits(&mut st);
        st.turns.look(now);
        let probe_is_late = st.give_up_late_probe(now);
        let unseen = st.writers.searching == 0
            && st.writers.sleeping > 0
            && (self.to_claim(&mut st, now, Which::All).is_some()
                || self.rings.any_spilled()
                || self.may_claim_recovered(&st));
        self.tell_of_deferred_space(&mut st);
        let deadline_ms = st.config.storage_deadline_ms;
        let mut pause = IDLE_MS.min((deadline_ms / 4).max(1));
        pause = pause.min(self.replace_stuck_writers(&mut st));
        // No writer measures the pressure where none may claim.
        let unwatched = st.life.stage() == Stage::Paused || st.writers.staying() == 0;
        let measures = unwatched || self.intake().pressure.percent() > 0;
        if measures {
            pause = pause.min(BUSY_MS);
        }
        if st.batches.unsettled() > 0 || self.rings.keeps_overwritten() {
            pause = pause.min(st.config.poll_interval_ms).min(BUSY_MS);
        }
        if samples {
            pause = pause.min(SAMPLING_MS);
        }
        self.unlock(st);
        // (A batch in doubt is not in flight: a writer that slept because there were too many may go on.)
        if unseen || doubts || probe_is_late {
            self.intake().wake(1);
        }
        if !self.ordered {
            self.replace_pinned_rings(pinned, now, deadline_ms.saturating_mul(1_000_000));
        }
        Duration::from_millis(pause).min(next_look)
    }

    /// Starts writers until there are as many as there must be: in place of one that could not be replaced when it died, and, where calls
    /// may overlap, of one that is stuck (their number is bounded: see `doubt_late_batches` and `mark_late_calls`). Returns after how many
    /// milliseconds to try again.
    fn replace_stuck_writers(self: &Arc<Self>, st: &mut State) -> u64 {
        let covered = if self.can.concurrent { 0 } else { st.writers.stuck() };
        while st.writers.staying() + covered < st.writers_wanted() {
            let Err(error) = self.start_writer(st, 0) else { continue };
            let failures = st.writers.start_failures;
            st.writers.start_failures = failures.saturating_add(1);
            if st.writers.start_failures.is_power_of_two() {
                st.report(Level::Error, format!("no writer takes the place of a stuck one: {error}"));
            }
            return START_AGAIN_MS << failures.min(7);
        }
        st.writers.start_failures = 0;
        u64::MAX
    }

    /// A ring whose release has not moved for the deadline gets a successor, which its producer moves to when it finds the ring full.
    fn replace_pinned_rings(&self, pinned: &mut [Vec<(u64, u64)>; 2], now: u64, deadline: u64) {
        for (priority, pinned) in [false, true].into_iter().zip(pinned) {
            let used = self.rings.used(priority);
            if pinned.len() < used.len() {
                if pinned.try_reserve(used.len() - pinned.len()).is_err() {
                    return;
                }
                pinned.resize(used.len(), (0, now));
            }
            self.replace_pinned(used, pinned, now, deadline);
        }
    }

    fn replace_pinned(&self, rings: Range<usize>, pinned: &mut [(u64, u64)], now: u64, deadline: u64) {
        for (index, (released, since)) in rings.zip(pinned) {
            let Some(ring) = self.rings.slot(index) else { continue };
            let Some(log) = ring.buffer() else { continue };
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

impl State {
    /// Batches whose attempt has outlived the deadline are in doubt from here on. Returns whether there are any that were not before.
    fn doubt_late_batches(&mut self, now: u64) -> bool {
        let (deadline_ns, deadline_ms) = (self.storage_deadline_ns(), self.config.storage_deadline_ms);
        let doubted = self.batches.doubt_late(deadline_ns, self.config.max_in_doubt, now);
        for late in &doubted {
            let call = match self.writers.mark_stuck_with(late.slot) {
                Some(id) => format!("the call of writer {id}"),
                None => "the pending answer".to_owned(),
            };
            let (batch, ms) = (late.batch, late.late_ns / 1_000_000);
            self.report(
                Level::Warn,
                format!("batch {batch} is in doubt: {call} has taken {ms} ms, storage_deadline_ms is {deadline_ms}"),
            );
        }
        !doubted.is_empty()
    }

    /// Writers whose call without a batch has outlived the deadline are stuck from here on. Their number is bounded by `max_in_doubt`, as
    /// each may have another writer in its place.
    fn mark_late_calls(&mut self, now: u64) {
        let (deadline_ns, deadline_ms) = (self.storage_deadline_ns(), self.config.storage_deadline_ms);
        let mut marked = self.writers.stuck_without_batch();
        let Self { writers, config, messages, .. } = self;
        for w in writers.list.iter_mut().filter(|w| w.slot.is_none() && !w.stuck) {
            let Some(since) = w.in_call_since() else { continue };
            let ns = now.saturating_sub(since);
            if ns < deadline_ns || (!w.leaving && marked >= config.max_in_doubt) {
                continue;
            }
            w.stuck = true;
            marked += u32::from(!w.leaving);
            let (id, ms, function) = (w.id, ns / 1_000_000, w.function(None));
            let message =
                format!("writer {id}: {function} has taken {ms} ms, storage_deadline_ms is {deadline_ms}");
            messages.push((Level::Warn, message));
        }
    }
}
