//! Typed kinds for C: the structs of a definition, and the call that takes it.

mod read;
mod structs;

use super::guard::{guard, guard_pipeline_new};
use super::sized;
use crate::manager::Pipeline;
use read::read;
pub use structs::*;

// SAFETY: repr(C), plain integers and pointers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_kind_definition_t {
    const NAME: &'static str = "pipeline_kind_definition_t";
}

const DEFAULTS: pipeline_kind_definition_t = pipeline_kind_definition_t {
    struct_size: size_of::<pipeline_kind_definition_t>() as u32,
    kind: 0,
    name: std::ptr::null(),
    category: std::ptr::null(),
    role: PIPELINE_ROLE_INSTANT,
    pairs_with: PIPELINE_KIND_NONE,
    key_field: std::ptr::null(),
    duration_field: std::ptr::null(),
    fields: std::ptr::null(),
    field_count: 0,
    field_size: 0,
    payload_size: 0,
    reserved: 0,
};

/// Writes every default to `definition` and sets its `struct_size`. Pass `sizeof(pipeline_kind_definition_t)` as `struct_size`. Any
/// thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `definition` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_kind_definition_init(
    definition: *mut pipeline_kind_definition_t,
    struct_size: usize,
) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(definition, struct_size, &DEFAULTS, "definition") })
}

/// Defines a kind: its name, what its events say about the time, and the fields of its payload. Captures stay as they are: the payload is the caller's
/// bytes, and is not checked. The definition goes to storages that keep facts (`PIPELINE_STORAGE_META`), which can then show the fields: the
/// SQLite storage makes a view `kind_NAME` with a column for each. It also gives the kind its name, as `pipeline_kind_name` does.
///
/// It holds for all events of the kind, also for those that were captured before. A storage may see some of them before it sees the definition. The
/// definition cannot change while the pipeline runs: to define the kind again with the same layout is `PIPELINE_OK` and
/// changes nothing, also if category, units or hints differ; with another layout it is `PIPELINE_ERR_FIXED`, and
/// `pipeline_last_error` names the first field that differs. At most 1,024 kinds can be defined, and a definition may take 16,384 bytes in all.
///
/// `definition` and what it points to are copied during the call. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_VERSION`;
/// `_INVALID` (`pipeline_last_error` names the field, the limit and the value); `_FIXED`; `_LIMIT`; `_FULL` (too many names and definitions wait to be stored);
/// `_NO_MEMORY`; `_CLOSED`; `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `definition` is NULL or as its `struct_size` says, with `field_count` fields, each `field_size` bytes behind the one
/// before, with `value_count` values; texts are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_kind_define(
    p: *mut Pipeline,
    definition: *const pipeline_kind_definition_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            let (c, _) = sized::read(definition, DEFAULTS, "definition")?;
            p.define_kind(read(&c)?)
        })
    }
}
