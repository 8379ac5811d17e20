//! How fast ring files are recovered.
//!
//! `cargo bench --bench recovery`. A pipeline without writers captures 256 MiB of events of 64 bytes and of 1 KiB into ring files on tmpfs, and ends. What it has left is recovered
//! into a storage that keeps nothing, and into a journal. Printed are the bytes of records a second, the best of five. Every event is counted at the end. The bound
//! is 500 MB/s.

use capture_pipeline::batch::BatchView;
use capture_pipeline::config::Config;
use capture_pipeline::ffi::capture::pipeline_capture;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::recovery::{Options, recover};
use capture_pipeline::status::PIPELINE_OK;
use capture_pipeline::storage::feed::Feed;
use capture_pipeline::storage::journal::{JournalStorage, Options as JournalOptions};
use capture_pipeline::storage::{PIPELINE_STORE_OK, Storage};
use std::path::Path;
use std::time::Instant;

const RING_BYTES: u64 = 256 << 20;
const HEADER: u64 = 48;
const TIMES: usize = 5;

struct Nothing;

// SAFETY: the storage keeps no pointer into a batch.
unsafe impl Storage for Nothing {
    fn store(&self, _: &BatchView) -> i32 {
        PIPELINE_STORE_OK
    }
}

/// Leaves a full ring in a file. Returns how many events are in it.
fn fill(directory: &str, size: usize) -> u64 {
    let config = Config {
        writers: 0,
        max_rings: 1,
        max_retired_rings: 0,
        ring_bytes: RING_BYTES,
        ring_dir: Some(directory.to_owned()),
        ..Config::default()
    };
    let pipeline = Pipeline::start(config, Nothing).expect("it starts");
    let payload = vec![7u8; size];
    let mut events = 0;
    // SAFETY: the payload is readable.
    while unsafe { pipeline_capture(&pipeline, 1, payload.as_ptr().cast(), size) } == PIPELINE_OK {
        events += 1;
    }
    pipeline.destroy().expect("nothing runs");
    events
}

/// Recovers what is left into a storage. Returns bytes of records a second.
fn once(directory: &str, size: usize, mut feed: Feed) -> f64 {
    let events = fill(directory, size);
    let began = Instant::now();
    let report = recover(Path::new(directory), &mut feed, &Options::default(), |_| {}).expect("a directory");
    assert_eq!((feed.flush(), feed.finish()), (0, 0));
    let seconds = began.elapsed().as_secs_f64();
    assert!(report.stopped.is_none() && report.events == events, "{report:?}");
    (events * (HEADER + size as u64)) as f64 / seconds
}

fn main() {
    let name = format!("/dev/shm/capture-pipeline-recovery-{}", std::process::id());
    let (directory, journal) = (format!("{name}.rings"), format!("{name}.journal"));
    println!("{:<24} {:>10} {:>12}", "", "MB/s", "M events/s");
    for size in [64, 1024] {
        for into_journal in [false, true] {
            let rates = (0..TIMES).map(|_| {
                let _ = std::fs::remove_dir_all(&journal);
                let feed = if into_journal {
                    let storage = JournalStorage::open(Path::new(&journal), JournalOptions::default());
                    Feed::new(storage.expect("a journal"))
                } else {
                    Feed::new(Nothing)
                };
                once(&directory, size, feed)
            });
            let best = rates.fold(0.0, f64::max);
            let name = format!("{size} bytes, {}", if into_journal { "journal" } else { "nothing" });
            println!("{name:<24} {:>10.0} {:>12.2}", best / 1e6, best / (HEADER as f64 + size as f64) / 1e6);
        }
    }
    for directory in [directory, journal] {
        let _ = std::fs::remove_dir_all(directory);
    }
}
