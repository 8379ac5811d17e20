//! The judge: decides about an offer.

use super::sampling::Sampling;
use super::verdict::Verdict;
use crate::event::{Offer, PIPELINE_EVENT_PRIORITY};

/// Decides about offers. It is a part of what producers read, and is asked from any thread and from signal handlers: it waits for nothing and allocates nothing.
#[derive(Debug, Default)]
pub struct Judge {
    /// Sampling by trace.
    pub sampling: Sampling,
}

impl Judge {
    /// The verdict about an offer. `sampling`: sampling is in effect. `alone` is a number that no other offer has, for one without a trace.
    #[inline]
    pub fn judge(&self, offer: &Offer, sampling: bool, alone: impl FnOnce() -> u64) -> Verdict {
        if !sampling || offer.flags & PIPELINE_EVENT_PRIORITY != 0 {
            return Verdict::KEEP;
        }
        self.sampling.decide(offer.correlation_id, alone)
    }
}
