//! Where events are missing: gaps in the sequences of rings.

use super::places::Ring;
use crate::journal::Journal;
use capture_pipeline::event::PIPELINE_EVENT_OWN_TIME;
use capture_pipeline::journal::reader::Event;
use std::collections::{BTreeMap, BTreeSet};

/// The counts of a ledger that are losses.
const LOSSES: [&str; 10] = [
    "dropped_full",
    "refused_too_large",
    "refused_closed",
    "refused_invalid",
    "refused_busy",
    "refused_no_ring",
    "overwritten",
    "discarded",
    "dead_lettered",
    "left",
];
/// The counts that leave gaps and are no losses: the program has asked for it.
const CHOSEN: [&str; 3] = ["dropped_sampled", "dropped_rule", "filtered"];

/// See the module.
pub struct Gaps {
    /// The runs all of whose gaps are the program's choice.
    chosen: BTreeSet<u64>,
    /// What the ledgers of runs say that was lost.
    totals: BTreeMap<u64, Vec<(&'static str, u64)>>,
}

impl Gaps {
    /// The gaps of a journal's runs.
    pub fn new(journal: &Journal) -> Self {
        let reader = journal.reader();
        let mut missing: BTreeMap<u64, u64> = BTreeMap::new();
        for ring in reader.rings() {
            *missing.entry(ring.generation).or_default() += ring.missing();
        }
        let (mut chosen, mut totals) = (BTreeSet::new(), BTreeMap::new());
        for (generation, ledger) in &reader.facts().ledgers {
            let count = |name: &str| ledger.count(name).unwrap_or(0);
            let by_choice = CHOSEN.iter().map(|name| count(name)).fold(0, u64::saturating_add);
            if by_choice > 0 && missing.get(generation) == Some(&by_choice) {
                chosen.insert(*generation);
            }
            let lost: Vec<_> =
                LOSSES.iter().map(|name| (*name, count(name))).filter(|(_, count)| *count > 0).collect();
            if !lost.is_empty() {
                totals.insert(*generation, lost);
            }
        }
        Self { chosen, totals }
    }

    /// Whether events are missing before this one: since when, and how many.
    #[inline]
    pub fn before(&self, ring: &mut Ring, ns: u64, event: &Event<'_>) -> Option<(u64, u64)> {
        // Their own times may have brought them into another order.
        if event.flags & PIPELINE_EVENT_OWN_TIME != 0 || ring.is_rest {
            ring.last = None;
            ring.ns = ring.ns.max(ns);
            return None;
        }
        let last = ring.last.replace(event.sequence);
        let from = std::mem::replace(&mut ring.ns, ns);
        let count = event.sequence.checked_sub(last?)?.checked_sub(1)?;
        (count > 0 && !self.chosen.contains(&event.generation)).then_some((from, count))
    }

    /// What runs have lost in all.
    pub fn totals(&self) -> impl Iterator<Item = (&u64, &[(&'static str, u64)])> {
        self.totals.iter().map(|(generation, counts)| (generation, counts.as_slice()))
    }
}
