//! The one connection: how it is opened, what is stored through it, how a transaction ends.

use super::failure::{Class, Failure};
use super::feed::{self, Feed};
use super::options::Options;
use super::{fork, schema};
use crate::batch::BatchView;
use crate::event::{EventView, PIPELINE_KIND_KIND_NAME, PIPELINE_KIND_THREAD};
use crate::platform::sync::{AtomicBool, AtomicU32, Ordering};
use crate::platform::time;
use rusqlite::{Connection, OpenFlags, OptionalExtension, ffi, params};
use std::ffi::{c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Frames (pages) in the write-ahead log at which it is copied back into the database, without a `max_bytes`.
const CHECKPOINT_FRAMES: u32 = 4096;
/// Milliseconds to wait for readers of a log that they have made too long.
const RESTART_WAIT_MS: u32 = 100;

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

/// An event whose key was there with another content.
pub(super) struct Refused {
    /// Which event of the batch.
    pub index: usize,
    /// Why.
    pub words: String,
    /// Whether its key was there with another content.
    pub conflict: bool,
}

/// What became of a batch's events.
#[derive(Default)]
pub(super) struct Inserted {
    /// The id of the first of the new rows; `None`: none is new.
    pub first_id: Option<i64>,
    /// New rows.
    pub rows: u64,
}

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
            ffi::sqlite3_wal_hook(db.conn.handle(), Some(on_wal), behind.cast());
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

    /// Frames at which the write-ahead log is copied back.
    pub(super) fn checkpoint_frames(&self) -> u32 {
        self.checkpoint_frames
    }

    /// Frames in the write-ahead log after the last commit.
    pub(super) fn wal_frames(&self) -> u32 {
        // SAFETY: lives as long as `self`; atomic.
        unsafe { (*self.behind.0).wal_frames.load(Ordering::Relaxed) }
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

    /// Copies the write-ahead log back into the database if it has grown to its mark; without waiting for readers, unless
    /// they have made it grow far beyond.
    pub(super) fn checkpoint_if_due(&mut self) -> Result<(), Failure> {
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
    pub(super) fn restart_log(&mut self) -> Result<(), Failure> {
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
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
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

    /// The number in `runs` of a generation; made at its first event. In a transaction.
    pub(super) fn run(&mut self, generation: u64) -> Result<i64, Failure> {
        if let Some((known, id)) = self.run
            && known == generation
        {
            return Ok(id);
        }
        let found = self
            .conn
            .prepare_cached("SELECT id FROM runs WHERE generation = ?1")?
            .query_row([generation as i64], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                let now = time::now_ns() as i64;
                self.conn.execute(
                    "INSERT INTO runs(generation, pid, program, boot_id, first_wall_ns, first_time_ns) \
                     VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        generation as i64,
                        std::process::id(),
                        program(),
                        boot_id(),
                        now.wrapping_add(time::realtime_offset_ns()),
                        now,
                    ],
                )?;
                self.conn.last_insert_rowid()
            }
        };
        self.run = Some((generation, id));
        Ok(id)
    }

    /// The number of the run stored last, for what is counted while none is being stored. In a transaction.
    pub(super) fn newest_run(&mut self) -> Result<i64, Failure> {
        if let Some((_, id)) = self.run {
            return Ok(id);
        }
        let newest: Option<i64> =
            self.conn.prepare_cached("SELECT max(id) FROM runs")?.query_row([], |row| row.get(0))?;
        Ok(newest.unwrap_or(0))
    }

    /// Stores a batch, in a transaction. Events that cannot be stored for their own fault are added to `refused`.
    pub(super) fn insert(
        &mut self,
        batch: &BatchView,
        refused: &mut Vec<Refused>,
    ) -> Result<Inserted, Failure> {
        let run = self.run(batch.generation)?;
        match self.insert_range(run, batch, 0, batch.count) {
            Ok(inserted) if inserted.rows == batch.count as u64 => Ok(inserted),
            // Some are there already: a batch that is delivered again, or a key that is used twice.
            Ok(inserted) => {
                for index in 0..batch.count {
                    self.compare(run, batch, index, refused)?;
                }
                Ok(inserted)
            }
            // One event's fault: those before it may be in already, which the second look takes for stored.
            Err(failure) if failure.class == Class::Event => self.insert_singly(run, batch, refused),
            Err(failure) => Err(failure),
        }
    }

    fn insert_range(
        &mut self,
        run: i64,
        batch: &BatchView,
        from: usize,
        to: usize,
    ) -> Result<Inserted, Failure> {
        let behind = self.behind.0;
        let mut statement = self.conn.prepare_cached(feed::INSERT)?;
        // SAFETY: no statement runs that reads the feed, before and after; the batch outlives this call.
        unsafe { (*behind).feed.show(run, batch, from, to) };
        let done = statement.execute([]);
        // SAFETY: as above.
        unsafe { (*behind).feed.clear() };
        let rows = done? as u64;
        let first_id = (rows > 0).then(|| self.conn.last_insert_rowid() - rows as i64 + 1);
        Ok(Inserted { first_id, rows })
    }

    fn insert_singly(
        &mut self,
        run: i64,
        batch: &BatchView,
        refused: &mut Vec<Refused>,
    ) -> Result<Inserted, Failure> {
        let mut all = Inserted::default();
        for index in 0..batch.count {
            match self.insert_range(run, batch, index, index + 1) {
                Ok(one) if one.rows == 1 => {
                    all.first_id = all.first_id.or(one.first_id);
                    all.rows += 1;
                }
                Ok(_) => self.compare(run, batch, index, refused)?,
                Err(failure) if failure.class == Class::Event => {
                    refused.push(Refused { index, words: failure.to_string(), conflict: false });
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(all)
    }

    /// Compares the event at `index` with what is stored under its key.
    fn compare(
        &mut self,
        run: i64,
        batch: &BatchView,
        index: usize,
        refused: &mut Vec<Refused>,
    ) -> Result<(), Failure> {
        // SAFETY: the caller's index is below the count.
        let event = unsafe { feed::event(batch, index) };
        let same = self
            .conn
            .prepare_cached(
                "SELECT time_ns, kind, correlation_id, node_id, weight, flags, payload FROM events \
                 WHERE run = ?1 AND ring_id = ?2 AND sequence = ?3",
            )?
            .query_row(params![run, event.ring_id as i64, event.sequence as i64], |row| {
                Ok(row.get::<_, i64>(0)? == event.timestamp_ns as i64
                    && row.get::<_, i64>(1)? == i64::from(event.kind)
                    && row.get::<_, i64>(2)? == event.correlation_id as i64
                    && row.get::<_, i64>(3)? == event.node_id as i64
                    && row.get::<_, Option<f64>>(4)?.unwrap_or(f64::NAN).total_cmp(&event.weight).is_eq()
                    && row.get::<_, i64>(5)? == i64::from(event.flags)
                    && row.get_ref(6)?.as_blob()? == event.payload())
            })
            .optional()?;
        let words = match same {
            Some(true) => return Ok(()),
            Some(false) => "its key is there with another content",
            None => "it is not there after it was stored",
        };
        refused.push(Refused { index, words: words.to_owned(), conflict: true });
        Ok(())
    }

    /// Adds to a counter of a run, in the transaction whose doing is counted.
    pub(super) fn count(&mut self, run: i64, counter: &'static str, by: u64) -> Result<(), Failure> {
        self.conn
            .prepare_cached(&format!("UPDATE runs SET {counter} = {counter} + ?1 WHERE id = ?2"))?
            .execute(params![by as i64, run])?;
        Ok(())
    }

    /// Stores one of the library's own events, in a transaction.
    pub(super) fn insert_meta(&mut self, generation: u64, event: &EventView) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(event.payload());
        match event.kind {
            PIPELINE_KIND_KIND_NAME => {
                self.conn
                    .prepare_cached("INSERT OR REPLACE INTO kinds(kind, name) VALUES(?1, ?2)")?
                    .execute(params![event.node_id as i64, text])?;
            }
            PIPELINE_KIND_THREAD => {
                let run = self.run(generation)?;
                self.conn
                    .prepare_cached(
                        "INSERT OR REPLACE INTO threads(run, ring_id, tid, name) VALUES(?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![run, event.node_id as i64, event.correlation_id as i64, text])?;
            }
            _ => {} // of a newer library: nothing that this schema has a place for
        }
        Ok(())
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

/// The program's name as the system has it.
fn program() -> String {
    std::fs::read_to_string("/proc/self/comm").map(|s| s.trim_end().to_owned()).unwrap_or_default()
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|s| s.trim_end().to_owned())
        .unwrap_or_default()
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

/// After each commit: how long the write-ahead log is. What to do about it is decided after the batches are answered.
unsafe extern "C" fn on_wal(
    behind: *mut c_void,
    _db: *mut ffi::sqlite3,
    _name: *const c_char,
    frames: c_int,
) -> c_int {
    // SAFETY: as in `on_busy`.
    unsafe { &*behind.cast::<Behind>() }.wal_frames.store(frames.max(0) as u32, Ordering::Relaxed);
    ffi::SQLITE_OK
}
