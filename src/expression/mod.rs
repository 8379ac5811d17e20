//! Expressions that choose events: `size > 1 MiB and not (site = 0 or kind_name = "free")`.
//!
//! An [`Expression`] is parsed once. It is bound to each kind, with the kind's definition: names then are places in the payload, and what is
//! the same for all events of the kind is decided. [`Bound::matches`] answers for an event; it allocates nothing, and reads no byte behind
//! the payload.
//!
//! **Values.** A comparison with a field that the event does not have is false, and so is one of values that cannot be compared, a text and a number
//! say. `not` inverts: there is no third value. Numbers are compared by their value, whatever their types; texts and bytes byte by byte. The value
//! of an enum, and the kind, is both its number and its name.
//!
//! ```text
//! or          = and { "or" and }
//! and         = not { "and" not }
//! not         = "not" not | "(" or ")" | comparison
//! comparison  = value [ ( "=" | "!=" | "<" | "<=" | ">" | ">=" | "contains" ) value | "in" "(" value { "," value } ")" ]
//! value       = name | number | text | bytes | "true" | "false"
//! name        = [ kind "." ] field | own
//! number      = integer, 0x integer or float, with a unit: KiB MiB GiB TiB kB MB GB TB, ns us ms s min h (nanoseconds)
//! text        = "…" or '…', with \" \' \\ \n \t \xHH        bytes = x"HH…"
//! ```
//! `&&`, `||`, `!` and `==` are `and`, `or`, `not` and `=`. A name alone is true if it is there and is not 0, false or empty.

mod bind;
mod compare;
mod ids;
mod lexer;
mod node;
mod number;
mod own;
mod parser;
mod place;
mod program;
mod screen;
mod subject;
#[cfg(test)]
mod tests;
mod tree;
mod word;

pub use bind::Bound;
pub use ids::{FewIds, IdTable};
pub use lexer::Problem;
pub use own::Own;
pub use screen::{Screen, Screens, Wanted};
pub use subject::Subject;
pub use tree::{Compared, MAX_DEPTH, MAX_LEN};
pub use word::{Span, Word};

use crate::kinds::Definition;
use place::Of;
use std::sync::Arc;
use tree::{Own64, Term, Tree, visit, visit_pairs, visit_texts};

/// An expression. See the [module](super).
#[derive(Clone, Debug, PartialEq)]
pub struct Expression(Tree);

impl Expression {
    /// Parses a text.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        Self::parse_within(text, MAX_DEPTH)
    }

    /// Parses a text in which parentheses and `not` are nested at most so deep.
    pub fn parse_within(text: &str, depth: usize) -> Result<Self, Problem> {
        parser::parse(text, depth).map(Self)
    }

    /// Binds the expression to a kind: to its number, its name and its definition, as far as they are known.
    pub fn bind(&self, kind: u32, name: Option<&[u8]>, definition: Option<&Definition>) -> Bound {
        Bound::new(&self.0, Of::Kind(kind, name, definition))
    }

    /// Binds the expression to all kinds of which neither a name nor a definition is known: the kind is read from each event, as
    /// [`Own::Kind`].
    pub fn bind_unknown(&self) -> Bound {
        Bound::new(&self.0, Of::Unknown)
    }

    /// Chooses the events whose own number is one of these.
    pub fn one_of(own: Own, ids: Arc<IdTable>) -> Self {
        Self(Tree::Own64(own, Own64::OneOf(ids)))
    }

    /// Chooses the events whose own number is at least `least` and at most `most`, which is not less.
    pub fn between(own: Own, least: u64, most: u64) -> Self {
        Self(Tree::Own64(own, Own64::Between(least, most)))
    }

    /// Chooses the events whose payload begins with these bytes.
    pub fn payload_begins(bytes: &[u8]) -> Self {
        Self(Tree::Begins(bytes.to_vec()))
    }

    /// Chooses the events that all of these choose. `None`: there are none of them.
    pub fn all(mut parts: Vec<Self>) -> Option<Self> {
        match parts.len() {
            0 | 1 => parts.pop(),
            _ => Some(Self(Tree::And(parts.into_iter().map(|part| part.0).collect()))),
        }
    }

    /// The names of fields in the expression, each with the name of a kind if it has one in front. Names of what every event has are among them only where a
    /// field may be meant: without the underscore.
    pub fn fields(&self) -> Vec<(Option<&str>, &str)> {
        let mut found = Vec::new();
        visit(&self.0, &mut |term| {
            if let Term::Field { kind, field } = term {
                found.push((kind.as_deref(), field.as_str()));
            }
        });
        found
    }

    /// The fields that are compared with texts for equality (`=`, `!=`, `in`). Where such a field is an enum, the text is meant to be one of its names.
    pub fn compared_texts(&self) -> Vec<Compared<'_>> {
        let mut found = Vec::new();
        visit_texts(&self.0, &mut |term, text| {
            if let Term::Field { kind, field } = term {
                found.push((kind.as_deref(), field.as_str(), text));
            }
        });
        found
    }

    /// What it asks of every event by the name that no field has, with an underscore: `_time`.
    pub fn own(&self) -> Vec<Own> {
        let mut found = Vec::new();
        visit(&self.0, &mut |term| {
            if let Term::Own(own) = term {
                found.push(*own);
            }
        });
        found
    }

    /// How many ids there are in the sets that were given as data.
    pub fn ids(&self) -> usize {
        self.0.ids()
    }

    /// Whether the answer may depend on the name of the kind.
    pub fn names_kind(&self) -> bool {
        let own = |term: &Term| match term {
            Term::Own(own) => Some(*own),
            Term::Field { kind: None, field } => Own::named(field),
            _ => None,
        };
        let mut names = false;
        visit_pairs(&self.0, &mut |left, right| {
            let is_number = |term: &Term| matches!(term, Term::Integer(_) | Term::Float(_) | Term::Bool(_));
            let pairs = [(Some(left), right), (right, Some(left))];
            names |= pairs.into_iter().any(|(term, other)| match term.and_then(own) {
                Some(Own::KindName) => true,
                Some(Own::Kind) => other.is_some_and(|other| !is_number(other)),
                _ => false,
            });
        });
        names
    }

    /// The texts that the kind is compared with for equality. They are meant to be names of kinds.
    pub fn kind_names(&self) -> Vec<&[u8]> {
        let mut found = Vec::new();
        visit_texts(&self.0, &mut |term, text| {
            let own = match term {
                Term::Own(own) => Some(*own),
                Term::Field { kind: None, field } => Own::named(field),
                _ => None,
            };
            if matches!(own, Some(Own::Kind | Own::KindName)) {
                found.push(text);
            }
        });
        found
    }
}
