//! When a capture that waits for space is told of it.
//!
//! At first it looks by itself. Then it sleeps, and to be told costs two switches between threads, so a capture that is told of each
//! batch's worth does little else than wait. While batches are settled quickly, one is told when half of its ring is free, and at the
//! latest after some more of them, or when a writer has nothing to do. So it waits for a fraction of a millisecond more, and then goes
//! on for as long.

use super::Pool;
use super::sleep::WORTH_WAKING_NS;
use super::state::State;

/// So many batches may be settled for each ring of which somebody waits to be told, before all are.
const ROUNDS: u32 = 16;

const MOST_ROUNDS: u32 = 16 * ROUNDS;

/// Rings with space that nobody is told of yet.
#[derive(Debug, Default)]
pub struct Owed {
    rings: Vec<usize>,
    /// Batches that may still be settled before they are; 0: there are none.
    rounds: u32,
}

impl Pool {
    /// Space was released in a ring.
    pub(super) fn space_came(&self, st: &mut State, index: usize) {
        let ring = &self.rings.all()[index];
        if !ring.is_waited_for() {
            return;
        }
        let quick = st.call_average_ns < WORTH_WAKING_NS;
        let narrow =
            ring.log().is_some_and(|log| log.head() - log.released().min(log.head()) > log.capacity() / 2);
        if quick && narrow {
            if !st.owed.rings.contains(&index) {
                st.owed.rings.push(index);
                st.owed.rounds = (st.owed.rounds + ROUNDS).min(MOST_ROUNDS);
            }
            return;
        }
        st.owed.rings.retain(|&owed| owed != index);
        self.announce(index);
    }

    /// A batch was settled.
    pub(super) fn count_round(&self, st: &mut State) {
        st.owed.rounds = st.owed.rounds.saturating_sub(1);
        if st.owed.rounds == 0 {
            self.announce_owed(st);
        }
    }

    /// Everyone is told.
    pub(super) fn announce_owed(&self, st: &mut State) {
        st.owed.rounds = 0;
        while let Some(index) = st.owed.rings.pop() {
            self.announce(index);
        }
    }

    fn announce(&self, index: usize) {
        self.rings.all()[index].announce_space();
    }
}
