//! Parts of a source in memory, through pools with storages of every kind.

mod ends;
mod fates;
mod in_flight;

use super::*;
use crate::batch::recovered::tests::{event, facts, part, run};
use crate::batch::{BatchView, token};
use crate::capture::registry::tests::capture;
use crate::config::Config;
use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME, PIPELINE_KIND_RESERVED};
use crate::ledger::Ledger;
use crate::platform::{barrier, process};
use crate::pool::health::{PIPELINE_DEGRADED, PIPELINE_HEALTH_RECOVERY};
use crate::storage::{
    Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY,
    Storage,
};
use crate::transform::{PIPELINE_TRANSFORM_FILTER, PIPELINE_TRANSFORM_KEEP, Transform};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering as Order};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a storage was shown of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    generation: u64,
    batch_id: u64,
    token: u64,
    attempt: u32,
    offset: i64,
    wall_ns: i64,
    ring_id: u64,
    sequences: Vec<u64>,
    payloads: Vec<Vec<u8>>,
    meta: bool,
}

impl Shown {
    fn of(batch: &BatchView) -> Self {
        let events = batch.events();
        Self {
            generation: batch.generation,
            batch_id: batch.batch_id,
            token: batch.token,
            attempt: batch.attempt,
            offset: batch.realtime_offset_ns,
            wall_ns: batch.processed_at_ns as i64 + batch.realtime_offset_ns,
            ring_id: events.first().map_or(0, |event| event.ring_id),
            sequences: events.iter().map(|event| event.sequence).collect(),
            payloads: events.iter().map(|event| event.payload().to_vec()).collect(),
            meta: events.first().is_some_and(|event| event.kind >= PIPELINE_KIND_RESERVED),
        }
    }
}

/// Answers as it is told, and tells what it was shown.
struct Told<F> {
    can: Abilities,
    answer: F,
    shown: Mutex<Sender<Shown>>,
    released: Arc<AtomicU64>,
    dead: Mutex<Sender<Shown>>,
}

// SAFETY: a batch is used before its answer alone.
unsafe impl<F: Fn(&Shown) -> i32 + Send + Sync> Storage for Told<F> {
    fn abilities(&self) -> Abilities {
        self.can
    }
    fn store(&self, batch: &BatchView) -> i32 {
        let shown = Shown::of(batch);
        let answer = (self.answer)(&shown);
        let _ = self.shown.lock().unwrap().send(shown);
        answer
    }
    fn dead_letter(&self, batch: &BatchView, _: i32) -> i32 {
        let _ = self.dead.lock().unwrap().send(Shown::of(batch));
        PIPELINE_STORE_OK
    }
    fn release(&self, _: &EventView) {
        self.released.fetch_add(1, Order::AcqRel);
    }
}

/// A source in memory.
struct Memory {
    parts: VecDeque<Part>,
    acknowledged: Sender<u64>,
    /// Of an empty source: whether it ends, or may have more later.
    ends: bool,
    torn: u64,
    problem: Option<String>,
}

impl OldRuns for Memory {
    fn next(&mut self, _: &Most, meta: bool) -> Next {
        loop {
            match self.parts.pop_front() {
                Some(part) if part.meta && !meta => {}
                Some(part) => return Next::Part(part),
                None if self.ends => return Next::End,
                None => return Next::Later,
            }
        }
    }
    fn acknowledge(&mut self, number: u64) {
        // (A test may be over before its pool is.)
        let _over = self.acknowledged.send(number);
    }
    fn take_torn(&mut self) -> u64 {
        std::mem::take(&mut self.torn)
    }
    fn problem(&self) -> Option<String> {
        self.problem.clone()
    }
}

/// A pool, and what comes out of it.
struct Scene {
    pool: Arc<Pool>,
    shown: Receiver<Shown>,
    dead: Receiver<Shown>,
    released: Arc<AtomicU64>,
    acknowledged: Receiver<u64>,
    acknowledge: Sender<u64>,
}

fn scene(config: Config, can: Abilities, answer: impl Fn(&Shown) -> i32 + Send + Sync + 'static) -> Scene {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 44);
    let ((shows, shown), (dies, dead), (acknowledge, acknowledged)) = (channel(), channel(), channel());
    let released = Arc::new(AtomicU64::new(0));
    let storage = Told {
        can,
        answer,
        shown: Mutex::new(shows),
        released: Arc::clone(&released),
        dead: Mutex::new(dies),
    };
    let (id, alive) = (NEXT.fetch_add(1, Order::Relaxed), process::alive().unwrap());
    let pool = Pool::start(config, Box::new(storage), id, alive, barrier::register(), |_| {}).unwrap();
    Scene { pool, shown, dead, released, acknowledged, acknowledge }
}

impl Scene {
    fn recover(&self, parts: impl IntoIterator<Item = Part>) {
        self.recover_with(parts, true, |_| {});
    }

    fn recover_with(
        &self,
        parts: impl IntoIterator<Item = Part>,
        ends: bool,
        change: impl FnOnce(&mut Memory),
    ) {
        let mut source = Memory {
            parts: parts.into_iter().collect(),
            acknowledged: self.acknowledge.clone(),
            ends,
            torn: 0,
            problem: None,
        };
        change(&mut source);
        self.pool.recover(Box::new(source)).unwrap();
    }

    fn next(&self) -> Shown {
        self.shown.recv_timeout(PATIENCE).unwrap()
    }

    fn acknowledged(&self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.acknowledged.recv_timeout(PATIENCE).unwrap()).collect()
    }

    /// Waits until it is so.
    fn until(&self, what: &str, mut is_so: impl FnMut(&mut State) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(&mut self.pool.lock()) {
            assert!(Instant::now() < end, "{what}: {:?}", self.pool.ledger());
            std::thread::yield_now();
        }
    }

    fn until_over(&self) {
        self.until("the recovery's thread has not ended", |st| {
            st.recovery.is_empty() && !st.recovery.is_running()
        });
    }

    /// The ledger, which balances.
    fn ledger(&self) -> Ledger {
        let ledger = self.pool.ledger();
        assert!(ledger.balances() && ledger.priority.balances(), "{ledger:?}");
        ledger
    }

    fn complete(&self, shown: &Shown, result: i32) {
        token::complete(shown.token, 0, result).unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.pool.abandon();
    }
}

fn quick() -> Config {
    Config { retry_initial_us: 1, retry_max_us: 100, writers: 2, ..Config::default() }
}

const CONCURRENT: Abilities = Abilities {
    concurrent: true,
    meta: false,
    old_facts: false,
    one_run: false,
    flush: false,
    ordered: false,
    finish: false,
    dead_letter: false,
    release: false,
    release_anywhere: false,
    release_marked: false,
    release_unstored: false,
    span_bytes: None,
};
