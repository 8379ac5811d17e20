//! The batches of the open transaction, and their answers.

use super::log_messages::LogMessages;
use crate::batch::{BatchView, token};
use crate::storage::sqlite::db::Refused;
use crate::storage::sqlite::queue::Entry;
use crate::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY};

/// The number of batches that [`Transaction::retry_or_reject`] remembers: more than are ever in flight, but a batch that is not retried stays.
const REMEMBERED: usize = 1024;

/// A pipeline's id and the id of a batch in it.
type BatchId = (u64, u64);

fn id_of(batch: &BatchView) -> BatchId {
    (batch.pipeline_id, batch.batch_id)
}

/// A batch that is not answered yet.
struct Unanswered {
    entry: Entry,
    id: BatchId,
    /// The end of its events in `Transaction::refused`.
    refused_end: usize,
}

impl Unanswered {
    fn answer(&self, result: i32) {
        // An unknown token means that the pool has given the attempt up.
        let _ = token::complete(self.entry.token, 0, result);
    }
}

/// The open transaction, or an empty one.
#[derive(Default)]
pub(super) struct Transaction {
    batches: Vec<Unanswered>,
    /// Events that were not stored, in the order of the batches.
    pub refused: Vec<Refused>,
    /// Batches that have met an unusable database once.
    met_unusable: Vec<BatchId>,
    /// Events in the transaction, where a batch counts as one at least.
    pub events: usize,
    /// Bytes of their rows.
    pub bytes: u64,
}

impl Transaction {
    /// Whether it has no batches.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Adds a batch that is about to be stored.
    pub(super) fn push(&mut self, entry: Entry, batch: &BatchView) {
        self.batches.push(Unanswered { entry, id: id_of(batch), refused_end: self.refused.len() });
    }

    /// The batch added last is stored, except for its refused events.
    pub(super) fn keep_last(&mut self, events: usize) {
        self.events += events.max(1);
        if let Some(last) = self.batches.last_mut() {
            last.refused_end = self.refused.len();
        }
    }

    /// Answers the batch added last, of which nothing is in the transaction.
    pub(super) fn answer_last(&mut self, result: i32) {
        if let Some(last) = self.batches.pop() {
            last.answer(result);
        }
    }

    /// Answers the batches of the transaction that was just committed, in their order. Returns the number of its events.
    ///
    /// Each batch is removed before its token is completed, so that a panic there does not lose the others.
    pub(super) fn answer_committed(&mut self, log: &LogMessages) -> usize {
        let mut from = 0;
        self.batches.reverse();
        while let Some(batch) = self.batches.pop() {
            let refused = &self.refused[from..batch.refused_end];
            from = batch.refused_end;
            if !refused.is_empty() {
                // SAFETY: the batch is valid, because it is not answered yet.
                log.refused(unsafe { &*batch.entry.batch }, refused);
                for one in refused {
                    let _ = token::set_rejected(batch.entry.token, one.index);
                }
            }
            if !self.met_unusable.is_empty() {
                self.met_unusable.retain(|id| *id != batch.id);
            }
            batch.answer(PIPELINE_STORE_OK);
        }
        self.clear()
    }

    /// Gives all batches the same answer. Those of `taken`, which are not in the transaction yet, would fail likewise, and get it as well.
    pub(super) fn answer_all(&mut self, taken: &mut Vec<Entry>, result: i32) {
        self.add_all(taken);
        while let Some(batch) = self.batches.pop() {
            batch.answer(result);
        }
        self.clear();
    }

    /// Retries all batches that have met an unusable database for the first time, and rejects the others. `taken` as above.
    pub(super) fn retry_or_reject(&mut self, taken: &mut Vec<Entry>) {
        self.add_all(taken);
        while let Some(batch) = self.batches.pop() {
            match self.met_unusable.iter().position(|id| *id == batch.id) {
                Some(at) => {
                    self.met_unusable.swap_remove(at);
                    batch.answer(PIPELINE_STORE_REJECT);
                }
                None => {
                    if self.met_unusable.len() == REMEMBERED {
                        self.met_unusable.remove(0);
                    }
                    self.met_unusable.push(batch.id);
                    batch.answer(PIPELINE_STORE_RETRY);
                }
            }
        }
        self.clear();
    }

    fn add_all(&mut self, taken: &mut Vec<Entry>) {
        while let Some(entry) = taken.pop() {
            // SAFETY: the batch is valid, because it is not answered yet.
            self.push(entry, unsafe { &*entry.batch });
        }
        self.batches.reverse();
    }

    /// Begins an empty transaction. Returns the number of events of the one before.
    fn clear(&mut self) -> usize {
        self.refused.clear();
        self.bytes = 0;
        std::mem::take(&mut self.events)
    }
}
