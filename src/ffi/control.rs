//! The life cycle of a pipeline: start, scale, flush, pause, metrics, close, destroy.

use super::config::{self, pipeline_config_t};
use super::guard::{guard_files, guard_new, guard_pipeline, guard_pipeline_new, null, require};
use super::{sized, storage};
use crate::manager::Pipeline;
use crate::metrics::{pipeline_health_t, pipeline_metrics_t, pipeline_writer_metrics_t};
use crate::platform::{barrier, memory, thread};
use crate::pool::shares;
use crate::status::{Error, PIPELINE_ERR_INVALID};
use crate::storage::callback::pipeline_storage_t;
use std::ffi::{CStr, c_char};
use std::time::Duration;

// SAFETY: repr(C), plain numbers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_metrics_t {
    const NAME: &'static str = "pipeline_metrics_t";
}
// SAFETY: as above.
unsafe impl sized::Sized32 for pipeline_writer_metrics_t {
    const NAME: &'static str = "pipeline_writer_metrics_t";
}
// SAFETY: as above.
unsafe impl sized::Sized32 for pipeline_health_t {
    const NAME: &'static str = "pipeline_health_t";
}

/// A C timeout: -1 (any negative) waits for ever.
fn timeout(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// Limits how many calls of storages run at once in this process, over all its pipelines: `store`, `flush`, `dead_letter`, `release`, `finish` and
/// transforms. 0, the default, means no limit. It serves where storages share a disk, a connection or a processor, and some pipelines matter more.
///
/// Each pipeline may have one call at any time, so with more pipelines than permits there may be more calls. The permits beyond one for each
/// pipeline go to those that have work: while several wait, the next one goes to the pipeline with the fewest calls for its
/// `pipeline_config_t.share`. A call that has taken longer than `storage_deadline_ms` gives its permit back. A pending answer holds none. A writer without a permit
/// claims nothing, and sleeps. `pipeline_metrics_t.permit_waits` counts how often a pipeline began to wait.
///
/// It takes effect at once: calls that run go on. A forked child begins without a limit. Any thread, callbacks included; not a signal handler.
/// `PIPELINE_OK`, or `PIPELINE_ERR_NO_MEMORY`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_limit_calls(permits: u32) -> i32 {
    guard_new(|| shares::limit_calls(permits))
}

/// Starts a pipeline: its bookkeeping of ring buffers, its writers and its supervisor. `config` may be NULL: all defaults.
/// `storage` is copied.
///
/// The pipeline owns the storage as soon as it has accepted the storage's `struct_size`. From then on, `destroy` of the storage
/// runs exactly once, also if the start fails. The first start of a process registers an exit handler. The handler drains the
/// pipelines that were not closed, each for at most its `exit_timeout_ms`.
///
/// The first start takes some ten milliseconds if the process has several threads by then, because the kernel registers such a process for
/// `membarrier(2)` more slowly; with one thread it takes about one.
///
/// End the pipeline by `pipeline_close` and `pipeline_destroy`, or by `pipeline_abandon`. Any thread, callbacks included; not a
/// signal handler. `*out` is written only on success. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_UNSUPPORTED`,
/// `_NO_MEMORY`, `_SYSTEM`. Since 0.1.0.
///
/// # Safety
/// `config` and `storage` are NULL or as their `struct_size` says; `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_start(
    config: *const pipeline_config_t,
    storage: *const pipeline_storage_t,
    out: *mut *mut Pipeline,
) -> i32 {
    guard_files(|| {
        // SAFETY: by contract.
        let storage = unsafe { storage::take(storage) }?;
        memory::check()?;
        // SAFETY: by contract.
        let config = unsafe { config::start_config(config) }?;
        require(out, "out")?;
        // Before there is a second thread: the kernel registers a process with several threads only after all processors have passed a certain
        // point, which takes some ten milliseconds. The start does it again, and then it costs nothing.
        barrier::register();
        let pipeline = thread::on_own_stack("cp-start", || Pipeline::start_plain(config, storage))??;
        // SAFETY: not NULL, writable by contract.
        unsafe { out.write(Box::into_raw(Box::new(pipeline))) };
        Ok(())
    })
}

/// Sets the number of writers, 0 to `PIPELINE_MAX_WRITERS`. It takes effect at once: missing writers start, and surplus writers
/// end after their present call of the storage. No event is lost. With 0, events are only buffered. The call turns autoscaling
/// off: it sets `min_writers` and `max_writers` of the running configuration to 0. `pipeline_update` turns autoscaling on
/// again.
///
/// Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_LIMIT` (the number is too high, or hundreds of earlier
/// writers have not ended because their calls of the storage hang); `_CLOSED`; `_FORKED`; `_SYSTEM` or `_NO_MEMORY` (a thread
/// could not be started; the writers that could be started work). Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_scale(p: *mut Pipeline, writers: u32) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline_new(p, |p| p.scale(writers)) }
}

/// Waits until every event captured before the call is settled and the storage's `flush` has returned, for at most `timeout_ms`
/// milliseconds. -1 waits without a limit. 0 does not wait and does not call `flush`: it only asks whether every event is
/// settled. It also waits for the events of runs that have ended and that count as `recovered` at the call, not for those that are still in
/// their ring files.
///
/// Any thread but the pipeline's own (`PIPELINE_ERR_WOULD_DEADLOCK`). Errors: `PIPELINE_ERR_NULL`, `_TIMEOUT`, `_CLOSED`,
/// `_FORKED`, `_STORAGE`, or the status that the storage's `flush` returned. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_flush(p: *mut Pipeline, timeout_ms: i64) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, |p| p.flush(timeout(timeout_ms))) }
}

/// Stops the writers from claiming events until `pipeline_resume`. Captures go on. Batches in flight go on until they are
/// settled. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`, `_CLOSED`, `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_pause(p: *mut Pipeline) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, Pipeline::pause) }
}

/// Ends the pause that `pipeline_pause` began. Any thread, callbacks included. Errors: as for `pipeline_pause`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_resume(p: *mut Pipeline) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, Pipeline::resume) }
}

/// Reads the metrics of a pipeline. The caller sets `out->struct_size` before. The call does not slow captures down. Any
/// thread, callbacks included, also after `pipeline_close`. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `out` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_metrics(p: *const Pipeline, out: *mut pipeline_metrics_t) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, |p| sized::write_sized(out, &(&p.metrics()).into(), "out")) }
}

/// Reads the metrics of one writer. `index` is 0 to `writers_live` - 1; `PIPELINE_ERR_NOT_FOUND` if there is no such writer.
/// Otherwise as `pipeline_metrics`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `out` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_writer_metrics(
    p: *const Pipeline,
    index: u32,
    out: *mut pipeline_writer_metrics_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, |p| sized::write_sized(out, &(&p.writer_metrics(index)?).into(), "out")) }
}

/// Reads the health of a pipeline. The caller sets `out->struct_size` before. Any thread, callbacks included, also after
/// `pipeline_close`. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `out` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_health(p: *const Pipeline, out: *mut pipeline_health_t) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline_new(p, |p| sized::write_sized(out, &(&p.health()).into(), "out")) }
}

/// Gives a kind a name, for storages that keep names. `name` has at most 255 bytes and is copied. When the call returns, the
/// storage can know the name before it gets any later event. Of several names of one kind the last one counts. Any thread, callbacks
/// included. Errors: `PIPELINE_ERR_NULL`; `_INVALID` (a reserved kind, or a name that is too long); `_FULL` (the storage has
/// `PIPELINE_STORAGE_META`, and too many names wait to be stored); `_LIMIT` (65536 names and definitions, of 16 MiB in all, are the most in
/// the life of a pipeline; a name that a kind has already is not counted again); `_NO_MEMORY`; `_CLOSED`; `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_kind_name(p: *mut Pipeline, kind: u32, name: *const c_char) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            require(name, "name")?;
            let name = CStr::from_ptr(name).to_bytes();
            if name.len() > 255 {
                return Err(Error::new(
                    PIPELINE_ERR_INVALID,
                    format!("name: 255 bytes allowed, {} given", name.len()),
                ));
            }
            p.kind_name(kind, name)
        })
    }
}

/// Sets an attribute of the pipeline: what is the same for all of its events, such as the host, the service or the version. It is kept once and
/// not in each event: the SQLite storage has it in the table `run_attributes`, a journal among its facts, and a storage with
/// `PIPELINE_STORAGE_META` gets an event of the kind `PIPELINE_KIND_ATTRIBUTE`. When the call returns, the storage can know the attribute before it
/// gets any later event. Of several values of one attribute the last one counts, for earlier events too.
///
/// `name` has 1 to 63 bytes: a letter, then letters, digits, `_`, `.` and `-`. `value` has at most 1024 bytes of UTF-8. Both are copied. Any
/// thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_INVALID` (the name or the value); `_LIMIT` (64 attributes are the most of a
/// pipeline; with the names and definitions of kinds they share the limits of `pipeline_kind_name`); `_FULL` (the storage has
/// `PIPELINE_STORAGE_META`, and too many of the library's own events wait to be stored); `_NO_MEMORY`; `_CLOSED`; `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `name` and `value` are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_attribute(
    p: *mut Pipeline,
    name: *const c_char,
    value: *const c_char,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            require(name, "name")?;
            require(value, "value")?;
            let utf8 = |text: *const c_char, what: &str| {
                CStr::from_ptr(text).to_str().map_err(|error| {
                    let at = error.valid_up_to();
                    Error::new(PIPELINE_ERR_INVALID, format!("{what}: UTF-8 expected, byte {at} is none"))
                })
            };
            p.attribute(utf8(name, "name")?, utf8(value, "value")?)
        })
    }
}

/// Closes a pipeline: new events are refused, the captured ones are stored, the storage is flushed and finished, and the
/// writers end. It waits for at most `timeout_ms` milliseconds; -1: without a limit. The handle stays valid until
/// `pipeline_destroy`. If the pipeline is paused, the pause ends. If it has no writers, one is started.
///
/// A recovery of runs that have ended stops. The events that writers have claimed are stored, and the call waits until their ring files are
/// released up to there. All others stay in the ring files, for the next recovery.
///
/// `PIPELINE_ERR_TIMEOUT`: some events are not settled. `pipeline_metrics` shows how many are `left`, in flight and in doubt. A call
/// of the storage that is running goes on. If events were left, another close continues. Otherwise another close returns
/// `PIPELINE_ERR_CLOSED`. A close that is waiting also returns `PIPELINE_ERR_CLOSED` if the close of another thread reaches its time
/// limit.
///
/// The call waits for captures that other threads have begun, for at most 2 seconds and never longer than `timeout_ms`. A
/// capture takes less than a microsecond while its thread runs. If one has not ended after 2 seconds (because its thread does
/// not run, or a signal handler has left it by `siglongjmp`), every other event is stored, and the call returns
/// `PIPELINE_ERR_TIMEOUT`.
///
/// If the storage has a `finish`, it is called when every event is settled. If it fails, the call returns
/// `PIPELINE_ERR_STORAGE`: every event is stored, and `pipeline_last_error` and `pipeline_health`
/// (`PIPELINE_HEALTH_FINISH_FAILED`) describe the failure. If it is still running when the time is over, the call returns
/// `PIPELINE_OK`: every event is stored. `finish` then goes on in the background, `pipeline_health` reports
/// `PIPELINE_HEALTH_FINISHING`, and `pipeline_destroy` returns `PIPELINE_ERR_BUSY` until it has ended. The exit of the process
/// does not wait for it. If it could not start in time because another call of the storage does not return, the call returns
/// `PIPELINE_ERR_TIMEOUT`, and another close has it called.
///
/// Any thread but the pipeline's own (`PIPELINE_ERR_WOULD_DEADLOCK`). Errors: `PIPELINE_ERR_NULL`, `_TIMEOUT`, `_CLOSED`,
/// `_FORKED`, `_STORAGE`, or the status that the storage's `flush` returned. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_close(p: *mut Pipeline, timeout_ms: i64) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, |p| p.close(timeout(timeout_ms))) }
}

/// Frees a pipeline. It never waits. `PIPELINE_ERR_BUSY`: a callback runs, a writer has not ended, a token is not completed, or
/// a capture is under way; the handle stays valid. A pipeline that was not closed is then told to stop, without storing what is
/// left.
///
/// After `PIPELINE_OK`, no callback runs and the handle is invalid. The storage's `release` (for the events that were left) and
/// its `destroy` have run on the calling thread, so they should be short. Work that takes long belongs in `finish`. Producers
/// that are still open keep their memory.
///
/// In a forked child the call frees the parent's pipeline without calling the storage, and returns `PIPELINE_OK`. Any thread
/// but the pipeline's own (`PIPELINE_ERR_WOULD_DEADLOCK`). Errors: `PIPELINE_ERR_NULL`, `_BUSY`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid, and not used again after `PIPELINE_OK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_destroy(p: *mut Pipeline) -> i32 {
    guard_files(|| {
        // SAFETY: by contract NULL or valid.
        let pipeline = unsafe { p.as_ref() }.ok_or_else(|| null("the pipeline"))?;
        pipeline.destroy()?;
        // In a forked child the few bytes of the handle stay, because the allocator may be locked there: see `guard::forked`.
        if !pipeline.forked() {
            // SAFETY: made by `pipeline_start`, and not used again.
            drop(unsafe { Box::from_raw(p) });
        }
        Ok(())
    })
}

/// Gives a pipeline up at once, whatever is running: new events are refused, and no further event is stored. The handle is
/// invalid afterwards. The call waits for nothing, neither for a callback nor for a capture of another thread. When the last
/// callback, token and capture has ended, a thread of the library (never the caller's) calls `release` for the events that are
/// left, calls the storage's `destroy`, and frees the pipeline.
///
/// For the destructors of garbage-collected languages. A destructor at the end of a scope should first call `pipeline_close`
/// with `exit_timeout_ms`, as the C++ wrapper's does. Any thread, callbacks included; but in a `release` or `destroy` that
/// `pipeline_destroy` calls, it returns `PIPELINE_ERR_WOULD_DEADLOCK` and does nothing. Errors: `PIPELINE_ERR_NULL`. Since
/// 0.1.0.
///
/// # Safety
/// `p` is NULL or valid, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_abandon(p: *mut Pipeline) -> i32 {
    guard_files(|| {
        // SAFETY: by contract NULL or valid.
        let pipeline = unsafe { p.as_ref() }.ok_or_else(|| null("the pipeline"))?;
        if pipeline.forked() {
            return pipeline.destroy();
        }
        pipeline.check_not_ending_here()?;
        // SAFETY: by contract valid, and not used again.
        unsafe { Box::from_raw(p) }.abandon();
        Ok(())
    })
}
