//! The structs of a definition, and their constants.

use std::ffi::c_char;

/// `pipeline_kind_definition_t.role`: something happened at the event's time. The default.
pub const PIPELINE_ROLE_INSTANT: u32 = 0;
/// `pipeline_kind_definition_t.role`: a span begins. It ends with the next event of the kind `pairs_with` of the same thread (where the kinds have key
/// fields: with the same key).
pub const PIPELINE_ROLE_BEGIN: u32 = 1;
/// `pipeline_kind_definition_t.role`: a span ends. It began with an event of the kind `pairs_with`.
pub const PIPELINE_ROLE_END: u32 = 2;
/// `pipeline_kind_definition_t.role`: a whole span. It ends at the event's time, and has lasted for the nanoseconds in
/// `duration_field`.
pub const PIPELINE_ROLE_COMPLETE: u32 = 3;
/// `pipeline_kind_definition_t.role`: the fields of integers and floats are measured values. With a key field, each key is a series of
/// its own.
pub const PIPELINE_ROLE_COUNTER: u32 = 4;
/// `pipeline_kind_definition_t.role`: a step of something that moves from thread to thread. The steps of one flow have the same key or,
/// without a key field, the same correlation id.
pub const PIPELINE_ROLE_FLOW: u32 = 5;
/// `pipeline_kind_definition_t.role`: a message.
pub const PIPELINE_ROLE_LOG: u32 = 6;

/// `pipeline_field_t.type`: an unsigned integer of 1 byte. Numbers are little-endian, and need not be aligned.
pub const PIPELINE_TYPE_U8: u32 = 1;
/// `pipeline_field_t.type`: an unsigned integer of 2 bytes.
pub const PIPELINE_TYPE_U16: u32 = 2;
/// `pipeline_field_t.type`: an unsigned integer of 4 bytes.
pub const PIPELINE_TYPE_U32: u32 = 3;
/// `pipeline_field_t.type`: an unsigned integer of 8 bytes.
pub const PIPELINE_TYPE_U64: u32 = 4;
/// `pipeline_field_t.type`: a signed integer of 1 byte.
pub const PIPELINE_TYPE_I8: u32 = 5;
/// `pipeline_field_t.type`: a signed integer of 2 bytes.
pub const PIPELINE_TYPE_I16: u32 = 6;
/// `pipeline_field_t.type`: a signed integer of 4 bytes.
pub const PIPELINE_TYPE_I32: u32 = 7;
/// `pipeline_field_t.type`: a signed integer of 8 bytes.
pub const PIPELINE_TYPE_I64: u32 = 8;
/// `pipeline_field_t.type`: a float of 4 bytes.
pub const PIPELINE_TYPE_F32: u32 = 9;
/// `pipeline_field_t.type`: a float of 8 bytes.
pub const PIPELINE_TYPE_F64: u32 = 10;
/// `pipeline_field_t.type`: a byte; 0 is false, all else is true.
pub const PIPELINE_TYPE_BOOL: u32 = 11;
/// `pipeline_field_t.type`: an address, 8 bytes.
pub const PIPELINE_TYPE_ADDRESS: u32 = 12;
/// `pipeline_field_t.type`: a text in UTF-8. It ends before its first NUL, or with the field.
pub const PIPELINE_TYPE_STRING: u32 = 13;
/// `pipeline_field_t.type`: bytes.
pub const PIPELINE_TYPE_BYTES: u32 = 14;
/// `pipeline_field_t.type`: an integer of the type `integer` whose values have names.
pub const PIPELINE_TYPE_ENUM: u32 = 15;

/// `pipeline_field_t.hint`: the value is shown as its type usually is. The default.
pub const PIPELINE_HINT_NONE: u32 = 0;
/// `pipeline_field_t.hint`: a number, an address or bytes in hexadecimal.
pub const PIPELINE_HINT_HEXADECIMAL: u32 = 1;
/// `pipeline_field_t.hint`: a number of bytes, shown in KiB, MiB and so on.
pub const PIPELINE_HINT_BYTES: u32 = 2;
/// `pipeline_field_t.hint`: a number of nanoseconds, shown in us, ms or s.
pub const PIPELINE_HINT_NANOSECONDS: u32 = 3;

/// cbindgen:ignore
/// `pipeline_field_t.length`: all bytes of the payload from `offset` on. Only for the last field, and only for a string or bytes.
pub const PIPELINE_LENGTH_REST: u32 = u32::MAX;
/// cbindgen:ignore
/// `pipeline_kind_definition_t.pairs_with`: no kind.
pub const PIPELINE_KIND_NONE: u32 = u32::MAX;

/// A value of an enum and its name.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_enum_value_t {
    /// The value; that of a `PIPELINE_TYPE_U64` above the largest `int64_t` is cast to `int64_t`.
    pub value: i64,
    /// Its name: 1 to 63 bytes of UTF-8 without control characters.
    pub name: *const c_char,
}

/// A field of a payload. In an array, each is `pipeline_kind_definition_t.field_size` bytes behind the one before.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_field_t {
    /// Its name: a letter, then letters, digits and underscores, at most 63 bytes. Two names of a kind differ by more than case.
    pub name: *const c_char,
    /// `PIPELINE_TYPE_...`.
    pub r#type: u32,
    /// For a `PIPELINE_TYPE_ENUM`, the type of its integer: `PIPELINE_TYPE_U8` to `PIPELINE_TYPE_I64`. Otherwise 0.
    pub integer: u32,
    /// The offset of its first byte in the payload.
    pub offset: u32,
    /// The number of its bytes, or `PIPELINE_LENGTH_REST`. For all types but strings and bytes, 0 stands for the size of the type.
    pub length: u32,
    /// The unit of its value: at most 31 bytes of UTF-8 without control characters. NULL: none.
    pub unit: *const c_char,
    /// How its value is shown to people: `PIPELINE_HINT_...`.
    pub hint: u32,
    /// The number of `values`; 0 for all types but `PIPELINE_TYPE_ENUM`.
    pub value_count: u32,
    /// The values of an enum, one behind the other. NULL if there are none.
    pub values: *const pipeline_enum_value_t,
}

/// The definition of a kind. `pipeline_kind_definition_init` writes every default. Only `kind` and `name` must be set.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_kind_definition_t {
    /// `sizeof(pipeline_kind_definition_t)` of the caller.
    pub struct_size: u32,
    /// The kind; below `PIPELINE_KIND_RESERVED`.
    pub kind: u32,
    /// Its name: a letter, then letters, digits and underscores, at most 63 bytes. No other defined kind of the pipeline has it.
    pub name: *const c_char,
    /// A category, by which viewers group kinds: at most 63 bytes of UTF-8 without control characters. Default NULL: none.
    pub category: *const c_char,
    /// What an event of the kind says about the time: `PIPELINE_ROLE_...`.
    pub role: u32,
    /// For `PIPELINE_ROLE_BEGIN` and `_END`: the kind of the other end, whose definition names this one. Default
    /// `PIPELINE_KIND_NONE`.
    pub pairs_with: u32,
    /// The name of the field that tells one series, flow or pair from another. Default NULL: none.
    pub key_field: *const c_char,
    /// For `PIPELINE_ROLE_COMPLETE`: the name of the field with the duration in nanoseconds, an integer. Default NULL: none.
    pub duration_field: *const c_char,
    /// The fields. NULL if there are none.
    pub fields: *const pipeline_field_t,
    /// The number of fields, at most 64.
    pub field_count: u32,
    /// `sizeof(pipeline_field_t)` of the caller; 0 if there are no fields.
    pub field_size: u32,
    /// The size of the payload, without what the field of `PIPELINE_LENGTH_REST` has: fields lie within it. For a struct its `sizeof`, because
    /// it may have padding behind its last member. Default 0: up to the end of the last field.
    pub payload_size: u32,
    /// Must be 0.
    pub reserved: u32,
}
