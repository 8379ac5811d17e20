//! Tokens: the names under which attempts can be answered, from any thread, at any time, once.

use super::BatchView;
use crate::platform::process::PerProcess;
use crate::platform::sync::{AtomicU64, Mutex, Ordering};
use crate::status::{Error, PIPELINE_ERR_BUSY, PIPELINE_ERR_UNKNOWN_TOKEN, Result};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;

/// Whoever waits for the answers: a pool.
pub trait Answered: Send + Sync {
    /// The first `prefix` events of the attempt are stored.
    fn set_stored(&self, slot: usize, token: u64, prefix: usize) -> Result<()>;
    /// The event at `index` of the attempt is rejected.
    fn set_rejected(&self, slot: usize, token: u64, index: usize) -> Result<()>;
    /// The attempt is answered.
    fn complete(self: Arc<Self>, slot: usize, token: u64, prefix: usize, result: i32) -> Result<()>;
    /// The same, but `PIPELINE_ERR_BUSY` rather than waiting for another thread; for those who never wait it is the same.
    fn try_complete(self: Arc<Self>, slot: usize, token: u64, result: i32) -> Result<()> {
        self.complete(slot, token, 0, result)
    }
    /// That, and the next batch in return, if there is one.
    fn exchange(self: Arc<Self>, slot: usize, token: u64, result: i32) -> Result<Option<NonNull<BatchView>>> {
        self.try_complete(slot, token, result).map(|()| None)
    }
}

/// Who waits for an attempt's answer, and in which slot it keeps the batch.
type Attempt = (Arc<dyn Answered>, usize);

struct Tokens {
    next: AtomicU64,
    out: Mutex<BTreeMap<u64, Attempt>>,
}

static TOKENS: PerProcess<Tokens> = PerProcess::new();

/// An error for a token that is not out.
pub fn unknown(token: u64) -> Error {
    Error::new(
        PIPELINE_ERR_UNKNOWN_TOKEN,
        format!("token {token}: never issued, or its attempt has been answered"),
    )
}

/// Issues a token for an attempt; 0 if there is no memory at all.
pub fn issue(who: Arc<dyn Answered>, slot: usize) -> u64 {
    let Some(tokens) =
        TOKENS.get_or_make(|| Tokens { next: AtomicU64::new(1), out: Mutex::new(BTreeMap::new()) })
    else {
        return 0;
    };
    let token = tokens.next.fetch_add(1, Ordering::Relaxed);
    tokens.out.lock().insert(token, (who, slot));
    token
}

/// The attempt is over: its token is never known again.
pub fn retire(token: u64) {
    let gone = TOKENS.get().and_then(|t| t.out.lock().remove(&token));
    drop(gone); // outside the lock: it may be the last reference to a pool
}

fn find(token: u64) -> Result<Attempt> {
    let found = TOKENS.get().and_then(|t| t.out.lock().get(&token).cloned());
    found.ok_or_else(|| unknown(token))
}

/// See `pipeline_batch_set_stored`.
pub fn set_stored(token: u64, prefix: usize) -> Result<()> {
    let (who, slot) = find(token)?;
    who.set_stored(slot, token, prefix)
}

/// See `pipeline_batch_set_rejected`.
pub fn set_rejected(token: u64, index: usize) -> Result<()> {
    let (who, slot) = find(token)?;
    who.set_rejected(slot, token, index)
}

/// See `pipeline_batch_complete_at`.
pub fn complete(token: u64, prefix: usize, result: i32) -> Result<()> {
    let (who, slot) = find(token)?;
    who.complete(slot, token, prefix, result)
}

fn try_find(token: u64) -> Result<Attempt> {
    let Some(tokens) = TOKENS.get() else { return Err(unknown(token)) };
    let found = tokens.out.try_lock().ok_or_else(busy)?.get(&token).cloned();
    found.ok_or_else(|| unknown(token))
}

/// See `pipeline_batch_try_complete`.
pub fn try_complete(token: u64, result: i32) -> Result<()> {
    let (who, slot) = try_find(token)?;
    who.try_complete(slot, token, result)
}

/// See `pipeline_batch_exchange`.
pub fn exchange(token: u64, result: i32) -> Result<Option<NonNull<BatchView>>> {
    let (who, slot) = try_find(token)?;
    who.exchange(slot, token, result)
}

/// An error for what would have to wait for another thread.
pub fn busy() -> Error {
    Error::new(PIPELINE_ERR_BUSY, "another thread is at the pipeline's books at this moment")
}
