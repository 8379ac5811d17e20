//! Journal and SQLite side by side: one pipeline gives every batch to both. Under retries of what one of them has stored, under writers that block, scaling and full
//! segments, both have the same events in the end, event by event: those that were offered, less what the pipeline's ledger counts as not stored.
//!
//! Every random choice follows from a seed, which a failure prints; the environment's SEED replays it as far as threads allow. ROUNDS makes more rounds of each
//! test.

#![allow(unsafe_code)] // the tests capture events

#[path = "side_by_side/compare.rs"]
mod compare;
#[path = "side_by_side/database.rs"]
mod database;
#[path = "side_by_side/desk.rs"]
mod desk;
#[path = "side_by_side/offers.rs"]
mod offers;
#[path = "side_by_side/plan.rs"]
mod plan;
#[path = "../../tests/journal/random.rs"]
mod random;
#[path = "command/sample.rs"]
#[allow(dead_code)]
mod sample;
#[path = "command/service.rs"]
#[allow(dead_code)]
mod service;
#[path = "side_by_side/tee.rs"]
mod tee;

use capture_pipeline::config::{Config, Ordering as EventOrdering, Overflow};
use capture_pipeline::journal::reader::{Options as ReaderOptions, Reader};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::status::{PIPELINE_ERR_STORAGE, PIPELINE_ERR_TIMEOUT};
use capture_pipeline::storage::journal::{Encoding, JournalStorage, Options as JournalOptions, Sync};
use capture_pipeline::storage::sqlite::{Options as SqliteOptions, SqliteStorage, Synchronous};
use compare::Wrong;
use database::Database;
use offers::{NAMED, Sources, early_definitions};
use plan::Tally;
use random::Random;
use sample::segments::Scratch;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tee::{Seen, Settings, Tee};

/// The timeout of every wait.
const PATIENCE: Duration = Duration::from_secs(120);
/// Threads that capture at the same time, the lives of each, and the offers of a life.
const THREADS: u64 = 4;
const LIVES: usize = 3;
const EVENTS: u64 = 500;

/// The choices of a round.
struct Round {
    config: Config,
    journal: JournalOptions,
    sqlite: SqliteOptions,
    settings: Settings,
}

impl Round {
    fn new(encoding: Encoding, seed: u64, random: &mut Random) -> Self {
        let overflow = match random.below(4) {
            0 => Overflow::DropNewest,
            1 => Overflow::DropOldest,
            _ => Overflow::Block,
        };
        let ordering = if random.one_in(3) { EventOrdering::PerProducer } else { EventOrdering::None };
        let deadline = Duration::from_millis(10 + random.below(20));
        let config = Config {
            name: "both".to_owned(),
            writers: 1 + random.below(4) as u32,
            batch_size: 8 + random.below(120) as u32,
            batch_bytes: 2_000 + random.below(14_000),
            poll_interval_ms: 5,
            max_in_flight: 4 + random.below(12) as u32,
            max_in_doubt: 1 + random.below(4) as u32,
            ring_bytes: 32 << 10,
            max_rings: 4 + random.below(12) as u32,
            max_retired_rings: 3,
            overflow,
            ordering,
            block_timeout_us: 60_000_000,
            retry_limit: u32::MAX,
            retry_initial_us: 100,
            retry_max_us: 2_000,
            retry_max_age_ms: 3_600_000,
            storage_deadline_ms: deadline.as_millis() as u64,
            ..Config::default()
        };
        let sync = match random.below(6) {
            0 => Sync::Flush,
            1 => Sync::Interval,
            2 => Sync::Batch,
            _ => Sync::Never,
        };
        let journal = JournalOptions {
            encoding,
            segment_bytes: 64 << (10 + random.below(2)),
            segment_age_ms: if random.one_in(3) { 100 } else { 0 },
            sync,
            sync_interval_ms: 1 + random.below(20) as u32,
            ..JournalOptions::default()
        };
        let sqlite = SqliteOptions {
            synchronous: if random.one_in(4) { Synchronous::Normal } else { Synchronous::Off },
            commit_events: 1 + random.below(2_000) as u32,
            commit_interval_us: random.below(2_000) as u32,
            ..SqliteOptions::default()
        };
        let settings = Settings {
            seed,
            attached: !random.one_in(4),
            journal_pends: sync == Sync::Batch,
            dead_letter: !random.one_in(3),
            deadline,
        };
        Self { config, journal, sqlite, settings }
    }
}

/// Does to a pipeline what a program may, while `live` threads capture. Answers the names that kinds got last.
fn control(pipeline: &Pipeline, seen: &Seen, mut random: Random, live: &AtomicU32) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    // Several names in a row, so that they get into different batches.
    let mut rename = |random: &mut Random| {
        let kind = NAMED.start + random.below(NAMED.len() as u64) as u32;
        (0..=random.below(3)).try_for_each(|_| {
            let name = format!("name {} of {kind}", random.below(1_000_000));
            if names.insert(kind, name.clone()).is_some() {
                Tally::count(&seen.tally.renamed);
            }
            pipeline.kind_name(kind, name.as_bytes())?;
            // The pace of the random calls; the test waits for nothing here.
            std::thread::sleep(Duration::from_micros(random.below(400)));
            Ok(())
        })
    };
    while live.load(Ordering::Acquire) > 0 {
        let result = match random.below(12) {
            0..4 => {
                Tally::count(&seen.tally.scaled);
                pipeline.scale(random.below(6) as u32)
            }
            4 => pipeline.pause(),
            5 | 6 => pipeline.resume(),
            7 => {
                let mut next = pipeline.config();
                next.batch_size = 1 + random.below(200) as u32;
                next.batch_bytes = 1_000 + random.below(30_000);
                next.linger_us = if random.one_in(2) { 0 } else { random.below(3_000) };
                next.max_in_flight = 2 + random.below(16) as u32;
                pipeline.update(next)
            }
            8 => match pipeline.flush(Some(Duration::from_millis(random.below(60)))) {
                Err(error) if matches!(error.status, PIPELINE_ERR_TIMEOUT | PIPELINE_ERR_STORAGE) => Ok(()),
                other => {
                    Tally::count(&seen.tally.flushes);
                    other
                }
            },
            _ => rename(&mut random),
        };
        if let Err(error) = result {
            seen.fail(format!("control: {error}"));
        }
        // The pace of the random calls; the test waits for nothing here.
        std::thread::sleep(Duration::from_micros(random.below(4_000)));
    }
    for kind in NAMED {
        for name in [format!("the last name but one of {kind}"), format!("the last name of {kind}")] {
            if random.one_in(2) || !names.contains_key(&kind) {
                if let Err(error) = pipeline.kind_name(kind, name.as_bytes()) {
                    seen.fail(format!("control: {error}"));
                }
                names.insert(kind, name);
            }
        }
    }
    names
}

/// Exports the journal by the command, as a user does.
fn export(journal: &Path, database: &Path, wrong: &mut Wrong) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture-pipeline"));
    let output = command.args(["export", "--to", "sqlite"]).arg(journal).arg(database).output();
    let output = output.expect("the command runs");
    if !output.status.success() || !output.stderr.is_empty() {
        wrong.0.push(format!("export: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
}

/// The events as the command prints them, in the order of their identities.
fn printed(source: &Path, wrong: &mut Wrong) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture-pipeline"));
    let output = command.args(["export", "--to", "ndjson"]).arg(source).arg("-").output();
    let output = output.expect("the command runs");
    if !output.status.success() || !output.stderr.is_empty() {
        let why = String::from_utf8_lossy(&output.stderr);
        wrong.0.push(format!("{}: {}: {why}", source.display(), output.status));
    }
    // What may differ, and is compared with the reasons in `compare::databases`: the wall times of events with a time of their own, and threads, of which a storage that gets
    // facts as events may know more.
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let mut event: serde_json::Value = serde_json::from_str(line).expect("an object");
            let members = event.as_object_mut().expect("an object");
            for name in ["wall_time", "tid", "thread_name"] {
                members.remove(name);
            }
            event.to_string()
        })
        .collect();
    lines.sort();
    lines
}

/// One run of a pipeline, and the comparison. Answers what does not fit.
fn round(encoding: Encoding, seed: u64, all: &Tally) -> Wrong {
    let mut random = Random(seed);
    let Round { config, journal, sqlite, settings } = Round::new(encoding, seed, &mut random);
    println!("SEED={seed}: {config:?}\n{journal:?}\n{sqlite:?}\n{settings:?}");
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path().join(name);
    let seen = Arc::new(Seen::default());
    let tee = Tee::new(
        settings.clone(),
        &seen,
        JournalStorage::open(&at("journal"), journal).expect("the journal opens"),
        SqliteStorage::open(&at("direct.db"), sqlite).expect("the database opens"),
    );
    let pipeline = Pipeline::start(config, tee).expect("the pipeline starts");
    for definition in early_definitions() {
        pipeline.define_kind(definition).expect("defined");
    }
    let sources = Sources::default();
    let live = AtomicU32::new(THREADS as u32);
    let names = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (pipeline, sources, seen, live) = (&pipeline, &sources, &*seen, &live);
            let mut random = Random(random.next());
            scope.spawn(move || {
                for life in 0..LIVES {
                    let events = EVENTS / 2 + random.below(EVENTS);
                    let own = Random(random.next());
                    // One after the other, each with a thread of its own.
                    let lived = std::thread::scope(|scope| {
                        let named = std::thread::Builder::new().name(format!("thread {thread}.{life}"));
                        let work = move || sources.live(pipeline, own, events as usize);
                        named.spawn_scoped(scope, work).expect("a thread").join()
                    });
                    if let Err(what) = lived.unwrap_or_else(|_| Err("a capturing thread panicked".to_owned()))
                    {
                        seen.fail(what);
                    }
                }
                live.fetch_sub(1, Ordering::AcqRel);
            });
        }
        control(&pipeline, &seen, Random(random.next()), &live)
    });
    seen.calm.store(true, Ordering::Release);
    pipeline.resume().expect("resumes");
    pipeline.scale(1 + random.below(4) as u32).expect("scales");
    let mut wrong = Wrong::default();
    if let Err(error) = pipeline.close(Some(PATIENCE)) {
        wrong.0.push(format!("close: {error}; {:?}", pipeline.health()));
    }
    let ledger = pipeline.metrics().ledger;
    let until = Instant::now() + PATIENCE;
    while let Err(error) = pipeline.destroy() {
        assert!(Instant::now() < until, "{error}");
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(pipeline);

    wrong.0.extend(seen.failures.lock().expect("not poisoned").clone());
    export(&at("journal"), &at("exported.db"), &mut wrong);
    let mut reader = Reader::open(at("journal"), ReaderOptions::default()).expect("a journal");
    let mut given = 0;
    while reader.next().expect("no error").is_some() {
        given += 1;
    }
    let (direct, exported) = (Database::read(&at("direct.db")), Database::read(&at("exported.db")));
    let of_journal = printed(&at("journal"), &mut wrong);
    for name in ["direct.db", "exported.db"] {
        let of_database = printed(&at(name), &mut wrong);
        if of_journal != of_database {
            let pairs = of_journal.iter().zip(&of_database);
            let first = pairs.filter(|(journal, database)| journal != database).take(3);
            let (theirs, ours) = (of_journal.len(), of_database.len());
            wrong.0.push(format!(
                "{name}: {ours} events printed, {theirs} of the journal: {:?}",
                first.collect::<Vec<_>>()
            ));
        }
    }
    let sources = sources.done.into_inner().expect("not poisoned");
    compare::ledger(&mut wrong, &sources, &ledger, &seen);
    compare::journal(&mut wrong, &reader, given, &ledger, &settings);
    for (name, database) in [("SQLite", &direct), ("the journal", &exported)] {
        compare::offers(&mut wrong, name, database, &sources, &ledger, &seen);
        compare::kinds(&mut wrong, name, database, &names);
    }
    compare::databases(&mut wrong, &direct, &exported, &seen, &settings);

    let tally = &seen.tally;
    let add = |counter: &std::sync::atomic::AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
    add(&tally.duplicates, reader.losses().duplicates);
    add(
        &tally.rotations,
        reader.segments().filter(|one| one.size > journal.segment_bytes / 2).count() as u64,
    );
    add(&tally.stored, ledger.stored);
    add(&tally.typed, exported.views.values().map(|(_, rows)| rows.len() as u64).sum());
    add(&tally.unstored, ledger.captured - ledger.stored + ledger.dropped_full);
    println!("{ledger:?}\n{tally:?}");
    all.add(tally);
    wrong
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn rounds(encoding: Encoding, first: u64) {
    let seed = number("SEED");
    let rounds = number("ROUNDS").unwrap_or(if seed.is_some() { 1 } else { 3 });
    let all = Tally::default();
    for seed in (seed.unwrap_or(first)..).take(rounds as usize) {
        let Wrong(wrong) = round(encoding, seed, &all);
        assert!(
            wrong.is_empty(),
            "{encoding:?}, SEED={seed}; with it, and the name of this test, the round is made again:\n{}",
            wrong.join("\n")
        );
    }
    println!("{rounds} rounds: {all:?}");
    if seed.is_none() {
        assert_eq!(all.missing(), [""; 0], "these never happened");
    }
}

#[test]
fn records_as_they_lie() {
    rounds(Encoding::Raw, 1_000_000);
}

#[test]
fn columns() {
    rounds(Encoding::Columns, 2_000_000);
}

#[test]
fn columns_in_lz4() {
    rounds(Encoding::ColumnsLz4, 3_000_000);
}

#[test]
fn columns_in_zstandard() {
    rounds(Encoding::ColumnsZstd, 4_000_000);
}
