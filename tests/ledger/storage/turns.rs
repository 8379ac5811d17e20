//! Whose turn it is: what waits when a call of a serial storage returns, and what the next call may then be about. Batches with priority come first, and
//! of eight calls in a row at least one is for the others, if they wait.
//!
//! It is for the simulator, where a call of the storage is a call that began in this order. It is behind a lock of the standard library, so that a run under the simulator passes through the same points with it and without it.

use super::book::Book;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// While others wait, at most so many calls in a row are with priority batches.
const MOST_IN_A_ROW: u32 = 7;

#[derive(Debug, Default)]
struct State {
    /// Whether each event goes to a priority ring, by its number.
    priority: HashMap<u64, bool>,
    /// Of events without and with priority: how many were captured, and how many were shown.
    captured: [u64; 2],
    shown: [u64; 2],
    /// Calls with priority since the last without.
    in_a_row: u32,
    /// What waited when the last call returned.
    waited: [bool; 2],
    disarmed: bool,
    /// Nothing new is claimed, and what was claimed is tried again.
    paused: bool,
    /// Calls with priority and without, while both waited.
    chosen: [u64; 2],
}

/// The turns of a run.
#[derive(Debug)]
pub struct Turns {
    state: Mutex<State>,
    /// The largest payload that goes to a priority ring.
    max_priority_bytes: Option<usize>,
    /// As configured.
    max_in_flight: usize,
}

#[cfg_attr(not(simulator), allow(dead_code))]
impl Turns {
    pub fn new(max_priority_bytes: Option<usize>, max_in_flight: u32) -> Self {
        Self { state: Mutex::default(), max_priority_bytes, max_in_flight: max_in_flight as usize }
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An event is about to be offered, with room for `room` bytes.
    pub fn offers(&self, number: u64, urgent: bool, room: usize) {
        let priority = urgent && Some(room) <= self.max_priority_bytes;
        self.with(|s| s.priority.insert(number, priority));
    }

    /// It was captured.
    pub fn captured(&self, number: u64) {
        self.with(|s| {
            let priority = s.priority.get(&number).copied().unwrap_or(false);
            s.captured[usize::from(priority)] += 1;
        });
    }

    /// From here on something else holds events back, too.
    pub fn disarm(&self) {
        self.with(|s| s.disarmed = true);
    }

    /// The pipeline is about to be paused.
    pub fn pause(&self) {
        self.with(|s| s.paused = true);
    }

    /// It goes on. What was chosen meanwhile may still be to begin.
    pub fn resumed(&self) {
        self.with(|s| (s.paused, s.waited) = (false, [false; 2]));
    }

    /// A call has begun, with a batch whose first event has this number. `new`: so many events that were not shown before. Returns what is wrong.
    pub fn begins(&self, number: u64, new: usize) -> Result<bool, String> {
        self.with(|s| {
            let priority = s.priority.get(&number).copied().unwrap_or(false);
            s.shown[usize::from(priority)] += new as u64;
            let [others, urgent] = if s.paused { [false; 2] } else { s.waited };
            let due = s.in_a_row < MOST_IN_A_ROW;
            let wrong = !s.disarmed && if due { !priority && urgent } else { priority && others };
            if others && urgent && !s.disarmed {
                s.chosen[usize::from(priority)] += 1;
            }
            let told = wrong.then(|| {
                let with = if priority { "with" } else { "without" };
                format!(
                    "a call {with} priority after {} with, while {:?} waited: {:?} captured, {:?} shown",
                    s.in_a_row, s.waited, s.captured, s.shown
                )
            });
            s.in_a_row = if priority { s.in_a_row + 1 } else { 0 };
            s.waited = [false; 2];
            told.map_or(Ok(priority), Err)
        })
    }

    /// A call returns.
    pub fn ends(&self, book: &Book, release: bool) {
        let out = book.out(release);
        let there = out[0] + out[1] < self.max_in_flight;
        self.with(|s| {
            let waits = |which: usize| there && out[which] == 0 && s.captured[which] > s.shown[which];
            s.waited = [waits(0), waits(1)];
        });
    }

    /// Calls without and with priority, while both waited.
    pub fn chosen(&self) -> [u64; 2] {
        self.with(|s| s.chosen)
    }

    /// Whether an event goes to a priority ring.
    pub fn is_priority(&self, number: u64) -> bool {
        self.with(|s| s.priority.get(&number).copied().unwrap_or(false))
    }
}
