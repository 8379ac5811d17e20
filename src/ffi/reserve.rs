//! Capture in place, through a producer's handle.

use super::capture::{explained, unread};
use super::guard::{guard_capture, guard_target, null_argument, set_last_error};
use super::offer::offer;
use crate::capture::Offer;
use crate::event::Event;
use crate::manager::Producer;
use crate::status::{PIPELINE_ERR_INVALID, PIPELINE_OK};
use std::ffi::c_void;

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
