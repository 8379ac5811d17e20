//! When a capture that waits for space is told of it.
//!
//! A blocked capture looks for space by itself for a while, then sleeps. Waking it costs two context switches, so a capture that is woken
//! for each batch's worth of space does little else than wait. While batches are settled quickly, a capture is therefore woken when half
//! of its ring is free, but at the latest after some more batches, or when a writer has nothing to do. That costs it a fraction of a
//! millisecond, and gives it space for as long.

use super::Pool;
use super::state::State;

impl Pool {
    /// Space was released in a ring.
    pub(super) fn space_released(&self, st: &mut State, index: usize) {
        let Some(ring) = self.rings.slot(index) else { return };
        if !ring.is_waited_for() {
            return;
        }
        let is_narrow =
            ring.buffer().is_some_and(|log| log.head() - log.released().min(log.head()) > log.capacity() / 2);
        if st.writers.calls_are_quick() && is_narrow && st.deferred_space.add(index) {
            return;
        }
        st.deferred_space.remove(index);
        self.tell_of_space(index);
    }

    /// Wakes all captures whose wake-up was deferred.
    pub(super) fn tell_of_deferred_space(&self, st: &mut State) {
        while let Some(index) = st.deferred_space.pop() {
            self.tell_of_space(index);
        }
    }

    fn tell_of_space(&self, index: usize) {
        if let Some(ring) = self.rings.slot(index) {
            ring.announce_space();
        }
    }
}
