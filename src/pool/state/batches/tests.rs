//! A batch in its places and counts.

use super::*;
use crate::ring::ring_buffer::Span;

const NS: u64 = 1_000;

/// A batch is claimed; where it is.
fn claim(batches: &mut Batches) -> usize {
    let (slot, mut batch) = batches.begin_claim(1, 2, false).unwrap();
    batch.spans.push((0, Span { start: 0, end: 0, events: 0, bytes: 0 }));
    batches.end_claim(slot, batch);
    slot
}

#[test]
fn a_batch_is_counted_in_one_place_at_a_time() {
    let mut b = Batches::default();
    let slot = claim(&mut b);
    assert_eq!((b.in_flight, b.in_doubt, b.pending, b.claiming), (1, 0, 0, 0));
    b.begin_call(slot, Attempt::new(7, 0));
    assert_eq!(b.doubt_late(NS, 0, NS), []);
    assert_eq!(b.doubt_late(NS, 1, NS - 1), []);
    assert_eq!(b.doubt_late(NS, 1, NS), [Doubted { slot, batch: 1, late_ns: NS }]);
    assert_eq!(b.doubt_late(NS, 2, NS), []);
    b.answer_later(slot);
    assert_eq!((b.in_flight, b.in_doubt, b.pending), (0, 1, 1));
    assert_eq!(b.end_attempt(slot).map(|a| (a.token, a.in_doubt)), Some((7, true)));
    assert_eq!((b.in_flight, b.in_doubt, b.pending), (1, 0, 0));
    assert!(b.end_attempt(slot).is_none());
    let batch = b.take(slot).unwrap();
    b.close(slot, batch);
    assert_eq!((b.unsettled(), b.settled, b.last_id), (0, 1, 1));
}

#[test]
fn a_slot_is_used_again_and_an_id_is_not() {
    let mut b = Batches::default();
    let (slot, batch) = b.begin_claim(1, 2, false).unwrap();
    assert_eq!(b.claiming, 1);
    b.cancel_claim(slot, batch);
    for id in 1..4 {
        let again = claim(&mut b);
        assert_eq!((again, b.get(again).unwrap().id, b.slots()), (slot, id, 1));
        let batch = b.take(again).unwrap();
        b.close(again, batch);
    }
}

#[test]
fn a_pending_answer_does_not_hold_up_a_flush_and_every_other_batch_does() {
    let mut b = Batches::default();
    let slots = [claim(&mut b), claim(&mut b), claim(&mut b)];
    b.begin_pending(slots[0], Attempt::new(1, 0));
    b.begin_call(slots[1], Attempt::new(2, 0));
    b.back_off(slots[2], 0, NS);
    assert_eq!(b.oldest_unanswered(), Some(2));
    b.answer_later(slots[1]);
    assert_eq!(b.oldest_unanswered(), Some(3));
    b.back_off.clear();
    b.make_ready(slots[2], Phase::Release);
    assert_eq!((b.oldest_unanswered(), b.has_queued()), (Some(3), true));
}
