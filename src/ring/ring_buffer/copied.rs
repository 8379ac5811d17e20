//! Reading what lies in a ring buffer without a claim, for snapshots: the bytes are copied while the producer and writers go on, and what was overwritten
//! meanwhile is left out.
//!
//! The producer writes at no position before `released` + capacity. So bytes that were copied from a position at or behind `released`, as it is
//! found *after* the copy, are those that were published: this is the sequence lock of the module above, with `released` as its counter.
//! Who reads a byte that the producer has written over an older one also sees the `released` that allowed it: under `drop_oldest` by the
//! fence behind the release in `overwrite`; where a writer released the space, because the producer had loaded that `released` by an acquire
//! load before it wrote.

use super::RingBuffer;
use crate::platform::sync::{Ordering, fence};
use std::ops::Range;

/// So much is copied before it is looked whether it was overwritten meanwhile. The smaller it is, the less of a full ring is lost at the start of the
/// copy; from then on the copy is faster than the producer.
const PIECE: u64 = 32 << 10;

/// So often a copy that was overtaken by the producer begins again with what lies in the ring then. After that it keeps its end, so that it has one.
const MOST_LOOKS: u32 = 64;

/// How far the copy of a ring has come, if it is made in parts.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    begun: bool,
    /// The next part begins here.
    from: u64,
    /// The last part ends here.
    end: u64,
    looks: u32,
}

impl Progress {
    /// Of the last part, so many bytes are used. The next part begins behind them.
    pub fn used(&mut self, bytes: u64) {
        self.from += bytes;
    }
}

/// A part of a copy, in the memory that was given for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ring) struct Part {
    /// Where it lies.
    pub bytes: Range<usize>,
    /// Bytes that were released or overwritten meanwhile.
    pub passed: u64,
    /// It is the last one, and ends where a record or pad does. Other parts end anywhere.
    pub last: bool,
}

impl RingBuffer {
    /// The positions of what is published and not released: no more than the capacity. Both are boundaries of records or pads.
    pub(in crate::ring) fn content(&self) -> Range<u64> {
        // `head` first: space that it takes from older records was released before, so that this thread sees a `released` that leaves no more
        // than the capacity.
        let end = self.head();
        self.released().min(end)..end
    }

    /// Copies what is published and not released to `to`, where there are `room` bytes, or the next part of it. A part begins where a record or pad
    /// does. `None`: with `whole`, it does not fit as a whole.
    ///
    /// # Safety
    /// `to` has `room` writable bytes, 8-byte aligned, that are no part of a ring buffer. What [`Progress::used`] was told ended where a record or pad did.
    pub(in crate::ring) unsafe fn copy_out(
        &self,
        progress: &mut Progress,
        to: *mut u8,
        room: u64,
        whole: bool,
    ) -> Option<Part> {
        if !progress.begun {
            let Range { start, end } = self.content();
            if whole && end - start > room {
                return None;
            }
            *progress = Progress { begun: true, from: start, end, looks: 0 };
        }
        let first = progress.from;
        // The position that lies at `to`, the one from which on the copy is good, and the one up to which there is one.
        let (mut base, mut start, mut at) = (first, first, first);
        let mut stop = progress.end.min(first + room);
        while at < stop {
            let offset = at & self.mask;
            let len = PIECE.min(stop - at).min(self.capacity() - offset);
            // SAFETY: the piece ends where the ring's memory does, at the latest. `at - base` + `len` is at most `stop - base`, which is at most
            // `room`.
            unsafe { self.memory.copy_out(offset, to.add((at - base) as usize), len) };
            // Pairs with the producer's fence, see above.
            fence(Ordering::Acquire);
            let released = self.released();
            if released <= at {
                at += len;
            } else if at == start && released < at + len {
                // The first piece, as a rule: the producer is always about to overwrite the oldest records. The rest of the piece is good.
                (start, at) = (released, at + len);
            } else {
                // The thread was held up, and the ring is full again, with later records. These are copied instead, and not what was copied before, because
                // a part has no gaps.
                start = released.min(progress.end);
                if progress.looks < MOST_LOOKS {
                    progress.looks += 1;
                    let now = self.content();
                    (start, progress.end) = (now.start.max(start), now.end);
                }
                (base, at, stop) = (start, start, progress.end.min(start + room));
            }
        }
        progress.from = start;
        let bytes = (start - base) as usize..(stop - base) as usize;
        Some(Part { bytes, passed: start - first, last: stop == progress.end })
    }
}
