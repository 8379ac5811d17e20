//! The one connection: how it is opened, how a transaction begins and ends. [`rows`] is what is stored through it, [`wal`] its
//! write-ahead log.

mod rows;
mod wal;

pub(super) use rows::Refused;

use super::failure::Failure;
use super::feed::Feed;
use super::options::Options;
use super::{fork, schema};
use crate::platform::sync::{AtomicBool, AtomicU32, Ordering};
use rusqlite::{Connection, OpenFlags, ffi};
use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Frames (pages) in the write-ahead log at which it is copied back into the database, without a `max_bytes`.
const CHECKPOINT_FRAMES: u32 = 4096;

/// What is handed to SQLite's own callbacks: reached through raw pointers only, freed after the connection.
struct Behind {
    feed: Feed,
    /// Frames in the write-ahead log after the last commit.
    wal_frames: AtomicU32,
    /// Set when the storage ends: then nobody waits for locks any longer.
    stopping: Arc<AtomicBool>,
    busy_timeout_ms: AtomicU32,
    busy_waited_ms: AtomicU32,
}

/// A connection to a database of ours, and the state that hangs on it.
pub(super) struct Db {
    // Closed first: SQLite's callbacks point into what is behind it.
    conn: Connection,
    behind: BehindBox,
    path: PathBuf,
    in_transaction: bool,
    checkpoint_frames: u32,
    /// The generation stored last, and its number in `runs`.
    run: Option<(u64, i64)>,
    /// Events deleted since this was last asked for.
    deleted: u64,
    /// Frames in the write-ahead log at which its restart is forced.
    force_at: u32,
}

/// Owns a [`Behind`] without claiming that nobody else points to it.
struct BehindBox(*mut Behind);

impl Drop for BehindBox {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` in `Db::open`; the connection whose callbacks point here is closed.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

// SAFETY: the connection may move between threads (SQLite is told not to lock, and one thread uses it at a time), and so may
// what is behind it.
unsafe impl Send for Db {}

impl Db {
    /// Opens or makes the database at `path`, which is absolute.
    pub(super) fn open(path: &Path, options: &Options, stopping: Arc<AtomicBool>) -> Result<Self, Failure> {
        fork::protect();
        // Without the URI flag a "file:" in the name would still be taken for one; an absolute path never starts so.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        let behind = Box::into_raw(Box::new(Behind {
            feed: Feed::new(),
            wal_frames: AtomicU32::new(0),
            stopping,
            busy_timeout_ms: AtomicU32::new(options.busy_timeout_ms),
            busy_waited_ms: AtomicU32::new(0),
        }));
        let mut db = Self {
            conn,
            behind: BehindBox(behind),
            path: path.to_owned(),
            in_transaction: false,
            checkpoint_frames: CHECKPOINT_FRAMES,
            run: None,
            deleted: 0,
            force_at: u32::MAX,
        };
        // SAFETY: the handle is open, and `behind` lives until after it is closed.
        unsafe { ffi::sqlite3_busy_handler(db.conn.handle(), Some(on_busy), behind.cast()) };
        if db.conn.is_readonly("main")? {
            return Err(Failure::foreign("the file may only be read"));
        }
        schema::prepare(&mut db.conn, options.busy_timeout_ms)?;
        db.tune(options)?;
        // SAFETY: as above; the feed is a part of `behind`, which is changed between statements only.
        let registered = unsafe {
            ffi::sqlite3_wal_hook(db.conn.handle(), Some(wal::on_wal), behind.cast());
            Feed::register(db.conn.handle(), &raw mut (*behind).feed)
        };
        if registered != ffi::SQLITE_OK {
            return Err(Failure::from_code(registered));
        }
        Ok(db)
    }

    fn tune(&mut self, options: &Options) -> Result<(), Failure> {
        let page_size = schema::pragma(&self.conn, "page_size")?.max(512) as u64;
        if options.max_bytes != 0 {
            // A sixteenth: the log may grow to some times that, see `bounds`.
            let frames = options.max_bytes / 16 / page_size;
            self.checkpoint_frames = frames.clamp(32, CHECKPOINT_FRAMES.into()) as u32;
        }
        self.conn.set_prepared_statement_cache_capacity(32);
        let log_bytes = u64::from(self.checkpoint_frames) * page_size * 3 / 2;
        self.conn.execute_batch(&format!(
            "PRAGMA synchronous = {}; PRAGMA cache_size = -{}; PRAGMA mmap_size = 0; \
             PRAGMA journal_size_limit = {log_bytes};",
            options.synchronous.pragma(),
            options.cache_kib,
        ))?;
        Ok(())
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Begins a transaction, if there is none.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        if !self.in_transaction {
            self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.in_transaction = true;
        }
        Ok(())
    }

    /// Commits the transaction, if there is one.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        if self.in_transaction {
            if self.moved() {
                return Err(Failure::foreign("the file has been moved, deleted or replaced"));
            }
            self.conn.prepare_cached("COMMIT")?.execute([])?;
            self.in_transaction = false;
        }
        Ok(())
    }

    /// Undoes the transaction, if there is one.
    pub(super) fn rollback(&mut self) {
        if self.in_transaction && !self.conn.is_autocommit() {
            // After some failures SQLite has done so by itself; then this one fails, and that is as well.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        self.in_transaction = false;
        self.run = None; // its row may be among what was undone
        self.deleted = 0;
    }

    /// Whether the path no longer leads to the file that is open: what is written there, nobody would find.
    fn moved(&self) -> bool {
        let mut moved: c_int = 0;
        // SAFETY: the handle is open; this operation writes one int.
        let answer = unsafe {
            ffi::sqlite3_file_control(
                self.conn.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_HAS_MOVED,
                (&raw mut moved).cast(),
            )
        };
        answer == ffi::SQLITE_OK && moved != 0
    }

    /// Notes that events were deleted.
    pub(super) fn add_deleted(&mut self, rows: u64) {
        self.deleted += rows;
    }

    /// How many were deleted since [`Db::take_deleted`].
    pub(super) fn deleted(&self) -> u64 {
        self.deleted
    }

    /// How many were deleted, as far as committed, since the last call.
    pub(super) fn take_deleted(&mut self) -> u64 {
        std::mem::take(&mut self.deleted)
    }

    /// Where the database is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Another process has the lock: waits a little, unless it has taken too long or the storage ends.
unsafe extern "C" fn on_busy(behind: *mut c_void, tries: c_int) -> c_int {
    // SAFETY: registered in `Db::open` with what outlives the connection.
    let behind = unsafe { &*behind.cast::<Behind>() };
    if tries == 0 {
        behind.busy_waited_ms.store(0, Ordering::Relaxed);
    }
    let waited = behind.busy_waited_ms.load(Ordering::Relaxed);
    let most = behind.busy_timeout_ms.load(Ordering::Relaxed);
    if waited >= most || behind.stopping.load(Ordering::Acquire) {
        return 0;
    }
    let pause = (tries.clamp(0, 9) as u32 + 1).min(most - waited);
    std::thread::sleep(std::time::Duration::from_millis(pause.into()));
    behind.busy_waited_ms.store(waited + pause, Ordering::Relaxed);
    1
}
