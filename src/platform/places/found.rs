//! A thread's places as the compiler finds thread-local words.

use super::{PLACES, Place};
use std::cell::Cell;

/// The calling thread's places.
#[inline(always)]
pub fn with<R>(look: impl FnOnce(&[Place; PLACES]) -> R) -> R {
    thread_local! {
        static OWN: [Place; PLACES] =
            const { [const { Place { number: Cell::new(0), what: Cell::new(std::ptr::null_mut()) } }; PLACES] };
    }
    OWN.with(look)
}
