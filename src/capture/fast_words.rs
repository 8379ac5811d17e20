//! The words of a producer that the fast path works on: one struct, for [`fast_path`](super::fast_path) here and for
//! `capture_pipeline_fast.h`, where it is `pipeline_fast_t`, in the caller's own code.

use super::busy;
use crate::platform::cache;
use crate::platform::sync::{AtomicU32, AtomicU64, Ordering};
use crate::ring::intake::{Doorbell, Intake};
use crate::ring::ring_buffer::{self, Cursor, RingBuffer};
use std::cell::Cell;

/// The version of `pipeline_fast_t`, of the order in which it is read and written, and of a record's header. Code that was compiled
/// with another version gets no struct, and makes calls.
pub const PIPELINE_FAST_VERSION: u32 = 2;

/// A piece of a ring buffer's memory in which the producer may write without looking at the ring buffer's positions.
#[derive(Clone, Copy)]
pub(super) struct Window {
    base: *mut u8,
    /// The position behind it; 0: there is none.
    pub(super) end: u64,
}

impl Window {
    /// The memory at a position.
    #[inline(always)]
    pub(super) fn at(&self, position: u64) -> *mut u8 {
        self.base.wrapping_add(position as usize)
    }

    /// Prefetches the lines at a position, if they are in the window. A writer may still read lines outside it.
    #[inline(always)]
    pub(super) fn prefetch(&self, position: u64) {
        if position < self.end {
            prefetch_lines(self.at(position));
        }
    }
}

/// Prefetches two cache lines that will be written soon.
#[inline(always)]
pub(super) fn prefetch_lines(at: *mut u8) {
    cache::fetch_to_write(at);
    cache::fetch_to_write(at.wrapping_add(64));
}

/// The words of the fast path. `capture_pipeline_fast.h` has the same fields under the same names. What a capture writes comes first, in
/// one cache line.
#[repr(C)]
#[derive(Debug)]
pub struct FastWords {
    /// `sizeof(pipeline_fast_t)` of the library.
    pub(super) struct_size: u32,
    /// Not 0 while a capture is under way or a reservation is open.
    pub(super) busy: AtomicU32,
    /// The position at which the next record goes.
    pub(super) head: Cell<u64>,
    /// Where position 0 would lie, if the memory of the window began there.
    pub(super) base: Cell<*mut u8>,
    /// The position at which the window ends; 0: there is none.
    pub(super) end: Cell<u64>,
    /// Where the head is published.
    pub(super) published: Cell<*mut AtomicU64>,
    /// The latest reading of the processor's counter in the producer's ring buffers.
    pub(super) last_ticks: Cell<u64>,
    /// Events captured.
    pub(super) captured: AtomicU64,
    /// Payload bytes captured.
    pub(super) bytes: AtomicU64,
    /// `captured` plus this is the next sequence number: the events dropped since the producer got its ring buffer, minus those that it
    /// captured before.
    pub(super) sequence_offset: Cell<u64>,
    /// The longest payload that an inlined capture copies.
    pub(super) max_len: Cell<usize>,
    /// Points to a word that is 0 in a forked child.
    pub(super) alive: Cell<*const AtomicU32>,
    /// The pipeline's doorbell.
    pub(super) doorbell: Cell<*const Doorbell>,
    /// The pipeline's pressure. No capture reads it.
    pub(super) pressure: Cell<*const AtomicU32>,
}

impl FastWords {
    pub(super) fn new() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            busy: AtomicU32::new(busy::NO),
            head: Cell::new(0),
            base: Cell::new(std::ptr::null_mut()),
            end: Cell::new(0),
            published: Cell::new(std::ptr::null_mut()),
            last_ticks: Cell::new(0),
            captured: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            sequence_offset: Cell::new(0),
            max_len: Cell::new(0),
            alive: Cell::new(std::ptr::null()),
            doorbell: Cell::new(std::ptr::null()),
            pressure: Cell::new(std::ptr::null()),
        }
    }

    /// Binds the words to their pipeline. This comes before any other use of them. The intake must outlive them.
    pub(super) fn bind(&self, intake: &Intake) {
        self.max_len.set(intake.short_bytes);
        self.alive.set(intake.alive);
        self.doorbell.set(&raw const intake.doorbell);
        self.pressure.set(intake.pressure.word());
    }

    /// As [`Intake::forked`].
    #[inline(always)]
    pub(super) fn forked(&self) -> bool {
        // SAFETY: bound to a word that is never unmapped.
        unsafe { (*self.alive.get()).load(Ordering::Relaxed) == 0 }
    }

    /// The pipeline's doorbell.
    #[inline(always)]
    pub(super) fn doorbell(&self) -> &Doorbell {
        // SAFETY: bound to an intake that outlives the producer.
        unsafe { &*self.doorbell.get() }
    }

    /// The longest payload that is copied without a call.
    #[inline(always)]
    pub(super) fn max_len(&self) -> usize {
        self.max_len.get()
    }

    /// Returns where records may be written without looking at the ring buffer.
    #[inline(always)]
    pub(super) fn window(&self) -> Window {
        Window { base: self.base.get(), end: self.end.get() }
    }

    /// Opens the window from the cursor on, in this ring buffer.
    #[inline(always)]
    pub(super) fn open_window(&self, buffer: &RingBuffer, cursor: &Cursor) {
        let (base, end) = buffer.window(cursor);
        self.published.set(buffer.published().cast_mut());
        self.base.set(base);
        self.end.set(end);
    }

    /// Closes the window, so that the next capture takes the slow path.
    pub(super) fn close_window(&self) {
        self.base.set(std::ptr::null_mut());
        self.end.set(0);
    }

    /// Publishes everything before the position `end`.
    ///
    /// # Safety
    /// The [window](Self::open_window) was opened in the ring buffer that `end` is in.
    #[inline(always)]
    pub(super) unsafe fn publish(&self, end: u64) {
        self.head.set(end);
        // SAFETY: the head of a ring buffer that outlives the producer; set with the window.
        ring_buffer::publish(unsafe { &*self.published.get() }, end);
    }
}

/// The same in C: `include/capture_pipeline_fast.h` is written by hand.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::fast_path::PREFETCH;
    use crate::ring::copy::SHORT;
    use crate::ring::intake::doorbell;
    use crate::ring::pressure::PERCENT;
    use crate::ring::record::{HEADER, TICKS};
    use std::mem::offset_of;

    const FAST_HEADER: &str = include_str!("../../include/capture_pipeline_fast.h");

    /// The fields of a C struct and their offsets, and at last its size.
    fn in_c(name: &str) -> Vec<(&'static str, usize)> {
        let (_, body) = FAST_HEADER.split_once(&format!("typedef struct {name} {{")).expect("the struct");
        let (body, _) = body.split_once(&format!("}} {name};")).expect("its end");
        let mut offset: usize = 0;
        let mut fields = Vec::new();
        for line in body.lines().filter_map(|line| line.strip_suffix(';')) {
            let (of_type, field) = line.rsplit_once([' ', '*']).expect("a type and a name");
            let small = of_type.trim() == "uint32_t" && !line.contains('*');
            let size = if small { 4 } else { 8 };
            offset = offset.next_multiple_of(size);
            fields.push((field, offset));
            offset += size;
        }
        fields.push(("", offset.next_multiple_of(8.min(offset))));
        fields
    }

    macro_rules! in_rust {
        ($type:ty: $($field:ident)*) => {
            vec![$((stringify!($field), offset_of!($type, $field)),)* ("", size_of::<$type>())]
        };
    }

    fn defined(name: &str) -> &'static str {
        let (_, value) = FAST_HEADER.split_once(&format!("#define {name} ")).expect("the constant");
        value.lines().next().expect("its value")
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_c_header_has_the_same_words_and_numbers() {
        let words = in_rust!(FastWords: struct_size busy head base end published last_ticks captured bytes
            sequence_offset max_len alive doorbell pressure);
        assert_eq!(in_c("pipeline_fast_t"), words);
        assert_eq!(in_c("pipeline_fast_doorbell_t"), in_rust!(Doorbell: slow_path state));
        assert_eq!(defined("PIPELINE_FAST_VERSION"), PIPELINE_FAST_VERSION.to_string());
        assert_eq!(defined("PIPELINE_FAST_HEADER"), HEADER.to_string());
        assert_eq!(defined("PIPELINE_FAST_PREFETCH"), PREFETCH.to_string());
        assert_eq!(defined("PIPELINE_FAST_PRESSURE"), format!("((uint32_t){PERCENT:#X})"));
        assert_eq!(defined("PIPELINE_FAST_TICKS"), format!("((uint32_t)1 << {})", TICKS.trailing_zeros()));
        // In the C code these are bare numbers.
        assert_eq!((busy::NO, busy::CAPTURING, doorbell::AWAKE, doorbell::MASK, SHORT), (0, 1, 0, 3, 128));
    }
}
