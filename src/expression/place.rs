//! Where the values of an expression come from, once it is bound.

use super::compare::Operand;
use super::own::Own;
use super::subject::Subject;
use super::tree::Term;
use crate::kinds::{Definition, Field};

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Place {
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

/// What an expression is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of<'a> {
    /// A kind, with what is known of it.
    Kind(u32, Option<&'a [u8]>, Option<&'a Definition>),
    /// All kinds without a name and a definition.
    Unknown,
}

impl Place {
    pub fn new(term: &Term, of: Of<'_>) -> Self {
        match term {
            Term::Field { kind, field } => {
                let definition = if let Of::Kind(_, _, definition) = of { definition } else { None };
                let right =
                    definition.filter(|d| kind.as_ref().is_none_or(|kind| d.name.eq_ignore_ascii_case(kind)));
                let found = right.and_then(|d| Some(&d.fields[d.field_named(field)?]));
                match (found, kind, Own::named(field)) {
                    (Some(found), ..) => Self::Field(found.clone()),
                    (None, None, Some(own)) => Self::own(own, of),
                    _ => Self::Absent,
                }
            }
            Term::Own(own) => Self::own(*own, of),
            Term::Integer(number) => Self::Integer(*number),
            Term::Float(number) => Self::Float(*number),
            Term::Text(bytes) | Term::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Term::Bool(value) => Self::Bool(*value),
        }
    }

    fn own(own: Own, of: Of<'_>) -> Self {
        match (own, of) {
            (Own::Kind, Of::Kind(kind, name, _)) => Self::Kind(kind, name.map(<[u8]>::to_vec)),
            (Own::KindName, Of::Kind(_, Some(name), _)) => Self::Bytes(name.to_vec()),
            (Own::KindName, _) => Self::Absent,
            _ => Self::Own(own),
        }
    }

    /// Whether the value is the same for all events of the kind.
    pub fn is_constant(&self) -> bool {
        !matches!(self, Self::Field(_) | Self::Own(_))
    }

    pub fn value<'a>(&'a self, subject: &'a impl Subject) -> Option<Operand<'a>> {
        Some(match self {
            Self::Field(field) => field.value(subject.payload())?.into(),
            Self::Own(Own::Weight) => Operand::Float(subject.weight()),
            Self::Own(Own::ThreadName) => Operand::Bytes(subject.thread_name()?),
            Self::Own(Own::Payload) => Operand::Bytes(subject.payload()),
            Self::Own(own) => Operand::Integer(subject.number(*own)?.into()),
            _ => return self.constant(),
        })
    }

    pub fn constant(&self) -> Option<Operand<'_>> {
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
