//! Reads the value of a field in a payload.

use super::definition::{Definition, Field, Integer, Length, Type};

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Of an unsigned integer, whatever its size.
    Unsigned(u64),
    /// Of a signed integer, whatever its size.
    Signed(i64),
    /// Of a float of 4 bytes.
    F32(f32),
    /// Of a float of 8 bytes.
    F64(f64),
    /// Of a bool.
    Bool(bool),
    /// Of an address.
    Address(u64),
    /// Of a string: its bytes up to the first NUL. They should be UTF-8, but the program that captured them decides that.
    String(&'a [u8]),
    /// Of bytes.
    Bytes(&'a [u8]),
    /// Of an enum.
    Enum {
        /// The value.
        value: i128,
        /// Its name; `None`: the definition has none for it.
        name: Option<&'a str>,
    },
}

impl Definition {
    /// Whether a payload has the length that the definition says.
    pub fn fits(&self, payload: &[u8]) -> bool {
        let has_rest = self.fields.last().is_some_and(|field| field.length == Length::Rest);
        let size = self.size as usize;
        if has_rest { payload.len() >= size } else { payload.len() == size }
    }

    /// The fields with their values, in their order. `None`: the payload is too short for it.
    pub fn values<'a>(&'a self, payload: &'a [u8]) -> impl Iterator<Item = (&'a Field, Option<Value<'a>>)> {
        self.fields.iter().map(move |field| (field, field.value(payload)))
    }
}

impl Field {
    /// The field's bytes. `None`: the payload is too short for it.
    pub fn bytes<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let rest = payload.get(self.offset as usize..)?;
        match self.length {
            Length::Fixed(bytes) => rest.get(..bytes as usize),
            Length::Rest => Some(rest),
        }
    }

    /// The field's value. `None`: the payload is too short for it.
    pub fn value<'a>(&'a self, payload: &'a [u8]) -> Option<Value<'a>> {
        let bytes = self.bytes(payload)?;
        Some(match &self.field_type {
            Type::Integer(integer) if integer.signed() => Value::Signed(signed(bytes)),
            Type::Integer(_) => Value::Unsigned(unsigned(bytes)),
            Type::F32 => Value::F32(f32::from_bits(unsigned(bytes) as u32)),
            Type::F64 => Value::F64(f64::from_bits(unsigned(bytes))),
            Type::Bool => Value::Bool(unsigned(bytes) != 0),
            Type::Address => Value::Address(unsigned(bytes)),
            Type::String => {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                Value::String(&bytes[..end])
            }
            Type::Bytes => Value::Bytes(bytes),
            Type::Enum { integer, values } => {
                let value = integer.value(bytes);
                let named = values.iter().find(|entry| entry.value == value);
                Value::Enum { value, name: named.map(|entry| entry.name.as_str()) }
            }
        })
    }
}

impl Integer {
    /// The value of as many bytes as it has.
    pub fn value(self, bytes: &[u8]) -> i128 {
        if self.signed() { signed(bytes).into() } else { unsigned(bytes).into() }
    }
}

/// A little-endian number of at most 8 bytes.
fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    (unsigned(bytes) << unused).cast_signed() >> unused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::EnumValue;

    fn read(field_type: Type, payload: &[u8]) -> Option<String> {
        Field::new("x", field_type, 1).value(payload).map(|value| format!("{value:?}"))
    }

    #[test]
    fn each_type_is_read_at_its_offset_whatever_its_alignment() {
        let payload = [9, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 9];
        for (integer, expected) in [
            (Integer::U8, "Unsigned(254)"),
            (Integer::U16, "Unsigned(65534)"),
            (Integer::U32, "Unsigned(4294967294)"),
            (Integer::U64, "Unsigned(18446744073709551614)"),
            (Integer::I8, "Signed(-2)"),
            (Integer::I16, "Signed(-2)"),
            (Integer::I32, "Signed(-2)"),
            (Integer::I64, "Signed(-2)"),
        ] {
            assert_eq!(read(Type::Integer(integer), &payload).as_deref(), Some(expected));
        }
        let of = |bytes: &[u8]| [&[9], bytes].concat();
        assert_eq!(read(Type::F32, &of(&1.5f32.to_le_bytes())).as_deref(), Some("F32(1.5)"));
        assert_eq!(read(Type::F64, &of(&(-0.1f64).to_le_bytes())).as_deref(), Some("F64(-0.1)"));
        assert_eq!(read(Type::Bool, &of(&[0])).as_deref(), Some("Bool(false)"));
        assert_eq!(read(Type::Bool, &of(&[2])).as_deref(), Some("Bool(true)"));
        assert_eq!(
            read(Type::Address, &of(&[1, 0, 0, 0, 0, 0, 0, 0x80])).as_deref(),
            Some("Address(9223372036854775809)")
        );
        assert_eq!(read(Type::String, &of(b"ab\0c")).as_deref(), Some("String([97, 98])"));
        assert_eq!(read(Type::String, &of(b"ab")).as_deref(), Some("String([97, 98])"));
        assert_eq!(read(Type::Bytes, &of(b"a\0")).as_deref(), Some("Bytes([97, 0])"));
        let values = vec![EnumValue { value: -2, name: "low".into() }];
        let named = |integer| read(Type::Enum { integer, values: values.clone() }, &payload);
        assert_eq!(named(Integer::I16).as_deref(), Some("Enum { value: -2, name: Some(\"low\") }"));
        assert_eq!(named(Integer::U16).as_deref(), Some("Enum { value: 65534, name: None }"));
    }

    #[test]
    fn a_field_that_the_payload_is_too_short_for_is_absent() {
        let field = Field::new("x", Type::Integer(Integer::U32), 4);
        assert_eq!(field.value(&[0; 7]), None);
        assert_eq!(field.value(&[0; 8]), Some(Value::Unsigned(0)));
        assert_eq!(field.value(&[]), None);
        let rest = Field::new("x", Type::Bytes, 4);
        assert_eq!(rest.value(&[0; 3]), None);
        assert_eq!(rest.value(&[0; 4]), Some(Value::Bytes(&[])));
        let fixed = Field { length: Length::Fixed(3), ..Field::new("x", Type::String, 4) };
        assert_eq!(fixed.value(&[b'a'; 6]), None);
        assert_eq!(fixed.value(&[b'a'; 9]), Some(Value::String(b"aaa")));
        let far = Field::new("x", Type::Bool, u32::MAX);
        assert_eq!(far.value(&[0; 9]), None);
    }
}
