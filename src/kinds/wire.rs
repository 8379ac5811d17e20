//! The wire form of a definition, as `docs/format.md` specifies it.

use super::checks::Invalid;
use super::definition::{Definition, EnumValue, Field, Hint, Integer, Length, Role, Type};
use super::{MAX_BYTES, MAX_FIELDS};

#[cfg(test)]
mod tests;

/// The version of the wire form.
const VERSION: u16 = 1;
/// The bytes before a definition's name.
const HEADER: usize = 24;
/// The bytes of a field before its name.
const FIELD_HEADER: usize = 16;
/// In `pairs_with` and in the length of a field: no kind; the rest.
const NONE: u32 = u32::MAX;

/// The numbers of the types. Those of the integers are 1 to 8, in the order of [`Integer::ALL`].
const F32: u8 = 9;
const F64: u8 = 10;
const BOOL: u8 = 11;
const ADDRESS: u8 = 12;
const STRING: u8 = 13;
const BYTES: u8 = 14;
const ENUM: u8 = 15;

impl Type {
    /// Its number in the wire form, and in C.
    pub fn code(&self) -> u8 {
        match self {
            Self::Integer(integer) => integer.code(),
            Self::F32 => F32,
            Self::F64 => F64,
            Self::Bool => BOOL,
            Self::Address => ADDRESS,
            Self::String => STRING,
            Self::Bytes => BYTES,
            Self::Enum { .. } => ENUM,
        }
    }

    /// The type with a number. `None`: there is none. An enum gets the integer and the values that are given with it.
    pub fn from_code(code: u8, enumeration: impl FnOnce() -> Option<Self>) -> Option<Self> {
        Some(match code {
            F32 => Self::F32,
            F64 => Self::F64,
            BOOL => Self::Bool,
            ADDRESS => Self::Address,
            STRING => Self::String,
            BYTES => Self::Bytes,
            ENUM => return enumeration(),
            _ => Self::Integer(Integer::from_code(code)?),
        })
    }
}

impl Integer {
    /// Its number in the wire form, and in C.
    pub fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The integer with a number. `None`: there is none.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

impl Definition {
    /// The number of bytes of the wire form.
    pub fn encoded_len(&self) -> usize {
        let fields = self.fields.iter().map(Field::encoded_len).sum::<usize>();
        HEADER + text_len(&self.name) + text_len(&self.category) + fields
    }

    /// The wire form. The definition must pass its [check](Self::check); otherwise the form may not be readable.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    /// Appends the wire form. It does not allocate if there is room for [`encoded_len`](Self::encoded_len) bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let index = |field: Option<usize>| field.map_or(0, |index| index as u16 + 1);
        out.extend(VERSION.to_le_bytes());
        out.extend((HEADER as u16).to_le_bytes());
        out.extend(self.kind.to_le_bytes());
        out.extend((self.role as u16).to_le_bytes());
        out.extend((self.fields.len() as u16).to_le_bytes());
        out.extend(index(self.key_field).to_le_bytes());
        out.extend(index(self.duration_field).to_le_bytes());
        out.extend(self.pairs_with.unwrap_or(NONE).to_le_bytes());
        out.extend(self.size.to_le_bytes());
        put_text(out, &self.name);
        put_text(out, &self.category);
        self.fields.iter().for_each(|field| field.encode(out));
    }

    /// Reads a wire form. The bytes may come from anywhere: those of no allowed definition are an error that says why.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() > MAX_BYTES {
            let reason = format!("definition: at most {MAX_BYTES} bytes allowed, {} given", bytes.len());
            return Err(Invalid::definition(reason));
        }
        let mut input = Input { bytes, at: 0 };
        let whole = |part: Option<_>| part.ok_or_else(|| cut(bytes.len()));
        let version = whole(input.number(2))?;
        if version != u64::from(VERSION) {
            let reason = format!("definition: version {version}; this library reads version {VERSION}");
            return Err(Invalid::definition(reason));
        }
        let header = whole(input.number(2))? as usize;
        if header < HEADER {
            let reason = format!("definition: its header has {header} bytes, at least {HEADER} expected");
            return Err(Invalid::definition(reason));
        }
        let kind = whole(input.number(4))? as u32;
        let role = whole(input.number(2))?;
        let fields = whole(input.number(2))? as usize;
        let key = whole(input.number(2))? as usize;
        let duration = whole(input.number(2))? as usize;
        let pairs_with = whole(input.number(4))? as u32;
        let size = whole(input.number(4))? as u32;
        input.at = header;
        let name = input.text().ok_or_else(|| cut(bytes.len()))?;
        let category = input.text().ok_or_else(|| cut(bytes.len()))?;
        let Some(role) = Role::ALL.get(role as usize).copied() else {
            return Err(Invalid::definition(format!(
                "role: 0 to {} allowed, {role} given",
                Role::ALL.len() - 1
            )));
        };
        if fields > MAX_FIELDS {
            let reason = format!("fields: at most {MAX_FIELDS} allowed, {fields} given");
            return Err(Invalid::definition(reason));
        }
        let mut definition = Self {
            name: utf8(name, "name")?,
            category: utf8(category, "category")?,
            role,
            pairs_with: (pairs_with != NONE).then_some(pairs_with),
            key_field: key.checked_sub(1),
            duration_field: duration.checked_sub(1),
            size,
            fields: room(fields)?,
            ..Self::new(kind, "")
        };
        for index in 0..fields {
            let entry = input.entry().ok_or_else(|| cut(bytes.len()))?;
            definition.fields.push(Field::decode(entry, index)?);
        }
        definition.check()?;
        Ok(definition)
    }
}

impl Field {
    fn encoded_len(&self) -> usize {
        let values = match &self.field_type {
            Type::Enum { values, .. } => values.iter().map(|entry| 8 + text_len(&entry.name)).sum(),
            _ => 0,
        };
        FIELD_HEADER + text_len(&self.name) + text_len(&self.unit) + values
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (integer, values) = match &self.field_type {
            Type::Enum { integer, values } => (integer.code(), &values[..]),
            _ => (0, &[][..]),
        };
        let length = match self.length {
            Length::Fixed(bytes) => bytes,
            Length::Rest => NONE,
        };
        out.extend((self.encoded_len() as u16).to_le_bytes());
        out.extend([self.field_type.code(), integer, self.hint as u8, 0]);
        out.extend((values.len() as u16).to_le_bytes());
        out.extend(self.offset.to_le_bytes());
        out.extend(length.to_le_bytes());
        put_text(out, &self.name);
        put_text(out, &self.unit);
        for entry in values {
            out.extend((entry.value as u64).to_le_bytes());
            put_text(out, &entry.name);
        }
    }

    fn decode(bytes: &[u8], index: usize) -> Result<Self, Invalid> {
        let mut input = Input { bytes, at: 0 };
        let cut =
            || Invalid::field(format!("fields[{index}]"), format!("it is cut at {} bytes", bytes.len()));
        let mut number = |bytes| input.number(bytes).ok_or_else(cut);
        let _size = number(2)?;
        let code = number(1)? as u8;
        let integer = number(1)? as u8;
        let hint = number(1)? as usize;
        let _reserved = number(1)?;
        let values = number(2)? as usize;
        let offset = number(4)? as u32;
        let length = number(4)? as u32;
        let name = utf8(input.text().ok_or_else(cut)?, "name").map_err(|why| at_field(index, why))?;
        let label = Invalid::label(&name, index);
        let unit = utf8(input.text().ok_or_else(cut)?, "unit").map_err(|why| at_field(index, why))?;
        // No more than the bytes can hold.
        let mut named = room(values.min(bytes.len() / 9))?;
        for _ in 0..values {
            let bits = input.number(8).ok_or_else(cut)?;
            let text = utf8(input.text().ok_or_else(cut)?, "values").map_err(|why| at_field(index, why))?;
            named.push((bits, text));
        }
        let mut unknown = format!("type: {code} is unknown");
        let field_type = Type::from_code(code, || {
            let Some(integer) = Integer::from_code(integer) else {
                unknown = format!("type: an enum's integer is 1 to {}, {integer} given", Integer::ALL.len());
                return None;
            };
            let value = |bits: u64| if integer.signed() { bits.cast_signed().into() } else { bits.into() };
            let entry = |(bits, name)| EnumValue { value: value(bits), name };
            let mut values = room(named.len()).ok()?;
            values.extend(named.into_iter().map(entry));
            Some(Type::Enum { integer, values })
        });
        let Some(field_type) = field_type else {
            return Err(Invalid::field(label, unknown));
        };
        Ok(Self {
            name,
            field_type,
            offset,
            length: if length == NONE { Length::Rest } else { Length::Fixed(length) },
            unit,
            // A later version may have more of them, and a value can be shown without.
            hint: Hint::ALL.get(hint).copied().unwrap_or_default(),
        })
    }
}

fn cut(bytes: usize) -> Invalid {
    Invalid::definition(format!("definition: it is cut at {bytes} bytes"))
}

fn at_field(index: usize, why: Invalid) -> Invalid {
    Invalid::field(format!("fields[{index}]"), why.reason)
}

fn text_len(text: &str) -> usize {
    1 + text.len()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn utf8(bytes: &[u8], what: &str) -> Result<String, Invalid> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Invalid::definition(format!(
            "{what}: UTF-8 expected, {:?} given",
            bytes.escape_ascii().to_string()
        ))),
    }
}

/// An empty list with room for so many.
fn room<T>(count: usize) -> Result<Vec<T>, Invalid> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| Invalid::definition("not enough memory".into()))?;
    Ok(list)
}

/// Bytes that are read from their start.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(taken)
    }

    /// A number of at most 8 bytes.
    fn number(&mut self, bytes: usize) -> Option<u64> {
        self.take(bytes)
            .map(|bytes| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A length of one byte, and as many bytes.
    fn text(&mut self) -> Option<&'a [u8]> {
        let bytes = self.number(1)?;
        self.take(bytes as usize)
    }

    /// A part that begins with its own length.
    fn entry(&mut self) -> Option<&'a [u8]> {
        let bytes = self.number(2)? as usize;
        self.at -= 2;
        self.take(bytes)
    }
}
