//! The system calls that the library makes on files of its own. Under `cfg(simulator)` the simulated threads use files of the simulation.

#[cfg(not(simulator))]
pub use libc::{
    chmod, close, faccessat, fchmod, fchmodat, fcntl, fdatasync, fstat, fstatat, fstatvfs, fsync, ftruncate,
    mkdir, openat, pread, pwritev, unlinkat,
};

#[cfg(simulator)]
pub use super::simulator::calls::{
    chmod, close, faccessat, fchmod, fchmodat, fcntl, fdatasync, fstat, fstatat, fstatvfs, fsync, ftruncate,
    getdents64, mkdir, openat, pread, pwritev, unlinkat,
};

/// The entries of a directory, as the kernel writes them. The C library does not have the call under this name.
///
/// # Safety
/// `into` has room for `bytes` bytes.
#[cfg(not(simulator))]
pub unsafe fn getdents64(fd: libc::c_int, into: *mut u8, bytes: usize) -> libc::c_long {
    // SAFETY: passed on.
    unsafe { libc::syscall(libc::SYS_getdents64, fd, into, bytes) }
}
