//! Sampling by trace, under load. Captures that find their ring buffer filled beyond the watermark raise the weight; the supervisor lowers it again.
//!
//! An event is kept if the hash of its trace is below 2^64 divided by the weight, and stands for as many events as the weight says. The hash does not depend on
//! the weight, so the sum of the weights estimates how many events were offered, whatever the weights were
//! (Horvitz and Thompson 1952). A larger weight keeps a part of what a smaller one keeps (Duffield and Grossglauser 2001, trajectory sampling).
//!
//! The weight of a trace is that of its first event: [`Traces`] holds it for as long as the trace goes on. So a trace is kept or sampled out as a whole. Where
//! the table has no place, each event of the trace is decided by the weight of its moment. A kept event whose trace may have lost earlier events
//! is flagged `PIPELINE_EVENT_PARTIAL`.

use super::sampled_by_rules::SampledByRules;
use super::traces::{EPOCHS, Found, Trace, Traces};
use super::verdict::{Decision, Fate};
use crate::event::PIPELINE_EVENT_PARTIAL;
use crate::platform::random::mix;
use crate::platform::sync::{AtomicU32, AtomicU64, Ordering};
use crate::status::Result;
use std::sync::OnceLock;

/// The largest weight.
pub const MAX_WEIGHT: u32 = 1 << 20;
/// Between the watermark and a full ring the weight is doubled so many times.
const STEPS: u64 = 8;

/// How much is sampled out. It is one word, so that its parts change together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    /// The binary logarithm of the weight of new traces.
    log2: u32,
    /// How many steps beyond the watermark it was last raised at.
    step: u32,
    /// The largest logarithm since sampling began.
    highest: u32,
}

impl Level {
    fn unpack(word: u32) -> Self {
        Self { log2: word & 0xFF, step: word >> 8 & 0xFF, highest: word >> 16 }
    }

    fn pack(self) -> u32 {
        self.log2 | self.step << 8 | self.highest << 16
    }
}

/// What is decided about an event for which a rule asks for a weight.
#[derive(Clone, Copy, Debug)]
pub struct Sampled {
    /// The verdict.
    pub decision: Decision,
    /// It is sampled out at the weight of the rule.
    pub by_weight: bool,
}

/// Sampling by trace.
#[derive(Debug, Default)]
pub struct Sampling {
    /// A [`Level`].
    level: AtomicU32,
    /// The binary logarithm of the largest weight allowed; 0: no sampling.
    max_log2: AtomicU32,
    /// Counts the eighths of the time after which a quiet trace is forgotten.
    epoch: AtomicU32,
    /// Events that were decided without a place in the table.
    untracked: AtomicU64,
    /// 1: traces were promoted.
    promotes: AtomicU32,
    by_rules: SampledByRules,
    seed: u64,
    traces: OnceLock<Traces>,
}

impl Sampling {
    /// Sampling whose decisions depend on `seed`; off.
    pub fn new(seed: u64) -> Self {
        Self { seed: mix(seed), ..Self::default() }
    }

    /// Makes the table for so many traces if weights up to `max_weight` need one. Fails if there is no memory for it.
    pub fn prepare(&self, max_weight: u32, traces: u32) -> Result<()> {
        if max_weight > 1 { self.prepare_table(traces) } else { Ok(()) }
    }

    /// Makes the table for so many traces, if there is none yet. Fails if there is no memory for it.
    pub fn prepare_table(&self, traces: u32) -> Result<()> {
        if self.traces.get().is_none() {
            let made = Traces::new(traces as usize)?;
            self.traces.get_or_init(|| made);
        }
        Ok(())
    }

    /// Allows weights up to `max_weight`, a power of two; 0 and 1: nothing is sampled out. The table is [there](Self::prepare).
    pub fn allow(&self, max_weight: u32) {
        self.max_log2.store(max_weight.clamp(1, MAX_WEIGHT).ilog2(), Ordering::Relaxed);
    }

    /// Whether sampling may begin.
    #[inline(always)]
    pub fn is_allowed(&self) -> bool {
        self.max_log2.load(Ordering::Relaxed) > 0
    }

    /// The weight of new traces.
    pub fn weight(&self) -> u32 {
        1 << self.level().log2
    }

    /// Events that were decided without a place in the table.
    pub fn untracked(&self) -> u64 {
        self.untracked.load(Ordering::Relaxed)
    }

    fn level(&self) -> Level {
        Level::unpack(self.level.load(Ordering::Acquire))
    }

    /// How many steps beyond the watermark a ring is, of which `used` bytes are in use.
    fn step(used: u64, watermark: u64, capacity: u64) -> u32 {
        let beyond = u128::from(used.saturating_sub(watermark)) * u128::from(STEPS);
        let steps = beyond / u128::from(capacity.saturating_sub(watermark).max(1));
        1 + steps.min(u128::from(STEPS) - 1) as u32
    }

    /// A ring is filled beyond its watermark, up to `used` bytes: doubles the weight for each step that no ring had reached before.
    pub fn raise(&self, used: u64, watermark: u64, capacity: u64) {
        let (step, max) = (Self::step(used, watermark, capacity), self.max_log2.load(Ordering::Relaxed));
        let mut seen = self.level.load(Ordering::Acquire);
        loop {
            let level = Level::unpack(seen);
            if step <= level.step {
                return;
            }
            let log2 = (level.log2 + step - level.step).min(max);
            let raised = Level { log2, step, highest: level.highest.max(log2) }.pack();
            match self.level.compare_exchange(seen, raised, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Notes the time for the traces, which are forgotten after `hold_ns` without an event.
    pub fn keep_epoch(&self, now_ns: u64, hold_ns: u64) {
        let epoch = now_ns / (hold_ns / EPOCHS).max(1);
        self.epoch.store(epoch as u32, Ordering::Relaxed);
    }

    /// Some time has passed, and the pressure is `percent`: below the watermark the weight is halved, otherwise captures may raise it further. Returns
    /// whether the weight is 1.
    pub fn tick(&self, percent: u32, watermark: u32) -> bool {
        let max = self.max_log2.load(Ordering::Relaxed);
        // (Never fails.)
        let _ = self.level.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let level = Level::unpack(word);
            let next = if percent < watermark {
                Level { log2: level.log2.saturating_sub(1), step: 0, ..level }
            } else {
                let step = Self::step(percent.into(), watermark.into(), 100).saturating_sub(1);
                Level { step: level.step.min(step), ..level }
            };
            Some(Level { log2: next.log2.min(max), ..next }.pack())
        });
        self.level().log2 == 0
    }

    /// Sampling has ended, unless the weight was raised meanwhile: no trace that still goes on has lost an event.
    pub fn end(&self) {
        let ended = |word| {
            let level = Level::unpack(word);
            (level.log2 == 0).then_some(Level { highest: 0, ..level }.pack())
        };
        let _ = self.level.fetch_update(Ordering::AcqRel, Ordering::Acquire, ended);
    }

    /// Decides about an event of the trace `id`, 0: none. `alone` is a number that no other event has.
    #[inline]
    pub fn decide(&self, id: u64, alone: impl FnOnce() -> u64) -> Decision {
        if id == 0 {
            return verdict(self.hash(alone()), self.level().log2, false);
        }
        let hash = self.hash(id);
        let found = match self.traces.get() {
            Some(traces) => traces.find(hash, self.epoch.load(Ordering::Relaxed), || self.new_trace(hash)),
            None => Found::NoPlace,
        };
        match found {
            Found::Trace(trace) => verdict(hash, trace.log2, trace.partial),
            Found::NoPlace => self.decide_untracked(hash, false),
            Found::Locked => self.decide_untracked(hash, true),
        }
    }

    /// The same where a rule asks for a weight of at least `weight`, 1 to [`MAX_WEIGHT`]. `under_load`: sampling is in effect.
    pub fn decide_at(&self, id: u64, alone: impl FnOnce() -> u64, weight: u32, under_load: bool) -> Sampled {
        let number = if id == 0 { alone() } else { id };
        if let Some(verdict) = self.promoted(id) {
            return Sampled { decision: verdict, by_weight: false };
        }
        let verdict = if under_load { self.decide(id, || number) } else { Decision::KEEP };
        // (Both decide by the same hash, so what the larger weight keeps, the smaller one does.)
        let kept = is_kept_by_rule(self.hash(number), weight);
        let fate = if kept { verdict.fate } else { Fate::SampleOut };
        let decision = Decision { fate, weight: verdict.weight.max(weight), ..verdict };
        Sampled { decision, by_weight: !kept }
    }

    /// From here on the trace `id` is kept as a whole, with weight 1, for as long as the table has it. Returns the verdict about the event that promotes it.
    pub fn promote(&self, id: u64) -> Decision {
        let Some(traces) = self.traces.get().filter(|_| id != 0) else { return Decision::KEEP };
        self.promotes.store(1, Ordering::Relaxed);
        let (hash, epoch) = (self.hash(id), self.epoch.load(Ordering::Relaxed));
        // What a weight has sampled out before is gone.
        let cut_by_rule = !is_kept_by_rule(hash, self.by_rules.of_late());
        let partial = cut_by_rule || !is_kept(hash, self.level().highest);
        match traces.find(hash, epoch, || Trace { log2: 0, partial, promoted: true }) {
            Found::Trace(trace) if trace.promoted => verdict(hash, 0, trace.partial),
            Found::Trace(trace) => {
                let partial = trace.partial || cut_by_rule || !is_kept(hash, trace.log2);
                traces.promote(hash, partial);
                verdict(hash, 0, partial)
            }
            Found::NoPlace | Found::Locked => {
                self.untracked.fetch_add(1, Ordering::Relaxed);
                verdict(hash, 0, partial)
            }
        }
    }

    /// The largest weight at which the rules in force sample.
    pub fn weight_of_rules(&self) -> u32 {
        self.by_rules.in_force()
    }

    /// From now on, rules sample at this weight at most.
    pub fn note_rules(&self, weight: u32, now_ns: u64) {
        self.by_rules.note(weight, now_ns);
    }

    /// Forgets rules that were replaced longer than `hold_ns` ago.
    pub fn forget_rules(&self, now_ns: u64, hold_ns: u64) {
        self.by_rules.forget(now_ns, hold_ns);
    }

    /// Whether traces were ever promoted.
    pub fn promotes(&self) -> bool {
        self.promotes.load(Ordering::Relaxed) != 0
    }

    /// The verdict about an event of a promoted trace.
    fn promoted(&self, id: u64) -> Option<Decision> {
        if id == 0 || !self.promotes() {
            return None;
        }
        let hash = self.hash(id);
        let trace = self.traces.get()?.look_up(hash, self.epoch.load(Ordering::Relaxed))?;
        trace.promoted.then(|| verdict(hash, 0, trace.partial))
    }

    /// The weight of a trace that begins now, and whether it may have lost events.
    fn new_trace(&self, hash: u64) -> Trace {
        let level = self.level();
        let partial = is_kept(hash, level.log2) && !is_kept(hash, level.highest);
        Trace { log2: level.log2, partial, promoted: false }
    }

    /// `beside`: another thread holds the place that the trace would get, perhaps for this trace.
    #[cold]
    fn decide_untracked(&self, hash: u64, beside: bool) -> Decision {
        self.untracked.fetch_add(1, Ordering::Relaxed);
        let trace = self.new_trace(hash);
        let verdict = verdict(hash, trace.log2, trace.partial);
        if beside
            && verdict.fate != Fate::Keep
            && let Some(traces) = self.traces.get()
        {
            traces.note_cut(hash);
        }
        verdict
    }

    #[inline(always)]
    fn hash(&self, id: u64) -> u64 {
        mix(id ^ self.seed)
    }
}

/// Whether a trace with this hash is kept at the weight of a rule. 0: there is none.
#[inline(always)]
fn is_kept_by_rule(hash: u64, weight: u32) -> bool {
    (u128::from(hash) * u128::from(weight)) >> 64 == 0
}

/// Whether a trace with this hash is kept at the weight with this logarithm.
#[inline(always)]
fn is_kept(hash: u64, log2: u32) -> bool {
    // (Not a shift by 64, which is none, where the weight is 1.)
    log2 == 0 || hash >> (64 - log2) == 0
}

#[inline(always)]
fn verdict(hash: u64, log2: u32, partial: bool) -> Decision {
    let fate = if is_kept(hash, log2) { Fate::Keep } else { Fate::SampleOut };
    let flags = if partial { PIPELINE_EVENT_PARTIAL } else { 0 };
    Decision { fate, weight: 1 << log2, flags }
}

#[cfg(test)]
mod tests;
