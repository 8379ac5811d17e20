//! The ring buffer's protocol under every interleaving that loom finds: publish, claim, release, overwrite.
//!
//! Loom does not let a load read a store that comes later in its execution, so it cannot tell whether the two fences of the overwrite's
//! sequence lock are there; their argument stands in `ring::ring_buffer`.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --test loom`. The memory of the ring is loom's, so that any access to a
//! record that is not ordered with another one is a failure by itself; what is asserted besides is that no event is lost, doubled,
//! torn or out of order.
#![cfg(loom)]

use capture_pipeline::ring::memory::Memory;
use capture_pipeline::ring::record::{Head, Tag, stride};
use capture_pipeline::ring::ring_buffer::{Cursor, Limits, RingBuffer};
use loom::sync::Arc;
use loom::thread;

/// Two records of 48 bytes and a rest of 32, so that every second record is behind a pad.
const CAPACITY: u64 = 128;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

fn buffer() -> Arc<RingBuffer> {
    Arc::new(RingBuffer::new(Memory::new(CAPACITY).expect("loom memory"), 4).expect("memory"))
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

fn write(buffer: &RingBuffer, cursor: &mut Cursor, sequence: u64) -> Result<(), u64> {
    let position = buffer.room(cursor, stride(0))?;
    // SAFETY: `room` gave it.
    unsafe { buffer.write(position, Tag::event(0, 0), &head(sequence)) };
    buffer.publish(cursor, position + stride(0));
    Ok(())
}

const ALL: Limits = Limits { events: 8, bytes: 1 << 20, exceed: true, alone: false, cover: CAPACITY };

/// Claims once; the sequence numbers claimed, and where the claim starts.
fn claim(buffer: &RingBuffer, limits: &Limits) -> Option<(u64, Vec<u64>)> {
    let span = buffer.claim(limits)?;
    let mut seen = Vec::new();
    buffer.read(&span, |_, h, _| {
        assert_eq!(h, head(h.sequence), "torn");
        seen.push(h.sequence);
    });
    assert_eq!(seen.len(), span.events as usize);
    Some((span.start, seen))
}

#[test]
fn what_is_published_is_claimed_once_in_order_and_its_space_comes_back() {
    model(|| {
        let buffer = buffer();
        let producer = {
            let buffer = Arc::clone(&buffer);
            thread::spawn(move || {
                let mut cursor = buffer.cursor();
                let mut dropped = 0;
                let mut next = 0;
                for _ in 0..3 {
                    match write(&buffer, &mut cursor, next) {
                        Ok(()) => next += 1,
                        Err(_) => dropped += 1,
                    }
                }
                (next, dropped)
            })
        };
        let mut seen = Vec::new();
        for _ in 0..2 {
            if let Some((start, events)) = claim(&buffer, &ALL) {
                seen.extend(events);
                buffer.settle(start);
            }
        }
        let (written, dropped) = producer.join().unwrap();
        while let Some((start, events)) = claim(&buffer, &ALL) {
            seen.extend(events);
            buffer.settle(start);
        }
        assert_eq!(written + dropped, 3);
        assert!(written >= 2, "two fit at once");
        assert_eq!(seen, (0..written).collect::<Vec<_>>());
        assert_eq!(buffer.released(), buffer.head());
    });
}

#[test]
fn two_writers_hold_disjoint_ranges_and_space_is_released_in_order() {
    model(|| {
        let buffer = buffer();
        let mut cursor = buffer.cursor();
        write(&buffer, &mut cursor, 0).unwrap();
        write(&buffer, &mut cursor, 1).unwrap();
        let one = Limits { events: 1, ..ALL };
        let other = {
            let buffer = Arc::clone(&buffer);
            thread::spawn(move || {
                let got = claim(&buffer, &one);
                if let Some((start, _)) = &got {
                    buffer.settle(*start);
                }
                got.map(|g| g.1).unwrap_or_default()
            })
        };
        let mine = claim(&buffer, &one);
        // The producer goes on as soon as space is released; what is still claimed must stay whole (loom would tell).
        let third = write(&buffer, &mut cursor, 2).is_ok();
        let mut seen = mine.as_ref().map(|m| m.1.clone()).unwrap_or_default();
        if let Some((start, _)) = mine {
            buffer.settle(start);
        }
        seen.extend(other.join().unwrap());
        while let Some((start, events)) = claim(&buffer, &ALL) {
            seen.extend(events);
            buffer.settle(start);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..if third { 3 } else { 2 }).collect::<Vec<_>>());
        assert_eq!(buffer.released(), buffer.head());
    });
}

#[test]
fn space_behind_an_unsettled_claim_is_not_released() {
    model(|| {
        let buffer = buffer();
        let mut cursor = buffer.cursor();
        write(&buffer, &mut cursor, 0).unwrap();
        write(&buffer, &mut cursor, 1).unwrap();
        let one = Limits { events: 1, ..ALL };
        let first = buffer.claim(&one).unwrap();
        let second = buffer.claim(&one).unwrap();
        let other = {
            let buffer = Arc::clone(&buffer);
            thread::spawn(move || assert!(!buffer.settle(second.start), "the first is not settled"))
        };
        // However the two interleave, the producer gets no room where the first claim lies, and the claim stays whole.
        assert!(write(&buffer, &mut cursor, 2).is_err());
        buffer.read(&first, |_, h, _| assert_eq!(h, head(0)));
        other.join().unwrap();
        assert_eq!(buffer.released(), 0);
        assert!(buffer.settle(first.start));
        assert_eq!(buffer.released(), buffer.head());
        write(&buffer, &mut cursor, 2).unwrap();
    });
}

#[test]
fn an_overwriting_producer_and_a_writer_account_for_every_event() {
    model(|| {
        let buffer = buffer();
        let writer = {
            let buffer = Arc::clone(&buffer);
            thread::spawn(move || {
                let mut seen = Vec::new();
                for _ in 0..2 {
                    if let Some((start, events)) = claim(&buffer, &ALL) {
                        seen.extend(events);
                        buffer.settle(start);
                    }
                }
                seen
            })
        };
        let mut cursor = buffer.cursor();
        let (mut written, mut overwritten, mut dropped) = (0, 0, 0);
        let mut evicted = Vec::new();
        for _ in 0..4 {
            let mut outcome = write(&buffer, &mut cursor, written);
            if let Err(missing) = outcome {
                overwritten += buffer.overwrite(
                    &mut cursor,
                    missing,
                    |_| true,
                    |_, h, _| {
                        assert_eq!(h, head(h.sequence), "torn");
                        evicted.push(h.sequence);
                    },
                );
                outcome = write(&buffer, &mut cursor, written);
            }
            match outcome {
                Ok(()) => written += 1,
                Err(_) => dropped += 1,
            }
        }
        let mut seen = writer.join().unwrap();
        while let Some((start, events)) = claim(&buffer, &ALL) {
            seen.extend(events);
            buffer.settle(start);
        }
        assert_eq!(written + dropped, 4);
        assert_eq!(evicted.len() as u64, overwritten);
        assert!(seen.is_sorted(), "in order");
        seen.extend(&evicted);
        seen.sort_unstable();
        assert_eq!(seen, (0..written).collect::<Vec<_>>(), "each event once, stored or overwritten");
        assert_eq!(buffer.released(), buffer.head());
    });
}

/// The doorbell and the closed word: a producer stores, passes the light barrier, loads; the other side the reverse.
#[test]
fn of_a_sleeper_and_a_producer_one_sees_the_other() {
    use capture_pipeline::platform::barrier;
    use capture_pipeline::platform::sync::{AtomicU32, Ordering};
    model(|| {
        let buffer = buffer();
        let doorbell = Arc::new(AtomicU32::new(0));
        let producer = {
            let (buffer, doorbell) = (Arc::clone(&buffer), Arc::clone(&doorbell));
            thread::spawn(move || {
                let mut cursor = buffer.cursor();
                write(&buffer, &mut cursor, 0).unwrap();
                barrier::light(false);
                doorbell.load(Ordering::Relaxed) != 0
            })
        };
        doorbell.store(1, Ordering::Relaxed);
        barrier::heavy(false);
        let sees_work = buffer.has_unclaimed();
        let sees_doorbell = producer.join().unwrap();
        assert!(sees_work || sees_doorbell, "a lost wake-up");
    });
}

/// The bell for captures of events with priority: a writer that may claim nothing else sets it, and looks once more before it sleeps on the doorbell's
/// word. Two captures find the bell; the one that takes it changes the word.
#[test]
fn of_a_sleeper_that_watches_for_priority_and_two_captures_one_sees_the_other() {
    use capture_pipeline::platform::barrier;
    use capture_pipeline::platform::sync::{AtomicU32, Ordering};
    use capture_pipeline::ring::priority::Priority;
    model(|| {
        let bell = Arc::new(Priority::new(CAPACITY, CAPACITY, Some(64)));
        let word = Arc::new(AtomicU32::new(0));
        let buffers = [buffer(), buffer()];
        let producers: Vec<_> = buffers
            .iter()
            .map(|buffer| {
                let (buffer, bell, word) = (Arc::clone(buffer), Arc::clone(&bell), Arc::clone(&word));
                thread::spawn(move || {
                    let mut cursor = buffer.cursor();
                    bell.note_use();
                    write(&buffer, &mut cursor, 0).unwrap();
                    barrier::light(false);
                    if bell.may_need_ring() && bell.take_bell() {
                        word.fetch_add(1, Ordering::AcqRel);
                    }
                })
            })
            .collect();
        let seen = word.load(Ordering::Acquire);
        bell.set_bell();
        let mut asleep = word.compare_exchange(seen, seen, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if asleep {
            barrier::heavy(false);
            let any = bell.is_in_use() && buffers.iter().any(|buffer| buffer.has_unclaimed());
            asleep = !any;
        }
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        // Who sleeps on a word that does not change any more sleeps although there is work.
        let sleeps_on = asleep && word.load(Ordering::Acquire) == seen;
        assert!(!sleeps_on, "a lost wake-up");
    });
}
