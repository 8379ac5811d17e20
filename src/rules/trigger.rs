//! Where captures ask for a snapshot, because their events match a rule that says so. A thread of the library takes it.

use crate::platform::park;
use crate::platform::sync::{AtomicU32, Ordering};
use std::time::Duration;

/// A thread waits for captures that ask.
const LISTENED: u32 = 1;
/// One has asked, and the thread has not begun the snapshot yet.
const ASKED: u32 = 2;
/// The pipeline ends.
const END: u32 = 4;

/// A word that captures set, also in signal handlers, and on which a thread sleeps.
#[derive(Debug, Default)]
pub struct Trigger(AtomicU32);

/// What the thread finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nobody has asked.
    No,
    /// A capture has asked.
    Yes,
    /// The pipeline ends.
    End,
}

impl Trigger {
    /// A capture asks. Only the first one since the last snapshot makes a system call. If nobody listens, nothing happens.
    #[cold]
    pub fn ask(&self) {
        if self.0.load(Ordering::Relaxed) & (LISTENED | ASKED) == LISTENED
            && self.0.fetch_or(ASKED, Ordering::AcqRel) & ASKED == 0
        {
            park::wake(&self.0, 1);
        }
    }

    /// From here on a thread listens, or none does. What was asked before is forgotten.
    pub fn listen(&self, on: bool) {
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            Some(word & END | if on { LISTENED } else { 0 })
        });
        park::wake(&self.0, 1);
    }

    /// The thread is to end.
    pub fn end(&self) {
        self.0.fetch_or(END, Ordering::AcqRel);
        park::wake(&self.0, 1);
    }

    /// Whether a capture has asked.
    pub fn asked(&self) -> Asked {
        match self.0.load(Ordering::Acquire) {
            word if word & END != 0 => Asked::End,
            word if word & ASKED != 0 => Asked::Yes,
            _ => Asked::No,
        }
    }

    /// The thread is about to take the snapshot. Who asks from here on asks for another one.
    pub fn take(&self) {
        self.0.fetch_and(!ASKED, Ordering::AcqRel);
    }

    /// Sleeps until something has changed, for at most `timeout`; perhaps for a shorter time.
    pub fn wait(&self, seen: Asked, timeout: Option<Duration>) {
        let word = self.0.load(Ordering::Acquire);
        if self.asked() == seen {
            park::wait(&self.0, word, timeout);
        }
    }
}
