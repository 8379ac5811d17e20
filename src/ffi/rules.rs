//! Rules for C: as data, as text and from a file; their counts.

mod read;
mod structs;

use super::guard::{Text, guard, guard_pipeline, guard_pipeline_new, require};
use super::sized;
use crate::manager::{Pipeline, RuleMetrics};
use crate::rules::{Fault, MAX_TEXT, parse, read_file};
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, Result};
use read::invalid;
use std::ffi::{CStr, OsStr, c_char};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
pub use structs::*;

// SAFETY: repr(C), plain integers and pointers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_rule_t {
    const NAME: &'static str = "pipeline_rule_t";
}
// SAFETY: repr(C), plain integers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_rule_metrics_t {
    const NAME: &'static str = "pipeline_rule_metrics_t";
}

/// cbindgen:ignore
/// A pointer of the caller that another thread reads during the call.
#[derive(Clone, Copy)]
struct Lent<T>(*const T);

// SAFETY: the caller's memory does not change during the call.
unsafe impl<T> Send for Lent<T> {}

impl<T> Lent<T> {
    // (A method, so that a closure captures the whole.)
    fn get(self) -> *const T {
        self.0
    }
}

/// Writes every default to `rule` and sets its `struct_size`. Pass `sizeof(pipeline_rule_t)` as `struct_size`. Any thread. Errors:
/// `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `rule` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_rule_init(rule: *mut pipeline_rule_t, struct_size: usize) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(rule, struct_size, &DEFAULTS, "rule") })
}

/// Sets the rules of a pipeline, in place of those before. From then on each offered event is judged by them before it is captured: a rule may keep it, drop
/// it, sample it, limit its rate, make it a priority event, tag it, or redact a part of its payload. Rules are applied in their order. An event that a
/// rule drops is counted as `dropped_rule`, and its capture returns `PIPELINE_DROPPED_BY_RULE`. `count` 0 ends all rules. See `docs/rules.md`.
///
/// The rules lie in an array. All have the same `struct_size`, and each begins `struct_size` bytes after the one before it. At most 10,000 rules are allowed, with
/// 262,144 ids in all their sets together. `flags` is `PIPELINE_RULES_DRY` or 0.
///
/// The set is refused as a whole, or takes effect as a whole: for captures that begin after the call; others may still follow the former rules. It waits for no
/// capture. A rule that names a kind or a field that is not known yet is accepted, and takes effect when `pipeline_kind_define` or `pipeline_kind_name`
/// makes it known. Counts begin at 0.
///
/// Everything that the rules point to is copied during the call. Any thread, callbacks included; not a signal handler. Errors:
/// `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID` (`pipeline_last_error` names the rule and what is wrong); `_LIMIT`; `_BUSY` (64 former sets are still
/// read by captures that were interrupted: try again); `_NO_MEMORY`; `_SYSTEM`; `_CLOSED`; `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `rules` is NULL or has `count` rules, each as its `struct_size` says; texts are NULL or NUL-terminated; sets have the number of
/// values that is given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_rules_set(
    p: *mut Pipeline,
    rules: *const pipeline_rule_t,
    count: usize,
    flags: u32,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            let dry = check_flags(flags)?;
            let rules = Lent(rules);
            p.set_rules(move || read::rules(rules.get(), count), dry)
        })
    }
}

/// Sets the rules of a pipeline, as `pipeline_rules_set` does, from a text with one rule a line: `errors: keep trace if status = "error"`, for example. The name and the condition
/// may be missing. A line that begins with white space goes on with the rule before it, and `#` begins a comment.
///
/// The actions are `keep`, `keep trace`, `drop`, `sample 1/N`, `limit N/s`, `priority`, `snapshot`, `tag N` and `redact FIELD`. The conditions are those of
/// `capture-pipeline cat --where`. `docs/rules.md` has the grammar. At most 4 MiB of text.
///
/// Threads, limits and errors as for `pipeline_rules_set`; for `PIPELINE_ERR_INVALID`, `pipeline_last_error` names the line, the column, the rule and what is
/// expected. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `text` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_rules_set_text(p: *mut Pipeline, text: *const c_char, flags: u32) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            let dry = check_flags(flags)?;
            require(text, "text")?;
            // SAFETY: NUL-terminated, by contract.
            let text = CStr::from_ptr(text).to_bytes();
            if text.len() > MAX_TEXT {
                let why = format!("text: at most {MAX_TEXT} bytes allowed, {} given", text.len());
                return Err(Error::new(PIPELINE_ERR_LIMIT, why));
            }
            let text = std::str::from_utf8(text).map_err(|error| {
                let why = format!("text: UTF-8 expected, byte {} is not", error.valid_up_to());
                Error::new(PIPELINE_ERR_INVALID, why)
            })?;
            p.set_rules(|| parse(text).map_err(invalid), dry)
        })
    }
}

/// Sets the rules of a pipeline, as `pipeline_rules_set_text` does, from the text in a file. Call it again when the file has changed: the library does not watch
/// it. If anything is wrong, the rules before stay in force.
///
/// The file must be a regular one, at most 4 MiB; a symbolic link is followed. The calling thread waits while it is read.
///
/// Threads and limits as for `pipeline_rules_set`. Errors: those of `pipeline_rules_set_text`; `PIPELINE_ERR_INVALID` if it is no regular file or not in UTF-8,
/// `_LIMIT` if it is too large, `_SYSTEM` if it cannot be read. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `path` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_rules_load(p: *mut Pipeline, path: *const c_char, flags: u32) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            let dry = check_flags(flags)?;
            require(path, "path")?;
            // SAFETY: NUL-terminated, by contract.
            let path = Path::new(OsStr::from_bytes(CStr::from_ptr(path).to_bytes()));
            let in_file =
                |fault: Fault| Error::new(PIPELINE_ERR_INVALID, format!("{}: {fault}", path.display()));
            p.set_rules(|| parse(&read_file(path)?).map_err(in_file), dry)
        })
    }
}

/// Ends all rules, as `pipeline_rules_set` with a `count` of 0 does. Threads and errors as there; a closed pipeline is no error. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_rules_clear(p: *mut Pipeline) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline_new(p, Pipeline::clear_rules) }
}

/// Writes the number of rules in force to `*count`: 0 if there are none. Any thread, callbacks included; also on a closed pipeline.
/// Errors: `PIPELINE_ERR_NULL`, `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `count` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_rule_count(p: *const Pipeline, count: *mut u32) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline(p, |p| {
            require(count, "count")?;
            // SAFETY: not NULL, writable by contract.
            count.write(p.rule_count() as u32);
            Ok(())
        })
    }
}

/// Writes what is known of the rule with this index, 0 being the first, to `out`, whose `struct_size` the caller has set. Counts of an event may be seen shortly
/// after its capture. If the rules are replaced meanwhile, the index is that of a rule of the new set.
///
/// Any thread, callbacks included; also on a closed pipeline. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_NOT_FOUND`, `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `out` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_rule_metrics(
    p: *const Pipeline,
    index: u32,
    out: *mut pipeline_rule_metrics_t,
) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            require(out, "out")?;
            let found = p.rule_metrics(index as usize)?;
            // SAFETY: as its struct_size says, by contract.
            sized::write_sized(out, &metrics(&found), "out")
        })
    }
}

fn check_flags(flags: u32) -> Result<bool> {
    if flags & !PIPELINE_RULES_DRY != 0 {
        let text = format!("flags: PIPELINE_RULES_DRY ({PIPELINE_RULES_DRY}) or 0 allowed, {flags} given");
        return Err(Error::new(PIPELINE_ERR_INVALID, text));
    }
    Ok(flags & PIPELINE_RULES_DRY != 0)
}

fn metrics(found: &RuleMetrics) -> pipeline_rule_metrics_t {
    let counts = found.counts;
    pipeline_rule_metrics_t {
        struct_size: size_of::<pipeline_rule_metrics_t>() as u32,
        line: found.line,
        active: found.waits_for.is_none().into(),
        dry: found.dry.into(),
        matched: counts.matched,
        dropped: match (found.dry, found.drops) {
            (true, _) => 0,
            (false, true) => counts.matched,
            (false, false) => counts.limited,
        },
        limited: counts.limited,
        sampled_out: counts.sampled_out,
        name: characters(&found.name),
        waits_for: characters(found.waits_for.as_deref().unwrap_or("")),
        snapshots_asked: if found.asks && !found.dry { counts.matched } else { 0 },
    }
}

fn characters<const N: usize>(text: &str) -> [c_char; N] {
    let mut bytes = [0; N];
    // (Cut if it is too long.)
    let _ = Text { buffer: &mut bytes, used: 0 }.write_str(text);
    bytes.map(|byte| byte as c_char)
}
