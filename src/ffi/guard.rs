//! The guard around every exported function: NULL check, fork check, and the catch that keeps a panic from crossing the boundary.

use super::target::Target;
use crate::manager::{Pipeline, Producer};
use crate::platform::cancellation::Uncancelled;
use crate::platform::memory;
use crate::platform::signals::FileSignalsHeld;
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

/// A C string being written into a buffer: without an allocation, and cut if it is too long. NUL bytes are left out.
pub(super) struct Text<'a> {
    pub buffer: &'a mut [u8],
    pub used: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars().filter(|&c| c != '\0') {
            let bytes = character.len_utf8();
            let room = self.buffer[self.used..].get_mut(..=bytes).ok_or(std::fmt::Error)?;
            character.encode_utf8(room);
            room[bytes] = 0;
            self.used += bytes;
        }
        Ok(())
    }
}

/// Sets the detail of this thread's last error. Allocates nothing, because captures call it, also in signal handlers.
pub(super) fn set_last_error(text: std::fmt::Arguments<'_>) {
    let _ = DETAIL.try_with(|d| {
        // SAFETY: the buffer is this thread's own. A signal handler that interrupts this may mix two texts; the last byte stays NUL.
        let buffer = unsafe { &mut *d.get() };
        buffer[0] = 0; // (the text may be empty)
        let _ = Text { buffer, used: 0 }.write_fmt(text);
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

/// Runs the body of an exported function that has no pipeline. It is no cancellation point, because a cancelled thread would unwind
/// through Rust's frames.
pub(super) fn guard(body: impl FnOnce() -> Result<()>) -> i32 {
    let _uncancelled = Uncancelled::begin();
    match catch_unwind(AssertUnwindSafe(|| answer(body().map(|()| PIPELINE_OK)))) {
        Ok(status) => status,
        Err(_) => answer(Err(Error::new(PIPELINE_ERR_INTERNAL, "a panic was caught at the boundary"))),
    }
}

/// As [`guard`], for a function that allocates: if there is no memory, it returns `PIPELINE_ERR_NO_MEMORY` before the body begins.
pub(super) fn guard_new(body: impl FnOnce() -> Result<()>) -> i32 {
    guard(|| {
        memory::check()?;
        body()
    })
}

/// As [`guard`], for a function that may write a file: the signals that a write can raise do not reach the host.
pub(super) fn guard_files(body: impl FnOnce() -> Result<()>) -> i32 {
    let _held = FileSignalsHeld::begin();
    guard(body)
}

/// As [`guard_pipeline`], for a function that allocates.
///
/// # Safety
/// As for [`guard_pipeline`].
pub(super) unsafe fn guard_pipeline_new(
    p: *const Pipeline,
    body: impl FnOnce(&Pipeline) -> Result<()>,
) -> i32 {
    // SAFETY: passed on.
    unsafe {
        guard_pipeline(p, |p| {
            memory::check()?;
            body(p)
        })
    }
}

/// Runs the body of an exported function on a pipeline.
///
/// # Safety
/// `p` is NULL or a pipeline that was started and not destroyed.
pub(super) unsafe fn guard_pipeline(p: *const Pipeline, body: impl FnOnce(&Pipeline) -> Result<()>) -> i32 {
    // SAFETY: by contract NULL or valid.
    let p = unsafe { p.as_ref() };
    if let Some(p) = p
        && p.forked()
    {
        return forked(p);
    }
    guard(|| body(p.ok_or_else(|| null("the pipeline"))?))
}

/// The answer in a forked child. It allocates nothing: a child that was forked without running handlers (`_Fork`, a bare system call) may have inherited a lock
/// of the allocator, which nobody unlocks.
#[cold]
pub(super) fn forked(p: &Pipeline) -> i32 {
    set_last_error(format_args!("pipeline {} belongs to the parent of this process", p.name()));
    PIPELINE_ERR_FORKED
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

/// Fails if `pointer` is NULL. `what` names it.
pub(super) fn require<T>(pointer: *const T, what: &str) -> Result<()> {
    if pointer.is_null() { Err(null(what)) } else { Ok(()) }
}

/// A producer of this process.
///
/// # Safety
/// `r` is NULL or open.
pub(super) unsafe fn own_producer<'a>(r: *const Producer) -> Result<&'a Producer> {
    // SAFETY: by contract.
    let producer = unsafe { r.as_ref() }.ok_or_else(|| null("the producer"))?;
    if producer.forked() {
        return Err(Error::new(PIPELINE_ERR_FORKED, "the producer belongs to the parent of this process"));
    }
    Ok(producer)
}

/// [`guard_capture`] for a call on `target`.
///
/// # Safety
/// `target` is NULL or valid.
#[inline(always)]
pub(super) unsafe fn guard_target<T: Target>(target: *const T, body: impl FnOnce(&T) -> i32) -> i32 {
    guard_capture(|| {
        // SAFETY: by contract.
        let Some(target) = (unsafe { target.as_ref() }) else { return null_argument(T::NULL) };
        body(target)
    })
}
