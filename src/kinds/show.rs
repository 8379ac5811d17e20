//! Shows values to people.

use super::definition::{Field, Hint};
use super::value::Value;
use std::fmt::{self, Display, Write};

#[cfg(test)]
mod tests;

/// A field's value in a payload, as it is shown to people: by its hint, or with its unit. See [`Field::show`].
#[derive(Clone, Copy, Debug)]
pub struct ShownField<'a> {
    field: &'a Field,
    value: Option<Value<'a>>,
}

/// A value as it is shown to people. See [`Value::show`].
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    value: Value<'a>,
    hint: Hint,
}

impl Field {
    /// The field's value in a payload, for people: `1.50 MiB`, `36.6 °C`. A field that the payload is too short for is shown as `-`.
    pub fn show<'a>(&'a self, payload: &'a [u8]) -> ShownField<'a> {
        ShownField { field: self, value: self.value(payload) }
    }
}

impl<'a> Value<'a> {
    /// The value, for people. The text is one line in which a terminal finds no control characters.
    pub fn show(self, hint: Hint) -> Shown<'a> {
        Shown { value: self, hint }
    }
}

impl Display for ShownField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.value else { return f.write_char('-') };
        value.show(self.field.hint).fmt(f)?;
        // The other hints have units of their own.
        if !self.field.unit.is_empty() && matches!(self.field.hint, Hint::None | Hint::Hexadecimal) {
            write!(f, " {}", self.field.unit)?;
        }
        Ok(())
    }
}

/// The value without a hint: numbers in decimal, floats with as few digits as tell them apart, addresses in hexadecimal, the names of enums, strings with
/// control characters and invalid bytes escaped, bytes in hexadecimal.
impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(Hint::None).fmt(f)
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.hint, self.value) {
            (Hint::Hexadecimal, Value::Unsigned(value)) => write!(f, "{value:#x}"),
            (Hint::Hexadecimal, Value::Signed(value)) => {
                let sign = if value < 0 { "-" } else { "" };
                write!(f, "{sign}{:#x}", value.unsigned_abs())
            }
            (Hint::Hexadecimal, Value::Enum { value, name: None }) => {
                let sign = if value < 0 { "-" } else { "" };
                write!(f, "{sign}{:#x}", value.unsigned_abs())
            }
            (Hint::Bytes, value) if value.integer().is_some() => scaled(f, value, &BYTES),
            (Hint::Nanoseconds, value) if value.integer().is_some() => scaled(f, value, &NANOSECONDS),
            (Hint::Bytes, Value::F32(_) | Value::F64(_)) => write!(f, "{} B", self.value),
            (Hint::Nanoseconds, Value::F32(_) | Value::F64(_)) => write!(f, "{} ns", self.value),
            (_, value) => plain(f, value),
        }
    }
}

fn plain(f: &mut fmt::Formatter<'_>, value: Value<'_>) -> fmt::Result {
    match value {
        Value::Unsigned(value) => value.fmt(f),
        Value::Signed(value) => value.fmt(f),
        // `{}` writes the largest floats with hundreds of digits.
        Value::F32(value) if value.is_finite() => write!(f, "{value:?}"),
        Value::F64(value) if value.is_finite() => write!(f, "{value:?}"),
        Value::F32(value) => value.fmt(f),
        Value::F64(value) => value.fmt(f),
        Value::Bool(value) => value.fmt(f),
        Value::Address(value) => write!(f, "{value:#x}"),
        Value::String(bytes) => bytes.utf8_chunks().try_for_each(|chunk| {
            chunk.valid().chars().try_for_each(|character| shown_character(f, character))?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
        }),
        Value::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        Value::Enum { name: Some(name), .. } => f.write_str(name),
        Value::Enum { value, name: None } => value.fmt(f),
    }
}

/// A character of a captured text. Those that would change the terminal or the line are escaped, and so is the backslash that does that.
fn shown_character(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    let turns_text =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if character.is_control() || character == '\\' || turns_text {
        write!(f, "{}", character.escape_default())
    } else {
        f.write_char(character)
    }
}

/// Units, each with how many of the first one it is.
type Units = [(u64, &'static str)];

const BYTES: [(u64, &str); 7] = [
    (1, "B"),
    (1 << 10, "KiB"),
    (1 << 20, "MiB"),
    (1 << 30, "GiB"),
    (1 << 40, "TiB"),
    (1 << 50, "PiB"),
    (1 << 60, "EiB"),
];
const NANOSECONDS: [(u64, &str); 4] = [(1, "ns"), (1_000, "µs"), (1_000_000, "ms"), (1_000_000_000, "s")];

/// An integer in the largest unit that it has at least one of. Two decimals, rounded towards zero, unless it is a whole number of the unit.
fn scaled(f: &mut fmt::Formatter<'_>, value: Value<'_>, units: &Units) -> fmt::Result {
    let (negative, amount) = value.integer().unwrap_or_default();
    let unit = units.iter().rev().find(|(factor, _)| amount >= *factor).or(units.first());
    let (factor, name) = unit.copied().unwrap_or((1, ""));
    if negative {
        f.write_char('-')?;
    }
    write!(f, "{}", amount / factor)?;
    let rest = amount % factor;
    if rest != 0 {
        write!(f, ".{:02}", u128::from(rest) * 100 / u128::from(factor))?;
    }
    write!(f, " {name}")
}

impl Value<'_> {
    /// Whether it is below 0, and its absolute value, if it is an integer.
    fn integer(self) -> Option<(bool, u64)> {
        match self {
            Value::Unsigned(value) => Some((false, value)),
            Value::Signed(value) => Some((value < 0, value.unsigned_abs())),
            _ => None,
        }
    }
}
