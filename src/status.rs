//! The statuses: a fixed number and a sentence for each cause.
//!
//! The core returns an [`Error`], which has a status and a detail that names the field, the limit and the given value. The ABI
//! layer returns the status and keeps the detail for `pipeline_last_error`.

use std::borrow::Cow;
use std::fmt;

/// Done; for a capture: the event is captured.
pub const PIPELINE_OK: i32 = 0;
/// The event was sampled out; it is counted as `dropped_sampled`. This is not an error.
pub const PIPELINE_SAMPLED: i32 = 1;
/// A rule dropped the event; it is counted as `dropped_rule`. This is not an error.
pub const PIPELINE_DROPPED_BY_RULE: i32 = 2;
/// There are no more events: a reader has given the last one. This is not an error.
pub const PIPELINE_END: i32 = 3;
/// A pointer that must not be NULL is NULL.
pub const PIPELINE_ERR_NULL: i32 = -1;
/// A value is out of its range or a flag is unknown; `pipeline_last_error` names the field, the limit and the value.
pub const PIPELINE_ERR_INVALID: i32 = -2;
/// A `struct_size` is unknown to this library, or a longer struct has non-zero members that this library does not know.
pub const PIPELINE_ERR_VERSION: i32 = -3;
/// The ring buffer is full and the overflow policy drops the new event; it is counted as `dropped_full`.
pub const PIPELINE_ERR_FULL: i32 = -4;
/// The payload is larger than `max_event_bytes`; it is counted as `refused_too_large`.
pub const PIPELINE_ERR_TOO_LARGE: i32 = -5;
/// The pipeline (or the producer handle's pipeline) is closed.
pub const PIPELINE_ERR_CLOSED: i32 = -6;
/// The ring buffer is in use by an interrupted capture or an open reservation of the same thread; or a callback is
/// running, so that the pipeline cannot be destroyed yet.
pub const PIPELINE_ERR_BUSY: i32 = -7;
/// There is no ring buffer to capture into.
pub const PIPELINE_ERR_NO_RING: i32 = -8;
/// The pipeline belongs to the parent of this (forked) process.
pub const PIPELINE_ERR_FORKED: i32 = -9;
/// The timeout has passed.
pub const PIPELINE_ERR_TIMEOUT: i32 = -10;
/// A configured or built-in limit is reached.
pub const PIPELINE_ERR_LIMIT: i32 = -11;
/// The call would wait for its own thread: a callback has made it on a thread of the pipeline.
pub const PIPELINE_ERR_WOULD_DEADLOCK: i32 = -12;
/// There is not enough memory. The call may be made again when there is some.
pub const PIPELINE_ERR_NO_MEMORY: i32 = -13;
/// The operating system has refused a call; `pipeline_last_error` has its message.
pub const PIPELINE_ERR_SYSTEM: i32 = -14;
/// The token was never issued, or its attempt has already been answered.
pub const PIPELINE_ERR_UNKNOWN_TOKEN: i32 = -15;
/// The configuration field, or the definition of a kind, cannot change while the pipeline runs.
pub const PIPELINE_ERR_FIXED: i32 = -16;
/// The storage has failed; `pipeline_last_error` has its message.
pub const PIPELINE_ERR_STORAGE: i32 = -17;
/// An internal error of this library was caught. Please report it.
pub const PIPELINE_ERR_INTERNAL: i32 = -18;
/// This build does not have the feature.
pub const PIPELINE_ERR_UNSUPPORTED: i32 = -19;
/// There is no object with that index or name.
pub const PIPELINE_ERR_NOT_FOUND: i32 = -20;
/// The call is out of order: a commit without a reservation, for example.
pub const PIPELINE_ERR_STATE: i32 = -21;

/// The sentence for a status.
pub fn message(status: i32) -> &'static str {
    text(status).to_str().unwrap_or("")
}

/// The same as a C string, for `pipeline_status_message`.
pub fn text(status: i32) -> &'static std::ffi::CStr {
    match status {
        PIPELINE_OK => c"ok",
        PIPELINE_SAMPLED => c"the event was sampled out",
        PIPELINE_DROPPED_BY_RULE => c"the event was dropped by a rule",
        PIPELINE_END => c"there are no more events",
        PIPELINE_ERR_NULL => c"a pointer that must not be NULL is NULL",
        PIPELINE_ERR_INVALID => c"a value is out of its range",
        PIPELINE_ERR_VERSION => c"the struct_size is not one that this library knows",
        PIPELINE_ERR_FULL => c"the ring buffer is full",
        PIPELINE_ERR_TOO_LARGE => c"the event is larger than max_event_bytes",
        PIPELINE_ERR_CLOSED => c"the pipeline is closed",
        PIPELINE_ERR_BUSY => c"in use: by an interrupted capture, an open reservation or a running callback",
        PIPELINE_ERR_NO_RING => c"there is no ring buffer to capture into",
        PIPELINE_ERR_FORKED => c"the pipeline belongs to the parent process",
        PIPELINE_ERR_TIMEOUT => c"the time given has passed",
        PIPELINE_ERR_LIMIT => c"a limit is reached",
        PIPELINE_ERR_WOULD_DEADLOCK => c"the call would wait for the callback that makes it",
        PIPELINE_ERR_NO_MEMORY => c"not enough memory",
        PIPELINE_ERR_SYSTEM => c"the operating system refused",
        PIPELINE_ERR_UNKNOWN_TOKEN => c"the token is unknown or already answered",
        PIPELINE_ERR_FIXED => c"the field or definition cannot change while the pipeline runs",
        PIPELINE_ERR_STORAGE => c"the storage failed",
        PIPELINE_ERR_INTERNAL => c"internal error",
        PIPELINE_ERR_UNSUPPORTED => c"not in this build",
        PIPELINE_ERR_NOT_FOUND => c"not found",
        PIPELINE_ERR_STATE => c"the call is out of order",
        _ => c"unknown status",
    }
}

/// A failure: its status, and the facts that a caller needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// One of the `PIPELINE_ERR_…` numbers.
    pub status: i32,
    /// The field, the limit and the given value.
    pub detail: Cow<'static, str>,
}

/// The result of an operation of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with its detail.
    pub fn new(status: i32, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into() }
    }

    /// The error of the system call that has just failed (`errno`).
    pub fn system(what: &str) -> Self {
        Self::new(PIPELINE_ERR_SYSTEM, format!("{what}: {}", std::io::Error::last_os_error()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { f.write_str(message(self.status)) } else { f.write_str(&self.detail) }
    }
}

impl std::error::Error for Error {}
