use super::*;
use crate::platform::random::mix;
use std::sync::Arc;

const TRACE: Trace = Trace { log2: 3, partial: false, promoted: false };

#[test]
fn what_is_put_in_is_found_with_what_was_put_in() {
    let traces = Traces::new(1000).unwrap();
    let of = |n: u64| Trace { log2: (n % 21) as u32, partial: n.is_multiple_of(3), promoted: false };
    for n in 0..300 {
        assert_eq!(traces.find(mix(n), 5, || of(n)), Found::Trace(of(n)));
    }
    for n in 0..300 {
        assert_eq!(traces.find(mix(n), 6, || unreachable!("it is there")), Found::Trace(of(n)));
    }
}

#[test]
fn a_place_whose_trace_was_quiet_for_too_long_goes_to_another() {
    let traces = Traces::new(1).unwrap();
    (0..7).for_each(|n| assert_eq!(traces.find(mix(n), 0, || TRACE), Found::Trace(TRACE)));
    let later = EPOCHS as u32;
    assert_eq!(traces.find(mix(7), later, || TRACE), Found::NoPlace);
    assert_eq!(traces.find(mix(2), later, || unreachable!()), Found::Trace(TRACE));
    let last = Trace { log2: 9, partial: true, promoted: false };
    (10..16).for_each(|n| assert_eq!(traces.find(mix(n), later + 1, || last), Found::Trace(last)));
    assert_eq!(traces.find(mix(16), later + 1, || last), Found::NoPlace);
    assert_eq!(traces.find(mix(2), later + 1, || unreachable!("it was refreshed")), Found::Trace(TRACE));
}

#[test]
fn beside_a_thread_that_adds_a_trace_nothing_is_added_and_a_cut_is_noted() {
    let traces = Traces::new(1).unwrap();
    let (a, b) = (mix(1), mix(2));
    let found = traces.find(a, 0, || {
        // The lock is held here, as if this were a signal handler.
        assert_eq!(traces.find(b, 0, || unreachable!("it gets no place")), Found::Locked);
        assert_eq!(traces.find(a, 0, || unreachable!("it gets no place")), Found::Locked);
        traces.note_cut(a);
        TRACE
    });
    assert_eq!(found, Found::Trace(TRACE));
    assert_eq!(traces.find(a, 0, || unreachable!()), Found::Trace(Trace { partial: true, ..TRACE }));
    assert_eq!(traces.find(b, 0, || TRACE), Found::Trace(TRACE));
}

#[test]
fn a_trace_that_several_threads_add_at_once_gets_one_place() {
    let traces = Arc::new(Traces::new(64).unwrap());
    for round in 0..200 {
        let answers: Vec<_> = (0..4)
            .map(|thread: u32| {
                let traces = Arc::clone(&traces);
                let trace = Trace { log2: thread, ..TRACE };
                std::thread::spawn(move || traces.find(mix(round), (round * 9) as u32, || trace))
            })
            .collect::<Vec<_>>()
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|found| *found != Found::Locked)
            .collect();
        assert!(!answers.is_empty() && answers.iter().all(|found| *found == answers[0]), "{answers:?}");
    }
}

#[test]
fn a_promoted_trace_has_no_weight_any_more_and_keeps_its_place() {
    let traces = Traces::new(64).unwrap();
    let (a, b) = (0xAAAA_0000_0000_0000, 0xBBBB_0000_0000_0000);
    assert_eq!(traces.look_up(a, 0), None);
    assert_eq!([a, b].map(|hash| traces.find(hash, 0, || TRACE)), [Found::Trace(TRACE); 2]);
    traces.promote(a, false);
    let promoted = Trace { log2: 0, partial: false, promoted: true };
    assert_eq!((traces.look_up(a, 3), traces.look_up(b, 3)), (Some(promoted), Some(TRACE)));
    traces.promote(b, true);
    assert_eq!(traces.find(b, 4, || unreachable!()), Found::Trace(Trace { partial: true, ..promoted }));
}
