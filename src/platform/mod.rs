//! The seam between the pipeline and the machine: time, parking, threads, randomness, barriers, the process.
//!
//! Everything above reaches the operating system through here (the ring's memory apart), so that a model checker or a
//! simulator can stand in for it. Under `cfg(loom)` only [`sync`] and [`barrier`] exist, on loom's types.

pub mod barrier;
#[cfg(not(loom))]
pub mod global;
#[cfg(not(loom))]
pub mod park;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
pub mod random;
pub mod sync;
#[cfg(not(loom))]
pub mod thread;
#[cfg(not(loom))]
pub mod time;
