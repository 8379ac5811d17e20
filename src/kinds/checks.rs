//! The checks of a definition, and the comparison of two.

use super::definition::{Definition, Field, Hint, Integer, Length, Role, Type};
use super::{MAX_BYTES, MAX_FIELDS, MAX_NAME, MAX_UNIT};
use crate::event::PIPELINE_KIND_RESERVED;
use crate::status::{Error, PIPELINE_ERR_INVALID};
use std::fmt;

#[cfg(test)]
mod tests;

/// Why a definition is refused: which part of it, the limit, and the given value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The name of the field that is wrong, or, if it has no usable name, `fields[INDEX]`. `None`: the fault is not in a field.
    pub field: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl Invalid {
    /// A fault that is not in a field.
    pub(super) fn definition(reason: String) -> Self {
        Self { field: None, reason }
    }

    /// There are more fields than are allowed: the first one that is too much is named.
    pub(crate) fn too_many_fields(fields: &[Field], count: usize) -> Self {
        let first = fields.get(MAX_FIELDS).map_or("", |field| &field.name);
        let reason = format!("fields: at most {MAX_FIELDS} allowed, {count} given");
        Self::field(Self::label(first, MAX_FIELDS), reason)
    }

    /// How a message calls a field: by its name, if that is one.
    pub(crate) fn label(name: &str, index: usize) -> String {
        if no_identifier(name).is_none() { name.to_owned() } else { format!("fields[{index}]") }
    }

    /// A fault in a field.
    pub(super) fn field(field: impl Into<String>, reason: String) -> Self {
        Self { field: Some(field.into()), reason }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "field {field}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for Invalid {}

/// A kind in a message: in decimal, unless it is a reserved one.
pub fn shown_kind(kind: u32) -> String {
    if kind < PIPELINE_KIND_RESERVED { kind.to_string() } else { format!("{kind:#x}") }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::new(PIPELINE_ERR_INVALID, invalid.to_string())
    }
}

impl Definition {
    /// Whether the definition is allowed. The error names the first field that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_kind()?;
        if self.fields.len() > MAX_FIELDS {
            return Err(Invalid::too_many_fields(&self.fields, self.fields.len()));
        }
        for (index, field) in self.fields.iter().enumerate() {
            self.check_field(index, field)?;
        }
        self.check_role()?;
        let bytes = self.encoded_len();
        if bytes > MAX_BYTES {
            let reason = format!("the names and values take {bytes} bytes in all, {MAX_BYTES} allowed");
            return Err(Invalid::definition(reason));
        }
        Ok(())
    }

    fn check_kind(&self) -> Result<(), Invalid> {
        let refuse = |reason| Err(Invalid::definition(reason));
        if self.kind >= PIPELINE_KIND_RESERVED {
            return refuse(format!(
                "kind: below {PIPELINE_KIND_RESERVED:#x} allowed, {:#x} given",
                self.kind
            ));
        }
        if let Some(why) = no_identifier(&self.name) {
            return refuse(format!("name: {why}"));
        }
        if let Some(why) = no_text(&self.category, MAX_NAME) {
            return refuse(format!("category: {why}"));
        }
        Ok(())
    }

    fn check_field(&self, index: usize, field: &Field) -> Result<(), Invalid> {
        let refuse = |reason| Err(Invalid::field(Invalid::label(&field.name, index), reason));
        if let Some(why) = no_identifier(&field.name) {
            return refuse(format!("name: {why}"));
        }
        let others = &self.fields[..index];
        if let Some(other) = others.iter().position(|other| other.name.eq_ignore_ascii_case(&field.name)) {
            return refuse(format!(
                "name: fields[{other}] and fields[{index}] have it; names differ by more than case"
            ));
        }
        if let Some(why) = no_text(&field.unit, MAX_UNIT) {
            return refuse(format!("unit: {why}"));
        }
        if let Some(why) = self.wrong_length(index, field) {
            return refuse(why);
        }
        let shared = others.iter().find(|other| overlap(other, field));
        if let Some(other) = shared {
            return refuse(format!(
                "overlaps with the field {}: {}, {}",
                other.name,
                span(other),
                span(field)
            ));
        }
        if !hint_fits(field.hint, &field.field_type) {
            let (hint, name) = (field.hint.name(), field.field_type.name());
            return refuse(format!("hint: {hint} is not for the type {name}"));
        }
        if let Type::Enum { integer, values } = &field.field_type
            && let Some(why) = wrong_values(*integer, values)
        {
            return refuse(why);
        }
        Ok(())
    }

    fn wrong_length(&self, index: usize, field: &Field) -> Option<String> {
        let name = field.field_type.name();
        match (field.length, field.field_type.size()) {
            (Length::Rest, Some(size)) => {
                Some(format!("length: the rest is for strings and bytes, {name} has {size}"))
            }
            (Length::Rest, None) if index + 1 < self.fields.len() => {
                Some("length: only the last field can have the rest of the payload".into())
            }
            (Length::Rest, None) => (field.offset > self.size).then(|| {
                format!("offset: at most {} allowed (the payload's size), {} given", self.size, field.offset)
            }),
            (Length::Fixed(given), Some(size)) if given != size => {
                Some(format!("length: {size} expected for the type {name}, {given} given"))
            }
            (Length::Fixed(0), _) => Some("length: at least 1 expected, 0 given".into()),
            (Length::Fixed(_), _) => {
                let end = field.end().unwrap_or(0);
                let size = u64::from(self.size);
                (end > size)
                    .then(|| format!("{} is outside of the payload, which has {size} bytes", span(field)))
            }
        }
    }

    fn check_role(&self) -> Result<(), Invalid> {
        let refuse = |reason| Err(Invalid::definition(reason));
        let role = self.role.name();
        match (matches!(self.role, Role::Begin | Role::End), self.pairs_with) {
            (true, None) => return refuse(format!("pairs_with: a kind of role {role} names the other kind")),
            (false, Some(kind)) => {
                return refuse(format!(
                    "pairs_with: only for the roles begin and end, {kind} given with {role}"
                ));
            }
            (true, Some(kind)) if kind == self.kind => {
                return refuse(format!("pairs_with: {kind} is the kind itself"));
            }
            (true, Some(kind)) if kind >= PIPELINE_KIND_RESERVED => {
                return refuse(format!(
                    "pairs_with: below {PIPELINE_KIND_RESERVED:#x} allowed, {kind:#x} given"
                ));
            }
            _ => {}
        }
        let fields = self.fields.len();
        if let Some(index) = self.key_field.filter(|index| *index >= fields) {
            return refuse(format!("key_field: fields[{index}] is missing, there are {fields} fields"));
        }
        match (self.role == Role::Complete, self.duration_field) {
            (true, None) => return refuse("duration_field: a kind of role complete names it".into()),
            (false, Some(_)) => {
                return refuse(format!("duration_field: only for the role complete, given with {role}"));
            }
            (true, Some(index)) => match self.fields.get(index).map(|field| &field.field_type) {
                Some(Type::Integer(_)) => {}
                Some(other) => {
                    let reason =
                        format!("duration_field: an integer of nanoseconds expected, {} given", other.name());
                    return Err(Invalid::field(self.fields[index].name.clone(), reason));
                }
                None => {
                    return refuse(format!(
                        "duration_field: fields[{index}] is missing, there are {fields} fields"
                    ));
                }
            },
            _ => {}
        }
        if self.role == Role::Counter && !self.fields.iter().any(|field| field.field_type.is_number()) {
            return refuse("fields: a kind of role counter has a field with an integer or a float".into());
        }
        Ok(())
    }

    /// Whether payloads of this kind mean the same by both definitions. The error names the first field (or `name`, `role`,
    /// `pairs_with`, `key_field`, `duration_field`, `size`) that differs. Category, units and hints do not matter: they are only shown.
    pub fn same_layout(&self, other: &Self) -> Result<(), String> {
        let differs = [
            ("kind", self.kind != other.kind),
            ("name", self.name != other.name),
            ("role", self.role != other.role),
            ("pairs_with", self.pairs_with != other.pairs_with),
        ];
        if let Some((what, _)) = differs.iter().find(|(_, differs)| *differs) {
            return Err((*what).into());
        }
        for index in 0..self.fields.len().max(other.fields.len()) {
            match (self.fields.get(index), other.fields.get(index)) {
                (Some(a), Some(b)) if same_field(a, b) => {}
                (_, Some(field)) | (Some(field), None) => return Err(field.name.clone()),
                (None, None) => {}
            }
        }
        let differs = [
            ("key_field", self.key_field != other.key_field),
            ("duration_field", self.duration_field != other.duration_field),
            ("size", self.size != other.size),
        ];
        differs.iter().find(|(_, differs)| *differs).map_or(Ok(()), |(what, _)| Err((*what).into()))
    }
}

impl Definition {
    /// Whether both have the same fields at the same places, whatever their units and hints.
    pub fn same_fields(&self, other: &Self) -> bool {
        self.fields.len() == other.fields.len()
            && self.fields.iter().zip(&other.fields).all(|(a, b)| same_field(a, b))
    }
}

fn same_field(a: &Field, b: &Field) -> bool {
    a.name == b.name && a.field_type == b.field_type && a.offset == b.offset && a.length == b.length
}

fn span(field: &Field) -> String {
    match field.length {
        Length::Fixed(bytes) => format!("offset {}, length {bytes}", field.offset),
        Length::Rest => format!("offset {}, the rest", field.offset),
    }
}

fn overlap(a: &Field, b: &Field) -> bool {
    let end = |field: &Field| field.end().unwrap_or(u64::MAX);
    u64::from(a.offset) < end(b) && u64::from(b.offset) < end(a)
}

fn hint_fits(hint: Hint, field_type: &Type) -> bool {
    match hint {
        Hint::None => true,
        Hint::Hexadecimal => {
            matches!(field_type, Type::Integer(_) | Type::Enum { .. } | Type::Address | Type::Bytes)
        }
        Hint::Bytes | Hint::Nanoseconds => field_type.is_number(),
    }
}

fn wrong_values(integer: Integer, values: &[super::EnumValue]) -> Option<String> {
    if values.is_empty() {
        return Some("values: an enum names at least one".into());
    }
    let (least, greatest) = integer.range();
    for (index, entry) in values.iter().enumerate() {
        if let Some(why) = no_text(&entry.name, MAX_NAME) {
            return Some(format!("values[{index}]: name: {why}"));
        }
        if entry.name.is_empty() {
            return Some(format!("values[{index}]: name: it is empty"));
        }
        if entry.value < least || entry.value > greatest {
            let (value, name) = (entry.value, integer.name());
            return Some(format!("values[{index}]: {least} to {greatest} allowed ({name}), {value} given"));
        }
    }
    for (index, entry) in values.iter().enumerate() {
        let others = &values[..index];
        if let Some(other) = others.iter().find(|other| other.value == entry.value) {
            return Some(format!("values: {} has two names, {} and {}", entry.value, other.name, entry.name));
        }
        if let Some(other) = others.iter().find(|other| other.name == entry.name) {
            return Some(format!(
                "values: {} is the name of two, {} and {}",
                entry.name, other.value, entry.value
            ));
        }
    }
    None
}

/// Why a name is none: it has to be a letter followed by letters, digits and underscores.
///
/// A leading underscore is kept for what readers add: the views of the SQLite storage name the columns of the event so.
fn no_identifier(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("it is empty".into());
    }
    if name.len() > MAX_NAME {
        return Some(format!("at most {MAX_NAME} bytes allowed, {} given", name.len()));
    }
    let known = |at: usize, byte: u8| {
        byte.is_ascii_alphabetic() || (at > 0 && (byte.is_ascii_digit() || byte == b'_'))
    };
    let wrong = name.bytes().enumerate().any(|(at, byte)| !known(at, byte));
    wrong.then(|| format!("a letter, then letters, digits and underscores expected, {name:?} given"))
}

/// Why a text cannot be shown in a line.
fn no_text(text: &str, most: usize) -> Option<String> {
    if text.len() > most {
        return Some(format!("at most {most} bytes allowed, {} given", text.len()));
    }
    text.contains(char::is_control).then(|| format!("no control characters allowed, {text:?} given"))
}
