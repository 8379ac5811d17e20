//! Tokens: the names under which attempts can be answered, from any thread, at any time, once.
//!
//! Each slot of a pool has an issuer with a number of its own. A token is that number and how many tokens the issuer has issued. So a new
//! attempt touches nothing that other threads use, and an answer finds the slot by the number. The pool knows whether the attempt still
//! waits for its answer.

use super::recovered::Run;
use super::view::BatchView;
use crate::facts::Facts;
use crate::platform::process::PerProcess;
use crate::platform::sync::{AtomicU64, Mutex, Ordering};
use crate::status::{Error, PIPELINE_ERR_BUSY, PIPELINE_ERR_UNKNOWN_TOKEN, Result};
use std::ptr::NonNull;
use std::sync::{Arc, Weak};

/// What waits for the answers: a pool.
pub trait Answered: Send + Sync {
    /// The first `prefix` events of the attempt are stored.
    fn set_stored(&self, slot: usize, token: u64, prefix: usize) -> Result<()>;
    /// The event at `index` of the attempt is rejected.
    fn set_rejected(&self, slot: usize, token: u64, index: usize) -> Result<()>;
    /// The attempt is answered.
    fn complete(self: Arc<Self>, slot: usize, token: u64, prefix: usize, result: i32) -> Result<()>;
    /// What is known about the events of its attempts. `None`: nothing is.
    fn facts(&self) -> Option<&Arc<Facts>> {
        None
    }
    /// The thread that captures into a ring: its id, and its name padded with zeros.
    fn thread_of(&self, _ring_id: u64) -> Option<(u32, [u8; 16])> {
        None
    }
    /// The run that has ended and has this generation, while an attempt with events of it is open. Then the facts and the threads are that run's.
    fn old_run(&self, _generation: u64) -> Option<Arc<Run>> {
        None
    }
    /// The same, but `PIPELINE_ERR_BUSY` where it would wait for another thread.
    fn try_complete(self: Arc<Self>, slot: usize, token: u64, result: i32) -> Result<()> {
        self.complete(slot, token, 0, result)
    }
    /// The same, and the next batch in return, if there is one.
    fn exchange(self: Arc<Self>, slot: usize, token: u64, result: i32) -> Result<Option<NonNull<BatchView>>> {
        self.try_complete(slot, token, result).map(|()| None)
    }
}

/// The low bits of a token: how many its issuer has issued. An issuer that has used them up makes way for another.
const COUNT_BITS: u32 = 40;
const MOST: u64 = (1 << COUNT_BITS) - 1;
/// How many numbers there are.
const NUMBERS: u64 = 1 << (u64::BITS - COUNT_BITS);

/// Numbers given in this process, and in those that it was forked from: no token of a child names an attempt of its parent.
static NUMBERED: AtomicU64 = AtomicU64::new(0);

static TOKENS: PerProcess<Mutex<Issuers>> = PerProcess::new();

/// The issuers of this process, by number.
struct Issuers {
    first: u64,
    all: Vec<Entry>,
    /// Those of them that are free.
    free: Vec<usize>,
}

struct Entry {
    /// The pool that waits for the answers, and the slot in which it keeps the batch.
    answers_to: Option<(Weak<dyn Answered>, usize)>,
    /// Tokens issued under this number by earlier issuers.
    issued: u64,
}

impl Issuers {
    fn find(&self, token: u64) -> Option<(Arc<dyn Answered>, usize)> {
        let at = usize::try_from((token >> COUNT_BITS).checked_sub(self.first)?).ok()?;
        let (pool, slot) = self.all.get(at)?.answers_to.as_ref()?;
        Some((pool.upgrade()?, *slot))
    }
}

/// Issues the tokens of one slot, each once. Gives its number back when it is dropped.
pub struct Issuer {
    issuers: &'static Mutex<Issuers>,
    number: u64,
    issued: u64,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({}, {})", self.number, self.issued)
    }
}

impl Issuer {
    /// For the attempts of the batch that `pool` keeps in `slot`. `None`: there is no memory, or there are 16 million issuers.
    pub fn new(pool: Weak<dyn Answered>, slot: usize) -> Option<Self> {
        let first = NUMBERED.load(Ordering::Relaxed);
        let issuers =
            TOKENS.get_or_make(|| Mutex::new(Issuers { first, all: Vec::new(), free: Vec::new() }))?;
        let mut held = issuers.lock();
        let at = match held.free.pop() {
            Some(at) => at,
            None if held.first + held.all.len() as u64 >= NUMBERS => return None,
            None => {
                // The list of free numbers has room for all, so that giving one back needs no memory.
                let held = &mut *held;
                let (all, free) = (&mut held.all, &mut held.free);
                if all.try_reserve(1).is_err() || free.try_reserve(all.len() + 1 - free.len()).is_err() {
                    return None;
                }
                held.all.push(Entry { answers_to: None, issued: 0 });
                held.all.len() - 1
            }
        };
        NUMBERED.store(held.first + held.all.len() as u64, Ordering::Relaxed);
        let entry = &mut held.all[at];
        entry.answers_to = Some((pool, slot));
        let issued = entry.issued;
        let number = held.first + at as u64;
        Some(Self { issuers, number, issued })
    }

    /// A token for an attempt. `None`: this one has issued all that it can.
    #[inline]
    pub fn issue(&mut self) -> Option<u64> {
        if self.issued == MOST {
            return None;
        }
        self.issued += 1;
        Some(self.number << COUNT_BITS | self.issued)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        // (In a forked child the parent's issuers may be locked, by a thread that the child does not have.)
        if !TOKENS.get().is_some_and(|own| std::ptr::eq(own, self.issuers)) {
            return;
        }
        let mut held = self.issuers.lock();
        let at = (self.number - held.first) as usize;
        held.all[at] = Entry { answers_to: None, issued: self.issued };
        if self.issued < MOST {
            held.free.push(at);
        }
    }
}

/// An error for a token that names no open attempt.
pub fn unknown(token: u64) -> Error {
    Error::new(
        PIPELINE_ERR_UNKNOWN_TOKEN,
        format!("token {token}: never issued, or its attempt has been answered"),
    )
}

/// The pool that waits for the answer to an attempt, and the slot.
fn find(token: u64) -> Result<(Arc<dyn Answered>, usize)> {
    issuers()?.lock().find(token).ok_or_else(|| unknown(token))
}

/// This process's issuers. The error allocates nothing, because a forked child may have inherited a lock of the allocator.
fn issuers() -> Result<&'static Mutex<Issuers>> {
    TOKENS.get().ok_or_else(|| {
        Error::new(
            PIPELINE_ERR_UNKNOWN_TOKEN,
            "this process has issued no token; those of its parent are unknown in a forked child",
        )
    })
}

fn try_find(token: u64) -> Result<(Arc<dyn Answered>, usize)> {
    let issuers = issuers()?;
    let found = issuers.try_lock().ok_or_else(busy)?.find(token);
    found.ok_or_else(|| unknown(token))
}

/// What waits for the answer to an attempt, and knows what its events are about. To be dropped while no lock is held, because that may free a pipeline.
pub fn answered(token: u64) -> Result<Arc<dyn Answered>> {
    // A batch for the dead letter has the token 0, which no issuer issues.
    if token & MOST == 0 {
        return Err(unknown(token));
    }
    find(token).map(|(pool, _)| pool)
}

/// See `pipeline_batch_set_stored`.
pub fn set_stored(token: u64, prefix: usize) -> Result<()> {
    let (pool, slot) = find(token)?;
    pool.set_stored(slot, token, prefix)
}

/// See `pipeline_batch_set_rejected`.
pub fn set_rejected(token: u64, index: usize) -> Result<()> {
    let (pool, slot) = find(token)?;
    pool.set_rejected(slot, token, index)
}

/// See `pipeline_batch_complete_at`.
pub fn complete(token: u64, prefix: usize, result: i32) -> Result<()> {
    let (pool, slot) = find(token)?;
    pool.complete(slot, token, prefix, result)
}

/// See `pipeline_batch_try_complete`.
pub fn try_complete(token: u64, result: i32) -> Result<()> {
    let (pool, slot) = try_find(token)?;
    pool.try_complete(slot, token, result)
}

/// See `pipeline_batch_exchange`.
pub fn exchange(token: u64, result: i32) -> Result<Option<NonNull<BatchView>>> {
    let (pool, slot) = try_find(token)?;
    pool.exchange(slot, token, result)
}

/// An error for a call that would have to wait for another thread.
pub fn busy() -> Error {
    Error::new(PIPELINE_ERR_BUSY, "another thread holds the pipeline's lock: try again")
}

#[cfg(test)]
mod tests;
