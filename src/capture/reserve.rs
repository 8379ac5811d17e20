//! The capture in place: reserve, commit, abort. A reservation is a capture that pauses after step 1: the caller writes the payload, and
//! the commit does the rest.
//!
//! A producer has one reservation. One with priority lies in the priority ring, and takes the busy words of both rings, because the commit does not say which of
//! them it is for.

use super::priority::ELSEWHERE;
use super::protocol::Payload;
use super::{Offer, Producer, busy};
use crate::platform::sync::Ordering;
use crate::ring::record::HEADER;
use crate::ring::slot::Slot;
use crate::rules::Verdict;
use crate::status::{
    PIPELINE_ERR_CLOSED, PIPELINE_ERR_FORKED, PIPELINE_ERR_INVALID, PIPELINE_ERR_STATE, PIPELINE_OK,
};

impl Producer {
    /// Reserves room for a payload of `head.len` bytes.
    pub fn reserve(&self, head: &Offer) -> Result<*mut u8, i32> {
        match self.reserve_fast(head) {
            Some(payload) => Ok(payload),
            None => self.reserve_slow(head),
        }
    }

    #[inline(never)]
    fn reserve_slow(&self, head: &Offer) -> Result<*mut u8, i32> {
        self.begin_slow()?;
        let to = self.of(head);
        let payload =
            if std::ptr::eq(to, self) { self.reserve_here(head) } else { self.reserve_in(to, head) };
        self.give_back(if payload.is_ok() { busy::RESERVED } else { busy::NO });
        payload
    }

    /// Reserves room in this producer's own ring. The busy word is held.
    #[inline(always)]
    fn reserve_here(&self, head: &Offer) -> Result<*mut u8, i32> {
        self.check(head, Payload::InPlace(head.len))?;
        let (buffer, position) = self.room_or_drop(head.len)?;
        self.reserved_at.set(position);
        self.reserved.set(*head);
        // SAFETY: the room is for a record of that payload.
        Ok(unsafe { buffer.record(position).add(HEADER as usize) })
    }

    /// Reserves room in the ring of its priority producer. The busy word of this one is held.
    #[cold]
    #[inline(never)]
    fn reserve_in(&self, priority: &Self, head: &Offer) -> Result<*mut u8, i32> {
        priority.begin_slow()?;
        let payload = priority.reserve_here(head);
        priority.give_back(if payload.is_ok() { busy::RESERVED } else { busy::NO });
        self.reserved_at.set(ELSEWHERE);
        self.reserved.set(*head);
        payload
    }

    /// The producer in whose ring the open reservation lies.
    fn reserving(&self) -> &Self {
        let elsewhere = self.reserved_at.get() == ELSEWHERE;
        self.priority().filter(|_| elsewhere).unwrap_or(self)
    }

    /// Captures the reserved event with the first `used` bytes of its payload.
    pub fn commit(&self, used: usize) -> i32 {
        match self.commit_fast(used) {
            Some(false) => PIPELINE_OK,
            Some(true) => self.wake_writer(),
            None => self.commit_slow(used),
        }
    }

    #[inline(never)]
    fn commit_slow(&self, used: usize) -> i32 {
        if let Err(status) = self.check_reserved() {
            return status;
        }
        if used > self.reserved_len() {
            return PIPELINE_ERR_INVALID;
        }
        let at = self.reserving();
        let status = at.commit_here(used);
        if !std::ptr::eq(at, self) {
            self.give_back(busy::NO);
        }
        status
    }

    /// Captures the event that is reserved in this producer's own ring.
    #[inline(always)]
    fn commit_here(&self, used: usize) -> i32 {
        let (position, head) = (self.reserved_at.get(), self.reserved.get());
        self.begin(busy::RESERVED, self.intake().asymmetric);
        let Some(buffer) = self.ring().and_then(Slot::buffer) else {
            self.give_back(busy::NO);
            return PIPELINE_ERR_CLOSED;
        };
        if self.is_plain() {
            // What `reserve` has checked need not be checked again.
            // SAFETY: `reserve` found this room, and nothing was published since.
            return unsafe {
                self.complete(Ok((buffer, position)), &head, &Verdict::KEEP, Payload::InPlace(used))
            };
        }
        // SAFETY: the room is for a record of that payload.
        let data = unsafe { buffer.record(position).add(HEADER as usize).cast_const() };
        // SAFETY: the caller has written the payload there.
        match unsafe { self.admit(&Offer { data, len: used, ..head }, Payload::InPlace(used)) } {
            Ok(verdict) => {
                if let Some(priority) = self.promoted(used, &verdict) {
                    return self.commit_in(priority, &Offer { data, len: used, ..head }, &verdict);
                }
                // SAFETY: `reserve` found this room, and nothing was published since.
                unsafe { self.complete(Ok((buffer, position)), &head, &verdict, Payload::InPlace(used)) }
            }
            Err(status) => {
                self.give_back(busy::NO);
                status
            }
        }
    }

    /// Captures a reserved event in the ring of the priority producer, because a rule says so: copies its payload from where it is reserved. Until then the busy
    /// word of this one keeps that place.
    #[cold]
    #[inline(never)]
    fn commit_in(&self, priority: &Self, offer: &Offer, verdict: &Verdict) -> i32 {
        // SAFETY: the reservation has room for the payload, which its caller has written.
        let status = unsafe { priority.capture_judged(offer, verdict) };
        self.give_back(busy::NO);
        status
    }

    /// Gives the reservation up.
    pub fn abort(&self) -> i32 {
        match self.check_reserved() {
            Ok(()) => {
                self.reserving().give_back(busy::NO);
                self.give_back(busy::NO);
                PIPELINE_OK
            }
            Err(status) => status,
        }
    }

    fn check_reserved(&self) -> Result<(), i32> {
        if self.intake().forked() {
            return Err(PIPELINE_ERR_FORKED);
        }
        let reserved = self.fast.busy.load(Ordering::Relaxed) == busy::RESERVED;
        if reserved { Ok(()) } else { Err(PIPELINE_ERR_STATE) }
    }

    /// The length that the open reservation has room for.
    pub fn reserved_len(&self) -> usize {
        self.reserved.get().len
    }
}
