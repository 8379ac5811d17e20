//! Captures through producers that several threads use: the shared one, by a try-lock; the library's own, under the registry's
//! lock.

use super::{Offer, Producer, busy};
use crate::platform::sync::Ordering;
use crate::platform::{barrier, time};
use crate::ring::buffer::Ring;
use crate::ring::log::Log;
use crate::status::{
    PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FORKED, PIPELINE_ERR_FULL, PIPELINE_OK,
};
use std::time::Duration;

/// Tries for the shared producer before the capture is refused as busy.
const SHARED_TRIES: u32 = 4096;

impl Producer {
    /// Captures an event on the producer that all threads share.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    pub unsafe fn capture_shared(&self, offer: &Offer) -> i32 {
        if self.front().forked() {
            return PIPELINE_ERR_FORKED;
        }
        if !self.begin_shared() {
            return self.refuse_busy();
        }
        // SAFETY: passed on; the busy word is ours.
        let mut status = unsafe { self.capture_with(offer, false) };
        // Waiting holds no lock: the busy word is given back and taken again around each wait.
        if status == PIPELINE_ERR_FULL {
            if let Some(deadline) = self.may_wait() {
                loop {
                    let ring = self.ring();
                    let seen = ring.and_then(Ring::log).map_or(0, Log::released);
                    self.busy.store(busy::NO, Ordering::Release);
                    let now = time::now_ns();
                    if let Some(ring) = ring
                        && now < deadline
                    {
                        self.front().call(1);
                        ring.wait_for_space(self.front(), seen, Duration::from_nanos(deadline - now));
                    }
                    if !self.begin_shared() {
                        return self.refuse_busy();
                    }
                    // SAFETY: passed on; the busy word is ours.
                    status = unsafe { self.capture_with(offer, false) };
                    if status != PIPELINE_ERR_FULL || now >= deadline {
                        break;
                    }
                }
            }
            if status == PIPELINE_ERR_FULL {
                self.count_full();
            }
        }
        self.busy.store(busy::NO, Ordering::Release);
        if status == PIPELINE_OK {
            self.front().published(|| self.gathered());
        }
        status
    }

    pub(super) fn begin_shared(&self) -> bool {
        for _ in 0..SHARED_TRIES {
            if self
                .busy
                .compare_exchange_weak(busy::NO, busy::CAPTURING, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                barrier::light(self.front().asymmetric);
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    /// Captures one of the library's own events; under the registry's lock.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    pub(in crate::ring) unsafe fn capture_own(&self, offer: &Offer) -> i32 {
        if !self.begin() {
            return PIPELINE_ERR_BUSY;
        }
        let status = if self.front().closed.load(Ordering::Relaxed) != 0 {
            PIPELINE_ERR_CLOSED
        } else {
            match self.place(offer.len, false) {
                // SAFETY: passed on.
                Some((log, position)) => unsafe { self.fill(log, position, offer) },
                None => PIPELINE_ERR_FULL,
            }
        };
        self.busy.store(busy::NO, Ordering::Release);
        if status == PIPELINE_OK {
            self.front().published(|| self.gathered());
        }
        status
    }
}
