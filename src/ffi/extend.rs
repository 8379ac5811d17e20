//! What a library that extends this one needs to behave as this one does: a storage with threads, messages and errors of its own.

use super::guard::{guard, guard_new, null, set_last_error};
use super::log::{PIPELINE_LOG_DEBUG, PIPELINE_LOG_ERROR, PIPELINE_LOG_INFO, PIPELINE_LOG_WARN};
use crate::platform::thread;
use crate::status::{Error, PIPELINE_ERR_INVALID, Result};
use std::ffi::{CStr, c_char, c_void};

/// Starts a thread as the library starts its own, for a storage that needs one. The thread blocks asynchronous signals, has the stack of a
/// writer, and calls the functions of `pipeline_thread_hooks` before and after `body(argument)`. It is detached: `body` reports its
/// end, if that matters. `name` is copied; the system shows at most 15 bytes of it.
///
/// `body` must return: it must not throw, call `longjmp` or end its thread. The thread does not exist in a forked child.
///
/// Any thread, callbacks included; not a signal handler. Errors: `PIPELINE_ERR_NULL` (`name` or `body`), `_NO_MEMORY`, `_SYSTEM` (the
/// thread cannot be started; `body` is not called). Since 0.1.0.
///
/// # Safety
/// `name` is NULL or NUL-terminated; `body` may be called with `argument` on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_thread_start(
    name: *const c_char,
    body: Option<unsafe extern "C-unwind" fn(argument: *mut c_void)>,
    argument: *mut c_void,
) -> i32 {
    guard_new(|| {
        // SAFETY: by contract.
        let name = unsafe { text(name, "name") }?.to_string_lossy();
        thread::spawn_function(&name, body.ok_or_else(|| null("body"))?, argument)
    })
}

/// Gives a message to the function that `pipeline_log_callback` has set, if it wants messages of this level (`PIPELINE_LOG_...`). For
/// storages that report as the library does. The message is cut at 1023 bytes. Call it outside of locks, because the program's function
/// runs on the calling thread, during the call.
///
/// Any thread, callbacks included; not a signal handler. Errors: `PIPELINE_ERR_NULL`, `_INVALID` (unknown level). Since 0.1.0.
///
/// # Safety
/// `message` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_log(level: i32, message: *const c_char) -> i32 {
    guard(|| {
        // SAFETY: by contract.
        let message = unsafe { text(message, "message") }?;
        let level = match level {
            PIPELINE_LOG_ERROR => log::Level::Error,
            PIPELINE_LOG_WARN => log::Level::Warn,
            PIPELINE_LOG_INFO => log::Level::Info,
            PIPELINE_LOG_DEBUG => log::Level::Debug,
            _ => {
                return Err(Error::new(
                    PIPELINE_ERR_INVALID,
                    format!("level: {PIPELINE_LOG_ERROR} to {PIPELINE_LOG_DEBUG} allowed, {level} given"),
                ));
            }
        };
        log::log!(level, "{}", Shown(message));
        Ok(())
    })
}

/// Sets the calling thread's text of `pipeline_last_error`, so that a function of a library that extends this one can explain the
/// status that it returns. The text is copied, and cut at 511 bytes.
///
/// Any thread, callbacks included; not a signal handler. Errors: `PIPELINE_ERR_NULL`. Since 0.1.0.
///
/// # Safety
/// `detail` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_set_last_error(detail: *const c_char) -> i32 {
    guard(|| {
        // SAFETY: by contract.
        let detail = unsafe { text(detail, "detail") }?;
        set_last_error(format_args!("{}", Shown(detail)));
        Ok(())
    })
}

/// # Safety
/// `pointer` is NULL or NUL-terminated, and stays as it is.
unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a CStr> {
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: by contract.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// A C string as text, without an allocation: what is not UTF-8 becomes the replacement character.
struct Shown<'a>(&'a CStr);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for chunk in self.0.to_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}
