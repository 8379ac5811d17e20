//! The slow path of a capture: from a caller's offer to a published record, or to a counted reason why not. It handles every capture that
//! the [fast path](super::fast_path) declines, and could do all of them.

use super::judged::redact;
use super::protocol::{Payload, Stamp, stamp};
use super::{FastPath, Offer, Producer, add, busy};
use crate::event::{KNOWN_FLAGS, PIPELINE_EVENT_OWN_TIME, PIPELINE_KIND_RESERVED};
use crate::platform::sync::{AtomicU64, Ordering};
use crate::platform::time;
use crate::ring::record::stride;
use crate::ring::ring_buffer::{Cursor, RingBuffer};
use crate::ring::slot::Slot;
use crate::rules::Verdict;
use crate::status::{
    PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FORKED, PIPELINE_ERR_FULL, PIPELINE_ERR_INVALID,
    PIPELINE_ERR_NO_RING, PIPELINE_ERR_TOO_LARGE, PIPELINE_OK,
};

/// Where sampling is allowed, a window beyond the watermark is this part of the ring.
const AGAIN: u64 = 64;

/// Room for a record: a ring buffer, and the position where the record begins.
pub(super) type Room<'a> = (&'a RingBuffer, u64);

impl Producer {
    /// Captures an event on the thread that this producer belongs to.
    ///
    /// # Safety
    /// `offer.data` points to `offer.len` readable bytes, or is NULL.
    #[inline(always)]
    pub unsafe fn capture(&self, offer: &Offer) -> i32 {
        // SAFETY: passed on.
        match unsafe { self.capture_fast::<true>(offer) } {
            FastPath::Captured => PIPELINE_OK,
            FastPath::CapturedWake => self.wake_writer(),
            // SAFETY: passed on; the busy word is held.
            FastPath::Held => unsafe { self.capture_held(offer) },
            // SAFETY: passed on.
            FastPath::Declined => unsafe { self.capture_slow(offer) },
        }
    }

    /// The same by the slow path.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    #[inline(never)]
    pub(super) unsafe fn capture_slow(&self, offer: &Offer) -> i32 {
        let to = self.of(offer);
        if let Err(status) = to.begin_slow() {
            return status;
        }
        // SAFETY: passed on; the busy word is held.
        match unsafe { to.admit(offer, Payload::Long) } {
            Ok(verdict) => match to.promoted(offer.len, &verdict) {
                Some(priority) => {
                    to.give_back(busy::NO);
                    // SAFETY: passed on.
                    unsafe { priority.capture_judged(offer, &verdict) }
                }
                None => {
                    let room = to.room_or_drop(offer.len);
                    // SAFETY: passed on; the busy word is held.
                    unsafe { to.complete(room, offer, &verdict, Payload::Long) }
                }
            },
            Err(status) => {
                to.give_back(busy::NO);
                status
            }
        }
    }

    /// Step 1. The error is a status.
    pub(super) fn begin_slow(&self) -> Result<(), i32> {
        if self.intake().forked() {
            return Err(PIPELINE_ERR_FORKED);
        }
        if self.begin(busy::NO, self.intake().asymmetric) { Ok(()) } else { Err(self.refuse_busy()) }
    }

    /// Steps 2 and 3, or gives the busy word back.
    ///
    /// # Safety
    /// As for [`finish`](Self::finish).
    pub(super) unsafe fn complete(
        &self,
        room: Result<Room<'_>, i32>,
        offer: &Offer,
        verdict: &Verdict,
        payload: Payload,
    ) -> i32 {
        match room {
            // SAFETY: passed on.
            Ok(room) if unsafe { self.finish(room, offer, verdict, payload) } => self.wake_writer(),
            Ok(_) => PIPELINE_OK,
            Err(status) => {
                self.give_back(busy::NO);
                status
            }
        }
    }

    /// Steps 2 and 3. Returns whether a writer may have to be woken.
    ///
    /// # Safety
    /// The busy word is held; the room was found for this payload, and nothing was published since. `offer` as for
    /// [`capture`](Self::capture).
    pub(super) unsafe fn finish(
        &self,
        room: Room<'_>,
        offer: &Offer,
        verdict: &Verdict,
        payload: Payload,
    ) -> bool {
        let (buffer, position) = room;
        let flagged;
        let offer = if verdict.flags == 0 {
            offer
        } else {
            flagged = Offer { flags: offer.flags | verdict.flags, ..*offer };
            &flagged
        };
        self.count_weight(verdict);
        let len = if let Payload::InPlace(used) = payload { used } else { offer.len };
        let end = position + stride(len);
        let used = self.used_beyond_watermark(buffer, end);
        if self.is_priority {
            self.intake().priority.note_use();
        }
        // SAFETY: the room is this producer's; the window is opened in its ring buffer, and the record ends before it.
        let may_need_ring = unsafe {
            Self::record(buffer.record(position), offer, payload, verdict.weight as f32, || {
                (self.next_sequence(), self.stamp(offer))
            });
            redact(buffer.record(position), len, &verdict.redact);
            self.fast.open_window(buffer, &Cursor { head: end, limit: self.window_limit(buffer, end) });
            self.publish(end, 1, len as u64, self.intake().asymmetric)
        };
        let may_need_ring = may_need_ring || self.is_priority && self.intake().priority.may_need_ring();
        // After the publication, so that a measurement that begins then sees the event.
        if let Some(used) = used {
            self.intake().note_fill(used, buffer.capacity());
        }
        may_need_ring
    }

    /// Where the window ends that begins at `head`: at the watermark, where the slow path notes how full the ring is, and behind that at the
    /// end of the free space.
    fn window_limit(&self, buffer: &RingBuffer, head: u64) -> u64 {
        let limit = self.limit.get();
        let watermark = self.watermark_position(buffer, limit);
        if head < watermark {
            watermark
        } else if self.intake().judge.sampling.is_allowed() {
            // There the weight depends on how full the ring is, so the slow path looks again soon.
            limit.min(head + buffer.capacity() / AGAIN)
        } else {
            limit
        }
    }

    /// Rings the doorbell, if a writer still has to be woken.
    #[cold]
    pub fn wake_writer(&self) -> i32 {
        let intake = self.intake();
        if self.is_priority && intake.priority.take_bell() {
            intake.wake(1);
        }
        intake.ring(self.ring().map_or(0, Slot::index), || self.gathered());
        PIPELINE_OK
    }

    /// Returns the events and the bytes that have gathered in its ring since writers last took from it. Another thread may have taken the
    /// shared producer meanwhile, so only atomics are read, and the figures may be of different moments. Then a writer is woken once too
    /// often, or the capture of that other thread wakes it.
    fn gathered(&self) -> (u64, u64) {
        let Some(ring) = self.ring() else { return (0, 0) };
        let events = self.kept().wrapping_sub(self.kept_before.load(Ordering::Relaxed));
        let bytes = ring.buffer().map_or(0, |buffer| buffer.head().saturating_sub(buffer.claimed()));
        if self.is_priority {
            return self.intake().priority.gathered(bytes);
        }
        (events.saturating_sub(ring.claimed_events()), bytes)
    }

    /// Checks an offer. The error is a status; it is counted here.
    #[inline]
    pub(super) fn check(&self, offer: &Offer, payload: Payload) -> Result<(), i32> {
        let intake = self.intake();
        if intake.is_closed() {
            return Err(self.refuse_closed());
        }
        if offer.kind >= PIPELINE_KIND_RESERVED || offer.flags & !KNOWN_FLAGS != 0 {
            return Err(self.refuse_invalid());
        }
        if offer.len > intake.max_event_bytes {
            self.count_refused(&intake.refused.too_large);
            return Err(PIPELINE_ERR_TOO_LARGE);
        }
        if !matches!(payload, Payload::InPlace(_)) && offer.data.is_null() && offer.len != 0 {
            return Err(self.refuse_invalid());
        }
        Ok(())
    }

    /// Finds room for a capture that may wait. An event that finds none is counted as dropped. The error is a status.
    pub(super) fn room_or_drop(&self, len: usize) -> Result<Room<'_>, i32> {
        self.room(len, true).ok_or_else(|| {
            let status = self.why_no_room();
            if status == PIPELINE_ERR_FULL {
                self.count_full();
            }
            status
        })
    }

    /// Finds room for a payload of `len` bytes, in any way that the overflow policy allows.
    pub(super) fn room(&self, len: usize, wait: bool) -> Option<Room<'_>> {
        let buffer = self.ring()?.buffer()?;
        let mut cursor = self.cursor();
        let found = buffer.room(&mut cursor, stride(len));
        self.set_cursor(cursor);
        let (buffer, position) = match found {
            Ok(position) => (buffer, position),
            Err(missing) => self.make_room(stride(len), missing, wait)?,
        };
        buffer.reach(position + stride(len));
        Some((buffer, position))
    }

    /// How many bytes of the ring are in use if it is filled up to `end`, as far as that may be beyond the watermark. What is known of the free space
    /// may be old, so it is read anew first.
    pub(super) fn used_beyond_watermark(&self, buffer: &RingBuffer, end: u64) -> Option<u64> {
        if end <= self.watermark_position(buffer, self.limit.get()) {
            return None;
        }
        let limit = buffer.released() + buffer.capacity();
        self.limit.set(limit);
        Some((end + buffer.capacity()).saturating_sub(limit))
    }

    /// The position from which on the ring is filled beyond the watermark, if its free space ends at `limit`.
    fn watermark_position(&self, buffer: &RingBuffer, limit: u64) -> u64 {
        (limit + self.intake().watermark(buffer.capacity())).saturating_sub(buffer.capacity())
    }

    #[cold]
    pub(super) fn why_no_room(&self) -> i32 {
        if self.intake().forked() {
            return PIPELINE_ERR_FORKED;
        }
        if self.ring().is_none() {
            self.count_refused(&self.intake().refused.no_ring);
            return PIPELINE_ERR_NO_RING;
        }
        if self.intake().is_closed() {
            return self.refuse_closed();
        }
        PIPELINE_ERR_FULL
    }

    /// Counts an event that was dropped. It has taken a sequence number.
    #[cold]
    pub(super) fn count_full(&self) {
        if self.intake().pressure.raise_to_full() {
            self.intake().call_supervisor();
        }
        add(&self.dropped_full, 1);
        self.skip_sequence_number();
    }

    /// An event that is not captured takes a sequence number, so that a storage sees the gap.
    pub(super) fn skip_sequence_number(&self) {
        self.fast.sequence_offset.set(self.fast.sequence_offset.get().wrapping_add(1));
    }

    #[cold]
    pub(super) fn refuse_busy(&self) -> i32 {
        self.count_refused(&self.intake().refused.busy);
        PIPELINE_ERR_BUSY
    }

    #[cold]
    pub(super) fn refuse_closed(&self) -> i32 {
        self.count_refused(&self.intake().refused.closed);
        PIPELINE_ERR_CLOSED
    }

    #[cold]
    fn refuse_invalid(&self) -> i32 {
        self.count_refused(&self.intake().refused.invalid);
        PIPELINE_ERR_INVALID
    }

    /// Counts an offer that is refused for this reason.
    fn count_refused(&self, reason: &AtomicU64) {
        self.intake().refused.count(reason, self.is_priority);
    }

    /// The time of an event, by the clock that stamps the pipeline's events.
    fn stamp(&self, offer: &Offer) -> Stamp {
        if offer.flags & PIPELINE_EVENT_OWN_TIME == 0 && !self.intake().in_ticks() {
            return (time::now_ns(), offer.flags);
        }
        stamp(offer, || self.ticks())
    }
}
