//! Making space: nothing is deleted in vain, and no more than a new batch needs.

use crate::support::*;
use capture_pipeline::storage::sqlite::{MAX_BYTES, MIN_MAX_BYTES, Options, SqliteStorage};
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY};
use rusqlite::Connection;
use std::path::Path;

const ROWS: &str = "SELECT count(*) FROM events";
const DELETED: &str = "SELECT sum(deleted) FROM runs";

/// One event with a payload of `bytes` bytes.
fn large(sequence: u64, bytes: usize) -> Vec<Sample> {
    vec![Sample { ring: 7, sequence, kind: 1, payload: vec![sequence as u8; bytes] }]
}

fn many(sequences: std::ops::Range<u64>, bytes: usize) -> Vec<Sample> {
    sequences.flat_map(|sequence| large(sequence, bytes)).collect()
}

fn bounded() -> Options {
    Options { max_bytes: MIN_MAX_BYTES, ..plain() }
}

/// Stores rows with 100 bytes of payload each.
fn fill(storage: &SqliteStorage, rows: u64) {
    for from in (0..rows).step_by(500) {
        assert_eq!(deliver(storage, 1, &many(from..(from + 500).min(rows), 100)).0, PIPELINE_STORE_OK);
    }
}

#[test]
fn an_event_that_can_never_fit_deletes_nothing() {
    let scratch = Scratch::new();
    for (name, options) in [("plain", bounded()), ("indexed", Options { indexes: true, ..bounded() })] {
        let path = scratch.file(name);
        let storage = SqliteStorage::open(&path, options).expect("it opens");
        fill(&storage, 5_000);
        for attempt in 1..3 {
            assert_eq!(
                deliver(&storage, attempt, &large(1 << 40, 3_600_000)),
                (PIPELINE_STORE_REJECT, vec![])
            );
        }
        assert_eq!((count(&path, ROWS), count(&path, DELETED)), (5_000, 0));
        assert_eq!(deliver(&storage, 1, &large(5_000, 100)).0, PIPELINE_STORE_OK);
        assert_eq!((count(&path, ROWS), count(&path, DELETED)), (5_001, 0));
    }
}

#[test]
fn a_low_disk_deletes_nothing_where_all_rows_would_not_do() {
    let scratch = Scratch::new();
    let path = scratch.file("low.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    fill(&storage, 100);
    until_released(storage);
    // No disk has this much free space.
    let low = Options { min_free_disk: MAX_BYTES, ..plain() };
    let storage = SqliteStorage::open(&path, low).expect("it opens");
    for (attempt, batch) in [large(1 << 40, 1_000_000), many(1_000..1_500, 100)].iter().enumerate() {
        assert_eq!(deliver(&storage, attempt as u32 + 1, batch), (PIPELINE_STORE_RETRY, vec![]));
        assert_eq!((count(&path, ROWS), count(&path, DELETED)), (100, 0));
    }
}

#[test]
fn what_fits_into_an_empty_database_fits_into_a_full_one() {
    let scratch = Scratch::new();
    // The size of the largest event that fits into an empty database, up to a page.
    let (mut fits, mut does_not) = (1_000_000, 4_000_000);
    while does_not - fits > 4_096 {
        let path = scratch.file("empty.db");
        for name in ["empty.db", "empty.db-wal", "empty.db-shm"] {
            let _ = std::fs::remove_file(scratch.file(name));
        }
        let storage = SqliteStorage::open(&path, bounded()).expect("it opens");
        let middle = (fits + does_not) / 2;
        match deliver(&storage, 1, &large(0, middle)).0 {
            PIPELINE_STORE_OK => fits = middle,
            _ => does_not = middle,
        }
        until_released(storage);
    }
    // The database is filled by rows of that size, and by rows that are smaller than the new event.
    for rows in [40_000, 5_000] {
        let path = scratch.file(&format!("full-{rows}.db"));
        let storage = SqliteStorage::open(&path, bounded()).expect("it opens");
        fill(&storage, rows);
        assert_eq!(deliver(&storage, 1, &large(1 << 40, fits)), (PIPELINE_STORE_OK, vec![]), "{fits} bytes");
        assert_eq!(count(&path, "SELECT count(*) FROM events WHERE sequence = 1 << 40"), 1);
        assert_eq!(count(&path, ROWS) + count(&path, DELETED), rows as i64 + 1);
        let before = (count(&path, ROWS), count(&path, DELETED));
        assert_eq!(
            deliver(&storage, 1, &large((1 << 40) + 1, does_not + 4_096)),
            (PIPELINE_STORE_REJECT, vec![])
        );
        assert_eq!((count(&path, ROWS), count(&path, DELETED)), before);
        assert_eq!(value::<String>(&path, "PRAGMA integrity_check"), "ok");
    }
}

#[test]
fn no_more_is_deleted_than_makes_room() {
    let scratch = Scratch::new();
    let path = scratch.file("large.db");
    let storage =
        SqliteStorage::open(&path, Options { max_bytes: 4 * MIN_MAX_BYTES, ..plain() }).expect("it opens");
    for i in 0..60 {
        assert_eq!(deliver(&storage, 1, &large(i, 1_000_000)).0, PIPELINE_STORE_OK);
        let rows = count(&path, ROWS);
        assert_eq!(rows + count(&path, DELETED), i as i64 + 1);
        assert!(rows >= 10 || count(&path, DELETED) == 0, "{rows} rows are left of {}", i + 1);
    }
    assert!(bytes_on_disk(&path) <= 4 * MIN_MAX_BYTES + 1_100_000);
}

#[test]
fn rows_that_fill_their_pages_badly_do_not_jam_a_bounded_database() {
    let scratch = Scratch::new();
    for bytes in [1_950, 2_100, 3_000, 4_100] {
        let path = scratch.file(&format!("pages-{bytes}.db"));
        let storage = SqliteStorage::open(&path, bounded()).expect("it opens");
        for part in 0..40u64 {
            let batch = many(part * 100..(part + 1) * 100, bytes);
            assert_eq!(
                deliver(&storage, 1, &batch),
                (PIPELINE_STORE_OK, vec![]),
                "{bytes} bytes, part {part}"
            );
        }
        assert_eq!(count(&path, ROWS) + count(&path, DELETED), 4_000);
        assert!(bytes_on_disk(&path) <= MIN_MAX_BYTES);
    }
}

fn others(path: &Path, sql: &str) {
    let db = Connection::open(path).expect("it opens");
    db.busy_timeout(PATIENCE).expect("set");
    db.execute_batch(sql).expect(sql);
}

/// The space for the indexes depends on the number of rows, and not on their ids.
#[test]
fn rows_of_others_with_ids_far_away_delete_nothing() {
    let scratch = Scratch::new();
    let path = scratch.file("far.db");
    let options = Options { max_bytes: MIN_MAX_BYTES, indexes: true, ..plain() };
    let storage = SqliteStorage::open(&path, options).expect("it opens");
    fill(&storage, 1_000);
    for id in ["-9223372036854775808", "9223372036854775807"] {
        others(
            &path,
            &format!(
                "INSERT INTO events SELECT {id}, run, ring_id + 1, sequence + {id}, time_ns, wall_ns, kind, \
              correlation_id, node_id, weight, flags, writer_id, attempt, payload FROM events WHERE id = 1"
            ),
        );
    }
    for part in 2..10 {
        assert_eq!(deliver(&storage, 1, &many(part * 500..(part + 1) * 500, 100)).0, PIPELINE_STORE_OK);
    }
    assert_eq!((count(&path, ROWS), count(&path, DELETED)), (5_002, 0));
    // When the database is full, the oldest rows are deleted, including those at both ends of the range of ids.
    for part in 10..100 {
        assert_eq!(deliver(&storage, 1, &many(part * 500..(part + 1) * 500, 100)).0, PIPELINE_STORE_OK);
    }
    assert_eq!(count(&path, ROWS) + count(&path, DELETED), 50_002);
    assert!(count(&path, ROWS) > 5_000);
    assert!(bytes_on_disk(&path) <= MIN_MAX_BYTES);
}

/// Other programs' rows in the database take space that no deletion of events frees.
#[test]
fn rows_of_others_that_take_the_room_cost_no_event() {
    let scratch = Scratch::new();
    let path = scratch.file("others.db");
    let storage = SqliteStorage::open(&path, bounded()).expect("it opens");
    fill(&storage, 2_000);
    others(&path, "CREATE TABLE notes(a); INSERT INTO notes VALUES(zeroblob(2600000))");
    let before = (count(&path, ROWS), count(&path, DELETED));
    assert_eq!(before, (2_000, 0));
    // Without the notes it would fit if the events were deleted.
    for bytes in [850_000, 900_000] {
        assert_eq!(deliver(&storage, 1, &large(1 << 40, bytes)), (PIPELINE_STORE_REJECT, vec![]), "{bytes}");
        assert_eq!((count(&path, ROWS), count(&path, DELETED)), before);
    }
    assert_eq!(deliver(&storage, 1, &large(1 << 40, 1_000)), (PIPELINE_STORE_OK, vec![]));
    assert_eq!(count(&path, ROWS) + count(&path, DELETED), 2_001);
}
