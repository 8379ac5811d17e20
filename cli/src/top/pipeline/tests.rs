use super::*;
use crate::top::args::Key;
use crate::top::cells;
use capture_pipeline::journal::format::segment::Owner;
use capture_pipeline::journal::owner;

const S: u64 = 1_000_000_000;

fn words(index: u64, released: u64, head: u64) -> Words {
    Words {
        index,
        is_priority: false,
        bytes: 1000,
        head,
        claimed: released,
        released,
        ring_id: index + 1,
        thread_id: 9,
        name: [0; 16],
    }
}

/// A look at this second, with figures of that second that count so many captured events.
pub fn look(generation: u64, at: u64, rings: &[Words], figures: Option<(u64, u64)>) -> Look {
    let owner = owner::own();
    let live = figures.map(|(second, captured)| {
        let mut live = Live {
            generation,
            owner,
            monotonic_ns: second * S,
            realtime_ns: 0,
            name: "audit".into(),
            storage: "journal".into(),
            figures: Default::default(),
            writers_left_out: 0,
        };
        live.figures.metrics.captured = captured;
        live.figures.metrics.capture_rate = 77.0;
        live.figures.metrics.dropped_full = captured / 2;
        live
    });
    Look {
        at_ns: at * S,
        generation,
        path: "a.rings".into(),
        name: format!("audit{generation}"),
        program: b"/bin/service".to_vec(),
        owner,
        state: State::Runs,
        live,
        rings: Some(rings.to_vec()),
        threads: Vec::new(),
    }
}

#[test]
fn rates_are_those_of_the_last_change_of_the_figures() {
    let mut pipeline = Pipeline::new(look(1, 10, &[words(0, 0, 100)], Some((9, 500))));
    assert_eq!((pipeline.interval_ns(), pipeline.bytes_per_s()), (None, None));
    assert_eq!((pipeline.captured_per_s(), pipeline.per_s(lost)), (Some(77.0), None));
    pipeline.update(look(1, 12, &[words(0, 50, 300), words(1, 0, 7)], Some((11, 900))));
    // The ring that was not seen before has no rate yet.
    assert_eq!((pipeline.bytes_per_s(), pipeline.rings()[0].released_per_s), (Some(100.0), Some(25.0)));
    assert_eq!((pipeline.rings()[1].bytes_per_s, pipeline.backlog_bytes()), (None, Some(257)));
    assert_eq!((pipeline.captured_per_s(), pipeline.per_s(lost)), (Some(200.0), Some(100.0)));
    // The same figures seen again.
    pipeline.update(look(1, 13, &[words(0, 50, 300), words(1, 0, 7)], Some((11, 900))));
    assert_eq!((pipeline.captured_per_s(), pipeline.is_stale()), (Some(200.0), false));
    // They have not been written for long. As long as nothing moves, nothing has changed.
    pipeline.update(look(1, 20, &[words(0, 50, 300), words(1, 0, 7)], Some((11, 900))));
    assert_eq!((pipeline.captured_per_s(), pipeline.is_stale()), (Some(0.0), false));
    // It captures, and does not write its figures: it hangs.
    pipeline.update(look(1, 21, &[words(0, 50, 400), words(1, 0, 7)], Some((11, 900))));
    assert_eq!((pipeline.captured_per_s(), pipeline.is_stale()), (None, true));
    assert_eq!(pipeline.fill_percent(), Some(35.0));
    // It does again.
    pipeline.update(look(1, 22, &[words(0, 400, 400), words(1, 0, 7)], Some((21, 1900))));
    assert_eq!((pipeline.captured_per_s(), pipeline.is_stale()), (Some(100.0), false));
    let mut stopped = look(1, 30, &[], Some((21, 1900)));
    stopped.state = State::Stopped;
    pipeline.update(stopped);
    assert_eq!((pipeline.captured_per_s(), pipeline.is_stale()), (None, true));
    let mut ended = look(1, 31, &[], Some((21, 1900)));
    (ended.state, ended.owner) = (State::Ended, Owner::default());
    pipeline.update(ended);
    assert_eq!((pipeline.captured_per_s(), pipeline.is_stale()), (None, false));
}

#[test]
fn a_percentile_is_the_bound_that_so_many_events_have_not_exceeded() {
    let mut spread = Spread::default();
    assert_eq!(latency(&spread), None);
    (spread.count, spread.max_ns) = (200, 5_000);
    spread.up_to[..2].fill(99);
    spread.up_to[2..].fill(200);
    assert_eq!(latency(&spread), Some(Latency { p50: 4095, p99: 4095 }));
    spread.up_to[..2].fill(100);
    assert_eq!(latency(&spread), Some(Latency { p50: 1023, p99: 4095 }));
    spread.up_to[2..].fill(197);
    assert_eq!(latency(&spread), Some(Latency { p50: 1023, p99: 5_000 }), "beyond the last bound");
    spread.max_ns = 700;
    assert_eq!(latency(&spread), Some(Latency { p50: 700, p99: 700 }), "none took longer than the longest");
}

#[test]
fn pipelines_and_rings_are_sorted_by_each_key() {
    let mut all = Vec::new();
    for (generation, (rate, captured, waits)) in (1..).zip([(300, 10, 100), (100, 30, 900), (200, 20, 500)]) {
        let mut pipeline = Pipeline::new(look(generation, 10, &[words(0, 1000 - waits, 1000)], Some((9, 0))));
        pipeline.update(look(
            generation,
            11,
            &[words(0, 1000 + rate - waits, 1000 + rate)],
            Some((10, captured)),
        ));
        pipeline.look.owner.pid = 100 - generation as u32;
        all.push(pipeline);
    }
    let order = |key: Key| {
        let mut sorted: Vec<&Pipeline> = all.iter().collect();
        cells::sort(&mut sorted, key);
        sorted.iter().map(|pipeline| pipeline.look.generation).collect::<Vec<_>>()
    };
    for (key, wanted) in [
        (Key::Rate, [1, 3, 2]),
        (Key::Events, [2, 3, 1]),
        (Key::Backlog, [2, 3, 1]),
        (Key::Fill, [2, 3, 1]),
        (Key::Lost, [2, 3, 1]),
        (Key::Latency, [1, 2, 3]),
        (Key::Name, [1, 2, 3]),
        (Key::Pid, [3, 2, 1]),
    ] {
        assert_eq!(order(key), wanted, "{key:?}");
    }
    let mut rings: Vec<Ring> = all.iter().flat_map(Pipeline::rings).collect();
    for (at, ring) in rings.iter_mut().enumerate() {
        (ring.words.ring_id, ring.words.thread_id) = (at as u64, 10 - at as u64);
    }
    for (key, wanted) in
        [(Key::Rate, [0, 2, 1]), (Key::Backlog, [1, 2, 0]), (Key::Fill, [1, 2, 0]), (Key::Pid, [2, 1, 0])]
    {
        cells::sort_rings(&mut rings, key);
        assert_eq!(rings.iter().map(|ring| ring.words.ring_id).collect::<Vec<_>>(), wanted, "{key:?}");
    }
    let mut key = Key::Rate;
    for wanted in Key::ALL {
        assert_eq!(key, wanted);
        key = key.next();
    }
    assert_eq!(key, Key::Rate);
}
