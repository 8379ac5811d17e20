//! The files of the calling thread's connection, and the failures that its system calls have met. Each connection is used by one thread,
//! which has one connection.

use crate::files::identity::Identity;
use std::cell::Cell;

/// The files of a connection.
#[derive(Clone, Copy, Default)]
#[cfg_attr(not(feature = "sqlite"), allow(dead_code))] // read by the library's system calls
pub(super) struct ThreadFiles {
    /// The root directory when the connection was opened.
    pub root: Identity,
    /// Hashes of the paths: the database, its log, the log's index. 0: no connection.
    pub names: [u64; 3],
    /// The files that were opened at these paths, as far as they are known.
    pub expected: [Option<Identity>; 3],
}

thread_local! {
    pub(super) static FILES: Cell<ThreadFiles> =
        const { Cell::new(ThreadFiles { root: Identity { dev: 0, ino: 0 }, names: [0; 3], expected: [None; 3] }) };
    /// A system call of this thread was refused because its descriptor is not SQLite's any more.
    pub(super) static LOST: Cell<bool> = const { Cell::new(false) };
    /// A write of this thread has met the limit on the size of files.
    pub(super) static TOO_LARGE: Cell<bool> = const { Cell::new(false) };
}

/// Whether a system call was refused because its descriptor was lost, since the last [`clear_lost`].
pub fn lost() -> bool {
    LOST.get()
}

/// To be called when a connection is opened.
pub(super) fn clear_lost() {
    LOST.set(false);
}

/// Whether a write has met the limit on the size of files since the last call: that limit, in bytes.
pub fn take_size_limit() -> Option<u64> {
    if !TOO_LARGE.replace(false) {
        return None;
    }
    // SAFETY: the call writes to a local.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit);
        Some(limit.rlim_cur)
    }
}
