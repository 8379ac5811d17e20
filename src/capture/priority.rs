//! Events with priority: a producer has a second ring buffer for them, and a producer of its own for that one, with its own busy word, sequence numbers
//! and counts. It is attached and detached with the first one. Nothing in it differs from other producers but its size, so both overflow,
//! are retired and are drained alike.

use super::protocol::Payload;
use super::{Offer, Producer};
use crate::event::PIPELINE_EVENT_PRIORITY;
use crate::platform::memory;
use crate::rules::Verdict;
use crate::status::Result;

/// Where a reservation lies that is in the other ring buffer: at no position.
pub(super) const ELSEWHERE: u64 = u64::MAX;

impl Producer {
    /// The producer of its priority ring. `None`: the pipeline has no such rings, or this is one.
    pub fn priority(&self) -> Option<&Self> {
        self.priority.get().and_then(|only| only.first())
    }

    /// Gives it the producer of its priority ring, if it has none. The caller holds the registry's lock, and the producer is bound.
    pub(super) fn make_priority(&self) -> Result<&Self> {
        if let Some(made) = self.priority() {
            return Ok(made);
        }
        let mut made = memory::boxed(1, || Self::new(true))?;
        if let (Some(keeper), Some(new)) = (self.keeper.get(), made.first_mut()) {
            // SAFETY: the keeper of this producer keeps also what this producer keeps, and the intake is the same. (It has no number of its own: what rules count for
            // it goes to the counts that producers share.)
            unsafe { new.bind(keeper, self.intake.get(), u32::MAX) };
        }
        Ok(self.priority.get_or_init(|| made).first().unwrap_or(self))
    }

    /// The producer that captures an offer: this one, or that of its priority ring. An event that is too large for the priority ring goes
    /// with the others.
    #[inline]
    pub(super) fn of(&self, offer: &Offer) -> &Self {
        if offer.flags & PIPELINE_EVENT_PRIORITY == 0 || Some(offer.len) > self.intake().priority.max_bytes {
            return self;
        }
        self.priority().unwrap_or(self)
    }

    /// The producer of the priority ring, if a verdict moves an event with `len` bytes of payload there.
    #[inline]
    pub fn promoted(&self, len: usize, verdict: &Verdict) -> Option<&Self> {
        if verdict.flags & PIPELINE_EVENT_PRIORITY == 0 {
            return None;
        }
        self.priority().filter(|_| Some(len) <= self.intake().priority.max_bytes)
    }

    /// Captures an event that was judged and is kept, into the ring that the verdict names.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    pub unsafe fn capture_kept(&self, offer: &Offer, verdict: &Verdict) -> i32 {
        // SAFETY: passed on.
        unsafe { self.promoted(offer.len, verdict).unwrap_or(self).capture_judged(offer, verdict) }
    }

    /// Captures an event that was judged, perhaps as the offer of another producer, into this one's ring. That producer's busy word is given back, unless the
    /// payload lies in its ring: nothing waits for a busy word, so both may be held.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    pub(super) unsafe fn capture_judged(&self, offer: &Offer, verdict: &Verdict) -> i32 {
        if let Err(status) = self.begin_slow() {
            return status;
        }
        let room =
            if self.intake().is_closed() { Err(self.refuse_closed()) } else { self.room_or_drop(offer.len) };
        // SAFETY: passed on; the busy word is held.
        unsafe { self.complete(room, offer, verdict, Payload::Long) }
    }
}

#[cfg(test)]
mod tests;
