//! With little memory and with segments made to be expensive, a reader stays within its bounds, and ends.

use crate::locks;
use crate::random::Random;
use crate::reading::{Given, in_time, open, sequences, take};
use crate::segments::{Builder, Event, Scratch};
use capture_pipeline::facts::MOST_FACTS;
use capture_pipeline::journal::format::block::{BlockHeader, BlockType, MAX_PIECES};
use capture_pipeline::journal::reader::{Options, Reader};
use capture_pipeline::status::{PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT};
use std::collections::HashSet;
use std::os::unix::fs::FileExt;

fn least() -> Options {
    Options { memory_bytes: Options::MIN_MEMORY, ..Options::default() }
}

#[test]
fn too_little_memory_is_refused_by_name() {
    let scratch = Scratch::new();
    let options = Options { memory_bytes: Options::MIN_MEMORY - 1, ..Options::default() };
    let error = Reader::open(scratch.path(), options).expect_err("too little");
    assert_eq!(error.status, PIPELINE_ERR_INVALID);
    assert!(error.detail.contains("memory_bytes") && error.detail.contains("16777215"), "{error}");
}

/// More common sequences than are remembered at once.
#[test]
fn a_whole_segment_that_is_there_twice_is_given_once() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let events: Vec<Event> = (0..150_000).map(|n| Event::new(n, n, "")).collect();
    for events in events.chunks(9_000) {
        builder.events(1, events);
    }
    let path = builder.seal().write(scratch.path());
    std::fs::copy(&path, scratch.path().join("00000000000000ff-00000009.journal")).expect("a copy");
    for options in [least(), Options { order: in_time().order, ..least() }] {
        let mut reader = open(scratch.path(), options);
        assert!(sequences(&take(&mut reader)).into_iter().eq(0..150_000));
        assert_eq!((reader.losses().duplicates, reader.losses().contradictions), (150_000, 0));
        assert!(reader.losses().is_empty());
    }
}

/// Each block has other sequences, and all blocks have the same range.
#[test]
fn blocks_that_all_overlap_are_given_up_at_some_point_and_counted() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    const BLOCKS: u64 = 24;
    for block in 0..BLOCKS {
        let events: Vec<Event> = (0..20_000).map(|n| Event::new(n * BLOCKS + block, 0, vec![])).collect();
        builder.events(1, &events);
    }
    builder.seal().write(scratch.path());
    let mut reader = open(scratch.path(), least());
    let given = sequences(&take(&mut reader));
    let unique: HashSet<u64> = given.iter().copied().collect();
    assert_eq!(unique.len(), given.len());
    let lost: u64 = reader.losses().unreadable.values().map(|entry| entry.events).sum();
    assert_eq!(given.len() as u64 + lost, 20_000 * BLOCKS);
    assert!(lost > 0 && !reader.losses().is_empty());
}

/// Rings in no order, whose sequences have gaps everywhere: more ranges than are kept at once.
#[test]
fn ranges_that_do_not_fit_are_found_in_several_passes() {
    let scratch = Scratch::new();
    let mut random = Random(3);
    let mut builder = Builder::new(1, 1);
    let mut expected = Vec::new();
    // 16 MiB are for 65,536 ranges.
    for n in 0..90_000_u64 {
        let (ring, sequence) = ((n * 7_919) % 30, 2 * (n / 30));
        let event = Event::new(sequence, n, "");
        builder.events(ring, std::slice::from_ref(&event));
        if random.one_in(1_000) {
            builder.events(ring, std::slice::from_ref(&event));
        }
        expected.push((n, ring, sequence));
    }
    builder.seal().write(scratch.path());
    for options in [least(), Options { follow: true, ..least() }] {
        let mut reader = open(scratch.path(), options);
        let given = take(&mut reader);
        let of = |given: &Given| (given.event.timestamp, given.identity.ring_id, given.identity.sequence);
        assert!(given.iter().map(of).eq(expected.iter().copied()), "{} events", given.len());
        assert_eq!(reader.losses().contradictions, 0);
        assert!(reader.losses().duplicates > 50);
    }
}

/// A header every 64 bytes, each with 128 KiB to be checked in vain.
#[test]
fn headers_that_are_expensive_to_check_do_not_hold_a_reader_up() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let mut start = [0; 64];
    start[..4].copy_from_slice(b"CPB1");
    start[60..].copy_from_slice(&(128 + 32 * MAX_PIECES).to_le_bytes());
    let mut end = [0; 64];
    end[104 - 64..108 - 64].copy_from_slice(&MAX_PIECES.to_le_bytes());
    let both: Vec<u8> = start.iter().zip(end).map(|(a, b)| a | b).collect();
    for _ in 0..(4 << 20) / 64 {
        builder.bytes.extend_from_slice(&both);
    }
    // Before this block is reached, more was checked in vain than the segment's size allows.
    builder.events(1, &[Event::new(1, 1, vec![0; 16])]).write(scratch.path());
    let mut reader = open(scratch.path(), Options::default());
    assert!(take(&mut reader).is_empty());
    assert_eq!((reader.losses().torn_tails, reader.losses().torn_bytes), (1, (4 << 20) + 192));
}

#[test]
fn an_event_that_is_too_large_for_the_memory_is_counted_by_name() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let events = [Event::new(1, 1, vec![1; 5 << 20]), Event::new(2, 2, vec![2; 3 << 20])];
    builder.events(1, &events[..1]).events(1, &events[1..]).seal().write(scratch.path());
    let mut reader = open(scratch.path(), least());
    assert_eq!(sequences(&take(&mut reader)), [2]);
    let (reason, entry) = reader.losses().unreadable.iter().next().expect("a reason");
    assert!(reason.contains("memory_bytes"), "{reason}");
    assert_eq!((entry.blocks, entry.events), (1, 1));
    assert_eq!(take(&mut open(scratch.path(), Options::default())).len(), 2);
}

/// Very many small blocks are read in large stretches.
#[test]
fn many_blocks_fit_into_a_small_index() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    // 16 MiB are for some 60,000 stretches; the segment has 80 MB.
    for n in 0..400_000 {
        builder.events(n % 3, &[Event::new(n / 3, n, "x")]);
    }
    builder.seal().write(scratch.path());
    let mut reader = open(scratch.path(), Options { order: in_time().order, ..least() });
    let times = take(&mut reader).into_iter().map(|given| given.event.timestamp);
    assert!(times.eq(0..400_000));
}

#[test]
fn overlaps_in_too_many_blocks_are_an_error_that_says_what_to_do() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    for n in 0..30_000 {
        builder.events(1, &[Event::new(n % 2, 0, "")]);
    }
    builder.write(scratch.path());
    let error = Reader::open(scratch.path(), least()).expect_err("too many");
    assert_eq!(error.status, PIPELINE_ERR_LIMIT);
    assert!(error.detail.contains("memory_bytes"), "{error}");
    let reader = Reader::open(scratch.path(), Options::default()).expect("with more memory");
    assert_eq!(reader.losses().duplicates, 29_998);
}

/// A header that claims times at which its events were not must not make them disappear.
#[test]
fn events_outside_the_times_of_their_header_are_given() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    for ring in 0..3 {
        let events = [Event::new(1, 50, "x"), Event::new(2, 5_000, "y"), Event::new(3, 20, "z")];
        let mut body = Vec::new();
        events.iter().for_each(|event| event.record().encode(&mut body));
        let times = [(100, 200), (400, 300), (0, 0)][ring as usize];
        let header = builder.block_header(BlockType::EVENTS, ring, &events, &body);
        builder.block(&BlockHeader { first_ns: times.0, last_ns: times.1, ..header }, &body);
    }
    builder.seal().write(scratch.path());
    let given = take(&mut open(scratch.path(), in_time()));
    assert_eq!(given.len(), 9);
}

/// All the names that a pipeline can give to kinds, and a new name for one.
#[test]
fn every_name_of_a_pipeline_is_known() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let name = |kind: u32| format!("{kind:0>255}");
    for kind in 0..MOST_FACTS as u32 {
        builder.kind_name(kind, &name(kind));
    }
    builder.seal().write(scratch.path());
    // A later segment has the same list, and what came since.
    let mut later = Builder::new(1, 2);
    for kind in 0..MOST_FACTS as u32 {
        later.kind_name(kind, &name(kind));
    }
    later.kind_name(7, &name(1)).kind_name(8, "eight").kind_name(8, &name(2)).seal().write(scratch.path());
    let reader = open(scratch.path(), Options::default());
    assert!(reader.losses().is_empty(), "{:?}", reader.losses());
    let names = &reader.facts().kind_names;
    assert_eq!(names.len(), MOST_FACTS);
    for kind in 0..MOST_FACTS as u32 {
        let last = match kind {
            7 => name(1),
            8 => name(2),
            kind => name(kind),
        };
        assert_eq!(names[&(1, kind)], last.as_bytes(), "{kind}");
    }
    // Those of further runs need not be.
    let mut other = Builder::new(2, 1);
    for kind in 0..1_000 {
        other.kind_name(kind, &name(kind));
    }
    other.seal().write(scratch.path());
    let left_out = open(scratch.path(), Options::default()).losses().facts_left_out;
    assert!((1..1_000).contains(&left_out), "{left_out}");
}

/// A file may have holes, and then be longer than any disk.
#[test]
fn a_hole_of_a_terabyte_does_not_hold_a_reader_up() {
    const HOLE: u64 = 1 << 40;
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let path = builder.events(1, &[Event::new(1, 1, "x")]).write(scratch.path());
    let file = std::fs::File::options().write(true).open(&path).expect("the segment");
    file.set_len(HOLE).expect("a hole");
    let hole = HOLE - builder.bytes.len() as u64;
    let mut reader = open(scratch.path(), Options::default());
    assert_eq!(sequences(&take(&mut reader)), [1]);
    assert_eq!((reader.losses().torn_tails, reader.losses().torn_bytes), (1, hole));
    // A block behind the hole.
    let mut behind = Builder::new(1, 1);
    let mut body = Vec::new();
    Event::new(2, 2, "y").record().encode(&mut body);
    let header = behind.block_header(BlockType::EVENTS, 1, &[Event::new(2, 2, "y")], &body);
    behind.bytes.clear();
    behind.block(&BlockHeader { offset: HOLE, ..header }, &body);
    file.write_all_at(&behind.bytes, HOLE).expect("written");
    let mut reader = open(scratch.path(), Options::default());
    assert_eq!(sequences(&take(&mut reader)), [1, 2]);
    assert_eq!((reader.losses().damages, reader.losses().damaged_bytes), (1, hole));
}

/// A header that is right, of a block that is as long as the hole behind it.
#[test]
fn a_block_as_long_as_a_terabyte_is_not_read_for_its_checksum() {
    const LENGTH: u64 = 1 << 40;
    for kind in [BlockType::LEDGER, BlockType::SEAL, BlockType::FACTS, BlockType::EVENTS, BlockType::FILLER] {
        for lives in [false, true] {
            let scratch = Scratch::new();
            let mut builder = Builder::new(1, 1);
            builder.events(1, &[Event::new(1, 1, "x")]);
            let header = builder.block_header(kind, 1, &[Event::new(2, 2, "")], &[]);
            builder.block(&BlockHeader { stored_len: LENGTH, raw_len: LENGTH, ..header }, &[]);
            let path = builder.write(scratch.path());
            let file = std::fs::File::options().write(true).open(&path).expect("the segment");
            file.set_len(builder.bytes.len() as u64 + LENGTH).expect("a hole");
            let lock = lives.then(|| locks::hold(&path));
            let mut reader = open(scratch.path(), Options::default());
            assert_eq!(sequences(&take(&mut reader)), [1]);
            assert_eq!(reader.losses().is_empty(), kind == BlockType::FILLER, "{kind:?} {lives}");
            drop(lock);
        }
    }
}
