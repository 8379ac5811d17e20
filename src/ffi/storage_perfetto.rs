//! The Perfetto storage for C: its options and its constructor.

use super::guard::{guard, guard_files, require};
use super::sized;
use crate::batch::BatchView;
use crate::platform::cancellation::Uncancelled;
use crate::platform::memory;
use crate::platform::signals::FileSignalsHeld;
use crate::status::{PIPELINE_ERR_INTERNAL, Result};
use crate::storage::callback::pipeline_storage_t;
use crate::storage::perfetto::{Options, PerfettoStorage, Sync, refuse};
use crate::storage::{PIPELINE_STORAGE_META, PIPELINE_STORE_RETRY, Storage};
use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// `pipeline_perfetto_options_t.sync`: the storage never waits for the disk. After a crash of the process, every acknowledged event is
/// there. A power loss may lose events, also those before a `pipeline_flush`.
pub const PIPELINE_PERFETTO_SYNC_NEVER: u32 = 0;
/// `pipeline_perfetto_options_t.sync`: the storage waits for the disk at `pipeline_flush`, at the end of each file and at `pipeline_close`. Events
/// acknowledged before survive a power loss.
pub const PIPELINE_PERFETTO_SYNC_FLUSH: u32 = 1;

/// The options of a Perfetto storage. `pipeline_perfetto_options_init` writes every default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_perfetto_options_t {
    /// `sizeof(pipeline_perfetto_options_t)` of the caller.
    pub struct_size: u32,
    /// 0.
    pub flags: u32,
    /// The bytes after which another file is begun, 65536 to 2^40. Default 536870912 (512 MiB), which the viewer opens in a browser. With
    /// `max_bytes` it is at most a quarter of that. A batch is never divided for it, so a file may be larger by one batch.
    pub file_bytes: u64,
    /// Milliseconds after which another file is begun, 100 to a hundred years. Default 0: never for its age. The next event begins it: while there
    /// are none, the file stays as it is.
    pub file_age_ms: u64,
    /// The bytes that all traces in the directory may take, 1048576 to 2^47. Default 0: no limit. When a file is begun, the oldest ones that
    /// nobody writes to are deleted, those of other pipelines in the same directory too. The log says how many.
    pub max_bytes: u64,
    /// When the storage waits for the disk: `PIPELINE_PERFETTO_SYNC_NEVER`, the default, or `PIPELINE_PERFETTO_SYNC_FLUSH`.
    pub sync: u32,
    /// The permissions of the files that the storage makes, as the bits of chmod(2): 0600 and any of 0066. Default 0600: the owner alone.
    /// They are applied exactly, whatever the umask of the process. A directory that the storage makes can be listed by those who may
    /// read its files.
    pub file_mode: u32,
    /// 0.
    pub reserved: u64,
}

// SAFETY: repr(C), plain integers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_perfetto_options_t {
    const NAME: &'static str = "pipeline_perfetto_options_t";
}

fn to_c(o: &Options) -> pipeline_perfetto_options_t {
    pipeline_perfetto_options_t {
        struct_size: size_of::<pipeline_perfetto_options_t>() as u32,
        flags: 0,
        file_bytes: o.file_bytes,
        file_age_ms: o.file_age_ms,
        max_bytes: o.max_bytes,
        sync: match o.sync {
            Sync::Never => PIPELINE_PERFETTO_SYNC_NEVER,
            Sync::Flush => PIPELINE_PERFETTO_SYNC_FLUSH,
        },
        file_mode: o.file_mode,
        reserved: 0,
    }
}

fn from_c(c: &pipeline_perfetto_options_t) -> Result<Options> {
    if c.flags != 0 {
        return Err(refuse("flags", "0", format_args!("{:#x}", c.flags)));
    }
    if c.reserved != 0 {
        return Err(refuse("reserved", "0", c.reserved));
    }
    Ok(Options {
        file_bytes: c.file_bytes,
        file_age_ms: c.file_age_ms,
        max_bytes: c.max_bytes,
        sync: match c.sync {
            PIPELINE_PERFETTO_SYNC_NEVER => Sync::Never,
            PIPELINE_PERFETTO_SYNC_FLUSH => Sync::Flush,
            other => return Err(refuse("sync", "0 to 1", other)),
        },
        file_mode: c.file_mode,
    })
}

/// Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_perfetto_options_t)` as `struct_size`. Any
/// thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_perfetto_options_init(
    options: *mut pipeline_perfetto_options_t,
    struct_size: usize,
) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(options, struct_size, &to_c(&Options::default()), "options") })
}

/// Opens the directory `dir`, or makes it, and fills `out` with a storage that writes traces for Perfetto there, to be given to
/// `pipeline_start`. `options` may be NULL: all defaults. `out_size` is `sizeof(pipeline_storage_t)`.
///
/// The files are called `<generation>-<number>.perfetto-trace`; ui.perfetto.dev and trace_processor open each alone. How events are drawn follows
/// from the definitions of their kinds (`pipeline_kind_define`): slices, instants, flows, counters. docs/timelines.md has the details. A program that
/// wants to read its events again uses `pipeline_storage_journal`, from which the command exports the same and other formats.
///
/// An acknowledged event is written: it survives the death of the process, and a file that ends anywhere is read up to its last whole packet. A batch
/// that comes again after a failed write is in the files once. If a file cannot even be cut back after a failed write, the whole events in it
/// count as stored, and the rest goes to another file. What other programs delete or change is outside of that.
///
/// One file is written at a time, and the storage gets the events of each ring buffer in their order, as if `ordering` were
/// `PIPELINE_ORDERING_PER_PRODUCER`. More than one writer does not make it faster. A program that puts a storage of its own around this one
/// sets that ordering itself.
///
/// An event with `PIPELINE_EVENT_RELEASE` is rejected, because its payload means nothing outside the process, and so is one whose time is 2^63 ns
/// or more, because viewers take none.
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
/// (the directory cannot be opened, made or written to, or is refused). Since 0.1.0.
///
/// # Safety
/// `dir` is NULL or NUL-terminated; `options` is NULL or as its `struct_size` says; `out` is NULL or points to
/// `out_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_storage_perfetto(
    dir: *const c_char,
    options: *const pipeline_perfetto_options_t,
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
        let storage = Box::into_raw(Box::new(PerfettoStorage::open(dir, options)?));
        // SAFETY: by contract; the size has been checked, so this cannot fail.
        unsafe { sized::write(out, out_size, &functions(storage), "out") }
    })
}

/// The storage as a C program gets it.
fn functions(storage: *mut PerfettoStorage) -> pipeline_storage_t {
    pipeline_storage_t {
        flags: PIPELINE_STORAGE_META,
        store: Some(store),
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
pub(super) unsafe fn unwrap(given: &pipeline_storage_t) -> Option<Box<PerfettoStorage>> {
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
    caught(PIPELINE_STORE_RETRY, || unsafe { (*user_data.cast::<PerfettoStorage>()).store(&*batch) })
}

unsafe extern "C-unwind" fn flush(user_data: *mut c_void, timeout_ms: i64) -> i32 {
    // SAFETY: see above.
    caught(PIPELINE_ERR_INTERNAL, || unsafe { (*user_data.cast::<PerfettoStorage>()).flush(timeout_ms) })
}

unsafe extern "C-unwind" fn finish(user_data: *mut c_void, timeout_ms: i64) -> i32 {
    // SAFETY: see above.
    caught(PIPELINE_ERR_INTERNAL, || unsafe { (*user_data.cast::<PerfettoStorage>()).finish(timeout_ms) })
}

unsafe extern "C-unwind" fn destroy(user_data: *mut c_void) {
    // SAFETY: see above: made by `Box::into_raw`, and not used again.
    caught((), || drop(unsafe { Box::from_raw(user_data.cast::<PerfettoStorage>()) }));
}
