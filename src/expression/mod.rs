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
mod lexer;
mod own;
mod parser;
#[cfg(test)]
mod tests;
mod tree;

pub use bind::{Bound, Subject};
pub use lexer::Problem;
pub use own::Own;
pub use tree::{Compared, MAX_DEPTH, MAX_LEN};

use crate::kinds::Definition;
use tree::{Term, Tree, visit, visit_texts};

/// An expression. See the [module](super).
#[derive(Clone, Debug, PartialEq)]
pub struct Expression(Tree);

impl Expression {
    /// Parses a text.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        parser::parse(text).map(Self)
    }

    /// Binds the expression to a kind: to its number, its name and its definition, as far as they are known.
    pub fn bind(&self, kind: u32, name: Option<&[u8]>, definition: Option<&Definition>) -> Bound {
        Bound::new(&self.0, kind, name, definition)
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
        visit_texts(&self.0, &mut |compared| found.push(compared));
        found
    }
}
