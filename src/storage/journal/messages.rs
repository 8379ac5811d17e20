//! The messages of a journal storage to the log. A message that repeats is logged at most once in [`LOG_AGAIN_NS`]. The log may call a function of the
//! host, so nothing here is called while a lock is held.

use super::knowledge::Deleted;
use super::options::Options;
use crate::files::failure::Failure;
use crate::files::pace::{LOG_AGAIN_NS, Pace};
use crate::platform::sync::{AtomicBool, Mutex, Ordering};
use crate::platform::time;
use std::path::PathBuf;

/// The messages about one journal.
#[derive(Debug)]
pub(super) struct Messages {
    path: PathBuf,
    /// The failure that was logged last, and when.
    failure: Mutex<Option<(i32, u64)>>,
    failing: AtomicBool,
    no_space: Pace,
    refused: Pace,
    warned: Pace,
    forked: Pace,
    deleted: Pace,
    /// What the last message about deletions said.
    deleted_said: Mutex<Deleted>,
}

impl Messages {
    /// About the journal at this path.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            failure: Mutex::new(None),
            failing: AtomicBool::new(false),
            no_space: Pace::default(),
            refused: Pace::default(),
            warned: Pace::default(),
            forked: Pace::default(),
            deleted: Pace::default(),
            deleted_said: Mutex::new(Deleted::default()),
        }
    }

    /// Logs a failure and its consequence.
    pub fn failure(&self, failure: &Failure, consequence: &str) {
        self.failing.store(true, Ordering::Relaxed);
        let now = time::now_ns();
        let due = {
            let mut last = self.failure.lock();
            let repeats = last.is_some_and(|(errno, at)| {
                // Another thread may have been here since.
                errno == failure.errno && now.saturating_sub(at) < LOG_AGAIN_NS
            });
            if !repeats {
                *last = Some((failure.errno, now));
            }
            !repeats
        };
        if due {
            log::error!("journal {}: {consequence}: {failure}", self.path.display());
        }
    }

    /// Logs something that loses nothing.
    pub fn warning(&self, failure: &Failure, consequence: &str) {
        if self.warned.is_due() {
            log::warn!("journal {}: {consequence}: {failure}", self.path.display());
        }
    }

    /// Logs that events are stored, if a failure was logged before.
    #[inline]
    pub fn success(&self) {
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            *self.failure.lock() = None;
            self.no_space.reset();
            log::info!("journal {}: events are stored again", self.path.display());
        }
    }

    /// Logs that there is no room for events.
    pub fn no_space(&self, why: &str, options: &Options) {
        self.failing.store(true, Ordering::Relaxed);
        if self.no_space.is_due() {
            log::error!(
                "journal {}: {why}: max_bytes is {} and min_free_disk is {} (0: no limit)",
                self.path.display(),
                options.max_bytes,
                options.min_free_disk
            );
        }
    }

    /// Logs that events of a batch are rejected.
    pub fn refused(&self, why: &str) {
        if self.refused.is_due() {
            log::error!("journal {}: events are rejected: {why}", self.path.display());
        }
    }

    /// Logs that a storage of the parent is used in a child.
    pub fn forked(&self) {
        if self.forked.is_due() {
            log::error!(
                "journal {}: the storage was opened before a fork and is used in the child: open it again there",
                self.path.display()
            );
        }
    }

    /// Logs from time to time what was deleted.
    pub fn deleted(&self, all: Deleted) {
        if all.segments == 0 {
            return;
        }
        let before = {
            let mut said = self.deleted_said.lock();
            if *said == all || !self.deleted.is_due() {
                return;
            }
            std::mem::replace(&mut *said, all)
        };
        log::info!(
            "journal {}: the oldest {} segments with {} events were deleted, because of max_bytes, max_age_ms or min_free_disk",
            self.path.display(),
            all.segments - before.segments,
            all.events - before.events
        );
    }
}
