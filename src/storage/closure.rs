//! A storage that is one closure, for the library's own tests.

use super::Storage;
use crate::batch::BatchView;
use crate::event::EventView;

/// Shows each batch and its events to a closure, which answers for them. It also gets the library's own events, and calls may overlap.
pub struct Closure<F>(pub F);

// SAFETY: the closure is lent the batch for the length of the call.
unsafe impl<F: Fn(&BatchView, &[EventView]) -> i32 + Send + Sync> Storage for Closure<F> {
    fn concurrent(&self) -> bool {
        true
    }
    fn wants_meta(&self) -> bool {
        true
    }
    fn store(&self, batch: &BatchView) -> i32 {
        // SAFETY: `count` views, as every batch of this library has them; they live as long as the batch.
        (self.0)(batch, unsafe { std::slice::from_raw_parts(batch.events, batch.count) })
    }
}
