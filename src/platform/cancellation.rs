//! Disabling the cancellation of a thread.

/// Disables the cancellation of the calling thread until it is dropped: blocking calls are no cancellation points, and a `pthread_cancel` stays
/// pending. A cancellation inside the library would unwind through Rust frames, which ends the process.
#[derive(Debug)]
#[must_use]
pub struct Uncancelled(libc::c_int);

unsafe extern "C" {
    // The libc crate does not declare it for Linux.
    fn pthread_setcancelstate(state: libc::c_int, before: *mut libc::c_int) -> libc::c_int;
}

impl Uncancelled {
    /// Disables cancellation.
    #[inline]
    pub fn begin() -> Self {
        /// As in glibc and in musl.
        const PTHREAD_CANCEL_DISABLE: libc::c_int = 1;
        let mut before = 0;
        // SAFETY: the call writes an int to a local and does not block.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
        Self(before)
    }
}

impl Drop for Uncancelled {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: restores the state that the thread had.
        unsafe { pthread_setcancelstate(self.0, std::ptr::null_mut()) };
    }
}
