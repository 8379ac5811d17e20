//! The lock of a segment's writer.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Holds the lock on the first byte of a file until it is dropped.
pub fn hold(path: &Path) -> File {
    const F_OFD_SETLK: libc::c_int = 37;
    let file = File::options().read(true).write(true).open(path).expect("the segment");
    // SAFETY: zeroes are a valid flock.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_len = 1;
    // SAFETY: the descriptor is open, and the lock outlives the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), F_OFD_SETLK, &raw mut lock) };
    assert_eq!(result, 0, "the lock is free");
    file
}
