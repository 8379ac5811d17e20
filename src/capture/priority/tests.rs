//! Priority rings on one thread: what goes where, what is attached and given back with what, and what a verdict moves.

use super::*;
use crate::capture::registry::tests::{BYTES, RECORD, capture, drain, fill, offer, ring_of, rings, shape};
use crate::capture::registry::{Registry, Shape};
use crate::platform::sync::Ordering::SeqCst;
use crate::ring::intake::Overflow;
use crate::ring::slot::State;
use crate::status::{PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FULL, PIPELINE_OK};
use std::sync::Arc;

const PROMOTE: Verdict = Verdict { flags: PIPELINE_EVENT_PRIORITY, ..Verdict::KEEP };

fn with_priority(max_rings: u32, max_retired_rings: u32) -> Arc<Registry> {
    let shape = Shape { priority_ring_bytes: BYTES, ..shape(max_rings, max_retired_rings) };
    rings(Overflow::DropNewest, shape)
}

fn urgent() -> Offer {
    Offer { flags: PIPELINE_EVENT_PRIORITY, ..offer(1) }
}

fn capture_urgent(producer: &Producer) -> i32 {
    // SAFETY: the payload is a static; one thread uses the producer.
    unsafe { producer.capture(&urgent()) }
}

fn second(producer: &Producer) -> &Producer {
    producer.priority().expect("made when the producer was attached")
}

#[test]
fn each_of_the_two_rings_has_its_own_room_numbers_and_counts() {
    let rings = with_priority(2, 0);
    let producer = rings.attach_handle().unwrap();
    assert_eq!(fill(producer), BYTES / RECORD);
    assert!(!rings.intake.priority.is_in_use() && !rings.any_claimable(true, false));
    let captured = (0..100).take_while(|_| capture_urgent(producer) == PIPELINE_OK).count() as u64;
    assert_eq!(captured, BYTES / RECORD);
    assert!(rings.intake.priority.is_in_use() && rings.any_claimable(true, false));
    let counts = |p: &Producer| (p.counts().captured, p.counts().dropped_full);
    assert_eq!((counts(producer), counts(second(producer))), ((captured, 1), (captured, 1)));
    assert_ne!(ring_of(producer).id(), ring_of(second(producer)).id());
    for ring in [ring_of(producer), ring_of(second(producer))] {
        let numbers: Vec<u64> = drain(ring).iter().map(|(head, _)| head.sequence).collect();
        assert!(numbers.into_iter().eq(0..captured));
    }
    assert_eq!(rings.unclaimed().0, 0);
}

#[test]
fn both_rings_are_given_back_and_come_again_when_both_are_drained() {
    let rings = with_priority(1, 0);
    let before = rings.in_use();
    let producer = rings.attach_handle().unwrap();
    capture_urgent(producer);
    let ring = ring_of(second(producer));
    let id = ring.id();
    rings.detach(producer);
    assert_eq!((ring.state(), rings.in_use()), (State::Draining, before));
    // The ordinary ring is free, and the priority ring is not drained.
    assert!(rings.attach_handle().is_err());
    drain(ring);
    let again = rings.attach_handle().unwrap();
    assert!(std::ptr::eq(ring_of(second(again)), ring) && ring.id() != id);
    rings.detach(again);
    assert_eq!(rings.in_use(), before);
}

#[test]
fn a_pinned_priority_ring_gets_a_successor_of_its_kind() {
    let rings = with_priority(1, 1);
    let producer = rings.attach_handle().unwrap();
    while capture_urgent(producer) == PIPELINE_OK {}
    let pinned = ring_of(second(producer));
    assert!(rings.offer_successor(pinned) && !rings.offer_successor(ring_of(producer)), "one is allowed");
    assert_eq!(capture_urgent(producer), PIPELINE_OK);
    let next = ring_of(second(producer));
    assert!(next.is_priority() && next.id() != pinned.id());
    assert_eq!((pinned.state(), rings.in_use().1), (State::Retired, 1));
    assert_eq!((capture(producer), ring_of(producer).is_priority()), (PIPELINE_OK, false));
}

#[test]
fn the_busy_words_are_apart() {
    let rings = with_priority(1, 0);
    let producer = rings.attach_handle().unwrap();
    assert!(producer.reserve(&offer(1)).is_ok());
    assert_eq!((capture(producer), capture_urgent(producer)), (PIPELINE_ERR_BUSY, PIPELINE_OK));
    producer.abort();
    // A reservation with priority takes both.
    assert!(producer.reserve(&urgent()).is_ok());
    assert_eq!((capture(producer), capture_urgent(producer)), (PIPELINE_ERR_BUSY, PIPELINE_ERR_BUSY));
    assert_eq!((producer.commit(8), producer.commit(8)), (PIPELINE_OK, crate::status::PIPELINE_ERR_STATE));
    assert_eq!((capture(producer), capture_urgent(producer)), (PIPELINE_OK, PIPELINE_OK));
    let refused = &rings.intake.refused;
    assert_eq!((refused.busy.load(SeqCst), refused.priority.load(SeqCst)), (3, 1));
    assert!(!rings.any_capturing());
}

#[test]
fn what_a_verdict_moves_is_captured_there_once_with_the_flag() {
    let rings = with_priority(1, 0);
    let producer = rings.attach_handle().unwrap();
    let to = producer.promoted(offer(1).len, &PROMOTE).expect("it fits");
    assert!(producer.promoted(offer(1).len, &Verdict::KEEP).is_none());
    assert!(producer.promoted(BYTES as usize / 4, &PROMOTE).is_none(), "too large");
    assert!(std::ptr::eq(to, second(producer)) && to.promoted(8, &PROMOTE).is_none());
    // SAFETY: the payload is a static.
    let promote = || unsafe { to.capture_judged(&offer(1), &PROMOTE) };
    assert_eq!(promote(), PIPELINE_OK);
    assert_eq!((producer.counts().captured, to.counts().captured), (0, 1));
    let (head, payload) = drain(ring_of(to)).remove(0);
    assert_eq!((head.sequence, payload.len()), (0, offer(1).len));
    while promote() == PIPELINE_OK {}
    assert_eq!((promote(), to.counts().dropped_full), (PIPELINE_ERR_FULL, 2));
    rings.intake.close();
    assert_eq!(promote(), PIPELINE_ERR_CLOSED);
    assert!(!rings.any_capturing());
}
