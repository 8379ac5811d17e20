//! The cost of faults: the time until the batch of a dead writer is offered to the storage again, and the time by which `close`
//! exceeds its timeout if the storage does not answer.
//!
//! `cargo bench --bench faults -- [deaths] [closes]`. The printed bounds are those of the project: 10 ms, and the timeout plus
//! 100 ms. Checks that every event was stored in the batch that had carried it before.

use capture_pipeline::batch::BatchView;
use capture_pipeline::capture::Offer;
use capture_pipeline::config::Config;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::platform::time::now_ns;
use capture_pipeline::status::PIPELINE_ERR_TIMEOUT;
use capture_pipeline::storage::callback::{CallbackStorage, pipeline_storage_t};
use capture_pipeline::storage::{
    PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_RETRY,
};
use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const BOUND_DEATH_NS: u64 = 10_000_000;
const BOUND_CLOSE_NS: u64 = 100_000_000;
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// The next first attempt of a batch ends its thread.
static DEADLY: AtomicBool = AtomicBool::new(false);
/// When a thread ended last, and the id of its batch.
static DIED_AT: AtomicU64 = AtomicU64::new(0);
static DIED_WITH: AtomicU64 = AtomicU64::new(0);
static STORED: AtomicU64 = AtomicU64::new(0);
static SAMPLES: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Where it ends its thread, no frame holds anything that needs a destructor.
unsafe extern "C-unwind" fn deadly(_: *mut c_void, batch: *const BatchView) -> i32 {
    let now = now_ns();
    // SAFETY: the batch is valid during the call.
    let (id, attempt, count) = unsafe { ((*batch).batch_id, (*batch).attempt, (*batch).count) };
    if attempt == 1 && DEADLY.swap(false, SeqCst) {
        DIED_WITH.store(id, SeqCst);
        DIED_AT.store(now_ns(), SeqCst);
        // SAFETY: ends this thread. A callback must not do that; this is the fault under test.
        unsafe { libc::pthread_exit(std::ptr::null_mut()) };
    }
    if attempt > 1 {
        record(id, now);
    }
    STORED.fetch_add(count as u64, SeqCst);
    PIPELINE_STORE_OK
}

fn record(id: u64, now: u64) {
    assert_eq!(id, DIED_WITH.load(SeqCst), "the same batch");
    SAMPLES.lock().expect("not poisoned").push(now - DIED_AT.load(SeqCst));
}

fn callbacks(
    flags: u32,
    store: unsafe extern "C-unwind" fn(*mut c_void, *const BatchView) -> i32,
) -> Box<CallbackStorage> {
    let functions = pipeline_storage_t { flags, store: Some(store), ..pipeline_storage_t::default() };
    // SAFETY: the functions above accept any user data.
    Box::new(unsafe { CallbackStorage::new(functions) })
}

fn capture(pipeline: &Pipeline, events: u64) {
    for _ in 0..events {
        let offer = Offer::new(1, std::ptr::null(), 0);
        // SAFETY: no payload.
        assert_eq!(unsafe { pipeline.capture(&offer) }, 0);
    }
}

fn percentile(sorted: &[u64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)] as f64 / 1e6
}

fn verdict(most: u64, bound: u64) -> &'static str {
    if most <= bound { "met" } else { "NOT MET" }
}

/// Writers die one after the other; between two deaths a batch is acknowledged.
fn deaths(what: &str, count: u64, flags: u32, config: Config) {
    STORED.store(0, SeqCst);
    let pipeline = Pipeline::start_plain(config, callbacks(flags, deadly)).expect("the pipeline starts");
    for _ in 0..count {
        DEADLY.store(true, SeqCst);
        capture(&pipeline, 1);
        pipeline.flush(Some(PATIENCE)).expect("the flush succeeds");
        capture(&pipeline, 1);
        pipeline.flush(Some(PATIENCE)).expect("the flush succeeds");
    }
    pipeline.close(Some(PATIENCE)).expect("the close succeeds");
    let metrics = pipeline.metrics();
    pipeline.destroy().expect("no thread is left");
    assert_eq!((metrics.writer_restarts, metrics.ledger.stored), (count, 2 * count));
    assert_eq!(STORED.load(SeqCst), 2 * count);
    let mut samples = std::mem::take(&mut *SAMPLES.lock().expect("not poisoned"));
    assert_eq!(samples.len() as u64, count);
    samples.sort_unstable();
    let most = samples[samples.len() - 1];
    println!(
        "batch of a dead writer, {what}: offered again after p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; \
         bound 10 ms for p99: {}",
        percentile(&samples, 50),
        percentile(&samples, 99),
        most as f64 / 1e6,
        verdict((percentile(&samples, 99) * 1e6) as u64, BOUND_DEATH_NS),
    );
}

/// Whether the storage hangs.
static HUNG: AtomicBool = AtomicBool::new(false);
static TOKENS: Mutex<Vec<u64>> = Mutex::new(Vec::new());

unsafe extern "C-unwind" fn hangs(_: *mut c_void, _: *const BatchView) -> i32 {
    while HUNG.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    PIPELINE_STORE_OK
}

unsafe extern "C-unwind" fn never_completes(_: *mut c_void, batch: *const BatchView) -> i32 {
    // SAFETY: the batch is valid during the call.
    TOKENS.lock().expect("not poisoned").push(unsafe { (*batch).token });
    PIPELINE_STORE_PENDING
}

unsafe extern "C-unwind" fn fails(_: *mut c_void, _: *const BatchView) -> i32 {
    PIPELINE_STORE_RETRY
}

fn closes(
    what: &str,
    count: u64,
    flags: u32,
    writers: u32,
    store: unsafe extern "C-unwind" fn(*mut c_void, *const BatchView) -> i32,
) {
    const EVENTS: u64 = 1_000;
    let mut most = 0;
    for _ in 0..count {
        HUNG.store(true, SeqCst);
        let config = Config { writers, batch_size: 10, storage_deadline_ms: 50, ..Config::default() };
        let pipeline = Pipeline::start_plain(config, callbacks(flags, store)).expect("the pipeline starts");
        capture(&pipeline, EVENTS);
        // Until the storage has been called.
        while pipeline.metrics().ledger.in_flight == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let began = now_ns();
        let closed = pipeline.close(Some(CLOSE_TIMEOUT));
        let took = now_ns() - began;
        assert_eq!(closed.expect_err("the storage does not answer").status, PIPELINE_ERR_TIMEOUT);
        most = most.max(took.saturating_sub(CLOSE_TIMEOUT.as_nanos() as u64));
        let l = pipeline.metrics().ledger;
        assert_eq!((l.in_flight + l.in_doubt + l.left, l.stored), (EVENTS, 0));
        HUNG.store(false, SeqCst);
        for token in std::mem::take(&mut *TOKENS.lock().expect("not poisoned")) {
            let _ = capture_pipeline::batch::token::complete(token, 0, PIPELINE_STORE_OK);
        }
        while pipeline.destroy().is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    println!(
        "close with a timeout of 200 ms, {what}: at most {:.2} ms late in {count} runs; bound 100 ms: {}",
        most as f64 / 1e6,
        verdict(most, BOUND_CLOSE_NS)
    );
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let deadly: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(200);
    let closing: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(20);
    let concurrent = PIPELINE_STORAGE_CONCURRENT;
    deaths("1 writer", deadly, 0, Config::default());
    deaths("4 concurrent writers", deadly, concurrent, Config { writers: 4, ..Config::default() });
    deaths("1 writer, no back-off", deadly, 0, Config { retry_initial_us: 0, ..Config::default() });
    closes("1 writer hangs", closing, 0, 1, hangs);
    closes("4 writers and their replacements hang", closing, concurrent, 4, hangs);
    closes("batches are never completed", closing, 0, 1, never_completes);
    closes("the storage fails, the breaker is open", closing, concurrent, 2, fails);
}
