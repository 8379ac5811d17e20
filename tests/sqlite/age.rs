//! The age of the events: expired events are deleted, and no other is, whatever rows other programs delete or insert.

use crate::support::*;
use capture_pipeline::storage::PIPELINE_STORE_OK;
use capture_pipeline::storage::sqlite::{Options, SqliteStorage};
use rusqlite::Connection;
use std::path::Path;

const ROWS: &str = "SELECT count(*) FROM events";

fn hour() -> Options {
    Options { max_age_ms: 3_600_000, ..plain() }
}

fn others(path: &Path, sql: &str) {
    let db = Connection::open(path).expect("it opens");
    db.busy_timeout(PATIENCE).expect("set");
    db.execute_batch(sql).expect(sql);
}

/// A database with ten batches of 500 rows and a mark before each.
fn ten_marks(path: &Path) {
    for part in 0..10 {
        // Each storage makes a mark at its first row.
        let storage = SqliteStorage::open(path, hour()).expect("it opens");
        assert_eq!(deliver(&storage, 1, &samples(1, part * 500..(part + 1) * 500)).0, PIPELINE_STORE_OK);
        until_released(storage);
        others(path, "UPDATE arrivals SET wall_ns = wall_ns - 1000000000");
    }
    assert_eq!((count(path, ROWS), count(path, "SELECT count(*) FROM arrivals")), (5_000, 10));
}

/// Sets the marks back by a day, as if everything had been stored then.
fn a_day_passes(path: &Path) {
    others(path, "UPDATE arrivals SET wall_ns = wall_ns - 86400000000000");
}

/// Makes a storage delete all expired events, which it does after it has opened the database, and before and after each commit.
fn settle(path: &Path, ring: u64) {
    let storage = SqliteStorage::open(path, hour()).expect("it opens");
    for sequence in 0..30 {
        assert_eq!(deliver(&storage, 1, &samples(ring, sequence..sequence + 1)).0, PIPELINE_STORE_OK);
    }
    until_released(storage);
}

#[test]
fn what_is_a_day_old_goes_and_what_is_new_stays() {
    let scratch = Scratch::new();
    let path = scratch.file("aged.db");
    ten_marks(&path);
    a_day_passes(&path);
    settle(&path, 2);
    assert_eq!(count(&path, ROWS), 30);
    assert_eq!(count(&path, "SELECT sum(deleted) FROM runs"), 5_000);
}

#[test]
fn new_rows_live_their_time_where_others_have_emptied_the_table() {
    let scratch = Scratch::new();
    let path = scratch.file("emptied.db");
    ten_marks(&path);
    a_day_passes(&path);
    // The ids start again at 1, below all marks of the day before.
    others(&path, "DELETE FROM events");
    settle(&path, 2);
    assert_eq!(count(&path, "SELECT min(id) FROM events"), 1);
    settle(&path, 3);
    assert_eq!(count(&path, ROWS), 60);
    // They expire later.
    a_day_passes(&path);
    settle(&path, 4);
    assert_eq!(count(&path, ROWS), 30);
}

#[test]
fn new_rows_live_their_time_where_others_have_deleted_the_last_rows() {
    let scratch = Scratch::new();
    let path = scratch.file("tail.db");
    ten_marks(&path);
    a_day_passes(&path);
    others(&path, "DELETE FROM events WHERE id > 700");
    settle(&path, 2);
    settle(&path, 3);
    assert_eq!(count(&path, "SELECT count(*) FROM events WHERE ring_id > 1"), 60);
    assert_eq!(count(&path, "SELECT count(*) FROM events WHERE ring_id = 1"), 0);
}

#[test]
fn new_rows_live_their_time_while_a_storage_runs_and_others_delete() {
    let scratch = Scratch::new();
    let path = scratch.file("running.db");
    ten_marks(&path);
    a_day_passes(&path);
    let storage = SqliteStorage::open(&path, hour()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(2, 0..100)).0, PIPELINE_STORE_OK);
    others(&path, "DELETE FROM events");
    for sequence in 100..200 {
        assert_eq!(deliver(&storage, 1, &samples(2, sequence..sequence + 1)).0, PIPELINE_STORE_OK);
    }
    until_released(storage);
    settle(&path, 3);
    assert_eq!(count(&path, ROWS), 130);
}

/// Once the largest id is used up, SQLite draws ids at random.
#[test]
fn new_rows_live_their_time_where_others_have_used_up_the_ids() {
    let scratch = Scratch::new();
    let path = scratch.file("random.db");
    ten_marks(&path);
    others(
        &path,
        "INSERT INTO events SELECT 9223372036854775807, run, ring_id + 100, sequence, time_ns, wall_ns, kind, \
         correlation_id, node_id, weight, flags, writer_id, attempt, payload FROM events WHERE id = 1",
    );
    a_day_passes(&path);
    for ring in 2..6 {
        settle(&path, ring);
        assert_eq!(
            count(&path, &format!("SELECT count(*) FROM events WHERE ring_id BETWEEN 2 AND {ring}")),
            30 * (ring as i64 - 1)
        );
    }
    // Once ids are in order again, expired rows are deleted.
    others(&path, "DELETE FROM events WHERE id > 1000000");
    settle(&path, 6);
    a_day_passes(&path);
    settle(&path, 7);
    assert_eq!(count(&path, "SELECT count(*) FROM events WHERE ring_id < 7"), 0);
    assert_eq!(count(&path, "SELECT count(*) FROM events WHERE ring_id = 7"), 30);
}

/// A storage without a limit makes a mark once a second, and one with a short age more often. Each must handle the marks of the other.
#[test]
fn rows_of_a_storage_with_coarse_marks_live_their_time_under_one_with_fine_marks() {
    let scratch = Scratch::new();
    let path = scratch.file("grain.db");
    let coarse = SqliteStorage::open(&path, plain()).expect("it opens");
    assert_eq!(deliver(&coarse, 1, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    // The mark is nearly a second old when the next rows come, in the same second.
    others(&path, "UPDATE arrivals SET wall_ns = wall_ns - 900000000");
    let before = std::time::Instant::now();
    assert_eq!(deliver(&coarse, 1, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
    let age = std::time::Duration::from_millis(800);
    let fine = SqliteStorage::open(&path, Options { max_age_ms: 800, ..plain() }).expect("it opens");
    loop {
        let rows = count(&path, "SELECT count(*) FROM events WHERE sequence >= 10");
        if before.elapsed() >= age {
            break; // from here on they may be deleted
        }
        assert_eq!(rows, 10);
    }
    until("they are gone", || count(&path, ROWS) == 0);
    until_released(fine);
    until_released(coarse);
}
