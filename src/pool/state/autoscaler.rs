//! Autoscaling: how many writers there should be, between `min_writers` and `max_writers`.
//!
//! [`Memory::decide`] is a function of what was [`Seen`] and of a short memory, and of nothing else. It doubles the writers while work waits
//! because the writers are in calls of the storage, and takes away one after the other after a time of idleness. More writers help only
//! where calls of the storage take the time: a writer that finds no work, or no processor, is not helped by another. `scaling` looks and
//! carries the decision out.

use crate::metrics::Scaling;
use std::fmt;

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
/// The time between looks while there may be a reason to grow.
pub const LOOK_NS: u64 = 10 * MS;
/// The time between looks while there may be a reason to shrink.
const SAMPLE_NS: u64 = 100 * MS;
/// How long a reason to grow must last.
const LASTS_NS: u64 = 10 * MS;
/// The time between a change and the next growth, so that its effect can be seen.
const SETTLE_NS: u64 = 20 * MS;
/// An unclaimed event that is older (beyond `linger_us`) waits too long.
const AGED_NS: u64 = 20 * MS;
/// Percent of their time that writers spend in calls when the storage is the bottleneck.
const BUSY_PERCENT: u64 = 60;
/// How long one writer less must have been enough.
const QUIET_NS: u64 = 1_000 * MS;
/// The time between two writers that are taken away.
const STEP_NS: u64 = 250 * MS;
/// No change for this long after a thread could not be started.
const REFUSED_NS: u64 = 1_000 * MS;

/// What was seen at one look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The time of the look.
    pub now_ns: u64,
    /// Time since the look before.
    pub elapsed_ns: u64,
    /// The part of it that all writers together spent in calls of the storage.
    pub busy_ns: u64,
    /// Writers that there should be.
    pub writers: u32,
    /// `min_writers`.
    pub min: u32,
    /// `max_writers`.
    pub max: u32,
    /// How many writers could be in a call at once at most.
    pub useful: u32,
    /// Nothing may be claimed at present: paused, or being closed.
    pub held: bool,
    /// There is something to do: events unclaimed, batches to be taken up, a flush.
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

/// A change of the number of writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Writers before.
    pub from: u32,
    /// Writers after.
    pub to: u32,
    /// `PIPELINE_SCALE_…`.
    pub reason: u32,
}

/// What a decision needs to know of earlier looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Since when there is a reason to grow.
    pressed_since: Option<u64>,
    /// Since when one writer less would do.
    quiet_since: Option<u64>,
    /// When the number last changed.
    changed_ns: u64,
    progress: u64,
    /// Every attempt has failed since the storage last took something.
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

/// What is remembered of the number of writers and of the looks at it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Autoscaler {
    memory: Memory,
    looked_ns: u64,
    /// Time in calls up to then.
    busy_ns: u64,
    /// Attempts after the first up to then.
    retries: u64,
    /// The supervisor sleeps for longer than a look, and may be woken from this time on.
    asleep_from: Option<u64>,
    /// What the metrics show of it.
    pub scaling: Scaling,
}

impl Autoscaler {
    /// Decides, and says after how many nanoseconds to look again (`u64::MAX`: when there is news). `busy_ns` and `retries` are sums from
    /// the start on; what they have grown by since the look before becomes part of `seen`.
    pub fn look(&mut self, seen: &mut Seen, busy_ns: u64, retries: u64) -> (Option<Decision>, u64) {
        seen.elapsed_ns = seen.now_ns.saturating_sub(self.looked_ns);
        seen.busy_ns = busy_ns.saturating_sub(self.busy_ns);
        seen.troubled |= retries != self.retries;
        (self.looked_ns, self.busy_ns, self.retries) = (seen.now_ns, busy_ns, retries);
        let (decision, next) = self.memory.decide(seen);
        self.asleep_from = (next > LOOK_NS).then_some(seen.now_ns + LOOK_NS);
        (decision, next)
    }

    /// Whether the supervisor sleeps for so long that a writer may wake it.
    #[inline]
    pub fn is_asleep(&self, now_ns: u64) -> bool {
        self.asleep_from.is_some_and(|from| now_ns >= from)
    }

    /// The supervisor is woken.
    pub fn wake(&mut self) {
        self.asleep_from = None;
    }

    /// The number of writers changes.
    pub fn note(&mut self, decision: Decision, now_ns: u64) {
        let Decision { from, to, reason } = decision;
        if !matches!(reason, PIPELINE_SCALE_CALLER | PIPELINE_SCALE_BOUNDS) {
            *(if to > from { &mut self.scaling.ups } else { &mut self.scaling.downs }) += 1;
        }
        self.scaling = Scaling { from, to, reason, at_ns: now_ns, ..self.scaling };
        self.memory.changed_ns = now_ns;
    }

    /// The system has refused a thread: there are only so many writers. The next decision comes later.
    pub fn refused(&mut self, writers: u32, now_ns: u64) {
        self.scaling.to = writers;
        self.memory.changed_ns = now_ns + REFUSED_NS;
    }

    /// Autoscaling begins, or its bounds change: earlier looks are forgotten.
    pub fn restart(&mut self) {
        let changed_ns = self.memory.changed_ns;
        self.memory = Memory { changed_ns, ..Memory::default() };
    }
}

/// The reason of a decision, in words.
pub struct Reason<'a>(pub &'a Decision, pub &'a Seen);

impl fmt::Display for Reason<'_> {
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

#[cfg(test)]
mod tests;
