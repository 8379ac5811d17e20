//! The shortest way of a capture: everything is as usual, and nothing on the way can wait, fail or panic, so that it needs neither
//! a stack frame nor a guard. Where anything is out of the ordinary it undoes what it did, which is the busy word, and leaves the
//! event to the [general way](super::capture), which decides and counts.

#[cfg(test)]
mod tests;

use super::{Offer, Producer, add, busy};
use crate::event::{KNOWN_FLAGS, PIPELINE_EVENT_OWN_TIME, PIPELINE_KIND_RESERVED};
use crate::platform::sync::{AtomicU64, Ordering};
use crate::platform::{barrier, cache, time};
use crate::ring::copy::{long, short};
use crate::ring::front::gate;
use crate::ring::record::{HEADER, Head, TICKS, Tag, stride};

/// How far ahead of a record cache lines are fetched, in bytes: as long as a fetch from another processor's cache takes, and
/// not longer. Two lines for each record, which is what one of a short payload takes.
pub(super) const PREFETCH: u64 = 2048;

/// The same where records may be long: a header some records on, if all are of one size. A storage has read that much at least, so those
/// lines must come back; without this the copy of the whole payload waits behind them.
#[inline(always)]
fn ahead(stride: u64) -> u64 {
    let doublings = stride.leading_zeros().saturating_sub(PREFETCH.leading_zeros() + 1);
    stride << doublings.max(1)
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOnce {
    /// It is captured.
    Captured,
    /// It is captured, and a writer may have to be woken: [`Producer::knock`].
    Knock,
    /// Nothing: it is to go the general way.
    No,
}

/// Whether an offer is in order, but for its payload's address.
#[inline(always)]
pub(super) fn usual(offer: &Offer, longest: usize) -> bool {
    offer.kind < PIPELINE_KIND_RESERVED && offer.flags & !KNOWN_FLAGS == 0 && offer.len <= longest
}

impl Producer {
    /// Captures an event, if everything is as usual. `LONG`: its payload may exceed what is
    /// copied without a call, [`SHORT`](crate::ring::copy::SHORT).
    ///
    /// # Safety
    /// As for [`capture`](Self::capture).
    #[inline(always)]
    pub unsafe fn capture_at_once<const LONG: bool>(&self, offer: &Offer) -> AtOnce {
        if offer.data.is_null() {
            return AtOnce::No;
        }
        let Some((record, end)) = self.begin_at_once::<LONG>(offer) else { return AtOnce::No };
        // SAFETY: the record's memory is this producer's; the payload is readable, and fits.
        unsafe {
            let payload = record.add(HEADER as usize);
            if LONG {
                long(offer.data, payload, offer.len);
            } else {
                short(offer.data, payload, offer.len);
            }
            self.finish_at_once(record, end, offer, offer.len)
        }
    }

    /// Reserves room for a payload of `head.len` bytes, if everything is as usual.
    #[inline(always)]
    pub(super) fn reserve_at_once(&self, head: &Offer) -> Option<*mut u8> {
        let (record, _) = self.begin_at_once::<true>(head)?;
        self.reserved.set((self.fast.head.get(), *head));
        self.fast.busy.store(busy::RESERVED, Ordering::Release);
        // SAFETY: the record's memory is this producer's.
        Some(unsafe { record.add(HEADER as usize) })
    }

    /// Captures the reserved event with the first `used` bytes of its payload, if everything is as usual.
    #[inline(always)]
    pub(super) fn commit_at_once(&self, used: usize) -> AtOnce {
        if self.fast.forked() || self.fast.busy.load(Ordering::Relaxed) != busy::RESERVED {
            return AtOnce::No;
        }
        let (position, head) = self.reserved.get();
        // (Of more than that there may be no stride.)
        if used > head.len {
            return AtOnce::No;
        }
        let (lap, reach) = self.fast.ahead();
        let at = self.fast.head.get();
        let end = at + stride(used);
        // Elsewhere than at the head: behind a pad.
        if position != at || end > reach {
            return AtOnce::No;
        }
        self.fast.busy.store(busy::CAPTURING, Ordering::Relaxed);
        barrier::light(true);
        if !self.fast.signs().are_usual() {
            self.fast.busy.store(busy::RESERVED, Ordering::Release);
            return AtOnce::No;
        }
        // SAFETY: from `at` to `reach` the memory is this producer's, in one piece; the record ends in it.
        unsafe { self.finish_at_once(lap.wrapping_add(at as usize), end, &head, used) }
    }

    /// Takes the busy word, and answers where the record goes and the position behind it.
    #[inline(always)]
    fn begin_at_once<const LONG: bool>(&self, offer: &Offer) -> Option<(*mut u8, u64)> {
        let longest = if LONG { self.front().max_event_bytes } else { self.fast.longest() };
        if self.fast.forked() || !usual(offer, longest) || self.fast.busy.load(Ordering::Relaxed) != busy::NO
        {
            return None;
        }
        self.fast.busy.store(busy::CAPTURING, Ordering::Relaxed);
        // As in `begin`; where captures pay for their fences, nothing is usual.
        barrier::light(true);
        let as_usual = self.fast.signs().are_usual();
        let (lap, reach) = self.fast.ahead();
        let at = self.fast.head.get();
        let end = at + stride(offer.len);
        if !as_usual || end > reach {
            self.fast.busy.store(busy::NO, Ordering::Release);
            return None;
        }
        let ahead = if LONG { ahead(end - at) } else { PREFETCH };
        self.prefetch(lap, at + ahead, reach);
        Some((lap.wrapping_add(at as usize), end))
    }

    /// Has the lines at the position `at` fetched, which will be written soon; only what may be written: lines that a writer still reads
    /// would be taken from it.
    #[inline(always)]
    pub(super) fn prefetch(&self, lap: *mut u8, at: u64, reach: u64) {
        if at < reach {
            let line = lap.wrapping_add(at as usize);
            cache::fetch_to_write(line);
            cache::fetch_to_write(line.wrapping_add(64));
        }
    }

    /// Writes the header of a record whose payload is in place, publishes it and gives the busy word back.
    ///
    /// # Safety
    /// `record` is the memory at the head, this producer's own up to the position `end`; the busy word is held.
    #[inline(always)]
    unsafe fn finish_at_once(&self, record: *mut u8, end: u64, offer: &Offer, len: usize) -> AtOnce {
        let (timestamp, in_ticks) = self.stamp_in_ticks(offer);
        let captured = self.fast.captured.load(Ordering::Relaxed);
        let head = Head {
            kind: offer.kind,
            weight: 1.0,
            sequence: captured.wrapping_add(self.fast.shift.get()),
            timestamp,
            correlation_id: offer.correlation_id,
            node_id: offer.node_id,
        };
        // SAFETY: passed on.
        unsafe { Self::write_header(record, Tag::event(len, offer.flags | in_ticks), &head) };
        // Counted before it is published: whoever sees the event sees it counted.
        self.fast.captured.store(captured.wrapping_add(1), Ordering::Relaxed);
        add(&self.fast.bytes, len as u64);
        // SAFETY: by contract.
        unsafe { self.publish_at_once(end) }
    }

    /// Publishes what is written up to `end`, and gives the busy word back.
    ///
    /// # Safety
    /// It is written where [`Fast::ahead`](super::Fast::ahead) has said; the busy word is held.
    #[inline(always)]
    pub(super) unsafe fn publish_at_once(&self, end: u64) -> AtOnce {
        // SAFETY: passed on.
        unsafe { self.fast.publish(end) };
        self.fast.busy.store(busy::NO, Ordering::Release);
        barrier::light(true);
        let open = self.fast.signs().gate.load(Ordering::Relaxed) & gate::STATE == gate::OPEN;
        if open { AtOnce::Captured } else { AtOnce::Knock }
    }

    /// Writes a record but for its payload.
    ///
    /// # Safety
    /// `record` is an 8-byte aligned place for one, and the caller's to write.
    #[inline(always)]
    unsafe fn write_header(record: *mut u8, tag: Tag, head: &Head) {
        // SAFETY: by contract; tags are only ever accessed as atomics.
        unsafe {
            AtomicU64::from_ptr(record.cast()).store(tag.0, Ordering::Relaxed);
            record.add(8).cast::<Head>().write(*head);
        }
    }

    /// Writes a record whose payload is short.
    ///
    /// # Safety
    /// As for [`write_header`](Self::write_header), with room for the payload of `offer`, which is readable.
    #[inline(always)]
    pub(super) unsafe fn write_short_record(record: *mut u8, tag: Tag, head: &Head, offer: &Offer) {
        // SAFETY: by contract.
        unsafe {
            short(offer.data, record.add(HEADER as usize), offer.len);
            Self::write_header(record, tag, head);
        }
    }

    /// Wakes a writer, if that is still called for.
    #[cold]
    pub fn knock(&self) {
        self.front().published(self);
    }

    /// As [`stamp`](Self::stamp), where the counter is known to be the clock.
    #[inline(always)]
    pub(super) fn stamp_in_ticks(&self, offer: &Offer) -> (u64, u32) {
        if offer.flags & PIPELINE_EVENT_OWN_TIME != 0 {
            return (offer.timestamp, 0);
        }
        (self.ticks(), TICKS)
    }

    /// What the counter shows, never less than before.
    #[inline(always)]
    pub(super) fn ticks(&self) -> u64 {
        // Another processor's counter may be a little behind.
        let ticks = time::ticks().max(self.fast.last_ticks.get());
        self.fast.last_ticks.set(ticks);
        ticks
    }
}
