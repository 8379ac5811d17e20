//! Ends the thread that writes live figures, and says when it looks at them.

use crate::platform::sync::{Condvar, Mutex};
use crate::platform::time;
use std::time::Duration;

/// The time from one look at the figures to the next.
const LOOK_NS: u64 = 1_000_000_000;

/// Ends the thread.
#[derive(Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// The storage is given up.
    pub fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }

    /// Waits until the time of the next look. `true`: there is none.
    pub fn wait(&self) -> bool {
        let until = time::now_ns() + LOOK_NS;
        let mut stopped = self.stopped.lock();
        while !*stopped {
            let now = time::now_ns();
            if now >= until {
                break;
            }
            stopped = self.changed.wait(stopped, Some(Duration::from_nanos(until - now)));
        }
        *stopped
    }
}
