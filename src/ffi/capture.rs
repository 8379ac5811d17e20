//! Capture: through the thread's own ring buffer, and through a producer's handle.

use super::guard::{
    guard, guard_capture, guard_pipeline_new, null_argument, own_producer, require, set_last_error,
};
use super::offer::{fast_offer, offer, offer_again};
use super::target::Target;
use crate::capture::{FastPath, Judged, Looked, Offer};
use crate::event::{Event, KNOWN_FLAGS, PIPELINE_KIND_RESERVED};
use crate::manager::{Pipeline, Producer};
use crate::rules::Verdict;
use crate::status::{
    PIPELINE_DROPPED_BY_RULE, PIPELINE_ERR_FORKED, PIPELINE_ERR_INVALID, PIPELINE_ERR_TOO_LARGE, PIPELINE_OK,
};
use std::ffi::c_void;

/// Keeps the reason of a refusal for `pipeline_last_error`. A drop has none.
#[inline(always)]
pub(super) fn explained(status: i32, offer: &Offer, max_event_bytes: usize) -> i32 {
    if matches!(status, PIPELINE_ERR_TOO_LARGE | PIPELINE_ERR_INVALID) {
        explain(offer, max_event_bytes);
    }
    status
}

#[cold]
fn explain(offer: &Offer, max_event_bytes: usize) {
    let (kind, flags, len) = (offer.kind, offer.flags, offer.len);
    if kind >= PIPELINE_KIND_RESERVED {
        set_last_error(format_args!("kind: below {PIPELINE_KIND_RESERVED:#x} allowed, {kind:#x} given"));
    } else if flags & !KNOWN_FLAGS != 0 {
        set_last_error(format_args!("flags: {KNOWN_FLAGS:#x} allowed, {flags:#x} given"));
    } else if len > max_event_bytes {
        set_last_error(format_args!("len: {max_event_bytes} allowed (max_event_bytes), {len} given"));
    } else {
        set_last_error(format_args!("data: NULL allowed with len 0 only, len {len} given"));
    }
}

/// Captures an event that is held, as the rules and sampling say, or declines it: `None`. As on the fast path, nothing in it can panic.
///
/// # Safety
/// As for [`Producer::capture_by_verdict`].
#[inline(always)]
unsafe fn capture_by_verdict(producer: &Producer, offer: &Offer) -> Option<i32> {
    // SAFETY: passed on.
    match unsafe { producer.capture_by_verdict(offer) } {
        Judged::Captured => Some(PIPELINE_OK),
        Judged::CapturedWake => Some(wake_writer(producer)),
        Judged::NotKept(status) => Some(status),
        // SAFETY: passed on.
        Judged::Kept(verdict) => Some(unsafe { capture_kept(producer, offer, verdict) }),
        Judged::Declined => None,
    }
}

/// Captures an event that was judged and is kept.
///
/// # Safety
/// As for [`Producer::capture`].
#[cold]
#[inline(never)]
unsafe fn capture_kept(producer: &Producer, offer: &Offer, verdict: Verdict) -> i32 {
    guard_capture(|| {
        // SAFETY: passed on.
        unsafe { producer.capture_kept(offer, &verdict) }
    })
}

#[cold]
#[inline(never)]
extern "C" fn wake_writer(producer: &Producer) -> i32 {
    guard_capture(|| producer.wake_writer())
}

/// `pipeline_capture` and `pipeline_producer_capture`. Nothing on the fast path can panic, so it needs no guard. The functions for the other paths are
/// called last, so it needs no stack frame either.
///
/// # Safety
/// `target` is NULL or valid, and the calling thread's to use; `data` points to `len` readable bytes.
#[inline(always)]
unsafe fn capture<T: Target>(target: *const T, kind: u32, data: *const c_void, len: usize) -> i32 {
    // SAFETY: by contract.
    unsafe {
        if let Some(producer) = target.as_ref().and_then(T::producer) {
            match producer.capture_fast::<false>(&Offer::new(kind, data.cast(), len)) {
                FastPath::Captured => return PIPELINE_OK,
                FastPath::CapturedWake => return wake_writer(producer),
                FastPath::Held => return capture_held(target, kind, data, len, producer),
                FastPath::Declined => {}
            }
        }
        capture_slow(target, kind, data, len)
    }
}

/// What [`capture`] does with an event that the fast path has held.
///
/// # Safety
/// As for [`capture`]; the busy word of the producer is held.
#[inline(never)]
unsafe extern "C" fn capture_held<T: Target>(
    target: *const T,
    kind: u32,
    data: *const c_void,
    len: usize,
    producer: &Producer,
) -> i32 {
    // SAFETY: passed on.
    unsafe {
        match producer.look::<false>(|| Offer::new(kind, data.cast(), len)) {
            Looked::Passes => capture_passing(target, kind, data, len, producer),
            Looked::Dropped => PIPELINE_DROPPED_BY_RULE,
            Looked::Unsure => capture_judged(target, kind, data, len, producer),
            Looked::Declined => capture_slow(target, kind, data, len),
        }
    }
}

/// What [`capture`] does with an event that no rule matches. (Its own function: together with the look before it would need more registers than there are.)
///
/// # Safety
/// As for [`capture_held`].
#[inline(never)]
unsafe extern "C" fn capture_passing<T: Target>(
    target: *const T,
    kind: u32,
    data: *const c_void,
    len: usize,
    producer: &Producer,
) -> i32 {
    // SAFETY: passed on.
    unsafe {
        match producer.capture_passing::<false>(&Offer::new(kind, data.cast(), len)) {
            FastPath::Captured => PIPELINE_OK,
            FastPath::CapturedWake => wake_writer(producer),
            FastPath::Held | FastPath::Declined => capture_slow(target, kind, data, len),
        }
    }
}

/// What [`capture`] does with an event that a rule may match, or that is sampled.
///
/// # Safety
/// As for [`capture_held`].
#[inline(never)]
unsafe extern "C" fn capture_judged<T: Target>(
    target: *const T,
    kind: u32,
    data: *const c_void,
    len: usize,
    producer: &Producer,
) -> i32 {
    // SAFETY: passed on.
    unsafe {
        capture_by_verdict(producer, &Offer::new(kind, data.cast(), len))
            .unwrap_or_else(|| capture_slow(target, kind, data, len))
    }
}

/// What [`capture`] does with an event that the fast path declines.
#[inline(never)]
unsafe extern "C" fn capture_slow<T: Target>(
    target: *const T,
    kind: u32,
    data: *const c_void,
    len: usize,
) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or valid.
        let Some(target) = (unsafe { target.as_ref() }) else { return null_argument(T::NULL) };
        let offer = Offer::new(kind, data.cast(), len);
        // SAFETY: `data` points to `len` readable bytes.
        explained(unsafe { target.capture(&offer) }, &offer, target.max_event_bytes())
    })
}

/// `pipeline_capture_event` and `pipeline_producer_capture_event`.
///
/// # Safety
/// `target` as for [`capture`]; `event` is NULL or as its `struct_size` says, its `data` to `len` readable bytes.
#[inline(always)]
unsafe fn capture_event<T: Target>(target: *const T, event: *const Event) -> i32 {
    // SAFETY: by contract.
    unsafe {
        if let Some(producer) = target.as_ref().and_then(T::producer)
            && let Some(offer) = fast_offer(event)
        {
            match producer.capture_fast::<false>(&offer) {
                FastPath::Captured => return PIPELINE_OK,
                FastPath::CapturedWake => return wake_writer(producer),
                FastPath::Held => return capture_event_held(target, event, producer),
                FastPath::Declined => {}
            }
        }
        capture_event_slow(target, event)
    }
}

/// What [`capture_event`] does with an event that the fast path has held.
///
/// # Safety
/// As for [`capture_event`]; the event was read by [`fast_offer`]; the busy word of the producer is held.
#[inline(never)]
unsafe extern "C" fn capture_event_held<T: Target>(
    target: *const T,
    event: *const Event,
    producer: &Producer,
) -> i32 {
    // SAFETY: passed on. The event is read again, because a pointer to what was read would cost the fast path a stack frame.
    unsafe {
        match producer.look::<false>(|| offer_again(event)) {
            Looked::Passes => capture_event_passing(target, event, producer),
            Looked::Dropped => PIPELINE_DROPPED_BY_RULE,
            Looked::Unsure => capture_event_judged(target, event, producer),
            Looked::Declined => capture_event_slow(target, event),
        }
    }
}

/// What [`capture_event`] does with an event that no rule matches. (As for [`capture_passing`].)
///
/// # Safety
/// As for [`capture_event_held`].
#[inline(never)]
unsafe extern "C" fn capture_event_passing<T: Target>(
    target: *const T,
    event: *const Event,
    producer: &Producer,
) -> i32 {
    // SAFETY: passed on.
    unsafe {
        match producer.capture_passing::<false>(&offer_again(event)) {
            FastPath::Captured => PIPELINE_OK,
            FastPath::CapturedWake => wake_writer(producer),
            FastPath::Held | FastPath::Declined => capture_event_slow(target, event),
        }
    }
}

/// What [`capture_event`] does with an event that a rule may match, or that is sampled.
///
/// # Safety
/// As for [`capture_event_held`].
#[inline(never)]
unsafe extern "C" fn capture_event_judged<T: Target>(
    target: *const T,
    event: *const Event,
    producer: &Producer,
) -> i32 {
    // SAFETY: passed on.
    unsafe {
        capture_by_verdict(producer, &offer_again(event)).unwrap_or_else(|| capture_event_slow(target, event))
    }
}

/// What [`capture_event`] does with an event that the fast path declines.
///
/// # Safety
/// As for [`capture_event`].
#[inline(never)]
pub(super) unsafe extern "C" fn capture_event_slow<T: Target>(target: *const T, event: *const Event) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or valid.
        let Some(target) = (unsafe { target.as_ref() }) else { return null_argument(T::NULL) };
        // SAFETY: by contract.
        match unsafe { offer(event) } {
            // SAFETY: `data` points to `len` readable bytes.
            Ok(offer) => explained(unsafe { target.capture(&offer) }, &offer, target.max_event_bytes()),
            Err(status) => unread(target, status),
        }
    })
}

/// The result if the arguments of an offer could not be read: `status`, which is counted, or in a forked child
/// `PIPELINE_ERR_FORKED`.
pub(super) fn unread(target: &impl Target, status: i32) -> i32 {
    if target.forked() {
        return PIPELINE_ERR_FORKED;
    }
    target.count_invalid();
    status
}

/// Captures an event into the ring buffer of the calling thread. The payload is copied. The thread's first capture into a
/// pipeline makes its ring buffer. Later captures allocate nothing and take no lock, and may be made from a signal handler.
///
/// A signal handler that interrupts a capture must return to it. If it leaves by `siglongjmp`, the thread's ring buffer stays in
/// use: captures of that thread return `PIPELINE_ERR_BUSY` until the thread ends, `pipeline_close` returns `PIPELINE_ERR_TIMEOUT`
/// after it has stored everything else, and `pipeline_destroy` returns `PIPELINE_ERR_BUSY`.
///
/// `kind` is in the caller's own numbering, below `PIPELINE_KIND_RESERVED`. `data` may be NULL if `len` is 0. `len` is at most
/// `max_event_bytes`.
///
/// Any thread, callbacks included, where it never waits. It returns `PIPELINE_OK` if the event is captured, and
/// `PIPELINE_ERR_FULL` if it is dropped and counted. After `PIPELINE_ERR_TOO_LARGE`, `_CLOSED`, `_INVALID`, `_BUSY` or `_NO_RING`
/// it is refused and counted. After `PIPELINE_ERR_FORKED` or `PIPELINE_ERR_NULL` (no pipeline) it is not offered, and not
/// counted. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_capture(
    p: *const Pipeline,
    kind: u32,
    data: *const c_void,
    len: usize,
) -> i32 {
    // SAFETY: passed on; a thread's producer is its own.
    unsafe { capture(p, kind, data, len) }
}

/// As `pipeline_capture`, for an event with a time, a correlation id, a node id or flags. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `event` as its `struct_size` says, its `data` to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_capture_event(p: *const Pipeline, event: *const Event) -> i32 {
    // SAFETY: passed on; a thread's producer is its own.
    unsafe { capture_event(p, event) }
}

/// Opens a producer: a ring buffer that its caller holds, for the fastest captures. One thread at a time may use it. It keeps its
/// memory until it is closed by `pipeline_producer_close`, also after `pipeline_destroy`. Once the pipeline is closed, captures
/// through it return `PIPELINE_ERR_CLOSED`.
///
/// Any thread. Errors: `PIPELINE_ERR_NULL`, `_CLOSED`, `_FORKED`, `_LIMIT` (`max_rings` are in use),
/// `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_open(p: *const Pipeline, out: *mut *mut Producer) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            require(out, "out")?;
            out.write(p.open_producer()?);
            Ok(())
        })
    }
}

/// As `pipeline_capture`, through a producer. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread; `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_capture(
    r: *mut Producer,
    kind: u32,
    data: *const c_void,
    len: usize,
) -> i32 {
    // SAFETY: passed on.
    unsafe { capture(r.cast_const(), kind, data, len) }
}

/// As `pipeline_capture_event`, through a producer. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread; `event` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_capture_event(r: *mut Producer, event: *const Event) -> i32 {
    // SAFETY: passed on.
    unsafe { capture_event(r.cast_const(), event) }
}

/// Closes a producer. An open reservation is aborted, captured events are still stored, and the handle is invalid afterwards. It
/// may be called before or after the pipeline's own close and destroy. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread; it must not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_close(r: *mut Producer) -> i32 {
    guard(|| {
        // SAFETY: by contract NULL or open, and not used again.
        unsafe {
            own_producer(r)?;
            Producer::close(r);
        }
        Ok(())
    })
}
