//! Time as the library has it: the machine's, or the simulator's.

use capture_pipeline::platform::sync::AtomicU32;
use capture_pipeline::platform::{park, time};
use std::time::Duration;

pub fn now_ns() -> u64 {
    time::now_ns()
}

/// Sleeps for so long.
pub fn sleep(duration: Duration) {
    let until = now_ns().saturating_add(duration.as_nanos() as u64);
    let word = AtomicU32::new(0);
    loop {
        let now = now_ns();
        if now >= until {
            return;
        }
        park::wait(&word, 0, Some(Duration::from_nanos(until - now)));
    }
}
