//! A value in memory of its own, or in memory that another value keeps mapped, such as a file that outlives the process.

use std::any::Any;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// A shared value. It is used alike wherever it lies.
pub struct Place<T: ?Sized> {
    at: NonNull<T>,
    /// What keeps the memory. `None`: the place itself, which has allocated it.
    keeper: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: a place gives shared references to its value, and drops it at most once.
unsafe impl<T: ?Sized + Send + Sync> Send for Place<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Place<T> {}

impl<T: ?Sized> Place<T> {
    /// In memory of its own.
    pub fn own(value: Box<T>) -> Self {
        // SAFETY: a box is never NULL.
        Self { at: unsafe { NonNull::new_unchecked(Box::into_raw(value)) }, keeper: None }
    }

    /// In memory that `keeper` keeps.
    ///
    /// # Safety
    /// `at` points to a valid value, which stays valid as long as `keeper` lives, and is only used by shared references.
    pub unsafe fn within(at: NonNull<T>, keeper: Arc<dyn Any + Send + Sync>) -> Self {
        Self { at, keeper: Some(keeper) }
    }
}

impl<T: ?Sized> Deref for Place<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: valid as long as the place lives: allocated by it, or kept by the keeper.
        unsafe { self.at.as_ref() }
    }
}

impl<T: ?Sized> Drop for Place<T> {
    fn drop(&mut self) {
        if self.keeper.is_none() {
            // SAFETY: from `Box::into_raw` in `own`, and dropped once.
            drop(unsafe { Box::from_raw(self.at.as_ptr()) });
        }
    }
}

impl<T: ?Sized + std::fmt::Debug> std::fmt::Debug for Place<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}
