//! An expression that is bound to a kind, and its answer for an event.

use super::node::Node;
use super::place::{Of, Place};
use super::program::Program;
use super::screen::{Screen, Screens, screens};
use super::subject::Subject;
use super::tree::Tree;
use super::word::{Span, Word};

/// An expression that is bound to a kind.
#[derive(Clone, Debug)]
pub struct Bound {
    program: Program,
    /// The word of the payload that decides, if it is one alone. A payload that ends before it is for the program.
    word: Option<(Word, Span)>,
    screens: Option<Screens>,
}

impl Bound {
    pub(super) fn new(tree: &Tree, of: Of<'_>) -> Self {
        let node = Node::new(tree, &|term| Place::new(term, of));
        let screens = screens(&node);
        let word = match &screens {
            Some(Screens { list, exact: true }) => match **list {
                [Screen::Word(word, values)] => Some((word, values)),
                _ => None,
            },
            _ => None,
        };
        Self { word, screens, program: Program::new(node) }
    }

    /// What an event must have to be chosen. `None`: nothing is known.
    pub fn screens(&self) -> Option<&Screens> {
        self.screens.as_ref()
    }

    /// The answer, if it is the same for all events of the kind.
    pub fn always(&self) -> Option<bool> {
        self.program.always()
    }

    /// Whether the event is one that the expression chooses. The event is of the kind that the expression is bound to.
    #[inline]
    pub fn matches(&self, subject: &impl Subject) -> bool {
        if let Some((word, values)) = self.word
            && let Some(value) = word.read(subject.payload())
        {
            return values.has(value);
        }
        self.program.holds(subject)
    }
}
