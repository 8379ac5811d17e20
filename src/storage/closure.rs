//! A storage that consists of one closure.

use super::{Abilities, Storage};
use crate::batch::BatchView;
use crate::event::EventView;

/// Passes each batch and its events to a closure, which answers. It also gets the library's own events, and its calls may overlap.
pub struct Closure<F>(pub F);

// SAFETY: the closure borrows the batch for the length of the call.
unsafe impl<F: Fn(&BatchView, &[EventView]) -> i32 + Send + Sync> Storage for Closure<F> {
    fn abilities(&self) -> Abilities {
        Abilities { concurrent: true, meta: true, ..Abilities::default() }
    }
    fn store(&self, batch: &BatchView) -> i32 {
        (self.0)(batch, batch.events())
    }
}
