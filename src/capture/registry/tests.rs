//! The registry on one thread (two where one waits): the assignment of slots, successors of pinned ones, and the library's own events.

use super::*;
use crate::capture::Offer;
use crate::event::{PIPELINE_KIND_RESERVED, PIPELINE_KIND_THREAD};
use crate::facts::Fact;
use crate::ring::intake::tests::intake;
use crate::ring::intake::{Overflow, doorbell};
use crate::ring::record::Head;
use crate::ring::ring_buffer::{Limits, Span};
pub(crate) use crate::ring::slot::tests::until;
use crate::status::{PIPELINE_ERR_CLOSED, PIPELINE_ERR_FULL, PIPELINE_ERR_INVALID, PIPELINE_OK};
use std::sync::Arc;

pub(crate) const BYTES: u64 = 4096;
/// What a record takes here: 16 fill a ring.
pub(crate) const RECORD: u64 = 256;
const ALL: Limits = Limits { events: u32::MAX, bytes: u64::MAX, exceed: true, alone: false, cover: u64::MAX };

pub(crate) fn shape(max_rings: u32, max_retired_rings: u32) -> Shape {
    Shape {
        ring_bytes: BYTES,
        priority_ring_bytes: 0,
        max_rings,
        max_retired_rings,
        max_claims: 8,
        spill: false,
        file: None,
        meta: false,
    }
}

pub(crate) fn rings(overflow: Overflow, shape: Shape) -> Arc<Registry> {
    Registry::new(intake(overflow), shape).unwrap()
}

/// An event that takes so many records.
pub(crate) fn offer(records: u64) -> Offer {
    static PAYLOAD: [u8; BYTES as usize] = [7; BYTES as usize];
    let len = (records * RECORD) as usize - 48;
    Offer::new(1, PAYLOAD.as_ptr(), len)
}

pub(crate) fn capture(producer: &Producer) -> i32 {
    // SAFETY: the payload is a static; one thread at a time uses the producer.
    unsafe { producer.capture(&offer(1)) }
}

/// Captures until there is no room; how many got in.
pub(crate) fn fill(producer: &Producer) -> u64 {
    (0..1000).take_while(|_| capture(producer) == PIPELINE_OK).count() as u64
}

pub(crate) fn ring_of(producer: &Producer) -> &Slot {
    producer.ring().expect("attached")
}

/// Claims as a writer does.
pub(crate) fn claim(ring: &Slot, events: u32) -> Span {
    let span = ring.buffer().unwrap().claim(&Limits { events, ..ALL }).expect("something to claim");
    ring.add_claimed(span.events.into());
    span
}

/// Claims and settles all there is, and what is kept for its release.
pub(crate) fn drain(ring: &Slot) -> Vec<(Head, Vec<u8>)> {
    let mut events = Vec::new();
    for buffer in [ring.spill(), ring.buffer()].into_iter().flatten() {
        while let Some(span) = buffer.claim(&ALL) {
            buffer.read(&span, |tag, head, payload| {
                // SAFETY: claimed, so no thread writes it.
                events
                    .push((head, unsafe { std::slice::from_raw_parts(payload, tag.payload_len()) }.to_vec()));
            });
            if std::ptr::eq(buffer, ring.buffer().unwrap()) {
                ring.add_claimed(span.events.into());
            }
            buffer.settle(span.start);
        }
    }
    events
}

#[test]
fn threads_and_handles_have_rings_of_their_own_until_all_are_in_use() {
    let rings = rings(Overflow::DropNewest, shape(2, 3));
    // The shared one, and the library's own.
    assert_eq!((rings.in_use(), rings.vacancies()), ((2, 0), 0));
    let handle = rings.attach_handle().unwrap();
    let thread = rings.attach_thread(7, true).unwrap();
    assert!(!std::ptr::eq(ring_of(handle), ring_of(thread)));
    assert!(rings.find_owner(7).is_some_and(|p| std::ptr::eq(p, thread)));
    assert!(rings.find_owner(8).is_none());
    assert_eq!(rings.in_use(), (4, 0));
    assert_eq!(rings.attach_thread(8, true).err(), Some(NoRing::AllInUse));
    rings.detach_owner(7);
    rings.detach(thread);
    assert_eq!((rings.in_use(), rings.vacancies()), ((3, 0), 1), "given back once");
    assert!(rings.find_owner(7).is_none());
    rings.attach_thread(8, true).expect("a ring is free");
    rings.detach(handle);
    rings.detach_owner(8);
    assert_eq!((rings.in_use(), rings.vacancies()), ((2, 0), 3));
}

#[test]
fn a_ring_passes_on_only_when_drained_and_begins_anew() {
    // With no ring to spare. (The shared one is not given away.)
    let rings = rings(Overflow::DropNewest, shape(1, 0));
    let first = rings.attach_handle().unwrap();
    let (ring, id) = (ring_of(first), ring_of(first).id());
    assert_eq!((capture(first), capture(first)), (PIPELINE_OK, PIPELINE_OK));
    claim(ring, 1);
    rings.detach(first);
    assert_eq!((ring.state(), rings.in_use()), (State::Draining, (3, 0)));
    assert!(rings.attach_handle().is_err(), "an event is in it");
    ring.buffer().unwrap().settle(0);
    assert_eq!(drain(ring).len(), 1);
    assert_eq!(rings.in_use(), (2, 0));
    let second = rings.attach_handle().unwrap();
    assert!(std::ptr::eq(ring_of(second), ring) && ring.id() != id);
    assert_eq!((ring.claimed_events(), ring.all_claimed_events()), (0, 2));
    capture(second);
    claim(ring, 1);
    assert_eq!((ring.claimed_events(), ring.all_claimed_events()), (1, 3));
}

#[test]
fn the_producer_of_a_pinned_ring_goes_on_in_a_fresh_one_without_a_drop() {
    let rings = rings(Overflow::DropNewest, shape(2, 1));
    let producer = rings.attach_handle().unwrap();
    let (pinned, id) = (ring_of(producer), ring_of(producer).id());
    fill(producer);
    let full = producer.counts();
    assert_eq!((full.captured, full.dropped_full), (BYTES / RECORD, 1));
    claim(pinned, 1);
    assert!(rings.offer_successor(pinned));
    assert!(!rings.offer_successor(pinned), "it has one");
    assert_eq!(fill(producer), BYTES / RECORD);
    let fresh = ring_of(producer);
    assert!(!std::ptr::eq(fresh, pinned) && fresh.id() != id);
    assert_eq!((pinned.state(), fresh.state()), (State::Retired, State::Live));
    assert_eq!(rings.in_use(), (3, 1));
    assert!(!rings.offer_successor(fresh), "one may be retired");
    assert!(!rings.offer_successor(pinned), "it has no owner");
    // Its numbers begin anew.
    let numbers: Vec<u64> = drain(fresh).iter().map(|(head, _)| head.sequence).collect();
    assert_eq!(numbers, (0..BYTES / RECORD).collect::<Vec<_>>());
    // What lies behind the pin is drained as usual; then the next one may be retired.
    drain(pinned);
    assert_eq!(rings.in_use(), (3, 1), "the pin itself");
    pinned.buffer().unwrap().settle(0);
    assert_eq!(rings.in_use(), (3, 0));
    assert!(rings.offer_successor(fresh));
    // The end of the producer gives both back.
    rings.detach(producer);
    assert_eq!(rings.in_use(), (2, 0));
    assert!(rings.attach_handle().is_ok() && rings.attach_handle().is_ok());
}

#[test]
fn only_a_ring_that_is_a_producers_and_has_no_successor_gets_one() {
    let rings = rings(Overflow::DropNewest, shape(4, 3));
    let producer = rings.attach_handle().unwrap();
    let pinned = ring_of(producer);
    assert!(rings.offer_successor(pinned));
    assert!(!rings.offer_successor(pinned), "it has one");
    fill(producer);
    assert_eq!(pinned.state(), State::Retired);
    assert!(!rings.offer_successor(pinned), "its producer has left it");
    let fresh = ring_of(producer);
    rings.detach(producer);
    assert!(!rings.offer_successor(fresh), "its producer has ended");
    assert_eq!(rings.in_use(), (3, 1), "both hold events");
}

#[test]
fn a_producer_on_its_move_counts_among_the_retired() {
    // With rings to spare.
    let rings = rings(Overflow::DropNewest, shape(4, 1));
    let (one, other) = (rings.attach_handle().unwrap(), rings.attach_handle().unwrap());
    capture(one);
    assert!(rings.offer_successor(ring_of(one)));
    assert!(!rings.offer_successor(ring_of(other)), "the one to come");
    // As `make_room` does.
    ring_of(one).set_state(State::Moving);
    assert!(ring_of(one).take_successor().is_some());
    assert!(!rings.offer_successor(ring_of(other)), "the one that is on its way");
    assert!(ring_of(one).take_successor().is_none(), "at most one caller gets it");
    ring_of(one).set_state(State::Retired);
    assert!(!rings.offer_successor(ring_of(other)), "the one that has left");
    drain(ring_of(one));
    assert!(rings.offer_successor(ring_of(other)));
}

#[test]
fn under_drop_oldest_every_event_gets_in_while_nothing_is_claimed() {
    for spill in [false, true] {
        let rings = rings(Overflow::DropOldest, Shape { spill, ..shape(1, 0) });
        let producer = rings.attach_handle().unwrap();
        let ring = ring_of(producer);
        // What is overwritten is kept for its release in half as much again.
        let most = if spill { 16 + 8 } else { 100 };
        assert_eq!((0..100).filter(|_| capture(producer) == PIPELINE_OK).count(), most);
        let counts = producer.counts();
        assert_eq!(counts.overwritten, most as u64 - 16);
        assert_eq!(rings.unclaimed(), (16, BYTES, BYTES));
        assert_eq!((rings.keeps_overwritten(), rings.any_spilled()), (spill, spill));
        assert_eq!(rings.cover(ring.buffer().unwrap()), BYTES / 4);
        assert_eq!(drain(ring).len(), if spill { 24 } else { 16 });
        assert!(!rings.any_spilled());
        // Claimed, the oldest stay; so the new one goes.
        fill_anew(producer);
        claim(ring, 1);
        assert_eq!(capture(producer), PIPELINE_ERR_FULL);
        assert_eq!(producer.counts().overwritten, counts.overwritten);
    }
    let rings = rings(Overflow::DropNewest, shape(1, 0));
    let producer = rings.attach_handle().unwrap();
    assert_eq!(fill(producer), 16);
    assert_eq!((producer.counts().overwritten, rings.cover(ring_of(producer).buffer().unwrap())), (0, BYTES));
}

pub(crate) fn fill_anew(producer: &Producer) {
    for _ in 0..16 {
        assert_eq!(capture(producer), PIPELINE_OK);
    }
}

#[test]
fn unclaimed_events_are_counted_over_all_rings() {
    let rings = rings(Overflow::DropNewest, shape(2, 0));
    assert_eq!((rings.unclaimed(), rings.any_claimable(false, false)), ((0, 0, 0), false));
    let (one, other) = (rings.attach_handle().unwrap(), rings.attach_handle().unwrap());
    for producer in [one, one, one, other] {
        capture(producer);
    }
    assert_eq!(rings.unclaimed(), (4, 4 * RECORD, 3 * RECORD));
    claim(ring_of(one), 2);
    assert_eq!(rings.unclaimed(), (2, 2 * RECORD, RECORD));
    assert!(rings.any_claimable(false, true), "the other's");
    claim(ring_of(other), 1);
    assert_eq!((rings.any_claimable(false, false), rings.any_claimable(false, true)), (true, false));
    claim(ring_of(one), 1);
    assert_eq!((rings.unclaimed(), rings.any_claimable(false, false)), ((0, 0, 0), false));
}

#[test]
fn while_writers_linger_a_rings_share_of_a_batch_wakes_one() {
    let rings = rings(Overflow::DropNewest, shape(1, 1));
    let lingers =
        || rings.intake.doorbell.state.load(Ordering::Relaxed) & doorbell::MASK == doorbell::LINGERING;
    // By events (four of one ring), then by bytes (what three take).
    for (bytes, enough) in [(u64::MAX, 4), (3 * RECORD, 3)] {
        rings.intake.linger_bytes.store(bytes, Ordering::Relaxed);
        let producer = rings.attach_handle().unwrap();
        // What was claimed is no reason, and in a fresh ring it begins anew.
        for step in 0..3 {
            rings.intake.doorbell.state.store(doorbell::LINGERING, Ordering::Relaxed);
            for n in 1..=enough {
                assert!(lingers(), "after {n} of {enough}");
                capture(producer);
            }
            assert!(!lingers(), "{enough} have gathered");
            let ring = ring_of(producer);
            if step == 1 {
                rings.intake.doorbell.state.store(doorbell::AWAKE, Ordering::Relaxed);
                fill(producer);
                claim(ring, 1);
                assert!(rings.offer_successor(ring));
                assert_eq!(capture(producer), PIPELINE_OK);
                drain(ring_of(producer));
                ring.buffer().unwrap().settle(ring.buffer().unwrap().released());
            }
            drain(ring);
        }
        rings.detach(producer);
    }
}

#[test]
fn the_thread_of_a_ring_is_an_event_and_one_again_with_each_successor() {
    let rings = rings(Overflow::DropOldest, Shape { meta: true, ..shape(2, 2) });
    let own = rings.iter().find(|r| r.is_meta()).expect("a ring for the library's own events");
    let named = std::thread::Builder::new().name("teller".to_owned());
    let told = std::thread::scope(|s| {
        let teller = named.spawn_scoped(s, || {
            let producer = rings.attach_thread(7, true).unwrap();
            (thread::os_id(), ring_of(producer).id())
        });
        teller.unwrap().join().unwrap()
    });
    let facts = || -> Vec<(u32, u64, u64, Vec<u8>)> {
        let events = drain(own).into_iter();
        events.map(|(h, name)| (h.kind, h.correlation_id, h.node_id, name)).collect()
    };
    let teller = |ring| (PIPELINE_KIND_THREAD, u64::from(told.0), ring, b"teller".to_vec());
    assert_eq!(facts(), [teller(told.1)]);
    let producer = rings.find_owner(7).unwrap();
    assert!(rings.offer_successor(ring_of(producer)));
    fill_anew(producer);
    capture(producer);
    assert_eq!(facts(), [teller(ring_of(producer).id())]);
    // A handle is no thread's.
    let handle = rings.attach_handle().unwrap();
    assert!(rings.offer_successor(ring_of(handle)));
    assert_eq!(facts(), []);
    assert_eq!(rings.counted().iter().map(|p| p.counts().captured).sum::<u64>(), 17, "they are in no count");
}

#[test]
fn a_ring_has_the_thread_that_captures_into_it_and_one_that_passes_to_a_handle_has_none() {
    let rings = rings(Overflow::DropNewest, shape(1, 1));
    let thread = Some((thread::os_id(), thread::name()));
    let producer = rings.attach_thread(7, true).unwrap();
    let (slot, ring) = (ring_of(producer), ring_of(producer).id());
    assert_eq!(rings.thread_of(ring), thread);
    assert!(rings.offer_successor(ring_of(producer)));
    assert_eq!(rings.thread_of(ring + 1), thread, "its successor is the same thread's");
    rings.detach_owner(7);
    assert_eq!(rings.thread_of(ring), thread, "what it has captured is still its own");
    let handle = rings.attach_handle().unwrap();
    assert!(std::ptr::eq(ring_of(handle), slot), "the ring passes on");
    assert_eq!((rings.thread_of(ring_of(handle).id()), rings.thread_of(ring)), (None, None));
    assert_eq!(rings.thread_of(ring_of(rings.shared()).id()), None);
}

#[test]
fn the_librarys_own_events_are_neither_overwritten_nor_waited_for() {
    for policy in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Block] {
        let rings = rings(policy, Shape { meta: true, ..shape(1, 0) });
        let own = rings.iter().find(|r| r.is_meta()).expect("a ring for the library's own events");
        let theirs = Arc::clone(&rings);
        let teller = std::thread::spawn(move || {
            (0..10_000).find(|&n| {
                theirs
                    .tell_fact(&Fact::kind_name(n, b"kind").unwrap())
                    .is_err_and(|e| e.status == PIPELINE_ERR_FULL)
            })
        });
        until("a name that has no room", || teller.is_finished());
        let kept = teller.join().unwrap().expect("it is full at some time");
        assert_eq!(kept as usize, (META_RING_BYTES / 56) as usize);
        assert_eq!(
            drain(own).iter().map(|(h, _)| h.node_id).collect::<Vec<_>>(),
            (0..u64::from(kept)).collect::<Vec<_>>()
        );
        assert!(rings.tell_fact(&Fact::kind_name(1, b"kind").unwrap()).is_ok());
        rings.shut(|| true);
        assert!(
            rings
                .tell_fact(&Fact::kind_name(1, b"kind").unwrap())
                .is_err_and(|e| e.status == PIPELINE_ERR_CLOSED)
        );
    }
    assert!(Registry::check_kind(PIPELINE_KIND_RESERVED - 1).is_ok());
    assert!(Registry::check_kind(PIPELINE_KIND_RESERVED).is_err_and(|e| e.status == PIPELINE_ERR_INVALID));
}

#[test]
fn a_thread_that_holds_the_registry_knows_it() {
    let rings = rings(Overflow::DropNewest, shape(1, 0));
    assert!(!Registry::interrupted());
    let held = rings.hold();
    assert!(Registry::interrupted());
    drop(held);
    assert!(!Registry::interrupted());
}

#[test]
fn shut_does_not_wait_where_no_capture_is_under_way() {
    let rings = rings(Overflow::Block, shape(1, 0));
    let producer = rings.attach_handle().unwrap();
    capture(producer);
    let mut waited = 0;
    rings.shut(|| {
        waited += 1;
        waited < 10
    });
    assert_eq!((waited, capture(producer)), (0, PIPELINE_ERR_CLOSED));
    assert!(rings.attach_handle().is_err_and(|e| e.status == PIPELINE_ERR_CLOSED));
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_gives_the_memory_of_every_ring_back() {
    const EACH: u64 = 64 << 20;
    let rings = rings(Overflow::DropOldest, Shape { ring_bytes: EACH, spill: true, ..shape(3, 0) });
    let handles: Vec<_> = (0..3).map(|_| rings.attach_handle().unwrap()).collect();
    assert_eq!(handles.len(), 3);
    let before = crate::ring::memory::tests::mapped();
    // They are never dropped here, and not lost either.
    static KEPT: std::sync::Mutex<Vec<Arc<Registry>>> = std::sync::Mutex::new(Vec::new());
    KEPT.lock().expect("no test panics while it holds the lock").push(Arc::clone(&rings));
    // SAFETY: no thread uses the rings again.
    unsafe { rings.unmap() };
    // Four rings, each with half of one beside it. (Other tests map as much as one meanwhile.)
    assert!(crate::ring::memory::tests::mapped() + 4 * EACH < before);
}
