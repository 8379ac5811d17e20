//! The free space of the file system that holds the database.

use crate::platform::time;
use crate::storage::sqlite::failure::Failure;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A figure is read again after this long.
const READ_AGAIN_NS: u64 = 100_000_000;

/// The file system of a database, and the bytes that must stay free on it.
pub(super) struct Disk {
    folder: Option<CString>,
    min_free: u64,
    is_low: bool,
    read_at_ns: Option<u64>,
}

impl Disk {
    /// For the database at `path`; `min_free` is 0 where there is no limit.
    pub(super) fn new(path: &Path, min_free: u64) -> Self {
        let folder = path.parent().and_then(|folder| CString::new(folder.as_os_str().as_bytes()).ok());
        Self { folder, min_free, is_low: false, read_at_ns: None }
    }

    /// Whether fewer bytes were free than must be, when they were last read.
    pub(super) fn is_low(&self) -> bool {
        self.is_low
    }

    /// Checks that the disk has space for the indexes.
    pub(super) fn check_for_indexes(&self) -> Result<(), Failure> {
        match self.free() {
            Some(free) if free < self.min_free => Err(Failure::transient(format!(
                "min_free_disk is {} bytes, and {free} bytes are free: free some, then call pipeline_sqlite_create_indexes",
                self.min_free
            ))),
            _ => Ok(()),
        }
    }

    /// Reads the figure again, unless it is recent.
    pub(super) fn update(&mut self) {
        let now = time::now_ns();
        let is_recent = self.read_at_ns.is_some_and(|at| now.wrapping_sub(at) < READ_AGAIN_NS);
        if self.min_free == 0 || is_recent {
            return;
        }
        self.read_at_ns = Some(now);
        let Some(free) = self.free() else { return };
        let is_low = free < self.min_free;
        if is_low != self.is_low {
            let compared = if is_low { "fewer than" } else { "enough again for" };
            log::warn!(
                "sqlite storage: {free} bytes of disk space are free, {compared} min_free_disk, {} bytes",
                self.min_free
            );
        }
        self.is_low = is_low;
    }

    /// The bytes that an unprivileged process may still write.
    fn free(&self) -> Option<u64> {
        let folder = self.folder.as_deref()?;
        // SAFETY: a NUL-terminated path; the structure is a local that is read only after success.
        unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            (libc::statvfs(folder.as_ptr(), &raw mut stat) == 0)
                .then(|| (stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64))
        }
    }
}
