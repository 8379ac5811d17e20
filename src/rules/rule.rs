//! A rule, and which rules are allowed.

use super::{MAX_LIMIT, MAX_NAME, MAX_REDACTED, MAX_RULES, MAX_WEIGHT};
use crate::expression::Expression;
use std::collections::HashMap;
use std::fmt;

/// A rule: what becomes of the events that its condition chooses.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Its name; may be empty.
    pub name: String,
    /// The line that it begins in, from 1; 0: it is not from a text.
    pub line: u32,
    /// It only counts.
    pub dry: bool,
    /// What is done.
    pub actions: Actions,
    /// Which events it is for; `None`: all.
    pub condition: Option<Expression>,
}

/// What a rule does with an event, in the order of the fields. `drop`, and `keep`, end the way of the event through the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// The event is dropped.
    pub drop: bool,
    /// What exceeds this rate is dropped.
    pub limit: Option<Limit>,
    /// One of so many is kept. 0: none of this.
    pub sample: u32,
    /// The event is a priority one.
    pub priority: bool,
    /// A snapshot is asked for.
    pub snapshot: bool,
    /// Bit N - 1 for the tag N.
    pub tags: u32,
    /// What is zeroed in the copy.
    pub redact: Vec<Redact>,
    /// The event is kept: no later rule sees it, and it is not sampled.
    pub keep: bool,
    /// With `keep`: from here on the whole trace is.
    pub trace: bool,
}

/// The rate of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Events in a second.
    pub per_second: u64,
    /// Events that may come at once after a pause.
    pub burst: u64,
}

/// A part of the payload that is zeroed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redact {
    /// A field, of a kind with that name if there is one.
    Field {
        /// The name of the kind.
        kind: Option<String>,
        /// The name of the field.
        field: String,
    },
    /// Bytes of every payload: from the first up to the last, which is not included.
    Payload(u32, u32),
}

/// Why a list of rules is refused: which rule, where, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The index of the rule, and its name.
    pub rule: Option<(usize, String)>,
    /// Line and column in the text, each from 1.
    pub place: Option<(u32, usize)>,
    /// What is wrong.
    pub reason: String,
}

impl Fault {
    /// A fault of a rule.
    pub fn of(index: usize, rule: &Rule, reason: impl Into<String>) -> Self {
        let place = (rule.line != 0).then_some((rule.line, 1));
        Self { rule: Some((index, rule.name.clone())), place, reason: reason.into() }
    }

    /// A fault of the list.
    pub fn list(reason: impl Into<String>) -> Self {
        Self { rule: None, place: None, reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        match &self.rule {
            Some((index, name)) if name.is_empty() => write!(f, "rule {}: ", index + 1)?,
            Some((index, name)) => write!(f, "rule {} ({name}): ", index + 1)?,
            None => {}
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Fault {}

/// Whether this list of rules is allowed. What depends on the kinds is not looked at.
pub fn check_all(rules: &[Rule]) -> Result<(), Fault> {
    if rules.len() > MAX_RULES {
        return Err(Fault::list(format!("at most {MAX_RULES} rules allowed, {} given", rules.len())));
    }
    let mut names = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        rule.check().map_err(|reason| Fault::of(index, rule, reason))?;
        if rule.name.is_empty() {
            continue;
        }
        if let Some(other) = names.insert(&rule.name, index) {
            return Err(Fault::of(index, rule, format!("rule {} has the same name", other + 1)));
        }
    }
    Ok(())
}

impl Rule {
    /// Whether the rule is allowed by itself. The error is the reason why not.
    pub fn check(&self) -> Result<(), String> {
        if let Some(why) = no_name(&self.name) {
            return Err(format!("name: {why}"));
        }
        self.actions.check()
    }
}

impl Actions {
    fn check(&self) -> Result<(), String> {
        let Self { drop, limit, sample, priority, snapshot, tags, redact, keep, trace } = self;
        let others =
            limit.is_some() || *sample != 0 || *priority || *snapshot || *tags != 0 || !redact.is_empty();
        if !drop && !keep && !others {
            return Err(format!("an action is missing; there are {ACTIONS}"));
        }
        if *drop && (*keep || others) {
            return Err("drop stands alone: a dropped event has no use for another action".into());
        }
        if *keep && *sample != 0 {
            return Err("keep and sample exclude each other: a kept event is not sampled".into());
        }
        if *trace && !keep {
            return Err("trace: only with keep".into());
        }
        if *sample > MAX_WEIGHT {
            return Err(format!("sample: 1/1 to 1/{MAX_WEIGHT} allowed, 1/{sample} given"));
        }
        if let Some(Limit { per_second, burst }) = limit {
            for (what, given) in [("limit", per_second), ("burst", burst)] {
                if !(1..=MAX_LIMIT).contains(given) {
                    return Err(format!("{what}: 1 to {MAX_LIMIT} allowed, {given} given"));
                }
            }
        }
        if redact.len() > MAX_REDACTED {
            return Err(format!("redact: at most {MAX_REDACTED} fields allowed, {} given", redact.len()));
        }
        for part in redact {
            if let Redact::Payload(first, end) = part
                && first >= end
            {
                return Err(format!("redact: payload[{first}..{end}] is empty"));
            }
        }
        Ok(())
    }
}

/// The actions, for messages.
pub(super) const ACTIONS: &str = "keep drop sample limit priority redact snapshot tag";

/// Why a text is no name of a rule.
fn no_name(name: &str) -> Option<String> {
    if name.len() > MAX_NAME {
        return Some(format!("at most {MAX_NAME} bytes allowed, {} given", name.len()));
    }
    let known = |at: usize, c: char| {
        c.is_ascii_alphabetic() || c == '_' || (at > 0 && (c.is_ascii_digit() || matches!(c, '-' | '.')))
    };
    (!name.char_indices().all(|(at, c)| known(at, c)))
        .then(|| format!("a letter, then letters, digits and _ - . expected, {name:?} given"))
}
