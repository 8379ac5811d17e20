//! What is damaged, contradictory or foreign is counted or named, and the rest is read.

use crate::reading::{identity, in_time, open, read, sequences, take};
use crate::segments::{Builder, Event, Scratch};
use capture_pipeline::journal::format::block::{BlockHeader, BlockType, CRITICAL};
use capture_pipeline::journal::format::record::{PAD, TICKS, TRANSFORMED};
use capture_pipeline::journal::format::segment::file_name;
use capture_pipeline::journal::reader::{Deleted, Losses, Options, Reader, State};
use capture_pipeline::kinds::{Definition, Field, Integer, Type};
use capture_pipeline::status::{PIPELINE_ERR_INVALID, PIPELINE_ERR_NOT_FOUND, PIPELINE_ERR_UNSUPPORTED};
use std::path::Path;

/// Blocks of two events: 0 and 1, 2 and 3, and so on. Returns where each block begins.
fn blocks(builder: &mut Builder, count: u64) -> Vec<usize> {
    let mut starts = Vec::new();
    for n in 0..count {
        starts.push(builder.bytes.len());
        builder.events(1, &[Event::new(2 * n, 2 * n, "first"), Event::new(2 * n + 1, 2 * n + 1, "second")]);
    }
    starts
}

/// What is read, in both orders, and what is lost.
fn outcome(path: &Path) -> (Vec<u64>, Losses) {
    let mut reader = open(path, Options::default());
    let stored = sequences(&take(&mut reader));
    let mut merged = open(path, in_time());
    let mut in_time = sequences(&take(&mut merged));
    assert_eq!(merged.losses(), reader.losses());
    in_time.sort_unstable();
    let mut sorted = stored.clone();
    sorted.sort_unstable();
    assert_eq!(in_time, sorted);
    (stored, reader.losses().clone())
}

/// A journal of one segment, which `change` has changed.
fn changed(change: impl FnOnce(&mut Builder, &[usize])) -> (Vec<u64>, Losses) {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let starts = blocks(&mut builder, 4);
    builder.seal();
    change(&mut builder, &starts);
    builder.write(scratch.path());
    outcome(scratch.path())
}

#[test]
fn a_block_with_another_body_is_skipped_and_counted() {
    let (read, losses) = changed(|builder, starts| builder.bytes[starts[1] + 128 + 50] ^= 1);
    assert_eq!(read, [0, 1, 4, 5, 6, 7]);
    let expected = Losses { damaged_blocks: 1, damaged_events: 2, damaged_bytes: 256, ..Losses::default() };
    assert_eq!(losses, expected);
}

#[test]
fn where_no_block_begins_the_next_one_is_found() {
    let (read, losses) = changed(|builder, starts| builder.bytes[starts[1] + 40] ^= 1);
    assert_eq!(read, [0, 1, 4, 5, 6, 7]);
    assert_eq!(losses, Losses { damages: 1, damaged_bytes: 256, ..Losses::default() });
    // Of several damaged blocks in a row, one damage.
    let (read, losses) = changed(|builder, starts| builder.bytes[starts[0]..starts[3]].fill(0xFF));
    assert_eq!(read, [6, 7]);
    assert_eq!(losses, Losses { damages: 1, damaged_bytes: 3 * 256, ..Losses::default() });
}

#[test]
fn a_tail_that_does_not_read_is_named_by_how_the_segment_ends() {
    // The writer does not live: a write was interrupted.
    let cut = |builder: &mut Builder, starts: &[usize]| builder.bytes.truncate(starts[3] + 200);
    let (read, losses) = changed(cut);
    assert_eq!(read, [0, 1, 2, 3, 4, 5]);
    assert_eq!(losses, Losses { torn_tails: 1, torn_bytes: 200, ..Losses::default() });
    // Behind a seal nothing was being written.
    let (read, losses) = changed(|builder, _| builder.bytes.extend_from_slice(&[1; 100]));
    assert_eq!(read.len(), 8);
    assert_eq!(losses, Losses { damages: 1, damaged_bytes: 100, ..Losses::default() });
    // Without the padding behind the last block, nothing is missing.
    let (read, losses) = changed(|builder, starts| builder.bytes.truncate(starts[3] + 128 + 112));
    assert_eq!((read.len(), losses), (8, Losses::default()));
}

#[test]
fn a_block_that_contradicts_itself_gives_no_events() {
    let event = || [Event::new(1, 1, "x"), Event::new(2, 2, "y")];
    type Change = fn(&mut BlockHeader);
    let changes: [(Change, bool); 11] = [
        (|header| header.count = 1, false),
        (|header| header.count = 3, false),
        (|header| header.count = u32::MAX, false),
        (|header| header.first_sequence = 0, false),
        (|header| header.last_sequence = 9, false),
        (|header| (header.first_sequence, header.last_sequence) = (9, 3), false),
        (|header| header.raw_len = 1, false),
        (|header| header.raw_len = 1 << 63, true),
        (|header| (header.raw_len, header.codec) = (1 << 63, 1), true),
        (|header| header.filter = 77, true),
        (|header| header.codec = 2, false),
    ];
    for (number, (change, by_name)) in changes.into_iter().enumerate() {
        let scratch = Scratch::new();
        let mut builder = Builder::new(1, 1);
        let mut body = Vec::new();
        event().iter().for_each(|event| event.record().encode(&mut body));
        let mut header = builder.block_header(BlockType::EVENTS, 1, &event(), &body);
        change(&mut header);
        if number == 7 {
            header.count = 1;
            header.codec = 1;
        }
        builder.block(&header, &body).events(2, &event()).seal().write(scratch.path());
        let (read, losses) = outcome(scratch.path());
        assert_eq!(read, [1, 2], "change {number}");
        let blocks =
            losses.damaged_blocks + losses.unreadable.values().map(|entry| entry.blocks).sum::<u64>();
        assert_eq!((blocks, losses.unreadable.is_empty()), (1, !by_name), "change {number}: {losses:?}");
    }
}

#[test]
fn a_record_that_no_writer_writes_makes_its_block_unreadable() {
    let changes: [fn(&mut Event); 3] =
        [|event| event.sequence = 1, |event| event.flags = PAD, |event| event.flags = TICKS];
    for (number, change) in changes.into_iter().enumerate() {
        let scratch = Scratch::new();
        let mut events = [Event::new(1, 1, "x"), Event::new(2, 2, "y"), Event::new(3, 3, "z")];
        change(&mut events[1]);
        Builder::new(1, 1).events(1, &events).events(2, &[Event::new(9, 9, "")]).write(scratch.path());
        let (read, losses) = outcome(scratch.path());
        assert_eq!((read, losses.damaged_blocks, losses.damaged_events), (vec![9], 1, 3), "change {number}");
    }
    // A length that goes beyond the block, and one of 4 GiB.
    for len in [17_u32, u32::MAX] {
        let scratch = Scratch::new();
        let mut builder = Builder::new(1, 1);
        let events = [Event::new(1, 1, "0123456789abcdef")];
        let mut body = Vec::new();
        events[0].record().encode(&mut body);
        body[..4].copy_from_slice(&len.to_le_bytes());
        let header = builder.block_header(BlockType::EVENTS, 1, &events, &body);
        builder.block(&header, &body).write(scratch.path());
        assert_eq!(outcome(scratch.path()).1.damaged_blocks, 1);
    }
}

#[test]
fn a_block_of_a_later_version_is_skipped_unless_it_is_critical() {
    let of_type = |builder: &mut Builder, kind, flags| {
        let header = BlockHeader { flags, ..builder.block_header(BlockType(kind), 0, &[], b"later") };
        builder.block(&header, b"later");
    };
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    blocks(&mut builder, 1);
    of_type(&mut builder, 77, 0);
    blocks(&mut builder, 1);
    builder.seal().write(scratch.path());
    let (read, losses) = outcome(scratch.path());
    assert_eq!((read, losses.duplicates), (vec![0, 1], 2));
    assert!(losses.is_empty());
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    blocks(&mut builder, 2);
    let offset = builder.bytes.len() as u64;
    of_type(&mut builder, 78, CRITICAL);
    blocks(&mut builder, 3);
    builder.write(scratch.path());
    let (read, losses) = outcome(scratch.path());
    assert_eq!(read, [0, 1, 2, 3]);
    assert_eq!(losses.refused[0].offset, offset);
    assert!(losses.refused[0].reason.contains("type 78"), "{:?}", losses.refused);
}

#[test]
fn what_is_no_segment_of_this_version_is_refused_by_name() {
    let mut refused = Vec::new();
    let changes: [(usize, &[u8], &str); 4] = [
        (0, b"SQLite f", "no segment"),
        (8, &[1, 2, 3, 4], "byte order"),
        (12, &[2, 0, 0, 0], "version 2"),
        (24, &[9], "damaged"),
    ];
    let scratch = Scratch::new();
    for (number, (at, bytes, reason)) in changes.into_iter().enumerate() {
        let mut builder = Builder::new(1, number as u64 + 1);
        blocks(&mut builder, 1);
        builder.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        let path = builder.write(scratch.path());
        let error = Reader::open(&path, Options::default()).expect_err("refused");
        let status = if matches!(number, 1 | 2) { PIPELINE_ERR_UNSUPPORTED } else { PIPELINE_ERR_INVALID };
        assert_eq!(error.status, status, "{error}");
        assert!(error.detail.contains(reason), "{error}");
        refused.push((path, reason));
    }
    std::fs::write(scratch.path().join("readme.txt"), "not ours").expect("a file");
    std::fs::create_dir(scratch.path().join(file_name(1, 90))).expect("a directory");
    let mut builder = Builder::new(2, 1);
    blocks(&mut builder, 1);
    builder.seal().write(scratch.path());
    let (read, losses) = outcome(scratch.path());
    assert_eq!(read, [0, 1]);
    assert_eq!(losses.refused.len(), refused.len() + 1);
    for (given, (path, reason)) in losses.refused.iter().zip(refused) {
        assert_eq!(given.path, path);
        assert!(given.reason.contains(reason), "{}", given.reason);
    }
    assert!(losses.refused[4].reason.contains("regular file"), "{:?}", losses.refused[4]);
}

#[test]
fn a_directory_that_is_none_or_has_nothing_is_told_apart() {
    let scratch = Scratch::new();
    let error = Reader::open(scratch.path().join("nothing"), Options::default()).expect_err("not there");
    assert_eq!(error.status, PIPELINE_ERR_NOT_FOUND);
    assert!(error.detail.contains("nothing"), "{error}");
    assert_eq!(read(scratch.path(), Options::default()), []);
    let file = scratch.path().join("file");
    std::fs::write(&file, "").expect("a file");
    assert_eq!(Reader::open(&file, Options::default()).expect_err("empty").status, PIPELINE_ERR_INVALID);
    // What a writer that ended at once left in a directory holds nothing.
    std::fs::write(scratch.path().join(file_name(1, 1)), "").expect("a file");
    assert!(outcome(scratch.path()).1.is_empty());
    std::fs::write(scratch.path().join(file_name(1, 1)), &Builder::new(1, 1).bytes[..50]).expect("a file");
    let losses = outcome(scratch.path()).1;
    assert_eq!(losses, Losses { torn_tails: 1, torn_bytes: 50, ..Losses::default() });
}

#[test]
fn two_contents_under_one_identity_are_reported_and_the_first_is_given() {
    let changes: [fn(&mut Event); 6] = [
        |event| event.kind = 9,
        |event| event.flags = 1,
        |event| event.correlation_id = 9,
        |event| event.node_id = 9,
        |event| event.payload = b"other".to_vec(),
        |event| event.payload = b"secon".to_vec(),
    ];
    for change in changes {
        let scratch = Scratch::new();
        let mut first = Builder::new(1, 1);
        blocks(&mut first, 3);
        first.seal().write(scratch.path());
        let mut other = Event::new(3, 3, "second");
        change(&mut other);
        let mut second = Builder::new(1, 2);
        // The same sequences in another ring and in another run are other events.
        second.events(1, &[Event::new(2, 2, "first"), other.clone()]).events(7, &[other.clone()]);
        second.seal().write(scratch.path());
        Builder::new(2, 1).events(1, &[other]).seal().write(scratch.path());
        let mut reader = open(scratch.path(), in_time());
        let given = take(&mut reader);
        let third = given.iter().filter(|given| given.identity == identity(1, 1, 3)).collect::<Vec<_>>();
        assert_eq!((given.len(), third.len()), (8, 1));
        assert_eq!(third[0].event, Event::new(3, 3, "second"));
        let losses = reader.losses();
        assert_eq!((losses.duplicates, losses.contradictions), (1, 1));
        assert_eq!(losses.contradicting, [identity(1, 1, 3)]);
        assert!(!losses.is_empty());
    }
}

#[test]
fn an_event_that_a_transform_has_rewritten_contradicts_no_other_copy_of_it() {
    let copies = [
        Event::new(1, 10, "captured"),
        Event::new(1, 10, "rewritten").flags(TRANSFORMED),
        Event::new(1, 10, "otherwise").flags(TRANSFORMED),
    ];
    for (first, second) in [(0, 1), (1, 0), (1, 2)] {
        let scratch = Scratch::new();
        let mut builder = Builder::new(1, 1);
        builder.events(1, &[copies[first].clone()]).events(1, &[copies[second].clone()]);
        builder.seal().write(scratch.path());
        let mut reader = open(scratch.path(), in_time());
        let given = take(&mut reader);
        assert_eq!((given.len(), &given[0].event), (1, &copies[first]));
        assert_eq!((reader.losses().duplicates, reader.losses().contradictions), (1, 0));
    }
}

#[test]
fn a_copy_whose_time_was_converted_anew_is_the_same_event() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let piece = |rate| capture_pipeline::journal::format::block::Piece { start: 0, end: 9, ns: 0, rate };
    for rate in [1 << 48, 3 << 47] {
        builder.pieces = vec![piece(rate)];
        builder.events(1, &[Event::new(1, 10, "x").flags(TICKS)]);
    }
    builder.pieces.clear();
    builder.events(1, &[Event::new(1, 77, "x")]).seal().write(scratch.path());
    let (read, losses) = outcome(scratch.path());
    assert_eq!((read, losses.duplicates, losses.contradictions), (vec![1], 2, 0));
}

#[test]
fn a_damaged_copy_leaves_its_events_to_the_other() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let starts = blocks(&mut builder, 2);
    builder.bytes[starts[0] + 128] ^= 1;
    blocks(&mut builder, 1);
    builder.seal().write(scratch.path());
    let (mut read, losses) = outcome(scratch.path());
    read.sort_unstable();
    assert_eq!((read, losses.damaged_blocks, losses.duplicates), (vec![0, 1, 2, 3], 1, 0));
    let rings: Vec<_> = open(scratch.path(), Options::default()).rings().copied().collect();
    assert_eq!((rings[0].first_sequence, rings[0].last_sequence), (0, 3));
}

#[test]
fn facts_are_known_and_contradictions_among_them_are_named() {
    let scratch = Scratch::new();
    let definition = |field| {
        let mut definition = Definition::new(5, "five");
        definition.fields = vec![Field::new("size", field, 0)];
        definition.fit();
        definition
    };
    let u64s = definition(Type::Integer(Integer::U64));
    let others = definition(Type::Integer(Integer::U32));
    let mut builder = Builder::new(1, 1);
    builder.kind_name(5, "five").thread(3, 44, "worker").definition(5, &u64s.to_bytes());
    builder.definition(5, &u64s.to_bytes()).definition(5, &others.to_bytes());
    builder.definition(6, &u64s.to_bytes()).definition(7, b"rubbish").fact(0xFFFF_0099, 1, 1, b"later");
    builder.fact(0xFFFF_0005, 2, 9, &700_u64.to_le_bytes()).fact(0xFFFF_0005, 1, 4, &500_u64.to_le_bytes());
    builder.ledger(2, 20, &[10, 20]).ledger(1, 10, &[1, 2]).seal().write(scratch.path());
    let reader = open(scratch.path(), Options::default());
    let facts = reader.facts();
    assert_eq!(facts.kind_names[&(1, 5)], b"five");
    assert_eq!((facts.threads[&(1, 3)].thread_id, &facts.threads[&(1, 3)].name[..]), (44, &b"worker"[..]));
    assert_eq!(facts.definitions.len(), 1);
    assert_eq!(facts.definitions[&(1, 5)], u64s);
    assert_eq!((facts.ledgers[&1].number, facts.ledgers[&1].count("recovered")), (2, Some(20)));
    assert_eq!(facts.deleted[&1], Deleted { segments: 2, events: 9, bytes: 700 });
    let losses = reader.losses();
    assert_eq!((losses.contradicting_facts, losses.unreadable_facts), (1, 2));
    assert_eq!(losses.contradicting_kinds, [(1, 5)]);
}

#[test]
fn a_segment_that_is_deleted_is_gone_and_not_damaged() {
    let scratch = Scratch::new();
    let mut paths = Vec::new();
    // More than a reader keeps open.
    for number in 1..=300 {
        let mut builder = Builder::new(number, 1);
        blocks(&mut builder, 2);
        paths.push(builder.seal().write(scratch.path()));
    }
    let mut reader = open(scratch.path(), Options::default());
    assert_eq!(reader.next().expect("no error").map(|event| event.generation), Some(1));
    paths.iter().for_each(|path| std::fs::remove_file(path).expect("the segment"));
    let given = take(&mut reader).len() as u64 + 1;
    let losses = reader.losses();
    let gone: u64 = losses.gone.iter().map(|gone| gone.events).sum();
    assert!(given >= 256 * 4 && !losses.gone.is_empty(), "{given} given, {:?}", losses.gone);
    assert_eq!(given + gone, 300 * 4);
    assert_eq!((losses.damaged_blocks, losses.damages), (0, 0));
}

#[test]
fn a_segment_that_is_truncated_while_it_is_read_is_damaged() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    builder.events(1, &[Event::new(0, 0, vec![1; 300_000])]);
    let starts = blocks(&mut builder, 1);
    let path = builder.seal().write(scratch.path());
    let mut reader = open(scratch.path(), Options::default());
    assert!(reader.next().expect("no error").is_some());
    let file = std::fs::File::options().write(true).open(path).expect("the segment");
    file.set_len(starts[0] as u64 + 10).expect("truncated");
    assert_eq!(take(&mut reader), []);
    assert_eq!((reader.losses().damages, reader.losses().damaged_events), (1, 2));
}

#[test]
fn a_segment_whose_writer_lives_may_end_anywhere() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let starts = blocks(&mut builder, 3);
    builder.bytes.truncate(starts[2] + 200);
    let path = builder.write(scratch.path());
    let lock = crate::locks::hold(&path);
    let mut reader = open(scratch.path(), Options::default());
    assert_eq!(sequences(&take(&mut reader)), [0, 1, 2, 3]);
    assert!(reader.is_growing() && reader.losses().is_empty());
    assert_eq!(reader.segments().next().map(|segment| segment.state), Some(State::Growing));
    // Before a good block, it is damage.
    builder.bytes.resize(starts[2] + 256, 0);
    builder.events(2, &[Event::new(9, 9, "")]).write(scratch.path());
    drop(lock);
    let lock = crate::locks::hold(&path);
    let mut reader = open(scratch.path(), Options::default());
    assert_eq!(sequences(&take(&mut reader)), [0, 1, 2, 3, 9]);
    assert_eq!(reader.losses().damaged_blocks, 1);
    drop(lock);
}
