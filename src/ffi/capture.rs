//! Capture: through the thread's own ring buffer, through a producer handle, in place.

use super::guard::{
    guard, guard_capture, guard_pipeline_new, guard_target, null_argument, own_producer, require,
    set_last_error,
};
use super::offer::{fast_offer, offer};
use super::target::Target;
use crate::capture::{FastPath, Judged, Offer};
use crate::event::{Event, KNOWN_FLAGS, PIPELINE_KIND_RESERVED};
use crate::manager::{Pipeline, Producer};
use crate::rules::Verdict;
use crate::status::{PIPELINE_ERR_FORKED, PIPELINE_ERR_INVALID, PIPELINE_ERR_TOO_LARGE, PIPELINE_OK};
use std::ffi::c_void;

/// Keeps the reason of a refusal for `pipeline_last_error`. A drop has none.
#[inline(always)]
fn explained(status: i32, offer: &Offer, max_event_bytes: usize) -> i32 {
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

/// Captures an event by the fast path, or declines it: `None`. Nothing on this path can panic, so it needs no guard. The
/// functions for the slow path are called last, so it needs no stack frame either.
///
/// # Safety
/// As for [`Producer::capture`].
#[inline(always)]
unsafe fn capture_fast(producer: &Producer, offer: &Offer) -> Option<i32> {
    // SAFETY: passed on.
    match unsafe { producer.capture_fast::<false>(offer) } {
        FastPath::Captured => Some(PIPELINE_OK),
        FastPath::CapturedWake => Some(wake_writer(producer)),
        FastPath::Declined => None,
    }
}

/// Captures an event that is to be judged, by the short way, or declines it: `None`. As on the fast path, nothing can panic.
///
/// # Safety
/// `target` is NULL or valid, and the calling thread's to use; the rest as for [`Producer::capture`].
#[inline(always)]
unsafe fn capture_judged<T: Target>(target: *const T, offer: &Offer) -> Option<i32> {
    // SAFETY: by contract.
    let producer = unsafe { target.as_ref() }.filter(|target| target.is_judged()).and_then(T::producer)?;
    // SAFETY: passed on.
    match unsafe { producer.capture_judged(offer) } {
        Judged::Captured => Some(PIPELINE_OK),
        Judged::CapturedWake => Some(wake_writer(producer)),
        Judged::NotKept(status) => Some(status),
        // SAFETY: passed on.
        Judged::Promoted(verdict) => Some(unsafe { capture_promoted(producer, offer, verdict) }),
        Judged::Declined => None,
    }
}

/// Captures an event in the priority ring because its verdict says so.
///
/// # Safety
/// As for [`Producer::capture`].
#[cold]
#[inline(never)]
unsafe fn capture_promoted(producer: &Producer, offer: &Offer, verdict: Verdict) -> i32 {
    guard_capture(|| {
        let to = producer.promoted(offer.len, &verdict).unwrap_or(producer);
        // SAFETY: passed on.
        unsafe { to.capture_promoted(offer, &verdict) }
    })
}

/// The same as [`capture_judged`] for an event that is not read yet.
///
/// # Safety
/// As for [`capture_event`].
#[inline(always)]
unsafe fn capture_event_judged<T: Target>(target: *const T, event: *const Event) -> Option<i32> {
    // SAFETY: passed on.
    unsafe {
        target.as_ref().filter(|target| target.is_judged())?;
        capture_judged(target, &fast_offer(event)?)
    }
}

#[cold]
#[inline(never)]
extern "C" fn wake_writer(producer: &Producer) -> i32 {
    guard_capture(|| producer.wake_writer())
}

/// `pipeline_capture` and `pipeline_producer_capture`.
///
/// # Safety
/// `target` is NULL or valid, and the calling thread's to use; `data` points to `len` readable bytes.
#[inline(always)]
unsafe fn capture<T: Target>(target: *const T, kind: u32, data: *const c_void, len: usize) -> i32 {
    // SAFETY: by contract.
    unsafe {
        if let Some(producer) = target.as_ref().and_then(T::producer)
            && let Some(status) = capture_fast(producer, &Offer::new(kind, data.cast(), len))
        {
            return status;
        }
        capture_slow(target, kind, data, len)
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
    // SAFETY: passed on.
    if let Some(status) = unsafe { capture_judged(target, &Offer::new(kind, data.cast(), len)) } {
        return status;
    }
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
            && let Some(status) = capture_fast(producer, &offer)
        {
            return status;
        }
        capture_event_slow(target, event)
    }
}

/// What [`capture_event`] does with an event that the fast path declines.
///
/// # Safety
/// As for [`capture_event`].
#[inline(never)]
pub(super) unsafe extern "C" fn capture_event_slow<T: Target>(target: *const T, event: *const Event) -> i32 {
    // SAFETY: passed on.
    if let Some(status) = unsafe { capture_event_judged(target, event) } {
        return status;
    }
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
fn unread(target: &impl Target, status: i32) -> i32 {
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

/// Reserves room for a payload of up to `len` bytes, to be written in place. `head` is the event without its payload: its `data`
/// and `len` are not read. NULL stands for an event of kind 0 and nothing else. `*payload` is 8-byte aligned and valid until
/// commit, abort or close. Until then every other capture through this producer returns `PIPELINE_ERR_BUSY`. The event is offered
/// when it is committed, and is stamped then.
///
/// A reservation that finds no room counts as a dropped event (`PIPELINE_ERR_FULL`). One that is too large counts as a refused
/// event, as with `pipeline_capture`. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread; `payload` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_reserve(
    r: *mut Producer,
    head: *const Event,
    len: usize,
    payload: *mut *mut c_void,
) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or open.
        let Some(r) = (unsafe { r.as_ref() }) else { return null_argument("the producer is NULL") };
        if payload.is_null() {
            return null_argument("payload is NULL");
        }
        let mut head_offer = Offer::new(0, std::ptr::null(), 0);
        if !head.is_null() {
            // SAFETY: not NULL, and as its struct_size says.
            match unsafe { offer(head) } {
                Ok(offer) => head_offer = offer,
                Err(status) => return unread(r, status),
            }
        }
        head_offer.len = len;
        match r.reserve(&head_offer) {
            Ok(at) => {
                // SAFETY: not NULL, writable by contract.
                unsafe { payload.write(at.cast()) };
                PIPELINE_OK
            }
            Err(status) => explained(status, &head_offer, r.max_event_bytes()),
        }
    })
}

/// Captures the reserved event with the first `used_len` bytes of its payload. If that is more than was reserved, it returns
/// `PIPELINE_ERR_INVALID`, and the reservation stays open. Without a reservation it returns `PIPELINE_ERR_STATE`. If the pipeline
/// was closed meanwhile, the reservation is gone, and the event is counted as `refused_closed`. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_commit(r: *mut Producer, used_len: usize) -> i32 {
    let commit = |r: &Producer| {
        let status = r.commit(used_len);
        if status == PIPELINE_ERR_INVALID {
            let reserved = r.reserved_len();
            set_last_error(format_args!("used_len: {reserved} allowed (reserved), {used_len} given"));
        }
        status
    };
    // SAFETY: by contract NULL or open.
    unsafe { guard_target(r, commit) }
}

/// Gives a reservation up. Its event is not offered, and not counted. Without a reservation it returns `PIPELINE_ERR_STATE`.
/// Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_abort(r: *mut Producer) -> i32 {
    // SAFETY: by contract NULL or open.
    unsafe { guard_target(r, Producer::abort) }
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
