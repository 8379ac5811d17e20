//! An expression that is bound to a kind, and its answer for an event.

use super::node::Node;
use super::place::{Of, Place};
use super::program::Program;
use super::screen::{Screen, screens};
use super::subject::Subject;
use super::tree::Tree;

/// An expression that is bound to a kind.
#[derive(Clone, Debug)]
pub struct Bound {
    program: Program,
    screens: Option<Vec<Screen>>,
}

impl Bound {
    pub(super) fn new(tree: &Tree, of: Of<'_>) -> Self {
        let node = Node::new(tree, &|term| Place::new(term, of));
        Self { screens: screens(&node), program: Program::new(node) }
    }

    /// What own numbers an event must have to be chosen: each choice is by one of these, at least. `None`: nothing is known.
    pub fn screens(&self) -> Option<&[Screen]> {
        self.screens.as_deref()
    }

    /// The answer, if it is the same for all events of the kind.
    pub fn always(&self) -> Option<bool> {
        self.program.always()
    }

    /// Whether the event is one that the expression chooses. The event is of the kind that the expression is bound to.
    #[inline]
    pub fn matches(&self, subject: &impl Subject) -> bool {
        self.program.holds(subject)
    }
}
