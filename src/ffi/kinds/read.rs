//! From the structs of a definition to the definition: texts are copied, and what cannot be read is refused by name.

use super::super::guard::require;
use super::super::sized;
use super::structs::{
    PIPELINE_KIND_NONE, PIPELINE_LENGTH_REST, PIPELINE_TYPE_ENUM, pipeline_field_t,
    pipeline_kind_definition_t,
};
use crate::kinds::{
    Definition, EnumValue, Field, Hint, Integer, Invalid, Length, MAX_FIELDS, MAX_NAME, MAX_UNIT, MAX_VALUES,
    Role, Type, shown_kind,
};
use crate::platform::memory;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_NO_MEMORY, Result};
use std::ffi::{CStr, c_char};

/// # Safety
/// As for [`pipeline_kind_define`](super::pipeline_kind_define).
pub(super) unsafe fn read(c: &pipeline_kind_definition_t) -> Result<Definition> {
    let of_kind = |why: Error| Error::new(why.status, format!("kind {}: {}", shown_kind(c.kind), why.detail));
    // SAFETY: passed on.
    unsafe { read_parts(c) }.map_err(of_kind)
}

/// # Safety
/// As for [`pipeline_kind_define`](super::pipeline_kind_define).
unsafe fn read_parts(c: &pipeline_kind_definition_t) -> Result<Definition> {
    if c.reserved != 0 {
        return Err(invalid(format!("reserved: 0 allowed, {} given", c.reserved)));
    }
    require(c.name, "name")?;
    let Some(role) = Role::ALL.get(c.role as usize) else {
        return Err(invalid(format!("role: 0 to {} allowed, {} given", Role::ALL.len() - 1, c.role)));
    };
    // SAFETY: texts by contract.
    let (name, category) =
        unsafe { (text(c.name, MAX_NAME, "name")?, text(c.category, MAX_NAME, "category")?) };
    let mut definition = Definition {
        name,
        category,
        role: *role,
        pairs_with: (c.pairs_with != PIPELINE_KIND_NONE).then_some(c.pairs_with),
        // SAFETY: by contract.
        fields: unsafe { fields(c) }?,
        ..Definition::new(c.kind, "")
    };
    if c.payload_size == 0 {
        definition.fit();
    } else {
        definition.size = c.payload_size;
    }
    // SAFETY: texts by contract.
    unsafe {
        definition.key_field = named(&definition, c.key_field, "key_field")?;
        definition.duration_field = named(&definition, c.duration_field, "duration_field")?;
    }
    Ok(definition)
}

/// # Safety
/// As for [`pipeline_kind_define`](super::pipeline_kind_define).
unsafe fn fields(c: &pipeline_kind_definition_t) -> Result<Vec<Field>> {
    let (count, stride) = (c.field_count as usize, c.field_size as usize);
    if count == 0 {
        return Ok(Vec::new());
    }
    require(c.fields, "fields")?;
    let least = size_of::<pipeline_field_t>();
    if stride < least || stride > sized::MAX_SIZE || !stride.is_multiple_of(align_of::<pipeline_field_t>()) {
        return Err(invalid(format!(
            "field_size: sizeof(pipeline_field_t) expected ({least}), {stride} given"
        )));
    }
    // One more than is allowed, which the check then names.
    let read = count.min(MAX_FIELDS + 1);
    let mut fields = list(read)?;
    for index in 0..read {
        let at = c.fields.wrapping_byte_add(index * stride);
        // SAFETY: one of the fields, by contract. No alignment is assumed.
        let (field, known) = unsafe { (at.read_unaligned(), size_of::<pipeline_field_t>()) };
        for byte in known..stride {
            // SAFETY: within the stride.
            if unsafe { at.cast::<u8>().add(byte).read() } != 0 {
                return Err(invalid(format!(
                    "fields[{index}]: byte {byte} of {stride} is not zero, and this library knows {known} bytes"
                )));
            }
        }
        // SAFETY: by contract.
        fields.push(unsafe { one_field(&field, index) }?);
    }
    if read < count {
        return Err(Invalid::too_many_fields(&fields, count).into());
    }
    Ok(fields)
}

/// # Safety
/// As for [`pipeline_kind_define`](super::pipeline_kind_define).
unsafe fn one_field(c: &pipeline_field_t, index: usize) -> Result<Field> {
    require(c.name, &format!("fields[{index}].name"))?;
    let place = format!("field fields[{index}]: ");
    // SAFETY: a text by contract.
    let name = unsafe { text(c.name, MAX_NAME, &format!("{place}name")) }?;
    let place = format!("field {}: ", Invalid::label(&name, index));
    let refuse = |reason: String| Err(invalid(format!("{place}{reason}")));
    let is_enum = c.r#type == PIPELINE_TYPE_ENUM;
    if !is_enum && c.integer != 0 {
        return refuse(format!("integer: only for an enum, {} given", c.integer));
    }
    if !is_enum && c.value_count != 0 {
        return refuse(format!("value_count: only for an enum, {} given", c.value_count));
    }
    // SAFETY: by contract.
    let enumeration = if is_enum { Some(unsafe { enumeration(c, &place) }?) } else { None };
    let code = u8::try_from(c.r#type).unwrap_or_default();
    let Some(field_type) = Type::from_code(code, || enumeration) else {
        return refuse(format!("type: {} is unknown", c.r#type));
    };
    let Some(hint) = Hint::ALL.get(c.hint as usize) else {
        return refuse(format!("hint: 0 to {} allowed, {} given", Hint::ALL.len() - 1, c.hint));
    };
    let length = match (c.length, field_type.size()) {
        (PIPELINE_LENGTH_REST, _) => Length::Rest,
        (0, Some(size)) => Length::Fixed(size),
        (bytes, _) => Length::Fixed(bytes),
    };
    // SAFETY: a text by contract.
    let unit = unsafe { text(c.unit, MAX_UNIT, &format!("{place}unit")) }?;
    Ok(Field { name, field_type, offset: c.offset, length, unit, hint: *hint })
}

/// # Safety
/// As for [`pipeline_kind_define`](super::pipeline_kind_define).
unsafe fn enumeration(c: &pipeline_field_t, place: &str) -> Result<Type> {
    let Some(integer) = u8::try_from(c.integer).ok().and_then(Integer::from_code) else {
        let last = Integer::ALL.len();
        return Err(invalid(format!("{place}integer: 1 to {last} allowed for an enum, {} given", c.integer)));
    };
    let count = c.value_count as usize;
    if count > MAX_VALUES {
        return Err(invalid(format!("{place}value_count: at most {MAX_VALUES} allowed, {count} given")));
    }
    if count > 0 {
        require(c.values, &format!("{place}values"))?;
    }
    let mut values = list(count)?;
    for index in 0..count {
        // SAFETY: one of the values, by contract. No alignment is assumed.
        let entry = unsafe { c.values.wrapping_add(index).read_unaligned() };
        let what = format!("{place}values[{index}]: name");
        require(entry.name, &what)?;
        // SAFETY: a text by contract.
        let name = unsafe { text(entry.name, MAX_NAME, &what) }?;
        let unsigned = integer == Integer::U64;
        let value = if unsigned { entry.value.cast_unsigned().into() } else { entry.value.into() };
        values.push(EnumValue { value, name });
    }
    Ok(Type::Enum { integer, values })
}

/// The index of the field that a member of the definition names.
///
/// # Safety
/// `name` is NULL or NUL-terminated.
unsafe fn named(definition: &Definition, name: *const c_char, what: &str) -> Result<Option<usize>> {
    if name.is_null() {
        return Ok(None);
    }
    // SAFETY: by contract.
    let name = unsafe { text(name, MAX_NAME, what) }?;
    let index = definition.fields.iter().position(|field| field.name == name);
    match index {
        Some(index) => Ok(Some(index)),
        None => Err(invalid(format!("{what}: there is no field {name:?}"))),
    }
}

/// The text at a pointer; "" for NULL. It is not copied if it is too long.
///
/// # Safety
/// `from` is NULL or NUL-terminated.
unsafe fn text(from: *const c_char, most: usize, what: &str) -> Result<String> {
    if from.is_null() {
        return Ok(String::new());
    }
    // SAFETY: by contract.
    let bytes = unsafe { CStr::from_ptr(from) }.to_bytes();
    if bytes.len() > most {
        return Err(invalid(format!("{what}: at most {most} bytes allowed, {} given", bytes.len())));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => {
            Err(invalid(format!("{what}: UTF-8 expected, {:?} given", bytes.escape_ascii().to_string())))
        }
    }
}

fn list<T>(count: usize) -> Result<Vec<T>> {
    memory::check()?;
    let mut list = Vec::new();
    list.try_reserve_exact(count)
        .map_err(|_| Error::new(PIPELINE_ERR_NO_MEMORY, "no memory for the definition"))?;
    Ok(list)
}

fn invalid(detail: String) -> Error {
    Error::new(PIPELINE_ERR_INVALID, detail)
}
