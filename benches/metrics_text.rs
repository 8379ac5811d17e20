//! How long the metrics of 100 pipelines take as text: at most 1 ms is wanted.
//!
//! `cargo bench --bench metrics_text`. Each pipeline has two writers, and has stored events, so that numbers have some digits. The buffer is that of a program that
//! asks again and again. The median and the worst of many calls are printed, and the size of the text. It fails if the median is over 1 ms.

use capture_pipeline::batch::BatchView;
use capture_pipeline::config::Config;
use capture_pipeline::ffi::capture::pipeline_capture;
use capture_pipeline::ffi::exposition::pipeline_metrics_text;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::status::PIPELINE_OK;
use capture_pipeline::storage::{PIPELINE_STORE_OK, Storage};
use std::time::{Duration, Instant};

const PIPELINES: usize = 100;
const CALLS: usize = 501;
const EVENTS: u64 = 20_000;

struct Nothing;

// SAFETY: the storage keeps no pointer into a batch.
unsafe impl Storage for Nothing {
    fn store(&self, _: &BatchView) -> i32 {
        PIPELINE_STORE_OK
    }
}

fn start(number: usize) -> Pipeline {
    let config =
        Config { name: format!("pipeline-{number}"), writers: 2, ring_bytes: 1 << 16, ..Config::default() };
    let pipeline = Pipeline::start(config, Nothing).expect("it starts");
    for n in 0..EVENTS {
        // SAFETY: the payload is readable.
        unsafe { pipeline_capture(&raw const pipeline as *mut _, 1, (&raw const n).cast(), 8) };
    }
    pipeline.flush(Some(Duration::from_secs(60))).expect("the storage stores");
    pipeline
}

fn main() {
    let pipelines: Vec<Pipeline> = (0..PIPELINES).map(start).collect();
    let pointers: Vec<*const Pipeline> = pipelines.iter().map(std::ptr::from_ref).collect();
    let mut length = 0;
    let text = |format, buffer: &mut [u8], length: &mut usize| {
        let room = if buffer.is_empty() { std::ptr::null_mut() } else { buffer.as_mut_ptr().cast() };
        // SAFETY: the pipelines live, and the buffer has so many bytes.
        let status = unsafe {
            pipeline_metrics_text(pointers.as_ptr(), PIPELINES, format, room, buffer.len(), length)
        };
        assert_eq!(status, PIPELINE_OK);
    };
    let mut late = false;
    for (format, name) in [(0, "Prometheus"), (1, "OpenMetrics")] {
        text(format, &mut [], &mut length);
        let mut buffer = vec![0; length + 1];
        let mut took: Vec<f64> = (0..CALLS)
            .map(|_| {
                let began = Instant::now();
                text(format, &mut buffer, &mut length);
                began.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        took.sort_by(f64::total_cmp);
        let (median, worst) = (took[CALLS / 2], took[CALLS - 1]);
        let lines = buffer[..length].iter().filter(|&&byte| byte == b'\n').count();
        println!(
            "{name}: {PIPELINES} pipelines, {lines} lines, {length} bytes: {median:.0} us, the worst of {CALLS} {worst:.0} us"
        );
        late |= median > 1000.0;
    }
    assert!(!late, "over 1 ms");
}
