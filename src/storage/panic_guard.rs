//! Catches the panics of a storage written in Rust.

use super::{Abilities, PIPELINE_STORE_RETRY, Source, Storage, WriterData};
use crate::batch::BatchView;
use crate::batch::spans::SpanBatch;
use crate::event::EventView;
use crate::status::PIPELINE_ERR_STORAGE;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A storage whose panics are caught. A call of `store` or `dead_letter` that panics answers with a retry, `open_writer`, `flush` and `finish`
/// fail, and the others return.
pub struct PanicGuard<S>(ManuallyDrop<S>);

impl<S: Storage> PanicGuard<S> {
    /// Guards a storage.
    pub fn new(storage: S) -> Self {
        Self(ManuallyDrop::new(storage))
    }
}

impl<S> Drop for PanicGuard<S> {
    fn drop(&mut self) {
        // SAFETY: the storage is dropped only here, and not used afterwards.
        let _ = catch_unwind(AssertUnwindSafe(|| unsafe { ManuallyDrop::drop(&mut self.0) }))
            .inspect_err(|_| log::error!("the storage panicked while it was dropped"));
    }
}

thread_local! {
    /// Caught panics of this thread since the last [`take_panics`].
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// The number of caught panics of the calling thread since the last call.
pub fn take_panics() -> u32 {
    PANICS.replace(0)
}

fn guard<T>(function: &str, on_panic: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        PANICS.set(PANICS.get().saturating_add(1));
        log::error!("the storage panicked in {function}");
        on_panic
    })
}

// SAFETY: every call is passed on to a storage that keeps the contract.
unsafe impl<S: Storage> Storage for PanicGuard<S> {
    fn name(&self) -> &'static str {
        guard("name", "custom", || self.0.name())
    }
    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
    fn takes_facts(&self) -> bool {
        self.0.takes_facts()
    }
    fn attach(&self, source: &Arc<dyn Source>) {
        guard("attach", (), || self.0.attach(source));
        // (No writer makes this call, and the calling thread may be one of another pipeline.)
        take_panics();
    }
    fn store(&self, batch: &BatchView) -> i32 {
        guard("store", PIPELINE_STORE_RETRY, || self.0.store(batch))
    }
    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        guard("store_spans", PIPELINE_STORE_RETRY, || self.0.store_spans(batch))
    }
    fn open_writer(&self, writer_id: u32) -> Result<WriterData, i32> {
        guard("open_writer", Err(PIPELINE_ERR_STORAGE), || self.0.open_writer(writer_id))
    }
    fn close_writer(&self, writer_id: u32, writer_data: WriterData) {
        guard("close_writer", (), || self.0.close_writer(writer_id, writer_data));
    }
    fn flush(&self, timeout_ms: i64) -> i32 {
        guard("flush", PIPELINE_ERR_STORAGE, || self.0.flush(timeout_ms))
    }
    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        guard("dead_letter", PIPELINE_STORE_RETRY, || self.0.dead_letter(batch, reason))
    }
    fn finish(&self, timeout_ms: i64) -> i32 {
        guard("finish", PIPELINE_ERR_STORAGE, || self.0.finish(timeout_ms))
    }
    fn release(&self, event: &EventView) {
        guard("release", (), || self.0.release(event));
    }
}
