//! The locks of open file descriptions: whether one is held.

use std::fs::File;
use std::os::fd::AsRawFd;

/// Whether another open file description holds a lock on the first byte of the file. `None`: the system does not tell.
pub fn first_byte_is_locked(file: &File) -> Option<bool> {
    /// As in the kernel. The libc crate does not declare it for every C library.
    const F_OFD_GETLK: libc::c_int = 36;
    // SAFETY: zeroes are a valid flock; the kernel requires `l_pid` to be 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_len = 1;
    // SAFETY: the descriptor is open, and `lock` outlives the call.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), F_OFD_GETLK, &raw mut lock) } == 0;
    done.then_some(i32::from(lock.l_type) != i32::from(libc::F_UNLCK as libc::c_short))
}
