//! What sampling costs a capture while it is in effect.
//!
//! `cargo bench --bench sampling`. Two pipelines take turns, one with `sampling_max_weight`, whose traces are all in the table and kept, and one
//! without. Each captures bursts of 2,000 events of 100 traces, and is drained outside the measured time. Beside it stands the decision
//! alone, over as many traces. The medians of all bursts are printed, in nanoseconds an event, and the median of the differences of adjacent bursts. Every
//! event is accounted for at the end.

use capture_pipeline::batch::BatchView;
use capture_pipeline::config::Config;
use capture_pipeline::event::{Event, Offer};
use capture_pipeline::ffi::capture::pipeline_capture_event;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::rules::{Fate, Sampling};
use capture_pipeline::status::{PIPELINE_OK, PIPELINE_SAMPLED};
use capture_pipeline::storage::{PIPELINE_STORE_OK, Storage};
use std::hint::black_box;
use std::time::{Duration, Instant};

const BURST: u64 = 2_000;
const BURSTS: usize = 1_001;
const TRACES: u64 = 100;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

struct Nothing;

// SAFETY: the storage keeps no pointer into a batch.
unsafe impl Storage for Nothing {
    fn store(&self, _: &BatchView) -> i32 {
        PIPELINE_STORE_OK
    }
}

fn start(sampling_max_weight: u32) -> Pipeline {
    let config = Config {
        writers: 1,
        ring_bytes: 16 << 20,
        sampling_max_weight,
        sampling_hold_ms: 3_600_000,
        ..Config::default()
    };
    Pipeline::start(config, Nothing).expect("it starts")
}

fn drain(pipeline: &Pipeline) {
    pipeline.resume().expect("it runs");
    pipeline.flush(PATIENCE).expect("the storage stores");
    pipeline.pause().expect("it runs");
}

fn burst(pipeline: &Pipeline) -> f64 {
    let payload = [7u64; 2];
    let began = Instant::now();
    for n in 0..BURST {
        let event = Event {
            struct_size: size_of::<Event>() as u32,
            kind: 1,
            timestamp_ns: 0,
            correlation_id: 1 + n % TRACES,
            node_id: 0,
            flags: 0,
            reserved: 0,
            data: payload.as_ptr().cast(),
            len: 16,
        };
        // SAFETY: the payload is readable.
        assert_eq!(unsafe { pipeline_capture_event(pipeline, &raw const event) }, PIPELINE_OK);
    }
    began.elapsed().as_nanos() as f64 / BURST as f64
}

/// Fills the ring beyond the watermark, so that sampling begins, and drains it, so that the weight of new traces is 1 again.
fn begin_sampling(pipeline: &Pipeline) -> u64 {
    pipeline.pause().expect("it runs");
    let payload = [0; 4096];
    let offer = Offer::new(1, payload.as_ptr(), payload.len());
    let mut offered = 0;
    loop {
        offered += 1;
        // SAFETY: the payload is readable.
        let status = unsafe { pipeline.capture(&offer) };
        if status == PIPELINE_SAMPLED {
            break;
        }
        assert_eq!(status, PIPELINE_OK);
    }
    drain(pipeline);
    while pipeline.metrics().sampling_weight > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    offered
}

fn decision() -> f64 {
    let sampling = Sampling::new(1);
    sampling.prepare(2, 8192).expect("there is memory");
    sampling.allow(2);
    let began = Instant::now();
    let mut kept = 0;
    for n in 0..BURST {
        kept += u64::from(black_box(&sampling).decide(1 + n % TRACES, || 0).fate == Fate::Keep);
    }
    assert_eq!(kept, BURST);
    began.elapsed().as_nanos() as f64 / BURST as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let (plain, sampled) = (start(0), start(1024));
    let begun = begin_sampling(&sampled);
    let (mut each, mut more, mut decided) = ([Vec::new(), Vec::new()], Vec::new(), Vec::new());
    for round in 0..BURSTS {
        let mut took = [0.0; 2];
        for turn in 0..2 {
            let way = (round + turn) % 2;
            let pipeline = [&plain, &sampled][way];
            took[way] = burst(pipeline);
            drain(pipeline);
            each[way].push(took[way]);
        }
        more.push(took[1] - took[0]);
        decided.push(decision());
    }
    let all = BURST * BURSTS as u64;
    let (metrics, sampling) = (plain.metrics(), sampled.metrics());
    assert_eq!((metrics.ledger.stored, metrics.ledger.offered()), (all, all));
    assert_eq!((sampling.ledger.offered(), sampling.ledger.dropped_sampled), (all + begun, 1));
    assert_eq!((sampling.ledger.stored, sampling.traces_untracked), (all + begun - 1, 0));
    let [plain, sampled] = each.map(|mut each| median(&mut each));
    println!("a capture without sampling: {plain:.1} ns; sampled: {sampled:.1} ns, {:.2} x", sampled / plain);
    println!("more, from burst to burst: {:.1} ns", median(&mut more));
    println!("the decision alone, its trace in the table: {:.1} ns", median(&mut decided));
}
