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
    /// Gives the verdict about an offer; `verdict` is [`KEEP`](Verdict::KEEP) before. `rules`: there are some. `sampling`: sampling is in effect.
    /// `alone` is a number that no other offer has, for one without a trace.
    #[inline]
    pub fn judge(
        &self,
        offer: &Offer,
        rules: Option<Rules<'_>>,
        sampling: bool,
        alone: impl FnOnce() -> u64,
        verdict: &mut Verdict,
    ) {
        let mut ruling = Ruling::default();
        if let Some(rules) = rules
            && rules.set.judge(&rules.event, rules.producer, &mut ruling, &mut verdict.redact)
        {
            if ruling.dropped_by.is_some() {
                verdict.fate = Fate::Drop;
            } else {
                self.ruled(offer, &ruling, &rules, sampling, alone, verdict);
            }
        } else if sampling && offer.flags & PIPELINE_EVENT_PRIORITY == 0 {
            self.sampled(offer, alone, verdict);
        }
    }

    /// The verdict of sampling alone. (Its own function, so that its variables are not among those of the rules.)
    #[inline(never)]
    fn sampled(&self, offer: &Offer, alone: impl FnOnce() -> u64, verdict: &mut Verdict) {
        verdict.decide(self.sampling.decide(offer.correlation_id, alone));
    }

    /// The verdict about an offer of which the rules have said something, but not that it is dropped.
    #[inline(never)]
    fn ruled(
        &self,
        offer: &Offer,
        ruling: &Ruling,
        rules: &Rules<'_>,
        sampling: bool,
        alone: impl FnOnce() -> u64,
        verdict: &mut Verdict,
    ) {
        let priority = if ruling.priority { PIPELINE_EVENT_PRIORITY } else { 0 };
        verdict.flags = priority | (ruling.tags * PIPELINE_EVENT_TAG_1);
        if ruling.promote {
            verdict.decide(self.sampling.promote(offer.correlation_id));
            return;
        }
        // By rules an event is sampled whether it is a priority one or not; under load it is not then.
        let under_load = sampling && (offer.flags | priority) & PIPELINE_EVENT_PRIORITY == 0;
        if ruling.keep || (ruling.weight == 1 && !under_load) {
            return;
        }
        let sampled = self.sampling.decide_at(offer.correlation_id, alone, ruling.weight, under_load);
        if sampled.by_weight {
            rules.set.sampled_out(ruling, rules.producer);
        }
        verdict.decide(sampled.decision);
    }
}
