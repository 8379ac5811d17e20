//! Reading messages.

use super::structs::{self, pipeline_message_t};
use crate::ffi::guard::{guard, guard_new, null, require};
use crate::ffi::reader::kinds::{Kinds, pipeline_reader_kinds_t};
use crate::ffi::reader::next;
use crate::ffi::reader::structs::{
    pipeline_reader_attribute_t, pipeline_reader_event_t, pipeline_reader_thread_t,
};
use crate::ffi::reader::text::Texts;
use crate::ffi::sized;
use crate::journal::message::{Cursor, Reader};
use crate::platform::memory;
use crate::status::{PIPELINE_END, Result};
use std::ffi::c_void;

/// Reads messages.
#[allow(non_camel_case_types)] // the name is the header's
pub struct pipeline_message_reader_t {
    reader: Reader,
    /// The message that was taken last: the caller's, and valid until the next one is taken.
    message: (*const u8, usize),
    at: Cursor,
    kinds: Option<Box<Kinds>>,
    texts: Texts,
}

/// Opens a reader of messages, as `pipeline_message_encode` and `pipeline_message_encode_facts` make them. It uses at most about `memory_bytes` bytes of memory for a message: at least 16 MiB;
/// 0: 192 MiB. It needs no pipeline.
///
/// Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_INVALID`; `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_reader_open(
    memory_bytes: u64,
    out: *mut *mut pipeline_message_reader_t,
) -> i32 {
    guard_new(|| {
        require(out, "out")?;
        let reader = if memory_bytes == 0 { Reader::default() } else { Reader::new(memory_bytes)? };
        let handle = Box::new(pipeline_message_reader_t {
            reader,
            message: (std::ptr::null(), 0),
            at: Cursor::default(),
            kinds: None,
            texts: Texts::default(),
        });
        // SAFETY: by contract.
        unsafe { out.write(Box::into_raw(handle)) };
        Ok(())
    })
}

/// Takes a message: the `length` bytes at `data`, which stay valid and unchanged until the next call of this function or of `pipeline_message_reader_close`. It checks all of
/// it. A message that is damaged anywhere is refused as a whole; `pipeline_last_error` says where, and the reader has no message then. `message` becomes what the encoder said
/// about it, but for `schema`, which is 0: the transport has it. The reader remembers the facts in messages, also of earlier ones.
///
/// Set `message->struct_size`. One thread at a time. Errors: `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID` (no message, or a damaged one); `_UNSUPPORTED` (a later version wrote it, or this build has
/// no Zstandard); `_LIMIT` (`memory_bytes` is too little for it); `_NO_MEMORY`: the call may be made again. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `data` is NULL or as said; `message` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_reader_take(
    reader: *mut pipeline_message_reader_t,
    data: *const c_void,
    length: usize,
    message: *mut pipeline_message_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_reader(reader, |handle| {
            structs::check(message)?;
            memory::check()?;
            handle.message = (std::ptr::null(), 0);
            handle.at = Cursor::default();
            if length > 0 {
                require(data, "data")?;
            }
            let bytes: &[u8] =
                if length == 0 { &[] } else { std::slice::from_raw_parts(data.cast(), length) };
            let taken = handle.reader.take(bytes)?;
            handle.message = (bytes.as_ptr(), bytes.len());
            let shown = pipeline_message_t {
                struct_size: 0,
                blocks: taken.stretches,
                generation: taken.generation,
                ring_id: taken.ring_id,
                first_sequence: taken.first_sequence,
                schema: 0,
                count: if taken.stretches == 0 { taken.facts } else { taken.events } as usize,
                length,
            };
            sized::write_sized(message, &shown, "message").map(|()| 0)
        })
    }
}

/// Gives the next event of the message that was taken last. Set `event->struct_size`. The payload lies in the message, or in the reader until the next one is taken.
/// Returns `PIPELINE_OK`, or `PIPELINE_END` after the last event, and where there is no message. One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `event` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_reader_next(
    reader: *mut pipeline_message_reader_t,
    event: *mut pipeline_reader_event_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_reader(reader, |handle| {
            next::check(event)?;
            let (data, length) = handle.message;
            // (The message is valid until the next one is taken, by contract.)
            let message = if data.is_null() { &[] } else { std::slice::from_raw_parts(data, length) };
            let Some(given) = handle.reader.next(message, &mut handle.at) else {
                return Ok(PIPELINE_END);
            };
            sized::write_sized(event, &next::to_c(&given), "event").map(|()| 0)
        })
    }
}

/// Shows the kinds of the run of the message that was taken last, as far as messages have told. `*out` and what it points to are the reader's, and valid until the next call of this function or
/// `pipeline_message_reader_close`. One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_reader_definitions(
    reader: *mut pipeline_message_reader_t,
    out: *mut *const pipeline_reader_kinds_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_reader(reader, |handle| {
            require(out, "out")?;
            memory::check()?;
            let facts = handle.reader.facts(handle.reader.generation());
            let kinds = handle.kinds.insert(Kinds::of(facts)?);
            out.write(kinds.list());
            Ok(0)
        })
    }
}

/// Shows which thread captured into a ring buffer, as far as messages have told. Set `out->struct_size`. One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_NO_MEMORY`; `_NOT_FOUND`. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_reader_thread(
    reader: *mut pipeline_message_reader_t,
    generation: u64,
    ring_id: u64,
    out: *mut pipeline_reader_thread_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_reader(reader, |handle| {
            require(out, "out")?;
            let thread = handle.texts.thread(handle.reader.facts(generation), generation, ring_id)?;
            sized::write_sized(out, &thread, "out").map(|()| 0)
        })
    }
}

/// Shows an attribute of a run (see `pipeline_attribute`), as far as messages have told: the one at `index`, from 0, in the order of their names. Set `out->struct_size`. One thread at a
/// time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_NO_MEMORY`; `_NOT_FOUND`: there are not that many. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_reader_attribute(
    reader: *mut pipeline_message_reader_t,
    generation: u64,
    index: usize,
    out: *mut pipeline_reader_attribute_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_reader(reader, |handle| {
            require(out, "out")?;
            let attribute = handle.texts.attribute(handle.reader.facts(generation), generation, index)?;
            sized::write_sized(out, &attribute, "out").map(|()| 0)
        })
    }
}

/// Closes a reader and frees it. NULL is allowed and does nothing. One thread at a time. Returns `PIPELINE_OK`. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open, used by no other thread, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_reader_close(reader: *mut pipeline_message_reader_t) -> i32 {
    guard(|| {
        if !reader.is_null() {
            // SAFETY: made by `Box::into_raw`, and not used again, by contract.
            drop(unsafe { Box::from_raw(reader) });
        }
        Ok(())
    })
}

/// Runs the body of a call on a reader.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread.
unsafe fn on_reader(
    reader: *mut pipeline_message_reader_t,
    body: impl FnOnce(&mut pipeline_message_reader_t) -> Result<i32>,
) -> i32 {
    let mut status = 0;
    let failed = guard(|| {
        // SAFETY: by contract.
        status = body(unsafe { reader.as_mut() }.ok_or_else(|| null("the reader"))?)?;
        Ok(())
    });
    if failed == 0 { status } else { failed }
}
