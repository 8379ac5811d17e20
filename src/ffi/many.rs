//! Captures of several events in one call.

use super::capture::{capture_event_else, producer_capture_event_else};
use super::guard::{guard_capture, null_argument, set_last_error};
use super::offer::own_offer;
use crate::event::Event;
use crate::manager::{Pipeline, Producer};
use crate::ring::producer::AtOnce;
use crate::status::{PIPELINE_ERR_FORKED, PIPELINE_ERR_VERSION, PIPELINE_OK};

/// What the events are captured through.
trait Way {
    /// What is said where there is none.
    const NULL: &'static str;

    fn forked(&self) -> bool;

    /// The calling thread's to use, if it has one yet.
    fn producer(&self) -> Option<&Producer>;

    /// Captures one event, whatever is to be said of it.
    ///
    /// # Safety
    /// `event` is NULL or as its `struct_size` says.
    unsafe fn capture_event(&self, event: *const Event) -> i32;

    fn count_invalid(&self);
}

impl Way for Pipeline {
    const NULL: &'static str = "the pipeline is NULL";

    #[inline(always)]
    fn forked(&self) -> bool {
        self.forked()
    }

    #[inline(always)]
    fn producer(&self) -> Option<&Producer> {
        self.producer()
    }

    #[inline(always)]
    unsafe fn capture_event(&self, event: *const Event) -> i32 {
        // SAFETY: passed on.
        unsafe { capture_event_else(self, event) }
    }

    fn count_invalid(&self) {
        self.count_invalid();
    }
}

impl Way for Producer {
    const NULL: &'static str = "the producer is NULL";

    #[inline(always)]
    fn forked(&self) -> bool {
        self.forked()
    }

    #[inline(always)]
    fn producer(&self) -> Option<&Producer> {
        Some(self)
    }

    #[inline(always)]
    unsafe fn capture_event(&self, event: *const Event) -> i32 {
        // SAFETY: passed on; a capture changes a producer through its cells alone.
        unsafe { producer_capture_event_else(std::ptr::from_ref(self).cast_mut(), event) }
    }

    fn count_invalid(&self) {
        self.count_invalid();
    }
}

/// What both functions below do.
///
/// # Safety
/// `way` is NULL or valid, and the calling thread's to use; `events` is NULL or points to `count` events that each follow the one before by
/// the first one's `struct_size`; `captured` is NULL or writable.
#[inline(always)]
unsafe fn capture_many<W: Way>(
    way: *const W,
    events: *const Event,
    count: usize,
    captured: *mut usize,
) -> i32 {
    let mut done = 0;
    let status = guard_capture(|| {
        // SAFETY: by contract.
        let Some(way) = (unsafe { way.as_ref() }) else { return null_argument(W::NULL) };
        if way.forked() {
            return PIPELINE_ERR_FORKED;
        }
        // SAFETY: passed on.
        unsafe { capture_in_order(way, events, count, &mut done) }
    });
    if !captured.is_null() {
        // SAFETY: by contract.
        unsafe { captured.write(done) };
    }
    status
}

/// The events of a run in which all is as usual together, any other by itself; up to the first that is not captured.
///
/// # Safety
/// As for [`capture_many`].
#[inline(always)]
unsafe fn capture_in_order<W: Way>(way: &W, events: *const Event, count: usize, captured: &mut usize) -> i32 {
    // SAFETY: by contract; no alignment is assumed.
    let size = |event: *const Event| unsafe { (&raw const (*event).struct_size).read_unaligned() };
    let stride = if events.is_null() || count == 0 { 0 } else { size(events) };
    let at = |n: usize| events.wrapping_byte_add(n.wrapping_mul(stride as usize));
    let mut done = 0;
    let mut status = PIPELINE_OK;
    while done < count && status == PIPELINE_OK {
        if stride as usize == size_of::<Event>()
            && let Some(producer) = way.producer()
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
            let (run, then) = unsafe { producer.capture_run_at_once(next) };
            done += run;
            if then == AtOnce::Knock {
                producer.knock();
            }
        }
        if done < count {
            let event = at(done);
            status = if !event.is_null() && size(event) != stride {
                set_last_error(format_args!(
                    "pipeline_event_t.struct_size of event {done}: {stride} allowed (that of event 0), {} given",
                    size(event)
                ));
                way.count_invalid();
                PIPELINE_ERR_VERSION
            } else {
                // SAFETY: as its struct_size says, by contract.
                unsafe { way.capture_event(event) }
            };
            done += usize::from(status == PIPELINE_OK);
        }
    }
    *captured = done;
    status
}

/// Captures `count` events in their order, as `pipeline_capture_event` does one by one, at less than that costs. They lie in an
/// array: each `struct_size` bytes behind the one before, and of the same `struct_size`.
///
/// It stops at the first event that is dropped or refused, counts that one, and returns its status (of another
/// `struct_size` than the first: `PIPELINE_ERR_VERSION`). The events behind it are not offered: they are in no count, and may be offered
/// again. `*captured` is the number of events captured, whatever the answer; `captured` may be NULL. `events` may be NULL if
/// `count` is 0.
///
/// Events that are captured one right after the other in one call may have the same time; it never goes back. Writers may see the first
/// ones before the last ones are captured.
///
/// Any thread, callbacks of this library included. Since 0.1.0.
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
