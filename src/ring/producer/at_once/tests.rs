//! The shortest way against the general one.

use super::*;
use crate::ring::copy::SHORT;
use crate::ring::front::Overflow;
use crate::ring::front::tests::usual_front;
use crate::ring::producer::Counts;
use crate::ring::rings::tests::{capture, drain, fill, offer, ring_of, shape};
use crate::ring::rings::{Rings, Shape};
use crate::status::{PIPELINE_ERR_INVALID, PIPELINE_OK};

/// Answers, events and counts.
type Seen = (Vec<i32>, Vec<(Head, Vec<u8>)>, Counts);

/// What each of many captures of all lengths answers, and all that is in the ring after it; the ring full and drained now and then.
fn run(one_by_one: impl Fn(&Producer, &Offer) -> i32) -> Seen {
    let rings = Rings::new(usual_front(Overflow::DropNewest), shape(1, 0)).unwrap();
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
fn the_shortest_way_does_what_the_general_one_does() {
    // SAFETY: the payload is a static.
    let general = run(|p, o| unsafe { p.capture_generally(o) });
    // SAFETY: as above.
    let shortest = run(|p, o| unsafe { p.capture(o) });
    let short = run(|p, o| {
        match if o.len > SHORT {
            AtOnce::No
        } else {
            // SAFETY: as above.
            unsafe { p.capture_at_once::<false>(o) }
        } {
            // SAFETY: as above.
            AtOnce::No => unsafe { p.capture_generally(o) },
            AtOnce::Captured | AtOnce::Knock => PIPELINE_OK,
        }
    });
    assert!(general.2.dropped_full > 100 && general.2.captured > 1000, "{:?}", general.2);
    assert!(format!("{general:?}") == format!("{shortest:?}"));
    assert!(format!("{general:?}") == format!("{short:?}"));
    let in_place = run(|p, o| match p.reserve(o) {
        // SAFETY: as above; the place has room for it.
        Ok(place) => unsafe {
            std::ptr::copy_nonoverlapping(o.data, place, o.len);
            p.commit(o.len)
        },
        Err(status) => status,
    });
    assert!(format!("{general:?}") == format!("{in_place:?}"));
}

#[test]
fn whatever_is_out_of_the_ordinary_is_left_to_the_general_way_untouched() {
    type Case = fn(&Rings, &Producer) -> Offer;
    let cases: [Case; 12] = [
        |rings, _| (rings.front.alive.store(0, Ordering::Relaxed), offer(1)).1,
        |rings, _| (rings.front.close(), offer(1)).1,
        |rings, _| (rings.front.distrust_ticks(), offer(1)).1,
        |_, producer| (producer.fast.busy.store(busy::CAPTURING, Ordering::Relaxed), offer(1)).1,
        |_, producer| (producer.reserve(&offer(1)).unwrap(), offer(1)).1,
        |_, producer| (fill(producer), offer(1)).1,
        // It does not fit before the end of the ring.
        |_, producer| ((0..15).for_each(|_| assert_eq!(capture(producer), PIPELINE_OK)), offer(2)).1,
        |_, _| Offer { kind: u32::MAX, ..offer(1) },
        |_, _| Offer { flags: 1 << 20, ..offer(1) },
        |_, _| Offer { data: std::ptr::null(), ..offer(1) },
        |rings, _| Offer { len: rings.front.max_event_bytes + 1, ..offer(1) },
        |rings, producer| (rings.detach(producer), offer(1)).1,
    ];
    for (n, case) in cases.iter().enumerate() {
        let rings = Rings::new(usual_front(Overflow::DropNewest), shape(1, 0)).unwrap();
        let producer = rings.attach_handle().unwrap();
        assert_eq!(capture(producer), PIPELINE_OK);
        // SAFETY: the payload is a static.
        assert_eq!(unsafe { producer.capture_at_once::<true>(&offer(1)) }, AtOnce::Captured);
        assert!(drain(ring_of(producer)).len() == 2);
        let event = case(&rings, producer);
        let before = (producer.fast.busy.load(Ordering::Relaxed), producer.counts().captured);
        // SAFETY: as above.
        assert_eq!(unsafe { producer.capture_at_once::<true>(&event) }, AtOnce::No, "{n}");
        assert_eq!((producer.fast.busy.load(Ordering::Relaxed), producer.counts().captured), before, "{n}");
    }
}

#[test]
fn a_commit_of_more_than_was_reserved_is_refused_however_much() {
    let rings = Rings::new(usual_front(Overflow::DropNewest), shape(1, 0)).unwrap();
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
fn the_shortest_way_says_when_nobody_is_awake() {
    let rings = Rings::new(usual_front(Overflow::DropNewest), shape(1, 0)).unwrap();
    let producer = rings.attach_handle().unwrap();
    assert_eq!(capture(producer), PIPELINE_OK);
    rings.front.signs.gate.store(gate::ASLEEP, Ordering::Relaxed);
    // SAFETY: the payload is a static.
    assert_eq!(unsafe { producer.capture_at_once::<true>(&offer(1)) }, AtOnce::Knock);
    assert_eq!(rings.front.signs.gate.load(Ordering::Relaxed), gate::ASLEEP);
    producer.knock();
    assert_eq!(rings.front.signs.gate.load(Ordering::Relaxed), gate::STEP + gate::OPEN);
}

#[test]
fn on_a_rings_first_lap_all_but_one_in_16_kib_go_the_shortest_way_and_later_all_but_the_first() {
    const RING: u64 = 1 << 18;
    let rings =
        Rings::new(usual_front(Overflow::DropNewest), Shape { ring_bytes: RING, ..shape(1, 0) }).unwrap();
    let producer = rings.attach_handle().unwrap();
    let event = Offer { len: SHORT, ..offer(1) };
    let lap = || {
        let mut generally = 0;
        loop {
            // SAFETY: the payload is a static.
            if unsafe { producer.capture_at_once::<false>(&event) } == AtOnce::No {
                generally += 1;
                // SAFETY: as above.
                if unsafe { producer.capture_generally(&event) } != PIPELINE_OK {
                    break generally;
                }
            }
        }
    };
    // The first, which finds the ring, is one of them, and the last, which finds it full.
    let first = lap();
    assert!((3..=RING / (16 << 10) + 2).contains(&first), "{first}");
    drain(ring_of(producer));
    assert_eq!(lap(), 2);
}
