//! Captures under rules, and the replacement of rules beside them.

use super::super::tests::{drain, ring_of, shape, until};
use super::*;
use crate::capture::{Counts, Offer, Producer};
use crate::event::{PIPELINE_EVENT_PRIORITY, PIPELINE_EVENT_TAG_1, PIPELINE_EVENT_TAG_8};
use crate::kinds::Definitions;
use crate::ring::intake::Overflow;
use crate::ring::intake::tests::{fast_intake, intake};
use crate::rules::{Known, parse};
use crate::status::{
    PIPELINE_DROPPED_BY_RULE, PIPELINE_ERR_INVALID, PIPELINE_ERR_TOO_LARGE, PIPELINE_OK, PIPELINE_SAMPLED,
};
use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64};

fn set(text: &str) -> Arc<RuleSet> {
    let known = Known { definitions: &Definitions::default(), more: None, names: &HashMap::new() };
    Arc::new(RuleSet::new(parse(text).unwrap(), false, 3, 0, known).unwrap())
}

/// Registries in which captures could take the fast path, and in which they could not.
fn registries() -> [Arc<Registry>; 2] {
    [fast_intake(Overflow::DropNewest), intake(Overflow::DropNewest)]
        .map(|intake| Registry::new(intake, shape(2, 0)).unwrap())
}

fn offer(kind: u32, payload: &[u8]) -> Offer {
    Offer::new(kind, payload.as_ptr(), payload.len())
}

/// Captures an event by each form: the call, in place, and on the shared producer.
fn by_each_form(rings: &Registry, producer: &Producer, offer: &Offer) -> [i32; 3] {
    // SAFETY: the payloads are slices; one thread uses the producers.
    unsafe {
        let call = producer.capture(offer);
        let place =
            producer.reserve(&Offer { len: offer.len + 5, data: std::ptr::null(), ..*offer }).unwrap();
        std::ptr::copy_nonoverlapping(offer.data, place, offer.len);
        [call, producer.commit(offer.len), rings.shared().capture_shared(offer)]
    }
}

#[test]
fn every_form_of_capture_obeys_the_rules_and_counts_what_they_drop() {
    for rings in registries() {
        let producer = rings.attach_handle().unwrap();
        let rules = "drop if kind = 1\nkept: keep, redact payload[1..3], tag 1, tag 8 if kind = 2\nsample 1/4 if kind = 3\npriority if kind = 4";
        let set = set(rules);
        rings.set_rules(Some(Arc::clone(&set))).unwrap();
        let all = |kind, payload: &[u8]| by_each_form(&rings, producer, &offer(kind, payload));
        assert_eq!(all(5, b"plain"), [PIPELINE_OK; 3]);
        assert_eq!(all(1, b"dropped"), [PIPELINE_DROPPED_BY_RULE; 3]);
        assert_eq!(all(2, b"secret"), [PIPELINE_OK; 3]);
        assert_eq!(all(4, b"urgent"), [PIPELINE_OK; 3]);
        let mut sampled = [0, 0];
        for _ in 0..20 {
            for status in all(3, b"often") {
                sampled[(status == PIPELINE_SAMPLED) as usize] += 1;
                assert!([PIPELINE_OK, PIPELINE_SAMPLED].contains(&status));
            }
        }
        assert!(sampled[0] >= 3 && sampled[1] >= 20, "{sampled:?}");

        let mut seen = 0;
        for producer in [producer, rings.shared()] {
            let mut last = None;
            let mut gaps = 0;
            for (head, payload) in drain(ring_of(producer)) {
                gaps += head.sequence - last.map_or(0, |last: u64| last + 1);
                last = Some(head.sequence);
                seen += 1;
                let expected: (&[u8], f32) = match head.kind {
                    2 => (b"s\0\0ret", 1.0),
                    3 => (b"often", 4.0),
                    4 => (b"urgent", 1.0),
                    _ => (b"plain", 1.0),
                };
                assert_eq!((&*payload, head.weight), expected);
            }
            let counts = producer.counts();
            // (Those behind the last captured event show later.)
            assert!(gaps <= counts.dropped_rule + counts.dropped_sampled);
            let forms = if std::ptr::eq(producer, rings.shared()) { 1 } else { 2 };
            assert_eq!(counts.dropped_rule, forms);
            assert_eq!(counts.captured + counts.dropped_sampled + counts.dropped_rule, forms * 24);
        }
        let sum = |of: fn(&Counts) -> u64| rings.counted().iter().map(|p| of(&p.counts())).sum::<u64>();
        assert_eq!((seen, sum(|c| c.captured)), (9 + sampled[0], 9 + sampled[0]));
        assert_eq!((sum(|c| c.dropped_sampled), sum(|c| c.weight_beyond)), (sampled[1], 3 * sampled[0]));
        let counts = |rule| set.counts_of(rule);
        assert_eq!([0, 1, 2, 3].map(|rule| counts(rule).matched), [3, 3, 60, 3]);
        assert_eq!(counts(2).sampled_out, sampled[1]);
    }
}

#[test]
fn tags_and_priority_are_flags_of_the_event() {
    for rings in registries() {
        let producer = rings.attach_handle().unwrap();
        rings.set_rules(Some(set("tag 1, tag 8 if kind = 1\npriority if node_id"))).unwrap();
        let both = Offer { node_id: 4, ..offer(1, b"x") };
        for (offer, expected) in [
            (offer(1, b"x"), PIPELINE_EVENT_TAG_1 | PIPELINE_EVENT_TAG_8),
            (both, PIPELINE_EVENT_TAG_1 | PIPELINE_EVENT_TAG_8 | PIPELINE_EVENT_PRIORITY),
            (Offer { kind: 2, flags: PIPELINE_EVENT_PRIORITY, ..both }, PIPELINE_EVENT_PRIORITY),
        ] {
            assert_eq!(by_each_form(&rings, producer, &offer), [PIPELINE_OK; 3]);
            for ring in [ring_of(producer), ring_of(rings.shared())] {
                let buffer = ring.buffer().unwrap();
                let span = super::super::tests::claim(ring, 9);
                buffer.read(&span, |tag, _, _| assert_eq!(tag.flags(), expected));
                buffer.settle(span.start);
            }
        }
    }
}

#[test]
fn what_is_refused_is_not_shown_to_the_rules_and_no_caller_sets_a_tag() {
    for rings in registries() {
        let producer = rings.attach_handle().unwrap();
        let set = set("drop");
        rings.set_rules(Some(Arc::clone(&set))).unwrap();
        let long = [0; 1025];
        // SAFETY: the payloads are slices.
        let capture = |offer: &Offer| unsafe { producer.capture(offer) };
        assert_eq!(capture(&offer(1, &long)), PIPELINE_ERR_TOO_LARGE);
        assert_eq!(capture(&Offer { flags: PIPELINE_EVENT_TAG_1, ..offer(1, b"x") }), PIPELINE_ERR_INVALID);
        assert_eq!(capture(&Offer { len: 1, ..Offer::new(1, std::ptr::null(), 0) }), PIPELINE_ERR_INVALID);
        assert_eq!(set.counts_of(0).matched, 0);
        assert_eq!(capture(&Offer::new(1, std::ptr::null(), 0)), PIPELINE_DROPPED_BY_RULE);
        assert_eq!(set.counts_of(0).matched, 1);
        // Without rules it is as before.
        rings.set_rules(None).unwrap();
        assert_eq!(capture(&offer(1, b"x")), PIPELINE_OK);
        assert_eq!((producer.counts().dropped_rule, producer.counts().captured), (1, 1));
    }
}

#[test]
fn a_replaced_set_is_kept_while_a_capture_reads_it() {
    let [rings, _] = registries();
    let (first, second) = (set("drop if kind = 1"), set("drop if kind = 2"));
    let kept = [Arc::downgrade(&first), Arc::downgrade(&second)];
    let alive = || [&kept[0], &kept[1]].map(|set| set.upgrade().is_some());
    rings.set_rules(Some(first)).unwrap();
    // SAFETY: no other thread uses the producer.
    let reading = unsafe { read(&rings.intake, &rings.counted()[1].rules_read, true) }.unwrap();
    rings.set_rules(Some(second)).unwrap();
    assert_eq!((alive(), rings.free_replaced_rules()), ([true, true], 1));
    assert_eq!(reading.rules().len(), 1);
    drop(reading);
    assert_eq!((rings.free_replaced_rules(), alive()), (0, [false, true]));
    rings.set_rules(None).unwrap();
    assert_eq!((alive(), rings.rules().is_none()), ([false, false], true));
}

#[test]
fn too_many_sets_that_are_still_read_are_an_error_and_change_nothing() {
    let rings = Registry::new(fast_intake(Overflow::DropNewest), shape(100, 0)).unwrap();
    let mut readings = Vec::new();
    for at in 0..MOST_REPLACED {
        rings.set_rules(Some(set("drop"))).unwrap();
        // SAFETY: no other thread uses the producer.
        readings.push(unsafe { read(&rings.intake, &rings.counted()[at].rules_read, true) });
    }
    rings.set_rules(Some(set("drop"))).unwrap();
    let refused = rings.set_rules(Some(set("tag 1"))).unwrap_err();
    assert_eq!(refused.status, PIPELINE_ERR_BUSY);
    assert!(rings.rules().unwrap().rules()[0].actions.drop);
    readings.pop();
    rings.set_rules(Some(set("tag 1"))).unwrap();
    assert_eq!(rings.free_replaced_rules(), MOST_REPLACED - 1);
    readings.clear();
    assert_eq!(rings.free_replaced_rules(), 0);
}

#[test]
fn rules_that_are_replaced_beside_captures_drop_each_event_whole_or_not_at_all() {
    for rings in registries() {
        let (done, mut sets) = (AtomicBool::new(false), Vec::<Weak<RuleSet>>::new());
        let all_offered = AtomicU64::new(0);
        let dropped: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (rings, done, all_offered) = (&rings, &done, &all_offered);
                    let producer = rings.attach_handle().unwrap();
                    scope.spawn(move || {
                        let (mut offered, mut dropped) = (0, 0);
                        while !done.load(Ordering::Acquire) || offered < 10_000 {
                            // SAFETY: the payload is a slice; no other thread uses the producer.
                            let status = unsafe { producer.capture(&offer(offered as u32 % 2, b"payload")) };
                            assert!([PIPELINE_OK, PIPELINE_DROPPED_BY_RULE].contains(&status), "{status}");
                            dropped += u64::from(status == PIPELINE_DROPPED_BY_RULE);
                            offered += 1;
                            all_offered.fetch_add(1, Ordering::AcqRel);
                            if offered % 8 == 0 {
                                drain(ring_of(producer));
                            }
                        }
                        let counts = producer.counts();
                        assert_eq!((counts.dropped_rule, counts.captured), (dropped, offered - dropped));
                        dropped
                    })
                })
                .collect();
            for round in 0..2_000 {
                let text = ["drop if kind = 0", "drop if kind = 1", "drop", ""][round % 4];
                let next = (!text.is_empty()).then(|| set(text));
                sets.extend(next.as_ref().map(Arc::downgrade));
                rings.set_rules(next).unwrap();
                // Now and then captures meet these rules for certain.
                if round % 64 == 2 {
                    let before = all_offered.load(Ordering::Acquire);
                    until("captures", || all_offered.load(Ordering::Acquire) > before + 2);
                }
            }
            done.store(true, Ordering::Release);
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(dropped > 0);
        assert_eq!(rings.free_replaced_rules(), 0);
        assert!(sets.iter().all(|set| set.upgrade().is_none()));
    }
}
