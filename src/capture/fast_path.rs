//! The fast path of a capture: the three steps of the [`protocol`](super::protocol) where nothing can wait, fail or panic. So it needs
//! no guard, and as a rule no stack frame.
//!
//! Any other capture is declined before it changes anything, and the busy word, if it was taken, is given back. The
//! [slow path](super::slow_path) then decides and counts. There is one exception: if the doorbell has a reason against the fast path, the
//! capture is [held](FastPath::Held), and keeps the busy word. Whoever goes on with it, as [`judged`](super::judged) does for rules and
//! sampling, gives it back.

#[cfg(test)]
mod tests;

use super::protocol::{Payload, stamp};
use super::{Offer, Producer, Window, busy};
use crate::event::{FAST_FLAGS, PIPELINE_KIND_RESERVED};
use crate::platform::time;
use crate::ring::record::{HEADER, stride};

/// How many bytes ahead of a record cache lines are prefetched: about as many as captures write while a line comes from another processor's
/// cache. Each capture prefetches two lines, which is the size of a record with a short payload. Measured in pairs, with a writer on
/// another processor: captures of 64 bytes take 34 ns, without the prefetch 39; of 4 KiB 570 and 740; of 512 and 1,024 bytes there is no
/// difference.
pub(super) const PREFETCH: u64 = 2048;

/// The same where records may be long. It reaches the header of a later record if all records have one size. A storage has read at least
/// the headers, so those lines are in its processor's cache. Without the prefetch, the copy of the whole payload waits for them.
#[inline(always)]
pub(super) fn ahead(stride: u64) -> u64 {
    let doublings = stride.leading_zeros().saturating_sub(PREFETCH.leading_zeros() + 1);
    stride << doublings.max(1)
}

/// What the fast path did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastPath {
    /// It is captured.
    Captured,
    /// It is captured, and a writer may have to be woken: [`Producer::wake_writer`].
    CapturedWake,
    /// Nothing yet: the doorbell has a reason against the fast path. The busy word is held, for [`Producer::capture_held`].
    Held,
    /// Nothing. The event must take the slow path.
    Declined,
}

/// Why the fast path has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotBegun {
    /// The doorbell has a reason against it. The busy word is held.
    Held,
    /// Another reason. The busy word is as it was.
    Declined,
}

/// Returns whether the fast path may take an offer: it is valid, and not one of those that go to another ring buffer. The address of its payload is
/// not checked.
#[inline(always)]
pub(super) fn in_order(offer: &Offer, max_len: usize) -> bool {
    offer.kind < PIPELINE_KIND_RESERVED && offer.flags & !FAST_FLAGS == 0 && offer.len <= max_len
}

impl Producer {
    /// Captures an event by the fast path, or declines it. `LONG` says that its payload may be longer than what is copied without a call,
    /// [`SHORT`](crate::ring::copy::SHORT).
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    #[inline(always)]
    pub unsafe fn capture_fast<const LONG: bool>(&self, offer: &Offer) -> FastPath {
        let max_len = if LONG { self.intake().max_event_bytes } else { self.fast.max_len() };
        if offer.data.is_null() || !in_order(offer, max_len) {
            return FastPath::Declined;
        }
        let (window, at, end) = match self.begin_fast(busy::NO, offer.len) {
            Ok(begun) => begun,
            Err(NotBegun::Held) => return FastPath::Held,
            Err(NotBegun::Declined) => return FastPath::Declined,
        };
        window.prefetch(at + if LONG { ahead(end - at) } else { PREFETCH });
        let payload = if LONG { Payload::Long } else { Payload::Short };
        let number = || (self.next_sequence(), stamp(offer, || self.ticks()));
        // SAFETY: the window is this producer's, and the record ends in it; the payload is readable, by contract.
        unsafe {
            Self::record(window.at(at), offer, payload, 1.0, number);
            self.publish_fast(end, 1, offer.len as u64)
        }
    }

    /// Reserves room for a payload of `head.len` bytes by the fast path, or declines.
    #[inline(always)]
    pub(super) fn reserve_fast(&self, head: &Offer) -> Option<*mut u8> {
        if !in_order(head, self.intake().max_event_bytes) {
            return None;
        }
        let (window, at, end) = self.begin_fast_or_give_back(busy::NO, head.len)?;
        window.prefetch(at + ahead(end - at));
        self.reserved_at.set(at);
        self.reserved.set(*head);
        self.give_back(busy::RESERVED);
        // SAFETY: the window is this producer's, and the record ends in it.
        Some(unsafe { window.at(at).add(HEADER as usize) })
    }

    /// Captures the reserved event with the first `used` bytes of its payload by the fast path, or declines: `None`. Returns
    /// whether a writer may have to be woken.
    #[inline(always)]
    pub(super) fn commit_fast(&self, used: usize) -> Option<bool> {
        let (position, head) = (self.reserved_at.get(), self.reserved.get());
        // A length beyond the reserved one might have no valid stride. A reservation that is not at the head has a pad before it, which the
        // slow path publishes.
        if used > head.len || position != self.fast.head.get() {
            return None;
        }
        let (window, at, end) = self.begin_fast_or_give_back(busy::RESERVED, used)?;
        let number = || (self.next_sequence(), stamp(&head, || self.ticks()));
        // SAFETY: as in `capture_fast`; the payload is in place.
        unsafe {
            Self::record(window.at(at), &head, Payload::InPlace(used), 1.0, number);
            Some(self.publish(end, 1, used as u64, true))
        }
    }

    /// Takes step 1 if everything is as usual and a record with `len` bytes of payload ends in the window. Returns the window, and the
    /// positions where the record begins and ends.
    #[inline(always)]
    pub(super) fn begin_fast(&self, from: u32, len: usize) -> Result<(Window, u64, u64), NotBegun> {
        // Where captures pay for their fences, the doorbell keeps them on the slow path, so the fence here may be the asymmetric one.
        if self.fast.forked() || !self.begin(from, true) {
            return Err(NotBegun::Declined);
        }
        // The doorbell is read first, because the other order needs two more registers.
        if !self.fast.doorbell().allows_fast_path() {
            return Err(NotBegun::Held);
        }
        let (window, at) = (self.fast.window(), self.fast.head.get());
        let end = at + stride(len);
        if end > window.end {
            self.give_back(from);
            return Err(NotBegun::Declined);
        }
        Ok((window, at, end))
    }

    /// The same for those who have no other way for what the doorbell has a reason against. After `None` the busy word is as it was.
    #[inline(always)]
    pub(super) fn begin_fast_or_give_back(&self, from: u32, len: usize) -> Option<(Window, u64, u64)> {
        if self.fast.forked() || !self.begin(from, true) {
            return None;
        }
        let allowed = self.fast.doorbell().allows_fast_path();
        let (window, at) = (self.fast.window(), self.fast.head.get());
        let end = at + stride(len);
        if !allowed || end > window.end {
            self.give_back(from);
            return None;
        }
        Some((window, at, end))
    }

    /// Step 3.
    ///
    /// # Safety
    /// As for [`publish`](Self::publish).
    #[inline(always)]
    pub(super) unsafe fn publish_fast(&self, end: u64, events: u64, bytes: u64) -> FastPath {
        // SAFETY: passed on.
        if unsafe { self.publish(end, events, bytes, true) } {
            FastPath::CapturedWake
        } else {
            FastPath::Captured
        }
    }

    /// Reads the processor's counter. The result never goes back, although the counter of another processor may be a little behind.
    #[inline(always)]
    pub(super) fn ticks(&self) -> u64 {
        let ticks = time::ticks().max(self.fast.last_ticks.get());
        self.fast.last_ticks.set(ticks);
        ticks
    }
}
