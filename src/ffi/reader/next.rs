//! The events that a reader gives.

use super::handle::{on_reader, pipeline_reader_t};
use super::structs::pipeline_reader_event_t;
use crate::ffi::guard::require;
use crate::ffi::sized;
use crate::journal::reader::Event;
use crate::status::{Error, PIPELINE_END, PIPELINE_ERR_INVALID, PIPELINE_ERR_TIMEOUT, Result};
use std::time::{Duration, Instant};

/// Gives the next event. Set `event->struct_size` to `sizeof(pipeline_reader_event_t)`. The payload is valid until the next call of this function, of
/// `pipeline_reader_next_many` or of `pipeline_reader_close`.
///
/// Returns `PIPELINE_OK`, or `PIPELINE_END` after the last event; a reader with `PIPELINE_READER_FOLLOW` never ends: if there is no event within `timeout_ms`, it
/// returns `PIPELINE_ERR_TIMEOUT` (-1 waits for ever, 0 does not wait). Other readers ignore `timeout_ms`. What is damaged or missing is skipped and counted: see `pipeline_reader_losses`.
///
/// One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`; `_NO_MEMORY`, `_SYSTEM`, `_LIMIT`: the call may be made again. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `event` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_reader_next(
    reader: *mut pipeline_reader_t,
    timeout_ms: i64,
    event: *mut pipeline_reader_event_t,
) -> i32 {
    // SAFETY: passed on.
    unsafe { on_reader(reader, |handle| next(handle, timeout_ms, event, 1, None)) }
}

/// As `pipeline_reader_next`, for up to `capacity` events at less than they cost one by one. `events` is an array whose elements each follow the one before by
/// the `struct_size` of the first. `*count` is set to the number of events, at least 1, if the call returns `PIPELINE_OK`; it may be less than `capacity` at any time. All payloads are valid until the
/// next call of either function. Since 0.1.0.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread; `events` is NULL or as said; `count` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_reader_next_many(
    reader: *mut pipeline_reader_t,
    timeout_ms: i64,
    events: *mut pipeline_reader_event_t,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    // SAFETY: passed on.
    unsafe {
        on_reader(reader, |handle| {
            require(events, "events")?;
            require(count, "count")?;
            if capacity == 0 {
                return Err(Error::new(PIPELINE_ERR_INVALID, "capacity: at least 1 allowed, 0 given"));
            }
            next(handle, timeout_ms, events, capacity, Some(count))
        })
    }
}

/// # Safety
/// `events` is NULL or an array of `capacity`, as its first `struct_size` says; `count` is writable if it is given.
unsafe fn next(
    handle: &mut pipeline_reader_t,
    timeout_ms: i64,
    events: *mut pipeline_reader_event_t,
    capacity: usize,
    count: Option<*mut usize>,
) -> Result<i32> {
    // SAFETY: by contract.
    let size = unsafe { check(events) }?;
    let mut at = events;
    let mut write = |event: &Event<'_>| {
        // SAFETY: `at` is the next element of the array, of a size that was checked.
        let written = unsafe { sized::write(at, size, &to_c(event), "event") };
        at = at.wrapping_byte_add(size);
        debug_assert!(written.is_ok());
    };
    let start = (timeout_ms > 0).then(Instant::now);
    loop {
        let given = handle.reader.next_some(capacity, &mut write)?;
        if given > 0 {
            if let Some(count) = count {
                // SAFETY: by contract.
                unsafe { count.write(given) };
            }
            return Ok(0);
        }
        if !handle.reader.is_following() {
            return Ok(PIPELINE_END);
        }
        let left = match (start, u64::try_from(timeout_ms)) {
            (_, Err(_)) => Duration::MAX,
            (Some(start), Ok(ms)) => Duration::from_millis(ms).saturating_sub(start.elapsed()),
            (None, Ok(_)) => Duration::ZERO,
        };
        if left.is_zero() {
            return Err(Error::new(PIPELINE_ERR_TIMEOUT, "no event was written meanwhile"));
        }
        handle.reader.wait(left);
    }
}

/// Checks an event that is to be filled in, and answers its size.
///
/// # Safety
/// `event` is NULL or as its `struct_size` says.
pub(in crate::ffi) unsafe fn check(event: *const pipeline_reader_event_t) -> Result<usize> {
    require(event, "event")?;
    // SAFETY: at least four bytes are readable, by contract.
    let size = unsafe { event.cast::<u32>().read_unaligned() } as usize;
    sized::check::<pipeline_reader_event_t>(size)?;
    Ok(size)
}

/// The event as C sees it.
pub(in crate::ffi) fn to_c(event: &Event<'_>) -> pipeline_reader_event_t {
    pipeline_reader_event_t {
        struct_size: 0,
        kind: event.kind,
        generation: event.generation,
        ring_id: event.ring_id,
        sequence: event.sequence,
        timestamp_ns: event.timestamp_ns,
        realtime_ns: event.realtime_ns,
        correlation_id: event.correlation_id,
        node_id: event.node_id,
        flags: event.flags,
        reserved: 0,
        weight: event.weight,
        data: event.payload.as_ptr().cast(),
        len: event.payload.len(),
    }
}
