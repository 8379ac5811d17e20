//! Texts for C.

use crate::platform::memory;
use crate::status::Result;
use std::ffi::CString;

/// A text for C, without the NULs that it may have. An error: there is not enough memory.
pub(super) fn text(bytes: &[u8]) -> Result<CString> {
    let mut without = Vec::new();
    without.try_reserve_exact(bytes.len() + 1).map_err(|_| memory::refused(bytes.len() + 1))?;
    without.extend(bytes.iter().copied().filter(|&byte| byte != 0));
    Ok(CString::new(without).unwrap_or_default())
}
