//! Temporary files, in which SQLite sorts the keys of an index, in the folder of the database.
//!
//! SQLite by itself uses a folder of all programs (`TMPDIR`, /var/tmp, /tmp), which may be missing or read-only in a container. The
//! setting that changes this is global to all connections, and belongs to the host if the host brings the SQLite. So the connections
//! of this library use a VFS of their own: SQLite's "unix", with another folder for temporary files and a sleep that may be cut short.

use super::files;
use crate::platform::sync::{AtomicPtr, Ordering};
use rusqlite::ffi;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The name of the VFS.
pub(super) const VFS: &CStr = c"capture_pipeline";
/// Bytes of a temporary file's path, including two NULs at its end. For a longer path SQLite chooses the folder.
const PATH_BYTES: usize = 1024;

thread_local! {
    /// The folder for the temporary files of the calling thread, owned by a [`UseFolder`]. Empty: none.
    static FOLDER: Cell<*const CStr> = const { Cell::new(c"" as *const CStr) };
}

/// The VFS; NULL: not made yet.
static OURS: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(std::ptr::null_mut());

/// Registers the VFS with SQLite. `false`: SQLite has no VFS "unix", or there is no memory.
pub(super) fn install() -> bool {
    // SAFETY: the base stays registered as long as the process lives, and the copy is never freed. Registering a VFS again changes
    // nothing, and SQLite does it under a lock of its own.
    unsafe {
        if ffi::sqlite3_initialize() != ffi::SQLITE_OK {
            return false;
        }
        if OURS.load(Ordering::Acquire).is_null() {
            let Some(base) = ffi::sqlite3_vfs_find(c"unix".as_ptr()).as_ref() else { return false };
            let mut ours = *base;
            ours.zName = VFS.as_ptr();
            ours.pNext = std::ptr::null_mut();
            ours.xOpen = Some(open);
            ours.xSleep = Some(sleep);
            // A file's structure, followed by its path, because SQLite points to the path as long as the file is open.
            ours.szOsFile = path_offset(base) as c_int + PATH_BYTES as c_int;
            let ours = Box::into_raw(Box::new(ours));
            if OURS.compare_exchange(std::ptr::null_mut(), ours, Ordering::AcqRel, Ordering::Acquire).is_err()
            {
                drop(Box::from_raw(ours)); // another thread was first
            }
        }
        ffi::sqlite3_vfs_register(OURS.load(Ordering::Acquire), 0) == ffi::SQLITE_OK
    }
}

fn path_offset(base: &ffi::sqlite3_vfs) -> usize {
    (base.szOsFile.max(0) as usize).next_multiple_of(16)
}

/// Puts the temporary files of the calling thread into the folder of a database until it is dropped.
pub(super) struct UseFolder {
    before: *const CStr,
    _folder: Option<CString>,
}

impl UseFolder {
    /// The folder of the database at `path`.
    pub(super) fn of(path: &Path) -> Self {
        let folder = path.parent().and_then(|f| CString::new(f.as_os_str().as_bytes()).ok());
        let now: *const CStr = folder.as_deref().unwrap_or(c"");
        Self { before: FOLDER.replace(now), _folder: folder }
    }
}

impl Drop for UseFolder {
    fn drop(&mut self) {
        FOLDER.set(self.before);
    }
}

/// Opens a file. A file without a name is temporary: it gets a name in the folder of the database, which SQLite removes at once.
unsafe extern "C" fn open(
    _ours: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite calls it with `szOsFile` bytes for the file, which hold the base's structure and the path. The folder belongs to a
    // `UseFolder` that has not been dropped.
    unsafe {
        let base = ffi::sqlite3_vfs_find(c"unix".as_ptr());
        let Some(open) = base.as_ref().and_then(|base| base.xOpen) else { return ffi::SQLITE_CANTOPEN };
        let folder = &*FOLDER.get();
        if name.is_null() && !folder.is_empty() {
            let path = file.cast::<u8>().add(path_offset(&*base)).cast::<[u8; PATH_BYTES]>();
            let mut random = 0u64;
            ffi::sqlite3_randomness(size_of::<u64>() as c_int, (&raw mut random).cast());
            if write_path(&mut *path, folder, random)
                && open(base, path.cast(), file, flags, out_flags) == ffi::SQLITE_OK
            {
                return ffi::SQLITE_OK;
            }
        }
        open(base, name, file, flags, out_flags)
    }
}

/// Sleeps before SQLite tries to get a lock again. It would retry in vain for some ten seconds on a lost descriptor, so the sleep is skipped there.
unsafe extern "C" fn sleep(_ours: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    if !files::lost() {
        std::thread::sleep(Duration::from_micros(microseconds.max(0) as u64));
    }
    microseconds
}

/// Writes a temporary file's path with the two NULs that SQLite expects at its end. `false`: it is too long.
fn write_path(into: &mut [u8; PATH_BYTES], folder: &CStr, random: u64) -> bool {
    let name = format!("/.capture_pipeline-{random:016x}\0\0");
    let path = [folder.to_bytes(), name.as_bytes()].concat();
    let fits = path.len() <= PATH_BYTES;
    if fits {
        into[..path.len()].copy_from_slice(&path);
    }
    fits
}
