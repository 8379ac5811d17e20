//! One run: a pipeline of random shape, producers, a storage with faults, somebody who meddles; then the faults stop, a fresh
//! event must get through, and the pipeline ends in one of the ways in which pipelines end.

use crate::check::{self, Facts};
use crate::old_runs::{Given, Memory};
use crate::producers::{self, Dice, Sources};
use crate::shape::{End, Shape};
use crate::start::start;
use crate::storage::{Shared, Turns};
use crate::threads::{
    PATIENCE, check_at_once, check_time, flood, fresh_event, meddle, ping, spawn, state_of,
};
use crate::world;
use capture_pipeline::config::{Ordering as EventOrdering, Overflow};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::platform::random::mix;
use capture_pipeline::platform::simulator;
use capture_pipeline::platform::sync::{AtomicU32, Ordering};
use capture_pipeline::platform::thread;
use capture_pipeline::pool::shares::limit_calls;
use capture_pipeline::status::{PIPELINE_ERR_STORAGE, PIPELINE_ERR_SYSTEM, PIPELINE_ERR_TIMEOUT};
use std::sync::Arc;
use std::time::Duration;

/// What a run was like, for the sums at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub captured: u64,
    pub sampled: u64,
    pub ruled_out: u64,
    pub stored: u64,
    pub retries: u64,
    /// Answers for which the next batch was given.
    pub exchanges: u64,
    pub restarts: u64,
    /// Attempts shown as spans.
    pub spans: u64,
    pub filtered: u64,
    pub rewritten: u64,
    /// Calls with priority, and without, while both waited.
    pub first: u64,
    pub eighth: u64,
    /// Where traces were looked at: events sampled out, events that say that their trace lost others, traces kept with a weight.
    pub cut: u64,
    pub partial: u64,
    pub weighed: u64,
    /// Events of runs that have ended.
    pub recovered: u64,
}

impl Sums {
    pub fn add(&mut self, other: &Self) {
        self.captured += other.captured;
        self.sampled += other.sampled;
        self.ruled_out += other.ruled_out;
        self.stored += other.stored;
        self.retries += other.retries;
        self.exchanges += other.exchanges;
        self.restarts += other.restarts;
        self.spans += other.spans;
        self.filtered += other.filtered;
        self.rewritten += other.rewritten;
        self.first += other.first;
        self.eighth += other.eighth;
        self.cut += other.cut;
        self.partial += other.partial;
        self.weighed += other.weighed;
        self.recovered += other.recovered;
    }
}

impl std::fmt::Display for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            captured,
            sampled,
            ruled_out,
            stored,
            retries,
            exchanges,
            restarts,
            spans,
            filtered,
            rewritten,
            first,
            eighth,
            cut,
            partial,
            weighed,
            recovered,
        } = self;
        write!(
            f,
            "{captured} events captured, {sampled} sampled out, {ruled_out} dropped by rules, {stored} stored, {retries} retries, {exchanges} answers exchanged, {restarts} writers \
             replaced, {spans} attempts shown as spans, {filtered} events filtered, {rewritten} rewritten; {first} calls with priority and {eighth} without while both waited; of traces {cut} events \
             sampled out, {partial} flagged, {weighed} kept with a weight; {recovered} events recovered"
        )
    }
}

/// Plays the run of a seed; what went wrong, in words.
pub fn play(seed: u64) -> Result<Sums, String> {
    let shape = Shape::random(seed);
    let mut dice = Dice(mix(seed ^ 0xD1CE));
    let turns = shape.urgent.then(|| {
        let most = shape.config.priority_event_limit().map(|limit| limit as usize);
        Arc::new(Turns::new(most, shape.config.max_in_flight))
    });
    let shared = Shared::new(shape.settings.clone(), turns.clone());
    // The limit is the process's, and may be left from the run before.
    limit_calls(0).map_err(|error| error.to_string())?;
    let pipeline = match start(&shape, &shared) {
        Ok(pipeline) => Arc::new(pipeline),
        Err(error) if error.status == PIPELINE_ERR_SYSTEM => {
            // No thread to be had. The storage goes when the writers that did start have ended.
            shared.get_well();
            let began = world::now_ns();
            while shared.dropped.load(Ordering::Acquire) == 0 && world::now_ns() - began < 1_000_000_000 {
                world::sleep(Duration::from_millis(1));
            }
            let dropped = shared.dropped.load(Ordering::Acquire);
            return if dropped == 1 { Ok(Sums::default()) } else { Err(format!("dropped {dropped} times")) };
        }
        Err(error) => return Err(format!("start: {error}")),
    };
    let given = shape.recovers.then(|| recover(&pipeline, &shared, Dice(dice.roll()))).transpose()?.flatten();
    let sources = Arc::new(Sources {
        traces: shape.settings.traces,
        urgent: shape.urgent,
        turns,
        ..Sources::default()
    });
    let live = Arc::new(AtomicU32::new(shape.producers as u32));
    let completers: Vec<_> = (0..1 + dice.below(2))
        .map(|_| {
            let (shared, dice) = (Arc::clone(&shared), Dice(dice.roll()));
            spawn(move || {
                shared.complete_pending(dice);
                Ok(())
            })
        })
        .collect();
    let lives: Vec<_> = (0..shape.producers)
        .map(|_| {
            let (pipeline, sources, live) = (Arc::clone(&pipeline), Arc::clone(&sources), Arc::clone(&live));
            let (events, burst, life) =
                (shape.events, [1, 4, 32, 1_000][dice.below(4) as usize], Dice(dice.roll()));
            let calm = shape.settings.calm;
            let floods = calm
                && shape.config.overflow == Overflow::Block
                && shape.end == End::Quiet
                && !life.clone().once_in(4);
            spawn(move || {
                let lived = if floods {
                    flood(&pipeline, &sources, life)
                } else if calm {
                    ping(&pipeline, &sources, life)
                } else {
                    producers::live(&pipeline, &sources, life, events, burst)
                };
                live.fetch_sub(1, Ordering::AcqRel);
                lived
            })
        })
        .collect();
    let meddler = shape.meddling.then(|| {
        let (pipeline, live) = (Arc::clone(&pipeline), Arc::clone(&live));
        let (shape, shared, dice) = (shape.clone(), Arc::clone(&shared), Dice(dice.roll()));
        spawn(move || meddle(&pipeline, &shape, Some(&shared), dice, &live))
    });

    // ---- the end ----
    let mut wrong = Vec::new();
    if shape.end != End::Quiet {
        let most_us = [20, 300, 30_000][dice.below(3) as usize];
        world::sleep(Duration::from_micros(dice.below(most_us)));
    } else {
        lives.into_iter().for_each(thread::Handle::join);
        meddler.into_iter().for_each(thread::Handle::join);
        return finish_quietly(&shape, pipeline, &shared, (&sources, given.as_deref()), completers, dice);
    }
    let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
    let timeout = Duration::from_millis(if dice.once_in(2) { 5_000 } else { dice.below(50) });
    let (mut metrics, mut drained) = (None, false);
    match shape.end {
        End::Close => {
            let closed = pipeline.close(Some(timeout));
            wrong.extend(check_time("pipeline_close", began, stalled, timeout).err());
            match closed {
                Err(e)
                    if !matches!(
                        e.status,
                        PIPELINE_ERR_TIMEOUT | PIPELINE_ERR_STORAGE | PIPELINE_ERR_SYSTEM
                    ) =>
                {
                    wrong.push(format!("close: {e}"));
                }
                Ok(()) => {
                    drained = true;
                    // (A close whose time is over does not wait for the acknowledgements.)
                    let in_time = world::now_ns() - began < timeout.as_nanos() as u64;
                    if let Some(given) = given.as_deref().filter(|_| in_time) {
                        let recovered = pipeline.metrics().ledger.recovered;
                        if given.acknowledged.load(Ordering::Acquire) != recovered {
                            wrong.push(format!(
                                "close answered OK before all is acknowledged: {given:?}, {recovered}"
                            ));
                        }
                    }
                    // A close whose time is over is OK once a writer has taken the call of `finish` up, which may be before it is made.
                    let began = world::now_ns();
                    while shared.has_finish()
                        && shared.finishes() == 0
                        && world::now_ns() - began < PATIENCE.as_nanos() as u64
                    {
                        world::sleep(Duration::from_millis(1));
                    }
                    if shared.has_finish() && shared.finishes() == 0 {
                        wrong.push("close answered OK without the storage's finish".to_owned());
                    }
                }
                Err(_) => {}
            }
        }
        End::Quiet | End::Destroy | End::Abandon => {}
    }
    // Producers may still capture: they are refused.
    lives.into_iter().for_each(thread::Handle::join);
    meddler.into_iter().for_each(thread::Handle::join);
    if shape.end == End::Abandon {
        let Some(pipeline) = Arc::into_inner(pipeline) else { return Err("still held".to_owned()) };
        let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
        pipeline.abandon();
        wrong.extend(check_at_once("pipeline_abandon", began, stalled).err());
        shared.get_well();
    } else {
        let destroyed = |wrong: &mut Vec<String>| {
            let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
            let result = pipeline.destroy();
            wrong.extend(check_at_once("pipeline_destroy", began, stalled).err());
            result.is_ok()
        };
        let mut done = destroyed(&mut wrong);
        shared.get_well();
        let began = world::now_ns();
        while !done && world::now_ns() - began < PATIENCE.as_nanos() as u64 {
            world::sleep(Duration::from_millis(1));
            done = destroyed(&mut wrong);
        }
        if !done {
            wrong.push(format!("never destroyed: {}", state_of(&pipeline)));
        }
        let last = pipeline.metrics();
        // A capture that was let in before the close is part of it.
        if drained && last.ledger.left > 0 {
            wrong.push(format!("close answered OK, and has left events behind: {:?}", last.ledger));
        }
        metrics = Some(last);
    }
    let began = world::now_ns();
    while shared.dropped.load(Ordering::Acquire) == 0 && world::now_ns() - began < PATIENCE.as_nanos() as u64
    {
        world::sleep(Duration::from_millis(1));
    }
    finish(&shape, &shared, (&sources, given.as_deref()), completers, metrics, wrong)
}

/// Begins the recovery. `None`: its thread could not be started.
fn recover(pipeline: &Pipeline, shared: &Arc<Shared>, dice: Dice) -> Result<Option<Arc<Given>>, String> {
    let (source, given) = Memory::new(shared, dice);
    match pipeline.recover(Box::new(source)) {
        Ok(()) => Ok(Some(given)),
        Err(error) if error.status == PIPELINE_ERR_SYSTEM => Ok(None),
        Err(error) => Err(format!("recover: {error}")),
    }
}

/// Waits until it is so.
fn until(what: &str, pipeline: &Pipeline, is_so: impl Fn() -> bool) -> Result<(), String> {
    let began = world::now_ns();
    while !is_so() {
        if world::now_ns() - began > PATIENCE.as_nanos() as u64 {
            return Err(format!("{what}: {}", state_of(pipeline)));
        }
        world::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn finish_quietly(
    shape: &Shape,
    pipeline: Arc<Pipeline>,
    shared: &Arc<Shared>,
    (sources, given): (&Sources, Option<&Given>),
    completers: Vec<thread::Handle>,
    mut dice: Dice,
) -> Result<Sums, String> {
    let mut wrong = Vec::new();
    shared.get_well();
    pipeline.resume().map_err(|e| format!("resume: {e}"))?;
    shared.turns.iter().for_each(|turns| turns.resumed());
    loop {
        match pipeline.scale(1 + dice.below(4) as u32) {
            Err(error) if error.status == PIPELINE_ERR_SYSTEM => {}
            other => break other.map_err(|e| format!("scale: {e}"))?,
        }
    }
    fresh_event(&pipeline, sources, shared)?;
    if let Some(given) = given {
        let over = || given.over.load(Ordering::Acquire) == 1;
        until("the recovery does not end", &pipeline, over)?;
    }
    loop {
        match pipeline.close(Some(PATIENCE)) {
            Err(error) if error.status == PIPELINE_ERR_SYSTEM => {}
            other => break other.map_err(|e| format!("close: {e}: {}", state_of(&pipeline)))?,
        }
    }
    let metrics = pipeline.metrics();
    let l = &metrics.ledger;
    if l.buffered + l.in_flight + l.in_doubt + l.left != 0 {
        wrong.push(format!("close has left events behind: {l:?}"));
    }
    if metrics.oldest_age_ns != 0 {
        wrong.push(format!("an empty pipeline has an event {} ns old", metrics.oldest_age_ns));
    }
    // Where nothing but a death in `release` is in its way an event is seen at once: a wake that was lost would show as a wait for the
    // next look. Two stalls are allowed for; where captures wait for space an event also stands behind others, and its writer, who never
    // rests meanwhile, may be stalled twice on the way through them.
    let stalls = if shape.config.overflow == Overflow::Block { 3 } else { 2 };
    let most = shape.config.poll_interval_ms * 750_000 + stalls * simulator::longest_stall_ns();
    if shape.settings.calm && simulator::is_fair() && metrics.latency.max > most.max(50_000_000) {
        wrong.push(format!("an event took {} ns to the storage, {most} allowed", metrics.latency.max));
    }
    if shared.dropped.load(Ordering::Acquire) != 0 {
        wrong.push("the storage was dropped before destroy".to_owned());
    }
    if let Err(error) = pipeline.destroy() {
        wrong.push(format!("destroy: {error}"));
    }
    if let Some(given) = given {
        let (all, torn) = (given.events.load(Ordering::Acquire), given.torn.load(Ordering::Acquire));
        if (l.recovered, given.acknowledged.load(Ordering::Acquire), l.torn) != (all, all, torn) {
            wrong.push(format!("not recovered, or not acknowledged: {given:?}, {l:?}"));
        }
    }
    finish(shape, shared, (sources, given), completers, Some(metrics), wrong)
}

fn finish(
    shape: &Shape,
    shared: &Arc<Shared>,
    (sources, given): (&Sources, Option<&Given>),
    completers: Vec<thread::Handle>,
    metrics: Option<capture_pipeline::manager::Metrics>,
    mut wrong: Vec<String>,
) -> Result<Sums, String> {
    let closes = matches!(shape.end, End::Quiet | End::Close);
    let finishes = shared.finishes();
    if (shape.end == End::Quiet && shared.has_finish() && finishes != 1) || (!closes && finishes != 0) {
        wrong.push(format!("finish was called {finishes} times"));
    }
    shared.no_more();
    completers.into_iter().for_each(thread::Handle::join);
    if let Some(given) = given {
        let began = world::now_ns();
        while given.over.load(Ordering::Acquire) == 0 && world::now_ns() - began < PATIENCE.as_nanos() as u64
        {
            world::sleep(Duration::from_millis(1));
        }
        let (acknowledged, over) =
            (given.acknowledged.load(Ordering::Acquire), given.over.load(Ordering::Acquire));
        let recovered = metrics.as_ref().map_or(u64::MAX, |metrics| metrics.ledger.recovered);
        if over != 1 || acknowledged > recovered {
            wrong.push(format!(
                "the recovery has not ended, or has acknowledged too much: {given:?}, {recovered}"
            ));
        }
    }
    let dropped = shared.dropped.load(Ordering::Acquire);
    if dropped != 1 {
        wrong.push(format!("the storage was dropped {dropped} times"));
    }
    wrong.extend(shared.check_transforms().err());
    let mut sums = Sums::default();
    if let Some(metrics) = metrics {
        let most = |limit: Option<u64>| limit.map(|limit| limit as usize);
        let limits = (shape.config.event_limit() as usize, most(shape.config.priority_event_limit()));
        let retires = shape.config.ordering == EventOrdering::None;
        let facts = Facts::of(limits, shape.config.overflow == Overflow::DropOldest, retires);
        wrong.extend(check::compare(&sources.done.lock(), shared, &metrics, &facts));
        let chosen = shared.turns.as_ref().map_or([0; 2], |turns| turns.chosen());
        sums = Sums {
            captured: metrics.ledger.captured,
            sampled: metrics.ledger.dropped_sampled,
            ruled_out: metrics.ledger.dropped_rule,
            stored: metrics.ledger.stored,
            retries: metrics.retries,
            exchanges: shared.tally.exchanged.load(Ordering::Acquire),
            restarts: metrics.writer_restarts,
            spans: shared.tally.spans.load(Ordering::Acquire),
            filtered: metrics.ledger.filtered,
            rewritten: metrics.transformed,
            first: chosen[1],
            eighth: chosen[0],
            cut: shared.tally.cut.load(Ordering::Acquire),
            partial: shared.tally.partial_traces.load(Ordering::Acquire),
            weighed: shared.tally.weighed.load(Ordering::Acquire),
            recovered: metrics.ledger.recovered,
        };
    } else {
        wrong.extend(shared.failures());
    }
    if wrong.is_empty() { Ok(sums) } else { Err(format!("{shape:?}\n{}", wrong.join("\n"))) }
}
