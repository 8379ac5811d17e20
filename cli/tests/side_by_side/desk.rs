//! The tokens under which the two storages answer. The pipeline issues one token for an attempt, and each storage needs one that nobody else
//! answers. So the tee gives a storage a copy of the batch with a token of its own, and answers the pipeline when it knows both answers.

use capture_pipeline::batch::BatchView;
use capture_pipeline::batch::token::{Answered, Issuer, unknown};
use capture_pipeline::status::Result;
use capture_pipeline::storage::{PIPELINE_STORE_PENDING, PIPELINE_STORE_RETRY, Storage};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A storage that does not answer for so long has lost the batch.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// What a storage has answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub result: i32,
    /// By `set_stored`.
    pub stored: usize,
    /// By `set_rejected`.
    pub rejected: Vec<usize>,
}

type Then = Box<dyn FnOnce(Answer) + Send>;

/// A batch that a storage has.
struct Call {
    /// Keeps the token alive.
    _issuer: Issuer,
    /// What the storage reads. The caller has another reference until `store` has returned.
    _shown: Arc<Shown>,
    answer: Answer,
    /// What to do with the answer. `None`: a thread waits for it.
    then: Option<Then>,
    done: bool,
}

struct Shown(BatchView);

// SAFETY: the batch is only read, and is valid until its pipeline gets the answer, which it gets after the storage's.
unsafe impl Send for Shown {}
// SAFETY: as above.
unsafe impl Sync for Shown {}

/// See the module.
#[derive(Default)]
pub struct Desk {
    calls: Mutex<(usize, HashMap<usize, Call>)>,
    answered: Condvar,
}

impl Desk {
    fn give(self: &Arc<Self>, storage: &dyn Storage, batch: &BatchView, then: Option<Then>) -> Option<usize> {
        let answered: Arc<dyn Answered> = self.clone();
        let (slot, shown) = {
            let (next, calls) = &mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = *next;
            *next += 1;
            let mut issuer = Issuer::new(Arc::downgrade(&answered), slot)?;
            let shown = Arc::new(Shown(BatchView { token: issuer.issue()?, ..*batch }));
            let call = Call {
                _issuer: issuer,
                _shown: Arc::clone(&shown),
                answer: Answer::default(),
                then,
                done: false,
            };
            calls.insert(slot, call);
            (slot, shown)
        };
        let result = storage.store(&shown.0);
        if result != PIPELINE_STORE_PENDING {
            let _ = self.answer(slot, shown.0.token, 0, result);
        }
        Some(slot)
    }

    /// Gives a batch to a storage, and waits for the answer.
    pub fn ask(self: &Arc<Self>, storage: &dyn Storage, batch: &BatchView) -> Answer {
        let Some(slot) = self.give(storage, batch, None) else {
            return Answer { result: PIPELINE_STORE_RETRY, ..Answer::default() };
        };
        let state = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |state: &mut (usize, HashMap<usize, Call>)| !state.1[&slot].done;
        let waited = self.answered.wait_timeout_while(state, PATIENCE, open);
        let (mut state, late) = waited.unwrap_or_else(PoisonError::into_inner);
        if late.timed_out() {
            // The storage may still read the batch, so that this call must not return.
            eprintln!("a storage has not answered a batch of {} events in {PATIENCE:?}", batch.count);
            std::process::abort();
        }
        state.1.remove(&slot).map(|call| call.answer).unwrap_or_default()
    }

    /// Gives a batch to a storage. `then` gets the answer, on whichever thread gives it.
    pub fn ask_then(self: &Arc<Self>, storage: &dyn Storage, batch: &BatchView, then: Then) -> bool {
        self.give(storage, batch, Some(then)).is_some()
    }

    fn answer(&self, slot: usize, token: u64, prefix: usize, result: i32) -> Result<()> {
        let mut state = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(call) = state.1.get_mut(&slot).filter(|call| !call.done) else { return Err(unknown(token)) };
        call.answer.result = result;
        call.answer.stored = call.answer.stored.max(prefix);
        call.done = true;
        if call.then.is_none() {
            self.answered.notify_all();
            return Ok(());
        }
        let call = state.1.remove(&slot);
        drop(state);
        if let Some(Call { then: Some(then), answer, .. }) = call {
            then(answer);
        }
        Ok(())
    }
}

impl Answered for Desk {
    fn set_stored(&self, slot: usize, token: u64, prefix: usize) -> Result<()> {
        let mut state = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let call = state.1.get_mut(&slot).ok_or_else(|| unknown(token))?;
        call.answer.stored = prefix;
        Ok(())
    }

    fn set_rejected(&self, slot: usize, token: u64, index: usize) -> Result<()> {
        let mut state = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let call = state.1.get_mut(&slot).ok_or_else(|| unknown(token))?;
        call.answer.rejected.push(index);
        Ok(())
    }

    fn complete(self: Arc<Self>, slot: usize, token: u64, prefix: usize, result: i32) -> Result<()> {
        self.answer(slot, token, prefix, result)
    }
}
