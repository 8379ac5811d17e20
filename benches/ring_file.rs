//! What a ring file costs a capture.
//!
//! `cargo bench --bench ring_file`. Three pipelines take turns: with ring buffers in memory, in a file on tmpfs (/dev/shm), and in a file on the disk of the current
//! folder, if it has ext4 or XFS. Each captures bursts of 2,000 events of 64 bytes, and is drained outside the measured time. Printed are the median of all
//! bursts, in nanoseconds an event, the median ratio to the burst in memory beside it, and percentiles of single captures. Every event is accounted for at the
//! end. The bound is 1.1 for the median, and for the 99.9th percentile on tmpfs.

use capture_pipeline::batch::BatchView;
use capture_pipeline::config::Config;
use capture_pipeline::ffi::capture::pipeline_capture;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::status::PIPELINE_OK;
use capture_pipeline::storage::{PIPELINE_STORE_OK, Storage};
use std::time::{Duration, Instant};

const BURST: u64 = 2_000;
const BURSTS: usize = 1_001;
const SINGLE: usize = 1_000_000;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

struct Nothing;

// SAFETY: the storage keeps no pointer into a batch.
unsafe impl Storage for Nothing {
    fn store(&self, _: &BatchView) -> i32 {
        PIPELINE_STORE_OK
    }
}

fn start(ring_dir: Option<String>, ring_disk: u32) -> Option<Pipeline> {
    let config = Config { max_rings: 2, ring_dir, ring_disk, ..Config::default() };
    match Pipeline::start(config, Nothing) {
        Ok(pipeline) => {
            pipeline.pause().expect("it runs");
            Some(pipeline)
        }
        Err(error) => {
            println!("left out: {}", error.detail);
            None
        }
    }
}

fn drain(pipeline: &Pipeline) {
    pipeline.resume().expect("it runs");
    pipeline.flush(PATIENCE).expect("the storage stores");
    pipeline.pause().expect("it runs");
}

fn capture(pipeline: &Pipeline, payload: &[u64; 8]) {
    // SAFETY: the payload is readable.
    let status = unsafe { pipeline_capture(pipeline, 1, payload.as_ptr().cast(), 64) };
    assert_eq!(status, PIPELINE_OK);
}

fn burst(pipeline: &Pipeline) -> f64 {
    let began = Instant::now();
    for n in 0..BURST {
        capture(pipeline, &[n; 8]);
    }
    began.elapsed().as_nanos() as f64 / BURST as f64
}

/// The times of single captures, in nanoseconds.
fn single(pipelines: &[(&str, Pipeline)]) -> Vec<Vec<u64>> {
    let mut times = vec![Vec::with_capacity(SINGLE); pipelines.len()];
    while times[0].len() < SINGLE {
        for ((_, pipeline), times) in pipelines.iter().zip(&mut times) {
            for n in 0..BURST {
                let began = Instant::now();
                capture(pipeline, &[n; 8]);
                times.push(began.elapsed().as_nanos() as u64);
            }
            drain(pipeline);
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    times
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let name = format!("capture-pipeline-bench-{}", std::process::id());
    let places = [
        ("memory", None, 0),
        ("tmpfs", Some(format!("/dev/shm/{name}")), 0),
        ("disk", Some(format!("target/{name}")), 1),
    ];
    let folders: Vec<String> = places.iter().filter_map(|(_, folder, _)| folder.clone()).collect();
    let pipelines: Vec<_> =
        places.into_iter().filter_map(|(name, folder, disk)| Some((name, start(folder, disk)?))).collect();
    for (_, pipeline) in &pipelines {
        // The first lap, on which pages are mapped, and a whole second one.
        for _ in 0..20 {
            burst(pipeline);
            drain(pipeline);
        }
    }
    let mut bursts = vec![Vec::new(); pipelines.len()];
    for turn in 0..BURSTS {
        for place in 0..pipelines.len() {
            let place = (place + turn) % pipelines.len();
            bursts[place].push(burst(&pipelines[place].1));
            drain(&pipelines[place].1);
        }
    }
    let memory = bursts[0].clone();
    println!("{:<8} {:>9} {:>9}", "", "ns/event", "ratio");
    for ((name, _), bursts) in pipelines.iter().zip(&mut bursts) {
        let mut ratios: Vec<f64> = bursts.iter().zip(&memory).map(|(ours, memory)| ours / memory).collect();
        println!("{name:<8} {:>9.2} {:>9.3}", median(bursts), median(&mut ratios));
    }
    println!("\nsingle captures, with the clock's own time, in ns:");
    println!("{:<8} {:>8} {:>8} {:>8} {:>9} {:>11}", "", "p50", "p99", "p99.9", "p99.99", "max");
    for ((name, _), times) in pipelines.iter().zip(single(&pipelines)) {
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let (p50, p99, p999, p9999) = (at(0.5), at(0.99), at(0.999), at(0.9999));
        println!("{name:<8} {p50:>8} {p99:>8} {p999:>8} {p9999:>9} {:>11}", at(1.0));
    }
    for (name, pipeline) in &pipelines {
        pipeline.close(PATIENCE).expect("the storage stores");
        let ledger = pipeline.metrics().ledger;
        assert_eq!((ledger.captured, ledger.offered()), (ledger.stored, ledger.captured), "{name}");
    }
    drop(pipelines);
    for folder in folders {
        let _ = std::fs::remove_file(format!("{folder}/lock"));
        let _ = std::fs::remove_dir(folder);
    }
}
