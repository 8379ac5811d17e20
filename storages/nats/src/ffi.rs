//! The C functions of this library: they check and convert. [`<capture_pipeline_nats.h>`](../include/capture_pipeline_nats.h) documents them.

mod options;
mod sized;

use crate::abi::{self, Batch, Storage};
use crate::pipeline::{self, Pending};
use crate::status::{Shared, Status};
use crate::thread::{self, Failure, invalid};
use crate::worker::Job;
pub use options::pipeline_nats_options_t;
use options::{Numbers, Texts, defaults};
use sized::Sized32;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::UnboundedSender;

/// `pipeline_nats_status_t`.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the header documents the fields")]
pub struct pipeline_nats_status_t {
    pub struct_size: u32,
    pub state: u32,
    pub connects: u64,
    pub published: u64,
    pub acknowledged: u64,
    pub duplicates: u64,
    pub refused: u64,
    pub timeouts: u64,
    pub too_large: u64,
    pub pending_messages: u64,
    pub pending_bytes: u64,
    pub max_payload: u64,
    pub duplicate_window_ms: u64,
    pub server: [c_char; 128],
    pub text: [c_char; 1024],
}

// SAFETY: repr(C), plain integers, `struct_size` first.
unsafe impl Sized32 for pipeline_nats_status_t {
    const NAME: &'static str = "pipeline_nats_status_t";
}

/// Runs the body of an exported function: no panic leaves it, and a failure has its explanation in `pipeline_last_error`.
fn guard(body: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        Err((abi::PIPELINE_ERR_INTERNAL, "a panic was caught at the boundary; please report it".to_owned()))
    });
    match result {
        Ok(()) => abi::PIPELINE_OK,
        Err((status, words)) => {
            pipeline::set_last_error(&words);
            status
        }
    }
}

/// Writes every default. See the header.
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_nats_options_init(
    options: *mut pipeline_nats_options_t,
    struct_size: usize,
) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(options, struct_size, &defaults(), "options") })
}

/// Makes the storage. See the header.
///
/// # Safety
/// `options` is NULL or as its `struct_size` says; `out` is NULL or points to `out_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_storage_nats(
    options: *const pipeline_nats_options_t,
    out_size: usize,
    out: *mut Storage,
) -> i32 {
    guard(|| {
        let given = if options.is_null() {
            defaults()
        } else {
            // SAFETY: by contract.
            unsafe { sized::read(options, defaults(), "options") }?
        };
        // SAFETY: the texts are NULL or NUL-terminated, by contract.
        let texts = unsafe { Texts::copy(&given) }?;
        if out.is_null() {
            return Err((abi::PIPELINE_ERR_NULL, "out is NULL".to_owned()));
        }
        // The library checks the size, which is that of its own struct, and writes the defaults: to a copy, because `out` is written only on success.
        // It accepts at most 4096 bytes.
        let mut filled = vec![0u64; 512];
        let storage = filled.as_mut_ptr().cast::<Storage>();
        // SAFETY: see above.
        if unsafe { abi::pipeline_storage_init(storage, out_size) } != abi::PIPELINE_OK {
            return Err((abi::PIPELINE_ERR_VERSION, pipeline::last_error()));
        }
        let status = Arc::new(Shared::default());
        let numbers = Numbers(given);
        // The checks run on the thread, because the caller's stack may be small.
        let jobs =
            thread::start(move || options::read(numbers.get(), texts).map_err(invalid), Arc::clone(&status))?;
        let user_data = Box::into_raw(Box::new(Handle {
            jobs,
            status,
            process: std::process::id(),
            same_library: AtomicBool::new(false),
        }));
        // SAFETY: the vector has room for the struct, and `out` for as many bytes as the library has accepted.
        unsafe {
            (*storage).flags = abi::PIPELINE_STORAGE_CONCURRENT;
            (*storage).user_data = user_data.cast();
            (*storage).store = Some(store);
            (*storage).dead_letter = Some(dead_letter);
            (*storage).destroy = Some(destroy);
            std::ptr::copy_nonoverlapping(storage.cast::<u8>(), out.cast::<u8>(), out_size);
        }
        Ok(())
    })
}

/// Reads the state of a storage. See the header.
///
/// # Safety
/// `storage` is NULL or was filled in by `pipeline_storage_nats` and is not destroyed; `out` is NULL or as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_nats_status(
    storage: *const Storage,
    out: *mut pipeline_nats_status_t,
) -> i32 {
    guard(|| {
        // SAFETY: by contract.
        let storage = unsafe { storage.as_ref() };
        let storage = storage.ok_or_else(|| (abi::PIPELINE_ERR_NULL, "storage is NULL".to_owned()))?;
        let ours: unsafe extern "C" fn(*mut c_void, *const Batch) -> i32 = store;
        if !storage.store.is_some_and(|given| std::ptr::fn_addr_eq(given, ours))
            || storage.user_data.is_null()
        {
            return Err(invalid("storage: it was not made by pipeline_storage_nats"));
        }
        // SAFETY: by contract it is not destroyed.
        let handle = unsafe { &*storage.user_data.cast::<Handle>() };
        if handle.process != std::process::id() {
            return Err((
                abi::PIPELINE_ERR_FORKED,
                "the storage belongs to the parent of this process".to_owned(),
            ));
        }
        // SAFETY: by contract.
        unsafe { sized::write_sized(out, &to_c(&handle.status.read()), "out") }
    })
}

fn to_c(status: &Status) -> pipeline_nats_status_t {
    fn text<const N: usize>(text: &str) -> [c_char; N] {
        let mut out = [0; N];
        let mut end = text.len().min(N - 1);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        for (to, &from) in out.iter_mut().zip(&text.as_bytes()[..end]) {
            *to = from as c_char;
        }
        out
    }
    pipeline_nats_status_t {
        struct_size: size_of::<pipeline_nats_status_t>() as u32,
        state: status.state as u32,
        connects: status.connects,
        published: status.published,
        acknowledged: status.acknowledged,
        duplicates: status.duplicates,
        refused: status.refused,
        timeouts: status.timeouts,
        too_large: status.too_large,
        pending_messages: status.pending_messages,
        pending_bytes: status.pending_bytes,
        max_payload: status.max_payload,
        duplicate_window_ms: status.duplicate_window_ms,
        server: text(&status.server),
        text: text(&status.text),
    }
}

/// What `user_data` points to.
struct Handle {
    jobs: UnboundedSender<Job>,
    status: Arc<Shared>,
    process: u32,
    /// The library that calls is the one that is called.
    same_library: AtomicBool,
}

impl Handle {
    /// Whether the functions that this library calls know the batch. A program that links libcapture_pipeline statically, and this library as a shared one,
    /// has two copies of it, and an answer would never reach the pipeline.
    fn knows(&self, batch: &Pending) -> bool {
        if self.same_library.load(Ordering::Relaxed) {
            return true;
        }
        let knows = batch.is_known();
        if knows {
            self.same_library.store(true, Ordering::Relaxed);
        } else if self.status.read().text != TWO_COPIES {
            pipeline::log(abi::PIPELINE_LOG_ERROR, TWO_COPIES);
            self.status.write(|status| status.text = TWO_COPIES.to_owned());
        }
        knows
    }
}

const TWO_COPIES: &str = "this program has two copies of libcapture_pipeline: its pipelines are in the one that is linked into it, and the storage calls \
    the other. Link both libraries statically, or both dynamically (docs/nats.md)";

// The functions of the storage. SAFETY of all three: the pipeline calls them with the `user_data` from the constructor, and `destroy`
// once, after all others.

unsafe extern "C" fn store(user_data: *mut c_void, batch: *const Batch) -> i32 {
    let sent = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: see above; the batch is valid until its token is completed, which only the thread does, once.
        let (handle, batch) = unsafe { (&*user_data.cast::<Handle>(), Pending::new(batch)) };
        handle.knows(&batch) && handle.jobs.send(Job::Store(batch)).is_ok()
    }));
    if matches!(sent, Ok(true)) { abi::PIPELINE_STORE_PENDING } else { abi::PIPELINE_STORE_RETRY }
}

unsafe extern "C" fn dead_letter(user_data: *mut c_void, batch: *const Batch, _reason: i32) -> i32 {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: see above.
        let (handle, batch) = unsafe { (&*user_data.cast::<Handle>(), &*batch) };
        let _ = handle.jobs.send(Job::Forget((batch.generation, batch.batch_id)));
    }));
    abi::PIPELINE_STORE_REJECT
}

unsafe extern "C" fn destroy(user_data: *mut c_void) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: see above: made by `Box::into_raw`, and not used again.
        let handle = unsafe { Box::from_raw(user_data.cast::<Handle>()) };
        if handle.process == std::process::id() {
            let _ = handle.jobs.send(Job::Stop);
        } else {
            // In a forked child the thread does not exist, and what it held at the fork may be locked.
            std::mem::forget(handle);
        }
    }));
}
