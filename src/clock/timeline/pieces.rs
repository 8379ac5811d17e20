//! The pieces of the timeline, for those who convert readings themselves: storages that keep records as they lie.

use super::{Piece, Timeline};
use crate::platform::sync::{Ordering, fence};

impl Timeline {
    /// Appends the pieces that the readings from `first` to `last` belong to, and adds to the timeline what it lacks. `false`: the pieces do
    /// not give the same times as the timeline, because the counter has turned out not to be a clock or a piece is gone; or there is no
    /// memory. Then nothing is appended.
    pub fn pieces(&self, first: u64, last: u64, into: &mut Vec<Piece>) -> bool {
        if self.find(last).is_err() {
            self.extend(&mut self.calibration.lock(), last);
        }
        let before = into.len();
        loop {
            let next = self.words.next.load(Ordering::Acquire);
            let oldest = self.words.first.load(Ordering::Acquire);
            let from = self.number_of(first, oldest, next);
            let to = self.number_of(last, oldest, next);
            // (The second may be the smaller one only if a piece was overwritten meanwhile.)
            if into.try_reserve(to.saturating_sub(from) as usize + 1).is_err() {
                return false;
            }
            into.extend((from..=to).map(|number| self.piece(number)));
            fence(Ordering::Acquire);
            if self.words.first.load(Ordering::Relaxed) == oldest {
                let gone = oldest > 0 && first < into[before].start;
                if !gone && self.words.ceiling.load(Ordering::Acquire) == u64::MAX {
                    return true;
                }
                into.truncate(before);
                return false;
            }
            into.truncate(before);
        }
    }
}

#[cfg(test)]
impl Timeline {
    /// As if the counter had turned out not to be a clock at this time.
    pub fn distrust(&self, now_ns: u64) {
        self.words.ceiling.store(now_ns, Ordering::Release);
    }
}
