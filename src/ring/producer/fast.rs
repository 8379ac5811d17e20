//! The words of a producer that the shortest way of a capture needs: one struct, which [`at_once`](super::at_once) works on here and
//! `capture_pipeline_fast.h` in the caller's own code. What the one may do with them, the other does in the same order.

use super::busy;
use crate::platform::sync::{AtomicU32, AtomicU64, Ordering};
use crate::ring::copy::SHORT;
use crate::ring::front::{Front, Signs};
use crate::ring::log::{Cursor, Log};
use crate::ring::record::{HEADER, TICKS};
use std::cell::Cell;

/// The version of `pipeline_fast_t`, of the order in which it is read and written, and of a record's header. Code that was compiled
/// with another one is given none, and makes calls.
pub const PIPELINE_FAST_VERSION: u32 = 1;

// What a capture writes comes first, in one cache line.
/// What the inlined captures of `capture_pipeline_fast.h` work on, a part of the producer. Nothing for programs to read or
/// write.
#[repr(C)]
#[derive(Debug)]
pub struct Fast {
    /// `sizeof(pipeline_fast_t)` of the library.
    struct_size: u32,
    /// Not 0: a capture is under way, or a reservation open.
    pub(super) busy: AtomicU32,
    /// The position at which the next record goes.
    pub(super) head: Cell<u64>,
    /// Where position 0 would lie, if the memory that is being written began there.
    lap: Cell<*mut u8>,
    /// The position up to which records may be written there without a look at the ring buffer; 0: none.
    reach: Cell<u64>,
    /// Where the head is published.
    published: Cell<*mut AtomicU64>,
    /// The latest reading of the processor's counter in the producer's ring buffers.
    pub(super) last_ticks: Cell<u64>,
    /// Events captured.
    pub(super) captured: AtomicU64,
    /// Payload bytes captured.
    pub(super) bytes: AtomicU64,
    /// What makes sequence numbers of `captured`: events dropped since the producer got its ring buffer, less those captured before.
    pub(super) shift: Cell<u64>,
    /// The longest payload that goes this way; at most 128.
    longest: Cell<usize>,
    /// 0 there: this is a forked child.
    alive: Cell<*const AtomicU32>,
    /// What else to look at.
    signs: Cell<*const Signs>,
}

// What is written in the C header, by number.
const _: () = {
    assert!(SHORT == 128 && HEADER == 48 && TICKS == 1 << 30);
    assert!(busy::NO == 0 && busy::CAPTURING == 1);
};

impl Fast {
    pub(super) fn new() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            busy: AtomicU32::new(busy::NO),
            head: Cell::new(0),
            lap: Cell::new(std::ptr::null_mut()),
            reach: Cell::new(0),
            published: Cell::new(std::ptr::null_mut()),
            last_ticks: Cell::new(0),
            captured: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            shift: Cell::new(0),
            longest: Cell::new(0),
            alive: Cell::new(std::ptr::null()),
            signs: Cell::new(std::ptr::null()),
        }
    }

    /// Tells it of its pipeline; before anything else.
    pub(super) fn bind(&self, front: *const Front) {
        // SAFETY: by contract of `Producer::bind`.
        let front = unsafe { &*front };
        self.longest.set(front.short_bytes);
        self.alive.set(front.alive);
        self.signs.set(&raw const front.signs);
    }

    /// As [`Front::forked`].
    #[inline(always)]
    pub(super) fn forked(&self) -> bool {
        // SAFETY: bound to a word that is never unmapped.
        unsafe { (*self.alive.get()).load(Ordering::Relaxed) == 0 }
    }

    /// What each capture looks at.
    #[inline(always)]
    pub(super) fn signs(&self) -> &Signs {
        // SAFETY: bound to the front of the `Rings` that this producer is in.
        unsafe { &*self.signs.get() }
    }

    /// The longest payload that is copied without a call.
    #[inline(always)]
    pub(super) fn longest(&self) -> usize {
        self.longest.get()
    }

    /// What [`Log::ahead`] has said; an end of 0: nothing may be written without a look at the ring.
    #[inline(always)]
    pub(super) fn ahead(&self) -> (*mut u8, u64) {
        (self.lap.get(), self.reach.get())
    }

    /// From here on records may be written in this log without a look at it.
    #[inline(always)]
    pub(super) fn go_ahead(&self, log: &Log, cursor: &Cursor) {
        let (lap, reach) = log.ahead(cursor);
        self.published.set(log.published().cast_mut());
        self.lap.set(lap);
        self.reach.set(reach);
    }

    /// From here on there is to be a look at the ring first.
    pub(super) fn stop_ahead(&self) {
        self.lap.set(std::ptr::null_mut());
        self.reach.set(0);
    }

    /// Publishes everything up to `end`, as [`Log::publish`].
    ///
    /// # Safety
    /// It was told to [`go_ahead`](Self::go_ahead) in the log that `end` is in.
    #[inline(always)]
    pub(super) unsafe fn publish(&self, end: u64) {
        self.head.set(end);
        // SAFETY: the log of a ring of the `Rings` that this producer is in; set wherever `reach` is.
        unsafe { (*self.published.get()).store(end, Ordering::Release) };
    }
}
