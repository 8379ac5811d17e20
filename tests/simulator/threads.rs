//! The threads of a run and what they do: capture and keep silent, meddle, see that a fresh event gets through.

use crate::check;
use crate::producers::{Dice, Door, Sources};
use crate::rules;
use crate::shape::{End, MOST_IN_FLIGHT, Shape};
use crate::start::transform;
use crate::storage::{Fate, Shared};
use crate::world;
use capture_pipeline::kinds::{Definition, Field, Integer, Type};
use capture_pipeline::ledger::Ledger;
use capture_pipeline::manager::{Pipeline, Watcher};
use capture_pipeline::platform::simulator;
use capture_pipeline::platform::sync::{AtomicU32, Ordering};
use capture_pipeline::platform::thread;
use capture_pipeline::pool::shares::limit_calls;
use capture_pipeline::status::{
    Error, PIPELINE_DROPPED_BY_RULE, PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FIXED,
    PIPELINE_ERR_FULL, PIPELINE_ERR_STORAGE, PIPELINE_ERR_SYSTEM, PIPELINE_ERR_TIMEOUT, PIPELINE_OK,
    PIPELINE_SAMPLED,
};
use std::sync::Arc;
use std::time::Duration;

/// What must come, comes within this time once the faults are over.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// What a call may take beyond its timeout.
const GRACE_NS: u64 = 100_000_000;

// ---- the threads ----

type Body = Box<dyn FnMut() + Send>;

/// A thread of the run; what it says went wrong, or its panic, ends the process.
pub fn spawn(body: impl FnOnce() -> Result<(), String> + Send + 'static) -> thread::Handle {
    let mut body = Some(body);
    let main = move || {
        let Some(body) = body.take() else { return };
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
            Ok(Ok(())) => {}
            Ok(Err(what)) => simulator::fail(&what),
            Err(panic) => simulator::fail(&format!("a thread of the run panicked: {}", text_of(&*panic))),
        }
    };
    let mut main: Body = Box::new(main);
    // The simulator lets the creation of threads fail now and then.
    let slot: Arc<std::sync::Mutex<Option<Body>>> = Arc::default();
    loop {
        *slot.lock().unwrap() = Some(main);
        let taken = Arc::clone(&slot);
        let run = move || {
            let main = taken.lock().unwrap().take();
            if let Some(mut main) = main {
                main();
            }
        };
        match thread::spawn("test", Box::new(run)) {
            Ok(handle) => return handle,
            Err(_) => main = slot.lock().unwrap().take().expect("not run"),
        }
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("of an unknown kind")
}

/// Whether a call that was to keep a timeout has kept it.
pub fn check_time(what: &str, began: u64, stalled: u64, timeout: Duration) -> Result<(), String> {
    let took = world::now_ns() - began;
    let allowed = timeout.as_nanos() as u64 + GRACE_NS + (simulator::stalled_ns() - stalled);
    if took > allowed && simulator::is_fair() {
        return Err(format!("{what} took {took} ns, {allowed} allowed"));
    }
    Ok(())
}

/// What never waits takes no time but that of the machine.
pub fn check_at_once(what: &str, began: u64, stalled: u64) -> Result<(), String> {
    const MOST_NS: u64 = 20_000_000;
    let took = world::now_ns() - began;
    let allowed = MOST_NS + (simulator::stalled_ns() - stalled);
    if took > allowed && simulator::is_fair() {
        return Err(format!("{what} took {took} ns, {allowed} allowed"));
    }
    Ok(())
}

/// Defines a kind, in one of two layouts. The first one stays.
fn define_kind(pipeline: &Pipeline, dice: &mut Dice) -> Result<(), Error> {
    let kind = dice.below(5) as u32;
    let mut definition = Definition::new(kind, &format!("kind{kind}"));
    let integer = if dice.once_in(2) { Integer::U32 } else { Integer::I64 };
    definition.fields.push(Field::new("value", Type::Integer(integer), 0));
    definition.fit();
    match pipeline.define_kind(definition.clone()) {
        // Once it is defined, it stays so.
        Ok(()) => pipeline.define_kind(definition),
        Err(error) if error.status == PIPELINE_ERR_FIXED => Ok(()),
        other => other,
    }
}

/// Has the pipeline tell of its pressure, to a function that counts in `wrong` what it must not be told.
fn watch_pressure(pipeline: &Pipeline, dice: &mut Dice, wrong: &Arc<AtomicU32>) -> Result<(), Error> {
    let low = dice.below(60) as u32;
    let high = low + 1 + dice.below(40) as u32;
    let (wrong, calls, inside) = (Arc::clone(wrong), AtomicU32::new(0), AtomicU32::new(0));
    let hangs = dice.below(3_000);
    let watcher = Watcher::new(low, high, move |percent, is_high| {
        let is_turn = is_high == calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let fits = if is_high { percent >= high } else { percent <= low };
        if !is_turn || !fits || percent > 100 || inside.fetch_add(1, Ordering::Relaxed) != 0 {
            wrong.fetch_add(1, Ordering::Relaxed);
        }
        world::sleep(Duration::from_micros(hangs));
        inside.fetch_sub(1, Ordering::Relaxed);
    });
    match pipeline.watch_pressure((!dice.once_in(5)).then_some(watcher)) {
        // It is being told of something.
        Err(error) if error.status == PIPELINE_ERR_BUSY => Ok(()),
        other => other,
    }
}

/// Does everything to a pipeline that a program may, while `live` threads are left.
pub fn meddle(
    pipeline: &Pipeline,
    shape: &Shape,
    shared: Option<&Arc<Shared>>,
    mut dice: Dice,
    live: &AtomicU32,
) -> Result<(), String> {
    let mut before = Ledger::default();
    let wrong = Arc::new(AtomicU32::new(0));
    // What holds events back besides, whose turn it is cannot be told.
    let turns = || shared.into_iter().filter_map(|shared| shared.turns.as_ref());
    let disarm = || turns().for_each(|turns| turns.disarm());
    while live.load(Ordering::Acquire) > 0 {
        let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
        let result = match dice.below(18) {
            0..4 => pipeline.scale(dice.below(7) as u32),
            4 => {
                turns().for_each(|turns| turns.pause());
                pipeline.pause()
            }
            5 | 6 => {
                let resumed = pipeline.resume();
                turns().for_each(|turns| turns.resumed());
                resumed
            }
            7 => {
                let mut next = pipeline.config();
                next.batch_size = 1 + dice.below(30) as u32;
                next.batch_bytes = 1 + dice.below(4_000);
                next.linger_us = if dice.once_in(2) { 0 } else { dice.below(3000) };
                next.poll_interval_ms = 1 + dice.below(50);
                next.max_in_flight = 1 + dice.below(MOST_IN_FLIGHT.into()) as u32;
                next.block_timeout_us = dice.below(5000);
                next.breaker_failures = dice.below(6) as u32;
                if dice.once_in(3) {
                    (next.min_writers, next.max_writers) = (dice.below(3) as u32, 2 + dice.below(5) as u32);
                }
                disarm();
                pipeline.update(next)
            }
            12 => pipeline.kind_name(dice.below(9) as u32, format!("name {}", dice.below(3)).as_bytes()),
            13 => define_kind(pipeline, &mut dice),
            17 => rules::change(pipeline, &mut dice, shape.config.sampling_max_weight),
            14 => watch_pressure(pipeline, &mut dice, &wrong),
            // (A transform keeps the book of a storage that fails.)
            15 => {
                disarm();
                let shared = shared.filter(|_| !dice.once_in(3));
                pipeline.set_transform(shared.map(|shared| transform(shape, shared)))
            }
            16 => limit_calls(dice.below(4) as u32),
            8 => {
                let timeout = Duration::from_millis(dice.below(60));
                let flushed = pipeline.flush(Some(timeout));
                check_time("pipeline_flush", began, stalled, timeout)?;
                match flushed {
                    Err(e) if matches!(e.status, PIPELINE_ERR_TIMEOUT | PIPELINE_ERR_STORAGE) => Ok(()),
                    other => other,
                }
            }
            _ => {
                let metrics = pipeline.metrics();
                check::check_snapshot(&metrics.ledger, &before, shape.producers)?;
                before = metrics.ledger;
                if metrics.oldest_age_ns > metrics.uptime_ns {
                    return Err(format!("an event is older than the pipeline: {metrics:?}"));
                }
                if wrong.load(Ordering::Relaxed) > 0 {
                    return Err("the pressure callback was told what is not so".to_owned());
                }
                if metrics.pressure > 100 || pipeline.pressure() > 100 {
                    return Err(format!("the pressure is {}", metrics.pressure));
                }
                if metrics.rings_retired > u64::from(shape.config.max_retired_rings) {
                    return Err(format!("{} rings are retired", metrics.rings_retired));
                }
                let health = pipeline.health();
                if (health.status == 0) != (health.message == "healthy") && health.reasons & 1 == 0 {
                    return Err(format!("health {} is told as: {}", health.status, health.message));
                }
                Ok(())
            }
        };
        check_time("a call of control", began, stalled, Duration::from_millis(60))?;
        match result {
            // A thread could not be created: the supervisor tries again.
            Err(error) if error.status == PIPELINE_ERR_SYSTEM => {}
            // The storage has not taken the names and definitions before.
            Err(error) if error.status == PIPELINE_ERR_FULL => {}
            Err(error) if error.status == PIPELINE_ERR_CLOSED && shape.end != End::Quiet => return Ok(()),
            other => other.map_err(|e| format!("control: {e}"))?,
        }
        world::sleep(Duration::from_micros(dice.below(4000)));
    }
    pipeline.clear_rules().map_err(|e| format!("control: {e}"))?;
    // While the callback runs, the pipeline cannot be destroyed.
    while pipeline.watch_pressure(None).is_err_and(|error| error.status == PIPELINE_ERR_BUSY) {
        world::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Single events at the moments at which writers go to sleep, then silence: nobody but the capture itself wakes a writer.
pub fn ping(pipeline: &Pipeline, sources: &Sources, mut dice: Dice) -> Result<(), String> {
    let mut source = sources.new_source();
    let silence = Duration::from_millis(3 * pipeline.config().poll_interval_ms);
    for _ in 0..20 {
        for _ in 0..=dice.below(3) {
            source.offer(&Door::Thread(pipeline), 8);
            world::sleep(Duration::from_nanos(dice.below(12_000)));
        }
        world::sleep(silence);
    }
    sources.keep(source);
    Ok(())
}

/// More events than the rings hold, again and again, under `block`: each gets in as soon as there is space, and not when its time is
/// over. (The last of a burst have nobody after them who would get a writer going.)
pub fn flood(pipeline: &Pipeline, sources: &Sources, mut dice: Dice) -> Result<(), String> {
    let mut source = sources.new_source();
    let timeout = Duration::from_micros(pipeline.config().block_timeout_us);
    for _ in 0..10 {
        for n in 0..30 {
            let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
            let status = source.offer(&Door::Thread(pipeline), dice.below(900) as usize);
            let waited = world::now_ns() - began - (simulator::stalled_ns() - stalled);
            if status != PIPELINE_OK || waited >= timeout.as_nanos() as u64 / 2 {
                return Err(format!(
                    "event {n} is answered {status} after {waited} ns: {}",
                    state_of(pipeline)
                ));
            }
        }
        world::sleep(Duration::from_micros(dice.below(300)));
    }
    sources.keep(source);
    Ok(())
}

/// Once the faults have stopped: an event captured now is stored, without help.
pub fn fresh_event(pipeline: &Pipeline, sources: &Sources, shared: &Shared) -> Result<(), String> {
    let mut source = sources.new_source();
    let began = world::now_ns();
    while source.offer(&Door::Thread(pipeline), 20) != PIPELINE_OK {
        let status = source.records.last().map_or(0, |r| r.status);
        let passes = [PIPELINE_ERR_FULL, PIPELINE_ERR_BUSY, PIPELINE_SAMPLED, PIPELINE_DROPPED_BY_RULE];
        if !passes.contains(&status) || world::now_ns() - began > PATIENCE.as_nanos() as u64 {
            return Err(format!("a fresh event is answered {status}: {}", state_of(pipeline)));
        }
        world::sleep(Duration::from_millis(1));
    }
    let number = u64::from(source.id) << 32 | (source.records.len() as u64 - 1);
    sources.keep(source);
    if let Err(error) = pipeline.flush(Some(PATIENCE)) {
        return Err(format!("the flush behind a fresh event: {error}: {}", state_of(pipeline)));
    }
    // Nothing waits any more, and nobody captures.
    let began = world::now_ns();
    while pipeline.pressure() > 0 || pipeline.metrics().sampling_weight > 1 {
        if world::now_ns() - began > PATIENCE.as_nanos() as u64 {
            return Err(format!("the pressure or the weight stays: {}", state_of(pipeline)));
        }
        world::sleep(Duration::from_millis(1));
    }
    let stored =
        shared.book.lock().events.values().any(|e| e.number == number && e.fate == Some(Fate::Stored));
    if stored { Ok(()) } else { Err(format!("a fresh event was not stored: {}", state_of(pipeline))) }
}

pub fn state_of(pipeline: &Pipeline) -> String {
    format!("{:?}\n{:?}", pipeline.health(), pipeline.metrics())
}
