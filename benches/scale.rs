//! Throughput by number of writers, with a storage that sleeps for one millisecond per batch, and the speed of autoscaling.
//!
//! `cargo bench --bench scale -- [seconds]`. One thread captures as fast as the pipeline allows. Every run checks count and sum of
//! the stored events. Prints events and batches per second and their ratio to one writer, for fixed numbers of writers and for
//! autoscaling between 1 and 16. Each run is divided into equal stretches; the median and the slowest are printed, because a
//! shared machine may stall now and then.

use capture_pipeline::batch::BatchView;
use capture_pipeline::capture::Offer;
use capture_pipeline::config::{Config, Overflow};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::storage::{Abilities, PIPELINE_STORE_OK, Storage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CALL: Duration = Duration::from_millis(1);
const MAX_WRITERS: u32 = 16;
const STRETCHES: u32 = 9;

#[derive(Default)]
struct Counts {
    events: AtomicU64,
    sum: AtomicU64,
    batches: AtomicU64,
}

struct Sleeper(Arc<Counts>);

// SAFETY: the storage keeps no pointer into a batch.
unsafe impl Storage for Sleeper {
    fn abilities(&self) -> Abilities {
        Abilities { concurrent: true, ..Abilities::default() }
    }
    fn store(&self, batch: &BatchView) -> i32 {
        let events = batch.events();
        // SAFETY: as above; every payload is a u64.
        let sum = events.iter().map(|e| unsafe { e.data.cast::<u64>().read_unaligned() });
        self.0.sum.fetch_add(sum.fold(0, u64::wrapping_add), Ordering::Relaxed);
        self.0.events.fetch_add(batch.count as u64, Ordering::Relaxed);
        self.0.batches.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(CALL);
        PIPELINE_STORE_OK
    }
}

/// The result of a run.
struct RunResult {
    events_per_s: f64,
    batches_per_s: f64,
    /// Events per second in the slowest stretch.
    slowest: f64,
    /// Processor time of the process per second.
    cpu: f64,
    /// Time until autoscaling had reached the maximum, and until it was back at the minimum.
    up: Option<Duration>,
    down: Option<Duration>,
    ups: u64,
}

fn cpu_time() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn run(least: u32, most: u32, batch_size: u32, seconds: f64) -> RunResult {
    let counts = Arc::new(Counts::default());
    let config = Config {
        writers: least,
        min_writers: least,
        max_writers: most,
        batch_size,
        ring_bytes: 8 << 20,
        overflow: Overflow::Block,
        block_timeout_us: 60_000_000,
        ..Config::default()
    };
    let pipeline = Pipeline::start(config, Sleeper(Arc::clone(&counts))).expect("the pipeline starts");
    let target = || pipeline.metrics().writers_target;
    let wait_for = |writers: u32, most: Duration| {
        let began = Instant::now();
        while target() != u64::from(writers) {
            assert!(began.elapsed() < most, "{writers} writers expected, there are {}", target());
            std::thread::sleep(Duration::from_micros(500));
        }
        began.elapsed()
    };
    let stop = AtomicBool::new(false);
    let mut result = std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let mut captured = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let payload = captured.to_ne_bytes();
                let offer = Offer::new(1, payload.as_ptr(), payload.len());
                // SAFETY: the payload is a local.
                assert_eq!(unsafe { pipeline.capture(&offer) }, 0);
                captured += 1;
            }
            captured
        });
        let up = (least < most).then(|| wait_for(most, Duration::from_secs(20)));
        std::thread::sleep(Duration::from_millis(200));
        let read = || {
            let (events, batches) = (&counts.events, &counts.batches);
            (events.load(Ordering::Relaxed), batches.load(Ordering::Relaxed), cpu_time(), Instant::now())
        };
        let mut stretches = Vec::new();
        for _ in 0..STRETCHES {
            let before = read();
            std::thread::sleep(Duration::from_secs_f64(seconds / f64::from(STRETCHES)));
            let after = read();
            let wall = (after.3 - before.3).as_secs_f64();
            stretches.push((
                (after.0 - before.0) as f64 / wall,
                (after.1 - before.1) as f64 / wall,
                (after.2 - before.2).as_secs_f64() / wall,
            ));
        }
        stop.store(true, Ordering::Relaxed);
        let captured = producer.join().expect("the producer does not panic");
        pipeline.flush(Some(Duration::from_secs(60))).expect("the flush succeeds");
        assert_eq!(counts.events.load(Ordering::Relaxed), captured, "events stored and captured");
        let sum = (0..captured).fold(0u64, u64::wrapping_add);
        assert_eq!(counts.sum.load(Ordering::Relaxed), sum, "their sums");
        stretches.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (events_per_s, batches_per_s, cpu) = stretches[stretches.len() / 2];
        RunResult { events_per_s, batches_per_s, slowest: stretches[0].0, cpu, up, down: None, ups: 0 }
    });
    result.down = (least < most).then(|| wait_for(least, Duration::from_secs(60)));
    result.ups = pipeline.metrics().scaling.ups;
    pipeline.close(Some(Duration::from_secs(60))).expect("the close succeeds");
    let ledger = pipeline.metrics().ledger;
    assert_eq!(ledger.stored, ledger.captured);
    pipeline.destroy().expect("no thread is left");
    result
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let seconds: f64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(3.0);
    println!("a storage that sleeps {CALL:?} per batch; {seconds} s per line");
    for batch_size in [64, 512] {
        println!("\nbatches of {batch_size}\n writers   events/s  batches/s   ratio  slowest  processors");
        let mut one = 0.0;
        let line = |name: &str, result: &RunResult, one: f64| {
            println!(
                "{name:>8} {:>10.0} {:>10.0} {:>7.2} {:>8.2} {:>11.2}",
                result.events_per_s,
                result.batches_per_s,
                result.events_per_s / one,
                result.slowest / one,
                result.cpu
            );
        };
        for writers in [1, 2, 4, 8, MAX_WRITERS] {
            let result = run(writers, writers, batch_size, seconds);
            if writers == 1 {
                one = result.events_per_s;
            }
            line(&writers.to_string(), &result, one);
        }
        let result = run(1, MAX_WRITERS, batch_size, seconds);
        line("1 to 16", &result, one);
        println!(
            "         {MAX_WRITERS} writers {:.0} ms after the first capture, in {} decisions; 1 writer {:.1} s after the last",
            result.up.unwrap_or_default().as_secs_f64() * 1e3,
            result.ups,
            result.down.unwrap_or_default().as_secs_f64()
        );
    }
}
