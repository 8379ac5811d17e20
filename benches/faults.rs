//! What a fault costs: how long until the batch of a writer that a callback has ended is with the storage again, and by how much
//! `close` exceeds its timeout when the storage does not answer.
//!
//! `cargo bench --bench faults -- [deaths] [closes]`. The bounds that are printed beside the figures are those of the project:
//! 10 ms, and timeout plus 100 ms. Checks that every event was stored, each under the batch that had carried it.

use capture_pipeline::batch::BatchView;
use capture_pipeline::config::Config;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::platform::time::now_ns;
use capture_pipeline::ring::producer::Offer;
use capture_pipeline::status::PIPELINE_ERR_TIMEOUT;
use capture_pipeline::storage::callback::{CallbackStorage, Callbacks};
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

/// The first attempt of a batch ends its thread.
static DEADLY: AtomicBool = AtomicBool::new(false);
/// When the last one did, and with which batch.
static DIED_AT: AtomicU64 = AtomicU64::new(0);
static DIED_WITH: AtomicU64 = AtomicU64::new(0);
static STORED: AtomicU64 = AtomicU64::new(0);
static SAMPLES: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// No frame of it holds anything to unwind where it ends its thread.
unsafe extern "C-unwind" fn deadly(_: *mut c_void, batch: *const BatchView) -> i32 {
    let now = now_ns();
    // SAFETY: shown to us for the length of the call.
    let (id, attempt, count) = unsafe { ((*batch).batch_id, (*batch).attempt, (*batch).count) };
    if attempt == 1 && DEADLY.swap(false, SeqCst) {
        DIED_WITH.store(id, SeqCst);
        DIED_AT.store(now_ns(), SeqCst);
        // SAFETY: ends this thread, as a callback must not.
        unsafe { libc::pthread_exit(std::ptr::null_mut()) };
    }
    if attempt > 1 {
        note(id, now);
    }
    STORED.fetch_add(count as u64, SeqCst);
    PIPELINE_STORE_OK
}

fn note(id: u64, now: u64) {
    assert_eq!(id, DIED_WITH.load(SeqCst), "the same batch");
    SAMPLES.lock().expect("not poisoned").push(now - DIED_AT.load(SeqCst));
}

fn callbacks(
    flags: u32,
    store: unsafe extern "C-unwind" fn(*mut c_void, *const BatchView) -> i32,
) -> Box<CallbackStorage> {
    let callbacks = Callbacks {
        flags,
        user_data: std::ptr::null_mut(),
        store: Some(store),
        open_writer: None,
        close_writer: None,
        flush: None,
        dead_letter: None,
        release: None,
        destroy: None,
    };
    // SAFETY: the functions above take anything.
    Box::new(unsafe { CallbackStorage::new(callbacks) })
}

fn capture(pipeline: &Pipeline, events: u64) {
    for _ in 0..events {
        let offer = Offer {
            kind: 1,
            flags: 0,
            timestamp: 0,
            correlation_id: 0,
            node_id: 0,
            data: std::ptr::null(),
            len: 0,
        };
        // SAFETY: no payload.
        assert_eq!(unsafe { pipeline.capture(&offer) }, 0);
    }
}

fn percentile(sorted: &[u64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)] as f64 / 1e6
}

fn kept(most: u64, bound: u64) -> &'static str {
    if most <= bound { "kept" } else { "NOT KEPT" }
}

/// Deaths one by one, with a batch acknowledged between each two.
fn deaths(what: &str, count: u64, flags: u32, config: Config) {
    STORED.store(0, SeqCst);
    let pipeline = Pipeline::start_plain(config, callbacks(flags, deadly)).expect("it starts");
    for _ in 0..count {
        DEADLY.store(true, SeqCst);
        capture(&pipeline, 1);
        pipeline.flush(Some(PATIENCE)).expect("it flushes");
        capture(&pipeline, 1);
        pipeline.flush(Some(PATIENCE)).expect("it flushes");
    }
    pipeline.close(Some(PATIENCE)).expect("it closes");
    let metrics = pipeline.metrics();
    pipeline.destroy().expect("nothing runs");
    assert_eq!((metrics.writer_restarts, metrics.ledger.stored), (count, 2 * count));
    assert_eq!(STORED.load(SeqCst), 2 * count);
    let mut samples = std::mem::take(&mut *SAMPLES.lock().expect("not poisoned"));
    assert_eq!(samples.len() as u64, count);
    samples.sort_unstable();
    let most = samples[samples.len() - 1];
    println!(
        "a dead writer's batch, {what}: with the storage again after p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; \
         bound 10 ms for p99: {}",
        percentile(&samples, 50),
        percentile(&samples, 99),
        most as f64 / 1e6,
        kept((percentile(&samples, 99) * 1e6) as u64, BOUND_DEATH_NS),
    );
}

/// The storage does not answer.
static HUNG: AtomicBool = AtomicBool::new(false);
static TOKENS: Mutex<Vec<u64>> = Mutex::new(Vec::new());

unsafe extern "C-unwind" fn hangs(_: *mut c_void, _: *const BatchView) -> i32 {
    while HUNG.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    PIPELINE_STORE_OK
}

unsafe extern "C-unwind" fn keeps_silent(_: *mut c_void, batch: *const BatchView) -> i32 {
    // SAFETY: shown to us for the length of the call.
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
        let pipeline = Pipeline::start_plain(config, callbacks(flags, store)).expect("it starts");
        capture(&pipeline, EVENTS);
        // In the midst of it.
        while pipeline.metrics().ledger.in_flight == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let began = now_ns();
        let closed = pipeline.close(Some(CLOSE_TIMEOUT));
        let took = now_ns() - began;
        assert_eq!(closed.expect_err("it cannot drain").status, PIPELINE_ERR_TIMEOUT);
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
        "close with a timeout of 200 ms, {what}: at most {:.2} ms over it in {count}; bound 100 ms: {}",
        most as f64 / 1e6,
        kept(most, BOUND_CLOSE_NS)
    );
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let deadly: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(200);
    let closing: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(20);
    let concurrent = PIPELINE_STORAGE_CONCURRENT;
    deaths("1 writer", deadly, 0, Config::default());
    deaths("4 writers side by side", deadly, concurrent, Config { writers: 4, ..Config::default() });
    deaths("1 writer, no back-off", deadly, 0, Config { retry_initial_us: 0, ..Config::default() });
    closes("1 writer hangs", closing, 0, 1, hangs);
    closes("4 writers and their substitutes hang", closing, concurrent, 4, hangs);
    closes("answers stay out", closing, 0, 1, keeps_silent);
    closes("the storage fails, the circuit is open", closing, concurrent, 2, fails);
}
