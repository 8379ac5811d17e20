//! The contents of the database: every event once, with all its fields.

use crate::support::*;
use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::capture::Offer;
use capture_pipeline::event::{ClockFacts, EventView, PIPELINE_EVENT_OWN_TIME};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::storage::sqlite::{APPLICATION_ID, SqliteStorage, VERSION};
use capture_pipeline::storage::{Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_RETRY, Storage};
use rusqlite::Connection;
use std::collections::HashSet;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

const THREADS: u64 = 4;
const EACH: u64 = 25_000;

fn capture_from_threads(pipeline: &Pipeline) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for i in 0..EACH {
                    let payload = [thread.to_le_bytes(), i.to_le_bytes()].concat();
                    let size = payload.len().min(8 + (i % 9) as usize);
                    assert_eq!(offer(pipeline, 1 + thread as u32, !i, i << 40, &payload[..size]), 0);
                }
            });
        }
    });
}

#[test]
fn every_event_is_a_row_with_everything_that_was_offered() {
    let scratch = Scratch::new();
    let path = scratch.file("events.db");
    let pipeline = start(patient(), &path, plain());
    pipeline.kind_name(2, b"second kind").expect("a name");
    capture_from_threads(&pipeline);
    let ledger = end_balanced(pipeline);
    assert_eq!(ledger.stored, THREADS * EACH);

    let db = Connection::open(&path).expect("it opens");
    let mut statement = db
        .prepare(
            "SELECT run, ring_id, sequence, kind, correlation_id, node_id, payload, weight, attempt, wall_ns - time_ns, \
             time_ns FROM events ORDER BY ring_id, sequence",
        )
        .expect("the table is there");
    let mut identities = HashSet::new();
    let mut next = [0u64; THREADS as usize];
    let mut before = (-1, 0);
    let mut rows = statement.query([]).expect("rows");
    while let Some(row) = rows.next().expect("a row") {
        let ring: i64 = row.get(1).expect("ring_id");
        let sequence: i64 = row.get(2).expect("sequence");
        assert!(identities.insert((row.get::<_, i64>(0).expect("run"), ring, sequence)));
        let kind: u32 = row.get(3).expect("kind");
        let thread = u64::from(kind - 1);
        let i = next[thread as usize];
        next[thread as usize] += 1;
        assert_eq!(row.get::<_, i64>(4).expect("correlation_id") as u64, !i);
        assert_eq!(row.get::<_, i64>(5).expect("node_id") as u64, i << 40);
        let payload: Vec<u8> = row.get(6).expect("payload");
        let whole = [thread.to_le_bytes(), i.to_le_bytes()].concat();
        assert_eq!(payload, whole[..whole.len().min(8 + (i % 9) as usize)]);
        assert_eq!(row.get::<_, f64>(7).expect("weight"), 1.0);
        assert_eq!(row.get::<_, i64>(8).expect("attempt"), 1);
        assert!(
            row.get::<_, i64>(9).expect("offset") > 1_600_000_000_000_000_000,
            "wall time is this century's"
        );
        let time: i64 = row.get(10).expect("time_ns");
        assert!(before.0 != ring || before.1 <= time, "time does not run backwards in a ring");
        before = (ring, time);
    }
    assert_eq!(next, [EACH; THREADS as usize]);
    drop(rows);

    assert_eq!(count(&path, "SELECT count(*) FROM runs"), 1);
    assert_eq!(count(&path, &format!("SELECT pid = {} FROM runs", std::process::id())), 1);
    assert_eq!(value::<String>(&path, "SELECT name FROM kinds WHERE kind = 2"), "second kind");
    // There is a thread for every ring that has events.
    assert_eq!(
        count(
            &path,
            "SELECT count(DISTINCT ring_id) FROM events JOIN threads USING (run, ring_id) WHERE tid > 0"
        ),
        THREADS as i64
    );
    // There are facts about the clock from the start, and again when the rate of its counter is known.
    assert!((1..=2).contains(&count(&path, "SELECT count(*) FROM clocks JOIN runs ON runs.id = run")));
    assert_eq!(
        count(
            &path,
            "SELECT count(*) FROM clocks c JOIN runs r ON r.id = c.run WHERE c.boot_id <> r.boot_id OR c.pid <> r.pid \
             OR c.wall_ns - c.time_ns NOT BETWEEN r.first_wall_ns - r.first_time_ns - 1000000000 \
             AND r.first_wall_ns - r.first_time_ns + 1000000000"
        ),
        0
    );
    assert_eq!(count(&path, "PRAGMA application_id"), i64::from(APPLICATION_ID));
    assert_eq!(count(&path, "PRAGMA user_version"), i64::from(VERSION));
    assert_eq!(value::<String>(&path, "PRAGMA integrity_check"), "ok");
}

#[test]
fn the_view_shows_unsigned_values_names_and_wall_time() {
    let scratch = Scratch::new();
    let path = scratch.file("view.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    let event = |ring_id, flags, timestamp_ns, payload: &[u8]| EventView {
        ring_id,
        sequence: u64::MAX,
        timestamp_ns,
        correlation_id: 1 << 63,
        node_id: 42,
        kind: 5,
        flags,
        weight: 2.5,
        data: payload.as_ptr().cast(),
        len: payload.len(),
    };
    let named = |kind, node_id, payload: &[u8]| EventView {
        kind,
        node_id,
        correlation_id: 77,
        ..event(0, 0, 0, payload)
    };
    let facts = ClockFacts {
        struct_size: ClockFacts::SIZE as u32,
        clock: 2,
        monotonic_ns: 1_000,
        realtime_ns: 1_700_000_000_000_001_000,
        ticks: 3_000,
        ticks_hz: u64::MAX,
        boot_id: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes(),
        pid: 4711,
        reserved: 0,
    }
    .bytes();
    let meta = [
        named(capture_pipeline::event::PIPELINE_KIND_KIND_NAME, 5, b"alloc"),
        named(capture_pipeline::event::PIPELINE_KIND_THREAD, 3, b"worker"),
        named(capture_pipeline::event::PIPELINE_KIND_CLOCK, 0, &facts),
        named(capture_pipeline::event::PIPELINE_KIND_CLOCK, 0, &facts[1..]),
        named(0xFFFF_FFF0, 3, b"of a later version"),
    ];
    assert_eq!(deliver_views(&storage, 1, &meta), (PIPELINE_STORE_OK, vec![]));
    let events = [event(3, 0, 1_500_000_000, b""), event(4, PIPELINE_EVENT_OWN_TIME, u64::MAX, b"x")];
    assert_eq!(deliver_views(&storage, 7, &events), (PIPELINE_STORE_OK, vec![]));
    until_released(storage);
    let line = |ring: u32| {
        value::<String>(
            &path,
            &format!(
                "SELECT generation || '|' || sequence || '|' || wall_time || '|' || time_ns || '|' || kind || '|' || \
                 kind_name || '|' || correlation_id || '|' || node_id || '|' || weight || '|' || \
                 ifnull(tid, '-') || '|' || ifnull(thread_name, '-') || '|' || writer_id || '|' || attempt || '|' || \
                 payload_bytes FROM events_view WHERE ring_id = {ring}"
            ),
        )
    };
    assert_eq!(
        line(3),
        "fedcba9876543210|18446744073709551615|2023-11-14T22:13:21.500000000Z|1500000000|5|alloc|9223372036854775808|42|2.5|77|\
         worker|9|7|0"
    );
    // An event's own time says nothing about wall time, which is that of the claim.
    assert_eq!(
        line(4),
        "fedcba9876543210|18446744073709551615|2023-11-14T22:13:20.000005000Z|18446744073709551615|5|alloc|9223372036854775808|\
         42|2.5|-|-|9|7|1"
    );
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 2, "the library's own events are no rows");
    assert_eq!(
        value::<String>(
            &path,
            "SELECT group_concat(time_ns || '|' || wall_ns || '|' || clock || '|' || ticks || '|' || ticks_hz || '|' || \
             c.boot_id || '|' || c.pid) FROM clocks c JOIN runs ON runs.id = run"
        ),
        "1000|1700000000000001000|2|3000|-1|01234567-89ab-cdef-0123-456789abcdef|4711",
        "clock facts that are cut short are not kept"
    );
}

#[test]
fn a_batch_delivered_again_is_stored_once() {
    let scratch = Scratch::new();
    let path = scratch.file("again.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    let batch = [samples(1, 0..300), samples(2, 0..200)].concat();
    for attempt in 1..4 {
        assert_eq!(deliver(&storage, attempt, &batch), (PIPELINE_STORE_OK, vec![]));
    }
    // The batches overlap: some events are new, others are stored.
    let longer = [samples(1, 250..400), samples(2, 150..180)].concat();
    assert_eq!(deliver(&storage, 1, &longer), (PIPELINE_STORE_OK, vec![]));
    until_released(storage);
    // The same by a process that is started later.
    let storage = SqliteStorage::open(&path, plain()).expect("it opens again");
    assert_eq!(deliver(&storage, 1, &batch), (PIPELINE_STORE_OK, vec![]));
    until_released(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 600);
    assert_eq!(
        count(&path, "SELECT count(*) FROM (SELECT DISTINCT run, ring_id, sequence FROM events)"),
        600
    );
    assert_eq!(count(&path, "SELECT count(*) FROM runs"), 1);
    assert_eq!(count(&path, "SELECT conflicts FROM runs"), 0);
}

#[test]
fn one_key_with_two_contents_is_rejected_and_counted() {
    let scratch = Scratch::new();
    let path = scratch.file("conflict.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    let first = samples(1, 0..100);
    assert_eq!(deliver(&storage, 1, &first), (PIPELINE_STORE_OK, vec![]));
    let mut second = samples(1, 50..150);
    second[3].payload = b"another content".to_vec();
    second[7].kind = 99;
    assert_eq!(deliver(&storage, 1, &second), (PIPELINE_STORE_OK, vec![3, 7]));
    until_released(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 150);
    assert_eq!(
        count(&path, "SELECT count(*) FROM events WHERE payload = CAST('another content' AS BLOB)"),
        0
    );
    assert_eq!(count(&path, "SELECT kind FROM events WHERE sequence = 57"), 1);
    assert_eq!(count(&path, "SELECT conflicts FROM runs"), 2);
}

#[test]
fn a_copy_that_a_transform_has_rewritten_is_no_conflict() {
    let scratch = Scratch::new();
    let path = scratch.file("rewritten.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    let mut first = samples(1, 0..100);
    first[50].payload = [REWRITTEN, b" once"].concat();
    assert_eq!(deliver(&storage, 1, &first), (PIPELINE_STORE_OK, vec![]));
    let mut second = samples(1, 50..150);
    second[0].payload = b"otherwise".to_vec();
    second[3].payload = [REWRITTEN, b" now"].concat();
    second[7].kind = 99;
    assert_eq!(deliver(&storage, 1, &second), (PIPELINE_STORE_OK, vec![7]));
    until_released(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 150);
    assert_eq!(count(&path, "SELECT conflicts FROM runs"), 1);
}

/// A storage whose first answer to every second batch is lost: the events are stored, and delivered again.
struct Forgetful {
    inner: SqliteStorage,
    calls: AtomicU64,
}

#[derive(Default)]
struct Waiter(Mutex<Option<i32>>, Condvar);

impl token::Answered for Waiter {
    fn set_stored(&self, _: usize, _: u64, _: usize) -> capture_pipeline::status::Result<()> {
        Ok(())
    }
    fn set_rejected(&self, _: usize, _: u64, index: usize) -> capture_pipeline::status::Result<()> {
        panic!("event {index} rejected")
    }
    fn complete(
        self: Arc<Self>,
        _: usize,
        _: u64,
        _: usize,
        result: i32,
    ) -> capture_pipeline::status::Result<()> {
        *self.0.lock().expect("not poisoned") = Some(result);
        self.1.notify_all();
        Ok(())
    }
}

// SAFETY: the call waits for the inner storage, which gets the batch with a token of its own.
unsafe impl Storage for Forgetful {
    fn abilities(&self) -> Abilities {
        Abilities { meta: true, flush: true, ..Abilities::default() }
    }
    fn store(&self, batch: &BatchView) -> i32 {
        if self.calls.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            return self.inner.store(batch);
        }
        let waiter = Arc::new(Waiter::default());
        let who: Arc<dyn token::Answered> = waiter.clone();
        let mut issuer = token::Issuer::new(Arc::downgrade(&who), 0).expect("memory");
        let copy = BatchView { token: issuer.issue().expect("the first"), ..*batch };
        self.inner.store(&copy);
        let mut answer = waiter.0.lock().expect("not poisoned");
        while answer.is_none() {
            answer = waiter.1.wait(answer).expect("not poisoned");
        }
        assert_eq!(*answer, Some(PIPELINE_STORE_OK));
        PIPELINE_STORE_RETRY
    }
    fn flush(&self, timeout_ms: i64) -> i32 {
        self.inner.flush(timeout_ms)
    }
}

#[test]
fn lost_answers_make_no_second_rows() {
    let scratch = Scratch::new();
    let path = scratch.file("forgetful.db");
    let inner = SqliteStorage::open(&path, plain()).expect("it opens");
    let pipeline = Pipeline::start(patient(), Forgetful { inner, calls: AtomicU64::new(0) })
        .expect("the pipeline starts");
    capture_from_threads(&pipeline);
    pipeline.flush(Some(PATIENCE)).expect("it flushes");
    assert!(pipeline.metrics().retries > 0);
    let ledger = end_balanced(pipeline);
    assert_eq!(ledger.stored, THREADS * EACH);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), (THREADS * EACH) as i64);
    assert_eq!(count(&path, "SELECT conflicts FROM runs"), 0);
}

#[test]
fn the_database_can_be_read_by_others_while_it_is_written() {
    let scratch = Scratch::new();
    let path = scratch.file("shared.db");
    let pipeline = start(patient(), &path, plain());
    let mut seen = 0;
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| capture_from_threads(&pipeline));
        until("some rows, then all", || {
            let now = count(&path, "SELECT count(*) FROM events");
            assert!(now >= seen, "what was there stays");
            seen = now;
            writing.is_finished()
        });
    });
    pipeline.flush(Some(PATIENCE)).expect("it flushes");
    // While the pipeline runs, another process sees all acknowledged events.
    match Command::new("sqlite3").arg(&path).arg("SELECT count(*) FROM events_view").output() {
        Ok(out) => {
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), (THREADS * EACH).to_string());
        }
        Err(e) => println!("no sqlite3 shell here ({e}): read through the library only"),
    }
    assert_eq!(count(&path, "SELECT count(*) FROM events"), (THREADS * EACH) as i64);
    // The pipeline still works.
    let offer = Offer::new(1, b"last".as_ptr(), 4);
    // SAFETY: the data is static.
    assert_eq!(unsafe { pipeline.capture(&offer) }, 0);
    assert_eq!(end_balanced(pipeline).stored, THREADS * EACH + 1);
}
