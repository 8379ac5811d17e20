//! The identity of a file: device and inode, which stay the same whatever its name is.

use crate::platform::file_calls;
use std::ffi::CStr;

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
}

impl Identity {
    /// The file of a status.
    pub fn of(stat: &libc::stat) -> Self {
        Self { dev: stat.st_dev, ino: stat.st_ino }
    }

    /// The process's root directory.
    pub fn of_root() -> Self {
        stat_path(libc::AT_FDCWD, c"/").map(|stat| Self::of(&stat)).unwrap_or_default()
    }

    /// Whether this is the file at a path.
    #[cfg(any(feature = "sqlite", feature = "sqlite-system"))]
    pub fn is_at(self, path: &CStr) -> bool {
        stat_path(libc::AT_FDCWD, path).is_ok_and(|stat| Self::of(&stat) == self)
    }

    /// Whether a descriptor is open on this file.
    pub fn is_open_at(self, fd: i32) -> bool {
        stat_descriptor(fd).is_ok_and(|stat| Self::of(&stat) == self)
    }
}

/// The file at a path, or the symbolic link itself.
pub fn stat_path(directory: i32, path: &CStr) -> Result<libc::stat, i32> {
    // SAFETY: a NUL-terminated path; the structure is a local that is read only after success.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        match file_calls::fstatat(directory, path.as_ptr(), &raw mut stat, libc::AT_SYMLINK_NOFOLLOW) {
            0 => Ok(stat),
            _ => Err(errno()),
        }
    }
}

/// The file that a descriptor is open on.
pub fn stat_descriptor(fd: i32) -> Result<libc::stat, i32> {
    // SAFETY: the structure is a local that is read only after success; the system refuses a number that is no descriptor.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        match file_calls::fstat(fd, &raw mut stat) {
            0 => Ok(stat),
            _ => Err(errno()),
        }
    }
}

/// A hash of a path (FNV-1a); never 0.
#[cfg(any(feature = "sqlite", feature = "sqlite-system"))]
pub fn hash(path: &CStr) -> u64 {
    let hash = path.to_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

/// The number of the last error of this thread.
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
