//! Captures that are judged: the three steps of the [`protocol`](super::protocol), with a question to the [`Judge`](crate::rules::Judge) behind the first.
//!
//! [`capture_judged`](Producer::capture_judged) is the short way, for a record that ends in the window. As on the fast path, nothing in it waits, fails or
//! panics. [`admit`](Producer::admit) is for the slow path.

use super::fast_path::{ahead, in_order};
use super::protocol::{Payload, stamp};
use super::registry::rules;
use super::{Offer, Producer, add, busy};
use crate::platform::sync::Ordering;
use crate::ring::intake::{Overflow, slow_path};
use crate::ring::record::{HEADER, stride};
use crate::ring::slot::Slot;
use crate::rules::{Event, Fate, Ranges, Rules, Verdict};
use crate::status::{PIPELINE_DROPPED_BY_RULE, PIPELINE_SAMPLED};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is captured.
    Captured,
    /// It is captured, and a writer may have to be woken: [`Producer::wake_writer`].
    CapturedWake,
    /// It is not kept, and counted. The status says why.
    NotKept(i32),
    /// Nothing, but it was judged: it goes to the priority ring, by [`Producer::capture_promoted`] of the [priority producer](Producer::promoted).
    Promoted(Verdict),
    /// Nothing. The event must take the slow path.
    Declined,
}

/// An offer as the rules see it.
///
/// # Safety
/// `offer.data` points to `offer.len` readable bytes.
#[inline(always)]
unsafe fn offered(offer: &Offer) -> Event<'_> {
    let payload: &[u8] = if offer.len == 0 {
        &[]
    } else {
        // SAFETY: by contract.
        unsafe { std::slice::from_raw_parts(offer.data, offer.len) }
    };
    let Offer { kind, flags, correlation_id, node_id, .. } = *offer;
    Event { kind, flags, correlation_id, node_id, payload }
}

/// Zeroes parts of the payload of a record, which has `len` bytes.
///
/// # Safety
/// The record is the producer's to write.
#[inline(always)]
pub(super) unsafe fn redact(record: *mut u8, len: usize, ranges: &Ranges) {
    if !ranges.is_empty() {
        // SAFETY: the payload follows the header.
        ranges.redact(unsafe { std::slice::from_raw_parts_mut(record.add(HEADER as usize), len) });
    }
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
    #[inline(always)]
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
        // SAFETY: the busy word is held; the payload is readable, by contract.
        let passes = reasons == slow_path::RULES && unsafe { self.passes(offer) };
        if !passes || offer.len > self.fast.max_len() {
            let offer = *offer;
            // SAFETY: passed on; the record ends in the window.
            return unsafe { self.capture_by_verdict(&offer, reasons, passes) };
        }
        let number = || (self.next_sequence(), stamp(offer, || self.ticks()));
        // SAFETY: the window is this producer's, and the record ends in it; the payload is readable, by contract.
        let wake = unsafe {
            Self::record(window.at(at), offer, Payload::Short, 1.0, number);
            self.publish(end, 1, offer.len as u64, true)
        };
        if wake { Judged::CapturedWake } else { Judged::Captured }
    }

    /// Steps 2 and 3 of an event that is kept, or not, as the judge says. `passes`: it needs no judge.
    ///
    /// # Safety
    /// The busy word is held, and the record ends in the window. `offer` as for [`capture`](Self::capture).
    #[inline(never)]
    unsafe fn capture_by_verdict(&self, offer: &Offer, reasons: u32, passes: bool) -> Judged {
        let mut verdict = Verdict::KEEP;
        // SAFETY: the busy word is held; passed on.
        if !passes && let Err(status) = unsafe { self.judge(offer, reasons, &mut verdict) } {
            self.give_back(busy::NO);
            return Judged::NotKept(status);
        }
        if self.promoted(offer.len, &verdict).is_some() {
            self.give_back(busy::NO);
            return Judged::Promoted(verdict);
        }
        let (window, at) = (self.fast.window(), self.fast.head.get());
        let offer = Offer { flags: offer.flags | verdict.flags, ..*offer };
        self.count_weight(&verdict);
        let number = || (self.next_sequence(), stamp(&offer, || self.ticks()));
        // SAFETY: the window is this producer's, and the record ends in it; the payload is readable, by contract.
        let wake = unsafe {
            Self::record(window.at(at), &offer, Payload::Long, verdict.weight as f32, number);
            redact(window.at(at), offer.len, &verdict.redact);
            self.publish(at + stride(offer.len), 1, offer.len as u64, true)
        };
        if wake { Judged::CapturedWake } else { Judged::Captured }
    }

    /// Whether no rule can match an offer, by its kind and its ids alone.
    ///
    /// # Safety
    /// The busy word is held. `offer.data` points to `offer.len` readable bytes.
    #[inline(always)]
    unsafe fn passes(&self, offer: &Offer) -> bool {
        // SAFETY: the busy word is held until the reading is dropped; the payload by contract.
        unsafe { rules::read(self.intake(), &self.rules_read).is_none_or(|set| set.passes(&offered(offer))) }
    }

    /// Whether the pipeline is open, and an offer that is valid needs no judge.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        let intake = self.intake();
        let reasons = intake.doorbell.slow_path();
        reasons & (slow_path::CLOSED | slow_path::JUDGED) == 0 && !intake.judge.sampling.is_allowed()
    }

    /// Checks an offer, and has it judged. The error is a status; it is counted here.
    ///
    /// # Safety
    /// The busy word is held. `offer.data` points to `offer.len` readable bytes, or is NULL where that is to be refused.
    #[inline]
    pub(super) unsafe fn admit(&self, offer: &Offer, payload: Payload) -> Result<Verdict, i32> {
        self.check(offer, payload)?;
        let intake = self.intake();
        if intake.judge.sampling.is_allowed() {
            self.sample_beyond_watermark(offer);
        }
        let reasons = intake.doorbell.slow_path();
        if reasons & slow_path::JUDGED == 0 {
            return Ok(Verdict::KEEP);
        }
        let mut verdict = Verdict::KEEP;
        // SAFETY: passed on; NULL is refused unless there is no byte.
        unsafe { self.judge(offer, reasons, &mut verdict) }.map(|()| verdict)
    }

    /// Has an offer judged, and counts it if it is not kept. Then it has taken a sequence number. `verdict` is that of an offer that is kept as it is, before.
    ///
    /// # Safety
    /// The busy word is held. `offer.data` points to `offer.len` readable bytes.
    #[inline]
    unsafe fn judge(&self, offer: &Offer, reasons: u32, verdict: &mut Verdict) -> Result<(), i32> {
        // No other event has this number: the ring's ids are not used twice, nor its sequence numbers.
        let alone = || self.ring().map_or(0, Slot::id).rotate_left(32) ^ self.next_sequence();
        let (intake, has_rules) = (self.intake(), reasons & slow_path::RULES != 0);
        // SAFETY: the busy word is held until the reading is dropped.
        let set = if has_rules { unsafe { rules::read(intake, &self.rules_read) } } else { None };
        let rules = set.as_deref().map(|set| Rules {
            set,
            // SAFETY: by contract.
            event: unsafe { offered(offer) },
            producer: self.index.get(),
        });
        intake.judge.judge(offer, rules, reasons & slow_path::SAMPLING != 0, alone, verdict);
        drop(set);
        match verdict.fate {
            Fate::Keep => Ok(()),
            Fate::Drop => {
                add(&self.dropped_rule, 1);
                self.skip_sequence_number();
                Err(PIPELINE_DROPPED_BY_RULE)
            }
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

    /// Begins to sample, or samples more, if the event would fill the ring beyond the watermark. A ring that overwrites is full as a rule, which says nothing. Nor
    /// is a full priority ring a reason: its events are not sampled, and it would not be emptier if others were.
    #[cold]
    fn sample_beyond_watermark(&self, offer: &Offer) {
        if self.is_priority {
            return;
        }
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
