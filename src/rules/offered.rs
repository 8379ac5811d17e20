//! The way of an offered event through the rules.

use super::compile::RuleSet;
use super::counts::Count;
use super::event::Event;
use super::ruling::{Ranges, Ruling};
use crate::platform::time;

impl RuleSet {
    /// Whether it is known at once, by its kind and its ids, that no rule matches an event.
    #[inline(always)]
    pub fn passes(&self, event: &Event<'_>) -> bool {
        !self.is_special(event.kind) && !self.of_others().may_match(event)
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
                let (rule, counts) = (step.rule, self.counts());
                let Some(act) = self.act(rule) else { continue };
                counts.add(producer, rule, Count::Matched);
                let limited = act.limiter.as_ref().is_some_and(|limiter| !limiter.admits(time::now_ns()));
                if limited {
                    counts.add(producer, rule, Count::Limited);
                }
                if act.dry {
                    continue;
                }
                matched = true;
                if limited || act.drop {
                    ruling.dropped_by = Some(rule);
                    return true;
                }
                ruling.priority |= act.priority;
                ruling.tags |= act.tags;
                if act.sample > ruling.weight {
                    (ruling.weight, ruling.sampled_by) = (act.sample, rule);
                }
                let ranges = if event.is_opaque() { &[] } else { &*step.redact };
                for range in ranges {
                    redact.add(*range);
                }
                if act.keep {
                    (ruling.keep, ruling.promote, ruling.weight) = (true, act.trace, 1);
                    return true;
                }
            }
        }
        matched
    }

    /// Counts that the event of a ruling was sampled out at the rate of its rule.
    pub fn sampled_out(&self, ruling: &Ruling, producer: u32) {
        self.counts().add(producer, ruling.sampled_by, Count::SampledOut);
    }
}
