//! A reader as a C program holds it.

use super::kinds::Kinds;
use super::text::Texts;
use crate::ffi::guard::{guard, null};
use crate::journal::reader::Reader;
use crate::status::Result;

/// A reader of a journal.
#[allow(non_camel_case_types)] // the name is the header's
pub struct pipeline_reader_t {
    pub(super) reader: Reader,
    pub(super) kinds: Option<Box<Kinds>>,
    pub(super) texts: Texts,
}

/// Runs the body of a call on a reader.
///
/// # Safety
/// `reader` is NULL, or open and used by no other thread.
pub(super) unsafe fn on_reader(
    reader: *mut pipeline_reader_t,
    body: impl FnOnce(&mut pipeline_reader_t) -> Result<i32>,
) -> i32 {
    let mut status = 0;
    let failed = guard(|| {
        // SAFETY: by contract.
        status = body(unsafe { reader.as_mut() }.ok_or_else(|| null("the reader"))?)?;
        Ok(())
    });
    if failed == 0 { status } else { failed }
}
