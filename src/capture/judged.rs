//! Captures that are judged: the three steps of the [`protocol`](super::protocol), with a question to the [`Judge`](crate::rules::Judge) behind the first.
//!
//! [`look`](Producer::look), [`capture_passing`](Producer::capture_passing) and [`capture_by_verdict`](Producer::capture_by_verdict) go on where the fast path has stopped. As on the fast path, nothing in it waits, fails or
//! panics. [`admit`](Producer::admit) is for the slow path.

use super::fast_path::{PREFETCH, ahead};
use super::protocol::{Payload, stamp};
use super::registry::rules;
use super::{FastPath, Offer, Producer, add, busy};
use crate::platform::sync::Ordering;
use crate::ring::intake::{Overflow, slow_path};
use crate::ring::record::{HEADER, stride};
use crate::ring::slot::Slot;
use crate::rules::{Event, Fate, Look, Ranges, Verdict};
use crate::status::{PIPELINE_DROPPED_BY_RULE, PIPELINE_OK, PIPELINE_SAMPLED};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is captured.
    Captured,
    /// It is captured, and a writer may have to be woken: [`Producer::wake_writer`].
    CapturedWake,
    /// It is not kept, and counted. The status says why.
    NotKept(i32),
    /// Nothing, but it was judged, and is kept: by [`Producer::capture_kept`].
    Kept(Verdict),
    /// Nothing. The event must take the slow path.
    Declined,
}

/// What is known at once of an event that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// No rule matches it. It is still held, for [`Producer::capture_passing`].
    Passes,
    /// A rule has dropped it, and it is counted.
    Dropped,
    /// Nothing. It is still held, for [`Producer::capture_by_verdict`].
    Unsure,
    /// It must take the slow path.
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
    /// Looks at once at an event that the fast path has [held](FastPath::Held). `LONG` is as for [`capture_fast`](Self::capture_fast). `offer` is called late, so that
    /// the event need not lie in registers before.
    ///
    /// # Safety
    /// The busy word is held. The offer is as for [`capture`](Self::capture), and one that the fast path takes.
    #[inline(always)]
    pub unsafe fn look<const LONG: bool>(&self, offer: impl FnOnce() -> Offer) -> Looked {
        let reasons = self.fast.doorbell().slow_path();
        if reasons & slow_path::JUDGED != reasons {
            self.give_back(busy::NO);
            return Looked::Declined;
        }
        // (Where captures pay for their fences, there is another reason.)
        if reasons != slow_path::RULES {
            return Looked::Unsure;
        }
        let intake = self.intake();
        // SAFETY: the busy word is held until the reading is dropped.
        let Some(set) = (unsafe { rules::read(intake, &self.rules_read, true) }) else {
            return Looked::Passes;
        };
        let offer = &offer();
        // (The caller's event may have been read twice.)
        if offer.len > self.max_len::<LONG>() {
            drop(set);
            self.give_back(busy::NO);
            return Looked::Declined;
        }
        // SAFETY: the payload is readable, by contract.
        match set.look(&unsafe { offered(offer) }) {
            Look::Passes => Looked::Passes,
            // (Where sampling is allowed, the slow path looks at how full the ring is before the event is judged.)
            Look::Drops(rule) if !intake.judge.sampling.is_allowed() => {
                set.count_dropped(rule, self.index.get());
                drop(set);
                self.count_dropped_by_rule();
                self.give_back(busy::NO);
                Looked::Dropped
            }
            Look::Drops(_) | Look::Unsure => Looked::Unsure,
        }
    }

    /// Captures an event that is held and that no rule matches: after [`Looked::Passes`].
    ///
    /// # Safety
    /// As for [`look`](Self::look). Afterwards the busy word is not held.
    #[inline(always)]
    pub unsafe fn capture_passing<const LONG: bool>(&self, offer: &Offer) -> FastPath {
        let (window, at) = (self.fast.window(), self.fast.head.get());
        let end = at.wrapping_add(stride(offer.len));
        if offer.len > self.max_len::<LONG>() || end > window.end {
            self.give_back(busy::NO);
            return FastPath::Declined;
        }
        window.prefetch(at + if LONG { ahead(end - at) } else { PREFETCH });
        let payload = if LONG { Payload::Long } else { Payload::Short };
        let number = || (self.next_sequence(), stamp(offer, || self.ticks()));
        // SAFETY: the window is this producer's, and the record ends in it; the payload is readable, by contract.
        unsafe {
            Self::record(window.at(at), offer, payload, 1.0, number);
            self.publish_fast(end, 1, offer.len as u64)
        }
    }

    #[inline(always)]
    fn max_len<const LONG: bool>(&self) -> usize {
        if LONG { self.intake().max_event_bytes } else { self.fast.max_len() }
    }

    /// Captures an event that is held, as the judge says, if its record ends in the window. One that is not kept needs no room.
    ///
    /// # Safety
    /// As for [`look`](Self::look). Afterwards the busy word is not held.
    #[inline(always)]
    pub unsafe fn capture_by_verdict(&self, offer: &Offer) -> Judged {
        let (window, at) = (self.fast.window(), self.fast.head.get());
        let (reasons, end) = (self.fast.doorbell().slow_path(), at.wrapping_add(stride(offer.len)));
        let valid = offer.len <= self.intake().max_event_bytes && reasons & slow_path::JUDGED == reasons;
        // (Where sampling is allowed, the slow path looks at how full the ring is before the event is judged.)
        if !valid || (end > window.end && self.intake().judge.sampling.is_allowed()) {
            self.give_back(busy::NO);
            return Judged::Declined;
        }
        let mut verdict = Verdict::KEEP;
        // SAFETY: the busy word is held; passed on.
        if let Err(status) = unsafe { self.judge(&offered(offer), reasons, true, &mut verdict) } {
            self.give_back(busy::NO);
            return Judged::NotKept(status);
        }
        if end > window.end || self.promoted(offer.len, &verdict).is_some() {
            self.give_back(busy::NO);
            return Judged::Kept(verdict);
        }
        let is_long = offer.len > self.fast.max_len();
        window.prefetch(at + if is_long { ahead(end - at) } else { PREFETCH });
        let flagged = Offer { flags: offer.flags | verdict.flags, ..*offer };
        self.count_weight(&verdict);
        let payload = if is_long { Payload::Long } else { Payload::Short };
        let number = || (self.next_sequence(), stamp(&flagged, || self.ticks()));
        // SAFETY: the window is this producer's, and the record ends in it; the payload is readable, by contract.
        let wake = unsafe {
            Self::record(window.at(at), &flagged, payload, verdict.weight as f32, number);
            redact(window.at(at), offer.len, &verdict.redact);
            self.publish(end, 1, offer.len as u64, true)
        };
        if wake { Judged::CapturedWake } else { Judged::Captured }
    }

    /// Captures an event that is held in any way, and takes the slow path for what is declined. Returns a status.
    ///
    /// # Safety
    /// As for [`capture_by_verdict`](Self::capture_by_verdict).
    #[inline(never)]
    pub(super) unsafe fn capture_held(&self, offer: &Offer) -> i32 {
        // SAFETY: passed on.
        let judged = match unsafe { self.look::<true>(|| *offer) } {
            // SAFETY: passed on.
            Looked::Passes => match unsafe { self.capture_passing::<true>(offer) } {
                FastPath::Captured => return PIPELINE_OK,
                FastPath::CapturedWake => return self.wake_writer(),
                FastPath::Held | FastPath::Declined => Judged::Declined,
            },
            Looked::Dropped => return PIPELINE_DROPPED_BY_RULE,
            // SAFETY: passed on.
            Looked::Unsure => unsafe { self.capture_by_verdict(offer) },
            Looked::Declined => Judged::Declined,
        };
        match judged {
            Judged::Captured => PIPELINE_OK,
            Judged::CapturedWake => self.wake_writer(),
            Judged::NotKept(status) => status,
            // SAFETY: passed on.
            Judged::Kept(verdict) => unsafe { self.capture_kept(offer, &verdict) },
            // SAFETY: passed on.
            Judged::Declined => unsafe { self.capture_slow(offer) },
        }
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
        unsafe { self.judge(&offered(offer), reasons, intake.asymmetric, &mut verdict) }.map(|()| verdict)
    }

    /// Has an event that is offered judged, and counts it if it is not kept. Then it has taken a sequence number. `verdict` is that of an event that is kept as it is,
    /// before. `asymmetric` is about the fence: see [`barrier`](crate::platform::barrier).
    ///
    /// # Safety
    /// The busy word is held.
    #[inline]
    unsafe fn judge(
        &self,
        event: &Event<'_>,
        reasons: u32,
        asymmetric: bool,
        verdict: &mut Verdict,
    ) -> Result<(), i32> {
        // No other event has this number: the ring's ids are not used twice, nor its sequence numbers.
        let alone = || self.ring().map_or(0, Slot::id).rotate_left(32) ^ self.next_sequence();
        let (intake, has_rules) = (self.intake(), reasons & slow_path::RULES != 0);
        // SAFETY: the busy word is held until the reading is dropped.
        let set = if has_rules { unsafe { rules::read(intake, &self.rules_read, asymmetric) } } else { None };
        let rules = set.as_deref().map(|set| (set, self.index.get()));
        intake.judge.judge(event, rules, reasons & slow_path::SAMPLING != 0, alone, verdict);
        drop(set);
        match verdict.fate {
            Fate::Keep => Ok(()),
            Fate::Drop => {
                self.count_dropped_by_rule();
                Err(PIPELINE_DROPPED_BY_RULE)
            }
            Fate::SampleOut => {
                add(&self.dropped_sampled, 1);
                self.skip_sequence_number();
                Err(PIPELINE_SAMPLED)
            }
        }
    }

    /// Counts an event that a rule drops. It has taken a sequence number.
    #[inline(always)]
    fn count_dropped_by_rule(&self) {
        add(&self.dropped_rule, 1);
        self.skip_sequence_number();
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
