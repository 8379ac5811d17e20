//! Temporary databases, pipelines that store into them, and batches for a storage without a pipeline.

use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::capture::Offer;
use capture_pipeline::config::{Config, Overflow};
use capture_pipeline::event::{EventView, PIPELINE_EVENT_TRANSFORMED};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::status::Result;
use capture_pipeline::storage::sqlite::{Options, SqliteStorage};
use capture_pipeline::storage::{PIPELINE_STORE_PENDING, Storage};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The timeout of every wait of a test.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A temporary directory, removed at the end.
pub struct Scratch(PathBuf);

/// Shows the library's messages if a test fails.
struct Show;

impl log::Log for Show {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{}: {}", record.level(), record.args());
    }
    fn flush(&self) {}
}

impl Scratch {
    pub fn new() -> Self {
        if log::set_logger(&Show).is_ok() {
            log::set_max_level(log::LevelFilter::Info);
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "capture_pipeline-sqlite-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits for a condition.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The single value of a query.
#[track_caller]
pub fn value<T: rusqlite::types::FromSql>(path: &Path, sql: &str) -> T {
    Connection::open(path)
        .and_then(|db| {
            db.busy_timeout(PATIENCE)?;
            db.query_row(sql, [], |row| row.get(0))
        })
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

#[track_caller]
pub fn count(path: &Path, sql: &str) -> i64 {
    value(path, sql)
}

/// Bytes of the database and its write-ahead log.
pub fn bytes_on_disk(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let size = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len());
    size(path) + size(Path::new(&log))
}

/// Options without indexes, which most tests do not need.
pub fn plain() -> Options {
    Options { indexes: false, ..Options::default() }
}

/// A configuration that loses no event while the storage fails for some time.
pub fn patient() -> Config {
    Config {
        overflow: Overflow::Block,
        block_timeout_us: 120_000_000,
        retry_limit: 1_000_000,
        retry_max_us: 20_000,
        retry_max_age_ms: 600_000,
        ..Config::default()
    }
}

pub fn start(config: Config, path: &Path, options: Options) -> Pipeline {
    let storage = SqliteStorage::open(path, options).expect("the database opens");
    Pipeline::start(config, storage).expect("the pipeline starts")
}

/// Ends a storage as a close does.
#[track_caller]
pub fn until_released(storage: SqliteStorage) {
    assert_eq!(storage.finish(-1), 0);
    drop(storage);
}

/// Captures an event and returns the status.
pub fn offer(pipeline: &Pipeline, kind: u32, correlation_id: u64, node_id: u64, payload: &[u8]) -> i32 {
    let offer = Offer { correlation_id, node_id, ..Offer::new(kind, payload.as_ptr(), payload.len()) };
    // SAFETY: the payload outlives the call.
    unsafe { pipeline.capture(&offer) }
}

/// Closes and destroys a pipeline.
#[track_caller]
pub fn end(pipeline: Pipeline) {
    pipeline.close(Some(PATIENCE)).expect("it closes");
    until("destroyed", || pipeline.destroy().is_ok());
}

/// Closes a pipeline, checks its ledger and destroys it.
#[track_caller]
pub fn end_balanced(pipeline: Pipeline) -> capture_pipeline::ledger::Ledger {
    pipeline.close(Some(PATIENCE)).expect("it closes");
    let l = pipeline.metrics().ledger;
    assert_eq!(
        l.captured + l.recovered,
        l.stored
            + l.filtered
            + l.dead_lettered
            + l.discarded
            + l.overwritten
            + l.buffered
            + l.in_flight
            + l.in_doubt
            + l.left,
        "the ledger: {l:?}"
    );
    until("destroyed", || pipeline.destroy().is_ok());
    l
}

/// An event of a synthetic batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub ring: u64,
    pub sequence: u64,
    pub kind: u32,
    pub payload: Vec<u8>,
}

pub fn samples(ring: u64, sequences: std::ops::Range<u64>) -> Vec<Sample> {
    sequences
        .map(|sequence| Sample {
            ring,
            sequence,
            kind: 1 + (sequence % 3) as u32,
            payload: format!("event {sequence} of ring {ring}").into_bytes(),
        })
        .collect()
}

/// The answer to a batch: the result and the rejected events.
pub type Answer = (i32, Vec<usize>);

#[derive(Default)]
struct Desk {
    state: Mutex<(Option<i32>, Vec<usize>)>,
    changed: Condvar,
}

impl token::Answered for Desk {
    fn set_stored(&self, _: usize, _: u64, _: usize) -> Result<()> {
        Ok(())
    }
    fn set_rejected(&self, _: usize, _: u64, index: usize) -> Result<()> {
        self.state.lock().expect("not poisoned").1.push(index);
        Ok(())
    }
    fn complete(self: Arc<Self>, _: usize, _: u64, _: usize, result: i32) -> Result<()> {
        let mut state = self.state.lock().expect("not poisoned");
        assert!(state.0.is_none(), "answered twice");
        state.0 = Some(result);
        self.changed.notify_all();
        Ok(())
    }
}

/// A payload that begins so is one that a transform has made.
pub const REWRITTEN: &[u8] = b"rewritten";

/// The generation of all synthetic batches. It exceeds the range of a signed integer.
pub const GENERATION: u64 = 0xfedc_ba98_7654_3210;

/// Passes a batch to a storage and waits for the answer.
#[track_caller]
pub fn deliver(storage: &dyn Storage, attempt: u32, samples: &[Sample]) -> Answer {
    let views: Vec<EventView> = samples
        .iter()
        .map(|s| EventView {
            ring_id: s.ring,
            sequence: s.sequence,
            timestamp_ns: 1_000 + s.sequence,
            correlation_id: u64::MAX - s.sequence,
            node_id: s.sequence % 7,
            kind: s.kind,
            flags: if s.payload.starts_with(REWRITTEN) { PIPELINE_EVENT_TRANSFORMED } else { 0 },
            weight: 1.0,
            data: s.payload.as_ptr().cast(),
            len: s.payload.len(),
        })
        .collect();
    deliver_views(storage, attempt, &views)
}

/// The same for given event views.
#[track_caller]
pub fn deliver_views(storage: &dyn Storage, attempt: u32, views: &[EventView]) -> Answer {
    let desk = Arc::new(Desk::default());
    let who: Arc<dyn token::Answered> = desk.clone();
    let mut issuer = token::Issuer::new(Arc::downgrade(&who), 0).expect("memory");
    let batch = BatchView {
        struct_size: size_of::<BatchView>() as u32,
        event_stride: size_of::<EventView>() as u32,
        pipeline_id: 1,
        generation: GENERATION,
        batch_id: 1,
        token: issuer.issue().expect("the first"),
        attempt,
        writer_id: 9,
        processed_at_ns: 5_000,
        realtime_offset_ns: 1_700_000_000_000_000_000,
        writer_data: std::ptr::null_mut(),
        count: views.len(),
        events: views.as_ptr(),
    };
    let answer = storage.store(&batch);
    if answer != PIPELINE_STORE_PENDING {
        return (answer, Vec::new());
    }
    let mut state = desk.state.lock().expect("not poisoned");
    let end = Instant::now() + PATIENCE;
    while state.0.is_none() {
        assert!(Instant::now() < end, "no answer");
        state = desk.changed.wait_timeout(state, Duration::from_millis(50)).expect("not poisoned").0;
    }
    (state.0.expect("answered"), state.1.clone())
}
