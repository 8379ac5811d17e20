//! What a batch of spans saves against one of views, without a storage that writes.
//!
//! `cargo bench --bench spans -- [millions of events]`. One thread captures payloads of 64 bytes under `block`, and one writer stores them. The
//! storage does nothing, or computes the CRC-32C of all bytes: of each payload where it gets views, of the records where it gets spans.
//! The ways take turns, five times; the medians are printed: events per second, and the processor time of the writer, in nanoseconds an event,
//! which says more on a machine that does other things meanwhile. Each run checks the number of stored events.
//!
//! With the word `count` and the number of a way, 0 to 3, it captures 100,000 events, and only then starts the writer. So callgrind with
//! `--separate-threads=yes` counts what a writer's thread does for them.

use capture_pipeline::batch::BatchView;
use capture_pipeline::batch::spans::SpanBatch;
use capture_pipeline::capture::Offer;
use capture_pipeline::config::{Config, Overflow};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::status::PIPELINE_OK;
use capture_pipeline::storage::{Abilities, PIPELINE_STORE_OK, Storage};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const REPEATS: usize = 5;
const SPAN_BYTES: u64 = 256 << 10;

#[derive(Default)]
struct Counts {
    events: AtomicU64,
    sum: AtomicU64,
}

#[derive(Clone, Copy, PartialEq)]
struct Way {
    spans: bool,
    reads: bool,
}

struct Reader(Arc<Counts>, Way);

impl Reader {
    fn note(&self, events: usize, sum: u32) -> i32 {
        self.0.events.fetch_add(events as u64, Ordering::Relaxed);
        self.0.sum.fetch_add(sum.into(), Ordering::Relaxed);
        PIPELINE_STORE_OK
    }
}

// SAFETY: the storage keeps no pointer into a batch.
unsafe impl Storage for Reader {
    fn abilities(&self) -> Abilities {
        Abilities { span_bytes: self.1.spans.then_some(SPAN_BYTES), ..Abilities::default() }
    }
    fn store(&self, batch: &BatchView) -> i32 {
        let all = if self.1.reads { batch.events() } else { &[] };
        self.note(batch.count, all.iter().fold(0, |sum, event| crc32c::crc32c_append(sum, event.payload())))
    }
    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        let mut sum = 0;
        if self.1.reads {
            for span in batch.spans() {
                sum = span.records.iter().fold(sum, |sum, part| crc32c::crc32c_append(sum, part));
            }
        }
        self.note(batch.count(), sum)
    }
}

fn start(way: Way, writers: u32, ring_bytes: u64) -> (Pipeline, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let config = Config {
        writers,
        ring_bytes,
        overflow: Overflow::Block,
        block_timeout_us: 60_000_000,
        ..Config::default()
    };
    (Pipeline::start(config, Reader(Arc::clone(&counts), way)).expect("starts"), counts)
}

fn capture(pipeline: &Pipeline, events: u64) {
    let payload = [7u8; 64];
    let offer = Offer::new(1, payload.as_ptr(), payload.len());
    for _ in 0..events {
        // SAFETY: the payload is a local.
        assert_eq!(unsafe { pipeline.capture(&offer) }, PIPELINE_OK);
    }
}

fn close(pipeline: &Pipeline, counts: &Counts, events: u64) {
    pipeline.close(Some(Duration::from_secs(60))).expect("closes");
    assert_eq!(counts.events.load(Ordering::Relaxed), events);
    assert!(pipeline.metrics().ledger.balances());
}

/// Processor time of the process (`RUSAGE_SELF`) or of the calling thread (`RUSAGE_THREAD`), in nanoseconds.
fn processor_ns(whose: i32) -> f64 {
    let ns = |t: libc::timeval| t.tv_sec as f64 * 1e9 + t.tv_usec as f64 * 1e3;
    // SAFETY: plain data, which the call fills in.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(whose, &raw mut usage), 0);
        ns(usage.ru_utime) + ns(usage.ru_stime)
    }
}

/// Millions of events per second, and the writer's processor time in nanoseconds an event.
fn run(way: Way, events: u64) -> (f64, f64) {
    // (The other threads are the writer and the supervisor, which sleeps.)
    let of_writer = || processor_ns(libc::RUSAGE_SELF) - processor_ns(libc::RUSAGE_THREAD);
    let (pipeline, counts) = start(way, 1, 1 << 20);
    let (began, before) = (Instant::now(), of_writer());
    capture(&pipeline, events);
    close(&pipeline, &counts, events);
    (events as f64 / 1e6 / began.elapsed().as_secs_f64(), (of_writer() - before) / events as f64)
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = numbers.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let ways = [(false, false), (true, false), (false, true), (true, true)];
    let ways = ways.map(|(spans, reads)| Way { spans, reads });
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let first = arguments.next();
    if first.as_deref() == Some("count") {
        let events = 100_000;
        let way = arguments.next().and_then(|way| ways.get(way.parse::<usize>().ok()?).copied());
        let (pipeline, counts) = start(way.expect("the number of a way, 0 to 3"), 0, 16 << 20);
        capture(&pipeline, events);
        pipeline.scale(1).expect("a writer");
        return close(&pipeline, &counts, events);
    }
    let events = first.and_then(|millions| millions.parse().ok()).unwrap_or(20u64) * 1_000_000;
    let mut all = [const { Vec::new() }; 4];
    for _ in 0..REPEATS {
        for (way, runs) in ways.iter().zip(&mut all) {
            runs.push(run(*way, events));
        }
    }
    for (way, runs) in ways.iter().zip(&all) {
        let (rate, ns) = (median(runs.iter().map(|run| run.0)), median(runs.iter().map(|run| run.1)));
        let shown = if way.spans { "spans" } else { "views" };
        let does = if way.reads { "crc32c" } else { "nothing" };
        println!("{shown}, {does}: {rate:.2} M events/s, {ns:.1} ns of the writer an event");
    }
}
