//! Capture: through the thread's own ring buffer, through a producer handle, in place.

use super::guard::{guard, guard_capture, guard_pipeline, null, null_argument, set_last_error};
use super::offer::{offer, own_offer};
use crate::event::{Event, KNOWN_FLAGS, PIPELINE_KIND_RESERVED};
use crate::manager::{Pipeline, Producer};
use crate::ring::producer::{AtOnce, Offer};
use crate::status::{
    Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_INVALID, PIPELINE_ERR_NULL, PIPELINE_ERR_TOO_LARGE,
    PIPELINE_ERR_VERSION, PIPELINE_OK,
};
use std::ffi::c_void;

/// Says why a capture was refused; what was merely dropped says nothing.
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

/// Captures an event if everything is as usual, and its payload is short. On this way nothing can panic, so it needs no guard; the functions that take
/// the other ways are called last, so it needs no stack frame either. `None`: nothing is done yet.
///
/// # Safety
/// As for [`Producer::capture`].
#[inline(always)]
unsafe fn at_once(producer: &Producer, offer: &Offer) -> Option<i32> {
    // SAFETY: passed on.
    match unsafe { producer.capture_at_once::<false>(offer) } {
        AtOnce::Captured => Some(PIPELINE_OK),
        AtOnce::Knock => Some(knock(producer)),
        AtOnce::No => None,
    }
}

#[cold]
#[inline(never)]
extern "C" fn knock(producer: &Producer) -> i32 {
    guard_capture(|| {
        producer.knock();
        PIPELINE_OK
    })
}

#[inline(always)]
fn plain(kind: u32, data: *const c_void, len: usize) -> Offer {
    Offer { kind, flags: 0, timestamp: 0, correlation_id: 0, node_id: 0, data: data.cast(), len }
}

/// Captures an event into the ring buffer of the calling thread; the payload is copied. The thread's first capture into a
/// pipeline makes its ring buffer; from then on there is no allocation and no lock, and the call may be made from a signal
/// handler.
///
/// `kind` is the caller's own, below `PIPELINE_KIND_RESERVED`; `data` may be NULL if `len` is 0; `len` is at most
/// `max_event_bytes`.
///
/// Any thread, callbacks of this library included (there it never waits). Returns `PIPELINE_OK`: captured;
/// `PIPELINE_ERR_FULL`: dropped, counted; `PIPELINE_ERR_TOO_LARGE`, `_CLOSED`, `_INVALID`, `_BUSY`, `_NO_RING`: refused,
/// counted; `PIPELINE_ERR_FORKED`, `PIPELINE_ERR_NULL` (no pipeline): not offered. Since 0.1.0.
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
    // SAFETY: by contract NULL or valid.
    if let Some(p) = unsafe { p.as_ref() }
        && let Some(producer) = p.producer()
        // SAFETY: `data` points to `len` readable bytes.
        && let Some(status) = unsafe { at_once(producer, &plain(kind, data, len)) }
    {
        return status;
    }
    // SAFETY: passed on.
    unsafe { capture_else(p, kind, data, len) }
}

/// What [`pipeline_capture`] does where the shortest way is not the right one.
#[inline(never)]
unsafe extern "C" fn capture_else(p: *const Pipeline, kind: u32, data: *const c_void, len: usize) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or valid.
        match unsafe { p.as_ref() } {
            Some(p) => {
                let offer = plain(kind, data, len);
                // SAFETY: `data` points to `len` readable bytes.
                explained(unsafe { p.capture(&offer) }, &offer, p.max_event_bytes())
            }
            None => null_argument("the pipeline is NULL"),
        }
    })
}

/// Captures an event with all that it can carry; otherwise as `pipeline_capture`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `event` as its `struct_size` says, its `data` to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_capture_event(p: *const Pipeline, event: *const Event) -> i32 {
    // SAFETY: by contract NULL or valid.
    if let Some(p) = unsafe { p.as_ref() }
        && let Some(producer) = p.producer()
        // SAFETY: as its struct_size says.
        && let Some(offer) = unsafe { own_offer(event) }
        // SAFETY: `data` points to `len` readable bytes.
        && let Some(status) = unsafe { at_once(producer, &offer) }
    {
        return status;
    }
    // SAFETY: passed on.
    unsafe { capture_event_else(p, event) }
}

/// What [`pipeline_capture_event`] does where the shortest way is not the right one.
#[inline(never)]
pub(super) unsafe extern "C" fn capture_event_else(p: *const Pipeline, event: *const Event) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or valid.
        let Some(p) = (unsafe { p.as_ref() }) else { return null_argument("the pipeline is NULL") };
        // SAFETY: as above.
        match unsafe { offer(event) } {
            // SAFETY: `data` points to `len` readable bytes.
            Ok(offer) => explained(unsafe { p.capture(&offer) }, &offer, p.max_event_bytes()),
            Err(status) => {
                if p.forked() {
                    return PIPELINE_ERR_FORKED;
                }
                if matches!(status, PIPELINE_ERR_NULL | PIPELINE_ERR_VERSION | PIPELINE_ERR_INVALID) {
                    p.count_invalid();
                }
                status
            }
        }
    })
}

/// Opens a producer: a ring buffer that its caller holds, for the shortest way of capture. One thread at a time may use
/// it. Close it with `pipeline_producer_close`; it keeps its memory until then, also past
/// `pipeline_destroy`, and answers `PIPELINE_ERR_CLOSED` once the pipeline is closed.
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
        guard_pipeline(p, |p| {
            if out.is_null() {
                return Err(null("out"));
            }
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
    // SAFETY: by contract NULL or open.
    if let Some(r) = unsafe { r.as_ref() }
        // SAFETY: `data` points to `len` readable bytes.
        && let Some(status) = unsafe { at_once(r, &plain(kind, data, len)) }
    {
        return status;
    }
    // SAFETY: passed on.
    unsafe { producer_capture_else(r, kind, data, len) }
}

/// What [`pipeline_producer_capture`] does where the shortest way is not the right one.
#[inline(never)]
unsafe extern "C" fn producer_capture_else(
    r: *mut Producer,
    kind: u32,
    data: *const c_void,
    len: usize,
) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or open.
        match unsafe { r.as_ref() } {
            Some(r) => {
                let offer = plain(kind, data, len);
                // SAFETY: `data` points to `len` readable bytes.
                explained(unsafe { r.capture(&offer) }, &offer, r.max_event_bytes())
            }
            None => null_argument("the producer is NULL"),
        }
    })
}

/// As `pipeline_capture_event`, through a producer. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread; `event` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_capture_event(r: *mut Producer, event: *const Event) -> i32 {
    // SAFETY: by contract NULL or open.
    if let Some(r) = unsafe { r.as_ref() }
        // SAFETY: as its struct_size says.
        && let Some(offer) = unsafe { own_offer(event) }
        // SAFETY: `data` points to `len` readable bytes.
        && let Some(status) = unsafe { at_once(r, &offer) }
    {
        return status;
    }
    // SAFETY: passed on.
    unsafe { producer_capture_event_else(r, event) }
}

/// What [`pipeline_producer_capture_event`] does where the shortest way is not the right one.
#[inline(never)]
pub(super) unsafe extern "C" fn producer_capture_event_else(r: *mut Producer, event: *const Event) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or open.
        let Some(r) = (unsafe { r.as_ref() }) else { return null_argument("the producer is NULL") };
        // SAFETY: as above.
        match unsafe { offer(event) } {
            // SAFETY: `data` points to `len` readable bytes.
            Ok(offer) => explained(unsafe { r.capture(&offer) }, &offer, r.max_event_bytes()),
            Err(status) => {
                if r.forked() {
                    return PIPELINE_ERR_FORKED;
                }
                r.count_invalid();
                status
            }
        }
    })
}

/// Reserves room for a payload of up to `len` bytes, to be written in place; `head` says the rest (its `data` and `len` are
/// not read; NULL: kind 0 and nothing else). `*payload` is 8-byte aligned and valid until commit, abort or close. Until
/// then every other capture through this producer answers `PIPELINE_ERR_BUSY`. The event is offered by its commit, and takes
/// its time then.
///
/// A reservation that finds no room is an event dropped (`PIPELINE_ERR_FULL`), one that is too large an event refused,
/// as with `pipeline_capture`. Since 0.1.0.
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
        let mut head_offer = plain(0, std::ptr::null(), 0);
        if !head.is_null() {
            // SAFETY: not NULL, and as its struct_size says.
            match unsafe { offer(head) } {
                Ok(offer) => head_offer = offer,
                Err(status) => {
                    if r.forked() {
                        return PIPELINE_ERR_FORKED;
                    }
                    r.count_invalid();
                    return status;
                }
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

/// Captures the reserved event with the first `used_len` bytes of its payload; at most as many as were reserved
/// (`PIPELINE_ERR_INVALID` otherwise, and the reservation stays). `PIPELINE_ERR_STATE` without a reservation. If the pipeline was
/// closed meanwhile, the reservation is gone and the event counted as `refused_closed`. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_commit(r: *mut Producer, used_len: usize) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or open.
        match unsafe { r.as_ref() } {
            Some(r) => {
                let status = r.commit(used_len);
                if status == PIPELINE_ERR_INVALID {
                    let reserved = r.reserved_len();
                    set_last_error(format_args!("used_len: {reserved} allowed (reserved), {used_len} given"));
                }
                status
            }
            None => null_argument("the producer is NULL"),
        }
    })
}

/// Gives a reservation up; its event was never offered. `PIPELINE_ERR_STATE` without one. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_abort(r: *mut Producer) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract NULL or open.
        match unsafe { r.as_ref() } {
            Some(r) => r.abort(),
            None => null_argument("the producer is NULL"),
        }
    })
}

/// Closes a producer; a reservation is aborted, what it captured gets stored, and the handle is gone. May be called before or
/// after the pipeline's own close and destroy. Since 0.1.0.
///
/// # Safety
/// `r` is NULL or open and used by no other thread; it must not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_producer_close(r: *mut Producer) -> i32 {
    guard(|| {
        // SAFETY: by contract NULL or open, and not used again.
        unsafe {
            let Some(producer) = r.as_ref() else { return Err(null("the producer")) };
            if producer.forked() {
                return Err(Error::new(
                    PIPELINE_ERR_FORKED,
                    "the producer belongs to the parent of this process",
                ));
            }
            Producer::close(r);
        }
        Ok(())
    })
}
