//! The write-ahead log: how long it is, when it is copied back into the database, how it reaches the disk.

use super::{Behind, Db};
use crate::platform::sync::Ordering;
use crate::storage::sqlite::failure::Failure;
use rusqlite::ffi;
use std::ffi::{c_char, c_int, c_void};

/// Milliseconds to wait for readers of a log that they have made too long.
const RESTART_WAIT_MS: u32 = 100;

impl Db {
    /// Frames at which the write-ahead log is copied back.
    pub fn checkpoint_frames(&self) -> u32 {
        self.checkpoint_frames
    }

    /// Frames in the write-ahead log after the last commit.
    pub fn wal_frames(&self) -> u32 {
        // SAFETY: lives as long as `self`; atomic.
        unsafe { (*self.behind.0).wal_frames.load(Ordering::Relaxed) }
    }

    /// Copies the write-ahead log back into the database if it has grown to its mark; without waiting for readers, unless
    /// they have made it grow far beyond.
    pub fn checkpoint_if_due(&mut self) -> Result<(), Failure> {
        let frames = self.wal_frames();
        if frames < self.checkpoint_frames {
            self.force_at = self.checkpoint_frames.saturating_mul(4);
            return Ok(());
        }
        if frames < self.force_at {
            return self.checkpoint(ffi::SQLITE_CHECKPOINT_PASSIVE);
        }
        // Not with every commit, as it may be in vain.
        self.force_at = frames.saturating_add(self.checkpoint_frames);
        self.restart_log()
    }

    /// Copies the log back and has the next transaction write it from its start, for which it waits for readers a little.
    pub fn restart_log(&mut self) -> Result<(), Failure> {
        // SAFETY: lives as long as `self`; atomic.
        let timeout = unsafe { &(*self.behind.0).busy_timeout_ms };
        let usual = timeout.load(Ordering::Relaxed);
        timeout.store(usual.min(RESTART_WAIT_MS), Ordering::Relaxed);
        let done = self.checkpoint(ffi::SQLITE_CHECKPOINT_RESTART);
        timeout.store(usual, Ordering::Relaxed);
        done
    }

    fn checkpoint(&mut self, mode: c_int) -> Result<(), Failure> {
        // SAFETY: the handle is open; NULLs mean all databases, and no figures wanted.
        let code = unsafe {
            ffi::sqlite3_wal_checkpoint_v2(
                self.conn.handle(),
                std::ptr::null(),
                mode,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        match code & 0xff {
            ffi::SQLITE_OK if mode == ffi::SQLITE_CHECKPOINT_RESTART => {
                // SAFETY: as in `wal_frames`.
                unsafe { (*self.behind.0).wal_frames.store(0, Ordering::Relaxed) };
                Ok(())
            }
            // Busy, locked: readers, or another connection that is at it.
            ffi::SQLITE_OK | ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Ok(()),
            _ => Err(Failure::from_code(code)),
        }
    }

    /// Has the write-ahead log reach the disk: with it, everything that is committed.
    pub fn sync(&mut self) -> Result<(), Failure> {
        let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
        // SAFETY: the handle is open; this operation writes one pointer, to the log's file, which SQLite keeps open as long as
        // the connection. Its methods are SQLite's own.
        let code = unsafe {
            let code = ffi::sqlite3_file_control(
                self.conn.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_JOURNAL_POINTER,
                (&raw mut file).cast(),
            );
            if code != ffi::SQLITE_OK || file.is_null() {
                code
            } else {
                match (*file).pMethods.as_ref().and_then(|m| m.xSync) {
                    Some(sync) => sync(file, ffi::SQLITE_SYNC_NORMAL),
                    None => ffi::SQLITE_OK, // the log is not open yet: nothing was written
                }
            }
        };
        if code == ffi::SQLITE_OK { Ok(()) } else { Err(Failure::from_code(code)) }
    }
}

/// After each commit: how long the write-ahead log is. What to do about it is decided after the batches are answered.
pub(super) unsafe extern "C" fn on_wal(
    behind: *mut c_void,
    _db: *mut ffi::sqlite3,
    _name: *const c_char,
    frames: c_int,
) -> c_int {
    // SAFETY: registered in `Db::open` with what outlives the connection.
    unsafe { &*behind.cast::<Behind>() }.wal_frames.store(frames.max(0) as u32, Ordering::Relaxed);
    ffi::SQLITE_OK
}
