//! What the library says while it works, and who hears of its threads.

use super::guard::guard;
use crate::platform::global::Replaceable;
use crate::platform::thread;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_STATE};
use std::ffi::{CString, c_char, c_void};

/// `pipeline_log_callback`'s `level`: something failed.
pub const PIPELINE_LOG_ERROR: i32 = 1;
/// `pipeline_log_callback`'s `level`: something needs attention.
pub const PIPELINE_LOG_WARN: i32 = 2;
/// `pipeline_log_callback`'s `level`: something worth knowing, rarely.
pub const PIPELINE_LOG_INFO: i32 = 3;
/// `pipeline_log_callback`'s `level`: steps, for debugging.
pub const PIPELINE_LOG_DEBUG: i32 = 4;

/// Hears a message of the library.
pub type LogFn = unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char);

struct Sink {
    callback: LogFn,
    user_data: *mut c_void,
}

static SINK: Replaceable<Sink> = Replaceable::new();

struct Logger;
static LOGGER: Logger = Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        SINK.get().is_some()
    }

    fn log(&self, record: &log::Record<'_>) {
        let Some(sink) = SINK.get() else { return };
        let level = match record.level() {
            log::Level::Error => PIPELINE_LOG_ERROR,
            log::Level::Warn => PIPELINE_LOG_WARN,
            log::Level::Info => PIPELINE_LOG_INFO,
            log::Level::Debug | log::Level::Trace => PIPELINE_LOG_DEBUG,
        };
        if let Ok(text) = CString::new(record.args().to_string()) {
            // SAFETY: the caller of `pipeline_log_callback` vouches for the pair.
            unsafe { (sink.callback)(sink.user_data, level, text.as_ptr()) };
        }
    }

    fn flush(&self) {}
}

/// Sets who hears the library's messages up to `level` (`PIPELINE_LOG_...`), for the whole process; NULL: nobody (the
/// default). Called from writer threads and from threads inside calls of this library, never from a capture, with no lock
/// held. A call of the callback before may still be running when this returns, so its `user_data` must stay valid.
/// Some dozens of bytes stay allocated for each replacement.
///
/// Any thread. `PIPELINE_ERR_INVALID` for an unknown level; `PIPELINE_ERR_STATE` if the program (in Rust) has its own logger.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_log_callback(
    callback: Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char)>,
    user_data: *mut c_void,
    level: i32,
) -> i32 {
    guard(|| {
        let Some(callback) = callback else {
            SINK.set(None);
            return Ok(());
        };
        let filter = match level {
            PIPELINE_LOG_ERROR => log::LevelFilter::Error,
            PIPELINE_LOG_WARN => log::LevelFilter::Warn,
            PIPELINE_LOG_INFO => log::LevelFilter::Info,
            PIPELINE_LOG_DEBUG => log::LevelFilter::Debug,
            _ => {
                return Err(Error::new(
                    PIPELINE_ERR_INVALID,
                    format!("level: {PIPELINE_LOG_ERROR} to {PIPELINE_LOG_DEBUG} allowed, {level} given"),
                ));
            }
        };
        let ours = std::ptr::from_ref::<dyn log::Log>(&LOGGER).cast::<()>();
        if log::set_logger(&LOGGER).is_err() && std::ptr::from_ref(log::logger()).cast::<()>() != ours {
            return Err(Error::new(
                PIPELINE_ERR_STATE,
                "the program has set its own logger of the log crate",
            ));
        }
        SINK.set(Some(Sink { callback, user_data }));
        log::set_max_level(filter);
        Ok(())
    })
}

/// Sets what each thread that the library starts (writers, the pool's supervisor, threads of storages) calls on itself as it begins and as it
/// ends, for the whole process; either may be NULL. Set it before the first `pipeline_start`; threads that
/// already run call neither. The supervisor may end, and call `stop`, a moment after its pipeline was destroyed, so the functions and
/// `user_data` must stay valid. Use it to tell your profiler or allocator hooks about these threads. Any thread. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_thread_hooks(
    start: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    stop: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    user_data: *mut c_void,
) -> i32 {
    guard(|| {
        thread::set_hooks(start, stop, user_data);
        Ok(())
    })
}
