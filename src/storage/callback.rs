//! A storage that consists of C functions.

use super::{
    Abilities, PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORAGE_META, PIPELINE_STORAGE_RELEASE_ANYWHERE,
    PIPELINE_STORAGE_RELEASE_MARKED, PIPELINE_STORAGE_RELEASE_UNSTORED, PIPELINE_STORE_REJECT,
    PIPELINE_STORE_RETRY, Storage, WriterData,
};
use crate::batch::BatchView;
use crate::event::{EventView, PIPELINE_EVENT_RELEASE};
use std::ffi::c_void;

/// The storage of a pipeline: the functions that receive its events. The library calls them on writer threads, unless a function's
/// description says otherwise, and holds no lock meanwhile. They must not throw, call `longjmp` or end their thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pipeline_storage_t {
    /// `sizeof(pipeline_storage_t)` of the caller.
    pub struct_size: u32,
    /// `PIPELINE_STORAGE_...`, or 0. Without `PIPELINE_STORAGE_CONCURRENT`, calls of `store`, `flush` and `dead_letter` never overlap. A
    /// call of `finish` never overlaps with one of those in any case.
    pub flags: u32,
    /// The first argument of every function below. The library does not use it otherwise.
    pub user_data: *mut c_void,
    /// Stores a batch. Required. It returns `PIPELINE_STORE_...`. Any other value counts as `PIPELINE_STORE_RETRY`, and in `bad_results`.
    /// The batch is valid until the call returns, or, after `PIPELINE_STORE_PENDING`, until its token is completed.
    pub store: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, batch: *const BatchView) -> i32>,
    /// Called when a writer starts, on the writer's thread. The function may set `*writer_data`; it is then in each batch of this writer.
    /// If it returns anything but 0, the writer calls it again later. May be NULL.
    pub open_writer: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            writer_id: u32,
            writer_data: *mut *mut c_void,
        ) -> i32,
    >,
    /// Called when a writer ends, on the writer's thread, if `open_writer` has returned 0. May be NULL.
    pub close_writer:
        Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, writer_id: u32, writer_data: *mut c_void)>,
    /// Makes the stored events durable, within `timeout_ms` milliseconds (-1: no limit). It returns 0, or a negative status, which
    /// `pipeline_flush` returns to its caller. May be NULL.
    pub flush: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, timeout_ms: i64) -> i32>,
    /// Receives events that cannot be stored; `reason` is `PIPELINE_REASON_...`. If it returns 0, the events are kept, and counted as
    /// `dead_lettered`. If it returns `PIPELINE_STORE_REJECT`, they are counted as `discarded`. After any other value it is called again
    /// with the same events, within `retry_limit` and `retry_max_age_ms`. May be NULL: the events are counted as `discarded`.
    pub dead_letter: Option<
        unsafe extern "C-unwind" fn(user_data: *mut c_void, batch: *const BatchView, reason: i32) -> i32,
    >,
    /// Called exactly once for every captured event, when it leaves the pipeline in any way: for payloads that are handles. With
    /// `PIPELINE_STORAGE_RELEASE_MARKED`, it is called only for events that have `PIPELINE_EVENT_RELEASE`. It is called on writer threads
    /// and on the threads that call `destroy`; with `PIPELINE_STORAGE_RELEASE_ANYWHERE` also on threads that capture. With
    /// `PIPELINE_STORAGE_RELEASE_UNSTORED`, it is not called for batches that were stored as a whole. It is not called for recovered events: what
    /// they may have been handles of has gone with their process. May be NULL.
    pub release: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, event: *const EventView)>,
    /// Called exactly once, after all other calls, when the pipeline needs the storage no longer; also if `pipeline_start` fails after it
    /// has accepted the `struct_size`. It is called by `pipeline_start`, by `pipeline_destroy`, or, after `pipeline_abandon`, on a thread of
    /// the library. May be NULL.
    pub destroy: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void)>,
    /// Does the storage's final work that takes long or may fail, such as building indexes or writing a seal. May be NULL. It is taken as
    /// NULL if the caller's `struct_size` ends before it.
    ///
    /// `pipeline_close` lets a writer call it, at most once in the life of a pipeline, when every event is settled. No call of `store`,
    /// `flush`, `dead_letter` and `release` overlaps with it or follows it. `close_writer` of other writers may run meanwhile. It is not
    /// called by `pipeline_destroy` without a close, by `pipeline_abandon`, or at the exit of a process that has not closed the pipeline.
    /// So stored events must be readable without it.
    ///
    /// `timeout_ms` is the time in milliseconds that the caller of `pipeline_close` still waits; -1: no limit. A call that takes longer
    /// goes on in the background. It returns 0 or a negative status; for anything but 0, `pipeline_close` returns `PIPELINE_ERR_STORAGE`.
    pub finish: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, timeout_ms: i64) -> i32>,
}

impl pipeline_storage_t {
    /// Whether it is as a constructor of the library has filled it in, and the program has not changed it.
    pub fn is_as(&self, made: &Self) -> bool {
        // The functions are compared by their addresses: a struct with any other function is one of the program's own.
        let address = |function: Option<*const ()>| function.unwrap_or(std::ptr::null());
        let all = |s: &Self| {
            [
                address(s.store.map(|f| f as *const ())),
                address(s.open_writer.map(|f| f as *const ())),
                address(s.close_writer.map(|f| f as *const ())),
                address(s.flush.map(|f| f as *const ())),
                address(s.dead_letter.map(|f| f as *const ())),
                address(s.release.map(|f| f as *const ())),
                address(s.destroy.map(|f| f as *const ())),
                address(s.finish.map(|f| f as *const ())),
            ]
        };
        all(self) == all(made) && self.flags == made.flags
    }
}

impl Default for pipeline_storage_t {
    /// A storage with nothing set.
    fn default() -> Self {
        // SAFETY: integers, a pointer and nullable functions, for all of which zero is a value.
        Self { struct_size: size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// A storage that consists of C functions. Its `destroy` runs when it is dropped, and therefore exactly once.
pub struct CallbackStorage(pipeline_storage_t, &'static str);

// SAFETY: the functions may be called on any writer thread, and overlap only with PIPELINE_STORAGE_CONCURRENT, by the contract of
// `pipeline_storage_t`; `user_data` is never dereferenced here.
unsafe impl Send for CallbackStorage {}
// SAFETY: as above.
unsafe impl Sync for CallbackStorage {}

impl CallbackStorage {
    /// Takes over the caller's functions.
    ///
    /// # Safety
    /// The functions may be called with `user_data` as `pipeline_storage_t` documents them.
    pub unsafe fn new(functions: pipeline_storage_t) -> Self {
        Self(functions, "custom")
    }

    /// The same under another name in metrics.
    pub fn named(mut self, name: &'static str) -> Self {
        self.1 = name;
        self
    }
}

// Every call below is made from a frame that has nothing to unwind, so that a callback that ends its thread in spite of the contract ends only
// that thread. The destructor of the writer's key then passes its batch on.
//
// SAFETY: the caller of `CallbackStorage::new` has promised functions that keep the contract.
unsafe impl Storage for CallbackStorage {
    fn name(&self) -> &'static str {
        self.1
    }

    fn abilities(&self) -> Abilities {
        let has = |flag: u32| self.0.flags & flag != 0;
        Abilities {
            ordered: false,
            concurrent: has(PIPELINE_STORAGE_CONCURRENT),
            meta: has(PIPELINE_STORAGE_META),
            flush: self.0.flush.is_some(),
            finish: self.0.finish.is_some(),
            dead_letter: self.0.dead_letter.is_some(),
            release: self.0.release.is_some(),
            release_anywhere: self.0.release.is_some() && has(PIPELINE_STORAGE_RELEASE_ANYWHERE),
            release_marked: has(PIPELINE_STORAGE_RELEASE_MARKED),
            release_unstored: has(PIPELINE_STORAGE_RELEASE_UNSTORED),
            span_bytes: None,
            old_facts: false,
            one_run: false,
        }
    }

    fn store(&self, batch: &BatchView) -> i32 {
        // SAFETY: the caller of `new` has promised it.
        self.0.store.map_or(PIPELINE_STORE_RETRY, |store| unsafe { store(self.0.user_data, batch) })
    }

    fn open_writer(&self, writer_id: u32) -> Result<WriterData, i32> {
        let Some(open) = self.0.open_writer else { return Ok(WriterData::NONE) };
        let mut data = std::ptr::null_mut();
        // SAFETY: the caller of `new` has promised it.
        match unsafe { open(self.0.user_data, writer_id, &raw mut data) } {
            0 => Ok(WriterData(data)),
            status => Err(status),
        }
    }

    fn close_writer(&self, writer_id: u32, writer_data: WriterData) {
        if let Some(close) = self.0.close_writer {
            // SAFETY: the caller of `new` has promised it.
            unsafe { close(self.0.user_data, writer_id, writer_data.0) }
        }
    }

    fn flush(&self, timeout_ms: i64) -> i32 {
        // SAFETY: the caller of `new` has promised it.
        self.0.flush.map_or(0, |flush| unsafe { flush(self.0.user_data, timeout_ms) })
    }

    fn finish(&self, timeout_ms: i64) -> i32 {
        // SAFETY: the caller of `new` has promised it.
        self.0.finish.map_or(0, |finish| unsafe { finish(self.0.user_data, timeout_ms) })
    }

    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        // SAFETY: the caller of `new` has promised it.
        self.0.dead_letter.map_or(PIPELINE_STORE_REJECT, |dead_letter| unsafe {
            dead_letter(self.0.user_data, batch, reason)
        })
    }

    fn release(&self, event: &EventView) {
        let only_marked = self.0.flags & PIPELINE_STORAGE_RELEASE_MARKED != 0;
        if only_marked && event.flags & PIPELINE_EVENT_RELEASE == 0 {
            return;
        }
        if let Some(release) = self.0.release {
            // SAFETY: the caller of `new` has promised it.
            unsafe { release(self.0.user_data, event) }
        }
    }
}

impl Drop for CallbackStorage {
    fn drop(&mut self) {
        if let Some(destroy) = self.0.destroy {
            // SAFETY: the caller of `new` has promised it, and a storage is dropped once.
            unsafe { destroy(self.0.user_data) }
        }
    }
}
