//! The start of a run's pipeline: the storage is a Rust one, which may panic, or the same by way of C functions, which may end
//! their threads.

use crate::shape::Shape;
use crate::storage::{Chaos, DIES, Shared};
use capture_pipeline::batch::BatchView;
use capture_pipeline::event::EventView;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::platform::thread;
use capture_pipeline::status::Error;
use capture_pipeline::storage::PIPELINE_STORAGE_CONCURRENT;
use capture_pipeline::storage::callback::{CallbackStorage, Callbacks};
use std::ffi::c_void;
use std::sync::Arc;

// ---- the storage by way of C functions ----

unsafe fn chaos<'a>(user_data: *mut c_void) -> &'a Chaos {
    // SAFETY: made in `start`, freed by `destroy`.
    unsafe { &*user_data.cast::<Chaos>() }
}

/// From a frame that holds nothing: ends the thread if the storage says so.
fn end_thread_or(answer: i32) -> i32 {
    if answer == DIES {
        // SAFETY: unwinds, or ends, through C-unwind frames that hold nothing.
        unsafe { pthread_exit(std::ptr::null_mut()) }
    }
    answer
}

unsafe extern "C-unwind" {
    fn pthread_exit(value: *mut c_void) -> !;
}

unsafe extern "C-unwind" fn store(user_data: *mut c_void, batch: *const BatchView) -> i32 {
    // SAFETY: as the contract of storages has it.
    end_thread_or(unsafe { chaos(user_data).answer_store(&*batch) })
}

unsafe extern "C-unwind" fn flush(user_data: *mut c_void, _timeout_ms: i64) -> i32 {
    // SAFETY: as above.
    end_thread_or(unsafe { chaos(user_data).answer_flush() })
}

unsafe extern "C-unwind" fn dead_letter(user_data: *mut c_void, batch: *const BatchView, reason: i32) -> i32 {
    // SAFETY: as above.
    end_thread_or(unsafe { chaos(user_data).answer_dead_letter(&*batch, reason) })
}

unsafe extern "C-unwind" fn release(user_data: *mut c_void, event: *const EventView) {
    // SAFETY: as above.
    let answer = unsafe { chaos(user_data).see_released(&*event) };
    // Outside its writers (when the pipeline is torn down) it would end a thread of the test.
    if thread::name().starts_with(b"cp-") {
        end_thread_or(answer);
    }
}

unsafe extern "C-unwind" fn destroy(user_data: *mut c_void) {
    // SAFETY: made in `start`; called once.
    drop(unsafe { Box::from_raw(user_data.cast::<Chaos>()) });
}

/// Starts the pipeline of a shape, with a storage of its kind.
pub fn start(shape: &Shape, shared: &Arc<Shared>) -> Result<Pipeline, Error> {
    let chaos = Chaos(Arc::clone(shared));
    if !shape.by_c {
        return Pipeline::start(shape.config.clone(), chaos);
    }
    let s = &shape.settings;
    let callbacks = Callbacks {
        flags: if s.concurrent { PIPELINE_STORAGE_CONCURRENT } else { 0 },
        user_data: Box::into_raw(Box::new(chaos)).cast(),
        store: Some(store),
        open_writer: None,
        close_writer: None,
        flush: Some(flush),
        dead_letter: s.dead_letter.then_some(dead_letter),
        release: s.release.then_some(release),
        destroy: Some(destroy),
    };
    // SAFETY: the functions above keep to the contract.
    let storage = unsafe { CallbackStorage::new(callbacks) };
    Pipeline::start_plain(shape.config.clone(), Box::new(storage))
}
