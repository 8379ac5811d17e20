//! One connection: opening it, its transactions, and SQLite's callbacks.

use crate::platform::sync::{AtomicBool, AtomicU32, Ordering};
use crate::storage::sqlite::batch_table::BatchTable;
use crate::storage::sqlite::failure::Failure;
use crate::storage::sqlite::files::paths::Paths;
use crate::storage::sqlite::options::Options;
use crate::storage::sqlite::{files, fork, kind_views, schema, schema_check, sql, temp_files};
use rusqlite::{Connection, OpenFlags, ffi};
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;
use std::sync::Arc;

/// The number of frames (pages) in the write-ahead log that makes a checkpoint due, without `max_bytes`.
const CHECKPOINT_FRAMES: u32 = 4096;

/// The data of SQLite's callbacks. It is freed after the connection.
#[derive(Debug)]
pub(super) struct CallbackData {
    /// Frames in the write-ahead log after the last commit.
    pub wal_frames: AtomicU32,
    pub busy_timeout_ms: AtomicU32,
    busy_waited_ms: AtomicU32,
    /// Set when the storage shuts down and a newer one wants the database. No lock is waited for from then on.
    yielding: Arc<AtomicBool>,
}

/// A connection to a database of this library, and its state.
pub struct Db {
    // Dropped first, because SQLite's callbacks point to the two fields that follow.
    pub(super) conn: Connection,
    callbacks: Pinned<CallbackData>,
    pub(super) batch_table: Pinned<BatchTable>,
    // After the connection, which still uses its files when it is closed.
    pub(super) paths: Paths,
    /// SQLite's number of the schema that was checked last.
    revision: i64,
    /// The views of kinds may not be what the definitions say: the database was just opened, or a definition has come.
    pub views_due: bool,
    in_transaction: bool,
    pub(super) checkpoint_frames: u32,
    /// The generation stored last, and its number in `runs`.
    pub(super) run: Option<(u64, i64)>,
    /// Events deleted in the open transaction, and in earlier ones whose deletions were not logged yet.
    pub deleted: u64,
    /// The number of frames in the write-ahead log that forces its restart.
    pub(super) force_at: u32,
}

/// An owned value that SQLite also points to. A `Box` would claim to be the only pointer.
pub(super) struct Pinned<T>(pub *mut T);

impl<T> Pinned<T> {
    fn new(value: T) -> Self {
        Self(Box::into_raw(Box::new(value)))
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer comes from a box, and the connection whose callbacks use it is closed.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

// SAFETY: one thread uses the connection at a time (SQLite is told not to lock), and the values that SQLite points to move with it.
unsafe impl Send for Db {}

impl Db {
    /// Opens the database at `path`, which is absolute, or makes it if `make` is set. The connection is used on the calling thread only, which
    /// must not have another one.
    pub fn open(
        path: &Path,
        options: &Options,
        make: bool,
        yielding: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        fork::prepare();
        let paths = Paths::prepare(path, make.then_some(options.file_mode))?;
        // (SQLite may take a name that begins with "file:" for a URI even without that flag; an absolute path never does.)
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = if temp_files::install() {
            Connection::open_with_flags_and_vfs(paths.path(), flags, temp_files::VFS)?
        } else {
            Connection::open_with_flags(paths.path(), flags)?
        };
        schema_check::restrict(&conn)?;
        let mut db = Self {
            conn,
            callbacks: Pinned::new(CallbackData {
                wal_frames: AtomicU32::new(0),
                busy_timeout_ms: AtomicU32::new(options.busy_timeout_ms),
                busy_waited_ms: AtomicU32::new(0),
                yielding,
            }),
            batch_table: Pinned::new(BatchTable::new()),
            paths,
            revision: 0,
            views_due: true,
            in_transaction: false,
            checkpoint_frames: CHECKPOINT_FRAMES,
            run: None,
            deleted: 0,
            force_at: u32::MAX,
        };
        let callbacks = db.callbacks.0;
        // SAFETY: the handle is open, and the data is freed after the connection is closed.
        unsafe { ffi::sqlite3_busy_handler(db.conn.handle(), Some(on_busy), callbacks.cast()) };
        if db.conn.is_readonly("main")? {
            return Err(Failure::transient(
                "the file is read-only; give this process the permission to write to it",
            ));
        }
        schema::prepare(&mut db.conn, options.busy_timeout_ms)?;
        db.revision = schema::revision(&db.conn)?;
        db.paths.note_opened();
        db.configure(options)?;
        // SAFETY: as above; the batch table is changed between statements only.
        let registered = unsafe {
            ffi::sqlite3_wal_hook(db.conn.handle(), Some(on_wal), callbacks.cast());
            BatchTable::register(db.conn.handle(), db.batch_table.0)
        };
        if registered != ffi::SQLITE_OK {
            return Err(Failure::from_code(registered));
        }
        Ok(db)
    }

    fn configure(&mut self, options: &Options) -> Result<(), Failure> {
        let page_size = sql::pragma(&self.conn, "page_size")?.max(512) as u64;
        if options.max_bytes != 0 {
            // A sixteenth, because the log may grow to some times that (see `limits`).
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

    pub fn conn(&self) -> &Connection {
        &self.conn
    }

    pub(super) fn callbacks(&self) -> &CallbackData {
        // SAFETY: the data lives as long as `self`, and SQLite's callbacks change its atomics only.
        unsafe { &*self.callbacks.0 }
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Begins a transaction, if there is none.
    pub fn begin(&mut self) -> Result<(), Failure> {
        if !self.in_transaction {
            // On a lost descriptor SQLite would take each lock for another's, and wait for it.
            self.paths.check_descriptors()?;
            sql::execute(&self.conn, "BEGIN IMMEDIATE", [])?;
            self.in_transaction = true;
            let revision = schema::revision(&self.conn)?;
            if revision != self.revision {
                schema::check_again(&self.conn)?;
                self.revision = revision;
            }
        }
        Ok(())
    }

    /// Commits the transaction, if there is one. `Ok`: it is in the files at the database's paths.
    pub fn commit(&mut self) -> Result<(), Failure> {
        if self.in_transaction {
            self.paths.check()?;
            sql::execute(&self.conn, "COMMIT", [])?;
            self.in_transaction = false;
            self.paths.check()?;
        }
        Ok(())
    }

    /// Brings the views of kinds up to date, in a transaction of its own.
    pub fn update_views(&mut self) -> Result<(), Failure> {
        self.begin()?;
        if kind_views::update(&self.conn)? != 0 {
            self.revision = schema::revision(&self.conn)?;
        }
        self.commit()?;
        self.views_due = false;
        Ok(())
    }

    /// Checks that the connection still has its files, and that they are at their paths.
    pub fn check_files(&self) -> Result<(), Failure> {
        self.paths.check()
    }

    /// Rolls the transaction back, if there is one.
    pub fn rollback(&mut self) {
        if self.in_transaction && !self.conn.is_autocommit() {
            // After some failures SQLite has done this by itself, and the statement fails.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        self.in_transaction = false;
        self.run = None; // its row may have been rolled back
        self.deleted = 0;
    }

    /// The database's path.
    pub fn path(&self) -> &Path {
        self.paths.path()
    }
}

/// Called while another process has the lock: waits a little, unless the timeout has passed or the storage yields.
unsafe extern "C" fn on_busy(data: *mut c_void, tries: c_int) -> c_int {
    // SAFETY: `Db::open` has registered it with data that outlives the connection.
    let data = unsafe { &*data.cast::<CallbackData>() };
    if tries == 0 {
        data.busy_waited_ms.store(0, Ordering::Relaxed);
    }
    let waited = data.busy_waited_ms.load(Ordering::Relaxed);
    let most = data.busy_timeout_ms.load(Ordering::Relaxed);
    if waited >= most || files::lost() || data.yielding.load(Ordering::Acquire) {
        return 0;
    }
    let pause = (tries.clamp(0, 9) as u32 + 1).min(most - waited);
    std::thread::sleep(std::time::Duration::from_millis(pause.into()));
    data.busy_waited_ms.store(waited + pause, Ordering::Relaxed);
    1
}

/// Called after each commit: notes the length of the write-ahead log. A checkpoint waits until the batches are answered.
unsafe extern "C" fn on_wal(
    data: *mut c_void,
    _db: *mut ffi::sqlite3,
    _name: *const c_char,
    frames: c_int,
) -> c_int {
    // SAFETY: `Db::open` has registered it with data that outlives the connection.
    unsafe { &*data.cast::<CallbackData>() }.wal_frames.store(frames.max(0) as u32, Ordering::Relaxed);
    ffi::SQLITE_OK
}
