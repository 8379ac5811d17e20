//! The start of a run's pipeline: the storage is a Rust one, which may panic, or the same by way of C functions, which may end
//! their threads.

use crate::shape::Shape;
use crate::storage::{self, Chaos, DIES, Shared};
use capture_pipeline::batch::spans::SpanBatch;
use capture_pipeline::batch::{BatchView, WriterData};
use capture_pipeline::event::EventView;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::platform::thread;
use capture_pipeline::status::Error;
use capture_pipeline::storage::callback::{CallbackStorage, pipeline_storage_t};
use capture_pipeline::storage::{Abilities, PIPELINE_STORAGE_CONCURRENT, Storage};
use capture_pipeline::transform::Transform;
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
    // Outside its writers (when the pipeline is torn down) it would end a thread of the test, or the supervisor.
    let name = thread::name();
    if name.starts_with(b"cp-") && !name.starts_with(b"cp-pool-") {
        end_thread_or(answer);
    }
}

unsafe extern "C-unwind" fn open_writer(user_data: *mut c_void, id: u32, _: *mut *mut c_void) -> i32 {
    // SAFETY: as above.
    end_thread_or(unsafe { chaos(user_data).answer_open(id) })
}

unsafe extern "C-unwind" fn close_writer(user_data: *mut c_void, id: u32, _: *mut c_void) {
    // SAFETY: as above.
    end_thread_or(unsafe { chaos(user_data).answer_close(id) });
}

unsafe extern "C-unwind" fn finish(user_data: *mut c_void, _timeout_ms: i64) -> i32 {
    // SAFETY: as above.
    end_thread_or(unsafe { chaos(user_data).answer_finish() })
}

unsafe extern "C-unwind" fn destroy(user_data: *mut c_void) {
    // SAFETY: made in `start`; called once.
    drop(unsafe { Box::from_raw(user_data.cast::<Chaos>()) });
}

// ---- the storage that takes spans, whose calls may end their threads ----

struct Ending(Chaos);

// SAFETY: as `Chaos`.
unsafe impl Storage for Ending {
    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
    fn store(&self, batch: &BatchView) -> i32 {
        end_thread_or(self.0.answer_store(batch))
    }
    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        end_thread_or(self.0.answer_store_spans(batch))
    }
    fn open_writer(&self, id: u32) -> Result<WriterData, i32> {
        match end_thread_or(self.0.answer_open(id)) {
            0 => Ok(WriterData::NONE),
            status => Err(status),
        }
    }
    fn close_writer(&self, id: u32, _: WriterData) {
        end_thread_or(self.0.answer_close(id));
    }
    fn flush(&self, _: i64) -> i32 {
        end_thread_or(self.0.answer_flush())
    }
    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        end_thread_or(self.0.answer_dead_letter(batch, reason))
    }
    fn finish(&self, _: i64) -> i32 {
        end_thread_or(self.0.answer_finish())
    }
}

/// A transform for the pipeline of a shape, of the kind of its storage.
pub fn transform(shape: &Shape, shared: &Arc<Shared>) -> Transform {
    storage::transform(shared, shape.by_c, if shape.by_c { end_thread_or } else { storage::survive })
}

/// Starts the pipeline of a shape, with a storage of its kind.
pub fn start(shape: &Shape, shared: &Arc<Shared>) -> Result<Pipeline, Error> {
    let pipeline = start_storage(shape, shared)?;
    if shape.transforms {
        pipeline.set_transform(Some(transform(shape, shared)))?;
    }
    Ok(pipeline)
}

fn start_storage(shape: &Shape, shared: &Arc<Shared>) -> Result<Pipeline, Error> {
    let chaos = Chaos(Arc::clone(shared));
    if !shape.by_c {
        return Pipeline::start(shape.config.clone(), chaos);
    }
    if shape.settings.span_bytes.is_some() {
        return Pipeline::start_plain(shape.config.clone(), Box::new(Ending(chaos)));
    }
    let s = &shape.settings;
    let functions = pipeline_storage_t {
        flags: if s.concurrent { PIPELINE_STORAGE_CONCURRENT } else { 0 },
        user_data: Box::into_raw(Box::new(chaos)).cast(),
        store: Some(store),
        open_writer: Some(open_writer),
        close_writer: Some(close_writer),
        flush: Some(flush),
        dead_letter: s.dead_letter.then_some(dead_letter),
        release: s.release.then_some(release),
        destroy: Some(destroy),
        finish: shared.has_finish().then_some(finish),
        ..pipeline_storage_t::default()
    };
    // SAFETY: the functions above keep to the contract.
    let storage = unsafe { CallbackStorage::new(functions) };
    Pipeline::start_plain(shape.config.clone(), Box::new(storage))
}
