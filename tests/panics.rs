//! A Rust storage that panics: the panic stays in its call and is reported in the health, the batch is tried again, and no event is lost.

use capture_pipeline::batch::{BatchView, WriterData};
use capture_pipeline::capture::Offer;
use capture_pipeline::config::Config;
use capture_pipeline::event::EventView;
use capture_pipeline::manager::{Health, Pipeline};
use capture_pipeline::pool::breaker::{PIPELINE_CIRCUIT_CLOSED, PIPELINE_CIRCUIT_OPEN};
use capture_pipeline::pool::faults::{PIPELINE_FAULT_NONE, PIPELINE_FAULT_PANIC};
use capture_pipeline::pool::health::{PIPELINE_HEALTH_FAULT, PIPELINE_HEALTH_NO_MEMBARRIER};
use capture_pipeline::storage::{Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_REJECT, Storage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Default)]
struct PanicSwitches {
    store: AtomicBool,
    open: AtomicBool,
    flush: AtomicBool,
    dead_letter: AtomicBool,
    release: AtomicBool,
    close: AtomicBool,
    reject: AtomicBool,
    calls: AtomicU64,
    stored: AtomicU64,
}

fn panic_if(word: &AtomicBool) {
    assert!(!word.load(Ordering::Acquire), "as told");
}

struct Panicking(Arc<PanicSwitches>);

// SAFETY: the storage does not use a batch after its answer.
unsafe impl Storage for Panicking {
    fn store(&self, batch: &BatchView) -> i32 {
        self.0.calls.fetch_add(1, Ordering::AcqRel);
        panic_if(&self.0.store);
        if self.0.reject.load(Ordering::Acquire) {
            return PIPELINE_STORE_REJECT;
        }
        self.0.stored.fetch_add(batch.count as u64, Ordering::AcqRel);
        PIPELINE_STORE_OK
    }
    fn open_writer(&self, _: u32) -> Result<WriterData, i32> {
        panic_if(&self.0.open);
        Ok(WriterData::NONE)
    }
    fn close_writer(&self, _: u32, _: WriterData) {
        panic_if(&self.0.close);
    }
    fn flush(&self, _: i64) -> i32 {
        panic_if(&self.0.flush);
        0
    }
    fn dead_letter(&self, _: &BatchView, _: i32) -> i32 {
        panic_if(&self.0.dead_letter);
        0
    }
    fn abilities(&self) -> Abilities {
        Abilities { flush: true, dead_letter: true, release: true, ..Abilities::default() }
    }
    fn release(&self, _: &EventView) {
        panic_if(&self.0.release);
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn start(config: Config) -> (Pipeline, Arc<PanicSwitches>) {
    let moods = Arc::new(PanicSwitches::default());
    let pipeline = Pipeline::start(config, Panicking(Arc::clone(&moods))).expect("starts");
    (pipeline, moods)
}

fn quick() -> Config {
    Config { retry_initial_us: 1_000, retry_max_us: 2_000, breaker_failures: 0, ..Config::default() }
}

fn capture(pipeline: &Pipeline) {
    let offer = Offer::new(1, std::ptr::null(), 0);
    // SAFETY: there is no payload.
    assert_eq!(unsafe { pipeline.capture(&offer) }, 0);
}

fn reasons(health: &Health) -> u32 {
    health.reasons & !PIPELINE_HEALTH_NO_MEMBARRIER
}

fn end(pipeline: &Pipeline) {
    pipeline.close(Some(PATIENCE)).expect("closes");
    wait_for("destroyed", || pipeline.destroy().is_ok());
}

#[test]
fn a_panic_in_store_is_a_failed_attempt_that_is_counted_and_named() {
    let (pipeline, moods) = start(quick());
    assert_eq!(pipeline.health().fault, PIPELINE_FAULT_NONE);
    moods.store.store(true, Ordering::Release);
    capture(&pipeline);
    wait_for("three panics", || pipeline.metrics().panics >= 3);
    let health = pipeline.health();
    assert_eq!(health.fault, PIPELINE_FAULT_PANIC);
    assert_ne!(reasons(&health) & PIPELINE_HEALTH_FAULT, 0);
    assert!(health.message.contains("panicked in a call of writer 0 with batch 1, "), "{}", health.message);
    assert_eq!((health.fault_writer, health.fault_batch), (0, 1));
    moods.store.store(false, Ordering::Release);
    wait_for("healthy", || reasons(&pipeline.health()) == 0);
    let metrics = pipeline.metrics();
    assert_eq!((metrics.ledger.stored, metrics.writer_restarts, metrics.bad_results), (1, 0, 0));
    // Every attempt except the last has panicked.
    assert_eq!((metrics.panics, metrics.retries), (moods.calls.load(Ordering::Acquire) - 1, metrics.panics));
    assert_eq!(pipeline.writer_metrics(0).expect("is there").panics, metrics.panics);
    assert_eq!(pipeline.health().faults, metrics.panics);
    end(&pipeline);
}

#[test]
fn panics_open_the_circuit_and_it_closes_when_they_end() {
    let (pipeline, moods) = start(Config { breaker_failures: 3, ..quick() });
    moods.store.store(true, Ordering::Release);
    for _ in 0..10 {
        capture(&pipeline);
    }
    wait_for("an open circuit", || pipeline.metrics().circuit == u64::from(PIPELINE_CIRCUIT_OPEN));
    moods.store.store(false, Ordering::Release);
    wait_for("all stored", || pipeline.metrics().ledger.stored == 10);
    assert_eq!(pipeline.metrics().circuit, u64::from(PIPELINE_CIRCUIT_CLOSED));
    end(&pipeline);
}

#[test]
fn a_panic_in_any_other_call_is_counted_as_well() {
    let (pipeline, moods) = start(quick());
    wait_for("open", || pipeline.metrics().writers_live == 1);
    capture(&pipeline);
    pipeline.flush(Some(PATIENCE)).expect("flushes");

    moods.flush.store(true, Ordering::Release);
    assert!(pipeline.flush(Some(PATIENCE)).is_err());
    moods.flush.store(false, Ordering::Release);
    assert_eq!(pipeline.metrics().panics, 1);
    assert!(
        pipeline.health().message.contains("panicked in a call of writer 0, "),
        "{}",
        pipeline.health().message
    );

    moods.release.store(true, Ordering::Release);
    capture(&pipeline);
    wait_for("two", || pipeline.metrics().panics == 2);
    wait_for("settled all the same", || pipeline.metrics().ledger.stored == 2);
    moods.release.store(false, Ordering::Release);

    moods.reject.store(true, Ordering::Release);
    moods.dead_letter.store(true, Ordering::Release);
    capture(&pipeline);
    wait_for("some more", || pipeline.metrics().panics >= 4);
    moods.dead_letter.store(false, Ordering::Release);
    wait_for("dead-lettered", || pipeline.metrics().ledger.dead_lettered == 1);
    moods.reject.store(false, Ordering::Release);
    wait_for("healthy", || reasons(&pipeline.health()) == 0);

    let before = pipeline.metrics().panics;
    moods.open.store(true, Ordering::Release);
    pipeline.scale(2).expect("scales");
    wait_for("one that cannot open", || pipeline.metrics().panics >= before + 2);
    assert!(pipeline.health().message.contains("writer 1 cannot open"), "{}", pipeline.health().message);
    moods.open.store(false, Ordering::Release);
    wait_for("two writers", || pipeline.writer_metrics(1).is_ok_and(|w| w.state != 3));

    let before = pipeline.metrics().panics;
    moods.close.store(true, Ordering::Release);
    pipeline.scale(1).expect("scales");
    wait_for("one that panicked as it closed", || pipeline.metrics().panics == before + 1);
    moods.close.store(false, Ordering::Release);
    end(&pipeline);
}
