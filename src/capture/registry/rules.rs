//! The rules in force: how they are replaced while producers read them.

use super::Registry;
use crate::platform::barrier;
use crate::platform::hazard::{Hazard, Reading};
use crate::platform::sync::Ordering;
use crate::ring::intake::{Intake, slow_path};
use crate::rules::RuleSet;
use crate::status::{Error, PIPELINE_ERR_BUSY, Result};
use std::sync::Arc;

/// The most replaced sets that are kept for captures that still read them. Each such capture is held up within a few instructions.
const MOST_REPLACED: usize = 64;

/// The set in force, and replaced ones that a capture may still read.
#[derive(Debug, Default)]
pub(super) struct Sets {
    current: Option<Arc<RuleSet>>,
    replaced: Vec<Arc<RuleSet>>,
}

/// The set in force, for the producer that has this hazard. `asymmetric` is about the fence: see [`barrier`].
///
/// # Safety
/// The calling thread holds the busy word of the producer, until the reading is dropped.
#[inline(always)]
pub(in super::super) unsafe fn read<'a>(
    intake: &'a Intake,
    hazard: &'a Hazard<RuleSet>,
    asymmetric: bool,
) -> Option<Reading<'a, RuleSet>> {
    // SAFETY: a hazard is used under its producer's busy word alone; `free_unread` looks at those of all producers that are judged.
    unsafe { intake.judge.rules.read(hazard, asymmetric) }
}

impl Registry {
    /// Fails if too many replaced sets are still read. If it succeeds, the next [`set_rules`](Self::set_rules) does, unless another comes before.
    pub fn ready_for_rules(&self) -> Result<()> {
        self.make_ready(&mut self.rules.lock())
    }

    fn make_ready(&self, sets: &mut Sets) -> Result<()> {
        self.free_unread(sets);
        if sets.replaced.len() >= MOST_REPLACED || sets.replaced.try_reserve(1).is_err() {
            let text =
                format!("{MOST_REPLACED} replaced sets of rules are still read by captures; try again");
            return Err(Error::new(PIPELINE_ERR_BUSY, text));
        }
        Ok(())
    }

    /// Puts a set in force in place of the one before; `None`: there are no rules. It waits for no capture. If it fails, nothing is changed.
    pub fn set_rules(&self, set: Option<Arc<RuleSet>>) -> Result<()> {
        let mut sets = self.rules.lock();
        self.make_ready(&mut sets)?;
        let reasons = &self.intake.doorbell.slow_path;
        if let Some(set) = &set {
            self.intake.judge.rules.replace(Arc::as_ptr(set));
            reasons.fetch_or(slow_path::RULES, Ordering::SeqCst);
        } else {
            reasons.fetch_and(!slow_path::RULES, Ordering::SeqCst);
            self.intake.judge.rules.replace(std::ptr::null());
        }
        let before = std::mem::replace(&mut sets.current, set);
        sets.replaced.extend(before);
        self.free_unread(&mut sets);
        Ok(())
    }

    /// The set in force.
    pub fn rules(&self) -> Option<Arc<RuleSet>> {
        self.rules.lock().current.clone()
    }

    /// Frees the replaced sets that no capture reads any more. Returns how many are left.
    pub fn free_replaced_rules(&self) -> usize {
        let mut sets = self.rules.lock();
        self.free_unread(&mut sets);
        sets.replaced.len()
    }

    fn free_unread(&self, sets: &mut Sets) {
        if sets.replaced.is_empty() {
            return;
        }
        barrier::heavy(self.intake.asymmetric);
        let producers = || self.counted().iter().flat_map(|p| [Some(p), p.priority()]).flatten();
        sets.replaced.retain(|set| producers().any(|producer| producer.rules_read.names(Arc::as_ptr(set))));
    }
}

#[cfg(test)]
mod tests;
