//! Keeps `errno` over the system calls of a capture, because the host may be about to read its own.

/// Restores the calling thread's `errno` when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct KeptErrno(libc::c_int);

impl KeptErrno {
    /// Notes the present value.
    pub fn begin() -> Self {
        // SAFETY: the address is that of the calling thread's own `errno`.
        Self(unsafe { *libc::__errno_location() })
    }
}

impl Drop for KeptErrno {
    fn drop(&mut self) {
        // SAFETY: as above; the value is not shared with another thread.
        unsafe { *libc::__errno_location() = self.0 };
    }
}
