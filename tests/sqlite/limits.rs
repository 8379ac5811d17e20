//! The limits: size, age, free disk space.

use crate::support::*;
use capture_pipeline::storage::sqlite::{MAX_BYTES, MIN_MAX_BYTES, OnFull, Options, SqliteStorage};
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_REJECT};

const EVENTS: u64 = 120_000;

#[test]
fn a_full_database_deletes_its_oldest_events_and_counts_them() {
    let scratch = Scratch::new();
    let path = scratch.file("bounded.db");
    let bounded = Options { max_bytes: 2 * MIN_MAX_BYTES, ..plain() };
    let pipeline = start(patient(), &path, bounded);
    let mut largest = 0;
    for i in 0..EVENTS {
        assert_eq!(offer(&pipeline, 1, i, 0, &[i as u8; 100]), 0);
        if i % 1_000 == 0 {
            largest = largest.max(bytes_on_disk(&path));
        }
    }
    pipeline.flush(Some(PATIENCE)).expect("it flushes");
    largest = largest.max(bytes_on_disk(&path));
    assert!(largest <= bounded.max_bytes, "{largest} bytes");
    assert_eq!(end_balanced(pipeline).stored, EVENTS);
    assert!(bytes_on_disk(&path) <= bounded.max_bytes);
    let rows = count(&path, "SELECT count(*) FROM events");
    let deleted = count(&path, "SELECT deleted FROM runs");
    assert!(deleted > 0 && rows > 20_000, "{rows} rows, {deleted} deleted");
    assert_eq!((rows + deleted) as u64, EVENTS);
    // The newest remain, without a gap.
    assert_eq!(count(&path, "SELECT min(correlation_id) FROM events"), deleted);
    assert_eq!(count(&path, "SELECT max(correlation_id) FROM events"), EVENTS as i64 - 1);
    assert_eq!(value::<String>(&path, "PRAGMA integrity_check"), "ok");
}

#[test]
fn a_bounded_database_has_room_for_its_indexes() {
    let scratch = Scratch::new();
    let path = scratch.file("indexed.db");
    let bounded = Options { max_bytes: 2 * MIN_MAX_BYTES, indexes: true, ..plain() };
    let pipeline = start(patient(), &path, bounded);
    for i in 0..EVENTS {
        assert_eq!(offer(&pipeline, 1, i.wrapping_mul(0x9e37_79b9_7f4a_7c15), i << 30, &[i as u8; 40]), 0);
    }
    assert_eq!(end_balanced(pipeline).stored, EVENTS);
    assert_eq!(count(&path, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'events_by_%'"), 4);
    assert!(bytes_on_disk(&path) <= bounded.max_bytes, "{} bytes", bytes_on_disk(&path));
}

#[test]
fn a_full_database_rejects_new_events_if_told_so() {
    let scratch = Scratch::new();
    let path = scratch.file("reject.db");
    let bounded = Options { max_bytes: MIN_MAX_BYTES, on_full: OnFull::Reject, ..plain() };
    let pipeline = start(patient(), &path, bounded);
    for i in 0..EVENTS {
        assert_eq!(offer(&pipeline, 1, i, 0, &[i as u8; 100]), 0);
    }
    let ledger = end_balanced(pipeline);
    assert_eq!(ledger.stored + ledger.discarded, EVENTS);
    assert!(ledger.discarded > 0 && ledger.stored > 10_000);
    assert_eq!(count(&path, "SELECT count(*) FROM events") as u64, ledger.stored);
    assert_eq!(count(&path, "SELECT sum(deleted) FROM runs"), 0);
    assert!(bytes_on_disk(&path) <= bounded.max_bytes);
}

#[test]
fn a_bound_lowered_later_is_reached_step_by_step() {
    let scratch = Scratch::new();
    let path = scratch.file("lowered.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    for part in 0..100 {
        let batch = samples(1, part * 1_000..(part + 1) * 1_000);
        assert_eq!(deliver(&storage, 1, &batch).0, PIPELINE_STORE_OK);
    }
    until_released(storage);
    let before = bytes_on_disk(&path);
    let bounded = Options { max_bytes: MIN_MAX_BYTES, ..plain() };
    assert!(before > bounded.max_bytes);
    let storage = SqliteStorage::open(&path, bounded).expect("it opens");
    for part in 100..200 {
        let batch = samples(1, part * 1_000..(part + 1) * 1_000);
        assert_eq!(deliver(&storage, 1, &batch).0, PIPELINE_STORE_OK);
    }
    until_released(storage);
    assert!(bytes_on_disk(&path) <= before + (1 << 20), "the file does not grow further");
    let used = count(
        &path,
        "SELECT (page_count - freelist_count) * page_size FROM \
         pragma_page_count, pragma_freelist_count, pragma_page_size",
    ) as u64;
    assert!(used <= bounded.max_bytes, "{used} bytes in use");
    let rows = count(&path, "SELECT count(*) FROM events");
    assert_eq!(rows + count(&path, "SELECT sum(deleted) FROM runs"), 200_000);
}

#[test]
fn events_that_are_too_old_are_deleted_without_any_traffic() {
    let scratch = Scratch::new();
    let path = scratch.file("aged.db");
    let storage = SqliteStorage::open(&path, Options { max_age_ms: 1_500, ..plain() }).expect("it opens");
    for part in 0..20 {
        let batch = samples(1, part * 500..(part + 1) * 500);
        assert_eq!(deliver(&storage, 1, &batch).0, PIPELINE_STORE_OK);
    }
    until("all are gone", || count(&path, "SELECT count(*) FROM events") == 0);
    assert_eq!(count(&path, "SELECT sum(deleted) FROM runs"), 10_000);
    // Newer events are kept, also in a database that was emptied.
    assert_eq!(deliver(&storage, 1, &samples(2, 0..10)).0, PIPELINE_STORE_OK);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 10);
    until_released(storage);
    // Another storage opens the database after a long time without events.
    let storage = SqliteStorage::open(&path, Options { max_age_ms: 1, ..plain() }).expect("it opens");
    until("those are gone too", || count(&path, "SELECT count(*) FROM events") == 0);
    until_released(storage);
    assert_eq!(count(&path, "SELECT sum(deleted) FROM runs"), 10_010);
}

#[test]
fn events_of_today_outlive_an_age_of_years() {
    let scratch = Scratch::new();
    let path = scratch.file("young.db");
    let storage =
        SqliteStorage::open(&path, Options { max_age_ms: 365 * 86_400_000, ..plain() }).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..5_000)).0, PIPELINE_STORE_OK);
    assert_eq!(storage_flush(&storage), 0);
    until_released(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 5_000);
}

#[test]
fn a_disk_that_is_too_full_keeps_the_database_from_growing() {
    let scratch = Scratch::new();
    let path = scratch.file("low.db");
    // No disk has this much free space.
    let low = Options { min_free_disk: MAX_BYTES, ..plain() };
    let storage = SqliteStorage::open(&path, Options { on_full: OnFull::Reject, ..low }).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..100)), (PIPELINE_STORE_REJECT, vec![]));
    until_released(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 0);

    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    for part in 0..20 {
        let batch = samples(1, part * 1_000..(part + 1) * 1_000);
        assert_eq!(deliver(&storage, 1, &batch).0, PIPELINE_STORE_OK);
    }
    until_released(storage);
    let pages = count(&path, "PRAGMA page_count");
    let storage = SqliteStorage::open(&path, low).expect("it opens");
    for part in 20..60 {
        let batch = samples(1, part * 1_000..(part + 1) * 1_000);
        assert_eq!(deliver(&storage, 1, &batch).0, PIPELINE_STORE_OK);
    }
    until_released(storage);
    assert!(count(&path, "PRAGMA page_count") <= pages, "it lives in the pages that it has");
    let rows = count(&path, "SELECT count(*) FROM events");
    assert!(rows > 10_000, "{rows} rows");
    assert_eq!(rows + count(&path, "SELECT sum(deleted) FROM runs"), 60_000);
}

fn storage_flush(storage: &SqliteStorage) -> i32 {
    capture_pipeline::storage::Storage::flush(storage, 60_000)
}
