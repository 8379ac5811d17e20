//! Capture: from a caller's offer to a published record in a ring buffer.
//!
//! A [`Producer`] is one thread's ring buffer and its counts. Only its thread writes to it, and only while its busy word is set, so a
//! capture needs no locked instruction. A signal handler that captures on a busy producer is refused, and the refusal is counted. The
//! shared producer is for all threads: a thread takes it by compare-and-swap, as a try-lock.
//!
//! * [`protocol`]: the three steps of every capture, begin, record and publish.
//! * [`fast_path`]: the steps where nothing can wait or fail; [`fast_words`] is what it works on, [`many`] does it for several events.
//! * [`judged`]: captures about which rules or sampling decide.
//! * [`slow_path`]: every other capture; [`overflow`] is what happens where a ring has no room.
//! * [`priority`]: the second ring buffer of a producer, for events with priority.
//! * [`reserve`]: the capture in place. [`shared_producer`]: captures on producers that several threads use.
//! * [`registry`]: all slots and producers of a pipeline. [`thread_cache`]: from a thread to its producer.

mod fast_path;
mod fast_words;
mod judged;
mod many;
mod overflow;
mod priority;
mod protocol;
pub(crate) mod registry;
mod reserve;
mod shared_producer;
mod slow_path;
#[cfg(test)]
mod tests;
pub(crate) mod thread_cache;

pub use crate::event::Offer;
use crate::platform::hazard::Hazard;
use crate::platform::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::platform::thread;
use crate::ring::intake::Intake;
use crate::ring::ring_buffer::{Cursor, RingBuffer};
use crate::ring::slot::Slot;
use crate::rules::RuleSet;
pub use fast_path::FastPath;
use fast_words::Window;
pub use fast_words::{FastWords, PIPELINE_FAST_VERSION};
pub use judged::{Judged, Looked};
use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

/// What a producer is doing: the values of its busy word.
mod busy {
    pub(super) const NO: u32 = 0;
    pub(super) const CAPTURING: u32 = 1;
    pub(super) const RESERVED: u32 = 2;
}

/// One thread's ring buffer, and its counts.
///
/// The fields are in this order so that the words of the fast path lie in two neighbouring cache lines.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Producer {
    // The first, so that the address of the one is that of the other.
    fast: FastWords,
    intake: Cell<*const Intake>,
    /// 1: a thread or a handle has it.
    live: AtomicU32,
    dropped_full: AtomicU64,
    ring: AtomicPtr<Slot>,
    /// The shared producer alone: the token of the thread that has it, 0: none.
    holder: AtomicU64,
    /// Where the space known to be free ends.
    limit: Cell<u64>,
    /// Where the next overwritten record goes if it is kept for its `release`.
    spill: Cell<Cursor>,
    /// The position of the open reservation.
    reserved_at: Cell<u64>,
    /// Its event without the payload.
    reserved: Cell<Offer>,
    /// The last wait for space took so long that spinning is not worth it.
    waited_long: Cell<bool>,
    /// Events that it had captured and not overwritten when it got its ring.
    kept_before: AtomicU64,
    overwritten: AtomicU64,
    dropped_sampled: AtomicU64,
    dropped_rule: AtomicU64,
    /// How many more events the captured ones stand for.
    weight_beyond: AtomicU64,
    /// The rules that it reads.
    rules_read: Hazard<RuleSet>,
    /// Its number among the pipeline's producers.
    index: Cell<u32>,
    /// The token of the thread that has it; 0: none, or a handle.
    owner: AtomicU64,
    tid: AtomicU32,
    name: UnsafeCell<[u8; 16]>,
    keeper: Cell<Option<NonNull<dyn Keeper>>>,
    /// The producer of its priority ring, one element; made when it first gets a ring.
    priority: OnceLock<Box<[Self]>>,
    is_priority: bool,
}

const _: () = assert!(std::mem::offset_of!(Producer, fast) == 0);

/// Keeps the memory of producers. Each open handle holds a reference to it.
pub(crate) trait Keeper: std::fmt::Debug {
    /// Called when a producer's handle is closed. What it captured is still stored; its ring can then go to another producer.
    fn close(&self, producer: &Producer);
}

// SAFETY: the cells are only touched by the thread that holds the busy word (or, while the producer is free, the registry's
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
    /// Events sampled out.
    pub dropped_sampled: u64,
    /// Events dropped by rules.
    pub dropped_rule: u64,
    /// Events overwritten.
    pub overwritten: u64,
    /// How many more events the captured ones stand for.
    pub weight_beyond: u64,
    /// Payload bytes captured.
    pub bytes: u64,
}

#[inline(always)]
fn add(counter: &AtomicU64, n: u64) {
    // The busy word admits one writer at a time, so no read-modify-write is needed.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

impl Producer {
    fn new(is_priority: bool) -> Self {
        Self {
            fast: FastWords::new(),
            live: AtomicU32::new(0),
            holder: AtomicU64::new(0),
            intake: Cell::new(std::ptr::null()),
            ring: AtomicPtr::new(std::ptr::null_mut()),
            limit: Cell::new(0),
            spill: Cell::default(),
            reserved_at: Cell::new(0),
            reserved: Cell::new(Offer::new(0, std::ptr::null(), 0)),
            waited_long: Cell::new(false),
            kept_before: AtomicU64::new(0),
            dropped_full: AtomicU64::new(0),
            overwritten: AtomicU64::new(0),
            dropped_sampled: AtomicU64::new(0),
            dropped_rule: AtomicU64::new(0),
            rules_read: Hazard::default(),
            index: Cell::new(0),
            weight_beyond: AtomicU64::new(0),
            owner: AtomicU64::new(0),
            tid: AtomicU32::new(0),
            name: UnsafeCell::new([0; 16]),
            keeper: Cell::new(None),
            priority: OnceLock::new(),
            is_priority,
        }
    }

    /// Binds the producer to its pipeline. This comes before any other use of it.
    ///
    /// # Safety
    /// `keeper` is in an `Arc` and keeps this producer; `intake` lives as long.
    unsafe fn bind(&mut self, keeper: NonNull<dyn Keeper>, intake: *const Intake, index: u32) {
        self.keeper.set(Some(keeper));
        self.index.set(index);
        self.intake.set(intake);
        // SAFETY: by contract.
        self.fast.bind(unsafe { &*intake });
    }

    #[inline(always)]
    fn intake(&self) -> &Intake {
        // SAFETY: bound at the start; it lives as long as this producer.
        unsafe { &*self.intake.get() }
    }

    fn is_free(&self) -> bool {
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

    fn attach(&self, ring: &Slot, owner: u64) {
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

    fn move_to(&self, ring: &Slot) {
        let cursor = |buffer: Option<&RingBuffer>| buffer.map(RingBuffer::cursor).unwrap_or_default();
        self.set_cursor(cursor(ring.buffer()));
        self.spill.set(cursor(ring.spill()));
        self.fast.close_window();
        self.fast.sequence_offset.set(self.fast.captured.load(Ordering::Relaxed).wrapping_neg());
        self.kept_before.store(self.kept(), Ordering::Relaxed);
        self.ring.store(std::ptr::from_ref(ring).cast_mut(), Ordering::Release);
    }

    /// Events that it has captured and not overwritten.
    fn kept(&self) -> u64 {
        let c = self.counts();
        c.captured.wrapping_sub(c.overwritten)
    }

    /// Gives up its ring, and a reservation in it.
    fn detach(&self) -> Option<&Slot> {
        if self.is_free() {
            return None;
        }
        let ring = self.ring();
        self.fast.close_window();
        self.ring.store(std::ptr::null_mut(), Ordering::Release);
        self.owner.store(0, Ordering::Release);
        self.fast.busy.store(busy::NO, Ordering::Release);
        self.live.store(0, Ordering::Release);
        ring
    }

    fn owner(&self) -> u64 {
        self.owner.load(Ordering::Acquire)
    }

    /// The thread's id and name, for the storage; the id is 0 for a handle.
    fn thread(&self) -> (u32, [u8; 16]) {
        // SAFETY: written while the producer was free, under the registry's lock, which the caller holds.
        (self.tid.load(Ordering::Relaxed), unsafe { *self.name.get() })
    }

    /// The ring that it captures into.
    pub fn ring(&self) -> Option<&Slot> {
        // SAFETY: slots live as long as the producers that use them.
        unsafe { self.ring.load(Ordering::Acquire).as_ref() }
    }

    fn is_capturing(&self) -> bool {
        self.fast.busy.load(Ordering::Acquire) == busy::CAPTURING
    }

    /// The sequence number of the next event. Only for the thread that holds the busy word.
    #[inline(always)]
    fn next_sequence(&self) -> u64 {
        self.fast.captured.load(Ordering::Relaxed).wrapping_add(self.fast.sequence_offset.get())
    }

    /// What it counted. Each count is one word that only grows, so no snapshot shows less than an earlier one did.
    pub fn counts(&self) -> Counts {
        let overwritten = self.overwritten.load(Ordering::Acquire);
        let dropped_full = self.dropped_full.load(Ordering::Acquire);
        let dropped_sampled = self.dropped_sampled.load(Ordering::Acquire);
        let dropped_rule = self.dropped_rule.load(Ordering::Acquire);
        let weight_beyond = self.weight_beyond.load(Ordering::Acquire);
        let bytes = self.fast.bytes.load(Ordering::Acquire);
        let captured = self.fast.captured.load(Ordering::Acquire);
        Counts { captured, dropped_full, dropped_sampled, dropped_rule, overwritten, weight_beyond, bytes }
    }

    /// The largest payload.
    pub fn max_event_bytes(&self) -> usize {
        self.intake().max_event_bytes
    }

    /// The largest payload that goes to a priority ring. `None`: there are no such rings.
    pub fn max_priority_bytes(&self) -> Option<usize> {
        self.intake().priority.max_bytes
    }

    /// Whether this is a child of the process that started the pipeline.
    pub fn forked(&self) -> bool {
        self.intake().forked()
    }

    /// Why captures cannot be inlined in the caller's code. A reason that arises later shows in the doorbell, which inlined captures read.
    pub fn why_not_inlined(&self) -> Option<&'static str> {
        let known = cfg!(all(
            any(target_arch = "x86_64", target_arch = "aarch64"),
            target_pointer_width = "64",
            target_endian = "little",
            not(simulator)
        ));
        if known {
            self.intake().why_no_fast_path()
        } else {
            Some("captures cannot be inlined on this processor")
        }
    }

    /// The words that inlined captures work on.
    pub fn fast_words(this: *mut Self) -> *mut FastWords {
        // They are its first field.
        this.cast()
    }

    /// Counts an offer whose arguments could not even be read.
    pub fn count_invalid(&self) {
        self.intake().refused.invalid.fetch_add(1, Ordering::Relaxed);
    }

    /// Closes a handle.
    ///
    /// # Safety
    /// `this` came from `Pipeline::open_producer` and is not used again.
    pub unsafe fn close(this: *const Self) {
        // SAFETY: the handle holds a reference to its keeper, which contains it; given back here.
        unsafe {
            if let Some(keeper) = (*this).keeper.get() {
                Arc::from_raw(keeper.as_ptr().cast_const()).close(&*this);
            }
        }
    }
}
