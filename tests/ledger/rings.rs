//! Registry under pressure: many short-lived threads, overwritten events and their release, the shared ring, retirement.

use crate::check::{self, Facts};
use crate::producers::{Dice, Door, Source, Sources, checksum, fill};
use crate::storage::{Chaos, Shared};
use crate::{PATIENCE, calm, wait_for};
use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::config::{Config, Overflow};
use capture_pipeline::manager::{Pipeline, Producer};
use capture_pipeline::platform::thread::os_id;
use capture_pipeline::ring::memory::Memory;
use capture_pipeline::ring::record::{Head, Tag, stride};
use capture_pipeline::ring::ring_buffer::{Limits, RingBuffer};
use capture_pipeline::status::{PIPELINE_ERR_BUSY, PIPELINE_ERR_FULL, PIPELINE_ERR_LIMIT, PIPELINE_OK};
use capture_pipeline::storage::{Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, Storage};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Closes, destroys, and compares everything.
fn settle(pipeline: &Pipeline, shared: &Shared, sources: &Sources, facts: Facts) {
    pipeline.close(Some(PATIENCE)).expect("closes");
    let metrics = pipeline.metrics();
    pipeline.destroy().expect("is destroyed");
    let wrong = check::compare(&sources.done.lock(), shared, &metrics, &facts);
    assert!(wrong.is_empty(), "{}\n{:?}", wrong.join("\n"), metrics.ledger);
    let l = &metrics.ledger;
    assert_eq!(l.buffered + l.in_flight + l.in_doubt + l.left, 0, "{l:?}");
    assert_eq!(shared.dropped.load(Ordering::Acquire), 1);
}

fn facts(pipeline: &Pipeline, overwrites: bool) -> Facts {
    Facts::of((pipeline.max_event_bytes(), pipeline.max_priority_bytes()), overwrites, false)
}

#[test]
fn two_thousand_short_lived_threads_lose_nothing() {
    let shared = calm(true);
    let config = Config {
        max_rings: 4,
        ring_bytes: 1 << 16,
        overflow: Overflow::Block,
        block_timeout_us: 60_000_000,
        ..Config::default()
    };
    let pipeline = Pipeline::start(config, Chaos(Arc::clone(&shared))).expect("starts");
    let sources = Sources::default();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for i in 0..250 {
                    std::thread::scope(|s| {
                        s.spawn(|| {
                            let mut source = sources.new_source();
                            for n in 0..5 {
                                // The shared ring may be busy; that is counted, and tried again as a new offer.
                                while source.offer(&Door::Thread(&pipeline), (i * 7 + n) % 300) != PIPELINE_OK
                                {
                                }
                            }
                            sources.keep(source);
                        });
                    });
                }
            });
        }
    });
    settle(&pipeline, &shared, &sources, facts(&pipeline, false));
    let book = shared.book.lock();
    assert_eq!(book.events.len(), 10_000);
    // One ring had several threads at most: an id never passes to a second one.
    let mut threads: HashMap<u64, HashSet<u64>> = HashMap::new();
    for (&(ring, _), entry) in &book.events {
        threads.entry(ring).or_default().insert(entry.number >> 32);
    }
    assert!(threads.values().filter(|t| t.len() > 1).count() <= 1, "{threads:?}");
    assert!(threads.len() > 4, "no ring passed on: {threads:?}");
}

#[test]
fn rings_of_ended_threads_come_back() {
    let shared = calm(false);
    let config = Config { max_rings: 2, ring_bytes: 1 << 16, ..Config::default() };
    let pipeline = Pipeline::start(config, Chaos(Arc::clone(&shared))).expect("starts");
    for _ in 0..20 {
        let handles: Vec<_> = (0..2).map(|_| pipeline.open_producer().expect("a ring is free")).collect();
        assert_eq!(pipeline.open_producer().map_err(|e| e.status), Err(PIPELINE_ERR_LIMIT));
        for handle in handles {
            // SAFETY: open, and not used again.
            unsafe { Producer::close(handle) };
        }
        std::thread::scope(|s| s.spawn(|| Source::of(1).offer(&Door::Thread(&pipeline), 8)).join().unwrap());
        pipeline.flush(Some(PATIENCE)).expect("flushes");
        wait_for("the thread's ring", || pipeline.metrics().rings == 0);
    }
    pipeline.close(Some(PATIENCE)).expect("closes");
}

#[test]
fn every_overwritten_event_is_released_once() {
    for concurrent_writers in [1, 4] {
        let shared = calm(true);
        let config = Config {
            writers: 0,
            ring_bytes: 1 << 14,
            overflow: Overflow::DropOldest,
            poll_interval_ms: 2,
            ..Config::default()
        };
        let pipeline = Pipeline::start(config, Chaos(Arc::clone(&shared))).expect("starts");
        let sources = Sources::default();
        // Nobody writes: what is overwritten is kept for its release, until that is full too; then events are dropped.
        let mut first = sources.new_source();
        let dropped =
            (0..600).filter(|n| first.offer(&Door::Thread(&pipeline), n % 200) == PIPELINE_ERR_FULL).count();
        sources.keep(first);
        let before = pipeline.metrics().ledger;
        assert!(dropped > 0 && before.overwritten > 0, "{before:?}");
        assert_eq!(before.captured, before.overwritten + before.buffered, "{before:?}");
        assert_eq!(before.captured + before.dropped_full, 600, "{before:?}");
        pipeline.scale(concurrent_writers).expect("scales");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut source = sources.new_source();
                    for n in 0..3000 {
                        source.offer(&Door::Thread(&pipeline), (n * 31) % 1500);
                        // Not all in one burst: some are to be stored before they are overwritten.
                        if n % 64 == 0 {
                            let before = pipeline.metrics().ledger.stored;
                            wait_for("more is stored", || {
                                let now = pipeline.metrics().ledger;
                                now.stored > before || now.buffered == 0
                            });
                        }
                    }
                    sources.keep(source);
                });
            }
        });
        settle(&pipeline, &shared, &sources, facts(&pipeline, true));
        let book = shared.book.lock();
        let overwritten = book.events.values().filter(|e| e.batch == 0).count() as u64;
        assert_eq!(overwritten, pipeline.metrics().ledger.overwritten);
    }
}

#[test]
fn the_shared_ring_keeps_each_threads_order() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Block] {
        let shared = calm(true);
        let config = Config { max_rings: 1, ring_bytes: 1 << 14, overflow, writers: 2, ..Config::default() };
        let pipeline = Pipeline::start(config, Chaos(Arc::clone(&shared))).expect("starts");
        let only = pipeline.open_producer().expect("the only ring");
        let sources = Sources::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut source = sources.new_source();
                    for n in 0..1500 {
                        let status = source.offer(&Door::Thread(&pipeline), (n * 13) % 400);
                        assert!(
                            matches!(status, PIPELINE_OK | PIPELINE_ERR_FULL | PIPELINE_ERR_BUSY),
                            "{status}"
                        );
                    }
                    sources.keep(source);
                });
            }
        });
        settle(&pipeline, &shared, &sources, facts(&pipeline, overflow == Overflow::DropOldest));
        let book = shared.book.lock();
        let rings: HashSet<u64> = book.events.keys().map(|k| k.0).collect();
        assert_eq!(rings.len(), 1, "several rings were used: {rings:?}");
        // SAFETY: open, and not used again.
        unsafe { Producer::close(only) };
    }
}

/// Answers nothing until it is told to; the first batch last.
#[derive(Default)]
struct Withheld {
    tokens: Mutex<Vec<u64>>,
    open: AtomicBool,
    seen: Mutex<Vec<(u64, u64, u64)>>,
}

struct Withholding(Arc<Withheld>);

// SAFETY: tokens are completed as they were given, and batches are not used afterwards.
unsafe impl Storage for Withholding {
    fn abilities(&self) -> Abilities {
        Abilities { concurrent: true, ..Abilities::default() }
    }

    fn store(&self, batch: &BatchView) -> i32 {
        let events = batch.events();
        let mut seen = self.0.seen.lock().unwrap();
        seen.extend(events.iter().map(|e| (e.ring_id, e.sequence, e.correlation_id)));
        drop(seen);
        // Looked at under the lock, so that nobody opens between the look and the note.
        let mut tokens = self.0.tokens.lock().unwrap();
        if self.0.open.load(Ordering::Acquire) {
            return PIPELINE_STORE_OK;
        }
        tokens.push(batch.token);
        PIPELINE_STORE_PENDING
    }
}

#[test]
fn a_pinned_ring_is_retired_and_nothing_is_lost() {
    let held = Arc::new(Withheld::default());
    let config = Config {
        ring_bytes: 1 << 14,
        storage_deadline_ms: 10,
        max_in_flight: 1024,
        max_in_doubt: 1024,
        max_retired_rings: 2,
        poll_interval_ms: 2,
        overflow: Overflow::DropNewest,
        ..Config::default()
    };
    let pipeline = Pipeline::start(config, Withholding(Arc::clone(&held))).expect("starts");
    let mut source = Source::of(1);
    // The producer moves on when it finds its ring full; it gets two rings more, and then there is none.
    wait_for("two retired rings and drops after them", || {
        let status = source.offer(&Door::Thread(&pipeline), 500);
        pipeline.metrics().rings_retired == 2 && status == PIPELINE_ERR_FULL
    });
    wait_for("all of it in doubt", || {
        let l = pipeline.metrics().ledger;
        l.in_doubt > 0 && l.in_flight == 0 && l.buffered == 0
    });
    let captured = source.records.iter().filter(|r| r.status == PIPELINE_OK).count() as u64;
    let l = pipeline.metrics().ledger;
    assert_eq!((l.captured, l.in_doubt, l.stored), (captured, captured, 0), "{l:?}");
    assert!(pipeline.metrics().oldest_age_ns > 0);
    assert_ne!(pipeline.health().status, 0);
    let late = {
        let mut tokens = held.tokens.lock().unwrap();
        held.open.store(true, Ordering::Release);
        std::mem::take(&mut *tokens)
    };
    for token in late.into_iter().rev() {
        token::complete(token, 0, PIPELINE_STORE_OK).expect("a late answer is honoured");
        assert!(token::complete(token, 0, PIPELINE_STORE_OK).is_err(), "but once");
    }
    pipeline.flush(Some(PATIENCE)).expect("flushes");
    wait_for("the retired rings", || pipeline.metrics().rings_retired == 0);
    assert_eq!(pipeline.metrics().oldest_age_ns, 0);
    assert_eq!(source.offer(&Door::Thread(&pipeline), 500), PIPELINE_OK);
    pipeline.close(Some(PATIENCE)).expect("closes");
    let l = pipeline.metrics().ledger;
    assert_eq!((l.captured, l.stored, l.in_doubt), (captured + 1, captured + 1, 0), "{l:?}");
    let seen = held.seen.lock().unwrap();
    let identities: HashSet<(u64, u64)> = seen.iter().map(|s| (s.0, s.1)).collect();
    let numbers: HashSet<u64> = seen.iter().map(|s| s.2).collect();
    assert_eq!((identities.len(), numbers.len()), (seen.len(), seen.len()));
    assert_eq!(seen.len() as u64, captured + 1);
    assert!(identities.iter().map(|i| i.0).collect::<HashSet<_>>().len() >= 3, "three rings were used");
}

/// A writer that walks over tags while a producer overwrites them reads whatever payloads hold; it must throw that away.
#[test]
fn a_claim_never_trusts_what_is_being_overwritten() {
    const CAPACITY: u64 = 4096;
    let log = RingBuffer::new(Memory::new(CAPACITY).expect("memory"), 4).expect("memory");
    let done = AtomicBool::new(false);
    let (mut written, mut gone) = (0u64, 0u64);
    let claimed = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let limits =
                Limits { events: 64, bytes: u64::MAX, exceed: true, alone: false, cover: CAPACITY / 4 };
            let mut claimed = 0u64;
            loop {
                let ended = done.load(Ordering::Acquire);
                match log.claim(&limits) {
                    Some(span) => {
                        let mut events = 0;
                        log.read(&span, |tag, head, payload| {
                            events += 1;
                            let mut wanted = vec![0; tag.payload_len()];
                            fill(head.correlation_id, &mut wanted);
                            // SAFETY: claimed, so nobody writes it.
                            let there = unsafe { std::slice::from_raw_parts(payload, wanted.len()) };
                            assert!(there == wanted && head.node_id == checksum(there), "{tag:?} {head:?}");
                        });
                        assert_eq!(events, span.events);
                        claimed += u64::from(events);
                        log.settle(span.start);
                    }
                    None if ended && !log.has_unclaimed() => return claimed,
                    None => {}
                }
            }
        });
        let mut cursor = log.cursor();
        let mut dice = Dice(42);
        for number in 0..300_000u64 {
            // Small ones, which a walk steps over, then large ones, which put payload where it steps.
            let len = if number % 40 < 30 { dice.below(40) as usize } else { 300 + dice.below(600) as usize };
            let mut payload = [0u8; 960];
            fill(number, &mut payload[..len]);
            let mut room = log.room(&mut cursor, stride(len));
            if let Err(missing) = room {
                gone += log.overwrite(&mut cursor, missing, |_| true, |_, _, _| ());
                room = log.room(&mut cursor, stride(len));
            }
            let Ok(position) = room else { continue };
            let head = Head {
                kind: 0,
                weight: 1.0,
                sequence: number,
                timestamp: 0,
                correlation_id: number,
                node_id: checksum(&payload[..len]),
            };
            // SAFETY: `room` gave the range.
            unsafe {
                log.write_payload(position, payload.as_ptr(), len);
                log.write(position, Tag::event(len, 0), &head);
            }
            log.publish(&mut cursor, position + stride(len));
            written += 1;
        }
        done.store(true, Ordering::Release);
        reader.join().expect("the reader met nothing wrong")
    });
    assert!(gone > 0 && claimed > 0, "{gone} overwritten, {claimed} claimed");
    assert_eq!(written, claimed + gone);
}

/// Stores one batch, and answers nothing for the others until it is told to.
struct Once(Arc<Withheld>);

// SAFETY: as above.
unsafe impl Storage for Once {
    fn store(&self, batch: &BatchView) -> i32 {
        let first = batch.batch_id == 1;
        if first { PIPELINE_STORE_OK } else { Withholding(Arc::clone(&self.0)).store(batch) }
    }
}

#[test]
fn a_capture_that_waits_is_told_of_a_little_space_where_no_more_comes() {
    const EVENT: usize = 208;
    let held = Arc::new(Withheld::default());
    let config = Config {
        ring_bytes: 1 << 13,
        batch_size: 4,
        max_in_flight: 3,
        overflow: Overflow::Block,
        block_timeout_us: 90_000_000,
        storage_deadline_ms: 3_600_000,
        ..Config::default()
    };
    let fitting = config.ring_bytes / stride(EVENT);
    let pipeline = Pipeline::start(config, Once(Arc::clone(&held))).expect("starts");
    pipeline.pause().expect("pauses");
    let waiter = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let capture = scope.spawn(|| {
            let mut source = Source::of(1);
            for n in 0..=fitting {
                if n == fitting {
                    waiter.store(os_id(), Ordering::Release);
                }
                assert_eq!(source.offer(&Door::Thread(&pipeline), EVENT), PIPELINE_OK);
            }
        });
        wait_for("the capture that waits", || {
            let tid = waiter.load(Ordering::Acquire);
            let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status"));
            tid != 0 && status.is_ok_and(|s| s.contains("State:\tS"))
        });
        pipeline.resume().expect("goes on");
        wait_for("its return", || capture.is_finished());
    });
    assert!(pipeline.metrics().ledger.in_flight > 0);
    let tokens = {
        let mut tokens = held.tokens.lock().unwrap();
        held.open.store(true, Ordering::Release);
        std::mem::take(&mut *tokens)
    };
    for token in tokens {
        token::complete(token, 0, PIPELINE_STORE_OK).expect("is honoured");
    }
    pipeline.close(Some(PATIENCE)).expect("closes");
    assert_eq!(pipeline.metrics().ledger.stored, fitting + 1);
}
