//! What the batches of a transaction are answered: after its commit, and after a failure.

use super::expiry::Expiry;
use super::{Committer, Held};
use crate::batch::token;
use crate::storage::sqlite::failure::{Class, Failure};
use crate::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY};

impl Committer {
    /// Answers the batches of the transaction that was just committed, in their order. Each is off the list before its
    /// token is completed: should that panic, the others are still known.
    pub(super) fn answer_committed(&mut self) {
        let mut from = 0;
        self.held.reverse();
        while let Some(held) = self.held.pop() {
            let refused = &self.refused[from..held.refused_end];
            from = held.refused_end;
            if !refused.is_empty() {
                // SAFETY: not answered yet.
                self.log_refused(unsafe { &*held.entry.batch }, refused);
                for one in refused {
                    let _ = token::set_rejected(held.entry.token, one.index);
                }
            }
            let _ = token::complete(held.entry.token, 0, PIPELINE_STORE_OK);
        }
        self.refused.clear();
    }

    /// Undoes the transaction and answers everything at hand.
    pub(super) fn fail(&mut self, failure: &Failure) {
        self.log(failure, "nothing is stored at present");
        if let Some(open) = &mut self.open {
            open.db.rollback();
            open.bounds.forget_arrival();
        }
        if failure.class == Class::Broken {
            self.open = None;
            self.answer_broken();
        } else {
            self.answer_all(PIPELINE_STORE_RETRY);
        }
    }

    /// What is at hand gets a second attempt on a connection opened anew, and no third.
    fn answer_broken(&mut self) {
        self.hold_taken();
        while let Some(held) = self.held.pop() {
            let result = if held.attempt > 1 { PIPELINE_STORE_REJECT } else { PIPELINE_STORE_RETRY };
            let _ = token::complete(held.entry.token, 0, result);
        }
        self.reset();
    }

    pub(super) fn answer_all(&mut self, result: i32) {
        self.hold_taken();
        while let Some(held) = self.held.pop() {
            let _ = token::complete(held.entry.token, 0, result);
        }
        self.reset();
    }

    /// What was taken from the queue shares the fate of what is held; a failure would only meet it again.
    fn hold_taken(&mut self) {
        while let Some(entry) = self.taken.pop() {
            // SAFETY: not answered yet.
            let attempt = unsafe { (*entry.batch).attempt };
            self.held.push(Held { entry, attempt, refused_end: 0 });
        }
        self.held.reverse();
    }

    fn reset(&mut self) {
        self.refused.clear();
        self.events = 0;
        self.bytes = 0;
        self.expiry = Expiry::Unknown;
    }
}
