//! Recovery for C: what processes that have ended have left in their ring files.

use super::guard::{guard, guard_files, require};
use super::sized;
use super::storage;
use crate::platform::{memory, thread};
use crate::recovery::{FileReport, Options, Outcome, recover_into};
use crate::status::{Error, PIPELINE_ERR_INVALID, Result};
use crate::storage::callback::pipeline_storage_t;
use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// `pipeline_recovered_file_t.outcome`: all that the file had was delivered or given up, and the file was deleted.
pub const PIPELINE_RECOVERY_DONE: u32 = 0;
/// `pipeline_recovered_file_t.outcome`: the storage did not take all of it. The rest is in the file, and the next recovery goes on with it.
pub const PIPELINE_RECOVERY_LEFT: u32 = 1;
/// `pipeline_recovered_file_t.outcome`: the process that captures into the file lives. The file was not touched.
pub const PIPELINE_RECOVERY_LIVING: u32 = 2;
/// `pipeline_recovered_file_t.outcome`: another process or thread recovers the file at present.
pub const PIPELINE_RECOVERY_BUSY: u32 = 3;
/// `pipeline_recovered_file_t.outcome`: its process died while it made the file. It held no event, and was deleted.
pub const PIPELINE_RECOVERY_UNFINISHED: u32 = 4;
/// `pipeline_recovered_file_t.outcome`: another process or thread has recovered and deleted the file meanwhile.
pub const PIPELINE_RECOVERY_GONE: u32 = 5;
/// `pipeline_recovered_file_t.outcome`: the file has another version of the layout, is damaged in its header, cut, or no ring file. It was not touched.
pub const PIPELINE_RECOVERY_REFUSED: u32 = 6;
/// `pipeline_recovered_file_t.outcome`: the system has refused a call, such as reading the file. The rest is in the file.
pub const PIPELINE_RECOVERY_FAILED: u32 = 7;

/// What became of one ring file. Valid during the call of `report`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_recovered_file_t {
    /// `sizeof(pipeline_recovered_file_t)` of the library.
    pub struct_size: u32,
    /// `PIPELINE_RECOVERY_...`.
    pub outcome: u32,
    /// The run of the pipeline whose file it is.
    pub generation: u64,
    /// Events that the storage has stored, also those that it had already under the same identity.
    pub events: u64,
    /// The library's own events that the storage has taken: names and definitions of kinds, threads, clocks, attributes.
    pub facts: u64,
    /// Events that the storage has rejected and its `dead_letter` keeps.
    pub dead_lettered: u64,
    /// Events that the storage has rejected, and that its `dead_letter`, if it has one, does not keep.
    pub discarded: u64,
    /// Events with `PIPELINE_EVENT_RELEASE`, which are left out: handles mean nothing outside the process that captured them.
    pub handles: u64,
    /// Ring buffers that end in damage. 0 after a crash or a kill alone.
    pub torn: u64,
    /// The bytes in them that are given up.
    pub torn_bytes: u64,
    /// The path of the file. Never NULL.
    pub path: *const c_char,
    /// What became of the file, with the place of each damage, in one or more lines for people. Never NULL.
    pub text: *const c_char,
}

/// The function that is told what became of a ring file.
type ReportFn = unsafe extern "C" fn(user_data: *mut c_void, file: *const pipeline_recovered_file_t);

/// The options of a recovery. `pipeline_recover_options_init` writes every default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_recover_options_t {
    /// `sizeof(pipeline_recover_options_t)` of the caller.
    pub struct_size: u32,
    /// 0.
    pub flags: u32,
    /// For how many milliseconds a batch that the storage does not take is tried again, at most a day (86400000). Default 10000. Then the recovery
    /// ends, and what is left stays in the files.
    pub retry_ms: u64,
    /// Called for each ring file, when it is done with. It must not throw. Default NULL: none is called.
    pub report:
        Option<unsafe extern "C" fn(report_data: *mut c_void, file: *const pipeline_recovered_file_t)>,
    /// The first argument of `report`. Default NULL.
    pub report_data: *mut c_void,
}

// SAFETY: repr(C), plain integers, a nullable function and a pointer, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_recover_options_t {
    const NAME: &'static str = "pipeline_recover_options_t";
}

/// What a recovery has done, over all files of the directory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct pipeline_recovery_t {
    /// `sizeof(pipeline_recovery_t)` of the caller.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Files that were recovered and deleted: one for each run of a pipeline.
    pub runs: u64,
    /// Files of processes that live. They were not touched.
    pub living: u64,
    /// Files that another process or thread recovers.
    pub busy: u64,
    /// Files that were never finished. They were deleted.
    pub unfinished: u64,
    /// Files that this library does not recover. They were not touched, and the log says why.
    pub refused: u64,
    /// As in `pipeline_recovered_file_t`, and so are the others.
    pub events: u64,
    /// See there.
    pub facts: u64,
    /// See there.
    pub dead_lettered: u64,
    /// See there.
    pub discarded: u64,
    /// See there.
    pub handles: u64,
    /// See there.
    pub torn: u64,
    /// See there.
    pub torn_bytes: u64,
}

// SAFETY: repr(C), plain integers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_recovery_t {
    const NAME: &'static str = "pipeline_recovery_t";
}

const DEFAULTS: pipeline_recover_options_t = pipeline_recover_options_t {
    struct_size: size_of::<pipeline_recover_options_t>() as u32,
    flags: 0,
    retry_ms: 10_000,
    report: None,
    report_data: std::ptr::null_mut(),
};

/// Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_recover_options_t)` as `struct_size`. Any
/// thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_recover_options_init(
    options: *mut pipeline_recover_options_t,
    struct_size: usize,
) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(options, struct_size, &DEFAULTS, "options") })
}

/// Delivers to `storage` what pipelines with this `ring_dir` have left whose processes have ended, and deletes their ring files. No pipeline needs to run.
/// `options` may be NULL: all defaults. The caller sets `out->struct_size`. docs/recovery.md says what is promised.
///
/// Every event comes under the identity that it was captured with, ring buffer by ring buffer and in its order there, at least once. If the storage keeps identities, as SQLite
/// and the journal's reader do, it has each event exactly once, also if a recovery is killed and another one follows: what the storage has acknowledged is marked in the
/// file. Before the events of a run, a storage with `PIPELINE_STORAGE_META` gets the library's own events about them. The pipeline's transform and rules are not
/// applied: a transform that filters did not see these events.
///
/// The files of processes that live are skipped, and so are those that another recovery has. A file that is no ring file of this version of the layout is refused and left
/// as it is. Where a ring buffer is damaged, its events up to there are delivered, and the rest is given up and counted in `torn_bytes`. None of this is
/// an error; `out`, `report` and the log tell it.
///
/// The storage passes to the library as with `pipeline_start`, and its `destroy` runs before this returns. Its functions are called on a thread of the library,
/// one call at a time: `open_writer` with the id 0, `store`, `dead_letter`, `flush` for each file, `finish`, `close_writer`. `release` is never called, because events
/// that are handles are left out. `store` may answer `PIPELINE_STORE_PENDING`; the call waits for that answer as long as it takes.
///
/// Any thread; not in a callback. It takes as long as the storage does. `ring_dir` must be a directory of the caller's own user that nobody else may write to, and no symbolic link.
/// Errors: `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID` (`ring_dir`, an option); `_NOT_FOUND` (there is no such directory); `_STORAGE` (the storage has not taken a batch for
/// `retry_ms`, or `flush` or `finish` has failed); `_SYSTEM` (a file could not be read or changed; the others were recovered); `_NO_MEMORY`. After an error, what was not
/// stored is in the files, the call may be made again, and `pipeline_last_error` names the file. `out` is written only on success. Since 0.1.0.
///
/// # Safety
/// `ring_dir` is NULL or NUL-terminated; `storage` and `options` are NULL or as their `struct_size` says, and their functions may be called as documented; `out` is NULL or
/// points to as many writable bytes as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_recover(
    ring_dir: *const c_char,
    storage: *const pipeline_storage_t,
    options: *const pipeline_recover_options_t,
    out: *mut pipeline_recovery_t,
) -> i32 {
    guard_files(|| {
        // SAFETY: by contract.
        let storage = unsafe { storage::take(storage) }?;
        memory::check()?;
        require(ring_dir, "ring_dir")?;
        require(out, "out")?;
        // SAFETY: by contract.
        let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(ring_dir) }.to_bytes()));
        // SAFETY: by contract; a size that is not accepted is found before anything is delivered.
        sized::check::<pipeline_recovery_t>(unsafe { out.cast::<u32>().read_unaligned() } as usize)?;
        // SAFETY: by contract.
        let (options, report) = unsafe { from_c(options) }?;
        let done = thread::on_own_stack("cp-recover", || {
            recover_into(path, storage, &options, |file| report.call(file))
        })??;
        let recovery = pipeline_recovery_t {
            struct_size: 0, // that of the caller
            reserved: 0,
            runs: done.runs,
            living: done.living,
            busy: done.busy,
            unfinished: done.unfinished,
            refused: done.refused,
            events: done.events,
            facts: done.facts,
            dead_lettered: done.dead_lettered,
            discarded: done.discarded,
            handles: done.handles,
            torn: done.torn,
            torn_bytes: done.torn_bytes,
        };
        // SAFETY: by contract.
        unsafe { sized::write_sized(out, &recovery, "out") }
    })
}

/// # Safety
/// `options` is NULL or as its `struct_size` says.
unsafe fn from_c(options: *const pipeline_recover_options_t) -> Result<(Options, Report)> {
    const DAY_MS: u64 = 86_400_000;
    // SAFETY: by contract.
    let c =
        if options.is_null() { DEFAULTS } else { unsafe { sized::read(options, DEFAULTS, "options") }?.0 };
    if c.flags != 0 {
        let text = format!("pipeline_recover_options_t.flags: 0 allowed, {:#x} given", c.flags);
        return Err(Error::new(PIPELINE_ERR_INVALID, text));
    }
    if c.retry_ms > DAY_MS {
        let text =
            format!("pipeline_recover_options_t.retry_ms: 0 to {DAY_MS} allowed, {} given", c.retry_ms);
        return Err(Error::new(PIPELINE_ERR_INVALID, text));
    }
    let report = Report { function: c.report, data: c.report_data };
    Ok((Options { retry_for: Duration::from_millis(c.retry_ms) }, report))
}

/// The caller's `report`.
struct Report {
    function: Option<ReportFn>,
    data: *mut c_void,
}

// SAFETY: the function may be called with the pointer on a thread of the library, by the contract of `pipeline_recover`.
unsafe impl Send for Report {}
// SAFETY: as above; one thread uses it.
unsafe impl Sync for Report {}

impl Report {
    fn call(&self, file: &FileReport) {
        let Some(report) = self.function else { return };
        let text = |bytes: Vec<u8>| {
            // (A text ends where it would have a NUL.)
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            CString::new(&bytes[..end]).unwrap_or_default()
        };
        let (path, words) =
            (text(file.path.as_os_str().as_bytes().to_vec()), text(file.to_string().into_bytes()));
        let shown = pipeline_recovered_file_t {
            struct_size: size_of::<pipeline_recovered_file_t>() as u32,
            outcome: match file.outcome {
                Outcome::Recovered => PIPELINE_RECOVERY_DONE,
                Outcome::Left(_) => PIPELINE_RECOVERY_LEFT,
                Outcome::Living(_) => PIPELINE_RECOVERY_LIVING,
                Outcome::Busy => PIPELINE_RECOVERY_BUSY,
                Outcome::Unfinished => PIPELINE_RECOVERY_UNFINISHED,
                Outcome::Gone => PIPELINE_RECOVERY_GONE,
                Outcome::Refused(_) => PIPELINE_RECOVERY_REFUSED,
                Outcome::Failed(_) => PIPELINE_RECOVERY_FAILED,
            },
            generation: file.generation,
            events: file.events,
            facts: file.facts,
            dead_lettered: file.dead_lettered,
            discarded: file.discarded,
            handles: file.losses.handles,
            torn: file.losses.torn,
            torn_bytes: file.losses.torn_bytes,
            path: path.as_ptr(),
            text: words.as_ptr(),
        };
        // SAFETY: by the contract of `pipeline_recover`; the struct and its texts outlive the call.
        unsafe { report(self.data, &raw const shown) };
    }
}
