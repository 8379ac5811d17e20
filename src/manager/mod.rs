//! PipelineManager: what a program holds of a pipeline, and how a thread finds its ring buffer.
//!
//! [`process`] knows the pipelines of this process (for the exit handler and for threads that end), [`lane`] is the way from a
//! thread to its producer.

mod lane;
mod process;

use crate::config::Config;
use crate::platform::{barrier, thread};
use crate::pool::Pool;
pub use crate::pool::figures::{Metrics, WriterMetrics};
pub use crate::pool::health::Health;
use crate::ring::producer::Offer;
pub use crate::ring::producer::Producer;
use crate::ring::rings::Rings;
use crate::status::{Error, PIPELINE_ERR_BUSY, PIPELINE_ERR_WOULD_DEADLOCK, Result};
use crate::storage::Storage;
use crate::storage::caught::Caught;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

/// A running pipeline.
pub struct Pipeline {
    /// Given up by hand: in a forked child, where the counts of references are the parent's, it is not dropped.
    pool: ManuallyDrop<Arc<Pool>>,
    /// The pool's id, where a capture has it at hand.
    id: u64,
}

impl Pipeline {
    /// Starts a pipeline. The storage is the pipeline's from here on: it is dropped exactly once, also if the start fails. A call in
    /// which it panics counts as answered with a retry.
    pub fn start(config: Config, storage: impl Storage + 'static) -> Result<Self> {
        Self::start_plain(config, Box::new(Caught::new(storage)))
    }

    /// The same for a storage whose calls are not to be caught: one made of C functions, which may end their thread.
    pub fn start_plain(config: Config, storage: Box<dyn Storage>) -> Result<Self> {
        let process = process::this()?;
        let alive = crate::platform::process::alive().ok_or_else(Pool::no_memory)?;
        thread::on_end(process::thread_ended)?;
        let (id, asymmetric) = (process::next_id(), barrier::register());
        let pool = Pool::start(config, storage, id, alive, asymmetric, |pool| process.add(pool))?;
        log::debug!("pipeline {} started", pool.name);
        Ok(Self { pool: ManuallyDrop::new(pool), id })
    }

    /// Whether this is a child of the process that started the pipeline.
    #[inline(always)]
    pub fn forked(&self) -> bool {
        self.pool.front().forked()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.pool.name
    }

    // ---- capture ----

    /// Captures an event into the calling thread's ring buffer.
    ///
    /// # Safety
    /// `offer.data` points to `offer.len` readable bytes, or is NULL.
    #[inline(always)]
    pub unsafe fn capture(&self, offer: &Offer) -> i32 {
        match self.producer() {
            // SAFETY: passed on.
            Some(producer) => unsafe { producer.capture(offer) },
            // SAFETY: passed on.
            None => unsafe { lane::first(&self.pool.rings, offer) },
        }
    }

    /// The calling thread's producer, if it has one.
    #[inline(always)]
    pub fn producer(&self) -> Option<&Producer> {
        lane::find(self.id)
    }

    /// The largest payload.
    pub fn max_event_bytes(&self) -> usize {
        self.pool.front().max_event_bytes
    }

    /// Counts an offer whose arguments could not even be read.
    pub fn count_invalid(&self) {
        self.pool.rings.shared().count_invalid();
    }

    /// A producer that its caller holds. To be given to [`Producer::close`].
    pub fn open_producer(&self) -> Result<*mut Producer> {
        let producer = std::ptr::from_ref(self.pool.rings.attach_handle()?).cast_mut();
        // The handle's own reference to the rings; `Producer::close` gives it back.
        let _ = Arc::into_raw(Arc::clone(&self.pool.rings));
        Ok(producer)
    }

    /// Tells the storage the name of a kind.
    pub fn kind_name(&self, kind: u32, name: &[u8]) -> Result<()> {
        Rings::check_kind(kind)?;
        self.pool.check_running()?;
        self.pool.rings.tell_kind(kind, name)
    }

    // ---- control ----

    /// Sets the number of writers.
    pub fn scale(&self, writers: u32) -> Result<()> {
        self.pool.scale(writers)
    }

    /// Waits until every event captured before is settled.
    pub fn flush(&self, timeout: Option<Duration>) -> Result<()> {
        self.pool.flush(timeout)
    }

    /// Stops claiming.
    pub fn pause(&self) -> Result<()> {
        self.pool.set_paused(true)
    }

    /// Goes on.
    pub fn resume(&self) -> Result<()> {
        self.pool.set_paused(false)
    }

    /// The running configuration.
    pub fn config(&self) -> Config {
        self.pool.config()
    }

    /// Changes it.
    pub fn update(&self, config: Config) -> Result<()> {
        self.pool.update(config)
    }

    /// All figures.
    pub fn metrics(&self) -> Metrics {
        self.pool.metrics()
    }

    /// The figures of one writer.
    pub fn writer_metrics(&self, index: u32) -> Result<WriterMetrics> {
        self.pool.writer_metrics(index)
    }

    /// How it fares.
    pub fn health(&self) -> Health {
        self.pool.health()
    }

    // ---- the end ----

    /// Refuses new events, drains, ends the writers.
    pub fn close(&self, timeout: Option<Duration>) -> Result<()> {
        self.pool.close(timeout)
    }

    /// Ends it, if nothing of it runs; otherwise tells it to stop, and answers `PIPELINE_ERR_BUSY`.
    pub fn destroy(&self) -> Result<()> {
        if self.forked() {
            // SAFETY: in a forked child nobody else uses the parent's pipeline.
            unsafe { self.pool.rings.unmap() };
            return Ok(());
        }
        if thread::works_for() == self.pool.id {
            return Err(Error::new(
                PIPELINE_ERR_WOULD_DEADLOCK,
                format!("pipeline_destroy: called on a thread of pipeline {} itself", self.pool.name),
            ));
        }
        self.pool.rings.shut(|| false);
        self.pool.stop();
        // A capture that was let in before must be published first, or its event would be released by nobody.
        if self.pool.rings.any_capturing() || !self.pool.tear_down_if_at_rest() {
            return Err(Error::new(
                PIPELINE_ERR_BUSY,
                format!(
                    "pipeline {}: a writer has not ended, a token is out or a capture is under way",
                    self.pool.name
                ),
            ));
        }
        Ok(())
    }

    /// Whether the calling thread is in the storage's `release` or `destroy`, called by this pipeline's end: then somebody is
    /// about to free it.
    pub fn check_not_ending_here(&self) -> Result<()> {
        if !self.forked() && self.pool.is_torn_down_here() {
            return Err(Error::new(
                PIPELINE_ERR_WOULD_DEADLOCK,
                format!("pipeline_abandon: called while pipeline {} is being destroyed", self.pool.name),
            ));
        }
        Ok(())
    }

    /// Lets go at once: whatever ends last frees everything.
    pub fn abandon(self) {
        if self.forked() {
            // SAFETY: in a forked child nobody else uses the parent's pipeline.
            unsafe { self.pool.rings.unmap() };
            return;
        }
        self.pool.abandon();
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.forked() {
            return;
        }
        // Not destroyed, not abandoned: let go. (After either this does nothing more.)
        self.pool.abandon();
        // SAFETY: dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.pool) };
    }
}
