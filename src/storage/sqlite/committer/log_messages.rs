//! The messages of the committing thread. A message that repeats is logged at most once in [`LOG_AGAIN_NS`].

use crate::batch::BatchView;
use crate::platform::time;
use crate::storage::sqlite::batch_table;
use crate::storage::sqlite::db::Refused;
use crate::storage::sqlite::failure::Failure;
use crate::storage::sqlite::limits::Admission;
use crate::storage::sqlite::options::Options;
use std::path::PathBuf;

/// A repeated message is logged again after this long.
pub(super) const LOG_AGAIN_NS: u64 = 10_000_000_000;

/// The messages about one database.
pub(super) struct LogMessages {
    path: PathBuf,
    /// The code of the failure that was logged last, and when.
    failure: Option<(i32, u64)>,
    /// When it was last logged that there is no space.
    no_space_ns: Option<u64>,
}

impl LogMessages {
    /// For the database at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, failure: None, no_space_ns: None }
    }

    /// Logs a failure and its consequence.
    pub(super) fn failure(&mut self, failure: &Failure, consequence: &str) {
        let now = time::now_ns();
        if self.failure.is_some_and(|(code, at)| code == failure.code && now - at < LOG_AGAIN_NS) {
            return;
        }
        self.failure = Some((failure.code, now));
        log::error!("sqlite storage {}: {consequence}: {failure}", self.path.display());
    }

    /// Logs a failure that no other message about this database follows.
    pub(super) fn last_failure(&mut self, failure: &Failure, consequence: &str) {
        self.failure = None;
        self.failure(failure, consequence);
    }

    /// Logs that events are stored, if a failure was logged before.
    pub(super) fn success(&mut self) {
        if self.failure.take().is_some() {
            log::info!("sqlite storage {}: events are stored again", self.path.display());
        }
    }

    /// Logs that a batch was not admitted.
    pub(super) fn not_admitted(&mut self, admission: Admission, options: &Options) {
        let now = time::now_ns();
        if self.no_space_ns.is_some_and(|at| now - at < LOG_AGAIN_NS) {
            return;
        }
        self.no_space_ns = Some(now);
        let why = match admission {
            Admission::Later => {
                "events wait for disk space, or for a reader that keeps the write-ahead log from being reused"
            }
            _ => "events are rejected, because they do not fit",
        };
        log::error!(
            "sqlite storage {}: {why}: max_bytes is {} and min_free_disk is {} (0: no limit)",
            self.path.display(),
            options.max_bytes,
            options.min_free_disk
        );
    }

    /// Logs events of a batch that were refused.
    pub(super) fn refused(&self, batch: &BatchView, refused: &[Refused]) {
        let Some(first) = refused.first() else { return };
        // SAFETY: the insertion has found the index in this batch.
        let event = unsafe { batch_table::event(batch, first.index) };
        log::error!(
            "sqlite storage {}: {} of {} events of a batch are rejected; the first (generation {:016x}, ring {}, sequence {}): {}",
            self.path.display(),
            refused.len(),
            batch.count,
            batch.generation,
            event.ring_id,
            event.sequence,
            first.text
        );
    }

    /// Logs that an older storage makes no indexes.
    pub(super) fn indexes_left(&self) {
        log::info!(
            "sqlite storage {}: the indexes are left to a newer storage of this process",
            self.path.display()
        );
    }

    /// Logs that a panic was caught.
    pub(super) fn panic(&self) {
        log::error!("sqlite storage {}: a panic was caught; please report it", self.path.display());
    }
}
