//! Opening and closing a reader.

use super::handle::pipeline_reader_t;
use super::structs::{
    DEFAULTS, PIPELINE_READER_FOLLOW, PIPELINE_READER_TIME_ORDER, pipeline_reader_options_t,
};
use super::text::Texts;
use crate::ffi::guard::{guard, guard_new, require};
use crate::ffi::sized;
use crate::journal::reader::{Options, Order, Reader};
use crate::platform::memory;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, Result};
use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most kinds of a filter.
const MAX_KINDS: usize = 65_536;

/// Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_reader_options_t)` as `struct_size`. Any
/// thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_reader_options_init(
    options: *mut pipeline_reader_options_t,
    struct_size: usize,
) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(options, struct_size, &DEFAULTS, "options") })
}

/// Opens the journal in the directory `path`, or the single segment `path`. It reads the headers of all blocks, and what the journal says about kinds, threads and
/// clocks. `options` may be NULL: everything is given, as it is stored. A directory without a segment is an empty journal. A reader needs no
/// pipeline, writes nothing, and may be used while the journal is written, by this process or another.
///
/// Any thread, callbacks included (it waits for the disk); not in a signal handler. Errors: `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID` (an option, or the file is no
/// segment); `_NOT_FOUND`; `_UNSUPPORTED` (`path` is a segment of another version or byte order; in a directory, such segments are
/// counted in `pipeline_reader_losses_t`); `_LIMIT` (`memory_bytes` is too little for so many blocks); `_SYSTEM`; `_NO_MEMORY`. `pipeline_last_error` names the
/// file or the option. Since 0.1.0.
///
/// # Safety
/// `path` is NULL or NUL-terminated; `options` is NULL or as its `struct_size` says, with `kind_count` kinds; `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_reader_open(
    path: *const c_char,
    options: *const pipeline_reader_options_t,
    out: *mut *mut pipeline_reader_t,
) -> i32 {
    guard_new(|| {
        require(path, "path")?;
        require(out, "out")?;
        // SAFETY: by contract.
        let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
        let options = if options.is_null() {
            Options::default()
        } else {
            // SAFETY: by contract.
            unsafe { from_c(&sized::read(options, DEFAULTS, "options")?.0) }?
        };
        let reader = Reader::open(path, options)?;
        let handle = Box::new(pipeline_reader_t { reader, kinds: None, texts: Texts::default() });
        // SAFETY: by contract.
        unsafe { out.write(Box::into_raw(handle)) };
        Ok(())
    })
}

/// # Safety
/// `c.kinds` is NULL or points to `c.kind_count` kinds.
unsafe fn from_c(c: &pipeline_reader_options_t) -> Result<Options> {
    let known = PIPELINE_READER_TIME_ORDER | PIPELINE_READER_FOLLOW;
    if c.flags & !known != 0 {
        let detail = format!("flags: {known:#x} allowed, {:#x} given", c.flags);
        return Err(Error::new(PIPELINE_ERR_INVALID, detail));
    }
    if c.kind_count > MAX_KINDS {
        let detail = format!("kind_count: at most {MAX_KINDS} allowed, {} given", c.kind_count);
        return Err(Error::new(PIPELINE_ERR_LIMIT, detail));
    }
    if c.kind_count > 0 {
        require(c.kinds, "kinds")?;
    }
    let mut kinds = None;
    if !c.kinds.is_null() {
        let mut list = Vec::new();
        list.try_reserve_exact(c.kind_count).map_err(|_| memory::refused(c.kind_count * 4))?;
        // SAFETY: by contract; no alignment is assumed.
        list.extend((0..c.kind_count).map(|n| unsafe { c.kinds.add(n).read_unaligned() }));
        kinds = Some(list);
    }
    Ok(Options {
        order: if c.flags & PIPELINE_READER_TIME_ORDER != 0 { Order::Time } else { Order::Stored },
        follow: c.flags & PIPELINE_READER_FOLLOW != 0,
        kinds,
        correlation_id: (c.correlation_id != 0).then_some(c.correlation_id),
        generation: (c.generation != 0).then_some(c.generation),
        from_ns: c.from_ns,
        to_ns: c.to_ns,
        from_realtime_ns: c.from_realtime_ns,
        to_realtime_ns: c.to_realtime_ns,
        memory_bytes: usize::try_from(c.memory_bytes).unwrap_or(usize::MAX),
    })
}

/// Closes a reader and frees it. NULL is allowed and does nothing. One thread at a time. Returns `PIPELINE_OK`. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open, used by no other thread, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_reader_close(reader: *mut pipeline_reader_t) -> i32 {
    guard(|| {
        if !reader.is_null() {
            // SAFETY: made by `Box::into_raw`, and not used again, by contract.
            drop(unsafe { Box::from_raw(reader) });
        }
        Ok(())
    })
}
