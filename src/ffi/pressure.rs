//! Pressure: how urgently a pipeline needs relief, as a number and as calls of the program.

use super::guard::guard_pipeline_new;
use crate::manager::{Pipeline, Watcher};
use std::ffi::c_void;
use std::sync::Arc;

/// The function that is told of the pressure. `pressure` is 0 to 100; `is_high` is 1 if it has risen to the higher threshold, 0 if it
/// has fallen to the lower one.
pub type PressureFn = unsafe extern "C-unwind" fn(user_data: *mut c_void, pressure: u32, is_high: i32);

struct Callback {
    function: PressureFn,
    user_data: *mut c_void,
}

// SAFETY: the program promises that the function may be called on any thread with this data.
unsafe impl Send for Callback {}
// SAFETY: as above; calls do not overlap.
unsafe impl Sync for Callback {}

/// Returns how urgently the pipeline needs relief, 0 to 100: the larger of how full its fullest ring buffer is (in percent of its size), and
/// of the age of its oldest event that is not settled (in percent of `pressure_age_ms`; events with a time of their own are not considered).
/// At 100, a ring buffer is full, or the oldest event is as old as `pressure_age_ms`. A program may use it to capture less.
///
/// The call reads one word, which is kept up to date by others: by a capture at once when it finds its ring buffer filled beyond
/// `watermark_percent`; by writers when they settle a batch, at most once in a millisecond, and when they find nothing to do; and ten times in
/// a second while writers are stuck, paused or missing. With `PIPELINE_OVERFLOW_DROP_OLDEST`, ring buffers are full by design, so the pressure
/// is high as soon as a ring buffer is filled for the first time.
///
/// Any thread; also in callbacks and signal handlers. 0 for NULL, for a pipeline without events, and in a forked child. `pipeline_fast_pressure`
/// does the same without a call. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_pressure(p: *const Pipeline) -> u32 {
    // SAFETY: by contract.
    unsafe { p.as_ref() }.map_or(0, Pipeline::pressure)
}

/// Sets the function that is called when the pressure (see `pipeline_pressure`) rises to `high` or more, and then when it falls to `low` or
/// less, and so on by turns. A pipeline has one such function; NULL removes it, and then `low` and `high` are not read.
///
/// The library calls it on a thread of its own, which it starts for this and which ends when there is nothing more to tell of; two calls never
/// overlap. A rise that is over before the call begins is
/// not told of. If the pressure is `high` already, the first call comes at once. `user_data` must stay valid until
/// the function is replaced or the pipeline is destroyed or (after `pipeline_abandon`) the storage's `destroy` has been called. After
/// `pipeline_close`, `pipeline_destroy` or `pipeline_abandon` no call begins; `pipeline_destroy` returns `PIPELINE_ERR_BUSY` while one runs.
///
/// The function may call this library, except what waits for the pipeline (`PIPELINE_ERR_WOULD_DEADLOCK`). It may take any time, which delays
/// only its own next call. It must not throw or call `longjmp`; if it ends its thread, the next call is made on another one.
///
/// Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_INVALID` unless 0 <= `low` < `high` <= 100; `_BUSY` (the former function is
/// being called: nothing is changed, try again); `_CLOSED` (and no call runs, or will); `_FORKED`; `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `callback` may be called on any thread with `user_data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_pressure_callback(
    p: *mut Pipeline,
    low: u32,
    high: u32,
    callback: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, pressure: u32, is_high: i32)>,
    user_data: *mut c_void,
) -> i32 {
    let watcher = |function| {
        let callback = Callback { function, user_data };
        let call = move |pressure, is_high: bool| {
            let Callback { function, user_data } = &callback;
            // SAFETY: the program's promise.
            unsafe { function(*user_data, pressure, i32::from(is_high)) }
        };
        Watcher { low, high, call: Arc::new(call) }
    };
    // SAFETY: by contract.
    unsafe { guard_pipeline_new(p, |p| p.watch_pressure(callback.map(watcher))) }
}
