//! The limits: size, age, free disk space. What is deleted is counted, nothing is deleted in vain, and nobody's open segment is.

use crate::support::*;
use capture_pipeline::status::PIPELINE_ERR_INVALID;
use capture_pipeline::storage::journal::{JournalStorage, OnFull, Options, Sync};
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY, Storage};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const MIB: u64 = 1 << 20;

fn bounded() -> Options {
    Options { max_bytes: MIB, ..Options::default() }
}

/// The segments and events that the last statement of the storage says were deleted.
fn deleted(path: &Path) -> (u64, u64) {
    // A reader ignores this fact, so its record is looked for in the files themselves.
    let mut found = (0, 0);
    for file in files(path) {
        let bytes = std::fs::read(&file).expect("a segment");
        for at in (0..bytes.len().saturating_sub(48)).step_by(8) {
            let word =
                |offset: usize| u64::from_le_bytes(bytes[at + offset..at + offset + 8].try_into().unwrap());
            if word(0) == 8 && (word(8) & 0xFFFF_FFFF) == 0xFFFF_0005 {
                found = found.max((word(40), word(32)));
            }
        }
    }
    found
}

fn age(file: &Path, by: Duration) {
    let file = std::fs::File::options().append(true).open(file).expect("a segment");
    file.set_modified(SystemTime::now() - by).expect("its time");
}

#[test]
fn the_oldest_segments_make_room_and_are_counted() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), bounded());
    let total = 3_000;
    for n in 0..total {
        let events = [sized(1, 2 * n, 700), sized(1, 2 * n + 1, 10)];
        assert_eq!(deliver(&storage, &events), (PIPELINE_STORE_OK, 0, vec![]));
        assert!(bytes_in(scratch.path()) <= MIB, "{} bytes after {n} batches", bytes_in(scratch.path()));
    }
    assert_eq!(storage.finish(-1), 0);
    assert!(bytes_in(scratch.path()) <= MIB);
    // No more than necessary, and the oldest: an eighth at a time.
    assert!(bytes_in(scratch.path()) > MIB * 3 / 4, "{}", bytes_in(scratch.path()));
    let left: Vec<u64> = read(scratch.path()).iter().map(|event| event.sequence).collect();
    let first = left[0];
    assert!(first > 0 && left.iter().copied().eq(first..2 * total), "{} from {first}", left.len());
    let (segments, events) = deleted(scratch.path());
    assert_eq!(events, first, "in {segments} segments");
}

#[test]
fn an_event_that_can_never_fit_deletes_nothing() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), bounded());
    for n in 0..40 {
        assert_eq!(deliver(&storage, &[sized(1, n, 20_000)]).0, PIPELINE_STORE_OK);
    }
    let before = read(scratch.path()).len();
    assert_eq!(deliver(&storage, &[sized(1, 40, MIB as usize)]), (PIPELINE_STORE_REJECT, 0, vec![]));
    // Only that one of a batch is rejected.
    let batch = [sized(1, 41, 10), sized(1, 42, 2 * MIB as usize), sized(1, 43, 10)];
    assert_eq!(deliver(&storage, &batch), (PIPELINE_STORE_OK, 0, vec![1]));
    let left: Vec<u64> = read(scratch.path()).iter().map(|event| event.sequence).collect();
    assert_eq!((before, left.len()), (40, 42));
    // One that fits only alone deletes the others.
    assert_eq!(deliver(&storage, &[sized(1, 44, MIB as usize * 3 / 4)]).0, PIPELINE_STORE_OK);
    let left: Vec<u64> = read(scratch.path()).iter().map(|event| event.sequence).collect();
    assert!(left.contains(&44) && left.len() < 42 && bytes_in(scratch.path()) <= MIB, "{left:?}");
}

#[test]
fn a_batch_larger_than_the_bound_is_stored_in_parts() {
    let scratch = Scratch::new();
    for sync in [Sync::Never, Sync::Batch] {
        let path = scratch.file(&format!("{sync:?}"));
        let storage = open(&path, Options { sync, ..bounded() });
        let batch: Vec<_> = (0..40).map(|n| sized(1, n, 50_000)).collect();
        assert_eq!(deliver(&storage, &batch), (PIPELINE_STORE_OK, 0, vec![]));
        assert_eq!(storage.finish(-1), 0);
        assert!(bytes_in(&path) <= MIB);
        let left: Vec<u64> = read(&path).iter().map(|event| event.sequence).collect();
        assert!(left.len() > 10 && left.iter().copied().eq(left[0]..40), "{left:?}");
    }
}

#[test]
fn new_events_are_rejected_where_that_is_asked_for() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options { on_full: OnFull::Reject, ..bounded() });
    let mut stored = 0;
    while deliver(&storage, &[sized(1, stored, 10_000)]).0 == PIPELINE_STORE_OK {
        stored += 1;
        assert!(stored < 200, "never full");
    }
    assert!(stored > 90, "{stored}");
    assert_eq!(deliver(&storage, &[sized(1, stored, 10_000)]), (PIPELINE_STORE_REJECT, 0, vec![]));
    assert_eq!(storage.finish(-1), 0);
    assert_eq!(read(scratch.path()).len() as u64, stored);
    assert!(bytes_in(scratch.path()) <= MIB);
    // Room that others make is used.
    std::fs::remove_file(&files(scratch.path())[0]).expect("deleted");
    until("there is room", || deliver(&storage, &[sized(2, 0, 10_000)]).0 == PIPELINE_STORE_OK);
}

#[test]
fn a_pipeline_counts_what_is_rejected() {
    let scratch = Scratch::new();
    let pipeline = start(patient(), scratch.path(), Options { on_full: OnFull::Reject, ..bounded() });
    for n in 0..4_000 {
        assert_eq!(offer(&pipeline, 1, n, &[7; 1_000]), 0);
    }
    let ledger = end(pipeline);
    assert_eq!(ledger.captured, 4_000);
    assert!(ledger.discarded > 2_900 && ledger.stored > 500, "{ledger:?}");
    assert_eq!(read(scratch.path()).len() as u64, ledger.stored);
}

#[test]
fn segments_that_are_being_written_are_not_deleted() {
    let scratch = Scratch::new();
    let other = open(scratch.path(), Options::default());
    assert_eq!(deliver(&other, &[sized(1, 0, 10_000)]).0, PIPELINE_STORE_OK);
    assert_eq!(other.finish(-1), 0);
    for n in 1..10 {
        assert_eq!(deliver(&other, &[sized(1, n, 100_000)]).0, PIPELINE_STORE_OK);
    }
    // The other one has nearly all of the room. What it has sealed would not be enough, and is not deleted in vain.
    let storage = open(scratch.path(), bounded());
    assert_eq!(deliver(&storage, &[sized(2, 0, 200_000)]).0, PIPELINE_STORE_RETRY);
    assert_eq!(read(scratch.path()).len(), 10);
    // Once it has sealed its segment, that makes room.
    drop(other);
    assert_eq!(deliver(&storage, &[sized(2, 0, 200_000)]).0, PIPELINE_STORE_OK);
    assert_eq!(read(scratch.path()).len(), 1);
}

#[test]
fn a_segment_whose_writer_has_died_makes_room() {
    let scratch = Scratch::new();
    in_a_child(|| {
        let storage = open(scratch.path(), Options::default());
        let stored = (0..10).all(|n| deliver(&storage, &[sized(1, n, 100_000)]).0 == PIPELINE_STORE_OK);
        std::mem::forget(storage);
        stored
    });
    assert_eq!(segments(scratch.path()), [(1, false, 10)]);
    let storage = open(scratch.path(), bounded());
    assert_eq!(deliver(&storage, &[sized(2, 0, 100_000)]).0, PIPELINE_STORE_OK);
    assert_eq!(storage.finish(-1), 0);
    assert_eq!(deleted(scratch.path()), (1, 10));
}

#[test]
fn other_writers_segments_are_sealed_to_make_room() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), bounded());
    let mut sequence = [0; 12];
    for round in 0..40 {
        for writer in 0..12u32 {
            let ring = u64::from(writer);
            let next = &mut sequence[writer as usize];
            let answer = deliver_as(writer, &storage, &[sized(ring, *next, 9_000)]).0;
            assert_eq!(answer, PIPELINE_STORE_OK, "writer {writer} in round {round}");
            *next += 1;
            assert!(bytes_in(scratch.path()) <= MIB);
        }
    }
    assert_eq!(storage.finish(-1), 0);
    let events = read(scratch.path());
    assert!(events.len() > 60, "{}", events.len());
    for ring in 0..12 {
        assert!(
            events.iter().any(|event| event.ring == ring && event.sequence == 39),
            "the newest of {ring}"
        );
    }
}

#[test]
fn a_segment_is_deleted_when_it_is_too_old_and_not_before() {
    let scratch = Scratch::new();
    let old = open(scratch.path(), Options::default());
    assert_eq!(deliver(&old, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    assert_eq!(old.finish(-1), 0);
    assert_eq!(deliver(&old, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
    drop(old);
    let two = files(scratch.path());
    age(&two[0], Duration::from_secs(3_601));
    age(&two[1], Duration::from_secs(3_000));
    // Nothing is stored: the storage's thread looks.
    let storage = open(scratch.path(), Options { max_age_ms: 3_600_000, ..Options::default() });
    until("the old segment is gone", || !two[0].exists());
    assert!(two[1].exists());
    assert_eq!(deliver(&storage, &samples(2, 0..1)).0, PIPELINE_STORE_OK);
    assert_eq!(storage.finish(-1), 0);
    assert_eq!(deleted(scratch.path()), (1, 10));
}

#[test]
fn events_leave_when_they_are_too_old_without_a_store() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options { max_age_ms: 400, ..Options::default() });
    assert_eq!(deliver(&storage, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    until("sealed, and deleted", || files(scratch.path()).is_empty());
    let stored = Instant::now();
    assert_eq!(deliver(&storage, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
    let events = read(scratch.path()).len();
    // Where this test was held up for that long, they may have left.
    assert!(events == 10 || stored.elapsed() >= Duration::from_millis(400), "{events}");
}

#[test]
fn a_segment_is_sealed_at_its_age_and_the_next_one_is_begun() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options { segment_age_ms: 100, ..Options::default() });
    for n in 0..3 {
        assert_eq!(deliver(&storage, &samples(1, n..n + 1)).0, PIPELINE_STORE_OK);
        let number = n + 1;
        until("sealed", || segments(scratch.path()).contains(&(number, true, 1)));
    }
    assert_eq!(segments(scratch.path()).len(), 3);
    assert_eq!(storage.finish(-1), 0);
    assert_eq!(segments(scratch.path()).len(), 3, "none without events");
}

#[test]
fn a_segment_is_sealed_at_its_size_and_the_next_one_is_begun() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options { segment_bytes: 64 << 10, ..Options::default() });
    for n in 0..100 {
        assert_eq!(deliver(&storage, &[sized(1, n, 5_000)]).0, PIPELINE_STORE_OK);
    }
    assert_eq!(storage.finish(-1), 0);
    let all = segments(scratch.path());
    assert!(all.len() == 9 && all.iter().all(|(_, sealed, _)| *sealed), "{all:?}");
    assert!(files(scratch.path()).iter().all(|file| file.metadata().unwrap().len() <= 64 << 10));
    assert_eq!(read(scratch.path()).len(), 100);
}

#[test]
fn a_disk_that_is_too_full_costs_the_oldest_segments() {
    let Some(disk) = SmallDisk::new(4 << 20) else { return };
    let options = Options { min_free_disk: 2 * MIB, segment_bytes: 128 << 10, ..Options::default() };
    let path = disk.0.file("journal");
    let storage = open(&path, options);
    for n in 0..400 {
        assert_eq!(deliver(&storage, &[sized(1, n, 10_000)]).0, PIPELINE_STORE_OK, "{n}");
    }
    // (The free space is read ten times a second.)
    until("room was made", || {
        let n = 400 + read(&path).len() as u64;
        deliver(&storage, &[sized(2, n, 10)]).0 == PIPELINE_STORE_OK
            && bytes_in(&path) < 2 * MIB + (256 << 10)
    });
    // Another program takes the space: deleting all segments would not be enough, so none is deleted.
    let events = read(&path).len();
    let taken = disk.fill();
    until("the storage has noticed", || deliver(&storage, &[sized(3, 0, 10)]).0 == PIPELINE_STORE_RETRY);
    assert!(read(&path).len() >= events);
    disk.give_back(taken);
    until("it goes on", || deliver(&storage, &[sized(3, 1, 10)]).0 == PIPELINE_STORE_OK);
}

#[test]
fn every_option_has_limits_that_are_named() {
    let scratch = Scratch::new();
    let good = Options::default();
    for (field, options) in [
        ("segment_bytes", Options { segment_bytes: 65_535, ..good }),
        ("segment_bytes", Options { segment_bytes: (1 << 40) + 1, ..good }),
        ("max_bytes", Options { max_bytes: MIB - 1, ..good }),
        ("max_bytes", Options { max_bytes: (1 << 47) + 1, ..good }),
        ("max_age_ms", Options { max_age_ms: 99, ..good }),
        ("max_age_ms", Options { max_age_ms: u64::MAX, ..good }),
        ("min_free_disk", Options { min_free_disk: u64::MAX, ..good }),
        ("segment_age_ms", Options { segment_age_ms: 1, ..good }),
        ("sync_interval_ms", Options { sync_interval_ms: 0, ..good }),
        ("sync_interval_ms", Options { sync_interval_ms: 3_600_001, ..good }),
        ("file_mode", Options { file_mode: 0o400, ..good }),
        ("file_mode", Options { file_mode: 0o700, ..good }),
    ] {
        let error = JournalStorage::open(&scratch.file("none"), options).err().expect("refused");
        assert_eq!(error.status, PIPELINE_ERR_INVALID);
        let name = format!("pipeline_journal_options_t.{field}: ");
        assert!(error.detail.starts_with(&name), "{}", error.detail);
    }
    assert!(!scratch.file("none").exists());
}

/// Names that are given after the last event belong to the last segment, and it must not grow beyond the limit for them.
#[test]
fn late_names_of_kinds_stay_within_the_limit() {
    for on_full in [OnFull::DeleteOldest, OnFull::Reject] {
        let scratch = Scratch::new();
        let pipeline = start(patient(), scratch.path(), Options { on_full, ..bounded() });
        for n in 0..4_000 {
            assert_eq!(offer(&pipeline, 1, n, &[7; 1_000]), 0);
        }
        pipeline.flush(Some(PATIENCE)).expect("flushed");
        for kind in 0..1_000 {
            pipeline.kind_name(kind, &[b'n'; 255]).expect("named");
        }
        let ledger = end(pipeline);
        assert!(bytes_in(scratch.path()) <= MIB, "{on_full:?}: {}", bytes_in(scratch.path()));
        let reader = reader(scratch.path());
        let names = reader.facts().kind_names.len();
        assert_eq!(names, if on_full == OnFull::Reject { 0 } else { 1_000 }, "{on_full:?}");
        let gone: u64 = reader.facts().deleted.values().map(|deleted| deleted.events).sum();
        assert_eq!(read(scratch.path()).len() as u64 + gone, ledger.stored, "{on_full:?}");
    }
}
