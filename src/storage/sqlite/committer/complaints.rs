//! What the committing thread tells the log, the same thing only now and then.

use super::Committer;
use crate::batch::BatchView;
use crate::platform::time;
use crate::storage::sqlite::bounds::Room;
use crate::storage::sqlite::db::Refused;
use crate::storage::sqlite::failure::Failure;
use crate::storage::sqlite::feed;

/// The same failure is logged again after this long.
pub(super) const LOG_AGAIN_NS: u64 = 10_000_000_000;

impl Committer {
    pub(super) fn log_refused(&self, batch: &BatchView, refused: &[Refused]) {
        let Some(first) = refused.first() else { return };
        // SAFETY: an index that the insertion found in this very batch.
        let event = unsafe { feed::event(batch, first.index) };
        log::error!(
            "sqlite storage {}: {} events of a batch refused; the first (generation {:016x}, ring {}, sequence {}): {}",
            self.shared.path.display(),
            refused.len(),
            batch.generation,
            event.ring_id,
            event.sequence,
            first.words
        );
    }

    pub(super) fn log_full(&mut self, room: Room) {
        let now = time::now_ns();
        if self.logged_full != 0 && now - self.logged_full < LOG_AGAIN_NS {
            return;
        }
        self.logged_full = now;
        let words = match room {
            Room::Later => "no room at present: the disk is low, or a reader holds the write-ahead log",
            _ => "no room within max_bytes or min_free_disk",
        };
        log::error!("sqlite storage {}: events are not stored: {words}", self.shared.path.display());
    }

    /// Logs a failure, the same one only now and then.
    pub(super) fn log(&mut self, failure: &Failure, what: &str) {
        let now = time::now_ns();
        if let Some((code, at)) = self.logged
            && code == failure.code
            && now - at < LOG_AGAIN_NS
        {
            return;
        }
        self.logged = Some((failure.code, now));
        log::error!("sqlite storage {}: {what}: {failure}", self.shared.path.display());
    }
}
