//! The rules of a pipeline: they are compiled against what is known of the kinds, and anew when more becomes known.

use super::Pool;
use crate::event::PIPELINE_KIND_KIND_NAME;
use crate::facts::Fact;
use crate::kinds::{Definition, Definitions};
use crate::platform::{memory, time};
use crate::rules::{Known, Rule, RuleCounts, RuleSet, State};
use crate::status::{Error, PIPELINE_ERR_NOT_FOUND, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// What is known of a rule.
#[derive(Clone, Debug)]
pub struct RuleMetrics {
    /// Its name; may be empty.
    pub name: String,
    /// The line that it began in; 0: it was not from a text.
    pub line: u32,
    /// It only counts.
    pub dry: bool,
    /// It drops events, whether dry or not.
    pub drops: bool,
    /// It asks for snapshots, unless it is dry.
    pub asks: bool,
    /// Why it is not in effect; `None`: it is.
    pub waits_for: Option<String>,
    /// What it has counted.
    pub counts: RuleCounts,
}

/// Names of kinds, each the last that was given.
type Names<'a> = HashMap<u32, &'a [u8]>;

impl Pool {
    /// Puts a list of rules in force in place of the one before. It is refused as a whole, or takes effect as a whole.
    pub fn set_rules(&self, rules: Vec<Rule>, dry: bool) -> Result<()> {
        if rules.iter().any(|rule| rule.actions.trace) {
            let traces = self.lock().config.sampling_traces;
            self.intake().judge.sampling.prepare_table(traces)?;
        }
        // Held until the rules are in force: whoever adds to what is known compiles them anew after that.
        let definitions = self.definitions.lock();
        self.rings.ready_for_rules()?;
        if rules.is_empty() {
            return self.put_in_force(None);
        }
        let names = self.kind_names()?;
        let known = Known { definitions: &definitions, more: None, names: &names };
        let set = RuleSet::new(rules, dry, self.rings.counted().len(), time::now_ns(), known)?;
        self.put_in_force(Some(Arc::new(set)))
    }

    /// The definitions are locked. Before a rule samples out an event, its weight is known, so that a trace that is promoted later is known to
    /// be cut.
    fn put_in_force(&self, set: Option<Arc<RuleSet>>) -> Result<()> {
        let sampling = &self.intake().judge.sampling;
        let (before, weight) =
            (sampling.weight_of_rules(), set.as_ref().map_or(1, |set| set.largest_weight()));
        sampling.note_rules(before.max(weight), time::now_ns());
        let done = self.rings.set_rules(set);
        sampling.note_rules(if done.is_ok() { weight } else { before }, time::now_ns());
        done
    }

    /// How many rules there are.
    pub fn rule_count(&self) -> usize {
        self.rings.rules().map_or(0, |set| set.rules().len())
    }

    /// What is known of a rule.
    pub fn rule_metrics(&self, index: usize) -> Result<RuleMetrics> {
        let set = self.rings.rules();
        let count = set.as_ref().map_or(0, |set| set.rules().len());
        let found = set.as_ref().and_then(|set| Some((set, set.rules().get(index)?)));
        let (set, rule) = found.ok_or_else(|| {
            let text = format!("index: there are {count} rules, {index} given");
            Error::new(PIPELINE_ERR_NOT_FOUND, text)
        })?;
        Ok(RuleMetrics {
            name: rule.name.clone(),
            line: rule.line,
            dry: set.is_dry(index),
            drops: rule.actions.drop,
            asks: rule.actions.snapshot,
            waits_for: match set.state(index) {
                Some(State::Inactive(reason)) => Some(reason.clone()),
                _ => None,
            },
            counts: set.counts_of(index),
        })
    }

    /// Gives a kind a name. Rules that name the kind begin with it, or end. `false`: there are rules, so the stack must be `large`.
    pub fn name_kind(&self, kind: u32, name: &[u8], large: bool) -> Result<bool> {
        let fact = Fact::kind_name(kind, name)?;
        let definitions = self.definitions.lock();
        let renewed = match self.rings.rules() {
            Some(_) if !large => return Ok(false),
            Some(set) if set.names_kinds() => Some(self.renewed(&set, &definitions, None, (kind, name))?),
            _ => None,
        };
        self.add_fact(fact)?;
        self.take_renewed(renewed)?;
        Ok(true)
    }

    /// The rules as they are once a kind is defined. The definitions are locked.
    pub(super) fn rules_with(
        &self,
        definitions: &Definitions,
        new: &Definition,
    ) -> Result<Option<Arc<RuleSet>>> {
        let Some(set) = self.rings.rules() else { return Ok(None) };
        self.renewed(&set, definitions, Some(new), (new.kind, new.name.as_bytes())).map(Some)
    }

    /// Puts rules in force that were compiled anew. The definitions are locked since.
    pub(super) fn take_renewed(&self, renewed: Option<Arc<RuleSet>>) -> Result<()> {
        if renewed.is_some() { self.rings.set_rules(renewed) } else { Ok(()) }
    }

    fn renewed(
        &self,
        set: &RuleSet,
        definitions: &Definitions,
        more: Option<&Definition>,
        (kind, name): (u32, &[u8]),
    ) -> Result<Arc<RuleSet>> {
        // What may fail comes before anything is made known.
        self.rings.ready_for_rules()?;
        let mut names = self.kind_names()?;
        names.insert(kind, name);
        set.renewed(Known { definitions, more, names: &names }).map(Arc::new)
    }

    fn kind_names<'a>(&'a self) -> Result<Names<'a>> {
        let mut names = Names::new();
        let count = self.facts.count();
        names.try_reserve(count + 1).map_err(|_| memory::refused(count * size_of::<(u32, &[u8])>()))?;
        for fact in self.facts.since(0).filter(|fact| fact.kind == PIPELINE_KIND_KIND_NAME) {
            names.insert(fact.node_id as u32, &fact.payload);
        }
        Ok(names)
    }
}
