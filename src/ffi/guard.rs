//! The one way into the library: NULL check, fork check, and the catch that keeps a panic from crossing the boundary.

use crate::manager::Pipeline;
use crate::status::{
    Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_INTERNAL, PIPELINE_ERR_NULL, PIPELINE_OK, Result,
};
use std::cell::UnsafeCell;
use std::ffi::c_char;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

const DETAIL_BYTES: usize = 512;

thread_local! {
    /// The detail of the thread's last error: bytes without a destructor, always NUL-terminated.
    static DETAIL: UnsafeCell<[u8; DETAIL_BYTES]> = const { UnsafeCell::new([0; DETAIL_BYTES]) };
}

/// The thread's last error; valid until its next failing call.
pub(super) fn last_error() -> *const c_char {
    DETAIL.try_with(|d| d.get().cast::<c_char>().cast_const()).unwrap_or(c"".as_ptr())
}

/// Writes into the thread's buffer, and stops where it is full.
struct Detail<'a> {
    buffer: &'a mut [u8; DETAIL_BYTES],
    used: usize,
}

impl Write for Detail<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let mut n = text.len().min(DETAIL_BYTES - 1 - self.used);
        while !text.is_char_boundary(n) {
            n -= 1;
        }
        self.buffer[self.used..self.used + n].copy_from_slice(&text.as_bytes()[..n]);
        self.used += n;
        self.buffer[self.used] = 0;
        Ok(())
    }
}

/// Keeps the detail of an error for this thread. Allocates nothing: it is called from captures, also in signal handlers.
pub(super) fn set_last_error(text: std::fmt::Arguments<'_>) {
    let _ = DETAIL.try_with(|d| {
        // SAFETY: the buffer is this thread's own. A signal handler that comes in between may mix two texts, and the
        // last byte stays NUL.
        let buffer = unsafe { &mut *d.get() };
        let _ = Detail { buffer, used: 0 }.write_fmt(text);
    });
}

fn answer(result: Result<i32>) -> i32 {
    match result {
        Ok(status) => status,
        Err(error) => {
            set_last_error(format_args!("{error}"));
            error.status
        }
    }
}

/// Runs the body of an exported function that has no pipeline.
pub(super) fn guard(body: impl FnOnce() -> Result<()>) -> i32 {
    match catch_unwind(AssertUnwindSafe(|| answer(body().map(|()| PIPELINE_OK)))) {
        Ok(status) => status,
        Err(_) => answer(Err(Error::new(PIPELINE_ERR_INTERNAL, "a panic was caught at the boundary"))),
    }
}

/// Runs the body of an exported function on a pipeline.
///
/// # Safety
/// `p` is NULL or a pipeline that was started and not destroyed.
pub(super) unsafe fn guard_pipeline(p: *const Pipeline, body: impl FnOnce(&Pipeline) -> Result<()>) -> i32 {
    guard(|| {
        // SAFETY: by contract NULL or valid.
        let p = unsafe { p.as_ref() }.ok_or_else(|| Error::new(PIPELINE_ERR_NULL, "the pipeline is NULL"))?;
        if p.forked() {
            return Err(Error::new(
                PIPELINE_ERR_FORKED,
                format!("pipeline {} belongs to the parent of this process", p.name()),
            ));
        }
        body(p)
    })
}

/// The guard of the capture path: no allocation on success, and the same checks as everywhere.
#[inline(always)]
pub(super) fn guard_capture(body: impl FnOnce() -> i32) -> i32 {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(PIPELINE_ERR_INTERNAL)
}

#[cold]
pub(super) fn null_argument(what: &str) -> i32 {
    set_last_error(format_args!("{what}"));
    PIPELINE_ERR_NULL
}

/// The error of a NULL argument.
pub(super) fn null(what: &str) -> Error {
    Error::new(PIPELINE_ERR_NULL, format!("{what} is NULL"))
}
