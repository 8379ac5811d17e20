//! Recoveries that are killed and run again, into storages that keep identities: each event is there exactly once.

use crate::image::{Event, Image};
use crate::random::Random;
use crate::support::{Identity, Keeping, Scratch, filled, recover_into, take_run};
use capture_pipeline::event::{PIPELINE_KIND_DEFINITION, PIPELINE_KIND_KIND_NAME};
use capture_pipeline::journal::reader::{Options as ReaderOptions, Reader};
use capture_pipeline::kinds::{Definition, Field, Integer, Type};
use capture_pipeline::ring_file::reader::Piece;
use capture_pipeline::storage::feed::{Fed, Feed, Part};
use capture_pipeline::storage::journal::{self, JournalStorage};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Storages<'a> = (&'a dyn Fn(&Path) -> Feed, &'a dyn Fn(&Path) -> BTreeMap<Identity, Event>);

/// A recovery that ends after so many pieces, as if it were killed: before the last of them is acknowledged, or in the middle of it.
fn killed(scratch: &Scratch, path: &Path, feed: &mut Feed, pieces: u64, random: &mut Random) {
    let mut run = take_run(scratch, path);
    let mut piece = Piece::default();
    for n in 0..pieces {
        if !run.next(&mut piece).unwrap() {
            return;
        }
        let mut part = Part::new(run.header().generation, run.realtime_offset_ns());
        for event in run.events(&piece, 0) {
            part.push(&event).unwrap();
        }
        feed.store(std::slice::from_ref(&part)).unwrap();
        if n + 1 < pieces {
            run.acknowledge(piece.ring(), piece.upto()).unwrap();
        } else if random.one_in(2) {
            let part_of_it = random.below(piece.len() as u64 + 1) as usize;
            run.acknowledge(piece.ring(), piece.position(part_of_it)).unwrap();
        }
    }
}

fn killed_again_and_again((open, read): Storages<'_>) {
    for seed in 0..8 {
        let mut random = Random(seed);
        let scratch = Scratch::new();
        let target = scratch.path().join("target");
        let rings = scratch.path().join("rings");
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .create(&rings)
            .unwrap();
        let mut wanted = BTreeMap::new();
        for generation in 1..=3 {
            let (image, events) = filled(generation, &mut random);
            image.write(&rings);
            wanted.extend(events);
        }
        let at = Inner(&rings);
        for generation in 1..=3 {
            for _ in 0..3 {
                let path = rings.join(format!("{generation:016x}.rings"));
                let pieces = random.below(6);
                killed(&at.scratch(), &path, &mut open(&target), pieces, &mut random);
            }
        }
        let mut feed = open(&target);
        let report =
            capture_pipeline::recovery::recover(&rings, &mut feed, &Default::default(), |_| {}).unwrap();
        assert_eq!((report.runs, report.torn, report.discarded, report.stopped), (3, 0, 0, None), "{seed}");
        assert_eq!(feed.finish(), 0);
        let mut stored = read(&target);
        // (The wall time is not among what is compared.)
        assert_eq!(stored.len(), wanted.len(), "{seed}");
        assert!(
            wanted.iter().all(|(identity, event)| stored.remove(identity).as_ref() == Some(event)),
            "{seed}"
        );
        assert_eq!(std::fs::read_dir(&rings).unwrap().count(), 0);
    }
}

/// A directory that another scratch removes.
struct Inner<'a>(&'a Path);

impl Inner<'_> {
    fn scratch(&self) -> std::mem::ManuallyDrop<Scratch> {
        std::mem::ManuallyDrop::new(Scratch::at(self.0))
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn a_recovery_that_is_killed_again_and_again_leaves_each_event_once_in_sqlite() {
    use capture_pipeline::storage::sqlite::{Options, SqliteStorage};
    let open = |path: &Path| Feed::new(SqliteStorage::open(path, Options::default()).unwrap());
    let read = |path: &Path| {
        let database = rusqlite::Connection::open(path).unwrap();
        let sql = "SELECT generation, ring_id, sequence, time_ns, kind, correlation_id, node_id, weight, flags, payload \
                   FROM events JOIN runs ON runs.id = run";
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| {
            let number = |at: usize| row.get::<_, i64>(at).map(|n| n as u64);
            let event = Event {
                kind: number(4)? as u32,
                flags: number(8)? as u32,
                weight: row.get::<_, f64>(7)? as f32,
                sequence: number(2)?,
                timestamp: number(3)?,
                correlation_id: number(5)?,
                node_id: number(6)?,
                payload: row.get(9)?,
            };
            Ok(((number(0)?, number(1)?, number(2)?), event))
        });
        let all: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
        let map: BTreeMap<_, _> = all.iter().cloned().collect();
        assert_eq!(map.len(), all.len(), "an event is stored twice");
        map
    };
    killed_again_and_again((&open, &read));
}

#[test]
fn a_recovery_that_is_killed_again_and_again_leaves_each_event_once_for_the_journal_s_reader() {
    let open = |path: &Path| Feed::new(JournalStorage::open(path, journal::Options::default()).unwrap());
    let read = |path: &Path| {
        let mut all = BTreeMap::new();
        let mut reader = Reader::open(path, ReaderOptions::default()).unwrap();
        while let Some(event) = reader.next().unwrap() {
            let identity = (event.generation, event.ring_id, event.sequence);
            let event = Event {
                kind: event.kind,
                flags: event.flags,
                weight: event.weight as f32,
                sequence: event.sequence,
                timestamp: event.timestamp_ns,
                correlation_id: event.correlation_id,
                node_id: event.node_id,
                payload: event.payload.to_vec(),
            };
            assert!(all.insert(identity, event).is_none(), "an event is given twice");
        }
        assert_eq!((reader.losses().contradictions, reader.losses().damages), (0, 0));
        all
    };
    killed_again_and_again((&open, &read));
}

#[test]
fn each_run_in_one_journal_has_its_own_facts() {
    let scratch = Scratch::new();
    let target = scratch.path().join("journal");
    let rings = scratch.path().join("rings");
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&rings).unwrap();
    // Both runs have a kind 7, which is another thing in each, and a kind that the other does not have.
    let definition = |name: &str, field: &str| {
        let mut definition = Definition::new(7, name);
        definition.fields = vec![Field::new(field, Type::Integer(Integer::U64), 0)];
        definition.fit();
        assert!(definition.check().is_ok());
        definition.to_bytes()
    };
    for (generation, name, field, other) in [(1, "first", "a", 50), (2, "second", "b", 60)] {
        let mut image = Image::new(generation, (4096, 1), (0, 0));
        image.fact(PIPELINE_KIND_DEFINITION, 7, &definition(name, field));
        image.fact(PIPELINE_KIND_KIND_NAME, other, b"own");
        image.ring(0, 1, 10 + generation, 0).push(0, &Event::new(0, &[1; 8]));
        image.write(&rings);
    }
    let storage = JournalStorage::open(&target, journal::Options::default()).unwrap();
    let (report, _) = recover_into(&rings, storage);
    assert_eq!((report.runs, report.events), (2, 2));
    let mut reader = Reader::open(&target, ReaderOptions::default()).unwrap();
    while reader.next().unwrap().is_some() {}
    let facts = reader.facts();
    for (generation, name, own, others) in [(1, "first", 50, 60), (2, "second", 60, 50)] {
        assert_eq!(facts.definitions[&(generation, 7)].name, name);
        assert_eq!(facts.kind_names[&(generation, own)], b"own", "{generation}");
        assert!(!facts.kind_names.contains_key(&(generation, others)), "{generation}");
        assert_eq!(facts.threads[&(generation, 1)].thread_id, 10 + generation);
    }
    assert_eq!(reader.losses().contradicting_facts, 0);
}

#[test]
fn a_storage_without_identities_has_each_event_at_least_once_and_in_order_after_a_kill() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (1 << 20, 1), (0, 0));
    image.ring(0, 1, 0, 0);
    let mut sequence = 0;
    while image.push(0, &Event::new(sequence, &[3; 200])) {
        sequence += 1;
    }
    let path = image.write(scratch.path());
    let kept = Keeping::default();
    killed(&scratch, &path, &mut Feed::new(kept.clone()), 2, &mut Random(3));
    let (report, _) = recover_into(scratch.path(), kept.clone());
    assert_eq!(report.runs, 1);
    let sequences: Vec<u64> = kept.identities().iter().map(|(.., sequence)| *sequence).collect();
    assert!(sequences.iter().copied().collect::<BTreeSet<_>>().into_iter().eq(0..sequence));
    // Not one more than was stored and not acknowledged.
    assert!(sequences.len() as u64 <= sequence + 262_144 / 248);
}

#[test]
fn batches_of_two_runs_in_turns_do_not_make_a_segment_each() {
    let scratch = Scratch::new();
    let target = scratch.path().join("journal");
    let mut feed = Feed::new(JournalStorage::open(&target, journal::Options::default()).unwrap());
    let mut image = Image::new(1, (4096, 1), (0, 0));
    image.ring(0, 1, 0, 0).push(0, &Event::new(0, b""));
    let path = image.write(scratch.path());
    let mut run = take_run(&scratch, &path);
    let mut piece = Piece::default();
    assert!(run.next(&mut piece).unwrap());
    let mut store = |generation: u64, sequence: u64| {
        let mut part = Part::new(generation, 0);
        for event in run.events(&piece, 0) {
            let event = capture_pipeline::journal::reader::Event { sequence, ..event };
            part.push(&event).unwrap();
        }
        assert!(matches!(&feed.store(&[part]).unwrap()[..], [Fed::Stored(refused)] if refused.is_empty()));
    };
    for sequence in 0..20 {
        store(1, sequence);
        store(2, sequence);
    }
    // A third one, and the first again.
    store(3, 0);
    store(1, 20);
    assert_eq!(feed.finish(), 0);
    let mut reader = Reader::open(&target, ReaderOptions::default()).unwrap();
    let segments: Vec<u64> = reader.segments().map(|segment| segment.header.generation).collect();
    assert_eq!(segments.len(), 4, "{segments:?}");
    let mut count = 0;
    while reader.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!((count, reader.losses().torn_tails, reader.losses().damages), (42, 0, 0));
    assert!(
        reader
            .segments()
            .all(|segment| matches!(segment.state, capture_pipeline::journal::reader::State::Sealed(_))),
        "one was not sealed"
    );
}
