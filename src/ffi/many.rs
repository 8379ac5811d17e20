//! Captures of several events in one call.

use super::capture::capture_event_slow;
use super::guard::{guard_capture, null_argument, set_last_error};
use super::offer::own_offer;
use super::target::Target;
use crate::capture::FastPath;
use crate::event::Event;
use crate::manager::{Pipeline, Producer};
use crate::status::{PIPELINE_ERR_FORKED, PIPELINE_ERR_VERSION, PIPELINE_OK};

/// `pipeline_capture_many` and `pipeline_producer_capture_many`.
///
/// # Safety
/// `target` is NULL or valid, and the calling thread's to use; `events` is NULL or points to `count` events that each follow the one before by
/// the first one's `struct_size`; `captured` is NULL or writable.
#[inline(always)]
unsafe fn capture_many<T: Target>(
    target: *const T,
    events: *const Event,
    count: usize,
    captured: *mut usize,
) -> i32 {
    let mut done = 0;
    let status = guard_capture(|| {
        // SAFETY: by contract.
        let Some(target) = (unsafe { target.as_ref() }) else { return null_argument(T::NULL) };
        if target.forked() {
            return PIPELINE_ERR_FORKED;
        }
        // SAFETY: passed on.
        unsafe { capture_in_order(target, events, count, &mut done) }
    });
    if !captured.is_null() {
        // SAFETY: by contract.
        unsafe { captured.write(done) };
    }
    status
}

/// Captures runs of events by the fast path, each run with one publication, and every other event by itself. It stops at the
/// first event that is refused, or dropped because there is no room.
///
/// # Safety
/// As for [`capture_many`].
#[inline(always)]
unsafe fn capture_in_order<T: Target>(
    target: &T,
    events: *const Event,
    count: usize,
    captured: &mut usize,
) -> i32 {
    // SAFETY: by contract; no alignment is assumed.
    let size = |event: *const Event| unsafe { (&raw const (*event).struct_size).read_unaligned() };
    let stride = if events.is_null() || count == 0 { 0 } else { size(events) };
    let at = |n: usize| events.wrapping_byte_add(n.wrapping_mul(stride as usize));
    let mut done = 0;
    let mut status = PIPELINE_OK;
    while done < count && status >= PIPELINE_OK {
        if stride as usize == size_of::<Event>()
            && let Some(producer) = target.producer()
        {
            let (mut event, end) = (at(done), at(count));
            let next = || {
                if event == end {
                    return None;
                }
                // SAFETY: one of the `count`; of our size, or it is not read further.
                let offer = unsafe { own_offer(event) };
                event = event.wrapping_add(1);
                offer
            };
            // SAFETY: the payloads are readable by contract.
            let (run, then) = unsafe { producer.capture_many_fast(next) };
            done += run;
            if then == FastPath::CapturedWake {
                producer.wake_writer();
            }
        }
        if done < count {
            let event = at(done);
            status = if !event.is_null() && size(event) != stride {
                set_last_error(format_args!(
                    "pipeline_event_t.struct_size of event {done}: {stride} allowed (that of event 0), {} given",
                    size(event)
                ));
                target.count_invalid();
                PIPELINE_ERR_VERSION
            } else {
                // SAFETY: as its struct_size says, by contract.
                unsafe { capture_event_slow(target, event) }
            };
            done += usize::from(status >= PIPELINE_OK);
        }
    }
    *captured = done;
    // (An event that was sampled out has not stopped it.)
    status.min(PIPELINE_OK)
}

/// Captures `count` events in their order, as `pipeline_capture_event` does one by one, at a lower cost. The events lie in an
/// array. All have the same `struct_size`, and each begins `struct_size` bytes after the one before it.
///
/// It stops at the first event that is refused, or dropped because there is no room, counts that one, and returns its status. (If the event has another
/// `struct_size` than the first, that is `PIPELINE_ERR_VERSION`.) The events behind it are not offered: they are in no count, and
/// may be offered again. Events that are sampled out do not stop it. `*captured` is the number of events before the one at which it stopped, whatever the call returns: those
/// captured and those sampled out. `captured` may be NULL. `events` may be NULL if `count` is 0.
///
/// Events of one call may have the same time. It never goes back. Writers may see the first events before the last ones are
/// captured.
///
/// Any thread, callbacks included. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `events` as said, their `data` to `len` readable bytes; `captured` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_capture_many(
    p: *const Pipeline,
    events: *const Event,
    count: usize,
    captured: *mut usize,
) -> i32 {
    // SAFETY: passed on; a thread's producer is its own.
    unsafe { capture_many(p, events, count, captured) }
}

/// As `pipeline_capture_many`, through a producer. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread; the rest as for `pipeline_capture_many`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_capture_many(
    r: *mut Producer,
    events: *const Event,
    count: usize,
    captured: *mut usize,
) -> i32 {
    // SAFETY: passed on.
    unsafe { capture_many(r.cast_const(), events, count, captured) }
}
