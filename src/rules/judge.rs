//! The judge: decides about an offer.

use super::compile::RuleSet;
use super::event::Event;
use super::ruling::Ruling;
use super::sampling::Sampling;
use super::trigger::Trigger;
use super::verdict::{Fate, Verdict};
use crate::event::{PIPELINE_EVENT_PRIORITY, PIPELINE_EVENT_TAG_1};
use crate::platform::hazard::Current;

/// Decides about offers. It is a part of what producers read, and is asked from any thread and from signal handlers: it waits for nothing and allocates nothing.
#[derive(Debug, Default)]
pub struct Judge {
    /// The rules in force. The registry keeps them.
    pub rules: Current<RuleSet>,
    /// Sampling by trace.
    pub sampling: Sampling,
    /// Where events that match a rule with the action `snapshot` ask for one.
    pub trigger: Trigger,
}

/// The rules for an offer: the set in force, and the number of the producer, for their counts.
pub type Rules<'a> = (&'a RuleSet, u32);

impl Judge {
    /// Gives the verdict about an event that is offered; `verdict` is [`KEEP`](Verdict::KEEP) before. `rules`: there are some. `sampling`: sampling is in effect.
    /// `alone` is a number that no other offer has, for one without a trace.
    #[inline]
    pub fn judge(
        &self,
        event: &Event<'_>,
        rules: Option<Rules<'_>>,
        sampling: bool,
        alone: impl FnOnce() -> u64,
        verdict: &mut Verdict,
    ) {
        let mut ruling = Ruling::default();
        let may_sample = sampling && event.flags & PIPELINE_EVENT_PRIORITY == 0;
        let matching =
            rules.filter(|(set, producer)| set.judge(event, *producer, &mut ruling, &mut verdict.redact));
        let Some((set, producer)) = matching else {
            if may_sample {
                self.sampled(event.correlation_id, alone, verdict);
            }
            return;
        };
        if ruling.snapshot {
            self.trigger.ask();
        }
        if ruling.dropped_by.is_some() {
            verdict.fate = Fate::Drop;
            return;
        }
        let priority = if ruling.priority { PIPELINE_EVENT_PRIORITY } else { 0 };
        verdict.flags = priority | (ruling.tags * PIPELINE_EVENT_TAG_1);
        if ruling.promote {
            self.promote(event.correlation_id, verdict);
            return;
        }
        // By rules an event is sampled whether it is a priority one or not; under load it is not then.
        let under_load = may_sample && !ruling.priority;
        if ruling.keep || (ruling.weight == 1 && !under_load) {
            return;
        }
        if self.sampled_at(event.correlation_id, alone, ruling.weight, under_load, verdict) {
            set.sampled_out(ruling.sampled_by, producer);
        }
    }

    /// The verdict of sampling alone. (These are functions of their own, so that their variables are not among those of the rules.)
    #[inline(never)]
    fn sampled(&self, trace: u64, alone: impl FnOnce() -> u64, verdict: &mut Verdict) {
        verdict.decide(self.sampling.decide(trace, alone));
    }

    #[inline(never)]
    fn promote(&self, trace: u64, verdict: &mut Verdict) {
        verdict.decide(self.sampling.promote(trace));
    }

    /// The verdict where rules sample at a weight. Returns whether the offer is sampled out because of that.
    #[inline(never)]
    fn sampled_at(
        &self,
        trace: u64,
        alone: impl FnOnce() -> u64,
        weight: u32,
        under_load: bool,
        verdict: &mut Verdict,
    ) -> bool {
        let sampled = self.sampling.decide_at(trace, alone, weight, under_load);
        verdict.decide(sampled.decision);
        sampled.by_weight
    }
}
