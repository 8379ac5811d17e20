//! A storage that takes spans asks for views, or names single events, while there is no memory for them: that is an error to it, nothing
//! has changed, and no event is lost. A program of its own, because the limit is one of the process.
#![cfg(target_os = "linux")]

use capture_pipeline::batch::spans::SpanBatch;
use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::capture::Offer;
use capture_pipeline::config::Config;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::status::{PIPELINE_ERR_NO_MEMORY, PIPELINE_OK};
use capture_pipeline::storage::{
    Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY,
    Storage,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Their views take more than the 64 MB of address space that the C library keeps for the allocations of a thread.
const EVENTS: usize = 1_200_000;
/// What the process may still have.
const LEFT: u64 = 8 << 20;

/// As long as it lives, the process gets little memory.
struct Scarce(libc::rlimit);

impl Scarce {
    fn begin() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").expect("the process's status");
        let line = status.lines().find(|line| line.starts_with("VmSize:")).expect("its size");
        let kb: u64 = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number");
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: plain data.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &raw mut before), 0);
            let scarce = libc::rlimit { rlim_cur: (kb << 10) + LEFT, ..before };
            assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const scarce), 0);
        }
        Self(before)
    }
}

impl Drop for Scarce {
    fn drop(&mut self) {
        // SAFETY: plain data.
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const self.0) };
    }
}

/// The calls, and how many events each was shown.
type Calls = Arc<Mutex<Vec<(&'static str, usize)>>>;

struct Asking(Calls);

fn refused<T>(result: Result<T, capture_pipeline::status::Error>) -> bool {
    result.is_err_and(|error| error.status == PIPELINE_ERR_NO_MEMORY)
}

// SAFETY: the storage uses a batch only inside its calls.
unsafe impl Storage for Asking {
    fn abilities(&self) -> Abilities {
        Abilities { span_bytes: Some(u64::MAX), dead_letter: true, ..Abilities::default() }
    }
    fn store(&self, batch: &BatchView) -> i32 {
        self.0.lock().unwrap().push(("store", batch.count));
        PIPELINE_STORE_REJECT
    }
    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        self.0.lock().unwrap().push(("store_spans", batch.count()));
        let token = batch.token();
        let scarce = Scarce::begin();
        match batch.attempt() {
            1 => {
                let all = [
                    refused(batch.view().map(|_| ())),
                    refused(token::set_stored(token, 5)),
                    refused(token::set_rejected(token, 5)),
                    refused(token::complete(token, 5, PIPELINE_STORE_OK)),
                ];
                drop(scarce);
                assert_eq!(all, [true; 4], "refused for lack of memory");
                // All of them at once need no views.
                token::set_stored(token, 0).expect("no event");
                PIPELINE_STORE_RETRY
            }
            2 => {
                // For these there is no memory either: the batch is tried again instead.
                token::complete(token, 0, PIPELINE_STORE_REJECT).expect("an answer");
                std::mem::forget(scarce);
                PIPELINE_STORE_PENDING
            }
            3 => {
                // (The limit of the attempt before; `scarce` would put it back.)
                std::mem::forget(scarce);
                let none = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
                // SAFETY: plain data.
                assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const none) }, 0);
                assert_eq!(batch.view().map(|view| view.count).ok(), Some(EVENTS));
                token::set_stored(token, 5).expect("a prefix");
                PIPELINE_STORE_RETRY
            }
            n => panic!("attempt {n} as spans"),
        }
    }
    fn dead_letter(&self, batch: &BatchView, _: i32) -> i32 {
        self.0.lock().unwrap().push(("dead_letter", batch.count));
        PIPELINE_STORE_OK
    }
}

#[test]
fn without_memory_for_views_nothing_changes_and_no_event_is_lost() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain data.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) }, 0);
    if limit.rlim_max != libc::RLIM_INFINITY {
        println!("the process has a limit already: not tried");
        return;
    }
    let calls = Calls::default();
    let config = Config { writers: 0, ring_bytes: 64 << 20, batch_bytes: 1 << 32, ..Config::default() };
    let pipeline = Pipeline::start(config, Asking(Arc::clone(&calls))).expect("starts");
    for _ in 0..EVENTS {
        // SAFETY: no payload.
        assert_eq!(unsafe { pipeline.capture(&Offer::new(1, std::ptr::null(), 0)) }, PIPELINE_OK);
    }
    pipeline.scale(1).expect("a writer");
    pipeline.close(Some(PATIENCE)).expect("closes");
    let metrics = pipeline.metrics();
    assert!(metrics.ledger.balances());
    assert_eq!((metrics.ledger.stored, metrics.ledger.dead_lettered), (5, EVENTS as u64 - 5));
    assert_eq!(metrics.panics, 0);
    let wanted = [
        ("store_spans", EVENTS),
        ("store_spans", EVENTS),
        ("store_spans", EVENTS),
        ("store", EVENTS - 5),
        ("dead_letter", EVENTS - 5),
    ];
    assert_eq!(*calls.lock().unwrap(), wanted);
    pipeline.destroy().expect("is destroyed");
}
