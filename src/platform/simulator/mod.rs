//! The simulator: under `cfg(simulator)` the shipped pool, rings and writers run on a virtual clock and a scheduler that
//! follows from a seed, so that a failing run can be had again.
//!
//! Every thread is a real one (thread-local words, key destructors and a callback that ends its thread work as they do
//! in the field), but only the one that holds the baton runs. At each access to an atomic, a lock, the clock or a sleeping place ([`point`]) the
//! scheduler may pass the baton on. Memory is therefore sequentially consistent here: weaker orders are loom's business.
//! Threads that were not started inside [`run`] are left alone and use the real machine.
//!
//! Sources: the idea of simulating the shipped program under a seeded scheduler is that of FoundationDB's simulator; the
//! second policy is PCT (Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with Probabilistic
//! Guarantees of Finding Bugs, ASPLOS 2010).

mod atomics;
mod choice;
mod locks;
mod scheduler;
mod threads;

pub use atomics::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, fence};
pub use locks::{Condvar, Mutex, MutexGuard};
pub use scheduler::{
    Report, dice, fail, is_fair, is_simulated, longest_stall_ns, now_ns, once_in, point, run, sleep_ns,
    stalled_ns, step_aside, ticks,
};
pub(super) use scheduler::{block, wake};
pub(super) use threads::{born, join, refuse_thread};
