//! The life cycle of a storage: indexes, flush, abandon, fork, and a killed process.

use crate::support::*;
use capture_pipeline::config::Config;
use capture_pipeline::status::{PIPELINE_ERR_FORKED, PIPELINE_ERR_TIMEOUT};
use capture_pipeline::storage::sqlite::{Options, SqliteStorage, create_indexes};
use capture_pipeline::storage::{PIPELINE_STORE_OK, Storage};
use rusqlite::Connection;
use std::io::BufRead;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const INDEXES: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name LIKE 'events_by_%'";

#[test]
fn indexes_are_made_at_the_end_and_on_demand() {
    let scratch = Scratch::new();
    let path = scratch.file("indexes.db");
    let storage = SqliteStorage::open(&path, Options::default()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..2_000)).0, PIPELINE_STORE_OK);
    assert_eq!(count(&path, INDEXES), 0, "not while it is written");
    until_released(storage);
    assert_eq!(count(&path, INDEXES), 4);
    let plan = |condition: &str| {
        let db = Connection::open(&path).expect("it opens");
        db.query_row(&format!("EXPLAIN QUERY PLAN SELECT * FROM events WHERE {condition}"), [], |r| {
            r.get::<_, String>(3)
        })
        .expect("a plan")
    };
    for condition in ["time_ns BETWEEN 5 AND 9", "wall_ns > 5", "correlation_id = 7", "node_id = 7"] {
        assert!(plan(condition).contains("USING INDEX events_by_"), "{condition}: {}", plan(condition));
    }
    // A storage that writes again removes the indexes, and makes none if the options say so.
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    assert_eq!(count(&path, INDEXES), 0);
    assert_eq!(deliver(&storage, 1, &samples(1, 2_000..3_000)).0, PIPELINE_STORE_OK);
    until_released(storage);
    assert_eq!(count(&path, INDEXES), 0);
    create_indexes(&path).expect("they are made");
    create_indexes(&path).expect("they are there");
    assert_eq!(count(&path, INDEXES), 4);
    assert_eq!(count(&path, "SELECT count(*) FROM events WHERE node_id = 3"), 429);
}

#[test]
fn indexes_on_demand_do_not_disturb_a_storage_that_writes() {
    let scratch = Scratch::new();
    let path = scratch.file("meanwhile.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..2_000)).0, PIPELINE_STORE_OK);
    create_indexes(&path).expect("they are made");
    assert_eq!(deliver(&storage, 1, &samples(1, 2_000..4_000)), (PIPELINE_STORE_OK, vec![]));
    until_released(storage);
    assert_eq!(count(&path, INDEXES), 4);
    assert_eq!(value::<String>(&path, "PRAGMA integrity_check"), "ok");
}

#[test]
fn flush_waits_for_what_was_handed_over_and_keeps_its_time() {
    let scratch = Scratch::new();
    let path = scratch.file("flush.db");
    let storage =
        SqliteStorage::open(&path, Options { busy_timeout_ms: 60_000, ..plain() }).expect("it opens");
    assert_eq!(storage.flush(0), PIPELINE_ERR_TIMEOUT, "0 only asks, and nobody can have answered yet");
    assert_eq!(storage.flush(60_000), 0);
    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    std::thread::scope(|scope| {
        let delivery = scope.spawn(|| deliver(&storage, 1, &samples(1, 0..10)));
        // The committing thread waits for the lock, so a flush of the batch ends with its timeout.
        until("a flush that fails", || storage.flush(20) == PIPELINE_ERR_TIMEOUT);
        other.execute_batch("COMMIT").expect("unlocked");
        assert_eq!(delivery.join().expect("answered"), (PIPELINE_STORE_OK, vec![]));
    });
    assert_eq!(storage.flush(-1), 0);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 10);
    until_released(storage);
}

#[test]
fn every_synchronous_mode_stores() {
    use capture_pipeline::storage::sqlite::Synchronous;
    let scratch = Scratch::new();
    for (name, synchronous) in
        [("off", Synchronous::Off), ("normal", Synchronous::Normal), ("full", Synchronous::Full)]
    {
        let path = scratch.file(name);
        let pipeline = start(patient(), &path, Options { synchronous, ..plain() });
        for i in 0..2_000 {
            assert_eq!(offer(&pipeline, 1, i, 0, b"payload"), 0);
        }
        pipeline.flush(Some(PATIENCE)).expect("it flushes");
        assert_eq!(count(&path, "SELECT count(*) FROM events"), 2_000);
        end(pipeline);
    }
}

#[test]
fn small_limits_store_too() {
    let scratch = Scratch::new();
    let path = scratch.file("small.db");
    let config = Config {
        batch_size: 1,
        max_in_flight: 1,
        ordering: capture_pipeline::config::Ordering::PerProducer,
        ..patient()
    };
    let options = Options { commit_events: 1, commit_interval_us: 0, cache_kib: 256, ..plain() };
    let pipeline = start(config, &path, options);
    for i in 0..3_000u64 {
        assert_eq!(offer(&pipeline, 1, i, 0, &i.to_le_bytes()), 0);
    }
    assert_eq!(end_balanced(pipeline).stored, 3_000);
    // One batch at a time, so that the rows are in the order of capture.
    assert_eq!(
        count(&path, "SELECT count(*) FROM events WHERE id = sequence + 1 AND id = correlation_id + 1"),
        3_000
    );
}

#[test]
fn an_abandoned_pipeline_ends_its_storage() {
    let scratch = Scratch::new();
    for round in 0..20 {
        let path = scratch.file(&format!("abandoned-{round}.db"));
        let pipeline = start(patient(), &path, Options::default());
        for i in 0..round * 50 {
            assert_eq!(offer(&pipeline, 1, i, 0, b"payload"), 0);
        }
        // The last owner drops the storage: this thread, a writer, or the committing thread by a completion.
        pipeline.abandon();
        until("the storage has ended", || {
            count(&path, INDEXES) == 4 && !scratch.file(&format!("abandoned-{round}.db-wal")).exists()
        });
    }
}

#[test]
fn a_storage_made_before_a_fork_is_not_used_after_it() {
    let scratch = Scratch::new();
    let path = scratch.file("inherited.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    // SAFETY: the child calls the storage, which only reads a word, and ends.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let right = storage.flush(1_000) == PIPELINE_ERR_FORKED;
            drop(storage);
            libc::_exit(i32::from(!right));
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    }
    assert_eq!(deliver(&storage, 1, &samples(1, 0..10)), (PIPELINE_STORE_OK, vec![]));
    until_released(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 10);
}

/// Ends the capturing thread even if the test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The child's first use of SQLite must not wait for a lock that the parent's committing thread held at the fork.
#[test]
fn children_forked_under_load_have_their_own_databases() {
    let scratch = Scratch::new();
    let path = scratch.file("parent.db");
    let pipeline = start(patient(), &path, plain());
    let done = AtomicBool::new(false);
    let captured = std::thread::scope(|scope| {
        let _end = OnDrop(&done);
        let capturing = scope.spawn(|| {
            let mut captured = 0u64;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(offer(&pipeline, 1, captured, 0, b"the parent's"), 0);
                captured += 1;
            }
            captured
        });
        for round in 0..40 {
            let own = scratch.file(&format!("child-{round}.db"));
            // SAFETY: the child uses the library and libc's own fork-safe malloc, and ends without unwinding.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::alarm(30); // a child that hangs is killed, and the test fails
                    let pipeline = start(patient(), &own, plain());
                    for i in 0..100 {
                        offer(&pipeline, 1, i, 0, b"the child's");
                    }
                    let closed = pipeline.close(Some(PATIENCE)).is_ok();
                    let stored = pipeline.metrics().ledger.stored;
                    libc::_exit(i32::from(!(closed && stored == 100)));
                }
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                assert!(
                    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
                    "round {round}: {status:#x}"
                );
            }
            assert_eq!(count(&own, "SELECT count(*) FROM events"), 100);
        }
        done.store(true, Ordering::Relaxed);
        capturing.join().expect("it captures")
    });
    assert_eq!(end_balanced(pipeline).stored, captured);
    assert_eq!(
        count(&path, "SELECT count(*) FROM events"),
        captured as i64,
        "the parent's, once, by the parent"
    );
    assert_eq!(value::<String>(&path, "PRAGMA integrity_check"), "ok");
}

/// Not a test, but the process that the next test kills.
#[test]
fn process_that_captures_until_it_is_killed() {
    let Ok(path) = std::env::var("SQLITE_TEST_VICTIM") else { return };
    let pipeline = start(patient(), path.as_ref(), plain());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut reported = 0;
            loop {
                let mut stored = reported;
                until("more is stored", || {
                    stored = pipeline.metrics().ledger.stored;
                    stored > reported
                });
                println!("acknowledged {stored}");
                reported = stored;
            }
        });
        for i in 0u64.. {
            offer(&pipeline, 1, i, 0, &i.to_le_bytes());
        }
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let scratch = Scratch::new();
    let me = std::env::current_exe().expect("this program");
    for round in 0..4 {
        let path = scratch.file(&format!("killed-{round}.db"));
        let mut child = Command::new(&me)
            .args(["--exact", "lifecycle::process_that_captures_until_it_is_killed", "--nocapture"])
            .env("SQLITE_TEST_VICTIM", &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut acknowledged = 0;
        let lines = std::io::BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut wanted = 20 + 10 * round;
        for line in lines {
            let line = line.expect("text");
            let Some(n) = line.rsplit_once("acknowledged ").and_then(|(_, n)| n.parse::<i64>().ok()) else {
                continue;
            };
            acknowledged = n;
            if n > 0 {
                wanted -= 1;
            }
            if wanted == 0 {
                break;
            }
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        assert!(acknowledged > 0);
        assert_eq!(value::<String>(&path, "PRAGMA integrity_check"), "ok");
        let rows = count(&path, "SELECT count(*) FROM events");
        assert!(rows >= acknowledged, "{rows} rows, {acknowledged} acknowledged");
        // The events of the one ring are stored without a gap.
        assert_eq!(count(&path, "SELECT max(sequence) + 1 FROM events"), rows);
        // The database can be used again.
        let storage = SqliteStorage::open(&path, Options::default()).expect("it opens");
        assert_eq!(deliver(&storage, 1, &samples(1, 0..10)), (PIPELINE_STORE_OK, vec![]));
        until_released(storage);
        assert_eq!(count(&path, "SELECT count(*) FROM runs"), 2);
    }
}
