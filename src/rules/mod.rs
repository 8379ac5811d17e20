//! What an event that is offered meets before room for it is looked for: rules, and sampling.
//!
//! The [`Judge`] gives each offer a [`Verdict`] while its producer's busy word is held. It is asked only while there is something to decide. Then a bit of the
//! doorbell's word sends all captures to the slow path. Otherwise a capture does not know of it.
//!
//! A [`Rule`] has a condition and actions. A list of rules comes as [text](text) or as data, and is compiled against what is known of the kinds:
//! a [`RuleSet`] has a plan for each kind for which that makes a difference, and one for all others. [`RuleSet::judge`] follows the plan for an event:
//! it allocates nothing, takes no lock, and looks only at the rules that may match by the event's kind and ids.
//!
//! * [`rule`]: a rule, and which are allowed. [`text`], [`actions`] and [`rate`]: the text of a list. [`file`](mod@file): a text in a file.
//! * [`known`]: what is known of the kinds. [`names`]: whether that is all that a rule names.
//! * [`compile`](mod@compile) and [`plan`]: from a list to plans.
//! * [`event`]: an event that is offered; [`offered`]: its way through the rules, and [`prefilter`] what is known of it at once. [`ruling`]: what the rules say of it.
//! * [`limiter`], [`counts`]: what changes while a set is in force.
//! * [`trigger`]: where rules ask for snapshots.
//! * [`sampling`], [`traces`]: sampling by trace, with weights. [`judge`]: the verdict, from the rules and from sampling.
//!
//! ```text
//! rules  = { rule }             one rule a line; a line that begins with white space goes on with the rule; # begins a comment
//! rule   = [ NAME ":" ] [ "dry" ] action { "," action } [ "if" expression ]
//! action = "keep" [ "trace" ] | "drop" | "sample" rate | "limit" N "/s" [ "burst" M ]
//!        | "priority" | "snapshot" | "redact" field { "," field } | "tag" N
//! rate   = A "/" B | N "%" | fraction          that is exactly 1/N
//! field  = [ KIND "." ] FIELD | "payload" [ "[" A ".." [ B ] "]" ]
//! ```

mod actions;
mod compile;
mod counts;
mod event;
mod file;
mod judge;
mod known;
mod limiter;
mod names;
mod offered;
mod plan;
mod prefilter;
mod rate;
mod rule;
mod ruling;
mod sampled_by_rules;
mod sampling;
mod source;
#[cfg(test)]
mod tests;
mod text;
mod traces;
mod trigger;
mod verdict;

pub use actions::redact;
pub use compile::RuleSet;
pub use counts::RuleCounts;
pub use event::Event;
pub use file::read_file;
pub use judge::{Judge, Rules};
pub use known::Known;
pub use names::State;
pub use prefilter::Look;
pub use rule::{Actions, Fault, Limit, Redact, Rule, check_all};
pub use ruling::{Range, Ranges, Ruling};
pub use sampling::{MAX_WEIGHT, Sampling};
pub use text::{MAX_TEXT, parse};
pub use trigger::{Asked, Trigger};
pub use verdict::{Decision, Fate, Verdict};

/// The most rules of a set.
pub const MAX_RULES: usize = 10_000;
/// The most bytes in the name of a rule.
pub const MAX_NAME: usize = 63;
/// How deep parentheses and `not` may be nested in a condition.
pub const MAX_DEPTH: usize = 20;
/// The most ids in the sets of all rules together.
pub const MAX_IDS: usize = 262_144;
/// The most fields that a rule may redact.
pub const MAX_REDACTED: usize = 8;
/// The most bytes of a payload that a rule compares with a prefix.
pub const MAX_PREFIX: usize = 4096;
/// The most events in a second, and in a burst, that a limit may be.
pub const MAX_LIMIT: u64 = 1_000_000_000;
/// The number of tags.
pub const TAGS: u32 = 8;
