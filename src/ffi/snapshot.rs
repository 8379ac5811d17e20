//! Snapshots for C.

use super::guard::{guard, guard_pipeline_new, require};
use super::sized;
use super::storage_journal::{encoding_number, read_encoding};
use crate::manager::Pipeline;
use crate::platform::signals::FileSignalsHeld;
use crate::snapshot::{Options, Snapshot, refuse};
use crate::status::Result;
use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `pipeline_snapshot_options_t.flags`: the call returns when the snapshot is on the disk, so that it survives a power loss.
pub const PIPELINE_SNAPSHOT_SYNC: u32 = 1;

/// The options of a snapshot. `pipeline_snapshot_options_init` writes every default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_snapshot_options_t {
    /// `sizeof(pipeline_snapshot_options_t)` of the caller.
    pub struct_size: u32,
    /// 0, or `PIPELINE_SNAPSHOT_SYNC`.
    pub flags: u32,
    /// Bytes of memory that the call may use for copies of rings, at most 2^47; less than 1 MiB counts as that. Default 4194304 (4 MiB). It takes no
    /// more than the rings have, and gives it back before it returns. Rings that fit together are copied one right after the other, before any of them is
    /// written, so that they show the same moment. A larger ring is copied and written in parts, which takes less time.
    pub copy_bytes: u64,
    /// How events lie in the file: `PIPELINE_JOURNAL_RAW`, the default, or `PIPELINE_JOURNAL_COLUMNS...`.
    pub encoding: u32,
    /// The permissions of the file, as the bits of chmod(2): 0600 and any of 0066. Default 0600: the owner alone. They are applied exactly, whatever the
    /// umask of the process. A directory that the call makes can be listed by those who may read its files.
    pub file_mode: u32,
    /// For `pipeline_snapshot_on_trigger`: milliseconds from one snapshot to the next, at least; at most a hundred years. What is asked for meanwhile
    /// is answered by one snapshot after that time. Default 10000.
    pub min_interval_ms: u64,
    /// For `pipeline_snapshot_on_trigger`: so many snapshots are taken, those that fail included, at least 1. Default 100.
    pub max_snapshots: u64,
}

/// What a snapshot has. The caller sets `struct_size`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_snapshot_t {
    /// `sizeof(pipeline_snapshot_t)` of the caller.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The run whose events it has: the first part of their identities, and of the file's name.
    pub generation: u64,
    /// The number of its file, which is named after the generation, as 16 hexadecimal digits, and this number, as at least 8 decimal ones:
    /// `0123456789abcdef-00000001.journal`.
    pub segment: u64,
    /// Events.
    pub events: u64,
    /// Rings with events.
    pub rings: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Events that are left out because they have `PIPELINE_EVENT_RELEASE`: their payload means nothing outside the process.
    pub left_out: u64,
    /// Bytes of rings that were stored or overwritten while they were copied, and that are left out for that.
    pub passed_bytes: u64,
    /// Bytes of rings that hold no records. It is 0, unless something else in the process has written to the rings' memory.
    pub damaged_bytes: u64,
    /// The earliest time of its events, CLOCK_MONOTONIC in nanoseconds, callers' own times included; 0 without events.
    pub first_ns: u64,
    /// The latest one.
    pub last_ns: u64,
    /// How long the call took, in nanoseconds.
    pub took_ns: u64,
}

// SAFETY: repr(C), plain integers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_snapshot_options_t {
    const NAME: &'static str = "pipeline_snapshot_options_t";
}
// SAFETY: as above.
unsafe impl sized::Sized32 for pipeline_snapshot_t {
    const NAME: &'static str = "pipeline_snapshot_t";
}

fn to_c(o: &Options) -> pipeline_snapshot_options_t {
    pipeline_snapshot_options_t {
        struct_size: size_of::<pipeline_snapshot_options_t>() as u32,
        flags: if o.sync { PIPELINE_SNAPSHOT_SYNC } else { 0 },
        copy_bytes: o.copy_bytes,
        encoding: encoding_number(o.encoding),
        file_mode: o.file_mode,
        min_interval_ms: o.min_interval_ms,
        max_snapshots: o.max_snapshots,
    }
}

/// The options at `options`; NULL: all defaults.
///
/// # Safety
/// `options` is NULL or as its `struct_size` says.
pub(super) unsafe fn read_options(options: *const pipeline_snapshot_options_t) -> Result<Options> {
    if options.is_null() {
        return Ok(Options::default());
    }
    // SAFETY: by contract.
    let (c, _) = unsafe { sized::read(options, to_c(&Options::default()), "options") }?;
    if c.flags & !PIPELINE_SNAPSHOT_SYNC != 0 {
        return Err(refuse("flags", "PIPELINE_SNAPSHOT_SYNC (1)", format_args!("{:#x}", c.flags)));
    }
    Ok(Options {
        copy_bytes: c.copy_bytes,
        encoding: read_encoding(c.encoding).ok_or_else(|| refuse("encoding", "0 to 3", c.encoding))?,
        file_mode: c.file_mode,
        sync: c.flags & PIPELINE_SNAPSHOT_SYNC != 0,
        min_interval_ms: c.min_interval_ms,
        max_snapshots: c.max_snapshots,
    })
}

impl From<&Snapshot> for pipeline_snapshot_t {
    fn from(snapshot: &Snapshot) -> Self {
        let (first_ns, last_ns) = snapshot.times.unwrap_or_default();
        Self {
            struct_size: size_of::<Self>() as u32,
            reserved: 0,
            generation: snapshot.generation,
            segment: snapshot.segment,
            events: snapshot.events,
            rings: snapshot.rings,
            bytes: snapshot.bytes,
            left_out: snapshot.left_out,
            passed_bytes: snapshot.passed_bytes,
            damaged_bytes: snapshot.damaged_bytes,
            first_ns,
            last_ns,
            took_ns: snapshot.took_ns,
        }
    }
}

/// Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_snapshot_options_t)` as `struct_size`. Any
/// thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_snapshot_options_init(
    options: *mut pipeline_snapshot_options_t,
    struct_size: usize,
) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(options, struct_size, &to_c(&Options::default()), "options") })
}

/// Writes what lies in the rings of a pipeline to the directory `dir`, as a journal: a file of its own for each call. `options` may be NULL: all
/// defaults. `out` may be NULL.
///
/// It changes nothing: the events stay in the rings, and are stored or overwritten later as if there had been no snapshot. Captures and writers go on
/// meanwhile. No capture waits for it, and no event is dropped because of it. It takes every event whose capture returned before the call, unless
/// the event is stored or overwritten before it is copied; `passed_bytes` says how much was. Later events may be among them.
///
/// With `PIPELINE_OVERFLOW_DROP_OLDEST` and no writers a pipeline is a flight recorder: it keeps the last events of each thread, as many as
/// `ring_bytes` takes, and this call writes them, as often as wanted. docs/flight_recorder.md describes it. With writers, the call writes the events that are
/// not stored yet.
///
/// The events have their identities (generation, ring, sequence). So several snapshots may go to one directory, and to that of the pipeline's
/// journal: whoever reads it by `pipeline_reader_open`, or by the command `capture-pipeline`, gets each event once. The files are never deleted
/// by the library, unless the directory is also that of a journal with limits.
///
/// A missing directory is made with permissions as `file_mode` says; its parent must be there. If the last part of `dir` is a symbolic link, it is
/// not followed. In a folder that all users may write to, another user's directory is refused. After an error there is no new file.
///
/// A thread of the library does the work, and the call waits for it. Any thread, callbacks included, also after `pipeline_close` and from several threads
/// at once; not a signal handler: let a handler wake a thread that calls it. `out` is written only on success. Errors: `PIPELINE_ERR_NULL`,
/// `_VERSION`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`, `_STORAGE` (the directory or the file cannot be made or written, or the disk is full: the last
/// error names it), `_UNSUPPORTED` (an encoding that this build does not have; a machine with another byte order), `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `dir` is NULL or NUL-terminated; `options` and `out` are NULL or as their `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_snapshot(
    p: *const Pipeline,
    dir: *const c_char,
    options: *const pipeline_snapshot_options_t,
    out: *mut pipeline_snapshot_t,
) -> i32 {
    let _held = FileSignalsHeld::begin();
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            require(dir, "dir")?;
            let dir = Path::new(OsStr::from_bytes(CStr::from_ptr(dir).to_bytes()));
            let options = read_options(options)?;
            if !out.is_null() {
                // Before anything is written.
                sized::check::<pipeline_snapshot_t>(out.cast::<u32>().read_unaligned() as usize)?;
            }
            let snapshot = p.snapshot(dir, &options)?;
            if out.is_null() { Ok(()) } else { sized::write_sized(out, &(&snapshot).into(), "out") }
        })
    }
}

/// Sets where snapshots go that rules ask for (`PIPELINE_RULE_SNAPSHOT`, or the action `snapshot` in a text), or ends that: `dir` NULL. `options` may be
/// NULL: all defaults.
///
/// When an event matches such a rule, a thread of the library takes a snapshot, as `pipeline_snapshot` does; the event that has asked is in it. The capture
/// does not wait for it. At most one is taken in `min_interval_ms`, and `max_snapshots` in all; another call of this function begins the count anew. What is asked
/// for before the first call, or when all are taken, is forgotten. `pipeline_rule_metrics_t.snapshots_asked` counts what rules have asked for.
///
/// A snapshot that fails is logged, and `pipeline_health` says `PIPELINE_HEALTH_SNAPSHOT_FAILED` until one succeeds, or this function is called again.
///
/// The directory is opened, or made, during the call, so that most errors show at once. Any thread, callbacks included; not a signal handler. Errors: those of
/// `pipeline_snapshot`, but for a NULL `dir`; `PIPELINE_ERR_CLOSED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `dir` is NULL or NUL-terminated; `options` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_snapshot_on_trigger(
    p: *mut Pipeline,
    dir: *const c_char,
    options: *const pipeline_snapshot_options_t,
) -> i32 {
    let _held = FileSignalsHeld::begin();
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            let options = read_options(options)?;
            let dir = (!dir.is_null()).then(|| Path::new(OsStr::from_bytes(CStr::from_ptr(dir).to_bytes())));
            p.snapshot_on_trigger(dir, &options)
        })
    }
}
