//! An expression that is bound to a kind, and its answer for an event.

use super::compare::{Operand, holds};
use super::own::Own;
use super::tree::{Operator, Term, Tree};
use crate::kinds::{Definition, Field};

/// What an expression asks of an event.
pub trait Subject {
    /// The payload.
    fn payload(&self) -> &[u8];
    /// A number that every event has. `None`: this one does not have it, or it is no integer.
    fn number(&self, own: Own) -> Option<u64>;
    /// How many events it stands for.
    fn weight(&self) -> f64;
    /// The name of its thread.
    fn thread_name(&self) -> Option<&[u8]>;
}

/// Where a value comes from.
#[derive(Clone, Debug)]
enum Place {
    Absent,
    Field(Field),
    Own(Own),
    Integer(i128),
    Float(f64),
    Bytes(Vec<u8>),
    Bool(bool),
    /// The kind.
    Kind(u32, Option<Vec<u8>>),
}

impl Place {
    fn new(term: &Term, kind: u32, name: Option<&[u8]>, definition: Option<&Definition>) -> Self {
        match term {
            Term::Field { kind: of, field } => {
                let right =
                    definition.filter(|d| of.as_ref().is_none_or(|of| d.name.eq_ignore_ascii_case(of)));
                let found = right.and_then(|d| Some(&d.fields[d.field_named(field)?]));
                match (found, of, Own::named(field)) {
                    (Some(found), ..) => Self::Field(found.clone()),
                    (None, None, Some(own)) => Self::own(own, kind, name),
                    _ => Self::Absent,
                }
            }
            Term::Own(own) => Self::own(*own, kind, name),
            Term::Integer(number) => Self::Integer(*number),
            Term::Float(number) => Self::Float(*number),
            Term::Text(bytes) | Term::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Term::Bool(value) => Self::Bool(*value),
        }
    }

    fn own(own: Own, kind: u32, name: Option<&[u8]>) -> Self {
        match (own, name) {
            (Own::Kind, _) => Self::Kind(kind, name.map(<[u8]>::to_vec)),
            (Own::KindName, Some(name)) => Self::Bytes(name.to_vec()),
            (Own::KindName, None) => Self::Absent,
            _ => Self::Own(own),
        }
    }

    /// Whether the value is the same for all events of the kind.
    fn is_constant(&self) -> bool {
        !matches!(self, Self::Field(_) | Self::Own(_))
    }

    fn value<'a>(&'a self, subject: &'a impl Subject) -> Option<Operand<'a>> {
        Some(match self {
            Self::Field(field) => field.value(subject.payload())?.into(),
            Self::Own(Own::Weight) => Operand::Float(subject.weight()),
            Self::Own(Own::ThreadName) => Operand::Bytes(subject.thread_name()?),
            Self::Own(Own::Payload) => Operand::Bytes(subject.payload()),
            Self::Own(own) => Operand::Integer(subject.number(*own)?.into()),
            _ => return self.constant(),
        })
    }

    fn constant(&self) -> Option<Operand<'_>> {
        Some(match self {
            Self::Absent | Self::Field(_) | Self::Own(_) => return None,
            Self::Integer(number) => Operand::Integer(*number),
            Self::Float(number) => Operand::Literal(*number),
            Self::Bytes(bytes) => Operand::Bytes(bytes),
            Self::Bool(value) => Operand::Bool(*value),
            Self::Kind(kind, name) => Operand::Named((*kind).into(), name.as_deref()),
        })
    }
}

/// A part of a bound expression.
#[derive(Clone, Debug)]
enum Node {
    Always(bool),
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Compare(Place, Operator, Place),
    In(Place, Vec<Place>),
    Truth(Place),
}

impl Node {
    fn new(tree: &Tree, place: &impl Fn(&Term) -> Place) -> Self {
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
                    Self::Compare(left, *operator, right)
                }
            }
            Tree::In(term, list) => match (place(term), list.iter().map(place).collect::<Vec<_>>()) {
                (Place::Absent, _) => Self::Always(false),
                (term, list) => Self::In(term, list),
            },
            Tree::Truth(term) => match place(term) {
                place if place.is_constant() => Self::Always(place.constant().is_some_and(Operand::truth)),
                place => Self::Truth(place),
            },
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

    fn holds(&self, subject: &impl Subject) -> bool {
        let equal = |left, place: &Place| {
            place.value(subject).is_some_and(|right| holds(left, Operator::Equal, right))
        };
        match self {
            Self::Always(value) => *value,
            Self::Or(parts) => parts.iter().any(|part| part.holds(subject)),
            Self::And(parts) => parts.iter().all(|part| part.holds(subject)),
            Self::Not(part) => !part.holds(subject),
            Self::Compare(left, operator, right) => match (left.value(subject), right.value(subject)) {
                (Some(left), Some(right)) => holds(left, *operator, right),
                _ => false,
            },
            Self::In(place, list) => {
                place.value(subject).is_some_and(|left| list.iter().any(|place| equal(left, place)))
            }
            Self::Truth(place) => place.value(subject).is_some_and(Operand::truth),
        }
    }
}

/// An expression that is bound to a kind.
#[derive(Clone, Debug)]
pub struct Bound(Node);

impl Bound {
    pub(super) fn new(tree: &Tree, kind: u32, name: Option<&[u8]>, definition: Option<&Definition>) -> Self {
        Self(Node::new(tree, &|term| Place::new(term, kind, name, definition)))
    }

    /// The answer, if it is the same for all events of the kind.
    pub fn always(&self) -> Option<bool> {
        if let Node::Always(value) = self.0 { Some(value) } else { None }
    }

    /// Whether the event is one that the expression chooses. The event is of the kind that the expression is bound to.
    pub fn matches(&self, subject: &impl Subject) -> bool {
        self.0.holds(subject)
    }
}
