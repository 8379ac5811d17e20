//! Atomics, the lock and the condition variable: those of the standard library, of loom or of the simulator.
//!
//! The standard library's lock is a futex word and has no global state. A lock that another thread holds at a fork therefore
//! cannot block the child's own pipelines. `parking_lot` is not used because of that: it parks threads in one table per process
//! whose buckets have locks, and a bucket that is locked at a fork stays locked in the child.

#[cfg(simulator)]
pub use super::simulator::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(simulator)]
pub use std::sync::atomic::Ordering;
#[cfg(not(any(loom, simulator)))]
pub use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
use loom::sync as imp;
#[cfg(not(any(loom, simulator)))]
use std::sync as imp;

#[cfg(not(simulator))]
pub use imp::MutexGuard;

/// A lock without poisoning. Its users do not panic while they hold it, so the value is always consistent.
#[cfg(not(simulator))]
#[derive(Debug, Default)]
pub struct Mutex<T>(imp::Mutex<T>);

#[cfg(not(simulator))]
impl<T> Mutex<T> {
    /// A lock around `value`.
    pub fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

/// A condition variable: callers of flush, close and the like wait on it for a change.
#[cfg(not(any(loom, simulator)))]
#[derive(Debug, Default)]
pub struct Condvar(std::sync::Condvar);

#[cfg(not(any(loom, simulator)))]
impl Condvar {
    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Waits for a change, at most for `timeout` (`None`: without limit). Wake-ups may be spurious.
    pub fn wait<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Option<std::time::Duration>,
    ) -> MutexGuard<'a, T> {
        match timeout {
            Some(t) => self.0.wait_timeout(guard, t).unwrap_or_else(std::sync::PoisonError::into_inner).0,
            None => self.0.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner),
        }
    }
}
