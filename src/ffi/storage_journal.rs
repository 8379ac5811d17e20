//! The journal storage for C: its options and its constructor.

use super::guard::{guard, guard_files, require};
use super::sized;
use crate::batch::BatchView;
use crate::platform::cancellation::Uncancelled;
use crate::platform::memory;
use crate::platform::signals::FileSignalsHeld;
use crate::status::{PIPELINE_ERR_INTERNAL, Result};
use crate::storage::callback::pipeline_storage_t;
use crate::storage::journal::{Encoding, JournalStorage, OnFull, Options, Sync, refuse};
use crate::storage::{
    PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORAGE_META, PIPELINE_STORE_RETRY, Storage, WriterData,
};
use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// `pipeline_journal_options_t.sync`: the storage never waits for the disk. After a crash of the process, every acknowledged event is
/// there. A power loss may lose events, also those before a `pipeline_flush`.
pub const PIPELINE_JOURNAL_SYNC_NEVER: u32 = 0;
/// `pipeline_journal_options_t.sync`: the storage waits for the disk at `pipeline_flush` and `pipeline_close`. Events acknowledged
/// before survive a power loss.
pub const PIPELINE_JOURNAL_SYNC_FLUSH: u32 = 1;
/// `pipeline_journal_options_t.sync`: as `PIPELINE_JOURNAL_SYNC_FLUSH`, and a thread of the storage writes events through to the
/// disk `sync_interval_ms` after they were acknowledged.
pub const PIPELINE_JOURNAL_SYNC_INTERVAL: u32 = 2;
/// `pipeline_journal_options_t.sync`: a batch is acknowledged when it is on the disk. Acknowledged events survive a power loss.
/// Batches that come at the same time share the waiting.
pub const PIPELINE_JOURNAL_SYNC_BATCH: u32 = 3;

/// `pipeline_journal_options_t.encoding`: events lie in the files as in the ring buffers, from which they are written without a copy.
pub const PIPELINE_JOURNAL_RAW: u32 = 0;
/// `pipeline_journal_options_t.encoding`: the fields of events lie in columns, which takes half the space or less, and some ten
/// nanoseconds of a writer's time for each event.
pub const PIPELINE_JOURNAL_COLUMNS: u32 = 1;
/// `pipeline_journal_options_t.encoding`: columns, compressed by LZ4.
pub const PIPELINE_JOURNAL_COLUMNS_LZ4: u32 = 2;
/// `pipeline_journal_options_t.encoding`: columns, compressed by Zstandard, which takes the least space. A build without the cargo
/// feature `zstd` refuses it.
pub const PIPELINE_JOURNAL_COLUMNS_ZSTD: u32 = 3;

/// `pipeline_journal_options_t.on_full`: the oldest segments are deleted. The journal itself says how many events they had.
pub const PIPELINE_JOURNAL_DELETE_OLDEST: u32 = 0;
/// `pipeline_journal_options_t.on_full`: new events are rejected, and counted as `discarded`.
pub const PIPELINE_JOURNAL_REJECT: u32 = 1;

/// `pipeline_journal_options_t.flags`: a file in the directory shows the figures of the pipeline to other processes, such as
/// `capture-pipeline metrics`. A thread of the storage writes it, at most once a second and only if the figures have changed. It has 32 KiB and the
/// permissions 0600, and is deleted when the pipeline ends. That of a process that was killed is there until the next pipeline with this flag starts in the
/// directory. If it cannot be written, that is logged, and events are stored all the same.
pub const PIPELINE_JOURNAL_LIVE_FIGURES: u32 = 1;

/// The options of a journal storage. `pipeline_journal_options_init` writes every default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_journal_options_t {
    /// `sizeof(pipeline_journal_options_t)` of the caller.
    pub struct_size: u32,
    /// 0, or `PIPELINE_JOURNAL_LIVE_FIGURES`.
    pub flags: u32,
    /// The bytes after which a segment is sealed and the next one is begun, 65536 to 2^40. Default 67108864 (64 MiB). With `max_bytes` it
    /// is at most an eighth of that. A batch is never divided for it, so a segment may be larger by one batch.
    pub segment_bytes: u64,
    /// The bytes that all segments in the directory may take, 1048576 to 2^47. Default 0: no limit. Segments of other pipelines in the
    /// same directory count as well.
    pub max_bytes: u64,
    /// Milliseconds after which a segment is deleted, counted from when it was last written, 100 to a hundred years. Default 0: never. A
    /// segment is sealed when it is an eighth of that old, so no event stays for more than nine eighths of its age.
    pub max_age_ms: u64,
    /// The bytes that must stay free on the directory's file system, at most 2^47. Default 0: no check. If less is free, `on_full` decides.
    pub min_free_disk: u64,
    /// Milliseconds after which a segment that has events is sealed, however small it is, 100 to a hundred years. Default 0: never. Only
    /// sealed segments are deleted to make room.
    pub segment_age_ms: u64,
    /// When the storage waits for the disk, `PIPELINE_JOURNAL_SYNC_...`. Default `PIPELINE_JOURNAL_SYNC_NEVER`.
    pub sync: u32,
    /// With `PIPELINE_JOURNAL_SYNC_INTERVAL`: milliseconds from the acknowledgement of an event to the disk, 1 to 3600000. Default 1000.
    pub sync_interval_ms: u32,
    /// What happens when there is no space: `PIPELINE_JOURNAL_DELETE_OLDEST`, the default, or `PIPELINE_JOURNAL_REJECT`.
    pub on_full: u32,
    /// How events lie in the files: `PIPELINE_JOURNAL_RAW`, the default, or `PIPELINE_JOURNAL_COLUMNS...`.
    pub encoding: u32,
    /// The permissions of the files that the storage makes, as the bits of chmod(2): 0600 and any of 0066. Default 0600: the owner alone.
    /// They are applied exactly, whatever the umask of the process. A directory that the storage makes can be listed by those who may
    /// read its files.
    pub file_mode: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), plain integers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_journal_options_t {
    const NAME: &'static str = "pipeline_journal_options_t";
}

fn to_c(o: &Options) -> pipeline_journal_options_t {
    pipeline_journal_options_t {
        struct_size: size_of::<pipeline_journal_options_t>() as u32,
        flags: if o.live_figures { PIPELINE_JOURNAL_LIVE_FIGURES } else { 0 },
        segment_bytes: o.segment_bytes,
        max_bytes: o.max_bytes,
        max_age_ms: o.max_age_ms,
        min_free_disk: o.min_free_disk,
        segment_age_ms: o.segment_age_ms,
        sync: match o.sync {
            Sync::Never => PIPELINE_JOURNAL_SYNC_NEVER,
            Sync::Flush => PIPELINE_JOURNAL_SYNC_FLUSH,
            Sync::Interval => PIPELINE_JOURNAL_SYNC_INTERVAL,
            Sync::Batch => PIPELINE_JOURNAL_SYNC_BATCH,
        },
        sync_interval_ms: o.sync_interval_ms,
        on_full: match o.on_full {
            OnFull::DeleteOldest => PIPELINE_JOURNAL_DELETE_OLDEST,
            OnFull::Reject => PIPELINE_JOURNAL_REJECT,
        },
        encoding: encoding_number(o.encoding),
        file_mode: o.file_mode,
        reserved: 0,
    }
}

/// `PIPELINE_JOURNAL_RAW` or `PIPELINE_JOURNAL_COLUMNS...`.
pub(super) fn encoding_number(encoding: Encoding) -> u32 {
    match encoding {
        Encoding::Raw => PIPELINE_JOURNAL_RAW,
        Encoding::Columns => PIPELINE_JOURNAL_COLUMNS,
        Encoding::ColumnsLz4 => PIPELINE_JOURNAL_COLUMNS_LZ4,
        Encoding::ColumnsZstd => PIPELINE_JOURNAL_COLUMNS_ZSTD,
    }
}

/// The other way.
pub(super) fn read_encoding(encoding: u32) -> Option<Encoding> {
    match encoding {
        PIPELINE_JOURNAL_RAW => Some(Encoding::Raw),
        PIPELINE_JOURNAL_COLUMNS => Some(Encoding::Columns),
        PIPELINE_JOURNAL_COLUMNS_LZ4 => Some(Encoding::ColumnsLz4),
        PIPELINE_JOURNAL_COLUMNS_ZSTD => Some(Encoding::ColumnsZstd),
        _ => None,
    }
}

fn from_c(c: &pipeline_journal_options_t) -> Result<Options> {
    if c.flags & !PIPELINE_JOURNAL_LIVE_FIGURES != 0 {
        return Err(refuse("flags", "PIPELINE_JOURNAL_LIVE_FIGURES (1)", format_args!("{:#x}", c.flags)));
    }
    if c.reserved != 0 {
        return Err(refuse("reserved", "0", c.reserved));
    }
    Ok(Options {
        segment_bytes: c.segment_bytes,
        max_bytes: c.max_bytes,
        max_age_ms: c.max_age_ms,
        min_free_disk: c.min_free_disk,
        segment_age_ms: c.segment_age_ms,
        sync: match c.sync {
            PIPELINE_JOURNAL_SYNC_NEVER => Sync::Never,
            PIPELINE_JOURNAL_SYNC_FLUSH => Sync::Flush,
            PIPELINE_JOURNAL_SYNC_INTERVAL => Sync::Interval,
            PIPELINE_JOURNAL_SYNC_BATCH => Sync::Batch,
            other => return Err(refuse("sync", "0 to 3", other)),
        },
        sync_interval_ms: c.sync_interval_ms,
        on_full: match c.on_full {
            PIPELINE_JOURNAL_DELETE_OLDEST => OnFull::DeleteOldest,
            PIPELINE_JOURNAL_REJECT => OnFull::Reject,
            other => return Err(refuse("on_full", "0 to 1", other)),
        },
        encoding: read_encoding(c.encoding).ok_or_else(|| refuse("encoding", "0 to 3", c.encoding))?,
        file_mode: c.file_mode,
        live_figures: c.flags & PIPELINE_JOURNAL_LIVE_FIGURES != 0,
    })
}

/// Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_journal_options_t)` as `struct_size`. Any
/// thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_journal_options_init(
    options: *mut pipeline_journal_options_t,
    struct_size: usize,
) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(options, struct_size, &to_c(&Options::default()), "options") })
}

/// Opens the directory `dir`, or makes it, and fills `out` with a storage that keeps a journal there, to be given to
/// `pipeline_start`. `options` may be NULL: all defaults. `out_size` is `sizeof(pipeline_storage_t)`.
///
/// A journal is the fastest storage: each writer appends its batches to a file of its own, a segment. docs/format.md specifies the
/// files. Several pipelines, also of several processes, may use one directory at the same time.
///
/// An acknowledged event is written: it survives the death of the process. `sync` says when it is on the disk. `pipeline_flush`
/// waits for the disk unless `sync` is `PIPELINE_JOURNAL_SYNC_NEVER`; if that fails it returns `PIPELINE_ERR_STORAGE`, once.
/// `pipeline_close` seals the segments; if that fails, it returns `PIPELINE_ERR_STORAGE`, and all events are readable even so.
///
/// An event with `PIPELINE_EVENT_RELEASE` is rejected, because its payload means nothing outside the process.
///
/// A missing directory is made with permissions as `file_mode` says; its parent must be there. If the last part of `dir` is a
/// symbolic link, it is not followed. In a folder that all users may write to, another user's directory is refused.
///
/// A thread of the library does the work, and the call waits for it. So the call is no cancellation point, runs on a stack of
/// `PTHREAD_STACK_MIN` bytes, and does not send SIGXFSZ to its caller.
///
/// Until `pipeline_start` has accepted the storage, the caller owns it. To give it up, call `out->destroy(out->user_data)`
/// once. The storage must be made in the process that uses it, not before a fork. Any thread; not in a callback of a pipeline.
/// `out` is written only on success. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`, `_STORAGE`
/// (the directory cannot be opened, made or written to, or is refused), `_UNSUPPORTED` (an encoding that this build does not have; a
/// machine with another byte order). Since
/// 0.1.0.
///
/// # Safety
/// `dir` is NULL or NUL-terminated; `options` is NULL or as its `struct_size` says; `out` is NULL or points to
/// `out_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_storage_journal(
    dir: *const c_char,
    options: *const pipeline_journal_options_t,
    out_size: usize,
    out: *mut pipeline_storage_t,
) -> i32 {
    guard_files(|| {
        memory::check()?;
        require(dir, "dir")?;
        // SAFETY: by contract NUL-terminated.
        let dir = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(dir) }.to_bytes()));
        let options = if options.is_null() {
            Options::default()
        } else {
            // SAFETY: by contract.
            let (c, _) = unsafe { sized::read(options, to_c(&Options::default()), "options") }?;
            from_c(&c)?
        };
        require(out, "out")?;
        // Before the directory is touched.
        sized::check::<pipeline_storage_t>(out_size)?;
        let storage = Box::into_raw(Box::new(JournalStorage::open(dir, options)?));
        // SAFETY: by contract; the size has been checked, so this cannot fail.
        unsafe { sized::write(out, out_size, &functions(storage), "out") }
    })
}

/// The storage as a C program gets it.
fn functions(storage: *mut JournalStorage) -> pipeline_storage_t {
    pipeline_storage_t {
        flags: PIPELINE_STORAGE_CONCURRENT | PIPELINE_STORAGE_META,
        store: Some(store),
        close_writer: Some(close_writer),
        flush: Some(flush),
        destroy: Some(destroy),
        finish: Some(finish),
        user_data: storage.cast(),
        ..pipeline_storage_t::default()
    }
}

/// The storage in Rust behind a struct that the constructor has filled in, and that the program has not changed. It can do more than its C functions: it
/// learns of its pipeline. `None`: another storage.
///
/// # Safety
/// The struct is given up: its functions are not called any more.
pub(super) unsafe fn unwrap(given: &pipeline_storage_t) -> Option<Box<JournalStorage>> {
    if !given.is_as(&functions(given.user_data.cast())) {
        return None;
    }
    // SAFETY: only the constructor pairs these functions with a pointer, which is that of a box; it is given up by the caller.
    Some(unsafe { Box::from_raw(given.user_data.cast()) })
}

// The functions of the storage, for programs that call them in functions of their own. SAFETY of all: they are called with the `user_data` from the
// constructor, and `destroy` once, after all others.

/// The result of `body`, or `on_panic`. Nothing in it is a cancellation point, and no signal of a write reaches a thread of the program.
fn caught<T>(on_panic: T, body: impl FnOnce() -> T) -> T {
    let _uncancelled = Uncancelled::begin();
    let _held = (!memory::is_own_thread()).then(FileSignalsHeld::begin);
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(on_panic)
}

unsafe extern "C-unwind" fn store(user_data: *mut c_void, batch: *const BatchView) -> i32 {
    // SAFETY: see above; the caller passes a valid batch.
    caught(PIPELINE_STORE_RETRY, || unsafe { (*user_data.cast::<JournalStorage>()).store(&*batch) })
}

unsafe extern "C-unwind" fn close_writer(user_data: *mut c_void, writer_id: u32, _writer_data: *mut c_void) {
    // SAFETY: see above.
    caught((), || unsafe { (*user_data.cast::<JournalStorage>()).close_writer(writer_id, WriterData::NONE) });
}

unsafe extern "C-unwind" fn flush(user_data: *mut c_void, timeout_ms: i64) -> i32 {
    // SAFETY: see above.
    caught(PIPELINE_ERR_INTERNAL, || unsafe { (*user_data.cast::<JournalStorage>()).flush(timeout_ms) })
}

unsafe extern "C-unwind" fn finish(user_data: *mut c_void, timeout_ms: i64) -> i32 {
    // SAFETY: see above.
    caught(PIPELINE_ERR_INTERNAL, || unsafe { (*user_data.cast::<JournalStorage>()).finish(timeout_ms) })
}

unsafe extern "C-unwind" fn destroy(user_data: *mut c_void) {
    // SAFETY: see above: made by `Box::into_raw`, and not used again.
    caught((), || drop(unsafe { Box::from_raw(user_data.cast::<JournalStorage>()) }));
}
