//! The simulator: under `cfg(simulator)` the shipped pool, rings and writers run on a virtual clock and a scheduler that
//! depends on a seed only, so that a failing run can be repeated.
//!
//! Every thread is a real one, so that thread-local words, key destructors and a callback that ends its thread work as usual, but only one
//! of them runs at a time. At each access to an atomic, a lock, the clock or a futex ([`point`]) the scheduler may switch to another
//! thread. Memory is therefore sequentially consistent here; weaker orders are tested with loom.
//! Files are those of the simulation as well ([`files`]): the journal's calls on them are points, may fail, and leave what a power loss would leave.
//! Threads that were not started inside [`run`] use the real machine.
//!
//! Sources: the idea of simulating the shipped program under a seeded scheduler is that of FoundationDB's simulator; the
//! second policy is PCT (Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with Probabilistic
//! Guarantees of Finding Bugs, ASPLOS 2010).

mod atomics;
mod choice;
pub mod files;
mod locks;
mod scheduler;
mod threads;

pub use atomics::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, fence};
pub use files::calls;
pub use locks::{Condvar, Mutex, MutexGuard};
pub use scheduler::{
    Report, dice, fail, is_fair, is_simulated, join, longest_stall_ns, now_ns, once_in, point, run, sleep_ns,
    stalled_ns, step_aside, ticks,
};
pub(super) use scheduler::{block, wake};
pub(super) use threads::{refuse_thread, wrap};
