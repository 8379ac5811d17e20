//! The table of traces under sampling: the weight that each trace began with.
//!
//! It consists of buckets of one cache line, each with a word for the thread that adds a trace, and places for seven traces. A trace is one word, so it is
//! read and refreshed without the lock. The lock is for additions alone, so that no trace gets two places. It is tried a bounded number of times, because a signal
//! handler may have interrupted its holder.

use crate::platform::memory;
use crate::platform::sync::{AtomicU32, AtomicU64, Ordering};
use crate::status::Result;
use std::hint::spin_loop;

/// A trace is forgotten after so many epochs without an event.
pub(super) const EPOCHS: u64 = 8;
/// Places in a bucket.
const PLACES: usize = 7;
/// Tries for a bucket's lock.
const TRIES: u32 = 128;
/// The bits of a bucket's word: a thread adds a trace; an event of a trace of this bucket was sampled out meanwhile, beside the table.
const LOCKED: u32 = 1;
const CUT: u32 = 2;

/// What the table knows of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// The binary logarithm of its weight.
    pub log2: u32,
    /// Earlier events of it may have been sampled out, although this weight keeps it.
    pub partial: bool,
    /// A rule has asked for all of it from some event on. The weight is 1.
    pub promoted: bool,
}

/// What a search has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The trace. It may be new.
    Trace(Trace),
    /// Not the trace, and no place for it.
    NoPlace,
    /// Not the trace, and another thread adds one to its bucket.
    Locked,
}

/// A place: 0 if it is empty.
///
/// Bits 0 to 4 are the logarithm, or [`PROMOTED`](Place::PROMOTED), bit 5 is set for a place in use, bit 6 is `partial`, bits 7 to 16 are the epoch of the last event, the rest are bits of the hash.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(u64);

impl Place {
    const USED: u64 = 1 << 5;
    const PARTIAL: u64 = 1 << 6;
    const EPOCH: u64 = 0x3FF << 7;
    const HASH: u64 = !0 << 17;
    const LOG2: u64 = 0x1F;
    /// In the place of a logarithm: the trace is promoted.
    const PROMOTED: u64 = Self::LOG2;

    fn new(hash: u64, epoch: u32, trace: Trace) -> Self {
        let partial = if trace.partial { Self::PARTIAL } else { 0 };
        let log2 = if trace.promoted { Self::PROMOTED } else { u64::from(trace.log2) };
        Self(log2 | Self::USED | partial | hash & Self::HASH).at(epoch)
    }

    #[inline(always)]
    fn at(self, epoch: u32) -> Self {
        Self(self.0 & !Self::EPOCH | u64::from(epoch) << 7 & Self::EPOCH)
    }

    #[inline(always)]
    fn is(self, hash: u64) -> bool {
        (self.0 ^ hash) & Self::HASH == 0 && self.0 & Self::USED != 0
    }

    fn trace(self) -> Trace {
        let promoted = self.0 & Self::LOG2 == Self::PROMOTED;
        let log2 = if promoted { 0 } else { (self.0 & Self::LOG2) as u32 };
        Trace { log2, partial: self.0 & Self::PARTIAL != 0, promoted }
    }

    /// Whether a new trace may have the place: it is empty, or its trace has had no event for longer than `EPOCHS`.
    fn is_free(self, epoch: u32) -> bool {
        let age = epoch.wrapping_sub((self.0 >> 7) as u32) & 0x3FF;
        self.0 == 0 || u64::from(age) > EPOCHS
    }
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Bucket {
    word: AtomicU32,
    places: [AtomicU64; PLACES],
}

impl Bucket {
    /// Finds the place of a trace, and refreshes its epoch.
    #[inline]
    fn find(&self, hash: u64, epoch: u32) -> Option<Trace> {
        let (at, place) = self.places.iter().find_map(|at| {
            let place = Place(at.load(Ordering::Acquire));
            place.is(hash).then_some((at, place))
        })?;
        let refreshed = place.at(epoch);
        if refreshed != place {
            // (If another thread has changed the place, it has refreshed it, or forgotten the trace at this moment.)
            let _ = at.compare_exchange(place.0, refreshed.0, Ordering::AcqRel, Ordering::Relaxed);
        }
        Some(place.trace())
    }

    fn lock(&self) -> bool {
        for _ in 0..TRIES {
            let word = self.word.load(Ordering::Relaxed);
            let locked = word | LOCKED;
            if word & LOCKED == 0
                && self.word.compare_exchange(word, locked, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                return true;
            }
            spin_loop();
        }
        false
    }

    #[cold]
    fn add(&self, hash: u64, epoch: u32, trace: impl FnOnce() -> Trace) -> Found {
        if !self.lock() {
            return Found::Locked;
        }
        let found = self.find(hash, epoch).map_or_else(|| self.put(hash, epoch, trace()), Found::Trace);
        let cut = self.word.swap(0, Ordering::AcqRel) & CUT != 0;
        if cut {
            self.mark_partial(hash);
        }
        found
    }

    /// Puts a trace into a free place. The lock is held.
    fn put(&self, hash: u64, epoch: u32, trace: Trace) -> Found {
        let new = Place::new(hash, epoch, trace);
        for at in &self.places {
            let old = at.load(Ordering::Acquire);
            // (The exchange fails if the old trace has had an event just now.)
            if Place(old).is_free(epoch)
                && at.compare_exchange(old, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                return Found::Trace(trace);
            }
        }
        Found::NoPlace
    }

    #[cold]
    fn mark_partial(&self, hash: u64) {
        for at in &self.places {
            let mark = |word| Place(word).is(hash).then_some(word | Place::PARTIAL);
            let _ = at.fetch_update(Ordering::AcqRel, Ordering::Acquire, mark);
        }
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Traces {
    buckets: Box<[Bucket]>,
}

impl Traces {
    /// A table with at least so many places.
    pub fn new(traces: usize) -> Result<Self> {
        let buckets = traces.div_ceil(PLACES).max(1).next_power_of_two();
        Ok(Self { buckets: memory::boxed(buckets, Bucket::default)? })
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> Option<&Bucket> {
        // The bits that a place does not keep come first.
        let at = hash.rotate_right(4) as usize;
        self.buckets.get(at & self.buckets.len().wrapping_sub(1))
    }

    /// Finds a trace by its hash, or adds what `trace` gives.
    #[inline]
    pub fn find(&self, hash: u64, epoch: u32, trace: impl FnOnce() -> Trace) -> Found {
        let Some(bucket) = self.bucket(hash) else { return Found::NoPlace };
        match bucket.find(hash, epoch) {
            Some(trace) => Found::Trace(trace),
            None => bucket.add(hash, epoch, trace),
        }
    }

    /// Finds a trace, and adds nothing.
    #[inline]
    pub fn look_up(&self, hash: u64, epoch: u32) -> Option<Trace> {
        self.bucket(hash)?.find(hash, epoch)
    }

    /// A trace that the table has is promoted. `partial`: earlier events of it may have been sampled out.
    pub fn promote(&self, hash: u64, partial: bool) {
        let partial = if partial { Place::PARTIAL } else { 0 };
        for at in self.bucket(hash).iter().flat_map(|bucket| &bucket.places) {
            let mark = |word| Place(word).is(hash).then_some(word | Place::PROMOTED | partial);
            let _ = at.fetch_update(Ordering::AcqRel, Ordering::Acquire, mark);
        }
    }

    /// An event of this trace was sampled out, while another thread held the bucket's lock.
    pub fn note_cut(&self, hash: u64) {
        if let Some(bucket) = self.bucket(hash) {
            bucket.word.fetch_or(CUT, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests;
