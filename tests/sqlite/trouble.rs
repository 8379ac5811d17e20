//! Trouble while it runs: a lock, a full disk, a damaged, moved or replaced file. Events wait or are given up and counted;
//! nothing crashes, hangs or is lost unseen.

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
    // Past SQLite's limit of 1,000,000,000 bytes; never written, so it takes no memory.
    let huge = 1_000_000_001;
    // SAFETY: a fresh private mapping, unmapped below.
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
    // SAFETY: mapped above; the batch is answered.
    unsafe { libc::munmap(memory, huge) };
    drop(storage);
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
    drop(storage);
    assert_eq!(count(&path, "SELECT min(sequence) FROM events"), 10);
    assert_eq!(
        count(&path, "SELECT count(*) FROM events"),
        10,
        "acknowledged is what is in the file that is there"
    );
}

#[test]
fn a_database_damaged_while_it_runs_is_given_up_and_counted() {
    let scratch = Scratch::new();
    let path = scratch.file("damaged.db");
    // Each batch in a transaction of its own, and a log that is copied back soon: so the file is read and written.
    let storage = SqliteStorage::open(&path, Options { cache_kib: 256, ..plain() }).expect("it opens");
    let mut next = 0;
    for _ in 0..30 {
        assert_eq!(deliver(&storage, 1, &samples(1, next..next + 1_000)), (PIPELINE_STORE_OK, vec![]));
        next += 1_000;
    }
    drop(storage);
    let storage = SqliteStorage::open(&path, Options { cache_kib: 256, ..plain() }).expect("it opens");
    let length = std::fs::metadata(&path).expect("it is there").len() as usize;
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("it opens");
    file.write_all_at(&vec![0xa5; length - 4_096], 4_096).expect("damaged");
    drop(file);
    assert_eq!(deliver(&storage, 1, &samples(1, next..next + 10)), (PIPELINE_STORE_RETRY, vec![]));
    assert_eq!(deliver(&storage, 2, &samples(1, next..next + 10)), (PIPELINE_STORE_REJECT, vec![]));
    // Put away by someone: it goes on in a new one.
    for name in ["damaged.db", "damaged.db-wal", "damaged.db-shm"] {
        let _ = std::fs::remove_file(scratch.file(name));
    }
    until("it recovers", || deliver(&storage, 1, &samples(2, 0..10)).0 == PIPELINE_STORE_OK);
    drop(storage);
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

/// A small file system of the test's own. `None`: it may not be made here.
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
    // Whatever is left is taken by someone else.
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
