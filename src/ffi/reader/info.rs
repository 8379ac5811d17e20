//! What a reader knows beside the events: kinds, threads, losses.

use super::handle::{on_reader, pipeline_reader_t};
use super::kinds::{Kinds, pipeline_reader_kinds_t};
use super::structs::{pipeline_reader_attribute_t, pipeline_reader_losses_t, pipeline_reader_thread_t};
use super::text::text;
use crate::ffi::guard::require;
use crate::ffi::sized;
use crate::journal::reader::Losses;
use crate::platform::memory;
use std::ffi::CStr;

/// Shows the kinds that have a name or a definition, of all runs in the journal. All that is known when the reader is opened is there; a reader that follows the
/// journal may learn more later. `*out` and what it points to are the reader's, and valid until the next call of this function or `pipeline_reader_close`.
///
/// One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_reader_definitions(
    reader: *mut pipeline_reader_t,
    out: *mut *const pipeline_reader_kinds_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_reader(reader, |handle| {
            require(out, "out")?;
            memory::check()?;
            let kinds = handle.kinds.insert(Kinds::of(handle.reader.facts())?);
            out.write(kinds.list());
            Ok(0)
        })
    }
}

/// Shows which thread captured into a ring buffer. Set `out->struct_size`. One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`; `_NOT_FOUND`: the
/// journal does not say. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_reader_thread(
    reader: *mut pipeline_reader_t,
    generation: u64,
    ring_id: u64,
    out: *mut pipeline_reader_thread_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_reader(reader, |handle| {
            require(out, "out")?;
            let thread = handle.texts.thread(handle.reader.facts(), generation, ring_id)?;
            sized::write_sized(out, &thread, "out").map(|()| 0)
        })
    }
}

/// Shows an attribute of a run (see `pipeline_attribute`): the one at `index`, from 0, in the order of their names. Set `out->struct_size`. One
/// thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_NO_MEMORY`; `_NOT_FOUND`: there are not that many. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_reader_attribute(
    reader: *mut pipeline_reader_t,
    generation: u64,
    index: usize,
    out: *mut pipeline_reader_attribute_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_reader(reader, |handle| {
            require(out, "out")?;
            let attribute = handle.texts.attribute(handle.reader.facts(), generation, index)?;
            sized::write_sized(out, &attribute, "out").map(|()| 0)
        })
    }
}

/// Counts what the reader could not give so far. Set `out->struct_size`. One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_reader_losses(
    reader: *mut pipeline_reader_t,
    out: *mut pipeline_reader_losses_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        on_reader(reader, |handle| {
            require(out, "out")?;
            memory::check()?;
            let losses = handle.reader.losses();
            handle.texts.text = text(losses.to_string().as_bytes())?;
            let losses = losses_to_c(losses, &handle.texts.text);
            sized::write_sized(out, &losses, "out").map(|()| 0)
        })
    }
}

fn losses_to_c(losses: &Losses, details: &CStr) -> pipeline_reader_losses_t {
    pipeline_reader_losses_t {
        struct_size: 0,
        any: u32::from(!losses.is_empty()),
        damaged_blocks: losses.damaged_blocks,
        damaged_events: losses.damaged_events,
        damages: losses.damages,
        damaged_bytes: losses.damaged_bytes,
        torn_tails: losses.torn_tails,
        torn_bytes: losses.torn_bytes,
        unreadable_blocks: losses.unreadable.values().map(|entry| entry.blocks).sum(),
        unreadable_events: losses.unreadable.values().map(|entry| entry.events).sum(),
        duplicates: losses.duplicates,
        contradictions: losses.contradictions,
        bad_facts: losses.contradicting_facts + losses.unreadable_facts + losses.facts_left_out,
        refused_segments: losses.refused.len() as u64,
        gone_segments: losses.gone.len() as u64,
        gone_events: losses.gone.iter().map(|gone| gone.events).sum(),
        details: details.as_ptr(),
    }
}
