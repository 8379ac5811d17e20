//! The protocol of a capture. The call, the producer's handle, several events at once, the capture in place and the shared producer
//! are all built on these three steps; `capture_pipeline_fast.h` has the same steps under the same names, on the same words.
//!
//! 1. [`begin`](Producer::begin) takes the busy word. Until step 3 the producer belongs to this capture: a signal handler that captures
//!    on it is refused, and a close of the pipeline waits for it.
//! 2. [`record`](Producer::record) writes a record where no writer looks yet.
//! 3. [`publish`](Producer::publish) counts the events, publishes the head behind them, gives the busy word back, and reads the doorbell.
//!
//! A capture that finds no room after step 1 only [gives the busy word back](Producer::give_back).

use super::{Offer, Producer, add, busy};
use crate::event::PIPELINE_EVENT_OWN_TIME;
use crate::platform::barrier;
use crate::platform::kill_point::{Point, pass};
use crate::platform::sync::Ordering;
use crate::ring::copy::{long, short};
use crate::ring::record::{self, HEADER, Head, TICKS, Tag};

/// Where the payload of a record comes from.
#[derive(Clone, Copy)]
pub(super) enum Payload {
    /// From the offer, at most [`SHORT`](crate::ring::copy::SHORT) bytes: copied without a call.
    Short,
    /// From the offer.
    Long,
    /// This many bytes of it are in place already.
    InPlace(usize),
}

/// The time of an event, and the flags of its tag, which say whether that is a reading of the processor's counter.
pub(super) type Stamp = (u64, u32);

/// The time that an event brings, or what the processor's counter shows.
#[inline(always)]
pub(super) fn stamp(offer: &Offer, ticks: impl FnOnce() -> u64) -> Stamp {
    let own = offer.flags & PIPELINE_EVENT_OWN_TIME != 0;
    if own { (offer.timestamp, offer.flags) } else { (ticks(), offer.flags | TICKS) }
}

impl Producer {
    /// Step 1: takes the busy word, if it is `from`. `asymmetric` is about the fence: see [`barrier`].
    #[inline(always)]
    pub(super) fn begin(&self, from: u32, asymmetric: bool) -> bool {
        if self.fast.busy.load(Ordering::Relaxed) != from {
            return false;
        }
        self.fast.busy.store(busy::CAPTURING, Ordering::Relaxed);
        // The fence is between the store of "busy" and the load of "closed". A close stores "closed", then loads "busy".
        barrier::light(asymmetric);
        pass(Point::CaptureBegun);
        true
    }

    /// Gives the busy word back if nothing is published: to `busy::NO`, or to `busy::RESERVED` if a reservation is open.
    #[inline(always)]
    pub(super) fn give_back(&self, to: u32) {
        self.fast.busy.store(to, Ordering::Release);
    }

    /// Step 2: writes a record. Nothing is counted or published yet. `number` gives its sequence number and its time. It is called after
    /// the payload is copied. In the other order a capture takes four more instructions, because the reading of the counter needs the
    /// registers of the copy.
    ///
    /// # Safety
    /// The busy word is held; `at` has room for the record, which is the producer's to write; the offer's payload is readable.
    #[inline(always)]
    pub(super) unsafe fn record(
        at: *mut u8,
        offer: &Offer,
        payload: Payload,
        weight: f32,
        number: impl FnOnce() -> (u64, Stamp),
    ) {
        // SAFETY: by contract.
        unsafe {
            let to = at.add(HEADER as usize);
            let len = match payload {
                Payload::InPlace(used) => used,
                _ => offer.len,
            };
            match payload {
                Payload::Short => short(offer.data, to, len),
                Payload::Long => long(offer.data, to, len),
                Payload::InPlace(_) => {}
            }
            pass(Point::PayloadCopied);
            let (sequence, (timestamp, flags)) = number();
            let head = Head {
                kind: offer.kind,
                weight,
                sequence,
                timestamp,
                correlation_id: offer.correlation_id,
                node_id: offer.node_id,
            };
            record::write(at, Tag::event(len, flags), &head);
            pass(Point::RecordWritten);
        }
    }

    /// Step 3: counts `events` with `bytes` together, publishes everything before the position `end` and gives the busy word back. Returns
    /// whether a writer may have to be woken, by [`wake_writer`](Self::wake_writer).
    ///
    /// # Safety
    /// The busy word is held, and the records are written, in the ring buffer that the [window](super::FastWords::window) is in.
    #[inline(always)]
    pub(super) unsafe fn publish(&self, end: u64, events: u64, bytes: u64, asymmetric: bool) -> bool {
        // Counted before they are published: a thread that sees an event sees it counted.
        add(&self.fast.captured, events);
        add(&self.fast.bytes, bytes);
        pass(Point::EventCounted);
        // SAFETY: passed on.
        unsafe { self.fast.publish(end) };
        pass(Point::EventPublished);
        self.give_back(busy::NO);
        // The fence is between the store of the head and the load of the doorbell. A writer that goes to sleep stores the doorbell, then
        // loads the heads.
        barrier::light(asymmetric);
        self.fast.doorbell().may_need_ring()
    }
}
