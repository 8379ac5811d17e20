//! The processes that are killed: one captures into a ring file, one recovers ring files.

use crate::target;
use capture_pipeline::capture::Offer;
use capture_pipeline::config::Config;
use capture_pipeline::event::PIPELINE_EVENT_PRIORITY;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::recovery::{Options, recover as recover_all};
use capture_pipeline::snapshot::Options as SnapshotOptions;
use capture_pipeline::status::{PIPELINE_ERR_FULL, PIPELINE_OK};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

pub const THREADS: u64 = 2;
/// A run that nothing kills ends by itself.
pub const EACH: u64 = 3_000;
/// Set in the environment: the process has no writers.
pub const NO_WRITERS: &str = "KILL_WITHOUT_WRITERS";
/// So many are taken while events are captured.
const SNAPSHOTS: usize = 40;

/// The number of an event: of which run and thread it is the how many-th.
pub fn number(run: u64, thread: u64, nth: u64) -> u64 {
    run << 48 | thread << 40 | nth
}

/// Run, thread and how many-th.
pub fn parts(number: u64) -> (u64, u64, u64) {
    (number >> 48, number >> 40 & 0xFF, number & 0xFF_FFFF_FFFF)
}

/// How far the threads of a run have got: for each, how many captures were begun, and how many have returned. The file survives the process.
pub struct Progress(File);

impl Progress {
    pub fn open(path: &Path) -> Self {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        Self(open.expect("a file"))
    }

    fn set(&self, thread: u64, returned: bool, to: u64) {
        let at = thread * 16 + u64::from(returned) * 8;
        self.0.write_all_at(&to.to_le_bytes(), at).expect("it is written");
    }

    /// How many captures were begun, and how many have returned.
    pub fn of(&self, thread: u64) -> (u64, u64) {
        let mut words = [0; 16];
        let read = self.0.read_at(&mut words, thread * 16).expect("it is read");
        words[read..].fill(0);
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| words[at + n]));
        (word(0), word(8))
    }
}

/// `RINGS TARGET SORT PROGRESS RUN SNAPSHOTS`
pub fn capture(arguments: &[String]) {
    let [rings, path, sort, progress, run, snapshots] = arguments else { panic!("six arguments") };
    let (progress, run) = (Progress::open(Path::new(progress)), run.parse().expect("a number"));
    let config = Config {
        // (Without writers everything is left.)
        writers: if std::env::var_os(NO_WRITERS).is_some() { 0 } else { 2 },
        ring_bytes: 1 << 14,
        priority_ring_bytes: 1 << 12,
        max_rings: 4,
        max_retired_rings: 1,
        batch_size: 16,
        batch_bytes: 2048,
        ring_dir: Some(rings.clone()),
        ..Config::default()
    };
    let pipeline = target::start(sort, Path::new(path), config);
    pipeline.kind_name(1, b"one").expect("a name");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (pipeline, progress) = (&pipeline, &progress);
            scope.spawn(move || capture_some(pipeline, progress, run, thread));
        }
        scope.spawn(|| {
            for _ in 0..SNAPSHOTS {
                pipeline.snapshot(Path::new(snapshots), &SnapshotOptions::default()).expect("it is written");
            }
        });
    });
    pipeline.close(Some(Duration::from_secs(60))).expect("the storage stores");
}

fn capture_some(pipeline: &Pipeline, progress: &Progress, run: u64, thread: u64) {
    for nth in 0..EACH {
        let payload = target::payload_of(number(run, thread, nth));
        let flags = if nth % 10 == 9 { PIPELINE_EVENT_PRIORITY } else { 0 };
        let offer = Offer { flags, ..Offer::new(1, payload.as_ptr(), payload.len()) };
        progress.set(thread, false, nth + 1);
        loop {
            // SAFETY: the payload is readable.
            match unsafe { pipeline.capture(&offer) } {
                PIPELINE_OK => break,
                PIPELINE_ERR_FULL => std::thread::yield_now(),
                other => panic!("status {other}"),
            }
        }
        progress.set(thread, true, nth + 1);
    }
}

/// `RINGS TARGET SORT`
pub fn recover(arguments: &[String]) {
    let [rings, path, sort] = arguments else { panic!("three arguments") };
    let mut feed = target::feed(sort, Path::new(path));
    let report = recover_all(Path::new(rings), &mut feed, &Options::default(), |_| {}).expect("a directory");
    assert!(report.stopped.is_none(), "{report:?}");
    assert_eq!(feed.flush(), 0);
    assert_eq!(feed.finish(), 0);
}
