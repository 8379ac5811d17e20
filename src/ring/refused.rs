//! The offers that a pipeline has refused, by reason.

use crate::platform::sync::{AtomicU64, Ordering};

/// Offers refused. Any thread may count one, so each count is changed by read-modify-write.
#[derive(Debug, Default)]
pub struct Refused {
    /// Larger than `max_event_bytes`.
    pub too_large: AtomicU64,
    /// The pipeline was closed.
    pub closed: AtomicU64,
    /// An argument was invalid.
    pub invalid: AtomicU64,
    /// The ring was in use.
    pub busy: AtomicU64,
    /// There was no ring.
    pub no_ring: AtomicU64,
    /// Those of all of them that were to go to a priority ring.
    pub priority: AtomicU64,
}

impl Refused {
    /// Counts an offer that is refused for this reason, one of these counts; `priority`: it was to go to a priority ring.
    #[cold]
    pub(crate) fn count(&self, reason: &AtomicU64, priority: bool) {
        reason.fetch_add(1, Ordering::Relaxed);
        if priority {
            self.priority.fetch_add(1, Ordering::Relaxed);
        }
    }
}
