//! What valid files give.

use crate::image::{Event, IN_TICKS, Image, OFFSET};
use crate::random::Random;
use crate::support::{Keeping, Scratch, filled, read_all, recover_into, take_run};
use capture_pipeline::event::{
    ClockFacts, PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_PRIORITY, PIPELINE_EVENT_RELEASE,
    PIPELINE_EVENT_TAG_8, PIPELINE_KIND_CLOCK, PIPELINE_KIND_KIND_NAME, PIPELINE_KIND_THREAD,
};
use capture_pipeline::recovery::Outcome;
use capture_pipeline::ring_file::reader::PIECE_BYTES;
use std::collections::BTreeMap;

#[test]
fn every_event_between_released_and_head_is_given_once_and_in_order_of_its_ring() {
    for seed in 0..40 {
        let scratch = Scratch::new();
        let (image, wanted) = filled(seed + 1, &mut Random(seed));
        let path = image.write(scratch.path());
        let mut run = take_run(&scratch, &path);
        let given = read_all(&mut run);
        let mut last = BTreeMap::new();
        for ((_, ring_id, sequence), _) in &given {
            assert!(last.insert(*ring_id, *sequence).is_none_or(|before| before < *sequence), "{seed}");
        }
        let events: BTreeMap<_, _> = given.iter().cloned().collect();
        assert_eq!((given.len(), &events), (wanted.len(), &wanted), "{seed}");
        // Those of the priority rings come first.
        let first_ordinary = given.iter().position(|((_, ring_id, _), _)| *ring_id < 13);
        assert!(
            given[first_ordinary.unwrap_or(given.len())..].iter().all(|((_, id, _), _)| *id < 13),
            "{seed}"
        );
        assert_eq!(run.losses(), &Default::default(), "{seed}");
    }
}

#[test]
fn a_ring_that_is_full_to_the_last_byte_is_read_whole() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (4096, 1), (0, 0));
    // 4096 = 2048 - 64 before the end, and the rest from the beginning on.
    image.ring(0, 5, 6, 4096 - 64);
    let sizes = [16, 2000, 1936];
    for (sequence, size) in sizes.iter().enumerate() {
        assert!(
            image.push(0, &Event::new(sequence as u64, &vec![7; size - if *size == 16 { 0 } else { 48 }]))
        );
    }
    assert_eq!(image.rings[0].head - image.rings[0].released, 64 + 2000 + 1936);
    assert!(image.push(0, &Event::new(9, &[1; 48])), "so that it is full");
    assert_eq!(image.rings[0].head - image.rings[0].released, 4096);
    let mut run = take_run(&scratch, &image.write(scratch.path()));
    let sequences: Vec<u64> = read_all(&mut run).iter().map(|((_, _, sequence), _)| *sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 9]);
}

#[test]
fn records_larger_than_a_piece_and_rings_of_many_pieces_are_read() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (4 << 20, 1), (0, 0));
    image.ring(0, 1, 0, 3 << 20);
    let sizes =
        [10, PIECE_BYTES as usize + 8, 1, 1 << 20, 100_000, 100_000, 100_000, 0, PIECE_BYTES as usize - 48];
    let events: Vec<Event> =
        sizes.iter().zip(0..).map(|(&size, n)| Event::new(n, &vec![n as u8; size])).collect();
    assert!(events.iter().all(|event| image.push(0, event)));
    let mut run = take_run(&scratch, &image.write(scratch.path()));
    let given: Vec<Event> = read_all(&mut run).into_iter().map(|(_, event)| event).collect();
    assert!(given == events);
}

#[test]
fn readings_of_the_counter_become_times_and_own_times_stay() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (4096, 1), (0, 0));
    image.ring(0, 1, 0, 0);
    image.piece(1_000, 2_000, 50_000, 2).piece(2_000, 3_000, 52_000, 3);
    for (sequence, (timestamp, flags)) in (0..).zip([
        (900, IN_TICKS),
        (1_500, IN_TICKS),
        (2_500, IN_TICKS),
        (4_000, IN_TICKS),
        (77, PIPELINE_EVENT_OWN_TIME),
    ]) {
        image.push(0, &Event { timestamp, flags, ..Event::new(sequence, b"") });
    }
    let path = image.write(scratch.path());
    let times = |scratch: &Scratch| -> Vec<(u64, u32)> {
        let given = read_all(&mut take_run(scratch, &path));
        given.into_iter().map(|(_, event)| (event.timestamp, event.flags)).collect()
    };
    // The first piece serves the readings before it, and the last those behind it.
    let own = (77, PIPELINE_EVENT_OWN_TIME);
    assert_eq!(times(&scratch), [(49_800, 0), (51_000, 0), (53_500, 0), (58_000, 0), own]);
    use capture_pipeline::ring_file::format::{CLOCK_AT, clock};
    crate::image::patch(&path, CLOCK_AT + clock::CEILING, &55_000_u64.to_le_bytes());
    assert_eq!(times(&scratch), [(49_800, 0), (51_000, 0), (53_500, 0), (55_000, 0), own]);
}

#[test]
fn a_clock_that_has_gone_round_is_read_from_its_oldest_piece_on() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (4096, 1), (0, 0));
    image.ring(0, 1, 0, 0);
    (0..5_000).for_each(|n| {
        image.piece(1_000 * n, 1_000 * (n + 1), 2_000 * n, 2);
    });
    // A reading before the oldest piece that is left, and one of the last piece.
    for (sequence, timestamp) in [(0, 903_500), (1, 4_999_001)] {
        image.push(0, &Event { timestamp, flags: IN_TICKS, ..Event::new(sequence, b"") });
    }
    let given = read_all(&mut take_run(&scratch, &image.write(scratch.path())));
    let times: Vec<u64> = given.into_iter().map(|(_, event)| event.timestamp).collect();
    assert_eq!(times, [2 * 903_500, 2 * 4_999_001]);
}

#[test]
fn facts_come_before_events_with_the_threads_of_the_rings() {
    let scratch = Scratch::new();
    let mut image = Image::new(0xAB, (4096, 3), (4096, 1));
    let clock = |monotonic_ns: u64, realtime_ns: u64| {
        let zero = ClockFacts {
            struct_size: ClockFacts::SIZE as u32,
            clock: 1,
            monotonic_ns,
            realtime_ns,
            ticks: 0,
            ticks_hz: 0,
            boot_id: [0; 16],
            pid: 1,
            reserved: 0,
        };
        zero.bytes()
    };
    image.fact(PIPELINE_KIND_KIND_NAME, 7, b"seven").fact(PIPELINE_KIND_CLOCK, 0, &clock(600, 90_600));
    image.fact(PIPELINE_KIND_CLOCK, 0, &clock(550, 1)).fact(PIPELINE_KIND_KIND_NAME, 8, b"");
    image.ring(0, 21, 121, 0).ring(1, 22, 0, 0).ring(3, 24, 124, 0);
    image.push(1, &Event::new(0, b"event"));
    image.write(scratch.path());
    let kept = Keeping::default();
    let (report, _) = recover_into(scratch.path(), kept.clone());
    assert_eq!((report.runs, report.events, report.facts), (1, 1, 6));
    let name = |kind: u64, name: &[u8]| (0xAB, PIPELINE_KIND_KIND_NAME, 0, kind, name.to_vec());
    let thread = |ring: u64, tid: u64| (0xAB, PIPELINE_KIND_THREAD, tid, ring, b"thread".to_vec());
    let facts = kept.facts.lock().unwrap().clone();
    let others: Vec<_> = facts.iter().filter(|fact| fact.1 != PIPELINE_KIND_CLOCK).cloned().collect();
    assert_eq!(others, [name(7, b"seven"), name(8, b""), thread(21, 121), thread(24, 124)]);
    // The batches of events are numbered behind those of facts.
    assert_eq!(kept.events.lock().unwrap()[0].1, 2);
}

#[test]
fn the_wall_time_is_that_of_the_last_reading_of_both_clocks() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (4096, 1), (0, 0));
    let path = image.write(scratch.path());
    assert_eq!(take_run(&scratch, &path).realtime_offset_ns(), OFFSET);
    let facts = ClockFacts {
        struct_size: ClockFacts::SIZE as u32,
        clock: 1,
        monotonic_ns: 900,
        realtime_ns: 5_900,
        ticks: 0,
        ticks_hz: 0,
        boot_id: [0; 16],
        pid: 1,
        reserved: 0,
    };
    image.fact(PIPELINE_KIND_CLOCK, 0, &facts.bytes()).write(scratch.path());
    assert_eq!(take_run(&scratch, &path).realtime_offset_ns(), 5_000);
}

#[test]
fn handles_are_left_out_and_counted() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (4096, 1), (0, 0));
    image.ring(0, 1, 0, 0);
    for sequence in 0..6 {
        let flags = if sequence % 2 == 0 {
            PIPELINE_EVENT_RELEASE
        } else {
            PIPELINE_EVENT_PRIORITY | PIPELINE_EVENT_TAG_8
        };
        image.push(0, &Event { flags, ..Event::new(sequence, &[1; 8]) });
    }
    let path = image.write(scratch.path());
    let kept = Keeping::default();
    let (report, files) = recover_into(scratch.path(), kept.clone());
    assert_eq!(kept.identities(), [(1, 1, 1), (1, 1, 3), (1, 1, 5)]);
    assert_eq!((report.events, report.handles, report.torn), (3, 3, 0));
    assert!(files[0].to_string().contains("3 events are left out"), "{}", files[0]);
    assert_eq!(files[0].outcome, Outcome::Recovered);
    assert!(!path.exists());
    // A ring of nothing else.
    let mut image = Image::new(2, (4096, 1), (0, 0));
    image.ring(0, 1, 0, 0);
    image.push(0, &Event { flags: PIPELINE_EVENT_RELEASE, ..Event::new(0, &[1; 8]) });
    image.write(scratch.path());
    let (report, _) = recover_into(scratch.path(), kept);
    assert_eq!((report.runs, report.events, report.handles), (1, 0, 1));
    assert_eq!(scratch.names(), [""; 0]);
}
