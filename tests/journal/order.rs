//! Every event is given once, in the order that was asked for.

use crate::random::Random;
use crate::reading::{Given, identity, in_time, open, read, sequences, take};
use crate::segments::{Builder, Event, REALTIME_OFFSET, Scratch};
use capture_pipeline::journal::format::block::Piece;
use capture_pipeline::journal::format::record::{OWN_TIME, TICKS};
use capture_pipeline::journal::reader::{Options, State};
use std::collections::HashSet;
use std::path::Path;

#[test]
fn every_event_is_given_as_it_was_written() {
    let scratch = Scratch::new();
    let events: Vec<Event> = (0..5)
        .map(|n| Event { node_id: n, weight: 1.5, ..Event::new(n, 100 + n, vec![n as u8; n as usize]) })
        .map(|event| event.kind(7).correlation_id(u64::MAX).flags(OWN_TIME | 1))
        .collect();
    Builder::new(7, 1).events(3, &events[..2]).events(3, &events[2..]).seal().write(scratch.path());
    for options in [Options::default(), in_time()] {
        let mut reader = open(scratch.path(), options);
        let given = take(&mut reader);
        let expected: Vec<Given> = events
            .iter()
            .map(|event| Given {
                identity: identity(7, 3, event.sequence),
                realtime_ns: event.timestamp + REALTIME_OFFSET as u64,
                event: event.clone(),
            })
            .collect();
        assert_eq!(given, expected);
        assert!(reader.losses().is_empty(), "{:?}", reader.losses());
        let segment = reader.segments().next().expect("a segment");
        assert!(matches!(segment.state, State::Sealed(seal) if (seal.blocks, seal.events) == (2, 5)));
        assert_eq!((segment.blocks, segment.events, segment.times_ns), (2, 5, (100, 104)));
    }
}

#[test]
fn a_reading_of_the_counter_becomes_a_time() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    builder.pieces = vec![
        Piece { start: 1_000, end: 2_000, ns: 50, rate: 1 << 48 },
        Piece { start: 2_000, end: 3_000, ns: 1_050, rate: 2 << 48 },
    ];
    let reading = |sequence, ticks| Event::new(sequence, ticks, "x").flags(TICKS);
    let events =
        [reading(1, 999), reading(2, 1_500), Event::new(3, 700, "x"), reading(4, 2_010), reading(5, 1_999)];
    builder.events(1, &events).seal().write(scratch.path());
    let given = read(scratch.path(), Options::default());
    let times: Vec<u64> = given.iter().map(|given| given.event.timestamp).collect();
    assert_eq!(times, [49, 550, 700, 1_070, 1_049]);
    assert!(given.iter().all(|given| given.event.flags == 0));
    assert_eq!(sequences(&read(scratch.path(), in_time())), [1, 2, 3, 5, 4]);
}

#[test]
fn a_filter_gives_what_it_names() {
    let scratch = Scratch::new();
    let event = |n: u64| Event::new(n, n, "x").kind(n as u32 % 3).correlation_id(n % 2);
    let events: Vec<Event> = (0..60).map(event).collect();
    let mut builder = Builder::new(1, 1);
    for events in events.chunks(7) {
        builder.events(1, events);
    }
    builder.seal().write(scratch.path());
    Builder::new(2, 1).events(1, &events).seal().write(scratch.path());
    let all = Options::default();
    let wall = REALTIME_OFFSET as u64;
    type Kept = fn(u64) -> bool;
    let cases: [(Options, Kept); 5] = [
        (Options { kinds: Some(vec![2, 0]), ..all.clone() }, |n| n % 3 != 1),
        (Options { correlation_id: Some(1), ..all.clone() }, |n| n % 2 == 1),
        (Options { from_ns: 9, to_ns: 33, ..all.clone() }, |n| (9..33).contains(&n)),
        (Options { from_realtime_ns: wall + 20, to_realtime_ns: wall + 21, ..all.clone() }, |n| n == 20),
        (Options { kinds: Some(Vec::new()), ..all }, |_| false),
    ];
    for (options, kept) in cases {
        let options = Options { generation: Some(2), ..options };
        let expected: Vec<u64> = (0..60).filter(|&n| kept(n)).collect();
        for options in [options.clone(), Options { order: in_time().order, ..options }] {
            let given = read(scratch.path(), options.clone());
            assert_eq!(sequences(&given), expected, "{options:?}");
            assert!(given.iter().all(|given| given.identity.generation == 2));
        }
    }
}

/// A random journal: runs and rings whose blocks lie anywhere, events with times of their own, blocks that were written again. Returns the events in the order of time.
fn random_journal(directory: &Path, seed: u64, largest: u64) -> Vec<Given> {
    let mut random = Random(seed);
    let mut all = Vec::new();
    for generation in 0..=random.below(2) {
        let mut segments: Vec<Builder> =
            (1..=1 + random.below(4)).map(|number| Builder::new(generation, number)).collect();
        for ring in 0..=random.below(12) {
            let own_times = random.one_in(4);
            let (mut sequence, mut time) = (0, random.below(1_000));
            for _ in 0..=random.below(12) {
                let mut events = Vec::new();
                let most = if random.one_in(3) { 1 } else { 40 };
                for _ in 0..=random.below(most) {
                    sequence += 1 + u64::from(random.one_in(5)) * random.below(4);
                    time += random.below(3) * random.below(100);
                    let longest = if random.one_in(50) { largest } else { 100 };
                    let len = random.below(longest) as usize;
                    let event = Event::new(sequence, time, random.bytes(len)).kind(random.below(4) as u32);
                    let own = Event { timestamp: random.below(10_000), flags: OWN_TIME, ..event.clone() };
                    events.push(if own_times { own } else { event });
                }
                let at = random.below(segments.len() as u64) as usize;
                match random.below(6) {
                    codec @ 0..=2 => segments[at].encoded(ring, &events, codec as u8),
                    _ => segments[at].events(ring, &events),
                };
                if random.one_in(6) {
                    // A retry: a part of it is stored once more.
                    let from = random.below(events.len() as u64) as usize;
                    let at = random.below(segments.len() as u64) as usize;
                    segments[at].events(ring, &events[from..]);
                }
                let given = |event: Event| Given {
                    identity: identity(generation, ring, event.sequence),
                    realtime_ns: event.timestamp + REALTIME_OFFSET as u64,
                    event,
                };
                all.extend(events.into_iter().map(given));
            }
        }
        segments.iter_mut().for_each(|segment| drop(segment.seal().write(directory)));
    }
    all.sort_by_key(Given::key);
    all
}

#[test]
fn every_event_of_a_random_journal_is_given_once_and_in_order() {
    for seed in 0..150 {
        let scratch = Scratch::new();
        let expected = random_journal(scratch.path(), seed, 3_000);
        let mut reader = open(scratch.path(), in_time());
        let given = take(&mut reader);
        assert!(given == expected, "seed {seed}: {} of {} events", given.len(), expected.len());
        assert!(reader.losses().is_empty(), "seed {seed}: {:?}", reader.losses());
        let rings: u64 = reader.rings().map(|ring| ring.events).sum();
        assert_eq!(rings, expected.len() as u64, "seed {seed}");
        let mut given = read(scratch.path(), Options::default());
        given.sort_by_key(Given::key);
        assert!(given == expected, "seed {seed}: {} of {} events", given.len(), expected.len());
        assert_eq!(reader.progress().done_bytes, reader.progress().total_bytes, "seed {seed}");
    }
}

/// Many rings whose blocks all cover the same time, more than may be loaded at once; and among them events that are large.
#[test]
fn with_little_memory_passes_give_the_same_order() {
    let scratch = Scratch::new();
    let mut random = Random(1);
    let mut builder = Builder::new(1, 1);
    let mut expected = Vec::new();
    for ring in 0..60 {
        let block: Vec<Event> =
            (0..300).map(|n| Event::new(n, random.below(1_000), random.bytes(700)).flags(OWN_TIME)).collect();
        let large = [Event::new(300, random.below(1_000), random.bytes(1 << 20)).flags(OWN_TIME)];
        builder.events(ring, &block).events(ring, &large);
        let all = block.into_iter().chain(large);
        expected.extend(all.map(|event| ((event.timestamp, 1, ring, event.sequence), event.payload)));
    }
    builder.seal().write(scratch.path());
    expected.sort();
    let options = Options { memory_bytes: Options::MIN_MEMORY, ..in_time() };
    let mut reader = open(scratch.path(), options);
    let given = take(&mut reader).into_iter().map(|Given { identity, event, .. }| {
        ((event.timestamp, identity.generation, identity.ring_id, event.sequence), event.payload)
    });
    assert!(given.eq(expected), "the order differs");
    assert!(reader.losses().is_empty());
    assert_eq!(reader.progress().done_bytes, reader.progress().total_bytes);
}

#[test]
fn runs_of_different_boots_come_one_after_the_other() {
    let scratch = Scratch::new();
    for (generation, boot, realtime, sequence) in [(1, 9, 5_000, 1), (2, 3, 1_000, 2), (3, 9, 5_500, 3)] {
        let mut builder = Builder::new(generation, 1);
        let mut header = builder.header.clone();
        header.owner.boot_id = [boot; 16];
        (header.monotonic_ns, header.realtime_ns) = (if generation == 3 { 600 } else { 100 }, realtime);
        builder = Builder::with_header(header);
        builder.events(1, &[Event::new(sequence, 150 + generation, "x")]).seal().write(scratch.path());
    }
    let given = read(scratch.path(), in_time());
    assert_eq!(sequences(&given), [2, 1, 3]);
    assert_eq!(given[0].event.timestamp, 152);
}

#[test]
fn every_identity_is_given_once_where_all_blocks_overlap() {
    let scratch = Scratch::new();
    let mut random = Random(5);
    let mut builder = Builder::new(1, 1);
    let mut expected = HashSet::new();
    for _ in 0..200 {
        let mut picked: Vec<u64> = (0..50).map(|_| random.below(5_000)).collect();
        picked.sort_unstable();
        picked.dedup();
        let events: Vec<Event> = picked.iter().map(|&n| Event::new(n, n, n.to_le_bytes())).collect();
        builder.events(1, &events);
        expected.extend(picked);
    }
    builder.write(scratch.path());
    for options in [Options::default(), in_time()] {
        let mut reader = open(scratch.path(), options);
        let given = sequences(&take(&mut reader));
        assert_eq!(given.len(), expected.len());
        assert_eq!(given.into_iter().collect::<HashSet<u64>>(), expected);
        assert_eq!(reader.losses().contradictions, 0);
        let events = reader.segments().next().expect("a segment").events;
        assert_eq!(reader.losses().duplicates, events - expected.len() as u64);
    }
}
