//! The SQLite storage for C: its options, its constructor, its indexes.

use super::guard::{guard, null};
use super::sized;
use super::storage::blank;
use super::types::pipeline_storage_t;
use crate::batch::BatchView;
use crate::status::{PIPELINE_ERR_INTERNAL, Result};
use crate::storage::sqlite::{OnFull, Options, SqliteStorage, Synchronous, create_indexes, refuse};
use crate::storage::{PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORAGE_META, PIPELINE_STORE_RETRY, Storage};
use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// `pipeline_sqlite_options_t.flags`: no indexes are made when the storage ends.
pub const PIPELINE_SQLITE_NO_INDEXES: u32 = 1;

/// `pipeline_sqlite_options_t.synchronous`: SQLite never waits for the disk. A crash of the process loses nothing that was
/// acknowledged; a power loss may damage the database.
pub const PIPELINE_SQLITE_SYNC_OFF: u32 = 0;
/// `pipeline_sqlite_options_t.synchronous`: it waits at checkpoints and at `pipeline_flush`. A crash of the process loses nothing
/// that was acknowledged; a power loss may lose what was acknowledged since, and does not damage the database.
pub const PIPELINE_SQLITE_SYNC_NORMAL: u32 = 1;
/// `pipeline_sqlite_options_t.synchronous`: it waits at each commit; what is acknowledged survives a power loss.
pub const PIPELINE_SQLITE_SYNC_FULL: u32 = 2;

/// `pipeline_sqlite_options_t.on_full`: the oldest events are deleted (counted in the table `runs`, column `deleted`).
pub const PIPELINE_SQLITE_DELETE_OLDEST: u32 = 0;
/// `pipeline_sqlite_options_t.on_full`: new events are rejected, and counted as `discarded`.
pub const PIPELINE_SQLITE_REJECT: u32 = 1;

/// How a SQLite storage is to work. `pipeline_sqlite_options_init` writes every default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_sqlite_options_t {
    /// `sizeof(pipeline_sqlite_options_t)` of the caller.
    pub struct_size: u32,
    /// `PIPELINE_SQLITE_NO_INDEXES`, or 0.
    pub flags: u32,
    /// Bytes that the database and its write-ahead log may take, 4194304 to 2^47; 0 (default): no limit. Unless
    /// `PIPELINE_SQLITE_NO_INDEXES` is set, 30 % of it is kept for the indexes. A database that is larger
    /// already does not shrink.
    pub max_bytes: u64,
    /// Milliseconds after which events are deleted, counted from when they were stored; at most a hundred years. 0
    /// (default): never.
    pub max_age_ms: u64,
    /// Bytes that shall stay free on the database's file system, at most 2^47. Below that the database does
    /// not grow (its write-ahead log may, by some megabytes), and `on_full` decides. 0 (default): not looked at.
    pub min_free_disk: u64,
    /// `PIPELINE_SQLITE_SYNC_...`. Default `PIPELINE_SQLITE_SYNC_NORMAL`.
    pub synchronous: u32,
    /// What gives way when there is no room. Default `PIPELINE_SQLITE_DELETE_OLDEST`.
    pub on_full: u32,
    /// Microseconds between two commits of small groups of events, at most 1000000. Default 1000. The first event
    /// after a rest is committed at once.
    pub commit_interval_us: u32,
    /// Events at which a transaction is committed, 1 to 1000000. Default 4096. They stay in the ring buffers until
    /// then.
    pub commit_events: u32,
    /// Milliseconds to wait for another process that holds the database's lock, at most 60000; then the batch is
    /// retried. Default 5000.
    pub busy_timeout_ms: u32,
    /// Size of SQLite's page cache in KiB, 256 to 1048576. Default 2048.
    pub cache_kib: u32,
}

// SAFETY: repr(C), plain integers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_sqlite_options_t {
    const NAME: &'static str = "pipeline_sqlite_options_t";
}

fn to_c(o: &Options) -> pipeline_sqlite_options_t {
    pipeline_sqlite_options_t {
        struct_size: size_of::<pipeline_sqlite_options_t>() as u32,
        flags: if o.indexes { 0 } else { PIPELINE_SQLITE_NO_INDEXES },
        max_bytes: o.max_bytes,
        max_age_ms: o.max_age_ms,
        min_free_disk: o.min_free_disk,
        synchronous: match o.synchronous {
            Synchronous::Off => PIPELINE_SQLITE_SYNC_OFF,
            Synchronous::Normal => PIPELINE_SQLITE_SYNC_NORMAL,
            Synchronous::Full => PIPELINE_SQLITE_SYNC_FULL,
        },
        on_full: match o.on_full {
            OnFull::DeleteOldest => PIPELINE_SQLITE_DELETE_OLDEST,
            OnFull::Reject => PIPELINE_SQLITE_REJECT,
        },
        commit_interval_us: o.commit_interval_us,
        commit_events: o.commit_events,
        busy_timeout_ms: o.busy_timeout_ms,
        cache_kib: o.cache_kib,
    }
}

fn from_c(c: &pipeline_sqlite_options_t) -> Result<Options> {
    if c.flags & !PIPELINE_SQLITE_NO_INDEXES != 0 {
        return Err(refuse("flags", "0 or PIPELINE_SQLITE_NO_INDEXES", format_args!("{:#x}", c.flags)));
    }
    Ok(Options {
        max_bytes: c.max_bytes,
        max_age_ms: c.max_age_ms,
        min_free_disk: c.min_free_disk,
        synchronous: match c.synchronous {
            PIPELINE_SQLITE_SYNC_OFF => Synchronous::Off,
            PIPELINE_SQLITE_SYNC_NORMAL => Synchronous::Normal,
            PIPELINE_SQLITE_SYNC_FULL => Synchronous::Full,
            other => return Err(refuse("synchronous", "0 to 2", other)),
        },
        on_full: match c.on_full {
            PIPELINE_SQLITE_DELETE_OLDEST => OnFull::DeleteOldest,
            PIPELINE_SQLITE_REJECT => OnFull::Reject,
            other => return Err(refuse("on_full", "0 to 1", other)),
        },
        commit_interval_us: c.commit_interval_us,
        commit_events: c.commit_events,
        busy_timeout_ms: c.busy_timeout_ms,
        cache_kib: c.cache_kib,
        indexes: c.flags & PIPELINE_SQLITE_NO_INDEXES == 0,
    })
}

/// Writes every default to `options` and sets its `struct_size`. Use `sizeof(pipeline_sqlite_options_t)` as
/// `struct_size`. Any thread. Since 0.1.0.
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_sqlite_options_init(
    options: *mut pipeline_sqlite_options_t,
    struct_size: usize,
) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(options, struct_size, &to_c(&Options::default()), "options") })
}

/// Opens or makes the SQLite database at `path` and fills `out` with a storage for it; give that to `pipeline_start`.
/// `options` may be NULL: all defaults. `out_size` is `sizeof(pipeline_storage_t)`.
///
/// The database has a table `events` (and a view `events_view` of it for people), one row for each event, keyed by the
/// event's identity, so that an event that is delivered twice is stored once; an event whose key is there with another
/// content is rejected. 64-bit values are kept as signed integers; the view shows them unsigned. Others may read the database
/// while it is written. Indexes on time, correlation id and node id are made when the storage is destroyed, which takes
/// a second or so for each million of events, and removed when it is opened again. The database must not be opened by a second copy
/// of SQLite in the same process meanwhile.
///
/// Until `pipeline_start` has taken the storage it is the caller's: to give it up, call `out->destroy(out->user_data)`, once. To be
/// made in the process that uses it, not before a fork. Any thread; not from a callback of a pipeline. `out` is
/// written only on success. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`, and
/// `_STORAGE` where the file cannot be opened or written, is locked, is not a database, or is one of another program: such a file
/// is not changed. Since 0.1.0.
///
/// # Safety
/// `path` is NULL or NUL-terminated; `options` is NULL or as its `struct_size` says; `out` is NULL or points to
/// `out_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_storage_sqlite(
    path: *const c_char,
    options: *const pipeline_sqlite_options_t,
    out_size: usize,
    out: *mut pipeline_storage_t,
) -> i32 {
    guard(|| {
        // SAFETY: by contract.
        let path = unsafe { path_of(path) }?;
        let options = if options.is_null() {
            Options::default()
        } else {
            // SAFETY: by contract.
            let (c, _) = unsafe { sized::read(options, to_c(&Options::default()), "options") }?;
            from_c(&c)?
        };
        if out.is_null() {
            return Err(null("out"));
        }
        // Before the file is touched.
        sized::check::<pipeline_storage_t>(out_size)?;
        let storage = Box::new(SqliteStorage::open(path, options)?);
        let filled = pipeline_storage_t {
            flags: PIPELINE_STORAGE_CONCURRENT | PIPELINE_STORAGE_META,
            user_data: Box::into_raw(storage).cast(),
            store: Some(store),
            flush: Some(flush),
            destroy: Some(destroy),
            ..blank()
        };
        // SAFETY: by contract; the size has been checked, so this cannot fail.
        unsafe { sized::write(out, out_size, &filled, "out") }
    })
}

/// Makes the indexes on time, correlation id and node id in an existing database of this library's, at any time; those
/// that are there stay. Takes a second or so for each million of events, and a storage that writes to the
/// database waits meanwhile. Any thread; not from a callback of a pipeline. Errors: `PIPELINE_ERR_NULL`, `_INVALID`,
/// `_STORAGE`. Since 0.1.0.
///
/// # Safety
/// `path` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_sqlite_create_indexes(path: *const c_char) -> i32 {
    // SAFETY: by contract.
    guard(|| create_indexes(unsafe { path_of(path) }?))
}

/// # Safety
/// `path` is NULL or NUL-terminated, and stays as it is.
unsafe fn path_of<'a>(path: *const c_char) -> Result<&'a Path> {
    if path.is_null() {
        return Err(null("path"));
    }
    // SAFETY: by contract.
    Ok(Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes())))
}

// What `out` is filled with. SAFETY of all three: the pipeline calls them with the `user_data` from the constructor, and
// `destroy` once, after all others.

unsafe extern "C-unwind" fn store(user_data: *mut c_void, batch: *const BatchView) -> i32 {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: see above; the pipeline hands in a valid batch.
        unsafe { (*user_data.cast::<SqliteStorage>()).store(&*batch) }
    }))
    .unwrap_or(PIPELINE_STORE_RETRY)
}

unsafe extern "C-unwind" fn flush(user_data: *mut c_void, timeout_ms: i64) -> i32 {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: see above.
        unsafe { (*user_data.cast::<SqliteStorage>()).flush(timeout_ms) }
    }))
    .unwrap_or(PIPELINE_ERR_INTERNAL)
}

unsafe extern "C-unwind" fn destroy(user_data: *mut c_void) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: see above: made by `Box::into_raw`, and not used again.
        drop(unsafe { Box::from_raw(user_data.cast::<SqliteStorage>()) });
    }));
}
