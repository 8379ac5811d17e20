//! Producers without room, shared producers, and the capture in place.

use super::*;
use crate::capture::registry::tests::{
    BYTES, RECORD, capture, claim, drain, fill_anew, offer, ring_of, rings, shape, until,
};
use crate::capture::registry::{Registry, Shape};
use crate::facts::Fact;
use crate::platform::time;
use crate::ring::intake::tests::fast_intake;
use crate::ring::intake::{Overflow, doorbell};
use crate::status::{
    PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FORKED, PIPELINE_ERR_FULL, PIPELINE_ERR_INVALID,
    PIPELINE_ERR_STATE, PIPELINE_ERR_TOO_LARGE, PIPELINE_OK,
};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Captures an event of two records, on a thread of its own, which may wait for an hour.
fn captures_two(rings: &Arc<Registry>) -> JoinHandle<i32> {
    let rings = Arc::clone(rings);
    // SAFETY: the payload is a static; no other thread uses the producer.
    std::thread::spawn(move || unsafe { rings.counted()[0].capture(&offer(2)) })
}

fn answer(thread: JoinHandle<i32>) -> i32 {
    until("an answer", || thread.is_finished());
    thread.join().unwrap()
}

fn capture_shared(rings: &Registry) -> i32 {
    // SAFETY: the payload is a static.
    unsafe { rings.shared().capture_shared(&offer(1)) }
}

/// How often a capture that waits has called for a writer: once before each of its sleeps.
fn waits(rings: &Registry) -> u32 {
    rings.intake.doorbell.state.load(Ordering::Acquire) / doorbell::STEP
}

/// A full ring, and a capture that waits for space in it.
fn a_capture_that_waits(shape: Shape) -> (Arc<Registry>, JoinHandle<i32>) {
    let rings = rings(Overflow::Block, shape);
    rings.attach_handle().unwrap();
    fill_anew(&rings.counted()[0]);
    let waiter = captures_two(&rings);
    until("a capture that waits", || waits(&rings) > 0);
    (rings, waiter)
}

/// One record's space comes free.
fn release_one(ring: &Slot) {
    let span = claim(ring, 1);
    assert!(ring.buffer().unwrap().settle(span.start));
    ring.announce_space();
}

#[test]
fn a_capture_that_waits_sleeps_until_there_is_space_enough() {
    let (rings, waiter) = a_capture_that_waits(shape(1, 0));
    let ring = ring_of(&rings.counted()[0]);
    (0..30_000).for_each(|_| std::thread::yield_now());
    assert!(waits(&rings) < 5 && rings.any_capturing(), "it sleeps");
    let before = waits(&rings);
    release_one(ring);
    until("its wait for the rest", || waits(&rings) > before);
    release_one(ring);
    assert_eq!((answer(waiter), rings.counted()[0].counts().dropped_full), (PIPELINE_OK, 0));
}

#[test]
fn a_capture_that_waits_goes_on_in_a_successor() {
    let (rings, waiter) = a_capture_that_waits(shape(1, 1));
    let ring = ring_of(&rings.counted()[0]);
    assert!(rings.offer_successor(ring));
    assert_eq!(answer(waiter), PIPELINE_OK);
    assert!(!std::ptr::eq(ring_of(&rings.counted()[0]), ring));
}

#[test]
fn a_capture_that_waits_is_refused_when_the_pipeline_is_shut_which_waits_for_that() {
    let (rings, waiter) = a_capture_that_waits(shape(1, 0));
    rings.shut(|| true);
    assert!(!rings.any_capturing());
    assert_eq!(answer(waiter), PIPELINE_ERR_CLOSED);
}

#[test]
fn shut_waits_for_a_capture_under_way_as_long_as_patience_lasts() {
    for (ends_after, patience) in [(3, 1000), (1000, 5)] {
        let rings = rings(Overflow::DropNewest, shape(1, 0));
        let producer = rings.attach_handle().unwrap();
        producer.fast.busy.store(busy::CAPTURING, Ordering::Relaxed);
        let mut asked = 0;
        let all_in = rings.shut(|| {
            asked += 1;
            if asked == ends_after {
                producer.fast.busy.store(busy::NO, Ordering::Relaxed);
            }
            asked < patience
        });
        assert_eq!((asked, rings.any_capturing()), (ends_after.min(patience), ends_after > patience));
        assert_eq!(all_in, ends_after < patience);
    }
}

#[test]
fn no_capture_waits_longer_than_allowed_nor_on_a_writers_thread_nor_under_another_policy() {
    for (policy, timeout_us, works_for, shared) in [
        (Overflow::Block, 0, 0, false),
        (Overflow::Block, 1000, 0, false),
        (Overflow::Block, 3_600_000_000, 1, false),
        (Overflow::DropNewest, 3_600_000_000, 0, false),
        (Overflow::Block, 0, 0, true),
        (Overflow::Block, 1000, 0, true),
        (Overflow::Block, 3_600_000_000, 1, true),
        (Overflow::DropNewest, 3_600_000_000, 0, true),
    ] {
        let rings = rings(policy, shape(1, 0));
        rings.attach_handle().unwrap();
        rings.intake.block_timeout_us.store(timeout_us, Ordering::Relaxed);
        let theirs = Arc::clone(&rings);
        let capturer = std::thread::spawn(move || {
            thread::set_works_for(works_for);
            let full = |_| if shared { capture_shared(&theirs) } else { capture(&theirs.counted()[0]) };
            (0..=BYTES / RECORD).map(full).sum()
        });
        assert_eq!(answer(capturer), PIPELINE_ERR_FULL, "{policy:?} {timeout_us} {works_for} {shared}");
    }
}

#[test]
fn an_event_of_every_producer_wakes_a_writer() {
    let rings = rings(Overflow::DropNewest, Shape { meta: true, ..shape(1, 0) });
    let producer = rings.attach_handle().unwrap();
    let woken = |captured: &dyn Fn() -> i32| {
        rings.intake.doorbell.state.store(doorbell::ASLEEP, Ordering::Relaxed);
        assert_eq!(captured(), PIPELINE_OK);
        rings.intake.doorbell.state.load(Ordering::Relaxed) == doorbell::STEP + doorbell::AWAKE
    };
    assert!(woken(&|| capture(producer)), "a thread's own ring");
    assert!(woken(&|| capture_shared(&rings)), "the shared one");
    assert!(
        woken(&|| rings
            .tell_fact(&Fact::kind_name(1, b"kind").unwrap())
            .map_or_else(|e| e.status, |()| PIPELINE_OK)),
        "the library's own"
    );
}

#[test]
fn a_capture_that_waits_for_space_in_the_shared_ring_does_not_hold_it() {
    let rings = rings(Overflow::Block, shape(1, 0));
    for _ in 0..BYTES / RECORD {
        assert_eq!(capture_shared(&rings), PIPELINE_OK);
    }
    let theirs = Arc::clone(&rings);
    let waiter = std::thread::spawn(move || capture_shared(&theirs));
    until("a capture that waits", || waits(&rings) > 0);
    rings.intake.block_timeout_us.store(0, Ordering::Relaxed);
    assert_eq!(capture_shared(&rings), PIPELINE_ERR_FULL, "not busy");
    (0..30_000).for_each(|_| std::thread::yield_now());
    assert!(waits(&rings) < 5, "it sleeps");
    release_one(ring_of(rings.shared()));
    assert_eq!(answer(waiter), PIPELINE_OK);
    assert_eq!(rings.shared().counts().dropped_full, 1);
}

#[test]
fn the_shared_producer_is_waited_for_under_block_and_else_refused_as_busy() {
    const ANOTHER: u64 = u64::MAX;
    for (policy, holder, timeout_us) in [
        (Overflow::DropNewest, ANOTHER, 3_600_000_000),
        (Overflow::Block, ANOTHER, 1000),
        // A signal handler on the very thread that holds it.
        (Overflow::Block, 0, 3_600_000_000),
    ] {
        let rings = rings(policy, shape(1, 0));
        rings.intake.block_timeout_us.store(timeout_us, Ordering::Relaxed);
        let theirs = Arc::clone(&rings);
        let refused = std::thread::spawn(move || {
            let holder = if holder == 0 { thread::token() } else { holder };
            theirs.shared().holder.store(holder, Ordering::Release);
            capture_shared(&theirs)
        });
        assert_eq!(answer(refused), PIPELINE_ERR_BUSY, "{policy:?}");
        assert_eq!(rings.intake.refused.busy.load(Ordering::Relaxed), 1);
    }
    for shuts in [false, true] {
        let rings = rings(Overflow::Block, shape(1, 0));
        rings.shared().holder.store(ANOTHER, Ordering::Release);
        let theirs = Arc::clone(&rings);
        let waiter = std::thread::spawn(move || capture_shared(&theirs));
        // (If it has not begun by then, this shows nothing, and does not fail.)
        (0..30_000).for_each(|_| std::thread::yield_now());
        if shuts {
            rings.intake.close();
        } else {
            rings.shared().holder.store(0, Ordering::Release);
        }
        assert_eq!(answer(waiter), if shuts { PIPELINE_ERR_CLOSED } else { PIPELINE_OK });
        assert_eq!(rings.intake.refused.closed.load(Ordering::Relaxed), u64::from(shuts));
    }
}

#[test]
fn an_event_in_place_is_captured_as_far_as_committed_and_wakes_a_writer() {
    let rings = rings(Overflow::DropNewest, shape(1, 0));
    let producer = rings.attach_handle().unwrap();
    rings.intake.doorbell.state.store(doorbell::ASLEEP, Ordering::Relaxed);
    let place = producer.reserve(&offer(1)).expect("there is room");
    assert_eq!(producer.reserved_len(), offer(1).len);
    // SAFETY: `reserve` gave more bytes than that.
    unsafe { std::ptr::write_bytes(place, 9, 5) };
    assert_eq!(
        (capture(producer), rings.intake.doorbell.state.load(Ordering::Relaxed)),
        (PIPELINE_ERR_BUSY, doorbell::ASLEEP)
    );
    assert_eq!((producer.commit(5), producer.commit(5)), (PIPELINE_OK, PIPELINE_ERR_STATE));
    assert_eq!(rings.intake.doorbell.state.load(Ordering::Relaxed), doorbell::STEP + doorbell::AWAKE);
    assert_eq!(drain(ring_of(producer)).iter().map(|e| e.1.clone()).collect::<Vec<_>>(), [vec![9; 5]]);
    producer.reserve(&offer(1)).expect("there is room");
    rings.shut(|| true);
    assert_eq!(
        (producer.commit(5), rings.intake.refused.closed.load(Ordering::Relaxed)),
        (PIPELINE_ERR_CLOSED, 1)
    );
}

#[test]
fn in_a_forked_child_every_capture_is_refused_and_none_is_counted() {
    let rings = rings(Overflow::DropNewest, shape(1, 0));
    let producer = rings.attach_handle().unwrap();
    producer.reserve(&offer(1)).expect("there is room");
    assert!(!producer.forked());
    rings.intake.alive.store(0, Ordering::Relaxed);
    assert!(producer.forked());
    let answers =
        [producer.commit(5), producer.abort(), capture(producer), producer.reserve(&offer(1)).unwrap_err()];
    assert_eq!((answers, capture_shared(&rings)), ([PIPELINE_ERR_FORKED; 4], PIPELINE_ERR_FORKED));
    let refused = &rings.intake.refused;
    let counts = [&refused.too_large, &refused.closed, &refused.invalid, &refused.busy, &refused.no_ring];
    assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 0));
    assert!(rings.counted().iter().all(|p| p.counts().captured + p.counts().dropped_full == 0));
}

#[test]
fn a_refused_event_is_counted_by_its_reason() {
    let rings = rings(Overflow::DropNewest, shape(1, 0));
    let producer = rings.attach_handle().unwrap();
    let large = Offer { len: rings.intake.max_event_bytes + 1, ..offer(1) };
    let reserved_kind = Offer { kind: u32::MAX, ..offer(1) };
    let nowhere = Offer { data: std::ptr::null(), ..offer(1) };
    // SAFETY: what has a payload has one of that length.
    let answers = [large, reserved_kind, nowhere].map(|offer| unsafe { producer.capture(&offer) });
    assert_eq!(answers, [PIPELINE_ERR_TOO_LARGE, PIPELINE_ERR_INVALID, PIPELINE_ERR_INVALID]);
    // What could not even be read.
    producer.count_invalid();
    let refused = &rings.intake.refused;
    assert_eq!((refused.too_large.load(Ordering::Relaxed), refused.invalid.load(Ordering::Relaxed)), (1, 3));
}

#[test]
fn a_counter_that_is_behind_stands_still_for_its_ring_and_own_times_stay_as_they_are() {
    use crate::event::PIPELINE_EVENT_OWN_TIME;
    let rings = Registry::new(fast_intake(Overflow::DropNewest), shape(1, 0)).unwrap();
    let producer = rings.attach_handle().unwrap();
    let ahead = time::ticks() + (1 << 40);
    producer.fast.last_ticks.set(ahead);
    let own = Offer { flags: PIPELINE_EVENT_OWN_TIME, timestamp: 3, ..offer(1) };
    // SAFETY: the payload is a static.
    assert_eq!((capture(producer), unsafe { producer.capture(&own) }, capture(producer)), (0, 0, 0));
    rings.intake.distrust_ticks();
    assert_eq!(capture(producer), PIPELINE_OK);
    let mut seen = Vec::new();
    let ring = ring_of(producer);
    let span = claim(ring, 4);
    ring.buffer()
        .unwrap()
        .read(&span, |tag, head, _| seen.push((head.timestamp, tag.in_ticks(), tag.flags())));
    assert_eq!(seen[..3], [(ahead, true, 0), (3, false, PIPELINE_EVENT_OWN_TIME), (ahead, true, 0)]);
    assert!((seen[3].0, seen[3].1, seen[3].2) == (seen[3].0.min(time::now_ns()), false, 0));
}

#[test]
fn the_librarys_own_events_in_a_successor_wait_for_those_before_it() {
    let rings = rings(Overflow::Block, Shape { meta: true, ..shape(1, 1) });
    let tell = || rings.tell_fact(&Fact::kind_name(1, &[b'x'; 200]).unwrap()).is_ok();
    let own = || rings.iter().filter(|r| r.is_meta()).last().expect("a ring for the library's own events");
    let first = own();
    assert!(tell() && rings.any_claimable(false, false) && rings.is_its_turn(first));
    let span = claim(first, 1);
    assert!(tell() && !rings.any_claimable(false, false), "one batch at a time");
    assert!(rings.offer_successor(first));
    while std::ptr::eq(own(), first) || own().is_drained() {
        assert!(tell());
    }
    assert!(!rings.any_claimable(false, false) && !rings.is_its_turn(own()));
    first.buffer().unwrap().settle(span.start);
    assert!(rings.any_claimable(false, false) && rings.is_its_turn(first) && !rings.is_its_turn(own()));
    drain(first);
    assert!(rings.any_claimable(false, false) && rings.is_its_turn(own()));
}
