//! From a list of rules to a set: a plan for each kind for which its name or its definition makes a difference, and one for all others.

use super::counts::{Counts, RuleCounts};
use super::known::Known;
use super::limiter::Limiter;
use super::names::{Index, Not, State};
use super::plan::{Plan, Step, does};
use super::rule::{Actions, Fault, Redact, Rule, check_all};
use super::ruling::Range;
use super::{MAX_IDS, MAX_RULES};
use crate::expression::{Bound, IdTable};
use crate::kinds::{Definition, Length};
use crate::platform::memory;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most bytes of all plans of a set.
const MAX_PLAN_BYTES: usize = 64 << 20;

/// The most kinds that get plans because rules name them, and the most bytes of those plans.
const MAX_ASKED: usize = 64;
const MAX_ASKED_BYTES: usize = 4 << 20;

/// How many of the first kinds find their plans without a search.
const LOW: usize = 256;

/// What a rule does, as far as it is the same for all kinds.
#[derive(Debug)]
pub(super) struct Act {
    /// As [`Step::does`].
    does: u32,
    tags: u32,
    /// At least 1.
    sample: u32,
    pub limiter: Option<Limiter>,
}

impl Act {
    fn new(actions: &Actions, dry: bool, now_ns: u64) -> Self {
        let bit = |is: bool, bit| if is { bit } else { 0 };
        Self {
            does: bit(dry, does::DRY)
                | bit(actions.drop, does::DROP)
                | bit(actions.keep, does::KEEP)
                | bit(actions.trace, does::TRACE)
                | bit(actions.priority, does::PRIORITY)
                | bit(actions.limit.is_some(), does::LIMIT)
                | bit(actions.snapshot, does::SNAPSHOT),
            tags: actions.tags,
            sample: actions.sample.max(1),
            limiter: actions.limit.map(|limit| Limiter::new(limit, now_ns)),
        }
    }

    fn is_dry(&self) -> bool {
        self.does & does::DRY != 0
    }
}

/// What stays when a set is compiled anew because more is known of the kinds.
#[derive(Debug)]
struct Shared {
    rules: Vec<Rule>,
    acts: Box<[Act]>,
    counts: Counts,
    /// The conditions for kinds of which nothing is known; `None`: there is none.
    unknown: Vec<Option<Arc<Bound>>>,
    /// Whether the answer of a condition may depend on the name of the kind.
    names_kind: Vec<bool>,
}

/// A list of rules, ready to be followed.
#[derive(Debug)]
pub struct RuleSet {
    shared: Arc<Shared>,
    /// By a kind below [`LOW`], one more than the index of its plan; 0: it has none of its own.
    low: Box<[u32; LOW]>,
    /// The same for all other kinds.
    high: Option<IdTable>,
    plans: Box<[Plan]>,
    /// For all other kinds.
    unknown: Plan,
    /// The kinds that have a plan of their own, or groups in that of all others, by their low bits.
    special: [u64; LOW / 64],
    states: Box<[State]>,
}

impl RuleSet {
    /// Compiles a list of rules. `dry`: all of them only count. `producers`: how many there may be; `now_ns`: the time from which limits count.
    pub fn new(rules: Vec<Rule>, dry: bool, producers: usize, now_ns: u64, known: Known<'_>) -> Result<Self> {
        let invalid = |fault: Fault| Error::new(PIPELINE_ERR_INVALID, fault.to_string());
        if rules.len() > MAX_RULES {
            let text = format!("at most {MAX_RULES} rules allowed, {} given", rules.len());
            return Err(Error::new(PIPELINE_ERR_LIMIT, text));
        }
        check_all(&rules).map_err(invalid)?;
        let mut made = rules.iter().map(|rule| Act::new(&rule.actions, dry || rule.dry, now_ns));
        let mut acts = reserved(rules.len())?;
        acts.extend(made.by_ref());
        drop(made);
        let (mut unknown, mut names_kind) = (reserved(rules.len())?, reserved(rules.len())?);
        let mut ids = 0;
        for rule in &rules {
            memory::check()?;
            ids += rule.condition.as_ref().map_or(0, |condition| condition.ids());
            unknown.push(rule.condition.as_ref().map(|condition| Arc::new(condition.bind_unknown())));
            names_kind.push(rule.condition.as_ref().is_some_and(|condition| condition.names_kind()));
        }
        if ids > MAX_IDS {
            let text = format!("at most {MAX_IDS} ids allowed in the sets of all rules, {ids} given");
            return Err(Error::new(PIPELINE_ERR_LIMIT, text));
        }
        let counts = Counts::new(rules.len(), producers).ok_or_else(|| memory::refused(rules.len() * 128))?;
        let shared = Shared { rules, acts: acts.into_boxed_slice(), counts, unknown, names_kind };
        bind(&Arc::new(shared), known, true)
    }

    /// Compiles the same rules anew, because more is known of the kinds. The counts go on. A rule that names what cannot be is not in effect.
    pub fn renewed(&self, known: Known<'_>) -> Result<Self> {
        bind(&self.shared, known, false)
    }

    /// The plan for the events of a kind.
    #[inline(always)]
    pub(super) fn plan(&self, kind: u32) -> &Plan {
        self.own_plan(kind).unwrap_or(&self.unknown)
    }

    /// The same, if the kind has one of its own.
    #[inline(always)]
    pub(super) fn own_plan(&self, kind: u32) -> Option<&Plan> {
        let number = match (self.low.get(kind as usize), &self.high) {
            (Some(number), _) => *number,
            // (No entry is 0, which is the answer for a kind without one.)
            (None, Some(kinds)) => kinds.mask(kind.into()) as u32,
            (None, None) => 0,
        };
        self.plans.get((number as usize).wrapping_sub(1))
    }

    /// Whether the kind may make a difference.
    #[inline(always)]
    pub(super) fn is_special(&self, kind: u32) -> bool {
        let bit = kind as usize % LOW;
        self.special[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// The plan for the events of all kinds that have none of their own.
    #[inline(always)]
    pub(super) fn of_others(&self) -> &Plan {
        &self.unknown
    }

    #[inline]
    pub(super) fn act(&self, rule: u32) -> Option<&Act> {
        self.shared.acts.get(rule as usize)
    }

    #[inline]
    pub(super) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Whether it makes a difference which name a kind has.
    pub fn names_kinds(&self) -> bool {
        self.shared.names_kind.iter().any(|names| *names)
    }

    /// The largest weight at which its rules sample; 1: they do not.
    pub fn largest_weight(&self) -> u32 {
        let sampling = self.shared.acts.iter().filter(|act| !act.is_dry());
        sampling.map(|act| act.sample).max().unwrap_or(1)
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.shared.rules
    }

    /// Whether a rule only counts, by itself or because the set does.
    pub fn is_dry(&self, rule: usize) -> bool {
        self.shared.acts.get(rule).is_some_and(Act::is_dry)
    }

    /// Whether a rule is in effect.
    pub fn state(&self, rule: usize) -> Option<&State> {
        self.states.get(rule)
    }

    /// What a rule has counted.
    pub fn counts_of(&self, rule: usize) -> RuleCounts {
        self.shared.counts.of(rule)
    }
}

fn reserved<T>(count: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| memory::refused(count * size_of::<T>()))?;
    Ok(list)
}

/// Binds the rules to the kinds. `strict`: a rule that names what cannot be is refused.
fn bind(shared: &Arc<Shared>, known: Known<'_>, strict: bool) -> Result<RuleSet> {
    let index = Index::new(known);
    let mut states = reserved(shared.rules.len())?;
    for (at, rule) in shared.rules.iter().enumerate() {
        states.push(match index.check(rule) {
            Ok(()) => State::Active,
            Err(Not::Ever(reason)) if strict => {
                return Err(Error::new(PIPELINE_ERR_INVALID, Fault::of(at, rule, reason).to_string()));
            }
            Err(Not::Yet(reason) | Not::Ever(reason)) => State::Inactive(reason),
        });
    }
    let unknown = Plan::new(steps(shared, &states, None)?.0, None)?;
    let (mut plans, mut entries, mut bytes) = (Vec::new(), Vec::new(), unknown.bytes());
    let defined = known.all().map(|definition| definition.kind);
    // Where rules name few kinds, each of those has a plan of its own, with only the rules that may match it.
    let asked = unknown.kinds();
    let few = asked.len() <= MAX_ASKED && asked.len() * unknown.bytes() <= MAX_ASKED_BYTES;
    let asked = asked.iter().filter(|_| few).filter_map(|kind| u32::try_from(kind).ok());
    let asked: BTreeSet<u32> = asked.collect();
    let kinds: BTreeSet<u32> =
        defined.chain(known.names.keys().copied()).chain(asked.iter().copied()).collect();
    for kind in kinds {
        memory::check()?;
        let definition = known.of(kind);
        let name = known.names.get(&kind).copied();
        let name = name.or_else(|| definition.map(|definition| definition.name.as_bytes()));
        let (steps, is_own) = steps(shared, &states, Some((kind, name, definition)))?;
        if !is_own && !asked.contains(&kind) {
            continue;
        }
        let plan = Plan::new(steps, Some(kind))?;
        bytes += plan.bytes();
        if bytes > MAX_PLAN_BYTES {
            let rules = shared.rules.len();
            return Err(Error::new(
                PIPELINE_ERR_LIMIT,
                format!(
                    "{rules} rules that name fields or kinds take more than {MAX_PLAN_BYTES} bytes for the kinds that are known"
                ),
            ));
        }
        plans.push(plan);
        entries.push((u64::from(kind), plans.len() as u64));
    }
    let mut special = [0; LOW / 64];
    for kind in entries.iter().map(|(kind, _)| *kind).chain(unknown.kinds().iter()) {
        let bit = kind as usize % LOW;
        special[bit / 64] |= 1 << (bit % 64);
    }
    let mut low = zeroed()?;
    let mut high = Vec::new();
    for (kind, number) in entries {
        match low.get_mut(kind as usize) {
            Some(entry) => *entry = number as u32,
            None => high.push((kind, number)),
        }
    }
    let table = IdTable::new(high.iter().copied()).ok_or_else(|| memory::refused(high.len() * 32))?;
    Ok(RuleSet {
        shared: Arc::clone(shared),
        low,
        high: (!table.is_empty()).then_some(table),
        special,
        plans: plans.into_boxed_slice(),
        unknown,
        states: states.into_boxed_slice(),
    })
}

/// A table for the first kinds in which none has a plan.
fn zeroed() -> Result<Box<[u32; LOW]>> {
    let mut list = reserved(LOW)?;
    list.resize(LOW, 0);
    list.into_boxed_slice().try_into().map_err(|_| memory::refused(LOW * size_of::<u32>()))
}

type Kind<'a> = (u32, Option<&'a [u8]>, Option<&'a Definition>);

/// The steps for a kind, or for those of which nothing is known; and whether the former are not the same as the latter.
fn steps(shared: &Shared, states: &[State], kind: Option<Kind<'_>>) -> Result<(Vec<Step>, bool)> {
    let (mut steps, mut is_own) = (reserved(shared.rules.len())?, false);
    for (at, (rule, state)) in shared.rules.iter().zip(states).enumerate() {
        if *state != State::Active {
            continue;
        }
        let general = shared.unknown.get(at).cloned().flatten();
        let (when, own_condition) = match (&rule.condition, kind) {
            (Some(condition), Some((number, name, definition)))
                if (shared.names_kind[at] && name.is_some()) || mentions_field(rule, definition) =>
            {
                let bound = condition.bind(number, name, definition);
                // (Where it is as for all others, it needs no plan of its own.)
                let same = general
                    .as_ref()
                    .is_some_and(|general| bound.always().is_some() && bound.always() == general.always());
                (Some(Arc::new(bound)), !same)
            }
            _ => (general, false),
        };
        let redact = ranges(rule, kind.and_then(|(_, _, definition)| definition));
        let fields = rule.actions.redact.iter().any(|part| matches!(part, Redact::Field { .. }));
        is_own |= own_condition || (fields && redact.len() > ranges(rule, None).len());
        let when = match when.as_ref().and_then(|when| when.always()) {
            Some(false) => continue,
            Some(true) => None,
            None => when,
        };
        let Some(Act { does, tags, sample, .. }) = shared.acts.get(at) else { continue };
        steps.push(Step { rule: at as u32, does: *does, tags: *tags, sample: *sample, when, redact });
    }
    Ok((steps, is_own))
}

/// Whether the condition of a rule names a field that the kind has.
fn mentions_field(rule: &Rule, definition: Option<&Definition>) -> bool {
    let (Some(condition), Some(definition)) = (&rule.condition, definition) else { return false };
    condition.fields().into_iter().any(|(kind, field)| {
        kind.is_none_or(|kind| definition.name.eq_ignore_ascii_case(kind))
            && definition.field_named(field).is_some()
    })
}

/// What a rule redacts in a payload of the kind.
fn ranges(rule: &Rule, definition: Option<&Definition>) -> Box<[Range]> {
    let of = |part: &Redact| match part {
        Redact::Payload(start, end) => Some(Range { start: *start, end: *end }),
        Redact::Field { kind, field } => {
            let definition = definition?;
            if kind.as_ref().is_some_and(|kind| !definition.name.eq_ignore_ascii_case(kind)) {
                return None;
            }
            let field = definition.fields.get(definition.field_named(field)?)?;
            let end = match field.length {
                Length::Fixed(bytes) => field.offset.saturating_add(bytes),
                Length::Rest => u32::MAX,
            };
            Some(Range { start: field.offset, end })
        }
    };
    rule.actions.redact.iter().filter_map(of).collect()
}
