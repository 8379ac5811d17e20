//! The log callback and the thread hooks.

use super::guard::{Text, guard_new};
use crate::platform::cancellation::Uncancelled;
use crate::platform::global::Replaceable;
use crate::platform::process::PerProcess;
use crate::platform::sync::Mutex;
use crate::platform::thread;
use crate::pool::Pool;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_STATE, Result};
use std::ffi::{c_char, c_void};
use std::fmt::Write;

/// `pipeline_log_callback`'s `level`: something failed.
pub const PIPELINE_LOG_ERROR: i32 = 1;
/// `pipeline_log_callback`'s `level`: something needs attention.
pub const PIPELINE_LOG_WARN: i32 = 2;
/// `pipeline_log_callback`'s `level`: something is worth knowing. Rare.
pub const PIPELINE_LOG_INFO: i32 = 3;
/// `pipeline_log_callback`'s `level`: a single step, for debugging.
pub const PIPELINE_LOG_DEBUG: i32 = 4;

/// The function that receives the messages.
pub type LogFn = unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char);

struct Sink {
    callback: LogFn,
    user_data: *mut c_void,
}

static SINK: Replaceable<Sink> = Replaceable::new();

/// The longest message, its NUL included.
const MESSAGE_BYTES: usize = 1024;

struct Logger;
static LOGGER: Logger = Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        SINK.get().is_some()
    }

    fn log(&self, record: &log::Record<'_>) {
        let Some(sink) = SINK.get() else { return };
        // The log crate numbers its levels as `PIPELINE_LOG_…` does.
        let level = record.level().min(log::Level::Debug) as i32;
        let mut message = [0; MESSAGE_BYTES];
        let _ = Text { buffer: &mut message, used: 0 }.write_fmt(*record.args());
        // A cancelled thread would unwind out of the callback, through Rust's frames.
        let _uncancelled = Uncancelled::begin();
        // SAFETY: the two belong together, as `pipeline_log_callback` requires; the text ends in a NUL.
        unsafe { (sink.callback)(sink.user_data, level, message.as_ptr().cast()) };
    }

    fn flush(&self) {}
}

/// Sets the logger of the log crate. `false`: there is one already.
fn set_logger() -> Result<bool> {
    static SETTING: PerProcess<Mutex<()>> = PerProcess::new();
    let setting = SETTING.get_or_make(|| Mutex::new(())).ok_or_else(Pool::no_memory)?;
    let _alone = setting.lock();
    // SAFETY: the lock excludes other calls from here, and a program in Rust that has a logger of its own sets it at its start. Not
    // `set_logger`: in a child that was forked while another thread was in it, every later call of it would wait for ever.
    Ok(unsafe { log::set_logger_racy(&LOGGER) }.is_ok())
}

/// Sets the function that receives the library's messages up to `level` (`PIPELINE_LOG_...`), for the whole process. NULL, the default,
/// turns messages off. The library calls it on writer threads and on threads that are in a call of this library, but never in a capture. It
/// holds no lock meanwhile.
///
/// A call of the former callback may still be running when this function returns, so the former `user_data` must stay valid.
/// Each replacement keeps some dozens of bytes allocated.
///
/// The callback must return: it must not throw, call `longjmp` or end its thread. If it forks, the child must call `exec` or
/// `_exit`, because the files that the thread was writing to do not exist in the child.
///
/// Any thread. Errors: `PIPELINE_ERR_INVALID` (unknown level); `PIPELINE_ERR_STATE` (the program, in Rust, has set its own
/// logger). Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_log_callback(
    callback: Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char)>,
    user_data: *mut c_void,
    level: i32,
) -> i32 {
    guard_new(|| {
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
        if !set_logger()? && std::ptr::from_ref(log::logger()).cast::<()>() != ours {
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

/// Sets the functions that each thread of the library calls when it begins (`start`) and when it ends (`stop`), for the whole process.
/// Either may be NULL. The threads are the writers, the supervisor of each pipeline, the thread on which `pipeline_start` works, and
/// threads of storages. They are for profilers and allocators that must know each thread.
///
/// To be called before the first `pipeline_start`. Threads that run already call neither function. The supervisor may end, and
/// call `stop`, a moment after its pipeline was destroyed, so the functions and `user_data` must stay valid. Any thread. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_thread_hooks(
    start: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    stop: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    user_data: *mut c_void,
) -> i32 {
    guard_new(|| {
        thread::set_hooks(start, stop, user_data);
        Ok(())
    })
}
