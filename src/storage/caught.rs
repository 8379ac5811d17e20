//! A Rust storage whose panics stay in the call in which they arise.

use super::{PIPELINE_STORE_RETRY, Storage, WriterData};
use crate::batch::BatchView;
use crate::event::EventView;
use crate::status::PIPELINE_ERR_STORAGE;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A storage whose calls are caught: `store` and `dead_letter` count as answered with a retry, the others as failed or
/// done.
pub struct Caught<S>(S);

impl<S: Storage> Caught<S> {
    /// Around a storage.
    pub fn new(storage: S) -> Self {
        Self(storage)
    }
}

thread_local! {
    /// Caught calls that have panicked on this thread since that was last asked.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// How many caught calls of the calling thread have panicked since that was last asked.
pub fn take_panics() -> u32 {
    PANICS.replace(0)
}

fn caught<T>(what: &str, instead: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        PANICS.set(PANICS.get().saturating_add(1));
        log::error!("the storage panicked in {what}");
        instead
    })
}

// SAFETY: every call is passed on as it is; the storage within keeps the contract.
unsafe impl<S: Storage> Storage for Caught<S> {
    fn concurrent(&self) -> bool {
        self.0.concurrent()
    }
    fn wants_meta(&self) -> bool {
        self.0.wants_meta()
    }
    fn store(&self, batch: &BatchView) -> i32 {
        caught("store", PIPELINE_STORE_RETRY, || self.0.store(batch))
    }
    fn open_writer(&self, writer_id: u32) -> Result<WriterData, i32> {
        caught("open_writer", Err(PIPELINE_ERR_STORAGE), || self.0.open_writer(writer_id))
    }
    fn close_writer(&self, writer_id: u32, writer_data: WriterData) {
        caught("close_writer", (), || self.0.close_writer(writer_id, writer_data));
    }
    fn has_flush(&self) -> bool {
        self.0.has_flush()
    }
    fn flush(&self, timeout_ms: i64) -> i32 {
        caught("flush", PIPELINE_ERR_STORAGE, || self.0.flush(timeout_ms))
    }
    fn has_dead_letter(&self) -> bool {
        self.0.has_dead_letter()
    }
    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        caught("dead_letter", PIPELINE_STORE_RETRY, || self.0.dead_letter(batch, reason))
    }
    fn has_release(&self) -> bool {
        self.0.has_release()
    }

    fn releases_anywhere(&self) -> bool {
        self.0.releases_anywhere()
    }
    fn release(&self, event: &EventView) {
        caught("release", (), || self.0.release(event));
    }
}
