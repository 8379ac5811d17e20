//! Several events at once, by the shortest way: one busy word, one time, one publication, one look at the gate.

use super::at_once::usual;
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
        let front = self.front();
        if front.forked() || self.busy.load(Ordering::Relaxed) != busy::NO {
            return (0, AtOnce::No);
        }
        self.busy.store(busy::CAPTURING, Ordering::Relaxed);
        // As in `begin`; where captures pay for their fences, nothing is usual.
        barrier::light(true);
        let (lap, reach) = self.ahead.get();
        let mut at = self.head.get();
        let mut events = 0;
        let mut bytes = 0;
        if front.is_usual() && at < reach {
            let ticks = self.ticks();
            let first = self.next_sequence();
            while let Some(offer) = next() {
                if offer.data.is_null() || !usual(&offer, front.short_bytes) {
                    break;
                }
                let end = at + stride(offer.len);
                if end > reach {
                    break;
                }
                self.prefetch(lap, at, reach);
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
            self.busy.store(busy::NO, Ordering::Release);
            return (0, AtOnce::No);
        }
        add(&self.captured, events);
        add(&self.bytes, bytes);
        (events as usize, self.publish_at_once(at))
    }
}
