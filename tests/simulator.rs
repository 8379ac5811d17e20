//! The shipped pool, rings and writers under a scheduler, a clock and faults that follow from a seed; see
//! `platform::simulator`. A failing seed is printed, and fails again.
//!
//! `make simulate SEEDS=100000 FROM=1`. On its own it runs under `cfg(simulator)` only.

#[cfg(simulator)]
#[path = "ledger/check.rs"]
mod check;
#[cfg(simulator)]
#[path = "simulator/files.rs"]
mod files;
#[cfg(simulator)]
#[path = "simulator/journal/mod.rs"]
mod journal;
#[cfg(simulator)]
#[path = "simulator/old_runs.rs"]
mod old_runs;
#[cfg(simulator)]
#[path = "ledger/producers.rs"]
mod producers;
#[cfg(simulator)]
#[path = "ledger/rules.rs"]
mod rules;
#[cfg(simulator)]
#[path = "simulator/runs.rs"]
mod runs;
#[cfg(simulator)]
#[path = "simulator/scene.rs"]
mod scene;
#[cfg(simulator)]
#[path = "simulator/shape.rs"]
mod shape;
#[cfg(simulator)]
#[path = "simulator/start.rs"]
mod start;
#[cfg(simulator)]
#[path = "ledger/storage/mod.rs"]
mod storage;
#[cfg(simulator)]
#[path = "simulator/threads.rs"]
mod threads;
#[cfg(simulator)]
#[path = "ledger/world.rs"]
mod world;

#[cfg(not(simulator))]
fn main() {
    println!("simulator: runs under --cfg simulator (make simulate)");
}

#[cfg(simulator)]
fn main() {
    runs::main();
}
