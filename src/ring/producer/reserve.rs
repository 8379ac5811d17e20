//! The capture in place: reserve, commit, abort.

use super::{AtOnce, Offer, Producer, busy};
use crate::platform::barrier;
use crate::platform::sync::Ordering;
use crate::ring::buffer::Ring;
use crate::status::{
    PIPELINE_ERR_CLOSED, PIPELINE_ERR_FORKED, PIPELINE_ERR_FULL, PIPELINE_ERR_INVALID, PIPELINE_ERR_STATE,
    PIPELINE_OK,
};

impl Producer {
    /// Reserves room for a payload of `head.len` bytes.
    pub fn reserve(&self, head: &Offer) -> Result<*mut u8, i32> {
        match self.reserve_at_once(head) {
            Some(payload) => Ok(payload),
            None => self.reserve_generally(head),
        }
    }

    #[inline(never)]
    fn reserve_generally(&self, head: &Offer) -> Result<*mut u8, i32> {
        if self.front().forked() {
            return Err(PIPELINE_ERR_FORKED);
        }
        if !self.begin() {
            return Err(self.refuse_busy());
        }
        let refused = self.check(head);
        let status = if refused != PIPELINE_OK {
            refused
        } else {
            match self.place(head.len, true) {
                Some((log, position)) => {
                    self.reserved.set((position, *head));
                    self.fast.busy.store(busy::RESERVED, Ordering::Release);
                    return Ok(log.payload(position));
                }
                None => self.no_place(),
            }
        };
        if status == PIPELINE_ERR_FULL {
            self.count_full();
        }
        self.fast.busy.store(busy::NO, Ordering::Release);
        Err(status)
    }

    /// Captures the reserved event with the first `used` bytes of its payload.
    pub fn commit(&self, used: usize) -> i32 {
        match self.commit_at_once(used) {
            AtOnce::Captured => PIPELINE_OK,
            AtOnce::Knock => {
                self.knock();
                PIPELINE_OK
            }
            AtOnce::No => self.commit_generally(used),
        }
    }

    #[inline(never)]
    fn commit_generally(&self, used: usize) -> i32 {
        if self.front().forked() {
            return PIPELINE_ERR_FORKED;
        }
        if self.fast.busy.load(Ordering::Relaxed) != busy::RESERVED {
            return PIPELINE_ERR_STATE;
        }
        let (position, head) = self.reserved.get();
        if used > head.len {
            return PIPELINE_ERR_INVALID;
        }
        self.fast.busy.store(busy::CAPTURING, Ordering::Relaxed);
        barrier::light(self.front().asymmetric);
        let status = if self.front().is_closed() {
            self.refuse_closed()
        } else if let Some(log) = self.ring().and_then(Ring::log) {
            // SAFETY: `reserve` found this room, and nothing was published since.
            unsafe { self.seal(log, position, &head, used) }
        } else {
            PIPELINE_ERR_CLOSED
        };
        self.fast.busy.store(busy::NO, Ordering::Release);
        if status == PIPELINE_OK {
            self.front().published(self);
        }
        status
    }

    /// Gives the reservation up.
    pub fn abort(&self) -> i32 {
        if self.front().forked() {
            return PIPELINE_ERR_FORKED;
        }
        if self.fast.busy.load(Ordering::Relaxed) != busy::RESERVED {
            return PIPELINE_ERR_STATE;
        }
        self.fast.busy.store(busy::NO, Ordering::Release);
        PIPELINE_OK
    }

    /// The length that the open reservation has room for.
    pub fn reserved_len(&self) -> usize {
        self.reserved.get().1.len
    }
}
