//! Captures on producers that several threads use. The shared producer is taken by a try-lock. The library's own is used under the
//! registry's lock.

use super::overflow::LOOK_AGAIN_NS;
use super::protocol::Payload;
use super::{Offer, Producer, busy};
use crate::platform::sync::{AtomicU32, Ordering};
use crate::platform::{park, thread, time};
use crate::ring::slot::Slot;
use crate::rules::Verdict;
use crate::status::{
    PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FORKED, PIPELINE_ERR_FULL, PIPELINE_OK,
};
use std::time::Duration;

/// Tries for the shared producer before the capture is refused as busy, or (policy `block`) begins to wait.
const SHARED_TRIES: u32 = 4096;

/// How long a capture that waits for the shared producer sleeps between its tries: the holder has lost its processor.
const SHARED_PAUSE: Duration = Duration::from_micros(100);

impl Producer {
    /// Captures an event on the producer that all threads share.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    pub unsafe fn capture_shared(&self, offer: &Offer) -> i32 {
        if self.intake().forked() {
            return PIPELINE_ERR_FORKED;
        }
        // SAFETY: passed on.
        unsafe { self.of(offer).capture_shared_here(offer, None) }
    }

    /// The same, into this producer's own ring, unless a verdict moves the event into the priority ring. `verdict`: it was judged by another producer.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    unsafe fn capture_shared_here(&self, offer: &Offer, mut verdict: Option<Verdict>) -> i32 {
        let mut deadline = None;
        let mut over = false;
        loop {
            if !self.begin_shared(&mut deadline) {
                return if self.intake().is_closed() { self.refuse_closed() } else { self.refuse_busy() };
            }
            let admitted = match verdict {
                // SAFETY: passed on; the busy word is held.
                None => unsafe { self.admit(offer, Payload::Long) },
                // It is judged once, and may have waited since.
                Some(_) if self.intake().is_closed() => Err(self.refuse_closed()),
                Some(verdict) => Ok(verdict),
            };
            if let Ok(judged) = admitted
                && let Some(priority) = self.promoted(offer.len, &judged)
            {
                self.end_shared();
                // SAFETY: passed on.
                return unsafe { priority.capture_shared_here(offer, Some(judged)) };
            }
            let room = admitted.and_then(|judged| {
                verdict = Some(judged);
                self.room(offer.len, false).map(|room| (room, judged)).ok_or_else(|| self.why_no_room())
            });
            match room {
                Ok((room, judged)) => {
                    // SAFETY: passed on; the busy word is held.
                    let wake = unsafe { self.finish(room, offer, &judged, Payload::Long) };
                    self.holder.store(0, Ordering::Release);
                    return if wake { self.wake_writer() } else { PIPELINE_OK };
                }
                Err(status) => {
                    if status == PIPELINE_ERR_FULL {
                        deadline = deadline.or_else(|| self.may_wait());
                        if let Some(until) = deadline
                            && !over
                        {
                            over = self.wait_shared(until);
                            continue;
                        }
                        self.count_full();
                    }
                    self.end_shared();
                    return status;
                }
            }
        }
    }

    /// Gives the shared producer back and waits once for space. Returns whether the time was over before the wait.
    fn wait_shared(&self, until: u64) -> bool {
        let ring = self.ring();
        // The value from the look for room: if space has come since, there is no wait.
        let seen = ring.and_then(Slot::buffer).map_or(0, |buffer| self.seen_released(buffer));
        self.end_shared();
        if self.intake().forked() {
            // A signal handler has forked, and has come back to this wait in the child as well.
            return true;
        }
        let now = time::now_ns();
        if let Some(ring) = ring
            && now < until
        {
            self.intake().wake(1);
            ring.wait_for_space(self.intake(), seen, Duration::from_nanos((until - now).min(LOOK_AGAIN_NS)));
        }
        now >= until
    }

    /// Step 1 on the shared producer: takes it for the calling thread, by a bounded spin, and under the policy `block` by waiting until
    /// `deadline`, which is set when the wait begins. Returns `false` if another thread kept it, or if the caller is a signal handler on
    /// the thread that holds it: that thread must not wait for itself.
    fn begin_shared(&self, deadline: &mut Option<u64>) -> bool {
        let own = thread::token();
        let mut tries = 0;
        loop {
            match self.holder.compare_exchange_weak(0, own, Ordering::AcqRel, Ordering::Relaxed) {
                // A producer without a holder is not busy.
                Ok(_) => return self.begin(busy::NO, self.intake().asymmetric),
                Err(holder) if holder == own => return false,
                Err(_) if tries < SHARED_TRIES => {
                    tries += 1;
                    std::hint::spin_loop();
                }
                Err(_) => {
                    if deadline.is_none() {
                        *deadline = self.may_wait();
                    }
                    if deadline.is_none_or(|until| time::now_ns() >= until) || self.intake().is_closed() {
                        return false;
                    }
                    // Nothing changes this word, so this only sleeps; it keeps `errno`.
                    park::wait(&AtomicU32::new(0), 0, Some(SHARED_PAUSE));
                }
            }
        }
    }

    fn end_shared(&self) {
        self.give_back(busy::NO);
        self.holder.store(0, Ordering::Release);
    }

    /// Captures one of the library's own events. The caller holds the registry's lock.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    pub(super) unsafe fn capture_own(&self, offer: &Offer) -> i32 {
        if !self.begin(busy::NO, self.intake().asymmetric) {
            return PIPELINE_ERR_BUSY;
        }
        let room = if self.intake().is_closed() {
            Err(PIPELINE_ERR_CLOSED)
        } else {
            self.room(offer.len, false).ok_or(PIPELINE_ERR_FULL)
        };
        // SAFETY: passed on; the busy word is held.
        unsafe { self.complete(room, offer, &Verdict::KEEP, Payload::Long) }
    }
}
