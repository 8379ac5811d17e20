//! The parts of a bound expression.

use super::compare::{Operand, holds};
use super::number::{self, Short, Test};
use super::place::Place;
use super::subject::Subject;
use super::tree::{Operator, Own64, Term, Tree};

/// A part of a bound expression.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Always(bool),
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Ask(Question),
}

impl From<Short> for Node {
    fn from(short: Short) -> Self {
        match short {
            Short::Test(test) => Self::Ask(Question::Test(test)),
            Short::Never => Self::Always(false),
        }
    }
}

/// What is asked of an event.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// A comparison of a number with constants.
    Test(Test),
    Compare(Place, Operator, Place),
    In(Place, Vec<Place>),
    Truth(Place),
    /// The payload begins with these bytes.
    Begins(Vec<u8>),
}

impl Question {
    #[inline]
    pub fn holds(&self, subject: &impl Subject) -> bool {
        match self {
            Self::Test(test) => test.holds(subject),
            _ => self.holds_slow(subject),
        }
    }

    #[inline(never)]
    fn holds_slow(&self, subject: &impl Subject) -> bool {
        let equal = |left, place: &Place| {
            place.value(subject).is_some_and(|right| holds(left, Operator::Equal, right))
        };
        match self {
            Self::Test(test) => test.holds(subject),
            Self::Compare(left, operator, right) => match (left.value(subject), right.value(subject)) {
                (Some(left), Some(right)) => holds(left, *operator, right),
                _ => false,
            },
            Self::In(place, list) => {
                place.value(subject).is_some_and(|left| list.iter().any(|place| equal(left, place)))
            }
            Self::Truth(place) => place.value(subject).is_some_and(Operand::truth),
            Self::Begins(bytes) => subject.payload().starts_with(bytes),
        }
    }
}

impl Node {
    pub fn new(tree: &Tree, place: &impl Fn(&Term) -> Place) -> Self {
        match tree {
            Tree::Or(parts) => Self::join(parts, place, true),
            Tree::And(parts) => Self::join(parts, place, false),
            Tree::Not(part) => match Self::new(part, place) {
                Self::Always(value) => Self::Always(!value),
                node => Self::Not(Box::new(node)),
            },
            Tree::Compare(left, operator, right) => {
                let (left, right) = (place(left), place(right));
                let constant = left.is_constant() && right.is_constant();
                if constant || matches!(left, Place::Absent) || matches!(right, Place::Absent) {
                    let (left, right) = (left.constant(), right.constant());
                    Self::Always(left.zip(right).is_some_and(|(left, right)| holds(left, *operator, right)))
                } else {
                    number::comparison(&left, *operator, &right)
                        .map_or_else(|| Self::Ask(Question::Compare(left, *operator, right)), Self::from)
                }
            }
            Tree::In(term, list) => match (place(term), list.iter().map(place).collect::<Vec<_>>()) {
                (Place::Absent, _) => Self::Always(false),
                (term, list) => number::one_of(&term, &list)
                    .map_or_else(|| Self::Ask(Question::In(term, list)), Self::from),
            },
            Tree::Truth(term) => match place(term) {
                place if place.is_constant() => Self::Always(place.constant().is_some_and(Operand::truth)),
                place => number::comparison(&place, Operator::Unequal, &Place::Integer(0))
                    .map_or_else(|| Self::Ask(Question::Truth(place)), Self::from),
            },
            Tree::Own64(own, wanted) => match (place(&Term::Own(*own)), wanted) {
                (Place::Kind(kind, _), wanted) => Self::Always(wanted.has(kind.into())),
                (_, Own64::OneOf(ids)) => Short::Test(number::one_of_ids(*own, ids)).into(),
                (_, Own64::Between(least, most)) => Short::Test(number::between(*own, *least, *most)).into(),
            },
            Tree::Begins(bytes) => Self::Ask(Question::Begins(bytes.clone())),
        }
    }

    /// Parts of which one (`decides` is true: or) or all (false: and) must hold.
    fn join(parts: &[Tree], place: &impl Fn(&Term) -> Place, decides: bool) -> Self {
        let mut open = Vec::new();
        for part in parts {
            match Self::new(part, place) {
                Self::Always(value) if value == decides => return Self::Always(decides),
                Self::Always(_) => {}
                node => open.push(node),
            }
        }
        match (open.len(), decides) {
            (0, _) => Self::Always(!decides),
            (1, _) => open.remove(0),
            (_, true) => Self::Or(open),
            (_, false) => Self::And(open),
        }
    }
}
