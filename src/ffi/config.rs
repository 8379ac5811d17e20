//! The configuration as C sees it: defaults, reading, changing.

use super::guard::{guard, guard_pipeline};
use super::sized;
use super::types::*;
use crate::config::{Class, Clock, Config, Ordering, Overflow};
use crate::event::{PIPELINE_CLOCK_AUTO, PIPELINE_CLOCK_MONOTONIC, PIPELINE_CLOCK_TICKS};
use crate::manager::Pipeline;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_UNSUPPORTED, Result};
use std::ffi::{CStr, c_char};

// SAFETY: repr(C), plain integers and pointers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_config_t {
    const NAME: &'static str = "pipeline_config_t";
}

/// A C configuration with the values of `c`; `name`, `ring_dir` and `writer_cpus` are NULL.
fn to_c(c: &Config) -> pipeline_config_t {
    pipeline_config_t {
        struct_size: size_of::<pipeline_config_t>() as u32,
        flags: 0,
        name: std::ptr::null(),
        writers: c.writers,
        min_writers: c.min_writers,
        max_writers: c.max_writers,
        batch_size: c.batch_size,
        batch_bytes: c.batch_bytes,
        linger_us: c.linger_us,
        poll_interval_ms: c.poll_interval_ms,
        max_in_flight: c.max_in_flight,
        max_in_doubt: c.max_in_doubt,
        ring_bytes: c.ring_bytes,
        max_rings: c.max_rings,
        max_retired_rings: c.max_retired_rings,
        max_event_bytes: c.max_event_bytes.unwrap_or(0),
        overflow: match c.overflow {
            Overflow::DropNewest => PIPELINE_OVERFLOW_DROP_NEWEST,
            Overflow::DropOldest => PIPELINE_OVERFLOW_DROP_OLDEST,
            Overflow::Block => PIPELINE_OVERFLOW_BLOCK,
        },
        ordering: match c.ordering {
            Ordering::None => PIPELINE_ORDERING_NONE,
            Ordering::PerProducer => PIPELINE_ORDERING_PER_PRODUCER,
        },
        block_timeout_us: c.block_timeout_us,
        retry_limit: c.retry_limit,
        reserved: 0,
        retry_initial_us: c.retry_initial_us,
        retry_max_us: c.retry_max_us,
        retry_max_age_ms: c.retry_max_age_ms,
        storage_deadline_ms: c.storage_deadline_ms,
        exit_timeout_ms: c.exit_timeout_ms,
        ring_dir: std::ptr::null(),
        breaker_failures: c.breaker_failures,
        reserved2: 0,
        clock: clock_number(c.clock),
        writer_class: class_number(c.writer_class),
        writer_priority: c.writer_priority,
        writer_nice: c.writer_nice,
        writer_cpus: std::ptr::null(),
        writer_slice_us: c.writer_slice_us,
        reserved3: 0,
    }
}

/// The `PIPELINE_CLOCK_...` of a clock.
pub(super) fn clock_number(clock: Clock) -> u32 {
    match clock {
        Clock::Auto => PIPELINE_CLOCK_AUTO,
        Clock::Monotonic => PIPELINE_CLOCK_MONOTONIC,
        Clock::Ticks => PIPELINE_CLOCK_TICKS,
    }
}

fn class_number(class: Class) -> u32 {
    match class {
        Class::Inherit => PIPELINE_SCHED_INHERIT,
        Class::Other => PIPELINE_SCHED_OTHER,
        Class::Batch => PIPELINE_SCHED_BATCH,
        Class::Idle => PIPELINE_SCHED_IDLE,
        Class::Fifo => PIPELINE_SCHED_FIFO,
        Class::RoundRobin => PIPELINE_SCHED_RR,
    }
}

fn refuse(field: &str, allowed: &str, given: impl std::fmt::Display) -> Error {
    Error::new(PIPELINE_ERR_INVALID, format!("pipeline_config_t.{field}: {allowed} allowed, {given} given"))
}

/// The configuration that a C one asks for; `base` gives the texts where it has none.
fn from_c(c: &pipeline_config_t, base: &Config) -> Result<Config> {
    if c.flags != 0 {
        return Err(refuse("flags", "0", c.flags));
    }
    if c.reserved != 0 {
        return Err(refuse("reserved", "0", c.reserved));
    }
    if c.reserved2 != 0 {
        return Err(refuse("reserved2", "0", c.reserved2));
    }
    if c.reserved3 != 0 {
        return Err(refuse("reserved3", "0", c.reserved3));
    }
    if !c.ring_dir.is_null() {
        return Err(Error::new(
            PIPELINE_ERR_UNSUPPORTED,
            "pipeline_config_t.ring_dir: this version has no ring buffers in files; NULL allowed",
        ));
    }
    let config = Config {
        name: if c.name.is_null() {
            base.name.clone()
        } else {
            // SAFETY: the caller gives NULL or a NUL-terminated string.
            unsafe { CStr::from_ptr(c.name) }.to_string_lossy().into_owned()
        },
        writers: c.writers,
        min_writers: c.min_writers,
        max_writers: c.max_writers,
        batch_size: c.batch_size,
        batch_bytes: c.batch_bytes,
        linger_us: c.linger_us,
        poll_interval_ms: c.poll_interval_ms,
        max_in_flight: c.max_in_flight,
        max_in_doubt: c.max_in_doubt,
        ring_bytes: c.ring_bytes,
        max_rings: c.max_rings,
        max_retired_rings: c.max_retired_rings,
        max_event_bytes: (c.max_event_bytes != 0).then_some(c.max_event_bytes),
        overflow: match c.overflow {
            PIPELINE_OVERFLOW_DROP_NEWEST => Overflow::DropNewest,
            PIPELINE_OVERFLOW_DROP_OLDEST => Overflow::DropOldest,
            PIPELINE_OVERFLOW_BLOCK => Overflow::Block,
            other => return Err(refuse("overflow", "0 to 2", other)),
        },
        block_timeout_us: c.block_timeout_us,
        ordering: match c.ordering {
            PIPELINE_ORDERING_NONE => Ordering::None,
            PIPELINE_ORDERING_PER_PRODUCER => Ordering::PerProducer,
            other => return Err(refuse("ordering", "0 to 1", other)),
        },
        retry_limit: c.retry_limit,
        retry_initial_us: c.retry_initial_us,
        retry_max_us: c.retry_max_us,
        retry_max_age_ms: c.retry_max_age_ms,
        storage_deadline_ms: c.storage_deadline_ms,
        exit_timeout_ms: c.exit_timeout_ms,
        breaker_failures: c.breaker_failures,
        clock: match c.clock {
            PIPELINE_CLOCK_AUTO => Clock::Auto,
            PIPELINE_CLOCK_MONOTONIC => Clock::Monotonic,
            PIPELINE_CLOCK_TICKS => Clock::Ticks,
            other => return Err(refuse("clock", "0 to 2", other)),
        },
        writer_class: match c.writer_class {
            PIPELINE_SCHED_INHERIT => Class::Inherit,
            PIPELINE_SCHED_OTHER => Class::Other,
            PIPELINE_SCHED_BATCH => Class::Batch,
            PIPELINE_SCHED_IDLE => Class::Idle,
            PIPELINE_SCHED_FIFO => Class::Fifo,
            PIPELINE_SCHED_RR => Class::RoundRobin,
            other => return Err(refuse("writer_class", "0 to 5", other)),
        },
        writer_priority: c.writer_priority,
        writer_nice: c.writer_nice,
        writer_cpus: if c.writer_cpus.is_null() {
            base.writer_cpus.clone()
        } else {
            // SAFETY: the caller gives NULL or a NUL-terminated string.
            Some(unsafe { CStr::from_ptr(c.writer_cpus) }.to_string_lossy().into_owned())
        },
        writer_slice_us: c.writer_slice_us,
    };
    config.validate()?;
    Ok(config)
}

/// Reads a caller's configuration for a start; NULL means all defaults.
///
/// # Safety
/// `config` is NULL or as its `struct_size` says.
pub(super) unsafe fn start_config(config: *const pipeline_config_t) -> Result<Config> {
    let defaults = Config::default();
    if config.is_null() {
        return Ok(defaults);
    }
    // SAFETY: by contract.
    let (c, _) = unsafe { sized::read(config, to_c(&defaults), "config") }?;
    from_c(&c, &defaults)
}

/// Writes every default to `config` and sets its `struct_size`. Use `sizeof(pipeline_config_t)` as `struct_size`.
/// `max_event_bytes` is written as 0, which stands for 65536 or `ring_bytes`/4 - 64, whichever is
/// smaller. Any thread. Since 0.1.0.
///
/// # Safety
/// `config` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_config_init(config: *mut pipeline_config_t, struct_size: usize) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(config, struct_size, &to_c(&Config::default()), "config") })
}

/// Changes the configuration of a running pipeline, all fields at once or none. Best start from
/// `pipeline_config_read`. Fields beyond the caller's `struct_size` stay as they are; a NULL `name` or `writer_cpus` is no change.
/// Fixed are `name`, `ring_bytes`, `max_rings`, `max_retired_rings`, `max_event_bytes`, `ordering`, `clock`, `writer_class`,
/// `writer_priority`, `writer_nice`, `writer_cpus`, `writer_slice_us`; a different value there is `PIPELINE_ERR_FIXED`, and `pipeline_last_error` names the field. `writers` is the
/// number from then on; while autoscaling is on and stays on it is not looked at, so that what `pipeline_config_read` gave can be
/// written back. `min_writers` and `max_writers` turn autoscaling on and off (`pipeline_scale` has turned it off by setting both
/// to 0); a number of writers outside of them is brought to the nearer one. `overflow` cannot become `PIPELINE_OVERFLOW_DROP_OLDEST` while the storage has
/// a `release` without `PIPELINE_STORAGE_RELEASE_ANYWHERE`.
///
/// Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_FIXED`, `_CLOSED`, `_FORKED`,
/// `_SYSTEM` (a writer's thread could not be started). Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `config` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_update(p: *mut Pipeline, config: *const pipeline_config_t) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline(p, |p| {
            let running = p.config();
            let (c, _) = sized::read(config, to_c(&running), "config")?;
            p.update(from_c(&c, &running)?)
        })
    }
}

/// Reads the running configuration; `struct_size` is set by the caller. `name`, `ring_dir` and `writer_cpus` come back NULL. Any
/// thread, callbacks included. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `out` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_config_read(p: *const Pipeline, out: *mut pipeline_config_t) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline(p, |p| {
            let mut c = to_c(&p.config());
            c.name = std::ptr::null::<c_char>();
            sized::write_sized(out, &c, "out")
        })
    }
}
