//! The plan of a kind: which rules may match, found by the ids of an event.

use super::event::Event;
use super::prefilter::{InRange, InWord, Look, Prefilter, Tables};
use super::ruling::Range;
use crate::expression::{Bound, IdTable, Own, Screen, Screens, Span, Wanted};
use crate::platform::memory;
use crate::status::Result;
use std::collections::HashMap;
use std::sync::Arc;

/// A rule in a plan.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The index of the rule.
    pub rule: u32,
    /// What the rule does, as bits.
    pub does: u32,
    /// The tags that it sets.
    pub tags: u32,
    /// One of so many is kept; 1: all.
    pub sample: u32,
    /// When it matches; `None`: always.
    pub when: Option<Arc<Bound>>,
    /// What it redacts in a payload of the kind.
    pub redact: Box<[Range]>,
}

/// What a rule does, as the bits of [`Step::does`].
pub(super) mod does {
    pub const DRY: u32 = 1;
    pub const DROP: u32 = 2;
    pub const KEEP: u32 = 4;
    pub const TRACE: u32 = 8;
    pub const PRIORITY: u32 = 16;
    pub const LIMIT: u32 = 32;
    pub const SNAPSHOT: u32 = 64;
}

impl Step {
    /// Whether the rule drops an event that it matches.
    fn drops(&self) -> bool {
        self.does & (does::DROP | does::DRY) == does::DROP
    }
}

/// The steps for the events of a kind, or of several. The steps are in as many groups as a mask has bits, in their order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What is asked first.
    prefilter: Prefilter,
    /// The groups that are always looked at.
    always: u64,
    steps: Box<[Step]>,
    /// Steps of a group.
    group: usize,
}

/// The most ranges that are asked one by one. Where there are more, those of a number become one.
const MOST_RANGES: usize = 8;
/// The most words of payloads that are asked one by one.
const MOST_WORDS: usize = 16;

impl Plan {
    /// A plan of these steps, for events of `kind`, if they are all of one.
    pub fn new(steps: Vec<Step>, kind: Option<u32>) -> Result<Self> {
        let mut ways = Ways::default();
        // What cannot match is left out first, so that the groups are of what remains.
        let mut kept = Vec::new();
        kept.try_reserve_exact(steps.len()).map_err(|_| memory::refused(size_of_val(&*steps)))?;
        for mut step in steps {
            let way = way(&step, kind);
            match way {
                Way::Never => continue,
                Way::Always => step.when = None,
                Way::By(_) | Way::Any => {}
            }
            let drops_all = step.drops() && step.when.is_none();
            kept.push((step, way));
            if drops_all {
                break;
            }
        }
        let group = kept.len().div_ceil(64).max(1);
        let mut steps = Vec::new();
        steps.try_reserve_exact(kept.len()).map_err(|_| memory::refused(kept.len() * size_of::<Step>()))?;
        for (at, (step, way)) in kept.into_iter().enumerate() {
            ways.add(&step, way, 1 << (at / group));
            steps.push(step);
        }
        let table = |ids: HashMap<u64, u64>| {
            let bytes = ids.len() * 4 * size_of::<u64>();
            IdTable::new(ids.into_iter()).ok_or_else(|| memory::refused(bytes))
        };
        let tables =
            Tables { kinds: table(ways.kinds)?, nodes: table(ways.nodes)?, traces: table(ways.traces)? };
        Ok(Self {
            prefilter: Prefilter::new(tables, &few(ways.ranges), ways.words, ways.any, ways.drops),
            always: ways.always,
            steps: steps.into_boxed_slice(),
            group,
        })
    }

    /// What is known at once of an event whose kind has no group of its own.
    #[inline(always)]
    pub fn look(&self, event: &Event<'_>) -> Look {
        self.prefilter.look(event)
    }

    /// The kinds that have groups of their own.
    pub fn kinds(&self) -> &IdTable {
        self.prefilter.kinds()
    }

    /// The groups of rules that may match an event; 0: none does.
    #[inline(always)]
    pub fn groups(&self, event: &Event<'_>) -> u64 {
        self.always | self.prefilter.groups(event)
    }

    /// The steps of a group.
    #[inline]
    pub fn steps(&self, group: u32) -> &[Step] {
        let first = group as usize * self.group;
        let end = (first + self.group).min(self.steps.len());
        self.steps.get(first..end).unwrap_or(&[])
    }

    /// The bytes that it takes, without what it shares with others.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.steps) + self.prefilter.bytes()
    }
}

/// By what an event may come to match a step.
enum Way {
    /// It does not.
    Never,
    /// It does.
    Always,
    /// By one of these at least.
    By(Screens),
    /// By anything.
    Any,
}

/// By what an event of the kind may come to match.
fn way(step: &Step, kind: Option<u32>) -> Way {
    let Some(when) = &step.when else { return Way::Always };
    let Some(screens) = when.screens() else { return Way::Any };
    let mut left = Screens { list: Vec::new(), exact: screens.exact };
    for screen in &screens.list {
        match (kind, screen) {
            (Some(kind), Screen::Own(Own::Kind, wanted)) => {
                let has = match wanted {
                    Wanted::Ids(ids) => ids.contains(&kind.into()),
                    Wanted::Range(first, more) => u64::from(kind).wrapping_sub(*first) <= *more,
                };
                match (has, screens.exact) {
                    (true, true) => return Way::Always,
                    (true, false) => return Way::Any,
                    (false, _) => {}
                }
            }
            _ => left.list.push(screen.clone()),
        }
    }
    if left.list.is_empty() { Way::Never } else { Way::By(left) }
}

/// The ways by which groups may come to match.
#[derive(Default)]
struct Ways {
    always: u64,
    kinds: HashMap<u64, u64>,
    nodes: HashMap<u64, u64>,
    traces: HashMap<u64, u64>,
    ranges: Vec<InRange>,
    words: Vec<InWord>,
    /// A step may match whatever there is to see.
    any: bool,
    /// The rule of the step that drops all that has come so far.
    drops: Option<u32>,
}

impl Ways {
    fn add(&mut self, step: &Step, way: Way, group: u64) {
        let screens = match way {
            Way::Never => return,
            Way::By(screens) => screens,
            Way::Always if step.drops() => {
                self.always |= group;
                self.drops = Some(step.rule);
                return;
            }
            Way::Always | Way::Any => {
                self.always |= group;
                self.any = true;
                return;
            }
        };
        for screen in screens.list {
            match screen {
                Screen::Word(word, values) => {
                    // (Only the first look asks words. Whoever asks further looks at the step.)
                    self.always |= group;
                    let drops = (screens.exact && step.drops()).then_some(step.rule);
                    if self.words.len() < MOST_WORDS {
                        self.words.push(InWord { word, values, drops });
                    } else {
                        self.any = true;
                    }
                }
                Screen::Own(own, Wanted::Range(first, more)) => self.range(own, Span { first, more }, group),
                Screen::Own(Own::Kind, Wanted::Ids(ids)) => join(&mut self.kinds, &ids, group),
                Screen::Own(Own::NodeId, Wanted::Ids(ids)) => join(&mut self.nodes, &ids, group),
                Screen::Own(Own::CorrelationId, Wanted::Ids(ids)) => join(&mut self.traces, &ids, group),
                Screen::Own(own, Wanted::Ids(ids)) => {
                    let (least, most) = (ids.iter().min(), ids.iter().max());
                    if let (Some(first), Some(last)) = (least, most) {
                        self.range(own, Span { first: *first, more: last - first }, group);
                    }
                }
            }
        }
    }

    fn range(&mut self, own: Own, values: Span, groups: u64) {
        match self.ranges.iter_mut().find(|known| (known.own, known.values) == (own, values)) {
            Some(known) => known.groups |= groups,
            None => self.ranges.push(InRange { own, values, groups }),
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
                let (values, other) = (&mut known.values, range.values);
                let last =
                    values.first.saturating_add(values.more).max(other.first.saturating_add(other.more));
                values.first = values.first.min(other.first);
                values.more = last - values.first;
                known.groups |= range.groups;
            }
            None => joined.push(range),
        }
    }
    joined
}
