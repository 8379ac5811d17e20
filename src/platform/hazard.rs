//! A value that is replaced while threads read it, by hazard pointers (Michael 2004): a reader says in a word of its own which value it reads, so the
//! value can be freed as soon as no word names it. A reader waits for nothing, and executes no locked instruction.

use super::barrier;
use super::sync::{AtomicPtr, Ordering};
use std::ops::Deref;
use std::ptr::NonNull;

/// The word in which one reader says what it reads.
#[derive(Debug)]
pub struct Hazard<T>(AtomicPtr<T>);

impl<T> Default for Hazard<T> {
    fn default() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }
}

impl<T> Hazard<T> {
    /// Whether its reader may be reading this value. After the value was replaced and a [`heavy`](barrier::heavy) barrier was passed, the answer `false` is final.
    pub fn names(&self, value: *const T) -> bool {
        std::ptr::eq(self.0.load(Ordering::Acquire), value)
    }
}

/// The value that readers find, if there is one. It belongs to somebody else.
#[derive(Debug)]
pub struct Current<T>(AtomicPtr<T>);

impl<T> Default for Current<T> {
    fn default() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }
}

impl<T> Current<T> {
    /// Has readers find this value from now on; NULL: none.
    pub fn replace(&self, value: *const T) {
        self.0.store(value.cast_mut(), Ordering::SeqCst);
    }

    /// The value, which is there until the reading is dropped. `asymmetric` is about the fence: see [`barrier`].
    ///
    /// # Safety
    /// The calling thread alone uses `hazard`, until the reading is dropped. Whoever replaces a value keeps it until a heavy barrier was passed
    /// and no hazard names it.
    #[inline(always)]
    pub unsafe fn read<'a>(&'a self, hazard: &'a Hazard<T>, asymmetric: bool) -> Option<Reading<'a, T>> {
        let mut found = self.0.load(Ordering::Acquire);
        loop {
            hazard.0.store(found, Ordering::Relaxed);
            // The fence is between the store of the hazard and the second load. Who replaces the value stores the new one, then loads the hazards.
            barrier::light(asymmetric);
            let now = self.0.load(Ordering::Acquire);
            if now == found {
                // (Without a value, the hazard names none either.)
                return NonNull::new(found).map(|value| Reading { value, hazard });
            }
            found = now;
        }
    }
}

/// A value that is being read.
#[derive(Debug)]
pub struct Reading<'a, T> {
    value: NonNull<T>,
    hazard: &'a Hazard<T>,
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the hazard names the value, so it is kept.
        unsafe { self.value.as_ref() }
    }
}

impl<T> Drop for Reading<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.hazard.0.store(std::ptr::null_mut(), Ordering::Release);
    }
}
