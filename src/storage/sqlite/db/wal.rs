//! The write-ahead log: its length, its checkpoints, and its way to the disk.

use super::connection::Db;
use crate::platform::sync::Ordering;
use crate::storage::sqlite::failure::Failure;
use rusqlite::ffi;
use std::ffi::c_int;

/// Milliseconds to wait for the readers that keep a long log from being reused.
const RESTART_WAIT_MS: u32 = 100;

impl Db {
    /// The number of frames in the write-ahead log that makes a checkpoint due.
    pub fn checkpoint_frames(&self) -> u32 {
        self.checkpoint_frames
    }

    /// Frames in the write-ahead log after the last commit.
    pub fn wal_frames(&self) -> u32 {
        self.callbacks().wal_frames.load(Ordering::Relaxed)
    }

    /// Copies the write-ahead log back into the database if a checkpoint is due. It does not wait for readers, unless they have made
    /// the log grow to four times that length.
    pub fn checkpoint_if_due(&mut self) -> Result<(), Failure> {
        let frames = self.wal_frames();
        if frames < self.checkpoint_frames {
            self.force_at = self.checkpoint_frames.saturating_mul(4);
            return Ok(());
        }
        if frames < self.force_at {
            return self.checkpoint(ffi::SQLITE_CHECKPOINT_PASSIVE);
        }
        // Not at every commit, because readers may keep it from succeeding.
        self.force_at = frames.saturating_add(self.checkpoint_frames);
        self.restart_log()
    }

    /// Copies the log back, so that the next transaction writes it from its start. Waits a little for readers.
    pub fn restart_log(&mut self) -> Result<(), Failure> {
        let usual = self.callbacks().busy_timeout_ms.load(Ordering::Relaxed);
        self.callbacks().busy_timeout_ms.store(usual.min(RESTART_WAIT_MS), Ordering::Relaxed);
        let done = self.checkpoint(ffi::SQLITE_CHECKPOINT_RESTART);
        self.callbacks().busy_timeout_ms.store(usual, Ordering::Relaxed);
        done
    }

    /// Makes a checkpoint. Returns SQLite's code, the number of frames in the log, and the number of frames copied.
    pub(super) fn checkpoint_code(&mut self, mode: c_int) -> (c_int, c_int, c_int) {
        let (mut frames, mut copied) = (0, 0);
        // SAFETY: the handle is open, NULL means all databases, and the counts are locals.
        let code = unsafe {
            let (handle, all) = (self.conn.handle(), std::ptr::null());
            ffi::sqlite3_wal_checkpoint_v2(handle, all, mode, &raw mut frames, &raw mut copied)
        };
        (code, frames, copied)
    }

    fn checkpoint(&mut self, mode: c_int) -> Result<(), Failure> {
        let (code, ..) = self.checkpoint_code(mode);
        match code & 0xff {
            ffi::SQLITE_OK if mode == ffi::SQLITE_CHECKPOINT_RESTART => {
                self.callbacks().wal_frames.store(0, Ordering::Relaxed);
                Ok(())
            }
            // There are readers, or another connection makes a checkpoint.
            ffi::SQLITE_OK | ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Ok(()),
            _ => Err(Failure::from_code(code)),
        }
    }

    /// Writes the log through to the disk, and with it everything that is committed.
    pub fn sync(&mut self) -> Result<(), Failure> {
        let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
        // SAFETY: the handle is open; the operation writes one pointer, to the log's file, which SQLite keeps open as long as
        // the connection.
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
