//! What the storage is told of the clock when another one takes over.

use super::*;
use crate::config::Config;
use crate::platform::{barrier, process};
use crate::storage::PIPELINE_STORE_OK;
use crate::storage::closure::Closure;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The facts that the storage was told.
type Told = Mutex<Vec<ClockFacts>>;

fn await_facts(told: &Told, so_many: usize) -> Vec<ClockFacts> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let facts = told.lock().unwrap().clone();
        if facts.len() >= so_many {
            return facts;
        }
        assert!(Instant::now() < end, "told of {facts:?} alone");
        std::thread::yield_now();
    }
}

#[test]
fn the_storage_is_told_of_the_clock_that_takes_over() {
    let told = Arc::new(Told::default());
    // The supervisor looks four times in the deadline.
    let config = Config { storage_deadline_ms: 40, ..Config::default() };
    let alive = process::alive().unwrap();
    let kept = Arc::clone(&told);
    let storage = Closure(move |_: &_, events: &[crate::event::EventView]| {
        let facts = events.iter().filter(|v| v.kind == PIPELINE_KIND_CLOCK);
        kept.lock().unwrap().extend(facts.filter_map(|v| ClockFacts::from_bytes(v.payload())));
        PIPELINE_STORE_OK
    });
    let pool = Pool::start(config, Box::new(storage), 1 << 40, alive, barrier::register(), |_| {}).unwrap();
    if !pool.clock.is_counter() {
        println!("the processor's counter is no clock here: there is nothing that it could be replaced by");
    } else {
        let facts = await_facts(&told, 2);
        assert_eq!([facts[0].clock, facts[1].clock], [PIPELINE_CLOCK_TICKS; 2]);
        assert_eq!(facts[0].ticks_hz, 0, "it takes a while to measure the rate");
        assert!(facts[1].ticks_hz > 0 && facts[1].ticks > facts[0].ticks);
        pool.intake().distrust_ticks();
        pool.call_supervisor();
        let last = await_facts(&told, 3)[2];
        assert_eq!((last.clock, last.ticks, last.ticks_hz), (PIPELINE_CLOCK_MONOTONIC, 0, 0));
        assert!(last.monotonic_ns >= facts[1].monotonic_ns);
        pool.call_supervisor();
    }
    let clocks = if pool.clock.is_counter() { 3 } else { 1 };
    pool.close(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(told.lock().unwrap().len(), clocks, "told once of each");
    assert_eq!(pool.metrics().ledger.offered(), 0, "and in no count");
    while !pool.tear_down_if_at_rest() {
        std::thread::yield_now();
    }
}
