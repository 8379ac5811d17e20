//! Several events at once, by the shortest way: one busy word, one time, one publication, one look at the gate.

use super::at_once::{PREFETCH, usual};
use super::{AtOnce, Offer, Producer, add, busy};
use crate::event::PIPELINE_EVENT_OWN_TIME;
use crate::platform::barrier;
use crate::platform::sync::Ordering;
use crate::ring::record::{Head, TICKS, Tag, stride};

impl Producer {
    /// Captures what `next` gives, from its first to the last before one that is long or otherwise out of the ordinary. Answers how many
    /// those are, and whether a writer may have to be woken. All that do not bring their own time have the same.
    ///
    /// # Safety
    /// What `next` gives is as for [`capture`](Self::capture). It captures nothing itself.
    #[inline(always)]
    pub unsafe fn capture_run_at_once(&self, mut next: impl FnMut() -> Option<Offer>) -> (usize, AtOnce) {
        if self.fast.forked() || self.fast.busy.load(Ordering::Relaxed) != busy::NO {
            return (0, AtOnce::No);
        }
        self.fast.busy.store(busy::CAPTURING, Ordering::Relaxed);
        // As in `begin`; where captures pay for their fences, nothing is usual.
        barrier::light(true);
        let (lap, reach) = self.fast.ahead();
        let mut at = self.fast.head.get();
        let mut events = 0;
        let mut bytes = 0;
        if self.fast.signs().are_usual() && at < reach {
            let longest = self.fast.longest();
            let ticks = self.ticks();
            let first = self.next_sequence();
            while let Some(offer) = next() {
                if offer.data.is_null() || !usual(&offer, longest) {
                    break;
                }
                let end = at + stride(offer.len);
                if end > reach {
                    break;
                }
                self.prefetch(lap, at + PREFETCH, reach);
                let own = offer.flags & PIPELINE_EVENT_OWN_TIME != 0;
                let head = Head {
                    kind: offer.kind,
                    weight: 1.0,
                    sequence: first.wrapping_add(events),
                    timestamp: if own { offer.timestamp } else { ticks },
                    correlation_id: offer.correlation_id,
                    node_id: offer.node_id,
                };
                let tag = Tag::event(offer.len, if own { offer.flags } else { offer.flags | TICKS });
                // SAFETY: from `at` to `reach` the memory is this producer's, in one piece; the record ends in it. The payload
                // is readable, by contract.
                unsafe { Self::write_short_record(lap.wrapping_add(at as usize), tag, &head, &offer) };
                at = end;
                events += 1;
                bytes += offer.len as u64;
            }
        }
        if events == 0 {
            self.fast.busy.store(busy::NO, Ordering::Release);
            return (0, AtOnce::No);
        }
        add(&self.fast.captured, events);
        add(&self.fast.bytes, bytes);
        // SAFETY: written in one piece up to `at`, within `reach`.
        (events as usize, unsafe { self.publish_at_once(at) })
    }
}
