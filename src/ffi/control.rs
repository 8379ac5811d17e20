//! A pipeline's life: start, scale, flush, pause, figures, close, destroy.

use super::guard::{guard, guard_pipeline, null};
use super::types::*;
use super::{config, sized, storage};
use crate::manager::Pipeline;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_NULL, Result};
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

/// Starts a pipeline: its ring buffers' bookkeeping, its writers, its supervisor. `config` may be NULL: all
/// defaults. The storage is copied; it passes to the pipeline as soon as its `struct_size` is accepted, and its `destroy` then runs
/// exactly once, also when the start fails. The first start of a process registers an exit handler that drains pipelines
/// which were not closed, each for at most its `exit_timeout_ms`.
///
/// Any thread, callbacks included; not a signal handler. `*out` is written only on success; end it with `pipeline_close`
/// and `pipeline_destroy`, or with `pipeline_abandon`. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_UNSUPPORTED`,
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
    guard(|| {
        // SAFETY: by contract.
        let storage = unsafe { storage::take(storage) }?;
        // SAFETY: by contract.
        let config = unsafe { config::start_config(config) }?;
        if out.is_null() {
            return Err(null("out"));
        }
        let pipeline = Pipeline::start_plain(config, Box::new(storage))?;
        // SAFETY: not NULL, writable by contract.
        unsafe { out.write(Box::into_raw(Box::new(pipeline))) };
        Ok(())
    })
}

/// Sets the number of writers, 0 to `PIPELINE_MAX_WRITERS`, at once: writers that are missing start, surplus ones end after
/// the call that they are in. Nothing is lost; 0 only buffers. Turns autoscaling off, by setting `min_writers` and
/// `max_writers` of the running configuration to 0; `pipeline_update` turns it on again. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`,
/// `_LIMIT`, `_CLOSED`, `_FORKED`, `_SYSTEM` (a thread could not be started; those that could go on). Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_scale(p: *mut Pipeline, writers: u32) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, |p| p.scale(writers)) }
}

/// Waits until every event captured before the call is settled, and the storage's `flush` has answered; for at most
/// `timeout_ms`. -1 waits for ever; 0 only asks whether all is settled. Any thread but the library's own
/// (`PIPELINE_ERR_WOULD_DEADLOCK`). Errors: `PIPELINE_ERR_NULL`, `_TIMEOUT`, `_CLOSED`, `_FORKED`, `_STORAGE`, or what the
/// storage's `flush` answered. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_flush(p: *mut Pipeline, timeout_ms: i64) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, |p| p.flush(timeout(timeout_ms))) }
}

/// Stops taking events out of the ring buffers until `pipeline_resume`. Captures go on; batches in flight go on to their
/// end. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`, `_CLOSED`, `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_pause(p: *mut Pipeline) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, Pipeline::pause) }
}

/// Undoes `pipeline_pause`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_resume(p: *mut Pipeline) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, Pipeline::resume) }
}

/// Reads the figures. `out->struct_size` is set by the caller. Any thread, callbacks included, also after close. It costs
/// the captures nothing. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `out` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_metrics(p: *const Pipeline, out: *mut pipeline_metrics_t) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline(p, |p| {
            if out.is_null() {
                return Err(null("out"));
            }
            sized::write_sized(out, &metrics(p), "out")
        })
    }
}

fn metrics(p: &Pipeline) -> pipeline_metrics_t {
    let m = p.metrics();
    let l = &m.ledger;
    pipeline_metrics_t {
        struct_size: 0,
        reserved: 0,
        offered: l.offered(),
        captured: l.captured,
        recovered: l.recovered,
        dropped_full: l.dropped_full,
        dropped_sampled: l.dropped_sampled,
        dropped_rule: l.dropped_rule,
        refused_too_large: l.refused_too_large,
        refused_closed: l.refused_closed,
        refused_invalid: l.refused_invalid,
        refused_busy: l.refused_busy,
        refused_no_ring: l.refused_no_ring,
        stored: l.stored,
        filtered: l.filtered,
        dead_lettered: l.dead_lettered,
        discarded: l.discarded,
        overwritten: l.overwritten,
        buffered: l.buffered,
        in_flight: l.in_flight,
        in_doubt: l.in_doubt,
        left: l.left,
        torn: l.torn,
        batches: m.batches,
        retries: m.retries,
        bad_results: m.bad_results,
        writer_restarts: m.writer_restarts,
        writers_target: m.writers_target,
        writers_live: m.writers_live,
        writers_stuck: m.writers_stuck,
        rings: m.rings,
        rings_retired: m.rings_retired,
        backlog_bytes: m.backlog_bytes,
        oldest_age_ns: m.oldest_age_ns,
        bytes_captured: m.bytes_captured,
        bytes_stored: m.bytes_stored,
        latency_p50_ns: m.latency.p50,
        latency_p99_ns: m.latency.p99,
        latency_p999_ns: m.latency.p999,
        latency_max_ns: m.latency.max,
        uptime_ns: m.uptime_ns,
        capture_rate: m.capture_rate,
        store_rate: m.store_rate,
        scale_ups: m.scaling.ups,
        scale_downs: m.scaling.downs,
        autoscaling: m.scaling.autoscaling.into(),
        scale_reason: m.scaling.reason,
        scale_from: m.scaling.from,
        scale_to: m.scaling.to,
        scale_at_ns: m.scaling.at_ns,
        circuit: m.circuit,
        circuit_openings: m.circuit_openings,
        circuit_probes: m.circuit_probes,
        panics: m.panics,
        clock: config::clock_number(m.clock),
        reserved2: 0,
    }
}

/// Reads the figures of the writer at `index`, 0 to `writers_live` - 1; `PIPELINE_ERR_NOT_FOUND` past them. Otherwise as
/// `pipeline_metrics`. Since 0.1.0.
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
    unsafe {
        guard_pipeline(p, |p| {
            if out.is_null() {
                return Err(null("out"));
            }
            let w = p.writer_metrics(index)?;
            let value = pipeline_writer_metrics_t {
                struct_size: 0,
                writer_id: w.writer_id,
                state: w.state,
                thread_id: w.thread_id,
                attempts: w.attempts,
                events: w.events,
                bytes: w.bytes,
                retries: w.retries,
                call_ns: w.call_ns,
                in_call_ns: w.in_call_ns,
                restarts: w.restarts,
                bad_results: w.bad_results,
                panics: w.panics,
            };
            sized::write_sized(out, &value, "out")
        })
    }
}

/// Reads the pipeline's health. `out->struct_size` is set by the caller. Any thread, callbacks included, also after close.
/// Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `out` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_health(p: *const Pipeline, out: *mut pipeline_health_t) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline(p, |p| {
            if out.is_null() {
                return Err(null("out"));
            }
            let h = p.health();
            let message = in_buffer(&h.message);
            let value = pipeline_health_t {
                struct_size: 0,
                status: h.status,
                reasons: h.reasons,
                writers_live: h.writers_live,
                writers_stuck: h.writers_stuck,
                batches_retrying: h.batches_retrying,
                message,
                circuit: h.circuit,
                fault: h.fault,
                fault_writer: h.fault_writer,
                fault_answer: h.fault_answer,
                fault_batch: h.fault_batch,
                fault_age_ns: h.fault_age_ns,
                faults: h.faults,
                stuck_ns: h.stuck_ns,
                stuck_batch: h.stuck_batch,
                stuck_writer: h.stuck_writer,
                reserved: 0,
            };
            sized::write_sized(out, &value, "out")
        })
    }
}

/// As much of a text as fits, NUL-terminated; one that is cut ends in "...".
fn in_buffer<const N: usize>(text: &str) -> [c_char; N] {
    let mut buffer = [0 as c_char; N];
    let (most, end) = if text.len() < N { (text.len(), "") } else { (N - 4, "...") };
    for (to, from) in buffer.iter_mut().zip(text.bytes().take(most).chain(end.bytes())) {
        *to = from as c_char;
    }
    buffer
}

/// Gives a kind a name, for storages that keep names (`PIPELINE_STORAGE_META`). `name` is copied; at most 255 bytes. Any
/// thread, callbacks included. Errors: `PIPELINE_ERR_NULL`, `_INVALID` (a reserved kind, a name that is too long),
/// `_FULL` (too many names wait to be stored), `_CLOSED`, `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_kind_name(p: *mut Pipeline, kind: u32, name: *const c_char) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline(p, |p| {
            if name.is_null() {
                return Err(null("name"));
            }
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

/// Refuses new events, drains what is there, flushes the storage and ends the writers; waits for at most `timeout_ms` (-1:
/// for ever). The handle stays valid. A pause is lifted, and if there are no writers one is started to drain. On
/// `PIPELINE_ERR_TIMEOUT`, `pipeline_metrics` says what is `left`, in flight and in doubt; a call of the storage that is running
/// goes on to its end. Closing again goes on draining if something was left, otherwise answers
/// `PIPELINE_ERR_CLOSED`; so does a close that is cut short because another thread's gave up meanwhile.
///
/// Any thread but the library's own (`PIPELINE_ERR_WOULD_DEADLOCK`). Errors: `PIPELINE_ERR_NULL`, `_TIMEOUT`, `_CLOSED`, `_FORKED`,
/// or what the storage's `flush` answered. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_close(p: *mut Pipeline, timeout_ms: i64) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline(p, |p| p.close(timeout(timeout_ms))) }
}

/// Frees a pipeline. Never waits: while a callback runs, a writer has not ended, a token is out or a capture is under way it
/// answers `PIPELINE_ERR_BUSY`, and the handle stays valid; a pipeline that was not closed is told to stop then, without
/// draining. After `PIPELINE_OK` no callback runs and the handle is gone; the storage's `destroy` has run. In a forked child it
/// frees the parent's pipeline without running anything, and answers `PIPELINE_OK`. Producers that are still open keep
/// their memory. Any thread; `PIPELINE_ERR_WOULD_DEADLOCK` on the library's own. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid, and not used again after `PIPELINE_OK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_destroy(p: *mut Pipeline) -> i32 {
    guard(|| {
        require(p)?;
        // SAFETY: by contract valid.
        unsafe {
            (*p).destroy()?;
            drop(Box::from_raw(p));
        }
        Ok(())
    })
}

/// Lets go of a pipeline at once, whatever runs: new events are refused, nothing further is drained, and the last callback or
/// token to end frees everything and runs the storage's `destroy`. The handle is gone. Made for destructors of other
/// languages. Any thread, callbacks included; but from the storage's `release` or `destroy`, called by
/// `pipeline_destroy`, it answers `PIPELINE_ERR_WOULD_DEADLOCK` and does nothing. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_abandon(p: *mut Pipeline) -> i32 {
    guard(|| {
        require(p)?;
        // SAFETY: by contract valid.
        unsafe { &*p }.check_not_ending_here()?;
        // SAFETY: by contract valid, and not used again.
        unsafe { Box::from_raw(p) }.abandon();
        Ok(())
    })
}

fn require(p: *mut Pipeline) -> Result<()> {
    if p.is_null() {
        return Err(Error::new(PIPELINE_ERR_NULL, "the pipeline is NULL"));
    }
    Ok(())
}
