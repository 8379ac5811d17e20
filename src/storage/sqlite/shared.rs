//! The state that the writers' side of a storage shares with its committing thread.

use super::options::Options;
use super::queue::Queue;
use crate::platform::sync::{AtomicBool, AtomicU64, Ordering};
use std::path::PathBuf;
use std::sync::Arc;

/// One storage, as both sides see it.
pub(super) struct Shared {
    pub queue: Queue,
    pub path: PathBuf,
    pub options: Options,
    pub shutdown: Shutdown,
    /// [`crate::platform::thread::token`] of the committing thread.
    pub thread: AtomicU64,
}

/// How far a storage has shut down.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    requested: AtomicBool,
    closed: AtomicBool,
    /// The flag that [`yield_to_newer`](Self::yield_to_newer) sets. SQLite's callbacks read it.
    pub yielding: Arc<AtomicBool>,
}

impl Shutdown {
    /// Requests it.
    pub(super) fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Notes whether the connection is closed. Events that come after a shutdown open it again.
    pub(super) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::SeqCst);
    }

    /// Whether the connection is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether shutdown is requested and the connection is still open.
    pub(super) fn is_under_way(&self) -> bool {
        self.requested.load(Ordering::SeqCst) && !self.is_closed()
    }

    /// Makes the storage yield the database to a newer one: from now on it makes no indexes and waits for no lock.
    pub(super) fn yield_to_newer(&self) {
        self.yielding.store(true, Ordering::SeqCst);
    }
}
