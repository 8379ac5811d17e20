//! Captures that are judged: the three steps of the [`protocol`](super::protocol), with a question to the [`Judge`](crate::rules::Judge) behind the first.
//!
//! [`capture_judged`](Producer::capture_judged) is the short way, for a record that ends in the window. As on the fast path, nothing in it waits, fails or
//! panics. [`admit`](Producer::admit) is for the slow path.

use super::fast_path::{ahead, in_order};
use super::protocol::{Payload, stamp};
use super::{Offer, Producer, add, busy};
use crate::platform::sync::Ordering;
use crate::ring::intake::{Overflow, slow_path};
use crate::ring::record::stride;
use crate::ring::slot::Slot;
use crate::rules::{Fate, Verdict};
use crate::status::PIPELINE_SAMPLED;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is captured.
    Captured,
    /// It is captured, and a writer may have to be woken: [`Producer::wake_writer`].
    CapturedWake,
    /// It is not kept, and counted. The status says why.
    NotKept(i32),
    /// Nothing. The event must take the slow path.
    Declined,
}

impl Producer {
    /// Whether offers are judged.
    #[inline(always)]
    pub fn is_judged(&self) -> bool {
        self.fast.doorbell().judged() != 0
    }

    /// Captures an event that is to be judged, or declines it.
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    #[inline(never)]
    pub unsafe fn capture_judged(&self, offer: &Offer) -> Judged {
        let valid = !offer.data.is_null() && in_order(offer, self.intake().max_event_bytes);
        if !valid || self.fast.forked() || !self.begin(busy::NO, true) {
            return Judged::Declined;
        }
        let reasons = self.fast.doorbell().slow_path();
        let (window, at) = (self.fast.window(), self.fast.head.get());
        let end = at + stride(offer.len);
        if reasons & slow_path::JUDGED != reasons || end > window.end {
            self.give_back(busy::NO);
            return Judged::Declined;
        }
        window.prefetch(at + ahead(end - at));
        let verdict = match self.judge(offer, reasons) {
            Ok(verdict) => verdict,
            Err(status) => {
                self.give_back(busy::NO);
                return Judged::NotKept(status);
            }
        };
        let offer = Offer { flags: offer.flags | verdict.flags, ..*offer };
        self.count_weight(&verdict);
        let number = || (self.next_sequence(), stamp(&offer, || self.ticks()));
        // SAFETY: the window is this producer's, and the record ends in it; the payload is readable, by contract.
        let wake = unsafe {
            Self::record(window.at(at), &offer, Payload::Long, verdict.weight as f32, number);
            self.publish(end, 1, offer.len as u64, true)
        };
        if wake { Judged::CapturedWake } else { Judged::Captured }
    }

    /// Checks an offer, and has it judged. The error is a status; it is counted here. Only for the thread that holds the busy word.
    #[inline]
    pub(super) fn admit(&self, offer: &Offer, payload: Payload) -> Result<Verdict, i32> {
        self.check(offer, payload)?;
        let intake = self.intake();
        if intake.judge.sampling.is_allowed() {
            self.sample_beyond_watermark(offer);
        }
        let reasons = intake.doorbell.slow_path();
        if reasons & slow_path::JUDGED == 0 { Ok(Verdict::KEEP) } else { self.judge(offer, reasons) }
    }

    /// Has an offer judged, and counts it if it is not kept. Then it has taken a sequence number.
    #[inline]
    fn judge(&self, offer: &Offer, reasons: u32) -> Result<Verdict, i32> {
        // No other event has this number: the ring's ids are not used twice, nor its sequence numbers.
        let alone = || self.ring().map_or(0, Slot::id).rotate_left(32) ^ self.next_sequence();
        let verdict = self.intake().judge.judge(offer, reasons & slow_path::SAMPLING != 0, alone);
        match verdict.fate {
            Fate::Keep => Ok(verdict),
            Fate::SampleOut => {
                add(&self.dropped_sampled, 1);
                self.skip_sequence_number();
                Err(PIPELINE_SAMPLED)
            }
        }
    }

    /// Counts for how many more events than itself a kept one stands.
    #[inline(always)]
    pub(super) fn count_weight(&self, verdict: &Verdict) {
        if verdict.weight > 1 {
            add(&self.weight_beyond, u64::from(verdict.weight) - 1);
        }
    }

    /// Begins to sample, or samples more, if the event would fill the ring beyond the watermark. A ring that overwrites is full as a rule, which says nothing.
    #[cold]
    fn sample_beyond_watermark(&self, offer: &Offer) {
        let Some(buffer) = self.ring().and_then(Slot::buffer) else { return };
        let overwrites = Overflow::DropOldest as u32 == self.intake().overflow.load(Ordering::Relaxed);
        if !overwrites
            && let Some(used) = self.used_beyond_watermark(buffer, self.fast.head.get() + stride(offer.len))
            // (What was known of the free space may have been old.)
            && used > self.intake().watermark(buffer.capacity())
        {
            self.intake().sample_more(used, buffer.capacity());
        }
    }
}
