//! The committing thread's care for the views of kinds.

use super::Committer;
use super::log_messages::LOG_AGAIN_NS;
use crate::platform::time;

impl Committer {
    /// Brings the views of kinds up to date. If that fails, events are stored all the same, and it is tried again after a while.
    pub(super) fn update_views(&mut self) {
        let Some(open) = &mut self.open else { return };
        if !open.db.views_due || time::now_ns() < self.views_after_ns {
            return;
        }
        if let Err(failure) = open.db.update_views() {
            open.db.rollback();
            open.limits.forget();
            self.log.failure(&failure, "the views of the defined kinds could not be made");
            self.views_after_ns = time::now_ns() + LOG_AGAIN_NS;
        }
    }
}
