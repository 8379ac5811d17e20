//! The end of a storage: no call waits longer than its timeout, and the work is done all the same.

use crate::support::*;
use capture_pipeline::status::PIPELINE_ERR_STORAGE;
use capture_pipeline::storage::sqlite::{MAX_BYTES, Options, SqliteStorage};
use capture_pipeline::storage::{PIPELINE_STORE_OK, Storage};
use rusqlite::Connection;
use std::path::Path;

const INDEXES: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name LIKE 'events_by_%'";
const ROWS: &str = "SELECT count(*) FROM events";

/// Takes the lock that a storage needs to write.
fn locked(path: &Path) -> Connection {
    let other = Connection::open(path).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    other
}

fn unlock(other: &Connection) {
    other.execute_batch("COMMIT").expect("unlocked");
}

/// How many descriptors of this process are of that file.
fn descriptors_of(path: &Path) -> usize {
    let path = std::fs::canonicalize(path).expect("it exists");
    let all = std::fs::read_dir("/proc/self/fd").expect("Linux has it");
    all.flatten().filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file == path)).count()
}

fn waits_long() -> Options {
    Options { busy_timeout_ms: 60_000, ..Options::default() }
}

#[test]
fn a_storage_that_is_given_up_makes_its_indexes_by_itself() {
    let scratch = Scratch::new();
    let path = scratch.file("dropped.db");
    let storage = SqliteStorage::open(&path, waits_long()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..100)).0, PIPELINE_STORE_OK);
    let other = locked(&path);
    drop(storage); // does not wait for the lock
    unlock(&other);
    until("the indexes are made", || count(&path, INDEXES) == 4);
    assert_eq!(count(&path, ROWS), 100);
}

#[test]
fn a_finish_keeps_its_time_and_goes_on() {
    let scratch = Scratch::new();
    let path = scratch.file("finish.db");
    let storage = SqliteStorage::open(&path, waits_long()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..100)).0, PIPELINE_STORE_OK);
    let other = locked(&path);
    assert_eq!(storage.finish(20), 0);
    assert_eq!(count(&path, INDEXES), 0);
    drop(storage);
    unlock(&other);
    until("the indexes are made", || count(&path, INDEXES) == 4);
}

#[test]
fn after_a_finish_the_database_is_one_file() {
    let scratch = Scratch::new();
    for (name, options) in [("indexed.db", Options::default()), ("plain.db", plain())] {
        let path = scratch.file(name);
        let pipeline = start(patient(), &path, options);
        for i in 0..1_000 {
            assert_eq!(offer(&pipeline, 1, i, 0, b"payload"), 0);
        }
        pipeline.close(Some(PATIENCE)).expect("it closes");
        assert!(!scratch.file(&format!("{name}-wal")).exists(), "the log is copied back");
        assert_eq!(count(&path, INDEXES), if options.indexes { 4 } else { 0 });
        assert_eq!(count(&path, ROWS), 1_000);
        until("destroyed", || pipeline.destroy().is_ok());
    }
}

#[test]
fn a_close_says_that_the_indexes_are_missing() {
    let scratch = Scratch::new();
    let path = scratch.file("missing.db");
    let options = Options { busy_timeout_ms: 5, ..Options::default() };
    let pipeline = start(patient(), &path, options);
    assert_eq!(offer(&pipeline, 1, 1, 0, b"payload"), 0);
    pipeline.flush(Some(PATIENCE)).expect("it flushes");
    let other = locked(&path);
    let error = pipeline.close(Some(PATIENCE)).expect_err("no lock, no indexes");
    assert_eq!(error.status, PIPELINE_ERR_STORAGE);
    assert_eq!(pipeline.metrics().ledger.stored, 1);
    unlock(&other);
    until("destroyed", || pipeline.destroy().is_ok());
    assert_eq!((count(&path, ROWS), count(&path, INDEXES)), (1, 0));
    // The same if the options leave no space for the indexes.
    let storage =
        SqliteStorage::open(&path, Options { min_free_disk: MAX_BYTES, ..options }).expect("it opens");
    assert_eq!(storage.finish(-1), PIPELINE_ERR_STORAGE);
}

/// A program that no longer wants the database may remove it before the indexes are made.
#[test]
fn a_database_that_is_removed_does_not_come_back() {
    let scratch = Scratch::new();
    for before_its_end in [true, false] {
        let path = scratch.file("removed.db");
        let storage = SqliteStorage::open(&path, waits_long()).expect("it opens");
        assert_eq!(deliver(&storage, 1, &samples(1, 0..100)).0, PIPELINE_STORE_OK);
        let other = locked(&path);
        if !before_its_end {
            assert_eq!(storage.finish(0), 0);
        }
        for name in ["removed.db", "removed.db-wal", "removed.db-shm"] {
            let _ = std::fs::remove_file(scratch.file(name));
        }
        unlock(&other);
        storage.finish(-1);
        assert!(!path.exists());
    }
}

#[test]
fn events_that_come_after_a_finish_are_stored() {
    let scratch = Scratch::new();
    let path = scratch.file("after.db");
    let storage = SqliteStorage::open(&path, Options::default()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    assert_eq!(storage.finish(-1), 0);
    assert_eq!(deliver(&storage, 1, &samples(1, 10..20)), (PIPELINE_STORE_OK, vec![]));
    assert_eq!(storage.flush(-1), 0);
    drop(storage);
    until("the indexes are made anew", || count(&path, INDEXES) == 4);
    assert_eq!(count(&path, ROWS), 20);
}

#[test]
fn a_newer_storage_takes_over_from_one_that_makes_its_indexes() {
    let scratch = Scratch::new();
    let path = scratch.file("again.db");
    let mut next = 0;
    for round in 0..12u64 {
        let storage = SqliteStorage::open(&path, Options::default()).expect("it opens");
        assert_eq!(count(&path, INDEXES), 0, "round {round}");
        for _ in 0..10 {
            assert_eq!(deliver(&storage, 1, &samples(1, next..next + 1_000)), (PIPELINE_STORE_OK, vec![]));
            next += 1_000;
        }
        assert_eq!(count(&path, INDEXES), 0, "round {round}: none is made while it writes");
        if round % 2 == 0 {
            assert_eq!(storage.finish(round as i64), 0);
        }
        drop(storage);
        // The next storage comes before the first index, between two of them, or after the last one.
        until("some indexes are made", || count(&path, INDEXES) >= round as i64 % 5);
    }
    until("the last one makes them", || count(&path, INDEXES) == 4);
    assert_eq!(count(&path, ROWS), 120_000);
    assert_eq!(value::<String>(&path, "PRAGMA integrity_check"), "ok");
}

#[test]
fn a_newer_storage_takes_over_from_one_that_waits_for_a_lock() {
    let scratch = Scratch::new();
    let path = scratch.file("waits.db");
    let older = SqliteStorage::open(&path, waits_long()).expect("it opens");
    assert_eq!(deliver(&older, 1, &samples(1, 0..100)).0, PIPELINE_STORE_OK);
    let other = locked(&path);
    assert_eq!(older.finish(200), 0); // the time passes because the lock does not come
    drop(older);
    let before = descriptors_of(&path);
    let newer = SqliteStorage::open(&path, waits_long()).expect("it opens");
    assert_eq!(descriptors_of(&path), before, "the older one has closed its own");
    unlock(&other);
    assert_eq!(deliver(&newer, 1, &samples(1, 100..200)), (PIPELINE_STORE_OK, vec![]));
    assert_eq!(count(&path, INDEXES), 0);
    until_released(newer);
    assert_eq!((count(&path, ROWS), count(&path, INDEXES)), (200, 4));
}
