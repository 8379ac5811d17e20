//! Atomics, the lock and the condition variable: the standard library's (futex-based, no global state, so a lock held
//! by another thread at a fork cannot block the child's own pipelines), or loom's, or the simulator's.

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

/// A lock without poisoning: what it guards is kept consistent by its users, who do not panic while they hold it.
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

    /// The lock, if nobody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

/// Lets callers of flush, close and the like wait for a change.
#[cfg(not(any(loom, simulator)))]
#[derive(Debug, Default)]
pub struct Condvar(std::sync::Condvar);

#[cfg(not(any(loom, simulator)))]
impl Condvar {
    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Waits for a change, at most for `timeout` (`None`: for ever). May wake for no reason.
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

/// A value in cache lines of its own (two: the adjacent one is prefetched).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
