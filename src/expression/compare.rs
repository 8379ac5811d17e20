//! Compares values of different types.

use super::tree::Operator;
use crate::kinds::Value;
use std::cmp::Ordering;

/// A value at the time of a comparison.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    Integer(i128),
    /// A float of 4 bytes, which a float in the expression is rounded to before they are compared.
    Single(f32),
    Float(f64),
    /// A float in the expression.
    Literal(f64),
    Bool(bool),
    Bytes(&'a [u8]),
    /// A number with a name.
    Named(i128, Option<&'a [u8]>),
}

impl<'a> From<Value<'a>> for Operand<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::Unsigned(number) | Value::Address(number) => Self::Integer(number.into()),
            Value::Signed(number) => Self::Integer(number.into()),
            Value::F32(number) => Self::Single(number),
            Value::F64(number) => Self::Float(number),
            Value::Bool(value) => Self::Bool(value),
            Value::String(bytes) | Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Enum { value, name } => Self::Named(value, name.map(str::as_bytes)),
        }
    }
}

/// A number of an operand.
#[derive(Clone, Copy)]
enum Number {
    Integer(i128),
    Float(f64),
}

impl Operand<'_> {
    fn number(self) -> Option<Number> {
        Some(match self {
            Self::Integer(number) | Self::Named(number, _) => Number::Integer(number),
            Self::Single(number) => Number::Float(number.into()),
            Self::Float(number) | Self::Literal(number) => Number::Float(number),
            Self::Bool(value) => Number::Integer(value.into()),
            Self::Bytes(_) => return None,
        })
    }

    /// Whether it is not 0, false or empty.
    pub fn truth(self) -> bool {
        match (self, self.number()) {
            (Self::Bytes(bytes), _) => !bytes.is_empty(),
            (_, Some(Number::Integer(number))) => number != 0,
            (_, Some(Number::Float(number))) => number != 0.0,
            (_, None) => false,
        }
    }
}

fn integer_with_float(left: i128, right: f64) -> Option<Ordering> {
    // The conversion saturates, beyond which the order is clear.
    let whole = right.trunc() as i128;
    (!right.is_nan())
        .then(|| left.cmp(&whole).then(0.0.partial_cmp(&right.fract()).unwrap_or(Ordering::Equal)))
}

fn order(left: Number, right: Number) -> Option<Ordering> {
    match (left, right) {
        (Number::Integer(left), Number::Integer(right)) => Some(left.cmp(&right)),
        (Number::Float(left), Number::Float(right)) => left.partial_cmp(&right),
        (Number::Integer(left), Number::Float(right)) => integer_with_float(left, right),
        (Number::Float(left), Number::Integer(right)) => {
            integer_with_float(right, left).map(Ordering::reverse)
        }
    }
}

/// Whether the bytes have these others in them.
fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

/// Whether the comparison holds. It does not if the values cannot be compared.
pub(super) fn holds(left: Operand<'_>, operator: Operator, right: Operand<'_>) -> bool {
    use Operand::{Bytes, Literal, Named, Single};
    let ordering = match (left, right) {
        (Bytes(left) | Named(_, Some(left)), Bytes(right)) | (Bytes(left), Named(_, Some(right))) => {
            if operator == Operator::Contains {
                return contains(left, right);
            }
            Some(left.cmp(right))
        }
        (Single(left), Literal(right)) => left.partial_cmp(&(right as f32)),
        (Literal(left), Single(right)) => (left as f32).partial_cmp(&right),
        (left, right) => match (left.number(), right.number()) {
            (Some(left), Some(right)) => order(left, right),
            _ => return false,
        },
    };
    // Without an order, one of them is not a number (NaN).
    match operator {
        Operator::Equal => ordering.is_some_and(Ordering::is_eq),
        Operator::Unequal => ordering.is_none_or(Ordering::is_ne),
        Operator::Less => ordering.is_some_and(Ordering::is_lt),
        Operator::LessOrEqual => ordering.is_some_and(Ordering::is_le),
        Operator::Greater => ordering.is_some_and(Ordering::is_gt),
        Operator::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
        Operator::Contains => false,
    }
}
