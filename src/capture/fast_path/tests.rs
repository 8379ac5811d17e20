//! The fast path against the slow path.

use super::*;
use crate::capture::registry::tests::{capture, drain, fill, offer, ring_of, shape};
use crate::capture::registry::{Registry, Shape};
use crate::capture::{Counts, Looked};
use crate::platform::sync::Ordering;
use crate::ring::copy::SHORT;
use crate::ring::intake::tests::fast_intake;
use crate::ring::intake::{Overflow, doorbell};
use crate::ring::record::Head;
use crate::status::{PIPELINE_ERR_INVALID, PIPELINE_OK};

/// Answers, events and counts.
type Seen = (Vec<i32>, Vec<(Head, Vec<u8>)>, Counts);

/// What each of many captures of all lengths answers, and all that is in the ring after it; the ring full and drained now and then.
fn run(one_by_one: impl Fn(&Producer, &Offer) -> i32) -> Seen {
    let rings = Registry::new(fast_intake(Overflow::DropNewest), shape(1, 0)).unwrap();
    let producer = rings.attach_handle().unwrap();
    let (mut answers, mut events) = (Vec::new(), Vec::new());
    for n in 0..2000 {
        let event = Offer {
            kind: n,
            flags: (n % 4) & !1,
            timestamp: u64::from(n),
            correlation_id: !u64::from(n),
            node_id: 3,
            len: (n as usize * 7) % 300,
            ..offer(1)
        };
        answers.push(one_by_one(producer, &event));
        if n % 29 == 28 {
            events.extend(drain(ring_of(producer)));
        }
    }
    events.extend(drain(ring_of(producer)));
    for (head, _) in &mut events {
        // What the counter showed.
        if head.timestamp != u64::from(head.kind) {
            head.timestamp = 0;
        }
    }
    (answers, events, producer.counts())
}

#[test]
fn the_fast_path_does_what_the_slow_path_does() {
    // SAFETY: the payload is a static.
    let slow = run(|p, o| unsafe { p.capture_slow(o) });
    // SAFETY: as above.
    let fast = run(|p, o| unsafe { p.capture(o) });
    let short = run(|p, o| {
        match if o.len > SHORT {
            FastPath::Declined
        } else {
            // SAFETY: as above.
            unsafe { p.capture_fast::<false>(o) }
        } {
            // SAFETY: as above.
            FastPath::Declined => unsafe { p.capture_slow(o) },
            // SAFETY: as above; it is held.
            FastPath::Held => unsafe { p.capture_held(o) },
            FastPath::Captured | FastPath::CapturedWake => PIPELINE_OK,
        }
    });
    assert!(slow.2.dropped_full > 100 && slow.2.captured > 1000, "{:?}", slow.2);
    assert!(format!("{slow:?}") == format!("{fast:?}"));
    assert!(format!("{slow:?}") == format!("{short:?}"));
    let in_place = run(|p, o| match p.reserve(o) {
        // SAFETY: as above; the place has room for it.
        Ok(place) => unsafe {
            std::ptr::copy_nonoverlapping(o.data, place, o.len);
            p.commit(o.len)
        },
        Err(status) => status,
    });
    assert!(format!("{slow:?}") == format!("{in_place:?}"));
}

#[test]
fn an_event_that_is_declined_changes_nothing() {
    type Case = fn(&Registry, &Producer) -> Offer;
    let cases: [Case; 12] = [
        |rings, _| (rings.intake.alive.store(0, Ordering::Relaxed), offer(1)).1,
        |rings, _| (rings.intake.close(), offer(1)).1,
        |rings, _| (rings.intake.distrust_ticks(), offer(1)).1,
        |_, producer| (producer.fast.busy.store(busy::CAPTURING, Ordering::Relaxed), offer(1)).1,
        |_, producer| (producer.reserve(&offer(1)).unwrap(), offer(1)).1,
        |_, producer| (fill(producer), offer(1)).1,
        // It does not fit before the end of the ring.
        |_, producer| ((0..15).for_each(|_| assert_eq!(capture(producer), PIPELINE_OK)), offer(2)).1,
        |_, _| Offer { kind: u32::MAX, ..offer(1) },
        |_, _| Offer { flags: 1 << 20, ..offer(1) },
        |_, _| Offer { data: std::ptr::null(), ..offer(1) },
        |rings, _| Offer { len: rings.intake.max_event_bytes + 1, ..offer(1) },
        |rings, producer| (rings.detach(producer), offer(1)).1,
    ];
    for (n, case) in cases.iter().enumerate() {
        let rings = Registry::new(fast_intake(Overflow::DropNewest), shape(1, 0)).unwrap();
        let producer = rings.attach_handle().unwrap();
        assert_eq!(capture(producer), PIPELINE_OK);
        // SAFETY: the payload is a static.
        assert_eq!(unsafe { producer.capture_fast::<true>(&offer(1)) }, FastPath::Captured);
        assert!(drain(ring_of(producer)).len() == 2);
        let event = case(&rings, producer);
        let before = (producer.fast.busy.load(Ordering::Relaxed), producer.counts().captured);
        // SAFETY: as above.
        let done = unsafe { producer.capture_fast::<true>(&event) };
        // The doorbell's reasons are looked at by whoever goes on.
        assert_eq!(done, if matches!(n, 1 | 2) { FastPath::Held } else { FastPath::Declined }, "{n}");
        if done == FastPath::Held {
            assert_eq!(producer.fast.busy.load(Ordering::Relaxed), busy::CAPTURING, "{n}");
            // SAFETY: as above.
            assert_eq!(unsafe { producer.look::<true>(|| event) }, Looked::Declined, "{n}");
        }
        assert_eq!((producer.fast.busy.load(Ordering::Relaxed), producer.counts().captured), before, "{n}");
    }
}

#[test]
fn a_commit_of_more_than_was_reserved_is_refused_however_much() {
    let rings = Registry::new(fast_intake(Overflow::DropNewest), shape(1, 0)).unwrap();
    let producer = rings.attach_handle().unwrap();
    assert_eq!(capture(producer), PIPELINE_OK);
    producer.reserve(&offer(1)).unwrap();
    let most = offer(1).len;
    for used in [most + 1, usize::MAX - 64, usize::MAX - 6, usize::MAX] {
        assert_eq!(producer.commit(used), PIPELINE_ERR_INVALID, "{used}");
    }
    assert_eq!((producer.commit(most), drain(ring_of(producer)).len()), (PIPELINE_OK, 2));
}

#[test]
fn the_fast_path_says_when_no_writer_is_awake() {
    let rings = Registry::new(fast_intake(Overflow::DropNewest), shape(1, 0)).unwrap();
    let producer = rings.attach_handle().unwrap();
    assert_eq!(capture(producer), PIPELINE_OK);
    rings.intake.doorbell.state.store(doorbell::ASLEEP, Ordering::Relaxed);
    // SAFETY: the payload is a static.
    assert_eq!(unsafe { producer.capture_fast::<true>(&offer(1)) }, FastPath::CapturedWake);
    assert_eq!(rings.intake.doorbell.state.load(Ordering::Relaxed), doorbell::ASLEEP);
    producer.wake_writer();
    assert_eq!(rings.intake.doorbell.state.load(Ordering::Relaxed), doorbell::STEP + doorbell::AWAKE);
}

#[test]
fn on_a_rings_first_lap_all_but_one_in_16_kib_take_the_fast_path_and_later_all_but_two() {
    const RING: u64 = 1 << 18;
    let rings =
        Registry::new(fast_intake(Overflow::DropNewest), Shape { ring_bytes: RING, ..shape(1, 0) }).unwrap();
    let producer = rings.attach_handle().unwrap();
    let event = Offer { len: SHORT, ..offer(1) };
    let lap = || {
        let mut slow = 0;
        loop {
            // SAFETY: the payload is a static.
            if unsafe { producer.capture_fast::<false>(&event) } == FastPath::Declined {
                slow += 1;
                // SAFETY: as above.
                if unsafe { producer.capture_slow(&event) } != PIPELINE_OK {
                    break slow;
                }
            }
        }
    };
    // The first, which finds the ring, is one of them, the one that meets the watermark, and the last, which finds the ring full.
    let first = lap();
    assert!((4..=RING / (16 << 10) + 3).contains(&first), "{first}");
    assert_eq!(rings.intake.pressure.percent(), 100);
    drain(ring_of(producer));
    assert_eq!(lap(), 3);
}
