//! The seam between the pipeline and the machine: time, parking, threads, randomness, barriers, the process.
//!
//! Everything above reaches the operating system through here (except the ring's memory), so that a model checker or a
//! simulator can take its place. Under `cfg(loom)`, [`sync`] has loom's types, and there is no module that needs others. Under
//! `cfg(simulator)` the threads of a simulated run use the simulator, and all other threads the system.

pub mod barrier;
pub mod cache;
pub mod cancellation;
mod errno;
pub mod file_calls;
#[cfg(not(loom))]
pub mod files;
#[cfg(not(loom))]
pub mod global;
/// cbindgen:ignore
pub mod hazard;
/// cbindgen:ignore
pub mod kill_point;
#[cfg(not(loom))]
pub mod last_thread;
pub mod memory;
#[cfg(not(loom))]
mod own_threads;
#[cfg(not(loom))]
pub mod park;
pub mod place;
#[cfg(not(loom))]
pub mod placement;
#[cfg(not(loom))]
pub mod process;
pub mod random;
pub mod signals;
#[cfg(simulator)]
pub mod simulator;
mod splitmix;
#[cfg(not(loom))]
mod stack;
pub mod sync;
#[cfg(not(loom))]
pub mod thread;
pub mod thread_local;
pub mod time;
