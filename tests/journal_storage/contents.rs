//! What is in a journal: every event as it was captured, facts before events, the ledger, the seal.

use crate::support::*;
use capture_pipeline::config::{Clock, Config, Ordering};
use capture_pipeline::event::{PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_RELEASE};
use capture_pipeline::journal::format::block::{BlockHeader, BlockType};
use capture_pipeline::journal::format::checksum::Salted;
use capture_pipeline::journal::format::segment::SegmentHeader;
use capture_pipeline::platform::time;
use capture_pipeline::storage::journal::{Encoding, Options};
use capture_pipeline::storage::{PIPELINE_STORE_OK, Storage, WriterData};

const ENCODINGS: [Encoding; 4] =
    [Encoding::Raw, Encoding::Columns, Encoding::ColumnsLz4, Encoding::ColumnsZstd];

fn encodings() -> impl Iterator<Item = Encoding> {
    let there = |encoding: &Encoding| cfg!(feature = "zstd") || *encoding != Encoding::ColumnsZstd;
    ENCODINGS.into_iter().filter(there)
}

#[test]
fn every_event_is_read_back_as_it_was_stored() {
    for encoding in encodings() {
        let scratch = Scratch::new();
        let storage = open(scratch.path(), Options { encoding, ..Options::default() });
        let mut all = Vec::new();
        // Payloads around the size from which they are written from where they lie, two rings in one batch, and a block of more than a mebibyte.
        let batches: [&[usize]; 3] =
            [&[0, 1, 7, 8, 9], &[32_767, 32_768, 32_769, 40_001], &[700_000, 700_000, 3_000_000, 5]];
        for (batch, lengths) in batches.iter().enumerate() {
            let batch = batch as u64;
            let mut events: Vec<_> =
                lengths.iter().enumerate().map(|(n, &len)| sized(1, batch * 10 + n as u64, len)).collect();
            events.extend(samples(2, batch * 10..batch * 10 + 4));
            events[0].flags = PIPELINE_EVENT_OWN_TIME;
            assert_eq!(deliver(&storage, &events), (PIPELINE_STORE_OK, 0, vec![]));
            all.extend(events);
        }
        assert_eq!(storage.finish(-1), 0);
        drop(storage);
        all.sort_by_key(|sample| (sample.ring, sample.sequence));
        let want: Vec<_> = all.iter().map(Sample::read).collect();
        let got = read(scratch.path());
        assert_eq!(got.len(), want.len(), "{encoding:?}");
        for (got, want) in got.iter().zip(&want) {
            assert!(got == want, "ring {} sequence {}, {encoding:?}", want.ring, want.sequence);
        }
        assert_eq!(segments(scratch.path()), [(1, true, want.len() as u64)]);
    }
}

#[test]
fn columns_take_less_space() {
    let sizes: Vec<u64> = encodings()
        .map(|encoding| {
            let scratch = Scratch::new();
            let storage = open(scratch.path(), Options { encoding, ..Options::default() });
            assert_eq!(deliver(&storage, &samples(1, 0..2_000)).0, PIPELINE_STORE_OK);
            assert_eq!(storage.finish(-1), 0);
            assert_eq!(read(scratch.path()).len(), 2_000);
            bytes_in(scratch.path())
        })
        .collect();
    assert!(sizes[1] < sizes[0] * 6 / 10 && sizes[2..].iter().all(|&size| size < sizes[0] / 4), "{sizes:?}");
}

#[test]
fn a_segment_without_its_seal_has_every_event_that_was_acknowledged() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options::default());
    assert_eq!(deliver(&storage, &samples(1, 0..100)).0, PIPELINE_STORE_OK);
    assert_eq!(read(scratch.path()).len(), 100, "while it is being written");
    assert_eq!(segments(scratch.path()), [(1, false, 100)]);
}

#[test]
fn each_writer_has_a_segment_of_its_own() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options::default());
    for round in 0..3u64 {
        for writer in 0..4u32 {
            let events = samples(u64::from(writer), round * 10..round * 10 + 10);
            assert_eq!(deliver_as(writer, &storage, &events).0, PIPELINE_STORE_OK);
        }
    }
    let mut writers: Vec<_> = reader(scratch.path()).segments().map(|s| s.header.writer_id).collect();
    writers.sort_unstable();
    assert_eq!(writers, [0, 1, 2, 3]);
    // A writer that ends seals its segment, and one that begins under its id gets another.
    storage.close_writer(2, WriterData::NONE);
    assert_eq!(segments(scratch.path()), [(1, false, 30), (2, false, 30), (3, true, 30), (4, false, 30)]);
    assert_eq!(deliver_as(2, &storage, &samples(2, 30..31)).0, PIPELINE_STORE_OK);
    assert_eq!(storage.finish(-1), 0);
    let sealed = segments(scratch.path());
    assert_eq!(sealed, [(1, true, 30), (2, true, 30), (3, true, 30), (4, true, 30), (5, true, 1)]);
    assert_eq!(read(scratch.path()).len(), 121);
}

#[test]
fn an_event_whose_payload_is_a_handle_is_rejected_alone() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options::default());
    let mut events = samples(1, 0..5);
    events[1].flags = PIPELINE_EVENT_RELEASE;
    events[4].flags = PIPELINE_EVENT_RELEASE;
    assert_eq!(deliver(&storage, &events), (PIPELINE_STORE_OK, 0, vec![1, 4]));
    let mut handle = samples(1, 5..6);
    handle[0].flags = PIPELINE_EVENT_RELEASE;
    assert_eq!(deliver(&storage, &handle), (PIPELINE_STORE_OK, 0, vec![0]));
    let kept: Vec<u64> = read(scratch.path()).iter().map(|event| event.sequence).collect();
    assert_eq!(kept, [0, 2, 3]);
}

#[test]
fn a_pipelines_events_names_threads_clock_and_ledger_are_read_back() {
    for (writers, ordering, clock, encoding) in [
        (1, Ordering::None, Clock::Ticks, Encoding::Raw),
        (3, Ordering::None, Clock::Monotonic, Encoding::Raw),
        (2, Ordering::PerProducer, Clock::Auto, Encoding::Raw),
        (2, Ordering::None, Clock::Ticks, Encoding::ColumnsLz4),
        (1, Ordering::None, Clock::Monotonic, Encoding::Columns),
    ] {
        let scratch = Scratch::new();
        let config = Config { writers, ordering, clock, ..patient() };
        let pipeline = start(config, scratch.path(), Options { encoding, ..Options::default() });
        pipeline.kind_name(1, b"allocated").expect("named");
        // Within a microsecond, by which the processor's counter may differ.
        let began = time::now_ns() - 1_000;
        std::thread::scope(|scope| {
            for thread in 0..3u64 {
                let pipeline = &pipeline;
                let builder = std::thread::Builder::new().name(format!("captures-{thread}"));
                let body = move || {
                    for n in 0..5_000u64 {
                        let payload = n.to_le_bytes();
                        assert_eq!(offer(pipeline, 1, thread, &payload[..(n % 9) as usize]), 0);
                    }
                };
                builder.spawn_scoped(scope, body).expect("a thread");
            }
        });
        let ended = time::now_ns() + 1_000;
        assert_eq!(offer_flagged(&pipeline, 2, PIPELINE_EVENT_OWN_TIME, 99, b"own time"), 0);
        assert_eq!(offer_flagged(&pipeline, 2, PIPELINE_EVENT_RELEASE, 99, b"a handle"), 0);
        let ledger = end(pipeline);
        assert_eq!((ledger.captured, ledger.stored, ledger.discarded), (15_002, 15_001, 1));

        let events = read(scratch.path());
        assert_eq!(events.len(), 15_001);
        for thread in 0..3u64 {
            let of: Vec<_> = events.iter().filter(|event| event.correlation_id == thread).collect();
            assert_eq!(of.len(), 5_000);
            assert!(of.iter().enumerate().all(|(n, event)| {
                event.payload == (n as u64).to_le_bytes()[..n % 9] && event.kind == 1 && event.node_id == 3
            }));
            assert!(of.windows(2).all(|two| two[0].time <= two[1].time));
            assert!(began <= of[0].time && of[4_999].time <= ended, "{began} {} {ended}", of[0].time);
        }
        let own = events.iter().find(|event| event.kind == 2).expect("the event with its own time");
        assert_eq!((own.time, own.flags, &own.payload[..]), (7, PIPELINE_EVENT_OWN_TIME, &b"own time"[..]));

        let reader = reader(scratch.path());
        let facts = reader.facts();
        let generation = events[0].generation;
        assert_eq!(facts.kind_names.get(&(generation, 1)).map(|name| &name[..]), Some(&b"allocated"[..]));
        assert!(facts.clocks.contains_key(&generation));
        for thread in 0..3u64 {
            let ring = events.iter().find(|event| event.correlation_id == thread).expect("one").ring;
            let known = facts.threads.get(&(generation, ring)).expect("its thread");
            assert_eq!(known.name, format!("captures-{thread}").as_bytes());
        }
        let last = facts.ledgers.get(&generation).expect("a ledger");
        assert_eq!((last.count("captured"), last.count("stored")), (Some(15_002), Some(15_001)));
        assert_eq!((last.count("discarded"), last.offered()), (Some(1), 15_002));
        assert!(segments(scratch.path()).iter().all(|(_, sealed, _)| *sealed));
        let header = &reader.segments().next().expect("a segment").header;
        assert_eq!(header.owner.pid, std::process::id());
        assert!(
            header
                .program
                .ends_with(std::env::current_exe().unwrap().file_name().unwrap().as_encoded_bytes())
        );
    }
}

/// The types of a segment's blocks, in their order.
fn block_types(file: &std::path::Path) -> Vec<BlockType> {
    let bytes = std::fs::read(file).expect("a segment");
    let (header, mut at) = SegmentHeader::decode(&bytes).expect("its header");
    let mut types = Vec::new();
    while at < bytes.len() {
        let salted = Salted::new(header.salt);
        let block = BlockHeader::decode(&bytes[at..], salted, header.generation, at as u64, &mut Vec::new());
        let block = block.expect("a block");
        types.push(block.kind);
        at += block.total() as usize;
    }
    types
}

#[test]
fn what_a_segment_needs_stands_before_its_first_event() {
    let scratch = Scratch::new();
    let options = Options { segment_bytes: 64 << 10, ..Options::default() };
    let config = Config { batch_bytes: 16 << 10, ..patient() };
    let pipeline = start(config, scratch.path(), options);
    pipeline.kind_name(1, b"first").expect("named");
    for n in 0..2_000 {
        assert_eq!(offer(&pipeline, 1, n, &[7; 100]), 0);
    }
    pipeline.flush(Some(PATIENCE)).expect("flushed");
    pipeline.kind_name(2, b"second").expect("named");
    for n in 0..2_000 {
        assert_eq!(offer(&pipeline, 2, n, &[7; 100]), 0);
    }
    end(pipeline);
    let all = files(scratch.path());
    assert!(all.len() > 4, "{} segments", all.len());
    // Each segment can be read without the others.
    for file in all {
        let types = block_types(&file);
        let first = types.iter().position(|kind| *kind == BlockType::EVENTS);
        assert_eq!(
            (types[0], first),
            (
                BlockType::FACTS,
                types.iter().position(|kind| *kind != BlockType::FACTS && *kind != BlockType::LEDGER)
            )
        );
        assert_eq!(types[types.len() - 2..], [BlockType::LEDGER, BlockType::SEAL]);
        let mut reader = reader(&file);
        let mut kinds = std::collections::BTreeSet::new();
        let mut rings = std::collections::BTreeSet::new();
        while let Some(event) = reader.next().expect("no error") {
            kinds.insert((event.generation, event.kind));
            rings.insert((event.generation, event.ring_id));
        }
        assert!(kinds.iter().all(|kind| reader.facts().kind_names.contains_key(kind)));
        assert!(rings.iter().all(|ring| reader.facts().threads.contains_key(ring)));
        assert!(reader.losses().is_empty());
    }
}

#[test]
fn facts_that_come_as_events_are_written_before_they_are_acknowledged() {
    // As in a program that has put functions of its own around the storage's.
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options::default());
    let fact = |kind, sequence: u64, payload: &[u8]| Sample {
        kind,
        ..Sample { payload: payload.to_vec(), ..sized(sequence, sequence, 0) }
    };
    // (The node id of a sample is its sequence modulo 7.)
    assert_eq!(deliver(&storage, &[fact(0xFFFF_0001, 5, b"five")]).0, PIPELINE_STORE_OK);
    assert_eq!(reader(scratch.path()).facts().kind_names[&(GENERATION, 5)], b"five");
    assert_eq!(deliver(&storage, &[fact(0xFFFF_0002, 3, b"the thread")]).0, PIPELINE_STORE_OK);
    assert_eq!(deliver(&storage, &samples(3, 0..10)).0, PIPELINE_STORE_OK);
    assert_eq!(reader(scratch.path()).facts().threads[&(GENERATION, 3)].name, b"the thread");
    assert_eq!(read(scratch.path()).len(), 10);
}

#[test]
fn two_pipelines_share_a_directory() {
    let scratch = Scratch::new();
    let (one, two) = (
        start(patient(), scratch.path(), Options::default()),
        start(patient(), scratch.path(), Options::default()),
    );
    for n in 0..500 {
        assert_eq!(offer(&one, 1, n, b"one"), 0);
        assert_eq!(offer(&two, 2, n, b"two"), 0);
    }
    end(one);
    assert_eq!(offer(&two, 2, 500, b"two"), 0);
    end(two);
    let events = read(scratch.path());
    assert_eq!(events.iter().filter(|event| event.payload == b"one").count(), 500);
    assert_eq!(events.iter().filter(|event| event.payload == b"two").count(), 501);
}

#[test]
fn a_name_that_is_taken_is_passed_over() {
    let scratch = Scratch::new();
    for number in 1..4 {
        let name = format!("{GENERATION:016x}-{number:08}.journal");
        std::fs::write(scratch.file(&name), "of another").expect("written");
    }
    let storage = open(scratch.path(), Options::default());
    assert_eq!(deliver(&storage, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    drop(storage);
    let name = format!("{GENERATION:016x}-00000004.journal");
    assert_eq!(read(&scratch.file(&name)).len(), 10);
    assert_eq!(
        std::fs::read(scratch.file(&format!("{GENERATION:016x}-00000002.journal"))).unwrap(),
        b"of another"
    );
}

#[test]
fn what_became_known_when_all_segments_were_sealed_is_there_after_the_close() {
    let scratch = Scratch::new();
    let path = scratch.file("journal");
    let options = Options { segment_age_ms: 100, ..Options::default() };
    let pipeline = start(Config::default(), &path, options);
    assert_eq!(offer(&pipeline, 1, 1, b"early"), 0);
    until("the segment is sealed", || {
        segments(&path).iter().any(|&(_, sealed, events)| sealed && events == 1)
    });
    pipeline.kind_name(1, b"late").expect("a name");
    assert!(offer(&pipeline, u32::MAX, 1, b"") < 0, "the kind is reserved");
    let ledger = end(pipeline);
    assert_eq!((ledger.stored, ledger.refused_invalid), (1, 1));
    let reader = reader(&path);
    assert!(reader.facts().kind_names.values().eq([b"late"]));
    let told = reader.facts().ledgers.values().next().expect("a ledger");
    assert_eq!((told.count("stored"), told.count("refused_invalid")), (Some(1), Some(1)));
    assert!(segments(&path).iter().all(|&(_, sealed, _)| sealed));
}
