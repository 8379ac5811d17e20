//! The lock and the condition variable.

use super::scheduler::{block, is_simulated, now_ns, point, wake};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A lock without poisoning.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `held` lets one thread in at a time.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    fn address(&self) -> usize {
        (&raw const self.held) as usize
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        point();
        while self.held.swap(true, Ordering::SeqCst) {
            if is_simulated() {
                block(self.address(), u64::MAX);
            } else {
                std::thread::yield_now();
            }
        }
        MutexGuard { of: self }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        point();
        (!self.held.swap(true, Ordering::SeqCst)).then(|| MutexGuard { of: self })
    }

    fn let_go(&self) {
        self.held.store(false, Ordering::SeqCst);
        wake(self.address(), usize::MAX);
    }
}

/// The lock, held.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    of: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.of.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and the guard borrowed mutably.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.of.let_go();
        point();
    }
}

/// Lets callers wait for a change.
#[derive(Debug, Default)]
pub struct Condvar(u8);

impl Condvar {
    fn address(&self) -> usize {
        (&raw const self.0) as usize
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        point();
        wake(self.address(), usize::MAX);
    }

    /// Waits for a change, at most for `timeout` (`None`: for ever).
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>, timeout: Option<Duration>) -> MutexGuard<'a, T> {
        let of = guard.of;
        let until = timeout.map_or(u64::MAX, |t| now_ns().saturating_add(t.as_nanos() as u64));
        // Given up and blocked without a point in between: no notification can be missed.
        std::mem::forget(guard);
        of.let_go();
        block(self.address(), until);
        of.lock()
    }
}
