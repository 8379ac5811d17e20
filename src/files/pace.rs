//! How often a message that repeats is logged.

use crate::platform::sync::{AtomicU64, Ordering};
use crate::platform::time;

/// A repeated message is logged again after this long.
pub const LOG_AGAIN_NS: u64 = 10_000_000_000;

/// Says when a message may be logged again.
#[derive(Debug, Default)]
pub struct Pace(AtomicU64);

impl Pace {
    /// Whether it may be now. Then it is taken to be logged.
    pub fn is_due(&self) -> bool {
        let now = time::now_ns();
        let at = self.0.load(Ordering::Relaxed);
        (at == 0 || now - at.min(now) >= LOG_AGAIN_NS)
            && self.0.compare_exchange(at, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It may be logged at once.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
