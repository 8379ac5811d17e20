//! Autoscaling: how many writers there should be, between `min_writers` and `max_writers`.
//!
//! [`decide`](Memory::decide) is a function of what was [`Seen`] and of a short memory, and of nothing else: it grows by doubling
//! while work waits that the storage keeps the writers from, and shrinks one by one after a time of idleness. The supervisor looks
//! ([`Pool::autoscale`]), every few milliseconds while there may be something to decide; when it sleeps for longer, a writer that
//! leaves work behind wakes it ([`Pool::wants_look`]). More writers help only where calls of the storage are what takes the time:
//! who finds no work, or no processor, is not helped by company.

use super::Pool;
use super::sleep::WORTH_WAKING_NS;
use super::state::{Doing, Life, State};
use crate::config::PIPELINE_MAX_WRITERS;
use crate::platform::time;
use std::fmt;
use std::sync::Arc;

/// `pipeline_metrics_t.scale_reason`: the number of writers has never changed.
pub const PIPELINE_SCALE_NONE: u32 = 0;
/// `pipeline_metrics_t.scale_reason`: the caller asked for it (`pipeline_scale`, `pipeline_update`).
pub const PIPELINE_SCALE_CALLER: u32 = 1;
/// `pipeline_metrics_t.scale_reason`: the number lay outside `min_writers` and `max_writers` as `pipeline_update` set them.
pub const PIPELINE_SCALE_BOUNDS: u32 = 2;
/// `pipeline_metrics_t.scale_reason`: there was work, and no writer (`min_writers` is 0).
pub const PIPELINE_SCALE_NO_WRITER: u32 = 3;
/// `pipeline_metrics_t.scale_reason`: events waited too long, the writers being in calls of the storage.
pub const PIPELINE_SCALE_BACKLOG_AGE: u32 = 4;
/// `pipeline_metrics_t.scale_reason`: half a ring buffer waited, the writers being in calls of the storage.
pub const PIPELINE_SCALE_RING_FULL: u32 = 5;
/// `pipeline_metrics_t.scale_reason`: whole batches waited, the writers being in calls of the storage.
pub const PIPELINE_SCALE_STORAGE_BOUND: u32 = 6;
/// `pipeline_metrics_t.scale_reason`: one writer less had been enough for some time.
pub const PIPELINE_SCALE_IDLE: u32 = 7;

const MS: u64 = 1_000_000;
/// Between looks while there may be a reason to grow.
const LOOK_NS: u64 = 10 * MS;
/// Between looks while there may be a reason to shrink.
const SAMPLE_NS: u64 = 100 * MS;
/// For so long a reason to grow must last,
const LASTS_NS: u64 = 10 * MS;
/// and so long after a change the newcomers must have shown what they can do.
const SETTLE_NS: u64 = 20 * MS;
/// An unclaimed event that is older (beyond `linger_us`) waits too long.
const AGED_NS: u64 = 20 * MS;
/// Percent of their time that writers spend in calls when the storage is the bottleneck.
const BUSY_PERCENT: u64 = 60;
/// For so long one writer less must have been enough,
const QUIET_NS: u64 = 1_000 * MS;
/// and so long it is from one that leaves to the next.
const STEP_NS: u64 = 250 * MS;
/// After a thread could not be started.
const REFUSED_NS: u64 = 1_000 * MS;

/// What was seen at one look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// When.
    pub now_ns: u64,
    /// Time since the look before,
    pub elapsed_ns: u64,
    /// and what all writers together spent of it in calls of the storage.
    pub busy_ns: u64,
    /// Writers that there should be.
    pub writers: u32,
    /// `min_writers`.
    pub min: u32,
    /// `max_writers`.
    pub max: u32,
    /// How many could be in a call at once at most.
    pub useful: u32,
    /// Nothing may be claimed at present: paused, or being closed.
    pub held: bool,
    /// Somebody must do something: events unclaimed, batches to be taken up, a flush.
    pub queued: bool,
    /// Batches that are not settled.
    pub open: u32,
    /// Age of the oldest unclaimed event, the time that it may linger taken off.
    pub age_ns: u64,
    /// Whole batches that wait unclaimed.
    pub waiting: u64,
    /// Percent of the fullest ring that wait unclaimed.
    pub fill_percent: u64,
    /// Grows whenever the storage has taken something.
    pub progress: u64,
    /// Batches wait for another attempt, have had one since the look before, or are in doubt.
    pub troubled: bool,
}

/// What happened to the number of writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Writers before.
    pub from: u32,
    /// Writers after.
    pub to: u32,
    /// `PIPELINE_SCALE_…`.
    pub reason: u32,
}

/// What the next decision must know of the looks before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Since when there is a reason to grow.
    pressed_since: Option<u64>,
    /// Since when one writer less would do.
    quiet_since: Option<u64>,
    /// When the number last changed.
    changed_ns: u64,
    progress: u64,
    /// Every attempt fails, as far as can be told.
    failing: bool,
}

impl Memory {
    /// Decides, and says after how many nanoseconds to look again (`u64::MAX`: when there is news).
    pub fn decide(&mut self, seen: &Seen) -> (Option<Decision>, u64) {
        self.note_failures(seen);
        if seen.held {
            (self.pressed_since, self.quiet_since) = (None, None);
            return (None, u64::MAX);
        }
        let ceiling = seen.useful.min(seen.max);
        let (grow, soon) = self.grow(seen, ceiling);
        let (decision, next) = match grow {
            Some(_) => (grow, LOOK_NS),
            None => {
                let (shrink, later) = self.shrink(seen, ceiling);
                (shrink, soon.min(later))
            }
        };
        if decision.is_some() {
            self.changed_ns = seen.now_ns;
            self.pressed_since = None;
        }
        (decision, next)
    }

    /// A storage that fails every attempt is not helped by more of them.
    fn note_failures(&mut self, seen: &Seen) {
        if seen.progress != self.progress || seen.open == 0 {
            self.failing = false;
        } else if seen.troubled {
            self.failing = true;
        }
        self.progress = seen.progress;
    }

    fn grow(&mut self, seen: &Seen, ceiling: u32) -> (Option<Decision>, u64) {
        let from = seen.writers;
        let go = |to, reason| Some(Decision { from, to, reason });
        if from == 0 {
            let none = (seen.queued && ceiling > 0).then_some(1);
            return (none.and_then(|to| go(to, PIPELINE_SCALE_NO_WRITER)), u64::MAX);
        }
        let pressure = if seen.age_ns >= AGED_NS {
            PIPELINE_SCALE_BACKLOG_AGE
        } else if seen.fill_percent >= 50 {
            PIPELINE_SCALE_RING_FULL
        } else if seen.waiting > 0 {
            PIPELINE_SCALE_STORAGE_BOUND
        } else {
            self.pressed_since = None;
            return (None, u64::MAX);
        };
        if from >= ceiling || self.failing {
            self.pressed_since = None;
            return (None, SAMPLE_NS);
        }
        if seen.busy_ns.saturating_mul(100) < seen.elapsed_ns.saturating_mul(BUSY_PERCENT * u64::from(from)) {
            self.pressed_since = None;
            return (None, LOOK_NS);
        }
        let lasts = seen.now_ns - *self.pressed_since.get_or_insert(seen.now_ns);
        if lasts < LASTS_NS || seen.now_ns.saturating_sub(self.changed_ns) < SETTLE_NS {
            return (None, LOOK_NS);
        }
        // Twice as many, but not more than have something to do.
        let room = u32::try_from(seen.waiting.max(1)).unwrap_or(u32::MAX);
        (go(from.saturating_mul(2).min(from.saturating_add(room)).min(ceiling), pressure), LOOK_NS)
    }

    fn shrink(&mut self, seen: &Seen, ceiling: u32) -> (Option<Decision>, u64) {
        let from = seen.writers;
        if from <= seen.min {
            self.quiet_since = None;
            return (None, u64::MAX);
        }
        let pressed = seen.age_ns >= AGED_NS || seen.fill_percent >= 50 || seen.waiting > 0;
        // The others would have been in calls for half of their time at most.
        let enough =
            seen.busy_ns.saturating_mul(2) <= seen.elapsed_ns.saturating_mul(u64::from(from - 1)) && !pressed;
        let last = from == 1 && (seen.queued || seen.open > 0);
        if last || !(enough || from > ceiling) {
            self.quiet_since = None;
            return (None, SAMPLE_NS);
        }
        let since = *self.quiet_since.get_or_insert(seen.now_ns);
        let due = (since + QUIET_NS).max(self.changed_ns + STEP_NS);
        if seen.now_ns < due {
            return (None, (due - seen.now_ns).min(SAMPLE_NS));
        }
        (Some(Decision { from, to: from - 1, reason: PIPELINE_SCALE_IDLE }), SAMPLE_NS)
    }
}

/// What the pool keeps about its size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scaler {
    memory: Memory,
    looked_ns: u64,
    /// Time in calls up to then.
    busy_ns: u64,
    /// Second and further attempts up to then.
    retries: u64,
    /// The supervisor sleeps for longer than a look, and may be woken from this time on.
    dozes_from: Option<u64>,
    /// Figures.
    pub(super) told: Scaling,
}

/// The figures of autoscaling; `pipeline_metrics_t` documents each.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // the names are those of the C struct, and documented there
pub struct Scaling {
    pub autoscaling: bool,
    pub ups: u64,
    pub downs: u64,
    pub from: u32,
    pub to: u32,
    pub reason: u32,
    pub at_ns: u64,
}

impl Scaler {
    /// The number of writers changes.
    pub(super) fn note(&mut self, decision: Decision, now: u64) {
        let Decision { from, to, reason } = decision;
        if !matches!(reason, PIPELINE_SCALE_CALLER | PIPELINE_SCALE_BOUNDS) {
            *(if to > from { &mut self.told.ups } else { &mut self.told.downs }) += 1;
        }
        self.told = Scaling { from, to, reason, at_ns: now, ..self.told };
        self.memory.changed_ns = now;
    }

    /// Autoscaling begins, or its bounds change: what was seen before is forgotten.
    pub(super) fn restart(&mut self) {
        let changed_ns = self.memory.changed_ns;
        self.memory = Memory { changed_ns, ..Memory::default() };
    }
}

/// Why, in words.
struct Words<'a>(&'a Decision, &'a Seen);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(decision, seen) = self;
        match decision.reason {
            PIPELINE_SCALE_NO_WRITER => write!(f, "there is work")?,
            PIPELINE_SCALE_BACKLOG_AGE => write!(f, "events have waited for {} ms", seen.age_ns / MS)?,
            PIPELINE_SCALE_RING_FULL => write!(f, "{} % of a ring buffer wait", seen.fill_percent)?,
            PIPELINE_SCALE_STORAGE_BOUND => write!(f, "{} batches wait", seen.waiting)?,
            _ => write!(f, "one less has been enough for some time")?,
        }
        let all = seen.elapsed_ns.saturating_mul(u64::from(decision.from));
        match seen.busy_ns.saturating_mul(100).checked_div(all) {
            Some(percent) => write!(f, "; the writers spent {percent} % of their time in the storage"),
            None => Ok(()),
        }
    }
}

impl State {
    /// What all writers together have spent in calls up to now; those that are stuck are no longer counted.
    fn time_in_calls(&self, now: u64) -> u64 {
        let running = self.writers.iter().filter(|w| !w.stuck).map(|w| match w.doing {
            Doing::Calling(since) => now.saturating_sub(since),
            _ => 0,
        });
        self.calls_ns + running.sum::<u64>()
    }
}

impl Pool {
    /// One look. Answers after how many nanoseconds to look again (`u64::MAX`: no need).
    pub(super) fn autoscale(self: &Arc<Self>) -> u64 {
        if !self.lock().config.autoscales() {
            return u64::MAX;
        }
        let (events, bytes, fullest) = self.rings.unclaimed();
        let oldest = self.oldest_unclaimed();
        let mut st = self.lock();
        let now = time::now_ns();
        let seen = self.seen(&mut st, now, (events, bytes, fullest), oldest);
        let (decision, mut next) = st.scaler.memory.decide(&seen);
        st.scaler.dozes_from = (next > LOOK_NS).then_some(now + LOOK_NS);
        if st.target == 0 && st.life == Life::Running {
            // Nobody else looks.
            next = st.config.poll_interval_ms.min(super::supervisor::BUSY_MS) * MS;
        }
        let Some(decision) = decision else { return next };
        let result = self.set_crew(&mut st, decision.to, decision.reason);
        if result.is_err() {
            // As many as there are; another attempt later.
            st.target = st.staying().max(decision.from);
            st.config.writers = st.target;
            st.scaler.told.to = st.target;
            st.scaler.memory.changed_ns = now + REFUSED_NS;
        }
        drop(st);
        self.call_all();
        let Decision { from, to, .. } = decision;
        match result {
            Ok(()) => log::info!(
                "pipeline {}: autoscaling from {from} to {to} writers: {}",
                self.name,
                Words(&decision, &seen)
            ),
            Err(error) => {
                log::error!("pipeline {}: autoscaling from {from} to {to} writers failed: {error}", self.name)
            }
        }
        next
    }

    fn seen(&self, st: &mut State, now: u64, unclaimed: (u64, u64, u64), oldest: Option<u64>) -> Seen {
        let (events, bytes, fullest) = unclaimed;
        let busy = st.time_in_calls(now);
        let config = &st.config;
        let useful = if !self.can.concurrent {
            1
        } else if self.ordered {
            // One batch of a ring at a time.
            self.rings.iter().filter(|r| !r.is_drained()).count().max(1) as u32
        } else {
            PIPELINE_MAX_WRITERS
        };
        let waits = oldest.map_or(0, |t| now.saturating_sub(t));
        let seen = Seen {
            now_ns: now,
            elapsed_ns: now.saturating_sub(st.scaler.looked_ns),
            busy_ns: busy.saturating_sub(st.scaler.busy_ns),
            writers: st.target,
            min: config.min_writers,
            max: config.max_writers,
            useful: useful.min(config.max_in_flight),
            held: st.paused || st.life != Life::Running,
            queued: events > 0
                || !st.ready.is_empty()
                || !st.back_off.is_empty()
                || st.flushes.iter().any(|j| j.runner.is_none() && j.answer.is_none())
                || self.rings.any_spilled(),
            open: st.open + st.doubtful,
            age_ns: waits.saturating_sub(config.linger_us * 1000),
            waiting: (events / u64::from(config.batch_size)).max(bytes / config.batch_bytes),
            fill_percent: fullest * 100 / config.ring_bytes,
            progress: st.settled.stored + st.settled_batches,
            troubled: !st.back_off.is_empty() || st.doubtful > 0 || st.retries != st.scaler.retries,
        };
        (st.scaler.looked_ns, st.scaler.busy_ns, st.scaler.retries) = (now, busy, st.retries);
        seen
    }

    /// When the oldest unclaimed event was captured, as far as that can be read.
    fn oldest_unclaimed(&self) -> Option<u64> {
        self.oldest_of(crate::ring::log::Log::oldest_unclaimed)
    }

    /// A writer enters a call: whether the supervisor, which sleeps, shall look if more are needed.
    pub(super) fn wants_look(&self, st: &mut State, now: u64) -> bool {
        if st.scaler.dozes_from.is_none_or(|from| now < from) || st.target >= st.config.max_writers {
            return false;
        }
        let nobody_left = st.searching + st.sleeping == 0 && st.call_average_ns >= LOOK_NS;
        let wants =
            nobody_left || (st.call_average_ns >= WORTH_WAKING_NS && self.rings.any_claimable(self.ordered));
        if wants {
            st.scaler.dozes_from = None;
        }
        wants
    }
}

#[cfg(test)]
mod tests;
