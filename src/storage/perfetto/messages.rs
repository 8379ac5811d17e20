//! The messages of a Perfetto storage to the log. Nothing here is called while a lock is held, because the log may call a function of the host.

use crate::files::failure::Failure;
use crate::files::pace::Pace;
use crate::platform::sync::{AtomicBool, Ordering};
use std::path::PathBuf;

/// See the module.
#[derive(Debug)]
pub(super) struct Messages {
    path: PathBuf,
    failing: AtomicBool,
    failed: Pace,
    warned: Pace,
    refused: Pace,
    forked: Pace,
}

/// What one call has to say.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub failed: Option<Failure>,
    pub warned: Option<(Failure, &'static str)>,
    pub refused: Option<&'static str>,
    /// Files that were deleted to make room.
    pub deleted: u64,
}

impl Messages {
    /// About the traces in this directory.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            failing: AtomicBool::new(false),
            failed: Pace::default(),
            warned: Pace::default(),
            refused: Pace::default(),
            forked: Pace::default(),
        }
    }

    /// Logs what a call has to say.
    pub fn tell(&self, report: &Report) {
        let path = self.path.display();
        if let Some((failure, consequence)) = &report.warned
            && self.warned.is_due()
        {
            log::warn!("traces {path}: {consequence}: {failure}");
        }
        if let Some(failure) = &report.failed {
            self.failing.store(true, Ordering::Relaxed);
            if self.failed.is_due() {
                log::error!("traces {path}: nothing is stored at present: {failure}");
            }
        }
        if let Some(why) = report.refused
            && self.refused.is_due()
        {
            log::error!("traces {path}: events are rejected: {why}");
        }
        if report.deleted != 0 {
            log::info!(
                "traces {path}: the oldest {} files were deleted, because of max_bytes",
                report.deleted
            );
        }
    }

    /// Logs that events are stored, if a failure was logged before.
    #[inline]
    pub fn success(&self) {
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            self.failed.reset();
            log::info!("traces {}: events are stored again", self.path.display());
        }
    }

    /// Logs that a storage of the parent is used in a child.
    pub fn forked(&self) {
        if self.forked.is_due() {
            let path = self.path.display();
            log::error!(
                "traces {path}: the storage was opened before a fork and is used in the child: open it again there"
            );
        }
    }
}
