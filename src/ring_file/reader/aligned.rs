//! Bytes that begin at a multiple of 8, so that payloads are aligned as they are in a ring.

use super::directory::no_memory;
use crate::files::failure::Failure;
use std::ops::{Deref, DerefMut};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    words: Vec<u64>,
    bytes: usize,
}

impl Aligned {
    /// Makes it so many bytes long. What they are is not said. An error: there is no memory, and it is as it was.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Failure> {
        let words = bytes.div_ceil(8);
        if let Some(more) = words.checked_sub(self.words.len()) {
            self.words.try_reserve_exact(more).map_err(|_| no_memory(bytes))?;
            self.words.resize(words, 0);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the words have at least so many bytes (`resize`), and any bytes are a `u8`.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.bytes) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; any bytes are words, too.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.bytes) }
    }
}
