//! The protocol of a ring buffer: one producer appends, writers claim ranges, space is released in order.
//!
//! Three positions, in bytes, never decreasing: `released` <= `claimed` <= `head` <= `released` + capacity.
//!
//! * The producer owns `[head, released + capacity)`. It writes records there and publishes them by one release store
//!   of `head`.
//! * A writer claims `[claimed, x)` by compare-and-swap of `claimed`. Meanwhile it holds the lock of the ring's list of spans, for as long
//!   as it takes to walk over the records' tags. Claimed records are neither written nor moved until they are settled.
//! * Settled spans are taken off the list in order, and `released` moves over them.
//! * Under `drop_oldest` the producer may take the oldest record away by the same compare-and-swap, if no record is
//!   claimed (`released` = `claimed`). So a writer's walk may read tags that are being overwritten. Its
//!   compare-and-swap then fails, and the result is discarded. This is a sequence lock with `claimed` as its counter
//!   (Boehm, "Can seqlocks get along with programming language memory models?", 2012, gives the fences).
//!
//! The producer's side is here, the writers' in [`claims`]. [`layout`] is for claims of whole records, as they lie. [`copied`] reads without a claim.

mod claims;
#[cfg(not(loom))]
mod copied;
mod layout;

use super::memory::Memory;
use super::record::{Head, Tag};
use super::words::{About, Words};
use crate::platform::place::Place;
use crate::platform::sync::{AtomicU64, Mutex, Ordering, fence};
#[cfg(not(loom))]
pub(super) use copied::Part;
#[cfg(not(loom))]
pub use copied::Progress;
use crossbeam_utils::CachePadded;
pub use layout::{Layout, MARK_EVERY};
use std::collections::VecDeque;

/// A range of a ring buffer that a writer has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position of its first byte; names the span in its ring.
    pub start: u64,
    /// Position behind its last byte.
    pub end: u64,
    /// Events in it.
    pub events: u32,
    /// Payload bytes in it.
    pub bytes: u64,
}

/// How much a claim may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events.
    pub events: u32,
    /// Payload bytes. In a claim of whole records: bytes of records and pads.
    pub bytes: u64,
    /// Whether a first event may exceed those.
    pub exceed: bool,
    /// The claim is made only if nothing else of this ring is claimed.
    pub alone: bool,
    /// Bytes that all claims together may cover. One event may reach past that.
    pub cover: u64,
}

/// The producer's own view of its ring: where it writes next, and how far it may write. The latter is from its last look at `released`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// Where the next record goes.
    pub head: u64,
    /// Where the space known to be free ends.
    pub limit: u64,
}

/// Publishes by one release store: from then on writers may claim every record before the position `end`. They load the head with acquire.
#[inline(always)]
pub(crate) fn publish(head: &AtomicU64, end: u64) {
    head.store(end, Ordering::Release);
}

#[derive(Debug, Default)]
struct Spans(VecDeque<(Span, bool)>);

/// A ring buffer.
#[derive(Debug)]
pub struct RingBuffer {
    memory: Memory,
    mask: u64,
    /// The three positions. (Writers move `claimed` under `spans`.)
    words: Place<Words>,
    /// In cache lines of its own: writers take the lock while the producer reads `memory` and `mask`.
    spans: CachePadded<Mutex<Spans>>,
}

impl RingBuffer {
    /// An empty ring in `memory`, for at most `spans` claims at once. `None`: there is no memory for the list of claims.
    pub fn new(memory: Memory, spans: usize) -> Option<Self> {
        Self::with_words(memory, Place::own(Box::default()), spans)
    }

    /// The same with its words in a place of the caller's, where all of them are 0.
    pub fn with_words(memory: Memory, words: Place<Words>, spans: usize) -> Option<Self> {
        let mut list = VecDeque::new();
        list.try_reserve_exact(spans).ok()?;
        Some(Self {
            mask: memory.capacity() - 1,
            memory,
            words,
            spans: CachePadded::new(Mutex::new(Spans(list))),
        })
    }

    /// Its size in bytes.
    #[inline(always)]
    pub fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// The position up to which records are published.
    #[inline(always)]
    pub fn head(&self) -> u64 {
        self.words.head.0.load(Ordering::Acquire)
    }

    /// The position up to which records are claimed (or overwritten).
    #[inline(always)]
    pub fn claimed(&self) -> u64 {
        self.words.claimed.0.load(Ordering::Acquire)
    }

    /// The position up to which space is released.
    #[inline(always)]
    pub fn released(&self) -> u64 {
        self.words.released.0.load(Ordering::Acquire)
    }

    /// Whose it is, for other processes.
    pub fn about(&self) -> &About {
        &self.words.about.0
    }

    /// Whether there is anything to claim.
    #[inline(always)]
    pub fn has_unclaimed(&self) -> bool {
        // `claimed` first: it never passes `head`, so a stale `head` cannot make an empty ring look full.
        let claimed = self.claimed();
        self.head() > claimed
    }

    /// Whether a claim would find something: an event that is not claimed, and claims that cover less than `cover` bytes.
    /// (A claim may reach past that by one event.)
    #[inline]
    pub fn is_claimable(&self, cover: u64) -> bool {
        // This usually decides it. `released` is in another cache line.
        if !self.has_unclaimed() {
            return false;
        }
        let released = self.released();
        let claimed = self.claimed();
        // `released` first: it never passes `claimed`, so a stale one cannot make the difference negative.
        self.head() > claimed && claimed - released < cover
    }

    /// Whether it lies in a file, and outlives the process.
    #[cfg(not(loom))]
    pub fn is_in_file(&self) -> bool {
        self.memory.is_in_file()
    }

    /// Gives the memory back, unless it lies in a file.
    ///
    /// # Safety
    /// No thread uses the ring any more, and it is not dropped either.
    #[cfg(not(loom))]
    pub unsafe fn unmap(&self) {
        // SAFETY: passed on.
        unsafe { self.memory.unmap() };
    }

    // ---- the producer's side ----

    /// The cursor of a producer that gets this ring.
    pub fn cursor(&self) -> Cursor {
        Cursor { head: self.head(), limit: self.released() + self.capacity() }
    }

    /// Finds room for a record of `need` bytes and pads the end of the ring if it does not fit there. Returns the
    /// record's position, or how many bytes are missing.
    #[inline(always)]
    pub fn room(&self, cursor: &mut Cursor, need: u64) -> Result<u64, u64> {
        let offset = cursor.head & self.mask;
        let to_end = self.capacity() - offset;
        let pad = if need <= to_end { 0 } else { to_end };
        let end = cursor.head + pad + need;
        if end > cursor.limit {
            cursor.limit = self.released() + self.capacity();
            if end > cursor.limit {
                return Err(end - cursor.limit);
            }
        }
        if pad != 0 {
            self.memory.set_tag(offset, Tag::pad(pad));
        }
        Ok(cursor.head + pad)
    }

    /// The memory of the record at `position`.
    #[cfg(not(loom))]
    #[inline(always)]
    pub fn record(&self, position: u64) -> *mut u8 {
        self.memory.record(position & self.mask)
    }

    /// Writes a record without its payload, at a position that [`room`](Self::room) gave.
    ///
    /// # Safety
    /// `position` came from `room` for a record of this size, and was not published since.
    #[inline(always)]
    pub unsafe fn write(&self, position: u64, tag: Tag, head: &Head) {
        // SAFETY: `room` gave this range to the producer, which calls.
        unsafe { self.memory.set_header(position & self.mask, tag, head) };
    }

    /// Copies a payload into the record at `position`.
    ///
    /// # Safety
    /// As for [`write`](Self::write), and `from` has `len` readable bytes.
    #[inline(always)]
    pub unsafe fn write_payload(&self, position: u64, from: *const u8, len: usize) {
        // SAFETY: passed on.
        unsafe { self.memory.set_payload(position & self.mask, from, len) };
    }

    /// Publishes everything up to `end`: from here on writers may claim it.
    #[inline(always)]
    pub fn publish(&self, cursor: &mut Cursor, end: u64) {
        cursor.head = end;
        publish(&self.words.head.0, end);
    }

    /// The word to which [`publish`] stores the head, for a producer that keeps its own copy of the head.
    #[cfg(not(loom))]
    #[inline(always)]
    pub fn published(&self) -> *const AtomicU64 {
        &raw const self.words.head.0
    }

    /// What a producer needs so that it can write without looking at the ring buffer: the address where position 0 would lie if the current
    /// lap began there, and the position up to which it may write.
    #[cfg(not(loom))]
    pub fn window(&self, cursor: &Cursor) -> (*mut u8, u64) {
        let lap = cursor.head & !self.mask;
        let end = cursor.limit.min(lap + self.capacity()).min(self.memory.populated());
        (self.memory.start().wrapping_sub(lap as usize), end)
    }

    /// A record will be written up to `end`: on the ring's first lap, asks the kernel for its pages and for some that follow.
    #[cfg(not(loom))]
    #[inline(always)]
    pub fn reach(&self, end: u64) {
        self.memory.reach(end);
    }

    /// Takes the oldest unclaimed records away until `missing` bytes are free. `may` is asked before each; `evict` gets each
    /// while it is still whole. Returns how many events were taken. They are gone also if fewer bytes are free because the oldest
    /// are claimed, or because `may` refused.
    pub fn overwrite(
        &self,
        cursor: &mut Cursor,
        missing: u64,
        mut may: impl FnMut(Tag) -> bool,
        mut evict: impl FnMut(Tag, Head, *const u8),
    ) -> u64 {
        let mut gone = 0;
        let want = cursor.limit + missing;
        loop {
            let released = self.released();
            cursor.limit = released + self.capacity();
            if cursor.limit >= want {
                return gone;
            }
            // If they are equal, nothing is claimed. Then `claimed` is moved only by this producer (if the swap below succeeds) or by a new
            // claim (then the swap fails), and no thread moves `released`.
            let claimed = self.words.claimed.0.load(Ordering::Acquire);
            if claimed != released || claimed == cursor.head {
                return gone;
            }
            let offset = claimed & self.mask;
            let tag = self.memory.tag(offset);
            if !tag.is_pad() && !may(tag) {
                return gone;
            }
            let next = claimed + tag.stride();
            if self
                .words
                .claimed
                .0
                .compare_exchange(claimed, next, Ordering::AcqRel, Ordering::Acquire)
                .is_err()
            {
                // A writer was faster. Its claim may be settled already, or not.
                continue;
            }
            if !tag.is_pad() {
                // SAFETY: the swap took the record from the writers; it is this producer's again.
                evict(tag, unsafe { self.memory.head(offset) }, self.memory.payload(offset));
                gone += 1;
            }
            self.release_to(next);
            // Everything that this producer writes from here on is ordered after the swap, for a writer that reads it, and after the release, for a
            // reader of [`copied`].
            fence(Ordering::Release);
        }
    }

    /// Moves `released` to `end`, if it is not further already; returns whether it moved. (The loop is what compilers make of `fetch_max`,
    /// but ThreadSanitizer does not understand `fetch_max`.)
    fn release_to(&self, end: u64) -> bool {
        let further = |released: u64| Some(released.max(end));
        self.words
            .released
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, further)
            .is_ok_and(|before| before < end)
    }
}

#[cfg(test)]
mod tests;
