//! The short way of a comparison: a number of the event is read as 64 bits and compared with what was worked out when the expression was bound.

use super::compare::{Operand, holds};
use super::ids::IdTable;
use super::own::Own;
use super::place::Place;
use super::subject::Subject;
use super::tree::Operator;
use crate::kinds::{EnumValue, Field, Integer, Type};
use std::sync::Arc;

/// The bit that orders signed numbers as if they were unsigned.
const SIGN: u64 = 1 << 63;

/// A number that an event has: an own one, or that of a field that is an integer, an address, a bool or an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Own(Own),
    Field { offset: u32, integer: Integer },
    Bool { offset: u32 },
}

impl Number {
    /// The number at a place, and the named values if it is an enum. (Both come from one match. If whoever compares with a text matched the place again, the
    /// compiler would test two tags as one, the second of which only a field has; memcheck reports that.)
    fn new(place: &Place) -> Option<(Self, &[EnumValue])> {
        Some(match place {
            Place::Own(Own::Weight | Own::ThreadName | Own::Payload) => return None,
            Place::Own(own) => (Self::Own(*own), &[]),
            Place::Field(Field { field_type, offset, .. }) => match field_type {
                Type::Integer(integer) => (Self::Field { offset: *offset, integer: *integer }, &[]),
                Type::Enum { integer, values } => {
                    (Self::Field { offset: *offset, integer: *integer }, values)
                }
                Type::Address => (Self::Field { offset: *offset, integer: Integer::U64 }, &[]),
                Type::Bool => (Self::Bool { offset: *offset }, &[]),
                Type::F32 | Type::F64 | Type::String | Type::Bytes => return None,
            },
            _ => return None,
        })
    }

    /// The least and the greatest value.
    fn range(self) -> (i128, i128) {
        match self {
            Self::Own(_) => (0, u64::MAX.into()),
            Self::Field { integer, .. } => integer.range(),
            Self::Bool { .. } => (0, 1),
        }
    }

    /// As 64 bits in the order of the values. The value is within the range.
    fn bits(self, value: i128) -> u64 {
        match self {
            Self::Field { integer, .. } if integer.signed() => (value as i64).cast_unsigned() ^ SIGN,
            _ => value as u64,
        }
    }

    /// The event's number, as [`bits`](Self::bits). `None`: the event does not have it.
    #[inline]
    fn read(self, subject: &impl Subject) -> Option<u64> {
        match self {
            Self::Own(own) => subject.number(own),
            Self::Field { offset, integer } => {
                let bytes = subject.payload().get(offset as usize..)?;
                Some(match integer {
                    Integer::U8 => (*bytes.first()?).into(),
                    Integer::U16 => u16::from_le_bytes(*bytes.first_chunk()?).into(),
                    Integer::U32 => u32::from_le_bytes(*bytes.first_chunk()?).into(),
                    Integer::U64 => u64::from_le_bytes(*bytes.first_chunk()?),
                    Integer::I8 => signed(i8::from_le_bytes(*bytes.first_chunk()?)),
                    Integer::I16 => signed(i16::from_le_bytes(*bytes.first_chunk()?)),
                    Integer::I32 => signed(i32::from_le_bytes(*bytes.first_chunk()?)),
                    Integer::I64 => signed(i64::from_le_bytes(*bytes.first_chunk()?)),
                })
            }
            Self::Bool { offset } => subject.payload().get(offset as usize).map(|byte| u64::from(*byte != 0)),
        }
    }
}

fn signed(value: impl Into<i64>) -> u64 {
    value.into().cast_unsigned() ^ SIGN
}

/// What is asked of a number. The answer for an event that does not have it is no.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub number: Number,
    pub wanted: Wanted,
}

/// The values for which a [`Test`] holds, as the bits of the number.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// From the first on so many more.
    Range(u64, u64),
    /// All others.
    Others(u64, u64),
    Ids(Arc<IdTable>),
}

impl Test {
    /// Whether it holds.
    #[inline(always)]
    pub fn holds(&self, subject: &impl Subject) -> bool {
        let Some(bits) = self.number.read(subject) else { return false };
        self.wanted.has(bits)
    }
}

impl Wanted {
    #[inline(always)]
    pub fn has(&self, bits: u64) -> bool {
        match self {
            Self::Range(first, more) => bits.wrapping_sub(*first) <= *more,
            Self::Others(first, more) => bits.wrapping_sub(*first) > *more,
            Self::Ids(ids) => ids.contains(bits),
        }
    }
}

/// The short way of a comparison, or what is known of it already.
pub(super) enum Short {
    Test(Test),
    /// It holds for no event.
    Never,
}

/// A number of the event that is compared with a constant. `None`: there is no short way.
pub(super) fn comparison(left: &Place, operator: Operator, right: &Place) -> Option<Short> {
    let (place, operator, constant) = match (left.constant(), right.constant()) {
        (None, Some(constant)) => (left, operator, constant),
        (Some(constant), None) => (right, operator.mirrored()?, constant),
        _ => return None,
    };
    let (number, named) = Number::new(place)?;
    match constant {
        Operand::Integer(value) => Some(ordered(number, operator, value)),
        Operand::Bool(value) => Some(ordered(number, operator, value.into())),
        // (Where the constant was on the left, `contains` has no mirror.)
        Operand::Bytes(_) => enum_values(number, named, |value| holds(value, operator, constant)),
        _ => None,
    }
}

/// A number of the event that is to be one of several constants.
pub(super) fn one_of(place: &Place, list: &[Place]) -> Option<Short> {
    let (number, named) = Number::new(place)?;
    let (least, greatest) = number.range();
    let mut bits = Vec::new();
    for entry in list {
        let value = match entry.constant()? {
            Operand::Integer(value) => value,
            Operand::Bool(value) => value.into(),
            constant @ Operand::Bytes(_) => {
                match enum_values(number, named, |value| holds(value, Operator::Equal, constant)) {
                    Some(Short::Test(Test { wanted: Wanted::Ids(ids), .. })) => bits.extend(ids.iter()),
                    Some(Short::Test(Test { wanted: Wanted::Range(first, _), .. })) => bits.push(first),
                    _ => {}
                }
                continue;
            }
            _ => return None,
        };
        if (least..=greatest).contains(&value) {
            bits.push(number.bits(value));
        }
    }
    among(number, &bits)
}

/// The event's kind, or another own number, that is to be one of these.
pub(super) fn one_of_ids(own: Own, ids: &Arc<IdTable>) -> Test {
    Test { number: Number::Own(own), wanted: Wanted::Ids(Arc::clone(ids)) }
}

/// An own number that is to be at least `least` and at most `most`.
pub(super) fn between(own: Own, least: u64, most: u64) -> Test {
    Test { number: Number::Own(own), wanted: Wanted::Range(least, most.saturating_sub(least)) }
}

fn ordered(number: Number, operator: Operator, value: i128) -> Short {
    let (least, greatest) = number.range();
    let (first, last) = match operator {
        Operator::Equal | Operator::Unequal => (value, value),
        Operator::Less => (least, value.saturating_sub(1)),
        Operator::LessOrEqual => (least, value),
        Operator::Greater => (value.saturating_add(1), greatest),
        Operator::GreaterOrEqual => (value, greatest),
        Operator::Contains => return Short::Never,
    };
    let (first, last) = (first.max(least), last.min(greatest));
    let wanted = match (first <= last, operator) {
        (true, Operator::Unequal) => {
            let first = number.bits(first);
            Wanted::Others(first, number.bits(last) - first)
        }
        // Unequal to what it cannot be: it only has to be there.
        (false, Operator::Unequal) => Wanted::Range(0, u64::MAX),
        (false, _) => return Short::Never,
        (true, _) => {
            let first = number.bits(first);
            Wanted::Range(first, number.bits(last) - first)
        }
    };
    Short::Test(Test { number, wanted })
}

/// Those of the named values of an enum for which something holds. For a value without a name, and for what is no enum, no comparison with a text does.
fn enum_values(number: Number, named: &[EnumValue], chosen: impl Fn(Operand<'_>) -> bool) -> Option<Short> {
    let (least, greatest) = number.range();
    let bits: Vec<u64> = named
        .iter()
        .filter(|entry| (least..=greatest).contains(&entry.value))
        .filter(|entry| chosen(Operand::Named(entry.value, Some(entry.name.as_bytes()))))
        .map(|entry| number.bits(entry.value))
        .collect();
    among(number, &bits)
}

fn among(number: Number, bits: &[u64]) -> Option<Short> {
    Some(match bits {
        [] => Short::Never,
        [one] => Short::Test(Test { number, wanted: Wanted::Range(*one, 0) }),
        _ => Short::Test(Test { number, wanted: Wanted::Ids(Arc::new(IdTable::of(bits)?)) }),
    })
}
