//! The way of an offered event through the rules.

use super::compile::RuleSet;
use super::counts::Count;
use super::event::Event;
use super::plan::does;
use super::prefilter::Look;
use super::ruling::{Ranges, Ruling};
use crate::platform::time;

impl RuleSet {
    /// What is known of an event at once.
    #[inline(always)]
    pub fn look(&self, event: &Event<'_>) -> Look {
        let mut plan = self.of_others();
        if self.is_special(event.kind) {
            match self.own_plan(event.kind) {
                Some(own) => plan = own,
                None if plan.kinds().may_have(event.kind.into()) => return Look::Unsure,
                None => {}
            }
        }
        plan.look(event)
    }

    /// Counts an event that a rule drops, of which [`look`](Self::look) says so.
    #[inline(always)]
    pub fn count_dropped(&self, rule: u32, producer: u32) {
        self.counts().add(producer, rule, Count::Matched);
    }

    /// What the rules say of an event. Returns whether one that is in effect matches; `ruling` then has what it says. `producer` tells whose counts are changed: the first producers
    /// change theirs alone, while they hold their busy word. What is to be zeroed in the copy is added to `redact`.
    #[inline]
    pub fn judge(&self, event: &Event<'_>, producer: u32, ruling: &mut Ruling, redact: &mut Ranges) -> bool {
        let plan = self.plan(event.kind);
        let mut groups = plan.groups(event);
        let mut matched = false;
        while groups != 0 {
            let group = groups.trailing_zeros();
            groups &= groups - 1;
            for step in plan.steps(group) {
                if step.when.as_ref().is_some_and(|when| !when.matches(event)) {
                    continue;
                }
                let (rule, does, counts) = (step.rule, step.does, self.counts());
                counts.add(producer, rule, Count::Matched);
                let limited = does & does::LIMIT != 0 && !self.admits(rule);
                if limited {
                    counts.add(producer, rule, Count::Limited);
                }
                if does & does::DRY != 0 {
                    continue;
                }
                matched = true;
                if limited || does & does::DROP != 0 {
                    ruling.dropped_by = Some(rule);
                    return true;
                }
                ruling.priority |= does & does::PRIORITY != 0;
                ruling.snapshot |= does & does::SNAPSHOT != 0;
                ruling.tags |= step.tags;
                if step.sample > ruling.weight {
                    (ruling.weight, ruling.sampled_by) = (step.sample, rule);
                }
                if !step.redact.is_empty() && !event.is_opaque() {
                    redact.add_all(&step.redact);
                }
                if does & does::KEEP != 0 {
                    (ruling.keep, ruling.promote, ruling.weight) = (true, does & does::TRACE != 0, 1);
                    return true;
                }
            }
        }
        matched
    }

    /// Whether the limit of a rule admits an event now.
    #[inline(never)]
    fn admits(&self, rule: u32) -> bool {
        let limiter = self.act(rule).and_then(|act| act.limiter.as_ref());
        limiter.is_none_or(|limiter| limiter.admits(time::now_ns()))
    }

    /// Counts that an event was sampled out at the rate of a rule.
    pub fn sampled_out(&self, rule: u32, producer: u32) {
        self.counts().add(producer, rule, Count::SampledOut);
    }
}
