//! Transforms: the program's function that filters or rewrites events before the storage gets them.

use super::guard::{guard, guard_pipeline_new};
use super::sized;
use crate::event::EventView;
use crate::manager::Pipeline;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_NULL, PIPELINE_OK, Result};
use crate::transform::{Rewrite, Transform};
use std::ffi::c_void;

/// A function that sees each event before the storage does, and may filter or rewrite it: see `pipeline_transform`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pipeline_transform_t {
    /// `sizeof(pipeline_transform_t)` of the caller.
    pub struct_size: u32,
    /// Must be 0.
    pub flags: u32,
    /// The first argument of both functions. The library does not use it otherwise.
    pub user_data: *mut c_void,
    /// Called with each event. Required. It returns `PIPELINE_TRANSFORM_...`. `event` is what was captured; it is valid during the call.
    /// `rewrite` is the same event, to be changed for `PIPELINE_TRANSFORM_REWRITE`. If the function returns any other value, or sets what no
    /// event may have, the event stays as it is, `pipeline_metrics_t.transform_faults` counts it, and `pipeline_health` says what was wrong.
    pub transform: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            event: *const EventView,
            rewrite: *mut Rewrite,
        ) -> i32,
    >,
    /// Called exactly once, after all calls of `transform`, when the library needs the transform no longer, because it was replaced or the
    /// pipeline ends; also if `pipeline_transform` fails after it has accepted the `struct_size`. It is called by `pipeline_transform`, on a
    /// writer's thread, or by what ends the pipeline. May be NULL.
    pub destroy: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void)>,
}

impl Default for pipeline_transform_t {
    /// A transform with nothing set.
    fn default() -> Self {
        let struct_size = size_of::<Self>() as u32;
        Self { struct_size, flags: 0, user_data: std::ptr::null_mut(), transform: None, destroy: None }
    }
}

// SAFETY: repr(C), plain integers and nullable pointers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_transform_t {
    const NAME: &'static str = "pipeline_transform_t";
}

/// The caller's functions. `destroy` runs when they are dropped, and therefore exactly once.
struct Functions(pipeline_transform_t);

impl Functions {
    fn user_data(&self) -> *mut c_void {
        self.0.user_data
    }
}

// SAFETY: the program promises that the functions may be called on any thread, and at the same time where the storage is concurrent.
unsafe impl Send for Functions {}
// SAFETY: as above.
unsafe impl Sync for Functions {}

impl Drop for Functions {
    fn drop(&mut self) {
        if let Some(destroy) = self.0.destroy {
            // SAFETY: the program's promise; dropped once.
            unsafe { destroy(self.0.user_data) }
        }
    }
}

/// Sets every member of `transform` to its default (NULL or 0), and `struct_size` to the caller's. Pass `sizeof(pipeline_transform_t)` as
/// `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `transform` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_transform_init(
    transform: *mut pipeline_transform_t,
    struct_size: usize,
) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(transform, struct_size, &pipeline_transform_t::default(), "transform") })
}

/// Sets the transform of a pipeline: a function that a writer calls with each event of a batch, once, before the batch first goes to the
/// storage. `transform` is copied. NULL: there is none any more. A pipeline has one transform at most; a new one takes the place of
/// the former. It applies to the batches that are claimed from then on; a batch that was claimed before keeps the one that it has.
///
/// The function lets an event pass (`PIPELINE_TRANSFORM_KEEP`), filters it (`PIPELINE_TRANSFORM_FILTER`: the event counts as `filtered`), or
/// changes its kind, its ids, its tags or its payload (`PIPELINE_TRANSFORM_REWRITE`). The storage, and its `dead_letter`, see what the function has made
/// of the batch: `pipeline_batch_set_stored` and `pipeline_batch_set_rejected` count in that. A batch of which nothing is left does not go
/// to the storage. An event keeps its identity and its time. `release` sees every event as it was captured. A rewritten event with a
/// new payload does not have `PIPELINE_EVENT_RELEASE`. The library's own events are not shown to the function.
///
/// The payloads that the function sets for a batch may have `batch_bytes` in all (or `max_event_bytes`, if that is more). If another could
/// make them more, the batch is cut: the storage gets the events before, and when they have left the pipeline, the function is called with
/// the others. Both parts have the same `batch_id`, and the `attempt` of each begins at 1.
///
/// The function is called on writer threads; with `PIPELINE_STORAGE_CONCURRENT` on several at a time, else never beside `store`, `flush` or
/// `dead_letter`. Its calls for a batch are together held to `storage_deadline_ms`, as a call of the storage is. It may call this library,
/// except what waits for the pipeline (`PIPELINE_ERR_WOULD_DEADLOCK`); a capture in it never blocks. It must not throw or call
/// `longjmp`. If it ends its thread, the event stays as it was, and another writer goes on with the next event.
///
/// While a pipeline has a transform, `pipeline_batch_exchange` returns no next batch, and a journal copies every event into its blocks.
///
/// The pipeline owns the transform as soon as it has accepted its `struct_size`: from then on `destroy` runs exactly once, also if the
/// call fails. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL` (the pipeline or `transform->transform` is NULL); `_VERSION`;
/// `_INVALID` (`flags` is not 0); `_CLOSED`; `_FORKED`; `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `transform` is NULL or as its `struct_size` says; its functions may be called as documented.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_transform(p: *mut Pipeline, transform: *const pipeline_transform_t) -> i32 {
    let mut owned = None;
    let taken = guard(|| {
        if !transform.is_null() {
            // SAFETY: by contract.
            let read = unsafe { sized::read(transform, pipeline_transform_t::default(), "transform") };
            owned = Some(Functions(read?.0));
        }
        Ok(())
    });
    if taken != PIPELINE_OK {
        return taken;
    }
    // SAFETY: by contract.
    unsafe { guard_pipeline_new(p, move |p| p.set_transform(owned.map(checked).transpose()?)) }
}

/// The transform that consists of these functions.
fn checked(functions: Functions) -> Result<Transform> {
    let Some(transform) = functions.0.transform else {
        return Err(Error::new(PIPELINE_ERR_NULL, "pipeline_transform_t.transform is NULL"));
    };
    if functions.0.flags != 0 {
        let text = format!("pipeline_transform_t.flags: 0 allowed, {:#x} given", functions.0.flags);
        return Err(Error::new(PIPELINE_ERR_INVALID, text));
    }
    Ok(Transform::plain(Box::new(move |event, rewrite| {
        // SAFETY: the program's promise.
        Some(unsafe { transform(functions.user_data(), event, rewrite) })
    })))
}
