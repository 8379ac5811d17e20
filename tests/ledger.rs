//! The ledger is exact: whatever producers, storage and control do to a pipeline at once, in the end every event that was
//! offered is accounted for, once, under one identity, with the content that was offered.
//!
//! Every random choice follows from a seed, which is printed; the environment's SEED replays it as far as threads allow.

#[path = "ledger/check.rs"]
mod check;
#[path = "ledger/ends.rs"]
mod ends;
#[path = "ledger/producers.rs"]
mod producers;
#[path = "ledger/rings.rs"]
mod rings;
#[path = "ledger/rules.rs"]
mod rules;
#[path = "ledger/storage/mod.rs"]
mod storage;
#[path = "ledger/world.rs"]
mod world;

use capture_pipeline::config::{Config, Ordering as EventOrdering, Overflow};
use capture_pipeline::ledger::Ledger;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::platform::random::mix;
use capture_pipeline::status::{PIPELINE_ERR_CLOSED, PIPELINE_ERR_STORAGE, PIPELINE_ERR_TIMEOUT};
use check::Facts;
use producers::{Dice, Door, Sources};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use storage::{Chaos, Settings, Shared};

/// How long to wait for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);
const THREADS: u64 = 8;

/// The seed of a test: the environment's, or a fixed one.
fn seed(default: u64) -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(default);
    println!("SEED={seed}");
    seed
}

/// Waits until `done`, and says what did not come.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A storage that answers OK, and keeps the book.
pub fn calm(release: bool) -> Arc<Shared> {
    let settings = Settings {
        seed: 0,
        concurrent: true,
        dead_letter: false,
        release,
        ordered: false,
        retry_limit: 10,
        ages: false,
        deadline: Duration::from_secs(30),
        calm: true,
        most_batches: 0,
        faults: 0,
        span_bytes: None,
        most_weight: 1,
        traces: false,
    };
    Shared::new(settings, None)
}

/// So often at least a storm's pipeline is changed after its transform has done all that it can do.
const STEPS: u32 = 60;

/// Does everything to a pipeline that a program may, at random, while `live` threads are left.
fn meddle(pipeline: &Pipeline, shared: &Arc<Shared>, mut dice: Dice, live: &AtomicU32, steps: &AtomicU32) {
    let mut before = Ledger::default();
    let (mut doubts, mut retired, mut flushed) = (0, 0, 0);
    // Each storm begins with a transform. Where events are to come as spans, it ends once it has done all that it can do.
    let storing = || storage::transform(shared, false, storage::survive);
    let mut result = pipeline.set_transform(Some(storing()));
    while live.load(Ordering::Acquire) > 0 {
        if let Err(error) = result {
            shared.fail(format!("control: {error}"));
        }
        let metrics = pipeline.metrics();
        let is_seen = metrics.ledger.filtered > 0 && metrics.transformed > 0 && metrics.transform_faults > 0;
        let ends = is_seen && steps.load(Ordering::Acquire) == 0;
        steps.fetch_add(is_seen.into(), Ordering::AcqRel);
        // The pace of the random calls; the test waits for nothing here.
        std::thread::sleep(Duration::from_micros(dice.below(4000)));
        result = match dice.below(15) {
            _ if ends && shared.settings.span_bytes.is_some() => pipeline.set_transform(None),
            0..4 => pipeline.scale(dice.below(9) as u32),
            4 => pipeline.pause(),
            5 | 6 => pipeline.resume(),
            7 => {
                let mut next = pipeline.config();
                next.batch_size = 1 + dice.below(300) as u32;
                next.batch_bytes = 1 + dice.below(100_000);
                next.linger_us = if dice.once_in(2) { 0 } else { dice.below(3000) };
                next.poll_interval_ms = 1 + dice.below(50);
                next.max_in_flight = 1 + dice.below(32) as u32;
                next.block_timeout_us = dice.below(5000);
                pipeline.update(next)
            }
            8 => match pipeline.flush(Some(Duration::from_millis(dice.below(6)))) {
                Err(e) if matches!(e.status, PIPELINE_ERR_TIMEOUT | PIPELINE_ERR_STORAGE) => Ok(()),
                other => {
                    flushed += 1;
                    other
                }
            },
            13 | 14 => rules::change(pipeline, &mut dice, shared.settings.most_weight),
            12 => {
                // (While there is one, nothing comes as spans.)
                let sets =
                    if shared.settings.span_bytes.is_some() { dice.once_in(4) } else { !dice.once_in(3) };
                pipeline.set_transform(sets.then(storing))
            }
            _ => {
                let metrics = pipeline.metrics();
                if let Err(what) = check::check_snapshot(&metrics.ledger, &before, THREADS) {
                    shared.fail(what);
                }
                before = metrics.ledger;
                doubts += u32::from(before.in_doubt > 0);
                retired = retired.max(metrics.rings_retired);
                if metrics.rings_retired > u64::from(pipeline.config().max_retired_rings) {
                    shared.fail(format!("{} rings are retired", metrics.rings_retired));
                }
                let health = pipeline.health();
                let healthy = (health.status == 0) == (health.message == "healthy");
                if !healthy && health.reasons & 1 == 0 {
                    shared.fail(format!("health {} is told as: {}", health.status, health.message));
                }
                Ok(())
            }
        };
    }
    if let Err(error) = result {
        shared.fail(format!("control: {error}"));
    }
    println!("{flushed} flushes succeeded; {doubts} snapshots with doubts; up to {retired} rings retired");
}

/// One run of everything at once.
fn storm(
    overflow: Overflow,
    ordering: EventOrdering,
    concurrent: bool,
    default_seed: u64,
    span_bytes: Option<u64>,
) {
    let seed = seed(default_seed);
    let mut dice = Dice(mix(seed));
    let few_rings = dice.once_in(3);
    let settings = Settings {
        seed: dice.roll(),
        concurrent,
        dead_letter: !dice.once_in(4),
        release: !dice.once_in(4) && span_bytes.is_none(),
        ordered: ordering == EventOrdering::PerProducer,
        retry_limit: 4,
        ages: false,
        deadline: Duration::from_millis(12),
        calm: false,
        most_batches: 0,
        faults: 0,
        span_bytes,
        most_weight: if Dice(mix(seed ^ 0x3E16)).once_in(2) { 64 } else { 1 },
        traces: false,
    };
    let ages = settings.release && dice.once_in(3);
    let settings = Settings { ages, ..settings };
    let config = Config {
        name: "storm".to_owned(),
        writers: 3,
        batch_size: 64,
        poll_interval_ms: 5,
        max_in_flight: 16,
        max_in_doubt: 4,
        ring_bytes: 32 << 10,
        priority_ring_bytes: 4 << 10,
        max_rings: if few_rings { 5 } else { 20 },
        max_retired_rings: 3,
        overflow,
        ordering,
        block_timeout_us: 3_000,
        retry_limit: settings.retry_limit,
        retry_initial_us: 200,
        retry_max_us: 5_000,
        retry_max_age_ms: if ages { 4 } else { 3_600_000 },
        storage_deadline_ms: settings.deadline.as_millis() as u64,
        sampling_max_weight: settings.most_weight,
        sampling_hold_ms: 20,
        ..Config::default()
    };
    println!("{overflow:?} {ordering:?} few_rings={few_rings} {settings:?}");
    let shared = Shared::new(settings, None);
    let pipeline = Pipeline::start(config, Chaos(Arc::clone(&shared))).expect("starts");
    let sources = Sources::default();
    let (live, steps) = (AtomicU32::new(THREADS as u32), AtomicU32::new(0));
    let began = Instant::now();

    let wrong = std::thread::scope(|scope| {
        let completers: Vec<_> = (0..2)
            .map(|_| {
                let (shared, dice) = (&*shared, Dice(dice.roll()));
                scope.spawn(move || shared.complete_pending(dice))
            })
            .collect();
        for _ in 0..THREADS {
            let (pipeline, sources, shared, live, steps) = (&pipeline, &sources, &*shared, &live, &steps);
            let mut dice = Dice(dice.roll());
            scope.spawn(move || {
                // One after the other, each with a thread of its own.
                for lives in 0.. {
                    // However fast the threads are, there is time for what the storm is about.
                    let two_parts = span_bytes.is_none() || shared.tally.wrapped.load(Ordering::Acquire) > 0;
                    let is_seen = steps.load(Ordering::Acquire) >= STEPS && two_parts;
                    let is_over = is_seen || began.elapsed() > PATIENCE;
                    if lives >= 6 && is_over {
                        break;
                    }
                    let events = 200 + dice.below(500) as usize;
                    let burst = if dice.once_in(4) { events + 1 } else { 32 };
                    let life = Dice(dice.roll());
                    let lived = std::thread::scope(|s| {
                        s.spawn(move || producers::live(pipeline, sources, life, events, burst)).join()
                    });
                    if let Err(what) = lived.unwrap_or_else(|_| Err("a capturing thread panicked".to_owned()))
                    {
                        shared.fail(what);
                    }
                }
                live.fetch_sub(1, Ordering::AcqRel);
            });
        }
        let meddler = scope.spawn(|| meddle(&pipeline, &shared, Dice(mix(seed ^ 1)), &live, &steps));
        if meddler.join().is_err() {
            shared.fail("the control thread panicked".to_owned());
        }

        pipeline.resume().expect("resumes");
        pipeline.scale(1 + dice.below(4) as u32).expect("scales");
        match pipeline.close(Some(PATIENCE)) {
            Err(error) if error.status != PIPELINE_ERR_STORAGE => {
                shared.fail(format!("close: {error}; {:?}; {:?}", pipeline.health(), pipeline.metrics()));
            }
            _ => {}
        }
        shared.no_more();
        for completer in completers {
            let _ = completer.join();
        }
        let mut late = sources.new_source();
        let refused = late.offer(&Door::Thread(&pipeline), 10);
        sources.keep(late);
        if refused != PIPELINE_ERR_CLOSED {
            shared.fail(format!("a capture after close answered {refused}"));
        }
        let metrics = pipeline.metrics();
        let mut wrong = Vec::new();
        if shared.dropped.load(Ordering::Acquire) != 0 {
            wrong.push("the storage was dropped before destroy".to_owned());
        }
        if let Err(error) = pipeline.destroy() {
            wrong.push(format!("destroy: {error}"));
        }
        let dropped = shared.dropped.load(Ordering::Acquire);
        if dropped != 1 {
            wrong.push(format!("the storage was dropped {dropped} times"));
        }
        wrong.extend(shared.check_transforms().err());
        let retires = ordering == EventOrdering::None;
        let limits = (pipeline.max_event_bytes(), pipeline.max_priority_bytes());
        let facts = Facts::of(limits, overflow == Overflow::DropOldest, retires);
        let l = &metrics.ledger;
        if l.buffered + l.in_flight + l.in_doubt + l.left != 0 {
            wrong.push(format!("close has left events behind: {l:?}"));
        }
        wrong.extend(check::compare(&sources.done.lock(), &shared, &metrics, &facts));
        println!("{l:?}\n{:?}", shared.tally);
        // A storm that was none proves nothing.
        let tally = &shared.tally;
        let spans = |count: &AtomicU64| count.load(Ordering::Acquire) + u64::from(span_bytes.is_none());
        for (what, count) in [
            ("captures", l.captured),
            ("events stored", l.stored),
            ("events with priority stored", l.priority.stored),
            ("retries", metrics.retries),
            ("answers that are none", metrics.bad_results),
            ("pending answers", tally.pending.load(Ordering::Acquire)),
            ("early answers", tally.early.load(Ordering::Acquire)),
            ("answers given twice", tally.twice.load(Ordering::Acquire)),
            ("stored prefixes", tally.partial.load(Ordering::Acquire)),
            ("rejected events", tally.rejected.load(Ordering::Acquire)),
            ("events given up", l.dead_lettered + l.discarded),
            ("events filtered", l.filtered),
            ("events rewritten", metrics.transformed),
            ("faults of transforms", metrics.transform_faults),
            ("attempts shown as spans", spans(&tally.spans)),
            ("spans with two parts", spans(&tally.wrapped)),
            ("spans of which views were asked for", spans(&tally.viewed)),
            ("rests of spans shown as views", spans(&tally.unspanned)),
        ] {
            if count == 0 {
                wrong.push(format!("only {count} {what}"));
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "SEED={seed}:\n{}", wrong.join("\n"));
    drop(pipeline);
    assert_eq!(shared.dropped.load(Ordering::Acquire), 1, "the storage is dropped once");
}

macro_rules! storms {
    ($($name:ident: $overflow:ident, $ordering:ident, $concurrent:expr, $seed:expr, $spans:expr;)*) => { $(
        #[test]
        fn $name() {
            storm(Overflow::$overflow, EventOrdering::$ordering, $concurrent, $seed, $spans);
        }
    )* };
}

storms! {
    exact_dropping_newest_unordered_serial: DropNewest, None, false, 101, None;
    exact_dropping_newest_unordered_concurrent: DropNewest, None, true, 102, None;
    exact_dropping_newest_ordered_serial: DropNewest, PerProducer, false, 103, None;
    exact_dropping_newest_ordered_concurrent: DropNewest, PerProducer, true, 104, None;
    exact_dropping_oldest_unordered_serial: DropOldest, None, false, 105, None;
    exact_dropping_oldest_unordered_concurrent: DropOldest, None, true, 106, None;
    exact_dropping_oldest_ordered_serial: DropOldest, PerProducer, false, 107, None;
    exact_dropping_oldest_ordered_concurrent: DropOldest, PerProducer, true, 108, None;
    exact_blocking_unordered_serial: Block, None, false, 109, None;
    exact_blocking_unordered_concurrent: Block, None, true, 110, None;
    exact_blocking_ordered_serial: Block, PerProducer, false, 111, None;
    exact_blocking_ordered_concurrent: Block, PerProducer, true, 112, None;
    exact_in_spans_dropping_newest_unordered_concurrent: DropNewest, None, true, 201, Some(4_000);
    exact_in_spans_dropping_newest_ordered_serial: DropNewest, PerProducer, false, 202, Some(4_000);
    exact_in_spans_dropping_oldest_unordered_concurrent: DropOldest, None, true, 203, Some(4_000);
    exact_in_spans_dropping_oldest_ordered_serial: DropOldest, PerProducer, false, 204, Some(4_000);
    exact_in_spans_blocking_unordered_serial: Block, None, false, 205, Some(4_000);
    exact_in_spans_blocking_ordered_concurrent: Block, PerProducer, true, 206, Some(4_000);
}
