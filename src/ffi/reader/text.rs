//! Texts for C.

use super::structs::{pipeline_reader_attribute_t, pipeline_reader_thread_t};
use crate::journal::reader::Facts;
use crate::platform::memory;
use crate::status::{Error, PIPELINE_ERR_NOT_FOUND, Result};
use std::ffi::CString;

/// A text for C, without the NULs that it may have. An error: there is not enough memory.
pub(in crate::ffi) fn text(bytes: &[u8]) -> Result<CString> {
    let mut without = Vec::new();
    without.try_reserve_exact(bytes.len() + 1).map_err(|_| memory::refused(bytes.len() + 1))?;
    without.extend(bytes.iter().copied().filter(|&byte| byte != 0));
    Ok(CString::new(without).unwrap_or_default())
}

/// The texts that the last call has shown.
#[derive(Default)]
pub(in crate::ffi) struct Texts {
    pub text: CString,
    other: CString,
}

impl Texts {
    /// Shows the thread of a ring.
    pub fn thread(
        &mut self,
        facts: &Facts,
        generation: u64,
        ring_id: u64,
    ) -> Result<pipeline_reader_thread_t> {
        let Some(thread) = facts.threads.get(&(generation, ring_id)) else {
            let detail = format!("the thread of ring {ring_id} of generation {generation:016x} is not known");
            return Err(Error::new(PIPELINE_ERR_NOT_FOUND, detail));
        };
        self.text = text(&thread.name)?;
        let name = self.text.as_ptr();
        Ok(pipeline_reader_thread_t { struct_size: 0, reserved: 0, thread_id: thread.thread_id, name })
    }

    /// Shows an attribute of a run.
    pub fn attribute(
        &mut self,
        facts: &Facts,
        generation: u64,
        index: usize,
    ) -> Result<pipeline_reader_attribute_t> {
        let Some((name, value)) = facts.attributes_of(generation).nth(index) else {
            let detail = format!("generation {generation:016x} has no attribute with index {index}");
            return Err(Error::new(PIPELINE_ERR_NOT_FOUND, detail));
        };
        (self.text, self.other) = (text(name)?, text(value)?);
        Ok(pipeline_reader_attribute_t {
            struct_size: 0,
            reserved: 0,
            name: self.text.as_ptr(),
            value: self.other.as_ptr(),
        })
    }
}
