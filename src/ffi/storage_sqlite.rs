//! The SQLite storage for C: its options, its constructor, its indexes.

use super::guard::{guard, guard_files, require};
use super::sized;
use crate::batch::BatchView;
use crate::platform::memory;
use crate::status::{PIPELINE_ERR_INTERNAL, Result};
use crate::storage::callback::pipeline_storage_t;
use crate::storage::sqlite::{OnFull, Options, SqliteStorage, Synchronous, create_indexes, refuse};
use crate::storage::{PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORAGE_META, PIPELINE_STORE_RETRY, Storage};
use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// `pipeline_sqlite_options_t.flags`: the storage makes no indexes when it ends.
pub const PIPELINE_SQLITE_NO_INDEXES: u32 = 1;

/// `pipeline_sqlite_options_t.synchronous`: SQLite never waits for the disk. After a crash of the process, every acknowledged
/// event is there. A power loss may damage the database.
pub const PIPELINE_SQLITE_SYNC_OFF: u32 = 0;
/// `pipeline_sqlite_options_t.synchronous`: SQLite waits for the disk at checkpoints and at `pipeline_flush`. After a crash of
/// the process, every acknowledged event is there. A power loss may lose events acknowledged since then, but does not damage
/// the database.
pub const PIPELINE_SQLITE_SYNC_NORMAL: u32 = 1;
/// `pipeline_sqlite_options_t.synchronous`: SQLite waits for the disk at each commit. Acknowledged events survive a power loss.
pub const PIPELINE_SQLITE_SYNC_FULL: u32 = 2;

/// `pipeline_sqlite_options_t.on_full`: the oldest events are deleted, and counted in the table `runs`, column `deleted`.
pub const PIPELINE_SQLITE_DELETE_OLDEST: u32 = 0;
/// `pipeline_sqlite_options_t.on_full`: new events are rejected, and counted as `discarded`.
pub const PIPELINE_SQLITE_REJECT: u32 = 1;

/// The options of a SQLite storage. `pipeline_sqlite_options_init` writes every default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_sqlite_options_t {
    /// `sizeof(pipeline_sqlite_options_t)` of the caller.
    pub struct_size: u32,
    /// `PIPELINE_SQLITE_NO_INDEXES`, or 0.
    pub flags: u32,
    /// The bytes that the database and its write-ahead log may take, 4194304 to 2^47. Default 0: no limit. Unless
    /// `PIPELINE_SQLITE_NO_INDEXES` is set, 30 % of it is kept for the indexes. A database that is larger already does not
    /// shrink.
    pub max_bytes: u64,
    /// Milliseconds after which an event is deleted, counted from when it was stored, at most a hundred years. Default 0:
    /// never.
    pub max_age_ms: u64,
    /// The bytes that must stay free on the database's file system, at most 2^47. Default 0: no check. If less is free, the
    /// database does not grow (its write-ahead log may, by some megabytes), and `on_full` decides.
    pub min_free_disk: u64,
    /// When SQLite waits for the disk, `PIPELINE_SQLITE_SYNC_...`. Default `PIPELINE_SQLITE_SYNC_NORMAL`.
    pub synchronous: u32,
    /// What happens when there is no space: `PIPELINE_SQLITE_DELETE_OLDEST`, the default, or `PIPELINE_SQLITE_REJECT`.
    pub on_full: u32,
    /// Microseconds between two commits of small groups of events, at most 1000000. Default 1000. The first event after a pause
    /// is committed at once.
    pub commit_interval_us: u32,
    /// The number of events after which a transaction is committed, 1 to 1000000. Default 4096. Events stay in the ring buffers
    /// until they are committed.
    pub commit_events: u32,
    /// Milliseconds to wait while another process holds the database's lock, at most 60000. Default 5000. Then the batch is
    /// tried again later.
    pub busy_timeout_ms: u32,
    /// The size of SQLite's page cache in KiB, 256 to 1048576. Default 2048.
    pub cache_kib: u32,
    /// The permissions of the files that the storage makes (database, write-ahead log and its index), as the bits of chmod(2):
    /// 0600 and any of 0066. Default 0600: the owner alone. They are applied exactly, whatever the umask of the process. An
    /// existing database keeps its permissions. A user who may read the files can also block the storage, by a lock on the
    /// log's index. Since 0.1.0.
    pub file_mode: u32,
    /// 0.
    pub reserved: u32,
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
        file_mode: o.file_mode,
        reserved: 0,
    }
}

fn from_c(c: &pipeline_sqlite_options_t) -> Result<Options> {
    if c.flags & !PIPELINE_SQLITE_NO_INDEXES != 0 {
        return Err(refuse("flags", "0 or PIPELINE_SQLITE_NO_INDEXES", format_args!("{:#x}", c.flags)));
    }
    if c.reserved != 0 {
        return Err(refuse("reserved", "0", c.reserved));
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
        file_mode: c.file_mode,
    })
}

/// Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_sqlite_options_t)` as `struct_size`. Any
/// thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
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

/// Opens or makes the SQLite database at `path`, and fills `out` with a storage for it, to be given to `pipeline_start`.
/// `options` may be NULL: all defaults. `out_size` is `sizeof(pipeline_storage_t)`.
///
/// The database has a table `events` with a row for each event, and a view `events_view` of it for people. The key of a row is
/// the identity of its event, so an event that is delivered twice is stored once. An event whose key is there with another
/// content is rejected. 64-bit values are stored as signed integers; the view shows them unsigned. Other programs may read the
/// database while it is written. A second copy of SQLite in this process must not write to it meanwhile.
///
/// `pipeline_close` makes indexes on time, correlation id and node id. That takes about a second for each million of events. If
/// it takes longer than the timeout of the close, a thread of the storage goes on with it, also after `pipeline_destroy`.
/// Without a close, that thread makes the indexes, too. If they cannot be made, the close returns `PIPELINE_ERR_STORAGE`, and a
/// log message gives the reason. The indexes are removed when the database is opened again.
///
/// The files are made with `file_mode`. If the last part of `path` is a symbolic link, it is not followed.
///
/// A thread of the library does SQLite's work, and the call waits for it. So the call is no cancellation point, runs on a stack
/// of `PTHREAD_STACK_MIN` bytes, and does not send SIGXFSZ to its caller.
///
/// Until `pipeline_start` has accepted the storage, the caller owns it. To give it up, call `out->destroy(out->user_data)`
/// once. The storage must be made in the process that uses it, not before a fork. Any thread; not in a callback of a pipeline.
/// `out` is written only on success. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`, `_STORAGE`.
/// `_STORAGE` means that the file cannot be opened or written (also because of the limit on the size of files, which
/// `pipeline_last_error` then names), is locked, is not a database, belongs to another program, or has a schema that is not
/// this library's. Such a file is not changed. Since 0.1.0.
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
    guard_files(|| {
        memory::check()?;
        // SAFETY: by contract.
        let path = unsafe { path_of(path) }?;
        let options = if options.is_null() {
            Options::default()
        } else {
            // SAFETY: by contract.
            let (c, _) = unsafe { sized::read(options, to_c(&Options::default()), "options") }?;
            from_c(&c)?
        };
        require(out, "out")?;
        // Before the file is touched.
        sized::check::<pipeline_storage_t>(out_size)?;
        let storage = Box::new(SqliteStorage::open(path, options)?);
        let filled = pipeline_storage_t {
            flags: PIPELINE_STORAGE_CONCURRENT | PIPELINE_STORAGE_META,
            store: Some(store),
            flush: Some(flush),
            destroy: Some(destroy),
            finish: Some(finish),
            user_data: Box::into_raw(storage).cast(),
            ..pipeline_storage_t::default()
        };
        // SAFETY: by contract; the size has been checked, so this cannot fail.
        unsafe { sized::write(out, out_size, &filled, "out") }
    })
}

/// Makes the indexes on time, correlation id and node id in an existing database of this library, at any time. Indexes that
/// exist are kept. It takes about a second for each million of events. A storage that writes to the database waits meanwhile. A
/// thread of the library does the work, as for `pipeline_storage_sqlite`. Any thread; not in a callback of a pipeline. Errors:
/// `PIPELINE_ERR_NULL`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`, `_STORAGE`. Since 0.1.0.
///
/// # Safety
/// `path` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_sqlite_create_indexes(path: *const c_char) -> i32 {
    guard_files(|| {
        memory::check()?;
        // SAFETY: by contract.
        create_indexes(unsafe { path_of(path) }?)
    })
}

/// # Safety
/// `path` is NULL or NUL-terminated, and stays as it is.
unsafe fn path_of<'a>(path: *const c_char) -> Result<&'a Path> {
    require(path, "path")?;
    // SAFETY: by contract.
    Ok(Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes())))
}

/// Whether a storage stores into a database of this library: its `store` is the one below.
pub(super) fn is_ours(storage: &pipeline_storage_t) -> bool {
    let ours: unsafe extern "C-unwind" fn(*mut c_void, *const BatchView) -> i32 = store;
    storage.store.is_some_and(|given| std::ptr::fn_addr_eq(given, ours))
}

// The functions of the storage. SAFETY of all four: the pipeline calls them with the `user_data` from the constructor, and
// `destroy` once, after all others.

/// The result of `body`, or `on_panic`.
fn caught<T>(on_panic: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(on_panic)
}

unsafe extern "C-unwind" fn store(user_data: *mut c_void, batch: *const BatchView) -> i32 {
    // SAFETY: see above; the pipeline passes a valid batch.
    caught(PIPELINE_STORE_RETRY, || unsafe { (*user_data.cast::<SqliteStorage>()).store(&*batch) })
}

unsafe extern "C-unwind" fn flush(user_data: *mut c_void, timeout_ms: i64) -> i32 {
    // SAFETY: see above.
    caught(PIPELINE_ERR_INTERNAL, || unsafe { (*user_data.cast::<SqliteStorage>()).flush(timeout_ms) })
}

unsafe extern "C-unwind" fn finish(user_data: *mut c_void, timeout_ms: i64) -> i32 {
    // SAFETY: see above.
    caught(PIPELINE_ERR_INTERNAL, || unsafe { (*user_data.cast::<SqliteStorage>()).finish(timeout_ms) })
}

unsafe extern "C-unwind" fn destroy(user_data: *mut c_void) {
    // SAFETY: see above: made by `Box::into_raw`, and not used again.
    caught((), || drop(unsafe { Box::from_raw(user_data.cast::<SqliteStorage>()) }));
}
