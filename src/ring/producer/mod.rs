//! A producer: one thread's ring buffer, held by its caller, and its counts.
//!
//! Everything in it is written by its thread alone, inside its busy word, so nothing here needs a locked instruction. A
//! signal handler that captures on a busy producer is refused and counted. The shared producer is everybody's: it has a
//! holder, who took it by compare-and-swap, as a try-lock.
//!
//! [`capture`] is the way of an event into the ring, [`at_once`] the shortest one, [`fast`] the words
//! that this needs, [`many`] that of several events, [`overflow`] what happens where there is no room, [`reserve`] the
//! capture in place, [`shared`] the one through the ring that all threads share.

mod at_once;
mod capture;
mod fast;
mod many;
mod overflow;
mod reserve;
mod shared;
#[cfg(test)]
mod tests;

use super::buffer::{Ring, cursors};
use super::front::Front;
use super::log::Cursor;
use super::rings::Rings;
use crate::platform::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::platform::thread;
pub use at_once::AtOnce;
pub use fast::{Fast, PIPELINE_FAST_VERSION};
use std::cell::{Cell, UnsafeCell};

/// What a caller offers, read and not yet checked.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// What sort of event.
    pub kind: u32,
    /// `PIPELINE_EVENT_...`.
    pub flags: u32,
    /// Read with `PIPELINE_EVENT_OWN_TIME`.
    pub timestamp: u64,
    /// Its trace.
    pub correlation_id: u64,
    /// Its place in the program.
    pub node_id: u64,
    /// The payload.
    pub data: *const u8,
    /// The payload's length.
    pub len: usize,
}

/// What a producer is doing.
mod busy {
    pub(super) const NO: u32 = 0;
    pub(super) const CAPTURING: u32 = 1;
    pub(super) const RESERVED: u32 = 2;
}

/// One thread's ring buffer, held by its caller.
///
/// In the order of the fields: what the shortest way of a capture needs comes first, in two neighbouring cache lines.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Producer {
    // The first, so that the address of the one is that of the other.
    fast: Fast,
    rings: Cell<*const Rings>,
    live: AtomicU32,
    dropped_full: AtomicU64,
    ring: AtomicPtr<Ring>,
    /// Where that is among the others.
    place: AtomicU32,
    /// The shared producer alone: the thread that is in it, 0: none.
    holder: AtomicU64,
    /// Where the space known to be free ends.
    limit: Cell<u64>,
    spill: Cell<Cursor>,
    reserved: Cell<(u64, Offer)>,
    /// Events that it had captured and not overwritten when it got its ring.
    kept_before: AtomicU64,
    overwritten: AtomicU64,
    owner: AtomicU64,
    tid: AtomicU32,
    name: UnsafeCell<[u8; 16]>,
}

const _: () = assert!(std::mem::offset_of!(Producer, fast) == 0);

// SAFETY: the cells are only touched by whoever holds the busy word (or, while the producer is free, the registry's
// lock); all that other threads read are atomics.
unsafe impl Send for Producer {}
// SAFETY: as above.
unsafe impl Sync for Producer {}

/// The counts of a producer, for the ledger.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Events copied into its rings.
    pub captured: u64,
    /// Events dropped because its ring was full.
    pub dropped_full: u64,
    /// Events overwritten.
    pub overwritten: u64,
    /// Payload bytes captured.
    pub bytes: u64,
}

#[inline(always)]
fn add(counter: &AtomicU64, n: u64) {
    // One writer at a time, by the busy word: no read-modify-write needed.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

impl Producer {
    pub(super) fn new() -> Self {
        let nothing = Offer {
            kind: 0,
            flags: 0,
            timestamp: 0,
            correlation_id: 0,
            node_id: 0,
            data: std::ptr::null(),
            len: 0,
        };
        Self {
            fast: Fast::new(),
            live: AtomicU32::new(0),
            holder: AtomicU64::new(0),
            rings: Cell::new(std::ptr::null()),
            ring: AtomicPtr::new(std::ptr::null_mut()),
            place: AtomicU32::new(0),
            limit: Cell::new(0),
            spill: Cell::default(),
            reserved: Cell::new((0, nothing)),
            kept_before: AtomicU64::new(0),
            dropped_full: AtomicU64::new(0),
            overwritten: AtomicU64::new(0),
            owner: AtomicU64::new(0),
            tid: AtomicU32::new(0),
            name: UnsafeCell::new([0; 16]),
        }
    }

    /// Tells the producer whose it is; before anything else.
    ///
    /// # Safety
    /// `rings` is where the `Rings` with this producer in it are, for good.
    pub(super) unsafe fn bind(&mut self, rings: *const Rings) {
        self.rings.set(rings);
        // SAFETY: by contract.
        self.fast.bind(unsafe { &raw const (*rings).front });
    }

    /// All rings of the pipeline.
    #[inline(always)]
    pub fn rings(&self) -> &Rings {
        // SAFETY: bound at the start to the `Rings` that contains this producer.
        unsafe { &*self.rings.get() }
    }

    #[inline(always)]
    fn front(&self) -> &Front {
        &self.rings().front
    }

    pub(super) fn is_free(&self) -> bool {
        self.live.load(Ordering::Acquire) == 0
    }

    #[inline(always)]
    fn cursor(&self) -> Cursor {
        Cursor { head: self.fast.head.get(), limit: self.limit.get() }
    }

    #[inline(always)]
    fn set_cursor(&self, cursor: Cursor) {
        self.fast.head.set(cursor.head);
        self.limit.set(cursor.limit);
    }

    pub(super) fn attach(&self, ring: &Ring, owner: u64) {
        self.move_to(ring);
        if owner != 0 {
            self.tid.store(thread::os_id(), Ordering::Relaxed);
            // SAFETY: the producer is free, and we hold the registry's lock.
            unsafe { *self.name.get() = thread::name() };
        } else {
            self.tid.store(0, Ordering::Relaxed);
        }
        self.owner.store(owner, Ordering::Release);
        self.fast.busy.store(busy::NO, Ordering::Release);
        self.live.store(1, Ordering::Release);
    }

    fn move_to(&self, ring: &Ring) {
        let (cursor, spill) = cursors(ring);
        self.set_cursor(cursor);
        self.spill.set(spill);
        self.fast.stop_ahead();
        self.fast.shift.set(self.fast.captured.load(Ordering::Relaxed).wrapping_neg());
        self.kept_before.store(self.kept(), Ordering::Relaxed);
        self.place.store(self.rings().place_of(ring), Ordering::Relaxed);
        self.ring.store(std::ptr::from_ref(ring).cast_mut(), Ordering::Release);
    }

    /// Events that it has captured and not overwritten.
    fn kept(&self) -> u64 {
        let c = self.counts();
        c.captured.wrapping_sub(c.overwritten)
    }

    /// Lets go of its ring, and of a reservation in it.
    pub(super) fn detach(&self) -> Option<&Ring> {
        if self.is_free() {
            return None;
        }
        let ring = self.ring();
        self.fast.stop_ahead();
        self.ring.store(std::ptr::null_mut(), Ordering::Release);
        self.owner.store(0, Ordering::Release);
        self.fast.busy.store(busy::NO, Ordering::Release);
        self.live.store(0, Ordering::Release);
        ring
    }

    pub(super) fn owner(&self) -> u64 {
        self.owner.load(Ordering::Acquire)
    }

    /// Thread id and name, for the storage; 0 for a handle.
    pub(super) fn thread(&self) -> (u32, [u8; 16]) {
        // SAFETY: written while the producer was free, under the registry's lock, which the caller holds.
        (self.tid.load(Ordering::Relaxed), unsafe { *self.name.get() })
    }

    /// The ring that it captures into.
    pub fn ring(&self) -> Option<&Ring> {
        // SAFETY: rings live as long as the `Rings` that this producer is in.
        unsafe { self.ring.load(Ordering::Acquire).as_ref() }
    }

    pub(super) fn is_capturing(&self) -> bool {
        self.fast.busy.load(Ordering::Acquire) == busy::CAPTURING
    }

    /// The sequence number of the next event. Only for whoever holds the busy word.
    #[inline(always)]
    fn next_sequence(&self) -> u64 {
        self.fast.captured.load(Ordering::Relaxed).wrapping_add(self.fast.shift.get())
    }

    /// What it counted. Each count is one word that only grows, so no snapshot shows less than an earlier one did.
    pub fn counts(&self) -> Counts {
        let overwritten = self.overwritten.load(Ordering::Acquire);
        let dropped_full = self.dropped_full.load(Ordering::Acquire);
        let bytes = self.fast.bytes.load(Ordering::Acquire);
        let captured = self.fast.captured.load(Ordering::Acquire);
        Counts { captured, dropped_full, overwritten, bytes }
    }

    /// The largest payload.
    pub fn max_event_bytes(&self) -> usize {
        self.front().max_event_bytes
    }

    /// Whether this is a child of the process that started the pipeline.
    pub fn forked(&self) -> bool {
        self.front().forked()
    }

    /// Why captures cannot be inlined in the caller's code. What comes later, their look at the signs finds.
    pub fn why_not_inlined(&self) -> Option<&'static str> {
        let known = cfg!(all(
            any(target_arch = "x86_64", target_arch = "aarch64"),
            target_pointer_width = "64",
            target_endian = "little",
            not(simulator)
        ));
        if known { self.front().why_unusual() } else { Some("captures cannot be inlined on this processor") }
    }

    /// The part that inlined captures work on.
    pub fn fast(this: *mut Self) -> *mut Fast {
        // It is at the start.
        this.cast()
    }

    /// Counts an offer whose arguments could not even be read.
    pub fn count_invalid(&self) {
        self.front().refused.invalid.fetch_add(1, Ordering::Relaxed);
    }

    /// Closes a handle.
    ///
    /// # Safety
    /// `this` came from `Pipeline::open_producer` and is not used again.
    pub unsafe fn close(this: *const Self) {
        // SAFETY: the handle holds a reference to its `Rings`, which contains it; taken back here.
        unsafe {
            let rings = std::sync::Arc::from_raw((*this).rings.get());
            rings.detach(&*this);
        }
    }
}
