//! The kinds of a journal, as C sees them.

use super::text::text;
use crate::ffi::kinds::{
    PIPELINE_KIND_NONE, PIPELINE_LENGTH_REST, pipeline_enum_value_t, pipeline_field_t,
    pipeline_kind_definition_t,
};
use crate::journal::reader::Facts;
use crate::kinds::{Definition, Field, Hint, Length, Role, Type};
use crate::platform::memory;
use crate::status::Result;
use std::ffi::{CString, c_char};
use std::ptr::null;

/// A kind that has a name or a definition.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_reader_kind_t {
    /// The run of the pipeline.
    pub generation: u64,
    /// The kind.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Its name. NULL: it has none.
    pub name: *const c_char,
    /// Its definition. NULL: it has none.
    pub definition: *const pipeline_kind_definition_t,
}

/// The kinds of a journal, by generation and kind. Step through them by `PIPELINE_READER_KIND(list, i)`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_reader_kinds_t {
    /// `sizeof(pipeline_reader_kinds_t)` of the library.
    pub struct_size: u32,
    /// The bytes from one kind to the next.
    pub stride: u32,
    /// The number of kinds.
    pub count: usize,
    /// The kinds. Not NULL, also when `count` is 0.
    pub kinds: *const pipeline_reader_kind_t,
}

/// The kinds with everything that they point to. Nothing in it moves or changes after it was made.
pub(in crate::ffi) struct Kinds {
    _texts: Vec<CString>,
    _values: Vec<Vec<pipeline_enum_value_t>>,
    _fields: Vec<Vec<pipeline_field_t>>,
    _definitions: Vec<pipeline_kind_definition_t>,
    _kinds: Vec<pipeline_reader_kind_t>,
    list: pipeline_reader_kinds_t,
}

// SAFETY: the pointers lead to memory that the value owns, and nothing is written after it was made.
unsafe impl Send for Kinds {}

/// Collects the parts. What is pointed to lies in memory of its own, so that a growing list does not move it.
#[derive(Default)]
struct Parts {
    texts: Vec<CString>,
    values: Vec<Vec<pipeline_enum_value_t>>,
    fields: Vec<Vec<pipeline_field_t>>,
}

impl Kinds {
    /// An error: there is not enough memory.
    pub(in crate::ffi) fn of(facts: &Facts) -> Result<Box<Self>> {
        let mut parts = Parts::default();
        let mut definitions = list(facts.definitions.len())?;
        let mut defined = list(facts.definitions.len())?;
        for (key, definition) in &facts.definitions {
            definitions.push(parts.definition(definition)?);
            defined.push(*key);
        }
        let most = facts.kind_names.len() + defined.len();
        let mut keys = list(most)?;
        keys.extend(facts.kind_names.keys().chain(&defined).copied());
        keys.sort_unstable();
        keys.dedup();
        let mut kinds = list(most)?;
        for key in keys {
            let definition: Option<&pipeline_kind_definition_t> =
                defined.binary_search(&key).ok().and_then(|index| definitions.get(index));
            let name = match facts.kind_names.get(&key) {
                Some(name) => parts.text(name)?,
                None => definition.map_or(null(), |definition| definition.name),
            };
            kinds.push(pipeline_reader_kind_t {
                generation: key.0,
                kind: key.1,
                reserved: 0,
                name,
                definition: definition.map_or(null(), std::ptr::from_ref),
            });
        }
        let list = pipeline_reader_kinds_t {
            struct_size: size_of::<pipeline_reader_kinds_t>() as u32,
            stride: size_of::<pipeline_reader_kind_t>() as u32,
            count: kinds.len(),
            kinds: kinds.as_ptr(),
        };
        let Parts { texts, values, fields } = parts;
        Ok(Box::new(Self {
            _texts: texts,
            _values: values,
            _fields: fields,
            _definitions: definitions,
            _kinds: kinds,
            list,
        }))
    }

    pub(in crate::ffi) fn list(&self) -> *const pipeline_reader_kinds_t {
        &raw const self.list
    }
}

/// An empty list with room for `count`.
fn list<T>(count: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| memory::refused(count * size_of::<T>()))?;
    Ok(list)
}

/// Appends to a list.
fn push<T>(list: &mut Vec<T>, item: T) -> Result<()> {
    list.try_reserve(1).map_err(|_| memory::refused(size_of::<T>()))?;
    list.push(item);
    Ok(())
}

impl Parts {
    fn text(&mut self, bytes: &[u8]) -> Result<*const c_char> {
        memory::check()?;
        let text = text(bytes)?;
        let at = text.as_ptr();
        push(&mut self.texts, text)?;
        Ok(at)
    }

    /// A text that is NULL if it is empty.
    fn optional(&mut self, text: &str) -> Result<*const c_char> {
        if text.is_empty() { Ok(null()) } else { self.text(text.as_bytes()) }
    }

    fn definition(&mut self, definition: &Definition) -> Result<pipeline_kind_definition_t> {
        let mut fields = list(definition.fields.len())?;
        for field in &definition.fields {
            fields.push(self.field(field)?);
        }
        let name_of = |index: Option<usize>| {
            let field: Option<&pipeline_field_t> = index.and_then(|index| fields.get(index));
            field.map_or(null(), |field| field.name)
        };
        let c = pipeline_kind_definition_t {
            struct_size: size_of::<pipeline_kind_definition_t>() as u32,
            kind: definition.kind,
            name: self.text(definition.name.as_bytes())?,
            category: self.optional(&definition.category)?,
            role: Role::ALL.iter().position(|&role| role == definition.role).unwrap_or_default() as u32,
            pairs_with: definition.pairs_with.unwrap_or(PIPELINE_KIND_NONE),
            key_field: name_of(definition.key_field),
            duration_field: name_of(definition.duration_field),
            fields: if fields.is_empty() { null() } else { fields.as_ptr() },
            field_count: fields.len() as u32,
            field_size: if fields.is_empty() { 0 } else { size_of::<pipeline_field_t>() as u32 },
            payload_size: definition.size,
            reserved: 0,
        };
        push(&mut self.fields, fields)?;
        Ok(c)
    }

    fn field(&mut self, field: &Field) -> Result<pipeline_field_t> {
        let (integer, named) = match &field.field_type {
            Type::Enum { integer, values } => (u32::from(integer.code()), &values[..]),
            _ => (0, &[][..]),
        };
        let mut values = list(named.len())?;
        for value in named {
            let name = self.text(value.name.as_bytes())?;
            // As `pipeline_kind_define` takes it: that of a large u64 is cast.
            values.push(pipeline_enum_value_t { value: value.value as i64, name });
        }
        let c = pipeline_field_t {
            name: self.text(field.name.as_bytes())?,
            r#type: u32::from(field.field_type.code()),
            integer,
            offset: field.offset,
            length: match field.length {
                Length::Fixed(bytes) => bytes,
                Length::Rest => PIPELINE_LENGTH_REST,
            },
            unit: self.optional(&field.unit)?,
            hint: Hint::ALL.iter().position(|&hint| hint == field.hint).unwrap_or_default() as u32,
            value_count: values.len() as u32,
            values: if values.is_empty() { null() } else { values.as_ptr() },
        };
        push(&mut self.values, values)?;
        Ok(c)
    }
}
