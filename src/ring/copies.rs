//! Copies of what lies in ring buffers, in memory of their own.

use super::ring_buffer::{Part, Progress, RingBuffer};
use crate::platform::memory;
use std::ops::Range;

/// A piece of memory for copies of rings.
#[derive(Debug)]
pub struct Copies {
    base: *mut u8,
    bytes: usize,
    /// Copies lie before this.
    used: usize,
}

// SAFETY: memory of its own.
unsafe impl Send for Copies {}

/// The copy of a ring's records and pads, in their order: a place in [`Copies`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    place: Range<usize>,
    /// Nothing of the ring follows. Otherwise the next part follows behind the records that are whole in this one.
    pub last: bool,
    /// Bytes that were released or overwritten while the copy was made, and that are not in it for that.
    pub passed: u64,
}

impl Copied {
    /// That of a ring in which there is nothing.
    pub fn nothing() -> Self {
        Self { place: 0..0, passed: 0, last: true }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.place.is_empty()
    }
}

impl Copies {
    /// Bytes for copies.
    pub fn room(&self) -> usize {
        self.bytes
    }

    /// Maps so many bytes. Pages are taken as copies are made. `None`: the system refuses.
    pub fn new(bytes: usize) -> Option<Self> {
        let base = memory::map(bytes);
        if base.is_null() {
            return None;
        }
        // SAFETY: just mapped.
        unsafe { memory::prefer_huge_pages(base, bytes) };
        Some(Self { base: base.cast(), bytes, used: 0 })
    }

    /// The end of the last copy, for [`back_to`](Self::back_to).
    pub fn mark(&self) -> usize {
        self.used
    }

    /// Forgets the copies that were made since the mark; 0: all. Their memory is used again.
    pub fn back_to(&mut self, mark: usize) {
        self.used = self.used.min(mark);
    }

    /// Copies what is published in a ring and not released, or the next part of it. Neither its producer nor a writer waits for that. `None`: it does not fit
    /// behind the other copies. (Where there are none, it is copied in parts.)
    pub fn take(&mut self, ring: &RingBuffer, progress: &mut Progress) -> Option<Copied> {
        let room = self.bytes - self.used;
        // Before the ring is looked at, because a page that is missing would hold up the copy, and the producer overwrites meanwhile.
        let soon = ring.content();
        let soon = ((soon.end - soon.start) as usize).min(room);
        // SAFETY: inside the mapping, which is this one's.
        unsafe { memory::populate(self.base.add(self.used).cast(), soon) };
        // SAFETY: so many bytes of the mapping are free. They are aligned, because a copy's length is a multiple of 8.
        let part = unsafe { ring.copy_out(progress, self.base.add(self.used), room as u64, self.used != 0) };
        let Part { bytes, passed, last } = part?;
        let place = self.used + bytes.start..self.used + bytes.end;
        self.used = place.end;
        Some(Copied { place, passed, last })
    }

    /// The bytes of a copy.
    pub fn bytes(&mut self, copied: &Copied) -> &mut [u8] {
        let Range { start, end } = copied.place;
        if end > self.used {
            return &mut []; // it was made before the memory was cleared
        }
        // SAFETY: inside the mapping, which is zeroed or written, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(start), end - start) }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and no copy is borrowed any more.
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests;
