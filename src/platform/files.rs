//! What the system tells about open files: locks of open file descriptions, holes, and how many there may be.

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

/// From where on a file has data: at `from` or behind it. `u64::MAX`: there is only a hole up to the end. What the system does not tell counts as data. It moves the
/// file's offset.
pub fn next_data(file: &File, from: u64) -> u64 {
    let Ok(at) = libc::off_t::try_from(from) else { return u64::MAX };
    // SAFETY: the descriptor is open.
    let found = unsafe { libc::lseek(file.as_raw_fd(), at, libc::SEEK_DATA) };
    match u64::try_from(found) {
        Ok(found) => found,
        Err(_) if std::io::Error::last_os_error().raw_os_error() == Some(libc::ENXIO) => u64::MAX,
        Err(_) => from,
    }
}

/// How many descriptors the process may have open.
pub fn most_descriptors() -> usize {
    // SAFETY: the call writes to a local.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        match libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) {
            0 => usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX),
            _ => 0,
        }
    }
}
