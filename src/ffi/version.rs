//! Version, status messages, the last error.

use super::guard;
use crate::status;
use std::ffi::c_char;

/// The version of this header: major * 1000000 + minor * 1000 + patch.
pub const PIPELINE_VERSION: u32 = 1_000;

/// Returns the version of the library at run time, in the form of `PIPELINE_VERSION`. Any thread, at any time, callbacks and
/// signal handlers included. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_version() -> u32 {
    PIPELINE_VERSION
}

/// Returns the version of the library at run time as a text, such as "0.1.0". The text is static. Any thread, at any time.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Returns a sentence for a status. It is static and never NULL. Any thread, at any time. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_status_message(status: i32) -> *const c_char {
    status::text(status).as_ptr()
}

/// Returns the detail of this thread's last call that failed: the field, the limit and the value. It is never NULL, and empty
/// before the first failure. The text is in a buffer of the thread, and valid until the thread's next call that fails. A
/// capture that is dropped or refused for lack of space does not change it. Any thread. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_last_error() -> *const c_char {
    guard::last_error()
}
