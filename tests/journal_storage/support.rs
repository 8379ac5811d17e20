//! Temporary journals, pipelines that store into them, batches for a storage without a pipeline, and what a reader gives.

use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::capture::Offer;
use capture_pipeline::config::{Config, Overflow};
use capture_pipeline::event::EventView;
use capture_pipeline::journal::reader;
use capture_pipeline::ledger::Ledger;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::status::Result;
use capture_pipeline::storage::journal::{JournalStorage, Options};
use capture_pipeline::storage::{PIPELINE_STORE_PENDING, Storage};
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
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("capture_pipeline-journal-storage-{}-{number}", std::process::id());
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

pub fn open(path: &Path, options: Options) -> JournalStorage {
    JournalStorage::open(path, options).expect("the journal opens")
}

pub fn start(config: Config, path: &Path, options: Options) -> Pipeline {
    Pipeline::start(config, open(path, options)).expect("the pipeline starts")
}

/// Captures an event and returns the status.
pub fn offer(pipeline: &Pipeline, kind: u32, correlation_id: u64, payload: &[u8]) -> i32 {
    offer_flagged(pipeline, kind, 0, correlation_id, payload)
}

pub fn offer_flagged(pipeline: &Pipeline, kind: u32, flags: u32, correlation_id: u64, payload: &[u8]) -> i32 {
    let (data, len) = (payload.as_ptr(), payload.len());
    let offer = Offer { kind, flags, timestamp: 7, correlation_id, node_id: 3, data, len };
    // SAFETY: the payload outlives the call.
    unsafe { pipeline.capture(&offer) }
}

/// Closes a pipeline, checks its ledger and destroys it.
#[track_caller]
pub fn end(pipeline: Pipeline) -> Ledger {
    pipeline.close(Some(PATIENCE)).expect("it closes");
    let ledger = pipeline.metrics().ledger;
    assert!(ledger.balances(), "{ledger:?}");
    until("destroyed", || pipeline.destroy().is_ok());
    ledger
}

/// An event as a reader gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub generation: u64,
    pub ring: u64,
    pub sequence: u64,
    pub time: u64,
    pub kind: u32,
    pub flags: u32,
    pub correlation_id: u64,
    pub node_id: u64,
    pub payload: Vec<u8>,
}

/// Opens a reader.
#[track_caller]
pub fn reader(path: &Path) -> reader::Reader {
    reader::Reader::open(path, reader::Options::default()).expect("the journal can be read")
}

/// All events of a journal, each once, by their identity. Nothing is damaged.
#[track_caller]
pub fn read(path: &Path) -> Vec<Read> {
    let (all, lost) = read_damaged(path);
    assert!(lost, "something is damaged in {}", path.display());
    all
}

/// All events of a journal, each once, and whether all is sound.
#[track_caller]
pub fn read_damaged(path: &Path) -> (Vec<Read>, bool) {
    let mut reader = reader(path);
    let mut all = Vec::new();
    while let Some(event) = reader.next().expect("no error") {
        all.push(Read {
            generation: event.generation,
            ring: event.ring_id,
            sequence: event.sequence,
            time: event.timestamp_ns,
            kind: event.kind,
            flags: event.flags,
            correlation_id: event.correlation_id,
            node_id: event.node_id,
            payload: event.payload.to_vec(),
        });
    }
    all.sort_by_key(|event| (event.generation, event.ring, event.sequence));
    let before = all.len();
    all.dedup();
    let identities = |events: &[Read]| {
        let mut ids: Vec<_> = events.iter().map(|e| (e.generation, e.ring, e.sequence)).collect();
        ids.dedup();
        ids.len()
    };
    assert_eq!(identities(&all), all.len(), "one identity has two contents ({before} events)");
    if !reader.losses().is_empty() {
        println!("{:?}", reader.losses());
    }
    (all, reader.losses().is_empty())
}

/// The segments of a journal: number of the file, whether it is sealed, events.
#[track_caller]
pub fn segments(path: &Path) -> Vec<(u64, bool, u64)> {
    let reader = reader(path);
    let mut all: Vec<_> = reader
        .segments()
        .map(|s| (s.header.number, matches!(s.state, reader::State::Sealed(_)), s.events))
        .collect();
    all.sort_unstable();
    all
}

/// The files in a directory that are segments, by name.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).expect("a directory");
    let all = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = all.filter(|path| path.extension().is_some_and(|e| e == "journal")).collect();
    found.sort();
    found
}

/// The bytes of all segments in a directory.
pub fn bytes_in(path: &Path) -> u64 {
    files(path).iter().filter_map(|file| std::fs::metadata(file).ok()).map(|data| data.len()).sum()
}

/// An event of a synthetic batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub ring: u64,
    pub sequence: u64,
    pub kind: u32,
    pub flags: u32,
    pub payload: Vec<u8>,
}

pub fn samples(ring: u64, sequences: std::ops::Range<u64>) -> Vec<Sample> {
    sequences
        .map(|sequence| Sample {
            ring,
            sequence,
            kind: 1 + (sequence % 3) as u32,
            flags: 0,
            payload: format!("event {sequence} of ring {ring}").into_bytes(),
        })
        .collect()
}

pub fn sized(ring: u64, sequence: u64, bytes: usize) -> Sample {
    Sample { ring, sequence, kind: 1, flags: 0, payload: vec![sequence as u8; bytes] }
}

impl Sample {
    /// As a storage sees it.
    fn view(&self) -> EventView {
        EventView {
            ring_id: self.ring,
            sequence: self.sequence,
            timestamp_ns: 1_000 + self.sequence,
            correlation_id: u64::MAX - self.sequence,
            node_id: self.sequence % 7,
            kind: self.kind,
            flags: self.flags,
            weight: 1.0,
            data: self.payload.as_ptr().cast(),
            len: self.payload.len(),
        }
    }

    /// As a reader gives it.
    pub fn read(&self) -> Read {
        Read {
            generation: GENERATION,
            ring: self.ring,
            sequence: self.sequence,
            time: 1_000 + self.sequence,
            kind: self.kind,
            flags: self.flags,
            correlation_id: u64::MAX - self.sequence,
            node_id: self.sequence % 7,
            payload: self.payload.clone(),
        }
    }
}

/// The answer to a batch: the result, the stored prefix, the rejected events.
pub type Answer = (i32, usize, Vec<usize>);

#[derive(Default)]
struct Answers {
    state: Mutex<(Option<i32>, usize, Vec<usize>)>,
    changed: Condvar,
}

impl token::Answered for Answers {
    fn set_stored(&self, _: usize, _: u64, prefix: usize) -> Result<()> {
        self.state.lock().expect("not poisoned").1 = prefix;
        Ok(())
    }
    fn set_rejected(&self, _: usize, _: u64, index: usize) -> Result<()> {
        self.state.lock().expect("not poisoned").2.push(index);
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

/// The generation of all synthetic batches.
pub const GENERATION: u64 = 0xfedc_ba98_7654_3210;

/// CLOCK_REALTIME minus CLOCK_MONOTONIC of all synthetic batches.
pub const REALTIME_OFFSET: i64 = 1_700_000_000_000_000_000;

/// Passes a batch to a storage, as writer 9, and waits for the answer.
#[track_caller]
pub fn deliver(storage: &dyn Storage, samples: &[Sample]) -> Answer {
    deliver_as(9, storage, samples)
}

#[track_caller]
pub fn deliver_as(writer_id: u32, storage: &dyn Storage, samples: &[Sample]) -> Answer {
    let views: Vec<EventView> = samples.iter().map(Sample::view).collect();
    deliver_views(writer_id, storage, &views)
}

/// What `store` itself answers to a batch. The final answer is waited for.
pub fn first_answer(storage: &dyn Storage, samples: &[Sample]) -> i32 {
    let views: Vec<EventView> = samples.iter().map(Sample::view).collect();
    let mut first = 0;
    deliver_noting(9, storage, &views, &mut first);
    first
}

/// The same for given event views.
#[track_caller]
pub fn deliver_views(writer_id: u32, storage: &dyn Storage, views: &[EventView]) -> Answer {
    deliver_noting(writer_id, storage, views, &mut 0)
}

#[track_caller]
fn deliver_noting(writer_id: u32, storage: &dyn Storage, views: &[EventView], first: &mut i32) -> Answer {
    let answers = Arc::new(Answers::default());
    let who: Arc<dyn token::Answered> = answers.clone();
    let mut issuer = token::Issuer::new(Arc::downgrade(&who), 0).expect("memory");
    let batch = BatchView {
        pipeline_id: 1,
        generation: GENERATION,
        batch_id: 1,
        token: issuer.issue().expect("the first"),
        attempt: 1,
        writer_id,
        processed_at_ns: 5_000,
        realtime_offset_ns: REALTIME_OFFSET,
        // What a program's own storage around this one may have put there.
        writer_data: std::ptr::dangling_mut(),
        count: views.len(),
        events: views.as_ptr(),
        ..BatchView::default()
    };
    let answer = storage.store(&batch);
    *first = answer;
    let mut state = answers.state.lock().expect("not poisoned");
    if answer != PIPELINE_STORE_PENDING {
        assert!(state.0.is_none(), "answered twice");
        state.0 = Some(answer);
    }
    let end = Instant::now() + PATIENCE;
    while state.0.is_none() {
        assert!(Instant::now() < end, "no answer");
        state = answers.changed.wait_timeout(state, Duration::from_millis(50)).expect("not poisoned").0;
    }
    (state.0.expect("answered"), state.1, state.2.clone())
}

/// A small file system for the test. `None`: there is no permission to make one.
pub struct SmallDisk(pub Scratch);

impl SmallDisk {
    pub fn new(bytes: u32) -> Option<Self> {
        Self::with(&format!("size={bytes}"))
    }

    /// With these options of tmpfs.
    pub fn with(options: &str) -> Option<Self> {
        let scratch = Scratch::new();
        let target = std::ffi::CString::new(scratch.path().to_str()?).ok()?;
        let options = std::ffi::CString::new(options).ok()?;
        // SAFETY: NUL-terminated strings.
        let failed = unsafe {
            libc::mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast())
        };
        if failed != 0 {
            println!("not run: no file system may be mounted here");
        }
        (failed == 0).then_some(Self(scratch))
    }

    /// Takes all the space that is left, until the file is dropped and removed.
    pub fn fill(&self) -> std::fs::File {
        let mut taken = std::fs::File::create(self.0.file("ballast")).expect("made");
        while std::io::Write::write(&mut taken, &[1; 4_096]).is_ok_and(|n| n > 0) {}
        taken
    }

    pub fn give_back(&self, taken: std::fs::File) {
        std::fs::remove_file(self.0.file("ballast")).expect("removed");
        drop(taken);
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

pub fn am_root() -> bool {
    // SAFETY: the call has no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Runs in a child process, so that only that has another umask, user id or limit. `true` is success.
#[track_caller]
pub fn in_a_child(work: impl FnOnce() -> bool) {
    // SAFETY: the child uses the library and the C library's fork-safe malloc, and ends without unwinding.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(60);
            let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
            libc::_exit(i32::from(!right));
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
    }
}
