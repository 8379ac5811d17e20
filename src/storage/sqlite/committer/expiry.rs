//! The age of the events: when to look at it, and the deletion of what is too old.

use super::Committer;
use super::complaints::LOG_AGAIN_NS;
use crate::platform::time;
use crate::storage::sqlite::failure::Failure;

/// When to look at the age of the events, as far as that is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    Unknown,
    Never,
    At(u64),
}

impl Committer {
    pub(super) fn next_expiry(&mut self) -> Expiry {
        let Some(open) = &mut self.open else { return Expiry::Never };
        match open.bounds.next_expiry(open.db.conn()) {
            Ok(Some(wait)) => Expiry::At(time::now_ns() + wait.as_nanos() as u64),
            Ok(None) => Expiry::Never,
            Err(failure) => {
                self.log(&failure, "the age of the events is not known");
                Expiry::At(time::now_ns() + LOG_AGAIN_NS)
            }
        }
    }

    pub(super) fn expiry_due(&self) -> bool {
        matches!(self.expiry, Expiry::At(at) if at <= time::now_ns())
    }

    /// Deletes a chunk of what is too old, or as many as make `rows`, in transactions of their own.
    pub(super) fn expire(&mut self, rows: u64) {
        let Some(open) = &mut self.open else { return };
        let mut step = || {
            open.db.begin()?;
            let run = open.db.newest_run()?;
            let mut more = open.bounds.expire(&mut open.db, run)?;
            while more && open.db.deleted() < rows {
                more = open.bounds.expire(&mut open.db, run)?;
            }
            open.db.commit()?;
            open.bounds.report(&mut open.db);
            open.db.checkpoint_if_due()?;
            Ok(more)
        };
        match step() {
            Ok(true) => {} // still due
            Ok(false) => self.expiry = Expiry::Unknown,
            Err(failure) => {
                let failure: Failure = failure;
                self.fail(&failure);
                self.expiry = Expiry::At(time::now_ns() + LOG_AGAIN_NS);
            }
        }
    }
}
