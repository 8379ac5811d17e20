//! The ring buffer's protocol under every interleaving that loom finds: publish, claim, release, overwrite.
//!
//! Loom does not let a load read a store that comes later in its execution, so it cannot tell whether the two fences of the overwrite's
//! sequence lock are there; their argument stands in `ring::log`.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --test loom`. The memory of the ring is loom's, so that any access to a
//! record that is not ordered with another one is a failure by itself; what is asserted besides is that no event is lost, doubled,
//! torn or out of order.
#![cfg(loom)]

use capture_pipeline::ring::log::{Cursor, Limits, Log};
use capture_pipeline::ring::memory::Memory;
use capture_pipeline::ring::record::{Head, Tag, stride};
use loom::sync::Arc;
use loom::thread;

/// Two records of 48 bytes and a rest of 32, so that every second record is behind a pad.
const CAPACITY: u64 = 128;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

fn log() -> Arc<Log> {
    Arc::new(Log::new(Memory::new(CAPACITY).expect("loom memory"), 4))
}

fn head(sequence: u64) -> Head {
    // Every field tells the number, so that a torn record shows.
    Head {
        kind: sequence as u32 + 7,
        weight: 1.0,
        sequence,
        timestamp: sequence + 100,
        correlation_id: sequence ^ 0xFF,
        node_id: !sequence,
    }
}

fn write(log: &Log, cursor: &mut Cursor, sequence: u64) -> Result<(), u64> {
    let position = log.room(cursor, stride(0))?;
    // SAFETY: `room` gave it.
    unsafe { log.write(position, Tag::event(0, 0), &head(sequence)) };
    log.publish(cursor, position + stride(0));
    Ok(())
}

const ALL: Limits = Limits { events: 8, bytes: 1 << 20, exceed: true, alone: false, cover: CAPACITY };

/// Claims once; the sequence numbers claimed, and where the claim starts.
fn claim(log: &Log, limits: &Limits) -> Option<(u64, Vec<u64>)> {
    let span = log.claim(limits)?;
    let mut seen = Vec::new();
    log.read(&span, |_, h, _| {
        assert_eq!(h, head(h.sequence), "torn");
        seen.push(h.sequence);
    });
    assert_eq!(seen.len(), span.events as usize);
    Some((span.start, seen))
}

#[test]
fn what_is_published_is_claimed_once_in_order_and_its_space_comes_back() {
    model(|| {
        let log = log();
        let producer = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let mut cursor = log.cursor();
                let mut dropped = 0;
                let mut next = 0;
                for _ in 0..3 {
                    match write(&log, &mut cursor, next) {
                        Ok(()) => next += 1,
                        Err(_) => dropped += 1,
                    }
                }
                (next, dropped)
            })
        };
        let mut seen = Vec::new();
        for _ in 0..2 {
            if let Some((start, events)) = claim(&log, &ALL) {
                seen.extend(events);
                log.settle(start);
            }
        }
        let (written, dropped) = producer.join().unwrap();
        while let Some((start, events)) = claim(&log, &ALL) {
            seen.extend(events);
            log.settle(start);
        }
        assert_eq!(written + dropped, 3);
        assert!(written >= 2, "two fit at once");
        assert_eq!(seen, (0..written).collect::<Vec<_>>());
        assert_eq!(log.released(), log.head());
    });
}

#[test]
fn two_writers_hold_disjoint_ranges_and_space_is_released_in_order() {
    model(|| {
        let log = log();
        let mut cursor = log.cursor();
        write(&log, &mut cursor, 0).unwrap();
        write(&log, &mut cursor, 1).unwrap();
        let one = Limits { events: 1, ..ALL };
        let other = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let got = claim(&log, &one);
                if let Some((start, _)) = &got {
                    log.settle(*start);
                }
                got.map(|g| g.1).unwrap_or_default()
            })
        };
        let mine = claim(&log, &one);
        // The producer goes on as soon as space is released; what is still claimed must stay whole (loom would tell).
        let third = write(&log, &mut cursor, 2).is_ok();
        let mut seen = mine.as_ref().map(|m| m.1.clone()).unwrap_or_default();
        if let Some((start, _)) = mine {
            log.settle(start);
        }
        seen.extend(other.join().unwrap());
        while let Some((start, events)) = claim(&log, &ALL) {
            seen.extend(events);
            log.settle(start);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..if third { 3 } else { 2 }).collect::<Vec<_>>());
        assert_eq!(log.released(), log.head());
    });
}

#[test]
fn space_behind_an_unsettled_claim_is_not_released() {
    model(|| {
        let log = log();
        let mut cursor = log.cursor();
        write(&log, &mut cursor, 0).unwrap();
        write(&log, &mut cursor, 1).unwrap();
        let one = Limits { events: 1, ..ALL };
        let first = log.claim(&one).unwrap();
        let second = log.claim(&one).unwrap();
        let other = {
            let log = Arc::clone(&log);
            thread::spawn(move || assert!(!log.settle(second.start), "the first is not settled"))
        };
        // However the two interleave, the producer gets no room where the first claim lies, and the claim stays whole.
        assert!(write(&log, &mut cursor, 2).is_err());
        log.read(&first, |_, h, _| assert_eq!(h, head(0)));
        other.join().unwrap();
        assert_eq!(log.released(), 0);
        assert!(log.settle(first.start));
        assert_eq!(log.released(), log.head());
        write(&log, &mut cursor, 2).unwrap();
    });
}

#[test]
fn an_overwriting_producer_and_a_writer_account_for_every_event() {
    model(|| {
        let log = log();
        let writer = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let mut seen = Vec::new();
                for _ in 0..2 {
                    if let Some((start, events)) = claim(&log, &ALL) {
                        seen.extend(events);
                        log.settle(start);
                    }
                }
                seen
            })
        };
        let mut cursor = log.cursor();
        let (mut written, mut overwritten, mut dropped) = (0, 0, 0);
        let mut evicted = Vec::new();
        for _ in 0..4 {
            let mut outcome = write(&log, &mut cursor, written);
            if let Err(missing) = outcome {
                overwritten += log.overwrite(
                    &mut cursor,
                    missing,
                    |_| true,
                    |_, h, _| {
                        assert_eq!(h, head(h.sequence), "torn");
                        evicted.push(h.sequence);
                    },
                );
                outcome = write(&log, &mut cursor, written);
            }
            match outcome {
                Ok(()) => written += 1,
                Err(_) => dropped += 1,
            }
        }
        let mut seen = writer.join().unwrap();
        while let Some((start, events)) = claim(&log, &ALL) {
            seen.extend(events);
            log.settle(start);
        }
        assert_eq!(written + dropped, 4);
        assert_eq!(evicted.len() as u64, overwritten);
        assert!(seen.is_sorted(), "in order");
        seen.extend(&evicted);
        seen.sort_unstable();
        assert_eq!(seen, (0..written).collect::<Vec<_>>(), "each event once, stored or overwritten");
        assert_eq!(log.released(), log.head());
    });
}

/// The gate and the closed word: a producer stores, passes the light barrier, loads; the other side the reverse.
#[test]
fn of_a_sleeper_and_a_producer_one_sees_the_other() {
    use capture_pipeline::platform::barrier;
    use capture_pipeline::platform::sync::{AtomicU32, Ordering};
    model(|| {
        let log = log();
        let gate = Arc::new(AtomicU32::new(0));
        let producer = {
            let (log, gate) = (Arc::clone(&log), Arc::clone(&gate));
            thread::spawn(move || {
                let mut cursor = log.cursor();
                write(&log, &mut cursor, 0).unwrap();
                barrier::light(false);
                gate.load(Ordering::Relaxed) != 0
            })
        };
        gate.store(1, Ordering::Relaxed);
        barrier::heavy(false);
        let sees_work = log.has_unclaimed();
        let sees_gate = producer.join().unwrap();
        assert!(sees_work || sees_gate, "a lost wake-up");
    });
}
