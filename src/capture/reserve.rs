//! The capture in place: reserve, commit, abort. A reservation is a capture that pauses after step 1: the caller writes the payload, and
//! the commit does the rest.

use super::protocol::Payload;
use super::{FastPath, Offer, Producer, busy};
use crate::platform::sync::Ordering;
use crate::ring::record::HEADER;
use crate::ring::slot::Slot;
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
        let room = self.check(head, Payload::InPlace(head.len)).and_then(|()| self.room_or_drop(head.len));
        match room {
            Ok((buffer, position)) => {
                self.reserved.set((position, *head));
                self.give_back(busy::RESERVED);
                // SAFETY: the room is for a record of that payload.
                Ok(unsafe { buffer.record(position).add(HEADER as usize) })
            }
            Err(status) => {
                self.give_back(busy::NO);
                Err(status)
            }
        }
    }

    /// Captures the reserved event with the first `used` bytes of its payload.
    pub fn commit(&self, used: usize) -> i32 {
        match self.commit_fast(used) {
            FastPath::Captured => PIPELINE_OK,
            FastPath::CapturedWake => self.wake_writer(),
            FastPath::Declined => self.commit_slow(used),
        }
    }

    #[inline(never)]
    fn commit_slow(&self, used: usize) -> i32 {
        if let Err(status) = self.check_reserved() {
            return status;
        }
        let (position, head) = self.reserved.get();
        if used > head.len {
            return PIPELINE_ERR_INVALID;
        }
        self.begin(busy::RESERVED, self.intake().asymmetric);
        let Some(buffer) = self.ring().and_then(Slot::buffer) else {
            self.give_back(busy::NO);
            return PIPELINE_ERR_CLOSED;
        };
        // SAFETY: the room is for a record of that payload.
        let data = unsafe { buffer.record(position).add(HEADER as usize).cast_const() };
        // SAFETY: the caller has written the payload there.
        match unsafe { self.admit(&Offer { data, len: used, ..head }, Payload::InPlace(used)) } {
            Ok(verdict) => {
                // SAFETY: `reserve` found this room, and nothing was published since.
                unsafe { self.complete(Ok((buffer, position)), &head, &verdict, Payload::InPlace(used)) }
            }
            Err(status) => {
                self.give_back(busy::NO);
                status
            }
        }
    }

    /// Gives the reservation up.
    pub fn abort(&self) -> i32 {
        match self.check_reserved() {
            Ok(()) => {
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
        self.reserved.get().1.len
    }
}
