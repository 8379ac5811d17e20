//! The capture: from a caller's offer to a published record, or to a counted reason why not.

use super::{AtOnce, Offer, Producer, add, busy};
use crate::event::{KNOWN_FLAGS, PIPELINE_EVENT_OWN_TIME, PIPELINE_KIND_RESERVED};
use crate::platform::sync::Ordering;
use crate::platform::{barrier, time};
use crate::ring::front::Knocks;
use crate::ring::log::Log;
use crate::ring::record::{Head, Tag, stride};
use crate::status::{
    PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FORKED, PIPELINE_ERR_FULL, PIPELINE_ERR_INVALID,
    PIPELINE_ERR_NO_RING, PIPELINE_ERR_TOO_LARGE, PIPELINE_OK,
};

impl Producer {
    /// Captures an event on the thread that this producer belongs to.
    ///
    /// # Safety
    /// `offer.data` points to `offer.len` readable bytes, or is NULL with a length of 0.
    #[inline(always)]
    pub unsafe fn capture(&self, offer: &Offer) -> i32 {
        // SAFETY: passed on.
        match unsafe { self.capture_at_once::<true>(offer) } {
            AtOnce::Captured => PIPELINE_OK,
            AtOnce::Knock => {
                self.knock();
                PIPELINE_OK
            }
            // SAFETY: passed on.
            AtOnce::No => unsafe { self.capture_generally(offer) },
        }
    }

    /// The same, whatever is the matter.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    #[inline(never)]
    pub(super) unsafe fn capture_generally(&self, offer: &Offer) -> i32 {
        if self.front().forked() {
            return PIPELINE_ERR_FORKED;
        }
        if !self.begin() {
            return self.refuse_busy();
        }
        // SAFETY: passed on; the busy word is ours.
        let status = unsafe { self.capture_checked(offer) };
        self.fast.busy.store(busy::NO, Ordering::Release);
        if status == PIPELINE_OK {
            self.front().published(self);
        }
        status
    }

    /// Takes the busy word of a producer that is this thread's.
    #[inline(always)]
    pub(super) fn begin(&self) -> bool {
        if self.fast.busy.load(Ordering::Relaxed) != busy::NO {
            return false;
        }
        self.fast.busy.store(busy::CAPTURING, Ordering::Relaxed);
        // Between "busy" and the look at "closed": close sets "closed", then looks at "busy".
        barrier::light(self.front().asymmetric);
        true
    }

    #[cold]
    pub(super) fn refuse_busy(&self) -> i32 {
        self.front().refused.busy.fetch_add(1, Ordering::Relaxed);
        PIPELINE_ERR_BUSY
    }

    /// Everything between the two stores of the busy word.
    ///
    /// # Safety
    /// The busy word is held; `offer` as for [`capture`](Self::capture).
    #[inline(always)]
    pub(super) unsafe fn capture_checked(&self, offer: &Offer) -> i32 {
        // SAFETY: passed on.
        let status = unsafe { self.capture_with(offer, true) };
        if status == PIPELINE_ERR_FULL {
            self.count_full();
        }
        status
    }

    #[cold]
    pub(super) fn count_full(&self) {
        add(&self.dropped_full, 1);
        self.fast.shift.set(self.fast.shift.get().wrapping_add(1));
    }

    #[inline(always)]
    pub(super) unsafe fn capture_with(&self, offer: &Offer, wait: bool) -> i32 {
        let refused = self.check(offer);
        if refused != PIPELINE_OK {
            return refused;
        }
        if offer.data.is_null() && offer.len != 0 {
            return self.refuse_invalid();
        }
        match self.place(offer.len, wait) {
            // SAFETY: passed on.
            Some((log, position)) => unsafe { self.fill(log, position, offer) },
            None => self.no_place(),
        }
    }

    /// Why there was no place.
    #[cold]
    pub(super) fn no_place(&self) -> i32 {
        if self.ring().is_none() {
            self.front().refused.no_ring.fetch_add(1, Ordering::Relaxed);
            return PIPELINE_ERR_NO_RING;
        }
        if self.front().is_closed() {
            return self.refuse_closed();
        }
        PIPELINE_ERR_FULL
    }

    #[cold]
    pub(super) fn refuse_closed(&self) -> i32 {
        self.front().refused.closed.fetch_add(1, Ordering::Relaxed);
        PIPELINE_ERR_CLOSED
    }

    #[cold]
    pub(super) fn refuse_invalid(&self) -> i32 {
        self.front().refused.invalid.fetch_add(1, Ordering::Relaxed);
        PIPELINE_ERR_INVALID
    }

    #[inline(always)]
    pub(super) fn check(&self, offer: &Offer) -> i32 {
        let front = self.front();
        if front.is_closed() {
            return self.refuse_closed();
        }
        if offer.kind >= PIPELINE_KIND_RESERVED || offer.flags & !KNOWN_FLAGS != 0 {
            return self.refuse_invalid();
        }
        if offer.len > front.max_event_bytes {
            front.refused.too_large.fetch_add(1, Ordering::Relaxed);
            return PIPELINE_ERR_TOO_LARGE;
        }
        PIPELINE_OK
    }

    /// Finds room for a payload of `len` bytes, by whatever the overflow policy allows.
    #[inline(always)]
    pub(super) fn place(&self, len: usize, wait: bool) -> Option<(&Log, u64)> {
        let log = self.ring()?.log()?;
        let mut cursor = self.cursor();
        let found = log.room(&mut cursor, stride(len));
        self.set_cursor(cursor);
        let (log, position) = match found {
            Ok(position) => (log, position),
            Err(missing) => self.make_room(stride(len), missing, wait)?,
        };
        log.reach(position + stride(len));
        Some((log, position))
    }

    /// Writes the record and publishes it.
    ///
    /// # Safety
    /// `position` is room for the payload; `offer` as for [`capture`](Self::capture).
    #[inline(always)]
    pub(super) unsafe fn fill(&self, log: &Log, position: u64, offer: &Offer) -> i32 {
        // SAFETY: room for it was found; the payload is readable.
        unsafe { log.write_payload(position, offer.data, offer.len) };
        // SAFETY: the same room.
        unsafe { self.seal(log, position, offer, offer.len) }
    }

    /// Writes the header of a record whose payload is in place, and publishes it.
    ///
    /// # Safety
    /// `position` is room for a payload of `len` bytes.
    #[inline(always)]
    pub(super) unsafe fn seal(&self, log: &Log, position: u64, offer: &Offer, len: usize) -> i32 {
        let (timestamp, in_ticks) = self.stamp(offer);
        let head = Head {
            kind: offer.kind,
            weight: 1.0,
            sequence: self.next_sequence(),
            timestamp,
            correlation_id: offer.correlation_id,
            node_id: offer.node_id,
        };
        // SAFETY: passed on.
        unsafe { log.write(position, Tag::event(len, offer.flags | in_ticks), &head) };
        // Counted before it is published: whoever sees the event sees it counted.
        add(&self.fast.captured, 1);
        add(&self.fast.bytes, len as u64);
        let mut cursor = self.cursor();
        log.publish(&mut cursor, position + stride(len));
        self.set_cursor(cursor);
        self.fast.go_ahead(log, &cursor);
        PIPELINE_OK
    }

    /// When the event is captured, and the flag of its tag that says what that is.
    #[inline(always)]
    fn stamp(&self, offer: &Offer) -> (u64, u32) {
        if offer.flags & PIPELINE_EVENT_OWN_TIME == 0 && !self.front().in_ticks() {
            return (time::now_ns(), 0);
        }
        self.stamp_in_ticks(offer)
    }
}

impl Knocks for Producer {
    /// What has gathered in its ring since writers last took from it: events, bytes. Of the shared producer another thread may
    /// have taken hold meanwhile, so only atomics are read; figures of different moments wake a writer too many, or leave it
    /// to that thread's own capture.
    #[cold]
    fn gathered(&self) -> (u64, u64) {
        let Some(ring) = self.ring() else { return (0, 0) };
        let events = self.kept().wrapping_sub(self.kept_before.load(Ordering::Relaxed));
        let bytes = ring.log().map_or(0, |log| log.head().saturating_sub(log.claimed()));
        (events.saturating_sub(ring.claimed_events()), bytes)
    }

    fn place(&self) -> u32 {
        self.place.load(Ordering::Relaxed)
    }
}
