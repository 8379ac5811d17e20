//! What others may do to a batch while it is exchanged for the next.

use super::*;
use crate::capture::registry::tests::capture;
use crate::config::Config;
use crate::platform::{barrier, process};
use crate::status::{PIPELINE_ERR_BUSY, PIPELINE_ERR_UNKNOWN_TOKEN};
use crate::storage::PIPELINE_STORE_PENDING;
use crate::storage::closure::Closure;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Exchanges, as often as the books are busy; whether a batch was given.
fn exchange(pool: &Arc<Pool>, slot: usize, token: u64) -> bool {
    loop {
        match pool.exchange(slot, token, PIPELINE_STORE_OK) {
            Err(error) if error.status == PIPELINE_ERR_BUSY => std::thread::yield_now(),
            answered => return answered.unwrap().is_some(),
        }
    }
}

#[test]
fn nobody_else_answers_a_batch_while_the_next_is_claimed_for_it() {
    let (out, tokens) = mpsc::channel();
    let over = Arc::new(AtomicBool::new(false));
    let at_once = Arc::clone(&over);
    let storage = Closure(move |batch: &BatchView, _: &[crate::event::EventView]| {
        if at_once.load(Ordering::Acquire) {
            return PIPELINE_STORE_OK;
        }
        out.send(batch.token).unwrap();
        PIPELINE_STORE_PENDING
    });
    // One batch may be out, of as many events as there are, so that a claim takes long enough to be met in the middle.
    let config = Config { max_in_flight: 1, batch_size: 65536, ..Config::default() };
    let alive = process::alive().unwrap();
    let pool = Pool::start(config, Box::new(storage), 1 << 41, alive, barrier::register(), |_| {}).unwrap();
    let producer = pool.rings.attach_handle().unwrap();
    let end = Instant::now() + PATIENCE;
    let mut met = false;
    while !met {
        assert!(Instant::now() < end, "a claim was never met in the middle");
        capture(producer);
        let token = tokens.recv_timeout(PATIENCE).unwrap();
        for _ in 0..1000 {
            capture(producer);
        }
        let slot = loop {
            let st = pool.lock();
            let is_named = |&slot: &usize| match st.batches.get(slot).map(|batch| batch.place) {
                Some(Place::Pending(attempt)) => attempt.token == token,
                _ => false,
            };
            match (0..st.batches.slots()).find(is_named) {
                Some(slot) => break slot,
                _ => assert!(Instant::now() < end, "token {token} is not pending"),
            }
        };
        std::thread::scope(|scope| {
            let exchanging = scope.spawn(|| exchange(&pool, slot, token));
            while !met && !exchanging.is_finished() {
                let mut st = pool.lock();
                if st.batches.claiming == 1 {
                    met = true;
                    let refused = answerable(&mut st, slot, token).map(|batch| batch.id);
                    assert_eq!(refused.unwrap_err().status, PIPELINE_ERR_UNKNOWN_TOKEN);
                }
            }
            assert!(exchanging.join().unwrap());
        });
        let given = {
            let st = pool.lock();
            let batches = &st.batches;
            assert_eq!((batches.in_flight, batches.pending, batches.claiming), (1, 1, 0));
            batches.iter().find_map(|batch| batch.attempt().map(|attempt| attempt.token))
        };
        over.store(met, Ordering::Release);
        token::complete(given.unwrap(), 0, PIPELINE_STORE_OK).unwrap();
    }
    pool.close(Some(PATIENCE)).unwrap();
    pool.abandon();
}
