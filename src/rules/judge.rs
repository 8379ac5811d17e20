//! The judge: decides about an offer.

use super::compile::RuleSet;
use super::event::Event;
use super::ruling::Ruling;
use super::sampling::Sampling;
use super::verdict::{Fate, Verdict};
use crate::event::{Offer, PIPELINE_EVENT_PRIORITY, PIPELINE_EVENT_TAG_1};
use crate::platform::hazard::Current;

/// Decides about offers. It is a part of what producers read, and is asked from any thread and from signal handlers: it waits for nothing and allocates nothing.
#[derive(Debug, Default)]
pub struct Judge {
    /// The rules in force. The registry keeps them.
    pub rules: Current<RuleSet>,
    /// Sampling by trace.
    pub sampling: Sampling,
}

/// The rules for an offer.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The set in force.
    pub set: &'a RuleSet,
    /// The offer as they see it.
    pub event: Event<'a>,
    /// The number of the producer, for their counts.
    pub producer: u32,
}

impl Judge {
    /// The verdict about an offer. `rules`: there are some. `sampling`: sampling is in effect. `alone` is a number that no other offer has, for one without a trace.
    #[inline]
    pub fn judge(
        &self,
        offer: &Offer,
        rules: Option<Rules<'_>>,
        sampling: bool,
        alone: impl FnOnce() -> u64,
    ) -> Verdict {
        if let Some(Rules { set, event, producer }) = rules
            && let Some(ruling) = set.judge(&event, producer)
        {
            return self.ruled(offer, &ruling, set, producer, sampling, alone);
        }
        if !sampling || offer.flags & PIPELINE_EVENT_PRIORITY != 0 {
            return Verdict::KEEP;
        }
        self.sampling.decide(offer.correlation_id, alone)
    }

    /// The verdict about an offer of which the rules have said something.
    fn ruled(
        &self,
        offer: &Offer,
        ruling: &Ruling,
        set: &RuleSet,
        producer: u32,
        sampling: bool,
        alone: impl FnOnce() -> u64,
    ) -> Verdict {
        if ruling.dropped_by.is_some() {
            return Verdict { fate: Fate::Drop, ..Verdict::KEEP };
        }
        let priority = if ruling.priority { PIPELINE_EVENT_PRIORITY } else { 0 };
        let flags = priority | (ruling.tags * PIPELINE_EVENT_TAG_1);
        let ruled = Verdict { flags, redact: ruling.redact, ..Verdict::KEEP };
        // By rules an event is sampled whether it is a priority one or not; under load it is not then.
        let under_load = sampling && (offer.flags | priority) & PIPELINE_EVENT_PRIORITY == 0;
        if ruling.keep || (ruling.weight == 1 && !under_load) {
            return ruled;
        }
        let sampled = self.sampling.decide_at(offer.correlation_id, alone, ruling.weight, under_load);
        if sampled.by_weight {
            set.sampled_out(ruling, producer);
        }
        Verdict { flags: ruled.flags | sampled.verdict.flags, redact: ruled.redact, ..sampled.verdict }
    }
}
