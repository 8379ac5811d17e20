//! The seam between the pipeline and the machine: time, parking, threads, randomness, barriers, the process.
//!
//! Everything above reaches the operating system through here (the ring's memory apart), so that a model checker or a
//! simulator can stand in for it. Under `cfg(loom)` only [`sync`] and [`barrier`] exist, on loom's types. Under
//! `cfg(simulator)` all of it is there twice: for the threads of a simulated run, and for the others as ever.

pub mod barrier;
#[cfg(not(loom))]
pub mod cache;
#[cfg(not(loom))]
pub mod global;
#[cfg(not(loom))]
pub mod park;
#[cfg(not(loom))]
pub mod placement;
#[cfg(not(loom))]
pub mod places;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
pub mod random;
#[cfg(simulator)]
pub mod simulator;
pub mod sync;
#[cfg(not(loom))]
pub mod thread;
#[cfg(not(loom))]
pub mod time;
