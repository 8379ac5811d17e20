//! Failures at run time: a lock, a full disk, a damaged, moved or replaced file. Events wait, or are rejected and counted.
//! Nothing crashes or hangs, and no event is lost without being counted.

use crate::support::*;
use capture_pipeline::event::EventView;
use capture_pipeline::storage::sqlite::{Options, SqliteStorage};
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY};
use rusqlite::Connection;
use std::os::unix::fs::FileExt;

#[test]
fn a_lock_of_another_only_delays() {
    let scratch = Scratch::new();
    let path = scratch.file("busy.db");
    let pipeline = start(patient(), &path, Options { busy_timeout_ms: 5, ..plain() });
    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    for i in 0..1_000 {
        assert_eq!(offer(&pipeline, 1, i, 0, b"payload"), 0);
    }
    until("retries", || pipeline.metrics().retries > 3);
    assert_eq!(pipeline.metrics().ledger.stored, 0);
    other.execute_batch("COMMIT").expect("unlocked");
    let ledger = end_balanced(pipeline);
    assert_eq!((ledger.stored, ledger.discarded), (1_000, 0));
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 1_000);
}

#[test]
fn a_locked_database_is_answered_with_a_retry() {
    let scratch = Scratch::new();
    let path = scratch.file("retry.db");
    let storage = SqliteStorage::open(&path, Options { busy_timeout_ms: 0, ..plain() }).expect("it opens");
    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..10)), (PIPELINE_STORE_RETRY, vec![]));
    assert_eq!(deliver(&storage, 2, &samples(1, 0..10)), (PIPELINE_STORE_RETRY, vec![]));
    other.execute_batch("COMMIT").expect("unlocked");
    assert_eq!(deliver(&storage, 3, &samples(1, 0..10)), (PIPELINE_STORE_OK, vec![]));
}

#[test]
fn an_event_too_big_for_sqlite_is_rejected_alone() {
    let scratch = Scratch::new();
    let path = scratch.file("big.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    // More than SQLite's limit of 1,000,000,000 bytes. It is never written, so it takes no memory.
    let huge = 1_000_000_001;
    // SAFETY: the mapping is new, and unmapped below.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            huge,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    assert_ne!(memory, libc::MAP_FAILED);
    let view = |sequence, data, len| EventView {
        ring_id: 1,
        sequence,
        timestamp_ns: 1,
        correlation_id: 0,
        node_id: 0,
        kind: 1,
        flags: 0,
        weight: 1.0,
        data,
        len,
    };
    let small = b"small".as_ptr().cast();
    let views = [view(0, small, 5), view(1, memory.cast_const(), huge), view(2, small, 5)];
    assert_eq!(deliver_views(&storage, 1, &views), (PIPELINE_STORE_OK, vec![1]));
    // SAFETY: it was mapped above, and the batch is answered.
    unsafe { libc::munmap(memory, huge) };
    until_released(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 2);
    assert_eq!(count(&path, "SELECT sum(conflicts) FROM runs"), 0);
}

#[test]
fn a_file_that_is_deleted_is_made_anew() {
    let scratch = Scratch::new();
    let path = scratch.file("deleted.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..10)), (PIPELINE_STORE_OK, vec![]));
    std::fs::remove_file(&path).expect("deleted");
    assert_eq!(deliver(&storage, 1, &samples(1, 10..20)), (PIPELINE_STORE_RETRY, vec![]));
    assert_eq!(deliver(&storage, 2, &samples(1, 10..20)), (PIPELINE_STORE_OK, vec![]));
    until_released(storage);
    assert_eq!(count(&path, "SELECT min(sequence) FROM events"), 10);
    assert_eq!(
        count(&path, "SELECT count(*) FROM events"),
        10,
        "acknowledged is what is in the file that is there"
    );
}

#[test]
fn a_file_that_is_moved_after_a_retry_of_another_cause_loses_nothing() {
    let scratch = Scratch::new();
    let path = scratch.file("moved.db");
    let storage = SqliteStorage::open(&path, Options { busy_timeout_ms: 0, ..plain() }).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..10)), (PIPELINE_STORE_OK, vec![]));
    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert_eq!(deliver(&storage, 1, &samples(1, 10..20)), (PIPELINE_STORE_RETRY, vec![]), "locked");
    other.execute_batch("COMMIT").expect("unlocked");
    drop(other);
    for (attempt, name) in [(2, "moved.1"), (3, "moved.2"), (4, "moved.3")] {
        std::fs::rename(&path, scratch.file(name)).expect("moved");
        assert_eq!(deliver(&storage, attempt, &samples(1, 10..20)), (PIPELINE_STORE_RETRY, vec![]), "{name}");
        // The next batch, which is a new one, opens the database again.
        assert_eq!(deliver(&storage, 1, &samples(2, 0..1)), (PIPELINE_STORE_OK, vec![]));
    }
    assert_eq!(deliver(&storage, 5, &samples(1, 10..20)), (PIPELINE_STORE_OK, vec![]));
    drop(storage);
    assert_eq!(
        count(&scratch.file("moved.1"), "SELECT count(*) FROM events"),
        10,
        "with what was in its log"
    );
    assert_eq!(count(&scratch.file("moved.2"), "SELECT count(*) FROM events"), 1);
    assert_eq!(count(&scratch.file("moved.3"), "SELECT count(*) FROM events"), 1);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 11);
}

/// A reader of the file that was moved keeps its log from being copied back. The storage waits for it, because acknowledged events are in that log.
#[test]
fn a_file_that_is_moved_under_a_reader_is_kept_until_its_log_is_copied_back() {
    let scratch = Scratch::new();
    let path = scratch.file("read.db");
    let storage = SqliteStorage::open(&path, Options { busy_timeout_ms: 1, ..plain() }).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..10)), (PIPELINE_STORE_OK, vec![]));
    let reader = Connection::open(&path).expect("it opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").expect("it reads");
    assert_eq!(deliver(&storage, 1, &samples(1, 10..20)), (PIPELINE_STORE_OK, vec![]));
    std::fs::rename(&path, scratch.file("read.1")).expect("moved");
    for attempt in 1..6 {
        assert_eq!(deliver(&storage, attempt, &samples(1, 20..30)), (PIPELINE_STORE_RETRY, vec![]));
    }
    drop(reader);
    // The next attempt closes the connection, unless the committing thread has looked at the file before.
    until("the database is made anew", || {
        deliver(&storage, 6, &samples(1, 20..30)) == (PIPELINE_STORE_OK, vec![])
    });
    drop(storage);
    assert_eq!(count(&scratch.file("read.1"), "SELECT count(*) FROM events"), 20);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 10);
}

#[test]
fn a_database_damaged_while_it_runs_is_given_up_and_counted() {
    let scratch = Scratch::new();
    let path = scratch.file("damaged.db");
    // Each batch has a transaction of its own and the log is copied back soon, so that the file is read and written.
    let storage = SqliteStorage::open(&path, Options { cache_kib: 256, ..plain() }).expect("it opens");
    let mut next = 0;
    for _ in 0..30 {
        assert_eq!(deliver(&storage, 1, &samples(1, next..next + 1_000)), (PIPELINE_STORE_OK, vec![]));
        next += 1_000;
    }
    until_released(storage);
    let storage = SqliteStorage::open(&path, Options { cache_kib: 256, ..plain() }).expect("it opens");
    let length = std::fs::metadata(&path).expect("it is there").len() as usize;
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("it opens");
    file.write_all_at(&vec![0xa5; length - 4_096], 4_096).expect("damaged");
    drop(file);
    assert_eq!(deliver(&storage, 1, &samples(1, next..next + 10)), (PIPELINE_STORE_RETRY, vec![]));
    assert_eq!(deliver(&storage, 2, &samples(1, next..next + 10)), (PIPELINE_STORE_REJECT, vec![]));
    // The file is moved away, so the storage makes a new one.
    for name in ["damaged.db", "damaged.db-wal", "damaged.db-shm"] {
        let _ = std::fs::remove_file(scratch.file(name));
    }
    until("it recovers", || deliver(&storage, 1, &samples(2, 0..10)).0 == PIPELINE_STORE_OK);
    until_released(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 10);
}

#[test]
fn a_pipeline_into_a_damaged_database_balances() {
    let scratch = Scratch::new();
    let path = scratch.file("balance.db");
    let pipeline = start(patient(), &path, Options { cache_kib: 256, ..plain() });
    for i in 0..30_000 {
        assert_eq!(offer(&pipeline, 1, i, 0, b"payload"), 0);
    }
    pipeline.flush(Some(PATIENCE)).expect("it flushes");
    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("DROP VIEW events_view; DROP TABLE events").expect("dropped");
    for i in 0..30_000 {
        assert_eq!(offer(&pipeline, 1, i, 0, b"payload"), 0);
    }
    let _ = pipeline.close(Some(PATIENCE));
    let ledger = pipeline.metrics().ledger;
    assert_eq!((ledger.captured, ledger.stored, ledger.discarded), (60_000, 30_000, 30_000));
    until("destroyed", || pipeline.destroy().is_ok());
}

/// A small file system for the test. `None`: there is no permission to make one.
struct SmallDisk(Scratch);

impl SmallDisk {
    fn new(bytes: u32) -> Option<Self> {
        let scratch = Scratch::new();
        let target = std::ffi::CString::new(scratch.path().to_str()?).ok()?;
        let size = std::ffi::CString::new(format!("size={bytes}")).ok()?;
        // SAFETY: NUL-terminated strings.
        let failed = unsafe {
            libc::mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, size.as_ptr().cast())
        };
        (failed == 0).then_some(Self(scratch))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Some(target) = self.0.path().to_str().and_then(|p| std::ffi::CString::new(p).ok()) {
            // SAFETY: NUL-terminated.
            unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

#[test]
fn a_full_disk_only_delays_until_there_is_room() {
    let Some(disk) = SmallDisk::new(8 << 20) else {
        println!("not run: no file system may be mounted here");
        return;
    };
    let ballast = disk.0.file("ballast");
    let path = disk.0.file("full.db");
    let pipeline = start(patient(), &path, plain());
    assert_eq!(offer(&pipeline, 1, 0, 0, b"first"), 0);
    pipeline.flush(Some(PATIENCE)).expect("it flushes");
    // Another program takes the rest.
    let mut taken = std::fs::File::create(&ballast).expect("made");
    while std::io::Write::write(&mut taken, &[1; 4_096]).is_ok_and(|n| n > 0) {}
    for i in 1..5_000 {
        assert_eq!(offer(&pipeline, 1, i, 0, &[7; 60]), 0);
    }
    until("retries", || pipeline.metrics().retries > 3);
    assert!(pipeline.metrics().ledger.stored < 5_000);
    std::fs::remove_file(&ballast).expect("removed");
    drop(taken);
    let ledger = end_balanced(pipeline);
    assert_eq!((ledger.stored, ledger.discarded), (5_000, 0));
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 5_000);
    assert_eq!(value::<String>(&path, "PRAGMA integrity_check"), "ok");
}

#[test]
fn a_disk_too_full_for_a_database_is_an_error_at_the_start() {
    let Some(disk) = SmallDisk::new(64 << 10) else {
        println!("not run: no file system may be mounted here");
        return;
    };
    let mut taken = std::fs::File::create(disk.0.file("ballast")).expect("made");
    while std::io::Write::write(&mut taken, &[1; 4_096]).is_ok_and(|n| n > 0) {}
    let error = SqliteStorage::open(&disk.0.file("none.db"), plain()).err().expect("refused");
    assert_eq!(error.status, capture_pipeline::status::PIPELINE_ERR_STORAGE);
    assert!(error.detail.contains("none.db"), "{}", error.detail);
}
