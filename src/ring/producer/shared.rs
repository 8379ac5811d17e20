//! Captures through producers that several threads use: the shared one, by a try-lock; the library's own, under the registry's
//! lock.

use super::{Offer, Producer, busy};
use crate::platform::sync::{AtomicU32, Ordering};
use crate::platform::{barrier, park, thread, time};
use crate::ring::buffer::Ring;
use crate::status::{
    PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FORKED, PIPELINE_ERR_FULL, PIPELINE_OK,
};
use std::time::Duration;

/// Tries for the shared producer before the capture is refused as busy, or (policy `block`) begins to wait.
const SHARED_TRIES: u32 = 4096;

/// How long a capture that waits for the shared producer sleeps between looks: its holder has lost the processor.
const SHARED_NAP: Duration = Duration::from_micros(100);

impl Producer {
    /// Captures an event on the producer that all threads share.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    pub unsafe fn capture_shared(&self, offer: &Offer) -> i32 {
        if self.front().forked() {
            return PIPELINE_ERR_FORKED;
        }
        let mut deadline = None;
        if !self.begin_shared(&mut deadline) {
            return self.not_begun();
        }
        // SAFETY: passed on; the busy word is ours.
        let mut status = unsafe { self.capture_with(offer, false) };
        // Waiting holds no lock: the producer is given back and taken again around each wait.
        if status == PIPELINE_ERR_FULL {
            if let Some(until) = deadline.or_else(|| self.may_wait()) {
                deadline = Some(until);
                loop {
                    let ring = self.ring();
                    // As of the look for room: space that came since is no reason to wait.
                    let seen = ring.and_then(Ring::log).map_or(0, |log| self.seen_released(log));
                    self.end_shared();
                    let now = time::now_ns();
                    if let Some(ring) = ring
                        && now < until
                    {
                        self.front().call(1);
                        ring.wait_for_space(self.front(), seen, Duration::from_nanos(until - now));
                    }
                    if !self.begin_shared(&mut deadline) {
                        return self.not_begun();
                    }
                    // SAFETY: passed on; the busy word is ours.
                    status = unsafe { self.capture_with(offer, false) };
                    if status != PIPELINE_ERR_FULL || now >= until {
                        break;
                    }
                }
            }
            if status == PIPELINE_ERR_FULL {
                self.count_full();
            }
        }
        self.end_shared();
        if status == PIPELINE_OK {
            self.front().published(self);
        }
        status
    }

    /// Takes the shared producer for the calling thread: by a bounded spin, and under the policy `block` by waiting until
    /// `deadline`, which is set when the wait begins. `false`: another thread kept it, or a signal handler interrupted the
    /// very thread that holds it, which must not wait for itself.
    fn begin_shared(&self, deadline: &mut Option<u64>) -> bool {
        let own = thread::token();
        let mut tries = 0;
        loop {
            match self.holder.compare_exchange_weak(0, own, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    self.fast.busy.store(busy::CAPTURING, Ordering::Relaxed);
                    barrier::light(self.front().asymmetric);
                    return true;
                }
                Err(holder) if holder == own => return false,
                Err(_) if tries < SHARED_TRIES => {
                    tries += 1;
                    std::hint::spin_loop();
                }
                Err(_) => {
                    if deadline.is_none() {
                        *deadline = self.may_wait();
                    }
                    if deadline.is_none_or(|until| time::now_ns() >= until) || self.front().is_closed() {
                        return false;
                    }
                    // A word of its own, that nobody changes: this sleeps, and keeps `errno`.
                    park::wait(&AtomicU32::new(0), 0, Some(SHARED_NAP));
                }
            }
        }
    }

    #[cold]
    fn not_begun(&self) -> i32 {
        if self.front().is_closed() { self.refuse_closed() } else { self.refuse_busy() }
    }

    fn end_shared(&self) {
        self.fast.busy.store(busy::NO, Ordering::Release);
        self.holder.store(0, Ordering::Release);
    }

    /// Captures one of the library's own events; under the registry's lock.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    pub(in crate::ring) unsafe fn capture_own(&self, offer: &Offer) -> i32 {
        if !self.begin() {
            return PIPELINE_ERR_BUSY;
        }
        let status = if self.front().is_closed() {
            PIPELINE_ERR_CLOSED
        } else {
            match self.place(offer.len, false) {
                // SAFETY: passed on.
                Some((log, position)) => unsafe { self.fill(log, position, offer) },
                None => PIPELINE_ERR_FULL,
            }
        };
        self.fast.busy.store(busy::NO, Ordering::Release);
        if status == PIPELINE_OK {
            self.front().published(self);
        }
        status
    }
}
