//! An answer that comes when nothing else holds the pool.

use super::super::shutdown::Abandoned;
use super::*;
use crate::config::Config;
use crate::event::PIPELINE_KIND_KIND_NAME;
use crate::facts::Fact;
use crate::platform::{barrier, process};
use crate::ring::slot::tests::until;
use crate::storage::closure::Closure;
use crate::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_PENDING};
use std::sync::mpsc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_pending_answer_keeps_its_pool_when_nothing_else_holds_it() {
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
    pool.rings.tell_fact(&Fact::kind_name(1, b"one").unwrap()).unwrap();
    let token = tokens.recv_timeout(PATIENCE).unwrap();
    until("the answer is pending", || pool.lock().batches.pending == 1);
    pool.abandon();
    pool.end_supervisor();
    let left = Arc::downgrade(&pool);
    drop(pool);
    until("nothing but the answer holds the pool", || left.strong_count() <= 1);
    assert_eq!(tokens.try_recv(), Err(mpsc::TryRecvError::Empty), "the storage is there");
    token::complete(token, 0, PIPELINE_STORE_OK).unwrap();
    // What the supervisor does.
    let pool = left.upgrade().unwrap();
    assert_eq!(pool.look_after_abandoned(), Abandoned::AtRest);
    assert!(pool.tear_down_if_at_rest());
    drop(pool);
    until("nothing holds the pool", || left.strong_count() == 0);
    assert_eq!(tokens.try_recv(), Err(mpsc::TryRecvError::Disconnected), "the storage is gone");
}
