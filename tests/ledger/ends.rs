//! How a pipeline ends while its storage does not: what is left is counted exactly, and the storage is dropped once, when the
//! last call or answer is in.

use crate::producers::{Door, Source};
use crate::{PATIENCE, calm, wait_for};
use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::config::Config;
use capture_pipeline::event::EventView;
use capture_pipeline::manager::{Pipeline, Producer};
use capture_pipeline::status::{
    PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_TIMEOUT, PIPELINE_ERR_UNKNOWN_TOKEN, PIPELINE_OK,
};
use capture_pipeline::storage::{
    Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_RETRY, Storage,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What a hanging storage has, and how it is let go.
#[derive(Default)]
struct Hung {
    /// What the next batches are to get, in order; afterwards OK.
    orders: Mutex<Vec<Order>>,
    /// Batches in a call that hangs, and whether such calls may return.
    hanging: Mutex<(u64, bool)>,
    change: Condvar,
    /// Tokens out, with the number of events.
    tokens: Mutex<Vec<(u64, u64)>>,
    stored: Mutex<Vec<u64>>,
    released: Mutex<Vec<u64>>,
    dropped: AtomicU32,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    /// `store` does not return until it is let go; then OK.
    Hang,
    /// PENDING.
    Pend,
}

impl Hung {
    fn new(orders: &[Order]) -> Arc<Self> {
        Arc::new(Self { orders: Mutex::new(orders.iter().rev().copied().collect()), ..Self::default() })
    }

    fn let_go(&self) {
        self.hanging.lock().unwrap().1 = true;
        self.change.notify_all();
    }

    fn hanging(&self) -> u64 {
        self.hanging.lock().unwrap().0
    }

    fn pending(&self) -> u64 {
        self.tokens.lock().unwrap().iter().map(|t| t.1).sum()
    }

    fn dropped(&self) -> u32 {
        self.dropped.load(Ordering::Acquire)
    }

    /// Everything captured was released, each event once.
    fn assert_released(&self, captured: u64) {
        let released = self.released.lock().unwrap();
        let once: HashSet<u64> = released.iter().copied().collect();
        assert_eq!((released.len() as u64, once.len() as u64), (captured, captured));
    }
}

struct Hanging(Arc<Hung>, bool);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::AcqRel);
    }
}

// SAFETY: tokens are completed as they were given, and batches are not used after their calls.
unsafe impl Storage for Hanging {
    fn abilities(&self) -> Abilities {
        Abilities { concurrent: self.1, release: true, ..Abilities::default() }
    }

    fn release(&self, event: &EventView) {
        self.0.released.lock().unwrap().push(event.correlation_id);
    }

    fn store(&self, batch: &BatchView) -> i32 {
        let events = batch.events();
        let order = self.0.orders.lock().unwrap().pop();
        match order {
            Some(Order::Hang) => {
                let mut hanging = self.0.hanging.lock().unwrap();
                hanging.0 += batch.count as u64;
                while !hanging.1 {
                    hanging = self.0.change.wait(hanging).unwrap();
                }
                hanging.0 -= batch.count as u64;
            }
            Some(Order::Pend) => {
                self.0.tokens.lock().unwrap().push((batch.token, batch.count as u64));
                return PIPELINE_STORE_PENDING;
            }
            None => {}
        }
        self.0.stored.lock().unwrap().extend(events.iter().map(|e| e.correlation_id));
        PIPELINE_STORE_OK
    }
}

fn start(hung: &Arc<Hung>, concurrent: bool, config: Config) -> Pipeline {
    Pipeline::start(config, Hanging(Arc::clone(hung), concurrent)).expect("starts")
}

fn offer(source: &mut Source, pipeline: &Pipeline, events: u64) {
    for _ in 0..events {
        assert_eq!(source.offer(&Door::Thread(pipeline), 32), PIPELINE_OK);
    }
}

fn status<T: std::fmt::Debug>(result: capture_pipeline::status::Result<T>) -> i32 {
    result.map_or_else(|e| e.status, |_| PIPELINE_OK)
}

/// Completes a token on a thread of its own.
fn complete_elsewhere(token: u64, result: i32) {
    let completed = std::thread::spawn(move || token::complete(token, 0, result)).join();
    completed.expect("does not panic").expect("the token is known");
}

#[test]
fn close_counts_what_a_hanging_storage_leaves() {
    let hung = Hung::new(&[Order::Hang]);
    let config = Config { writers: 1, batch_size: 10, storage_deadline_ms: 60_000, ..Config::default() };
    let pipeline = start(&hung, false, config);
    let mut source = Source::of(1);
    offer(&mut source, &pipeline, 100);
    wait_for("the call that hangs", || hung.hanging() > 0);
    let in_call = hung.hanging();
    let closed = pipeline.close(Some(Duration::from_millis(30)));
    assert_eq!(status(closed), PIPELINE_ERR_TIMEOUT);
    let l = pipeline.metrics().ledger;
    assert_eq!((l.captured, l.stored, l.in_flight, l.in_doubt), (100, 0, in_call, 0), "{l:?}");
    assert_eq!((l.left, l.buffered), (100 - in_call, 0), "{l:?}");
    assert!(l.balances(), "{l:?}");
    assert_eq!(source.offer(&Door::Thread(&pipeline), 1), PIPELINE_ERR_CLOSED);
    assert_eq!(status(pipeline.destroy()), PIPELINE_ERR_BUSY);
    assert_eq!(hung.dropped(), 0);
    hung.let_go();
    wait_for("destroy", || pipeline.destroy().is_ok());
    assert_eq!(hung.dropped(), 1);
    // The late answer counts; nothing else was handed to the storage; everything was released.
    let l = pipeline.metrics().ledger;
    assert_eq!((l.stored, l.in_flight, l.left), (in_call, 0, 100 - in_call), "{l:?}");
    assert!(l.balances(), "{l:?}");
    assert_eq!(hung.stored.lock().unwrap().len() as u64, in_call);
    hung.assert_released(100);
    drop(pipeline);
    assert_eq!(hung.dropped(), 1);
}

#[test]
fn a_close_that_timed_out_is_finished_by_another() {
    let hung = Hung::new(&[Order::Hang]);
    let pipeline = start(&hung, false, Config { batch_size: 10, ..Config::default() });
    let mut source = Source::of(1);
    offer(&mut source, &pipeline, 100);
    wait_for("the call that hangs", || hung.hanging() > 0);
    for timeout in [0, 1, 10] {
        let closed = pipeline.close(Some(Duration::from_millis(timeout)));
        assert_eq!(status(closed), PIPELINE_ERR_TIMEOUT);
    }
    hung.let_go();
    pipeline.close(Some(PATIENCE)).expect("closes");
    assert_eq!(status(pipeline.close(None)), PIPELINE_ERR_CLOSED);
    let l = pipeline.metrics().ledger;
    assert_eq!((l.captured, l.stored, l.left), (100, 100, 0), "{l:?}");
    hung.assert_released(100);
    pipeline.destroy().expect("is destroyed");
    assert_eq!(hung.dropped(), 1);
}

/// One close waits, another gives up at once and stops the writers: the first is told, and nobody is told that all is done.
#[test]
fn a_close_that_another_cut_short_is_finished_by_a_third() {
    let hung = Hung::new(&[Order::Hang]);
    let pipeline = start(&hung, true, Config { batch_size: 10, ..Config::default() });
    let mut source = Source::of(0);
    offer(&mut source, &pipeline, 100);
    wait_for("the call that hangs", || hung.hanging() > 0);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| status(pipeline.close(Some(PATIENCE))));
        wait_for("the first close", || source.offer(&Door::Thread(&pipeline), 32) == PIPELINE_ERR_CLOSED);
        assert_eq!(status(pipeline.close(Some(Duration::ZERO))), PIPELINE_ERR_TIMEOUT);
        hung.let_go();
        assert_eq!(first.join().expect("does not panic"), PIPELINE_ERR_CLOSED);
    });
    assert_eq!(status(pipeline.close(Some(PATIENCE))), PIPELINE_OK);
    let ledger = pipeline.metrics().ledger;
    assert_eq!((ledger.left, ledger.buffered, ledger.in_flight), (0, 0, 0), "{ledger:?}");
    assert_eq!(ledger.stored, ledger.captured);
    assert_eq!(status(pipeline.close(Some(PATIENCE))), PIPELINE_ERR_CLOSED);
    wait_for("destroy", || pipeline.destroy().is_ok());
    hung.assert_released(ledger.captured);
}

#[test]
fn doubts_and_pending_answers_are_counted_apart_when_close_times_out() {
    let hung = Hung::new(&[Order::Pend, Order::Hang, Order::Pend]);
    let config = Config {
        writers: 1,
        batch_size: 10,
        storage_deadline_ms: 5,
        poll_interval_ms: 1,
        // Two of the three may be in doubt; nothing is claimed beside the third.
        max_in_doubt: 2,
        max_in_flight: 1,
        retry_initial_us: 60_000_000,
        retry_max_us: 60_000_000,
        ..Config::default()
    };
    let pipeline = start(&hung, true, config);
    let mut source = Source::of(1);
    offer(&mut source, &pipeline, 100);
    wait_for("two pending and one that hangs", || {
        hung.hanging() > 0 && hung.tokens.lock().unwrap().len() == 2
    });
    wait_for("the doubts", || pipeline.health().message.contains("2 batches in doubt"));
    let out = hung.hanging() + hung.pending();
    let closed = pipeline.close(Some(Duration::from_millis(30)));
    assert_eq!(status(closed), PIPELINE_ERR_TIMEOUT);
    let l = pipeline.metrics().ledger;
    assert_eq!((l.in_flight + l.in_doubt, l.left, l.stored), (out, 100 - out, 0), "{l:?}");
    assert!(l.in_flight > 0 && l.in_doubt > 0 && l.balances(), "{l:?}");
    assert_eq!(status(pipeline.destroy()), PIPELINE_ERR_BUSY);
    hung.let_go();
    wait_for("the call that hung", || hung.hanging() == 0 && pipeline.metrics().writers_live == 0);
    // Two tokens are out: one is answered with a retry that nobody will make, the other is stored.
    let tokens = hung.tokens.lock().unwrap().clone();
    assert_eq!(status(pipeline.destroy()), PIPELINE_ERR_BUSY);
    token::complete(tokens[0].0, 0, PIPELINE_STORE_RETRY).expect("is known");
    assert_eq!(status(pipeline.destroy()), PIPELINE_ERR_BUSY);
    assert_eq!(hung.dropped(), 0);
    token::complete(tokens[1].0, 0, PIPELINE_STORE_OK).expect("is known");
    for (token, _) in &tokens {
        assert_eq!(status(token::complete(*token, 0, PIPELINE_STORE_OK)), PIPELINE_ERR_UNKNOWN_TOKEN);
    }
    // Nothing is out; the writer's thread may still be on its way out.
    wait_for("destroy", || pipeline.destroy().is_ok());
    assert_eq!(hung.dropped(), 1);
    let l = pipeline.metrics().ledger;
    assert_eq!(l.stored, out - tokens[0].1, "{l:?}");
    assert!(l.balances() && l.in_doubt == 0, "{l:?}");
    hung.assert_released(100);
}

#[test]
fn an_abandoned_pipeline_ends_with_its_last_token() {
    for result in [PIPELINE_STORE_OK, PIPELINE_STORE_RETRY] {
        let hung = Hung::new(&[Order::Pend, Order::Pend]);
        let pipeline = start(&hung, true, Config { batch_size: 10, ..Config::default() });
        let handle = pipeline.open_producer().expect("opens");
        let mut source = Source::of(1);
        offer(&mut source, &pipeline, 100);
        wait_for("two tokens", || hung.tokens.lock().unwrap().len() == 2);
        pipeline.abandon();
        // SAFETY: open until it is closed below.
        let refused = source.offer(&Door::Handle(unsafe { &*handle }), 1);
        assert_eq!(refused, PIPELINE_ERR_CLOSED);
        let tokens = hung.tokens.lock().unwrap().clone();
        assert_eq!(hung.dropped(), 0);
        complete_elsewhere(tokens[0].0, result);
        assert_eq!(hung.dropped(), 0, "a token is out");
        complete_elsewhere(tokens[1].0, result);
        wait_for("the storage's end", || hung.dropped() == 1);
        hung.assert_released(100);
        assert_eq!(status(token::complete(tokens[1].0, 0, PIPELINE_STORE_OK)), PIPELINE_ERR_UNKNOWN_TOKEN);
        // SAFETY: open, and not used again.
        unsafe { Producer::close(handle) };
        assert_eq!(hung.dropped(), 1);
    }
}

#[test]
fn an_abandoned_pipeline_ends_with_its_last_call() {
    let hung = Hung::new(&[Order::Hang]);
    let pipeline = start(&hung, false, Config { batch_size: 10, ..Config::default() });
    let mut source = Source::of(1);
    offer(&mut source, &pipeline, 100);
    wait_for("the call that hangs", || hung.hanging() > 0);
    drop(pipeline);
    assert_eq!(hung.dropped(), 0, "a call runs");
    hung.let_go();
    wait_for("the storage's end", || hung.dropped() == 1);
    hung.assert_released(100);
}

#[test]
fn scaling_against_close_leaves_nobody_waiting() {
    for round in 0..300 {
        let shared = calm(false);
        let pipeline =
            Pipeline::start(Config::default(), crate::storage::Chaos(Arc::clone(&shared))).expect("starts");
        let mut source = Source::of(1);
        for _ in 0..20 {
            assert_eq!(source.offer(&Door::Thread(&pipeline), 32), PIPELINE_OK);
        }
        let to = if round % 2 == 0 { 0 } else { 3 };
        std::thread::scope(|scope| {
            let scaler = scope.spawn(|| {
                loop {
                    match pipeline.scale(to) {
                        Ok(()) => {}
                        Err(error) => return error.status,
                    }
                }
            });
            pipeline.close(Some(PATIENCE)).expect("closes");
            pipeline.destroy().expect("is destroyed");
            assert_eq!(scaler.join().unwrap(), PIPELINE_ERR_CLOSED);
        });
        let metrics = pipeline.metrics();
        assert_eq!((metrics.ledger.stored, metrics.ledger.left), (20, 0), "{:?}", metrics.ledger);
        assert_eq!(metrics.writers_live, 0, "a writer outlives the pipeline");
        assert_eq!(shared.dropped.load(Ordering::Acquire), 1);
    }
}

#[test]
fn what_is_captured_while_a_pipeline_ends_is_released_too() {
    for round in 0..200 {
        let hung = Hung::new(&[]);
        let pipeline = start(&hung, true, Config { batch_size: 10, ..Config::default() });
        let handles: Vec<_> = (0..3).map(|_| pipeline.open_producer().expect("opens") as usize).collect();
        let captured: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0u32..)
                .zip(&handles)
                .map(|(id, &handle)| {
                    scope.spawn(move || {
                        // SAFETY: open until it is closed below; this thread alone uses it.
                        let producer = unsafe { &*(handle as *const Producer) };
                        let mut source = Source::of(id);
                        while source.offer(&Door::Handle(producer), 2000) != PIPELINE_ERR_CLOSED {}
                        source.records.iter().filter(|r| r.status == PIPELINE_OK).count() as u64
                    })
                })
                .collect();
            wait_for("some events", || !hung.stored.lock().unwrap().is_empty());
            if round % 2 == 0 {
                pipeline.abandon();
            } else {
                wait_for("destroy", || pipeline.destroy().is_ok());
            }
            wait_for("the storage's end", || hung.dropped() == 1);
            threads.into_iter().map(|t| t.join().expect("captures")).sum()
        });
        hung.assert_released(captured);
        for handle in handles {
            // SAFETY: open, and not used again.
            unsafe { Producer::close(handle as *const Producer) };
        }
    }
}

/// Figures that are read, and the supervisor's own look, must not come between a pipeline's end and what is left in its rings.
#[test]
fn what_is_left_is_released_while_others_look_at_the_rings() {
    for _ in 0..20 {
        let hung = Hung::new(&[]);
        let pipeline = start(&hung, false, Config { writers: 0, ..Config::default() });
        let mut source = Source::of(0);
        for _ in 0..60 {
            let handle = pipeline.open_producer().expect("opens");
            // SAFETY: open, and closed only afterwards; what it captured stays in its ring.
            let status = unsafe { source.offer(&Door::Handle(&*handle), 32) };
            assert_eq!(status, PIPELINE_OK);
            // SAFETY: open, and not used again.
            unsafe { Producer::close(handle) };
        }
        let over = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while over.load(Ordering::Relaxed) == 0 {
                    assert_eq!(pipeline.metrics().ledger.captured, 60);
                }
            });
            wait_for("destroy", || pipeline.destroy().is_ok());
            over.store(1, Ordering::Relaxed);
        });
        hung.assert_released(60);
    }
}
