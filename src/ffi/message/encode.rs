//! Making messages.

use super::structs::{self, PIPELINE_MESSAGE_THREADS, pipeline_message_t};
use crate::batch::{BatchView, token};
use crate::ffi::guard::{guard, guard_new, null, require};
use crate::ffi::sized;
use crate::ffi::storage_journal::read_encoding;
use crate::journal::format::columns::is_supported;
use crate::journal::message::{Encoder, Message, NotEncoded};
use crate::platform::memory;
use crate::status::{
    Error, PIPELINE_END, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, PIPELINE_ERR_UNSUPPORTED, Result,
};
use std::ffi::c_void;

/// Makes messages.
#[allow(non_camel_case_types)] // the name is the header's
pub struct pipeline_message_encoder_t {
    encoder: Encoder,
}

/// Opens an encoder, which makes messages: events as blocks of a journal, for a storage that sends them somewhere. docs/format.md specifies them. `encoding` is
/// `PIPELINE_JOURNAL_RAW` or `PIPELINE_JOURNAL_COLUMNS...`; `flags` is 0 or `PIPELINE_MESSAGE_THREADS`. An encoder keeps its memory from message to message, some
/// times the size of a message.
///
/// Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_INVALID` (`encoding`, `flags`); `_UNSUPPORTED` (a build without Zstandard); `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_encoder_open(
    encoding: u32,
    flags: u32,
    out: *mut *mut pipeline_message_encoder_t,
) -> i32 {
    guard_new(|| {
        require(out, "out")?;
        let Some(read) = read_encoding(encoding) else {
            let detail =
                format!("encoding: PIPELINE_JOURNAL_RAW (0) to _COLUMNS_ZSTD (3) allowed, {encoding} given");
            return Err(Error::new(PIPELINE_ERR_INVALID, detail));
        };
        let codec = read.codec();
        if flags & !PIPELINE_MESSAGE_THREADS != 0 {
            let detail = format!("flags: 0 or PIPELINE_MESSAGE_THREADS (1) allowed, {flags:#x} given");
            return Err(Error::new(PIPELINE_ERR_INVALID, detail));
        }
        if !codec.is_none_or(is_supported) {
            let detail = "encoding: this build of the library has no Zstandard: build it with the cargo feature zstd, or use another encoding";
            return Err(Error::new(PIPELINE_ERR_UNSUPPORTED, detail));
        }
        let encoder = Encoder::new(codec, flags & PIPELINE_MESSAGE_THREADS != 0);
        let handle = Box::new(pipeline_message_encoder_t { encoder });
        // SAFETY: by contract.
        unsafe { out.write(Box::into_raw(handle)) };
        Ok(())
    })
}

/// Closes an encoder and frees it. NULL is allowed and does nothing. One thread at a time. Returns `PIPELINE_OK`. Since 0.1.0.
///
/// # Safety
/// `encoder` is NULL, or open, used by no other thread, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_encoder_close(encoder: *mut pipeline_message_encoder_t) -> i32 {
    guard(|| {
        if !encoder.is_null() {
            // SAFETY: made by `Box::into_raw`, and not used again, by contract.
            drop(unsafe { Box::from_raw(encoder) });
        }
        Ok(())
    })
}

/// Makes a message of events of `batch`, from index `first` on: at most `most` (`SIZE_MAX`: no limit), and as many as fit into the `size` bytes of `buffer`. The next
/// message begins at `first` + `message->count`. To be called with the batch that `store` or `dead_letter` was given, during the call or until the batch's token
/// is completed.
///
/// The same events make the same cut with the same encoder, `most` and `size`. A storage that sends a batch again keeps the cut of the first attempt also behind a stored prefix: it
/// remembers the sequence of the first event of each message and its count, and gives the count as `most`. The bytes may differ in the difference of the two clocks.
///
/// Returns `PIPELINE_OK`, or `PIPELINE_END` if `first` is the number of the batch's events. `PIPELINE_ERR_LIMIT`: the event at `first` does not fit alone, and `message->length`
/// becomes the bytes that it needs. `PIPELINE_ERR_INVALID`: the event at `first` can be in no message, because its payload is a handle (`PIPELINE_EVENT_RELEASE`), or it is one of
/// the library's own (`PIPELINE_STORAGE_META`); then `message->count` becomes 0, and the rest may be encoded from `first` + 1 on. See `pipeline_batch_set_rejected` for both.
///
/// Set `message->struct_size`. One thread at a time uses an encoder; callbacks included, not in a signal handler. Other errors: `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID`
/// (`first`, `most`), and then `message` is not written; `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `encoder` is NULL, or open and used by no other thread; `batch` is NULL or valid; `buffer` has `size` writable bytes; `message` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_encode(
    encoder: *mut pipeline_message_encoder_t,
    batch: *const BatchView,
    first: usize,
    most: usize,
    buffer: *mut c_void,
    size: usize,
    message: *mut pipeline_message_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_encoder(encoder, batch, buffer, size, message, |encoder, batch| {
            if first > batch.count {
                let detail =
                    format!("first: 0 to {} allowed (the batch's events), {first} given", batch.count);
                return Err(Error::new(PIPELINE_ERR_INVALID, detail));
            }
            if most == 0 {
                return Err(Error::new(PIPELINE_ERR_INVALID, "most: at least 1 allowed, 0 given"));
            }
            // (A batch for the dead letter has no token.)
            let source = token::answered(batch.token).ok();
            let old = source.as_ref().and_then(|source| source.old_run(batch.generation));
            let thread = |ring_id| match &old {
                Some(run) => run.thread_of(ring_id),
                None => source.as_ref().and_then(|source| source.thread_of(ring_id)),
            };
            let facts = old.as_ref().map(|run| &run.facts);
            let facts = facts.or_else(|| source.as_ref().and_then(|source| source.facts()));
            let schema = facts.map_or(0, |facts| facts.count());
            Ok((encoder.encode(batch, first, most, size, thread), schema))
        })
    }
}

/// Makes a message of facts about the events of the pipeline that `batch` is of: names and definitions of kinds, attributes, readings of the clocks. They are a list that only grows, and a fact
/// never changes. The message begins with the fact number `first` (0: the oldest), and has as many as fit into the `size` bytes of `buffer`. `message->schema` becomes the number of
/// all facts in the list: if `first` + `message->count` is less, the next message begins there. As long as `message->schema` of `pipeline_message_encode` does not grow, there are no new facts.
///
/// To be called during `store`, or until the batch's token is completed. Set `message->struct_size`. Returns `PIPELINE_OK`, or `PIPELINE_END` if there are no more than `first` facts.
/// `PIPELINE_ERR_LIMIT`: the fact does not fit alone, and `message->length` becomes the bytes that it needs.
///
/// One thread at a time uses an encoder; callbacks included, not in a signal handler. Other errors: `PIPELINE_ERR_NULL`; `_VERSION`; `_UNKNOWN_TOKEN`; `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// As for `pipeline_message_encode`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_message_encode_facts(
    encoder: *mut pipeline_message_encoder_t,
    batch: *const BatchView,
    first: usize,
    buffer: *mut c_void,
    size: usize,
    message: *mut pipeline_message_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_encoder(encoder, batch, buffer, size, message, |encoder, batch| {
            let source = token::answered(batch.token)?;
            let old = source.old_run(batch.generation);
            let facts = old.as_ref().map(|run| &run.facts).or_else(|| source.facts());
            let facts = facts.ok_or_else(|| token::unknown(batch.token))?;
            let schema = facts.count();
            Ok((encoder.encode_facts(batch.generation, facts, first, size), schema))
        })
    }
}

/// Checks the arguments that both calls have, and fills in the buffer and the message.
///
/// # Safety
/// As for [`pipeline_message_encode`].
unsafe fn on_encoder(
    encoder: *mut pipeline_message_encoder_t,
    batch: *const BatchView,
    buffer: *mut c_void,
    size: usize,
    message: *mut pipeline_message_t,
    encode: impl FnOnce(&mut Encoder, &BatchView) -> Result<(Result<Message, NotEncoded>, usize)>,
) -> i32 {
    let mut status = 0;
    let failed = guard_new(|| {
        // SAFETY: by contract.
        let encoder = &mut unsafe { encoder.as_mut() }.ok_or_else(|| null("the encoder"))?.encoder;
        // SAFETY: by contract.
        let batch = unsafe { batch.as_ref() }.ok_or_else(|| null("batch"))?;
        require(buffer, "buffer")?;
        // SAFETY: by contract.
        unsafe { structs::check(message) }?;
        let (encoded, schema) = encode(encoder, batch)?;
        let mut shown = pipeline_message_t {
            generation: batch.generation,
            schema: schema as u64,
            ..pipeline_message_t::default()
        };
        let result = match encoded {
            Ok(made) => {
                shown.blocks = made.stretches;
                shown.ring_id = made.ring_id;
                shown.first_sequence = made.first_sequence;
                shown.count = made.count;
                shown.length = made.len;
                debug_assert!(made.len <= size);
                let mut at = 0;
                for bytes in encoder.bytes() {
                    // SAFETY: the buffer has `size` bytes, and the message was made for so many.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            bytes.as_ptr(),
                            buffer.cast::<u8>().add(at),
                            bytes.len(),
                        );
                    }
                    at += bytes.len();
                }
                Ok(())
            }
            Err(NotEncoded::Nothing) => {
                status = PIPELINE_END;
                Ok(())
            }
            Err(NotEncoded::TooLarge(needed)) => {
                shown.length = needed;
                let detail = format!("size: {needed} bytes needed for the first one alone, {size} given");
                Err(Error::new(PIPELINE_ERR_LIMIT, detail))
            }
            Err(NotEncoded::Refused(why)) => {
                Err(Error::new(PIPELINE_ERR_INVALID, format!("the event at first: {why}")))
            }
            Err(NotEncoded::NoMemory) => Err(memory::refused(size)),
        };
        // The payloads are the batch's, which may end.
        encoder.forget();
        // SAFETY: by contract.
        unsafe { sized::write_sized(message, &shown, "message") }?;
        result
    });
    if failed == 0 { status } else { failed }
}
