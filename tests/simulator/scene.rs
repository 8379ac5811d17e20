//! One run: a pipeline of random shape, producers, a storage with faults, somebody who meddles; then the faults stop, a fresh
//! event must get through, and the pipeline ends in one of the ways in which pipelines end.

use crate::check::{self, Facts};
use crate::producers::{self, Dice, Door, Sources};
use crate::storage::{Chaos, DIES, Fate, Settings, Shared};
use crate::world;
use capture_pipeline::batch::BatchView;
use capture_pipeline::config::{Config, Ordering as EventOrdering, Overflow};
use capture_pipeline::event::EventView;
use capture_pipeline::ledger::Ledger;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::platform::random::mix;
use capture_pipeline::platform::simulator;
use capture_pipeline::platform::sync::{AtomicU32, Ordering};
use capture_pipeline::platform::thread;
use capture_pipeline::status::{
    Error, PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FULL, PIPELINE_ERR_STORAGE,
    PIPELINE_ERR_SYSTEM, PIPELINE_ERR_TIMEOUT, PIPELINE_OK,
};
use capture_pipeline::storage::PIPELINE_STORAGE_CONCURRENT;
use capture_pipeline::storage::callback::{CallbackStorage, Callbacks};
use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

/// What must come, comes within this time once the faults are over.
const PATIENCE: Duration = Duration::from_secs(600);
/// What a call may take beyond its timeout.
const GRACE_NS: u64 = 100_000_000;

/// Limits of the shapes.
const MOST_IN_FLIGHT: u32 = 6;
const MOST_IN_DOUBT: u32 = 3;

/// A run's shape.
#[derive(Clone, Debug)]
struct Shape {
    config: Config,
    settings: Settings,
    /// Through C functions, which may end their threads; else a Rust storage, which may panic.
    by_c: bool,
    producers: u64,
    events: usize,
    meddling: bool,
    end: End,
}

/// How the pipeline ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Everybody is done, the faults are over, close drains.
    Quiet,
    /// Close with a short timeout, in the middle of it all.
    Close,
    /// Destroy without a close, until it succeeds.
    Destroy,
    /// Abandon in the middle of it all.
    Abandon,
}

impl Shape {
    fn random(seed: u64) -> Self {
        let mut dice = Dice(mix(seed ^ 0x5CE7E));
        let ordering = if dice.once_in(3) { EventOrdering::PerProducer } else { EventOrdering::None };
        let overflow = match dice.below(4) {
            0 => Overflow::DropOldest,
            1 => Overflow::Block,
            _ => Overflow::DropNewest,
        };
        let faults = [0, 60, 20, 6][dice.below(4) as usize];
        let deadline_ms = 1 + dice.below(40);
        let retry_limit = if dice.once_in(3) { 1_000_000 } else { 1 + dice.below(6) as u32 };
        let release = !dice.once_in(3);
        let end = match dice.below(8) {
            0 => End::Close,
            1 => End::Destroy,
            2 => End::Abandon,
            _ => End::Quiet,
        };
        // (What grew too old is only told from what is left by what a writer releases.)
        let ages = release && end == End::Quiet && dice.once_in(3);
        let settings = Settings {
            seed: dice.roll(),
            concurrent: !dice.once_in(3),
            dead_letter: !dice.once_in(3),
            release,
            ordered: ordering == EventOrdering::PerProducer,
            retry_limit,
            ages,
            deadline: Duration::from_millis(deadline_ms),
            calm: dice.once_in(8),
            most_batches: if ages { 0 } else { (MOST_IN_FLIGHT + MOST_IN_DOUBT) as usize },
            faults,
        };
        let calm = settings.calm;
        let mut config = Config {
            name: "simulated".to_owned(),
            writers: u32::from(calm) + dice.below(5) as u32,
            batch_size: 1 + dice.below(24) as u32,
            batch_bytes: 1 + dice.below(3_000),
            linger_us: if calm || dice.once_in(2) { 0 } else { dice.below(3_000) },
            poll_interval_ms: 1 + dice.below(100),
            max_in_flight: 1 + dice.below(MOST_IN_FLIGHT.into()) as u32,
            max_in_doubt: dice.below(u64::from(MOST_IN_DOUBT) + 1) as u32,
            ring_bytes: 4096 << dice.below(2),
            max_rings: 1 + dice.below(4) as u32,
            max_retired_rings: dice.below(4) as u32,
            overflow,
            ordering,
            block_timeout_us: dice.below(20_000),
            retry_limit,
            retry_initial_us: dice.below(1_000),
            retry_max_us: 1 + dice.below(50_000),
            retry_max_age_ms: if ages { 2 + dice.below(60) } else { 360_000_000 },
            // (The supervisor looks in four times in that long.)
            storage_deadline_ms: if calm { 30_000 } else { deadline_ms },
            breaker_failures: if dice.once_in(2) { 0 } else { 1 + dice.below(8) as u32 },
            ..Config::default()
        };
        if dice.once_in(3) {
            config.max_writers = 1 + dice.below(6) as u32;
            config.min_writers = u32::from(calm) + dice.below(u64::from(config.max_writers)) as u32;
        }
        Self {
            config,
            settings,
            by_c: dice.once_in(2),
            producers: 1 + dice.below(4),
            events: 1 + dice.below(60) as usize,
            meddling: !calm && !dice.once_in(4),
            end,
        }
    }
}

// ---- the storage by way of C functions ----

unsafe fn chaos<'a>(user_data: *mut c_void) -> &'a Chaos {
    // SAFETY: made in `start`, freed by `destroy`.
    unsafe { &*user_data.cast::<Chaos>() }
}

/// From a frame that holds nothing: ends the thread if the storage says so.
fn end_thread_or(answer: i32) -> i32 {
    if answer == DIES {
        // SAFETY: unwinds, or ends, through C-unwind frames that hold nothing.
        unsafe { pthread_exit(std::ptr::null_mut()) }
    }
    answer
}

unsafe extern "C-unwind" {
    fn pthread_exit(value: *mut c_void) -> !;
}

unsafe extern "C-unwind" fn store(user_data: *mut c_void, batch: *const BatchView) -> i32 {
    // SAFETY: as the contract of storages has it.
    end_thread_or(unsafe { chaos(user_data).answer_store(&*batch) })
}

unsafe extern "C-unwind" fn flush(user_data: *mut c_void, _timeout_ms: i64) -> i32 {
    // SAFETY: as above.
    end_thread_or(unsafe { chaos(user_data).answer_flush() })
}

unsafe extern "C-unwind" fn dead_letter(user_data: *mut c_void, batch: *const BatchView, reason: i32) -> i32 {
    // SAFETY: as above.
    end_thread_or(unsafe { chaos(user_data).answer_dead_letter(&*batch, reason) })
}

unsafe extern "C-unwind" fn release(user_data: *mut c_void, event: *const EventView) {
    // SAFETY: as above.
    let answer = unsafe { chaos(user_data).see_released(&*event) };
    // Outside its writers (when the pipeline is torn down) it would end a thread of the test.
    if thread::name().starts_with(b"cp-") {
        end_thread_or(answer);
    }
}

unsafe extern "C-unwind" fn destroy(user_data: *mut c_void) {
    // SAFETY: made in `start`; called once.
    drop(unsafe { Box::from_raw(user_data.cast::<Chaos>()) });
}

fn start(shape: &Shape, shared: &Arc<Shared>) -> Result<Pipeline, Error> {
    let chaos = Chaos(Arc::clone(shared));
    if !shape.by_c {
        return Pipeline::start(shape.config.clone(), chaos);
    }
    let s = &shape.settings;
    let callbacks = Callbacks {
        flags: if s.concurrent { PIPELINE_STORAGE_CONCURRENT } else { 0 },
        user_data: Box::into_raw(Box::new(chaos)).cast(),
        store: Some(store),
        open_writer: None,
        close_writer: None,
        flush: Some(flush),
        dead_letter: s.dead_letter.then_some(dead_letter),
        release: s.release.then_some(release),
        destroy: Some(destroy),
    };
    // SAFETY: the functions above keep to the contract.
    let storage = unsafe { CallbackStorage::new(callbacks) };
    Pipeline::start_plain(shape.config.clone(), Box::new(storage))
}

// ---- the threads ----

type Body = Box<dyn FnMut() + Send>;

/// A thread of the run; what it says went wrong, or its panic, ends the process.
fn spawn(body: impl FnOnce() -> Result<(), String> + Send + 'static) -> thread::Handle {
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
fn check_time(what: &str, began: u64, stalled: u64, timeout: Duration) -> Result<(), String> {
    let took = world::now_ns() - began;
    let allowed = timeout.as_nanos() as u64 + GRACE_NS + (simulator::stalled_ns() - stalled);
    if took > allowed && simulator::is_fair() {
        return Err(format!("{what} took {took} ns, {allowed} allowed"));
    }
    Ok(())
}

/// Does everything to a pipeline that a program may, while `live` threads are left.
fn meddle(pipeline: &Pipeline, shape: &Shape, mut dice: Dice, live: &AtomicU32) -> Result<(), String> {
    let mut before = Ledger::default();
    while live.load(Ordering::Acquire) > 0 {
        let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
        let result = match dice.below(12) {
            0..4 => pipeline.scale(dice.below(7) as u32),
            4 => pipeline.pause(),
            5 | 6 => pipeline.resume(),
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
                pipeline.update(next)
            }
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
            Err(error) if error.status == PIPELINE_ERR_CLOSED && shape.end != End::Quiet => return Ok(()),
            other => other.map_err(|e| format!("control: {e}"))?,
        }
        world::sleep(Duration::from_micros(dice.below(4000)));
    }
    Ok(())
}

/// Single events at the moments at which writers go to sleep, then silence: nobody but the capture itself wakes a writer.
fn ping(pipeline: &Pipeline, sources: &Sources, mut dice: Dice) -> Result<(), String> {
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

/// Once the faults have stopped: an event captured now is stored, without help.
fn fresh_event(pipeline: &Pipeline, sources: &Sources, shared: &Shared) -> Result<(), String> {
    let mut source = sources.new_source();
    let began = world::now_ns();
    while source.offer(&Door::Thread(pipeline), 20) != PIPELINE_OK {
        let status = source.records.last().map_or(0, |r| r.status);
        if !matches!(status, PIPELINE_ERR_FULL | PIPELINE_ERR_BUSY)
            || world::now_ns() - began > PATIENCE.as_nanos() as u64
        {
            return Err(format!("a fresh event is answered {status}: {}", state_of(pipeline)));
        }
        world::sleep(Duration::from_millis(1));
    }
    let number = u64::from(source.id) << 32 | (source.records.len() as u64 - 1);
    sources.keep(source);
    if let Err(error) = pipeline.flush(Some(PATIENCE)) {
        return Err(format!("the flush behind a fresh event: {error}: {}", state_of(pipeline)));
    }
    let stored =
        shared.book.lock().events.values().any(|e| e.number == number && e.fate == Some(Fate::Stored));
    if stored { Ok(()) } else { Err(format!("a fresh event was not stored: {}", state_of(pipeline))) }
}

fn state_of(pipeline: &Pipeline) -> String {
    format!("{:?}\n{:?}", pipeline.health(), pipeline.metrics())
}

/// What a run was like, for the sums at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub captured: u64,
    pub stored: u64,
    pub retries: u64,
    pub restarts: u64,
}

fn play(seed: u64) -> Result<Sums, String> {
    let shape = Shape::random(seed);
    let mut dice = Dice(mix(seed ^ 0xD1CE));
    let shared = Shared::new(shape.settings.clone());
    let pipeline = match start(&shape, &shared) {
        Ok(pipeline) => Arc::new(pipeline),
        Err(error) if error.status == PIPELINE_ERR_SYSTEM => {
            // No thread to be had. The storage goes when the writers that did start have ended.
            let began = world::now_ns();
            while shared.dropped.load(Ordering::Acquire) == 0 && world::now_ns() - began < 1_000_000_000 {
                world::sleep(Duration::from_millis(1));
            }
            let dropped = shared.dropped.load(Ordering::Acquire);
            return if dropped == 1 { Ok(Sums::default()) } else { Err(format!("dropped {dropped} times")) };
        }
        Err(error) => return Err(format!("start: {error}")),
    };
    let sources = Arc::new(Sources::default());
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
            spawn(move || {
                let lived = if calm {
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
        let (shape, dice) = (shape.clone(), Dice(dice.roll()));
        spawn(move || meddle(&pipeline, &shape, dice, &live))
    });

    // ---- the end ----
    let mut wrong = Vec::new();
    if shape.end != End::Quiet {
        let most_us = [20, 300, 30_000][dice.below(3) as usize];
        world::sleep(Duration::from_micros(dice.below(most_us)));
    } else {
        lives.into_iter().for_each(thread::Handle::join);
        meddler.into_iter().for_each(thread::Handle::join);
        return finish_quietly(&shape, pipeline, &shared, &sources, completers, dice);
    }
    let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
    let timeout = Duration::from_millis(if dice.once_in(2) { 5_000 } else { dice.below(50) });
    let (mut metrics, mut drained) = (None, false);
    match shape.end {
        End::Close => {
            match pipeline.close(Some(timeout)) {
                Err(e)
                    if !matches!(
                        e.status,
                        PIPELINE_ERR_TIMEOUT | PIPELINE_ERR_STORAGE | PIPELINE_ERR_SYSTEM
                    ) =>
                {
                    wrong.push(format!("close: {e}"));
                }
                Ok(()) => drained = true,
                Err(_) => {}
            }
            wrong.extend(check_time("pipeline_close", began, stalled, timeout).err());
        }
        End::Quiet | End::Destroy | End::Abandon => {}
    }
    // Producers may still capture: they are refused.
    lives.into_iter().for_each(thread::Handle::join);
    meddler.into_iter().for_each(thread::Handle::join);
    if shape.end == End::Abandon {
        let Some(pipeline) = Arc::into_inner(pipeline) else { return Err("still held".to_owned()) };
        pipeline.abandon();
        wrong.extend(
            check_time("pipeline_abandon", began, stalled, Duration::from_millis(100))
                .err()
                .filter(|_| false),
        );
        shared.get_well();
    } else {
        let destroyed = |wrong: &mut Vec<String>| {
            let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
            let result = pipeline.destroy();
            wrong.extend(check_time("pipeline_destroy", began, stalled, Duration::ZERO).err());
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
    finish(&shape, &shared, &sources, completers, metrics, wrong)
}

fn finish_quietly(
    shape: &Shape,
    pipeline: Arc<Pipeline>,
    shared: &Arc<Shared>,
    sources: &Sources,
    completers: Vec<thread::Handle>,
    mut dice: Dice,
) -> Result<Sums, String> {
    let mut wrong = Vec::new();
    shared.get_well();
    pipeline.resume().map_err(|e| format!("resume: {e}"))?;
    loop {
        match pipeline.scale(1 + dice.below(4) as u32) {
            Err(error) if error.status == PIPELINE_ERR_SYSTEM => {}
            other => break other.map_err(|e| format!("scale: {e}"))?,
        }
    }
    fresh_event(&pipeline, sources, shared)?;
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
    // Where nothing but a death in `release` is in its way an event is seen at once: a wake that was lost would show as a wait for the
    // next look.
    let most = shape.config.poll_interval_ms * 750_000 + 2 * simulator::longest_stall_ns();
    if shape.settings.calm && simulator::is_fair() && metrics.latency.max > most.max(50_000_000) {
        wrong.push(format!("an event took {} ns to the storage, {most} allowed", metrics.latency.max));
    }
    if shared.dropped.load(Ordering::Acquire) != 0 {
        wrong.push("the storage was dropped before destroy".to_owned());
    }
    if let Err(error) = pipeline.destroy() {
        wrong.push(format!("destroy: {error}"));
    }
    finish(shape, shared, sources, completers, Some(metrics), wrong)
}

fn finish(
    shape: &Shape,
    shared: &Arc<Shared>,
    sources: &Sources,
    completers: Vec<thread::Handle>,
    metrics: Option<capture_pipeline::manager::Metrics>,
    mut wrong: Vec<String>,
) -> Result<Sums, String> {
    shared.no_more();
    completers.into_iter().for_each(thread::Handle::join);
    let dropped = shared.dropped.load(Ordering::Acquire);
    if dropped != 1 {
        wrong.push(format!("the storage was dropped {dropped} times"));
    }
    let mut sums = Sums::default();
    if let Some(metrics) = metrics {
        let facts = Facts {
            max_event_bytes: shape.config.event_limit() as usize,
            overwrites: shape.config.overflow == Overflow::DropOldest,
            retires: shape.config.ordering == EventOrdering::None,
            destroyed: true,
        };
        wrong.extend(check::compare(&sources.done.lock(), shared, &metrics, &facts));
        sums = Sums {
            captured: metrics.ledger.captured,
            stored: metrics.ledger.stored,
            retries: metrics.retries,
            restarts: metrics.writer_restarts,
        };
    } else {
        wrong.extend(shared.failures());
    }
    if wrong.is_empty() { Ok(sums) } else { Err(format!("{shape:?}\n{}", wrong.join("\n"))) }
}

// ---- the runs ----

fn run_one(seed: u64) -> (simulator::Report, Sums) {
    let sums = Arc::new(std::sync::Mutex::new(Sums::default()));
    let kept = Arc::clone(&sums);
    let report = simulator::run(seed, seed % 4 == 1, move || match play(seed) {
        Ok(sums) => *kept.lock().unwrap() = sums,
        Err(what) => simulator::fail(&what),
    });
    let sums = *sums.lock().unwrap();
    (report, sums)
}

unsafe extern "C" fn say(_: *mut c_void, _level: i32, text: *const std::ffi::c_char) {
    // SAFETY: the library gives a string.
    println!("{}: {:?}", world::now_ns(), unsafe { std::ffi::CStr::from_ptr(text) });
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|s| s.parse().ok()).unwrap_or(default)
}

/// Only one thread runs at a time: the baton is passed ten times as fast where nobody has to be woken on another processor.
fn stay_on_one_processor() {
    // SAFETY: plain data, written and read by the calls.
    unsafe {
        let (mut all, mut one): (libc::cpu_set_t, libc::cpu_set_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut all);
        let cpus: Vec<usize> =
            (0..libc::CPU_SETSIZE as usize).filter(|&i| libc::CPU_ISSET(i, &all)).collect();
        if !cpus.is_empty() {
            libc::CPU_SET(cpus[number("JOB", 0) as usize % cpus.len()], &mut one);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one);
        }
    }
}

pub fn main() {
    // Panics of the storage are part of the play.
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        if !text.contains("the storage's own fault") {
            eprintln!("{text}");
        }
    }));
    stay_on_one_processor();
    let (count, from) = (number("SEEDS", 5_000), number("FROM", 1));
    // Whatever is made once in a process is made here.
    run_one(0);
    if std::env::var_os("TRACE").is_some() {
        capture_pipeline::ffi::log::pipeline_log_callback(Some(say), std::ptr::null_mut(), 4);
    }
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        let (report, sums) = run_one(seed);
        println!("SEED={seed}: {report:?} {sums:?}");
        return;
    }
    let began = std::time::Instant::now();
    let (mut steps, mut switches, mut virtual_ns, mut all) = (0u64, 0u64, 0u64, Sums::default());
    for i in 0..count {
        let seed = from + i;
        let (report, sums) = run_one(seed);
        if i % 64 == 0 {
            let again = run_one(seed).0;
            assert_eq!(report, again, "SEED={seed} is not had again");
        }
        steps += report.steps;
        switches += report.switches;
        virtual_ns += report.virtual_ns;
        all.captured += sums.captured;
        all.stored += sums.stored;
        all.retries += sums.retries;
        all.restarts += sums.restarts;
        if (i + 1) % (count / 10).max(1) == 0 {
            println!("simulator: {} of {count} seeds in {:.0} s", i + 1, began.elapsed().as_secs_f64());
        }
    }
    println!(
        "simulator: {count} seeds from {from}: {steps} points, {switches} switches, {:.0} s of virtual time; {} events \
         captured, {} stored, {} retries, {} writers replaced",
        virtual_ns as f64 / 1e9,
        all.captured,
        all.stored,
        all.retries,
        all.restarts
    );
    println!("test result: ok. {count} passed; 0 failed");
}
