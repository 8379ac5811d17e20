//! An answer that comes when nobody else is left.

use super::*;
use crate::config::Config;
use crate::event::PIPELINE_KIND_KIND_NAME;
use crate::platform::{barrier, process};
use crate::storage::PIPELINE_STORE_PENDING;
use crate::storage::closure::Closure;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_pending_answer_keeps_its_pool_when_everybody_else_has_let_go() {
    // The storage is gone when its end of the channel is.
    let (out, tokens) = mpsc::channel();
    let storage = Closure(move |batch: &BatchView, events: &[EventView]| {
        // (The clock is told as well, at any time.)
        if events.iter().all(|event| event.kind != PIPELINE_KIND_KIND_NAME) {
            return PIPELINE_STORE_OK;
        }
        out.send(batch.token).unwrap();
        PIPELINE_STORE_PENDING
    });
    let alive = process::alive().unwrap();
    let pool = Pool::start(Config::default(), Box::new(storage), 1 << 42, alive, barrier::register(), |_| {})
        .unwrap();
    pool.rings.tell_kind(1, b"one").unwrap();
    let token = tokens.recv_timeout(PATIENCE).unwrap();
    until("the answer is pending", || pool.lock().pending == 1);
    pool.abandon();
    pool.end_supervisor();
    let left = Arc::downgrade(&pool);
    drop(pool);
    until("nobody else is left", || left.strong_count() <= 1);
    assert_eq!(tokens.try_recv(), Err(mpsc::TryRecvError::Empty), "the storage is there");
    token::complete(token, 0, PIPELINE_STORE_OK).unwrap();
    until("nobody is left", || left.strong_count() == 0);
    assert_eq!(tokens.try_recv(), Err(mpsc::TryRecvError::Disconnected), "the storage is gone");
}
