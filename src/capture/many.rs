//! Several events at once by the fast path: one busy word, one time, one publication, one look at the doorbell.

use super::fast_path::{PREFETCH, in_order};
use super::fast_words::prefetch_lines;
use super::protocol::{Payload, stamp};
use super::{FastPath, Offer, Producer, busy};
use crate::ring::record::stride;

impl Producer {
    /// Captures the events that `next` gives, up to the first that must take the slow path. Returns how many those are, and whether a
    /// writer may have to be woken. Events that do not bring their own time all get the same time.
    ///
    /// # Safety
    /// Each offer that `next` gives is as for [`capture`](Self::capture). `next` itself captures nothing.
    #[inline(always)]
    pub unsafe fn capture_many_fast(&self, mut next: impl FnMut() -> Option<Offer>) -> (usize, FastPath) {
        let Some((window, at, _)) = self.begin_fast_or_give_back(busy::NO, 0) else {
            return (0, FastPath::Declined);
        };
        // Addresses instead of positions, because the loop then needs one register less.
        let (start, limit) = (window.at(at), window.at(window.end));
        let mut record = start;
        let (max_len, first, ticks) = (self.fast.max_len(), self.next_sequence(), self.ticks());
        let (mut sequence, mut bytes) = (first, 0);
        while let Some(offer) = next() {
            if offer.data.is_null() || !in_order(&offer, max_len) {
                break;
            }
            let next = record.wrapping_add(stride(offer.len) as usize);
            if next > limit {
                break;
            }
            let soon = record.wrapping_add(PREFETCH as usize);
            if soon < limit {
                prefetch_lines(soon);
            }
            let number = (sequence, stamp(&offer, || ticks));
            // SAFETY: the window is this producer's, and the record ends in it; the payload is readable, by contract.
            unsafe { Self::record(record, &offer, Payload::Short, 1.0, || number) };
            (record, sequence, bytes) = (next, sequence.wrapping_add(1), bytes + offer.len as u64);
        }
        let events = sequence.wrapping_sub(first);
        if events == 0 {
            self.give_back(busy::NO);
            return (0, FastPath::Declined);
        }
        let end = at + (record.addr() - start.addr()) as u64;
        // SAFETY: the records are written, in the window, up to `end`.
        (events as usize, unsafe { self.publish_fast(end, events, bytes) })
    }
}
