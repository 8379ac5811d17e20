//! Version, status messages, the last error.

use super::guard;
use crate::status;
use std::ffi::c_char;

/// The version that this header belongs to: major * 1000000 + minor * 1000 + patch.
pub const PIPELINE_VERSION: u32 = 1_000;

/// The library's version at run time, as `PIPELINE_VERSION` has it. Any thread, any time, callbacks and signal
/// handlers included. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_version() -> u32 {
    PIPELINE_VERSION
}

/// The library's version at run time as text, such as "0.1.0"; static. Any thread, any time. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// What a status means, in a sentence; static, never NULL. Any thread, any time. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_status_message(status: i32) -> *const c_char {
    status::text(status).as_ptr()
}

/// The detail of this thread's last failing call: which field, which limit, which value. Never NULL; empty before the
/// first. The text lives in a buffer of the thread, until its next failing call. Captures that are dropped or refused
/// for lack of space leave it as it is. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_last_error() -> *const c_char {
    guard::last_error()
}
