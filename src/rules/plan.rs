//! The plan of a kind: which rules may match, found by the ids of an event.

use super::event::Event;
use super::ruling::Range;
use crate::expression::{Bound, IdTable, Own, Screen, Subject, Wanted};
use crate::platform::memory;
use crate::status::Result;
use std::collections::HashMap;
use std::sync::Arc;

/// A rule in a plan.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The index of the rule.
    pub rule: u32,
    /// When it matches; `None`: always.
    pub when: Option<Arc<Bound>>,
    /// What it redacts in a payload of the kind.
    pub redact: Box<[Range]>,
}

/// The steps for the events of a kind, or of several. The steps are in as many groups as a mask has bits, in their order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The groups that are always looked at.
    always: u64,
    /// There are no others.
    all_always: bool,
    /// By an id, the groups that may match.
    kinds: IdTable,
    nodes: IdTable,
    traces: IdTable,
    /// The groups that may match if a number is in a range.
    ranges: Box<[InRange]>,
    steps: Box<[Step]>,
    /// Steps of a group.
    group: usize,
}

/// Groups that may match if a number is one of these.
#[derive(Clone, Copy, Debug)]
struct InRange {
    own: Own,
    first: u64,
    more: u64,
    groups: u64,
}

/// The most ranges that are asked one by one. Where there are more, those of a number become one.
const MOST_RANGES: usize = 8;

impl Plan {
    /// A plan of these steps, for events of `kind`, if they are all of one.
    pub fn new(steps: Vec<Step>, kind: Option<u32>) -> Result<Self> {
        let mut ways = Ways::default();
        // What cannot match by its kind alone is left out first, so that the groups are of what remains.
        let mut kept = Vec::new();
        kept.try_reserve_exact(steps.len()).map_err(|_| memory::refused(size_of_val(&*steps)))?;
        for step in steps {
            match screens(&step, kind) {
                Some(screens) if screens.is_empty() => {}
                screens => kept.push((step, screens)),
            }
        }
        let group = kept.len().div_ceil(64).max(1);
        let mut steps = Vec::new();
        steps.try_reserve_exact(kept.len()).map_err(|_| memory::refused(kept.len() * size_of::<Step>()))?;
        for (at, (step, screens)) in kept.into_iter().enumerate() {
            ways.add(screens, 1 << (at / group));
            steps.push(step);
        }
        let table = |ids: HashMap<u64, u64>| {
            let bytes = ids.len() * 4 * size_of::<u64>();
            IdTable::new(ids.into_iter()).ok_or_else(|| memory::refused(bytes))
        };
        Ok(Self {
            always: ways.always,
            all_always: ways.are_all_always(),
            kinds: table(ways.kinds)?,
            nodes: table(ways.nodes)?,
            traces: table(ways.traces)?,
            ranges: few(ways.ranges).into_boxed_slice(),
            steps: steps.into_boxed_slice(),
            group,
        })
    }

    /// Whether a rule may match an event of a kind that has no group of its own. If not, none does.
    #[inline(always)]
    pub fn may_match(&self, event: &Event<'_>) -> bool {
        let Event { kind, flags, correlation_id, node_id, payload } = *event;
        if self.nodes.may_have(node_id) | self.traces.may_have(correlation_id) | (self.always != 0) {
            return true;
        }
        // (By value, and without a function for the numbers: the event then lies in registers.)
        for range in &*self.ranges {
            let number = match range.own {
                Own::NodeId => node_id,
                Own::CorrelationId => correlation_id,
                Own::Kind => kind.into(),
                Own::PayloadBytes => payload.len() as u64,
                Own::Flags => flags.into(),
                _ => return true,
            };
            if number.wrapping_sub(range.first) <= range.more {
                return true;
            }
        }
        false
    }

    /// The kinds that have groups of their own.
    pub fn kinds(&self) -> &IdTable {
        &self.kinds
    }

    /// The groups of rules that may match an event; 0: none does.
    #[inline(always)]
    pub fn groups(&self, event: &Event<'_>) -> u64 {
        let (kind, node, trace) = (event.kind.into(), event.node_id, event.correlation_id);
        let mut groups = self.always;
        if self.all_always {
            return groups;
        }
        // One branch for all of them, which is taken rarely.
        if self.kinds.may_have(kind) | self.nodes.may_have(node) | self.traces.may_have(trace) {
            groups |= self.kinds.mask(kind) | self.nodes.mask(node) | self.traces.mask(trace);
        }
        for range in &*self.ranges {
            if event.number(range.own).is_some_and(|number| number.wrapping_sub(range.first) <= range.more) {
                groups |= range.groups;
            }
        }
        groups
    }

    /// The steps of a group.
    pub fn steps(&self, group: u32) -> &[Step] {
        let first = group as usize * self.group;
        let end = (first + self.group).min(self.steps.len());
        self.steps.get(first..end).unwrap_or(&[])
    }

    /// The bytes that it takes, without what it shares with others.
    pub fn bytes(&self) -> usize {
        let tables = [&self.kinds, &self.nodes, &self.traces];
        size_of::<Self>() + size_of_val(&*self.steps) + tables.into_iter().map(IdTable::bytes).sum::<usize>()
    }
}

/// By what an event of the kind may come to match. `None`: by anything.
fn screens(step: &Step, kind: Option<u32>) -> Option<Vec<Screen>> {
    let mut left = Vec::new();
    for screen in step.when.as_ref()?.screens()?.iter().cloned() {
        match kind {
            Some(kind) if screen.own == Own::Kind => {
                let has = match &screen.wanted {
                    Wanted::Ids(ids) => ids.contains(&kind.into()),
                    Wanted::Range(first, more) => u64::from(kind).wrapping_sub(*first) <= *more,
                };
                if has {
                    return None;
                }
            }
            _ => left.push(screen),
        }
    }
    Some(left)
}

/// The ways by which groups may come to match.
#[derive(Default)]
struct Ways {
    always: u64,
    kinds: HashMap<u64, u64>,
    nodes: HashMap<u64, u64>,
    traces: HashMap<u64, u64>,
    ranges: Vec<InRange>,
}

impl Ways {
    fn are_all_always(&self) -> bool {
        [&self.kinds, &self.nodes, &self.traces].iter().all(|ids| ids.is_empty()) && self.ranges.is_empty()
    }

    fn add(&mut self, screens: Option<Vec<Screen>>, group: u64) {
        let Some(screens) = screens else {
            self.always |= group;
            return;
        };
        for Screen { own, wanted } in screens {
            match (own, wanted) {
                (_, Wanted::Range(first, more)) => self.range(InRange { own, first, more, groups: group }),
                (Own::Kind, Wanted::Ids(ids)) => join(&mut self.kinds, &ids, group),
                (Own::NodeId, Wanted::Ids(ids)) => join(&mut self.nodes, &ids, group),
                (Own::CorrelationId, Wanted::Ids(ids)) => join(&mut self.traces, &ids, group),
                (_, Wanted::Ids(ids)) => {
                    let (least, most) = (ids.iter().min(), ids.iter().max());
                    if let (Some(first), Some(last)) = (least, most) {
                        self.range(InRange { own, first: *first, more: last - first, groups: group });
                    }
                }
            }
        }
    }

    fn range(&mut self, range: InRange) {
        let same = self
            .ranges
            .iter_mut()
            .find(|known| (known.own, known.first, known.more) == (range.own, range.first, range.more));
        match same {
            Some(known) => known.groups |= range.groups,
            None => self.ranges.push(range),
        }
    }
}

fn join(table: &mut HashMap<u64, u64>, ids: &[u64], group: u64) {
    for id in ids {
        *table.entry(*id).or_insert(0) |= group;
    }
}

/// Where there are too many ranges, one for each number that goes over all of its.
fn few(ranges: Vec<InRange>) -> Vec<InRange> {
    if ranges.len() <= MOST_RANGES {
        return ranges;
    }
    let mut joined: Vec<InRange> = Vec::new();
    for range in ranges {
        match joined.iter_mut().find(|known| known.own == range.own) {
            Some(known) => {
                let last = known.first.saturating_add(known.more).max(range.first.saturating_add(range.more));
                known.first = known.first.min(range.first);
                known.more = last - known.first;
                known.groups |= range.groups;
            }
            None => joined.push(range),
        }
    }
    joined
}
