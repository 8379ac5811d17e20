//! PipelineManager: a pipeline as a program holds it.
//!
//! `process` knows the pipelines of this process, for the exit handler and for threads that end. `ring_files` are what runs that have ended have left. `thread_cache` finds the producer of
//! the calling thread.

mod process;
mod ring_files;

pub use crate::capture::Producer;
use crate::capture::registry::Registry;
use crate::capture::{Offer, thread_cache};
use crate::config::Config;
use crate::kinds::Definition;
pub use crate::metrics::{Figures, Health, Metrics, WriterMetrics};
use crate::platform::{barrier, thread};
use crate::pool::Pool;
use crate::pool::recovery::OldRuns;
pub use crate::pool::rules::RuleMetrics;
pub use crate::pool::state::pressure_watch::Watcher;
use crate::rules::Rule;
use crate::snapshot::{self, Snapshot};
use crate::status::{Error, PIPELINE_ERR_BUSY, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_WOULD_DEADLOCK, Result};
use crate::storage::Storage;
use crate::storage::panic_guard::PanicGuard;
use crate::transform::Transform;
use ring_files::RingFiles;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A running pipeline.
pub struct Pipeline {
    /// Dropped by hand, because a forked child must not drop it: there the counts of references are the parent's.
    pool: ManuallyDrop<Arc<Pool>>,
    /// The pool's id, kept here so that a capture need not read the pool.
    id: u64,
}

impl Pipeline {
    /// Starts a pipeline. From here on the pipeline owns the storage, and drops it exactly once, even if the start fails. A call in which
    /// the storage panics counts as a retry.
    pub fn start(config: Config, storage: impl Storage + 'static) -> Result<Self> {
        Self::start_plain(config, Box::new(PanicGuard::new(storage)))
    }

    /// The same for a storage whose panics are not caught, because it consists of C functions, which may end their thread.
    pub fn start_plain(config: Config, storage: Box<dyn Storage>) -> Result<Self> {
        let process = process::this()?;
        let alive = crate::platform::process::alive().ok_or_else(Pool::no_memory)?;
        thread::on_end(process::thread_ended)?;
        let (id, asymmetric) = (process::next_id(), barrier::register());
        let ring_dir = config.ring_dir.clone();
        let pool = Pool::start(config, storage, id, alive, asymmetric, |pool| process.add(pool))?;
        log::debug!("pipeline {} started", pool.name);
        if let Some(directory) = &ring_dir {
            Self::recover_from(&pool, Path::new(directory));
        }
        Ok(Self { pool: ManuallyDrop::new(pool), id })
    }

    /// Whether this is a child of the process that started the pipeline.
    #[inline(always)]
    pub fn forked(&self) -> bool {
        self.pool.intake().forked()
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
            None => unsafe { thread_cache::first(&self.pool.rings, offer) },
        }
    }

    /// The calling thread's producer, if it has one.
    #[inline(always)]
    pub fn producer(&self) -> Option<&Producer> {
        thread_cache::find(self.id)
    }

    /// The largest payload.
    pub fn max_event_bytes(&self) -> usize {
        self.pool.intake().max_event_bytes
    }

    /// The largest payload that goes to a priority ring. `None`: there are no such rings.
    pub fn max_priority_bytes(&self) -> Option<usize> {
        self.pool.intake().priority.max_bytes
    }

    /// Counts an offer whose arguments cannot be read.
    pub fn count_invalid(&self) {
        self.pool.rings.shared().count_invalid();
    }

    /// A producer that its caller holds, and closes by [`Producer::close`].
    pub fn open_producer(&self) -> Result<*mut Producer> {
        // The end of a thread that captures only through its producer must be known as well: what it captures without the
        // producer after that would get it a ring that is never given back.
        if !thread::ended() && !thread::arm_end() {
            return Err(Error::new(PIPELINE_ERR_NO_MEMORY, "no memory to learn of the end of this thread"));
        }
        let producer = std::ptr::from_ref(self.pool.rings.attach_handle()?).cast_mut();
        // The handle's own reference to the rings; `Producer::close` gives it back.
        let _ = Arc::into_raw(Arc::clone(&self.pool.rings));
        Ok(producer)
    }

    /// Gives a kind a name, for the storage.
    pub fn kind_name(&self, kind: u32, name: &[u8]) -> Result<()> {
        Registry::check_kind(kind)?;
        self.pool.check_running()?;
        Self::with_stack(|large| self.pool.name_kind(kind, name, large))
    }

    /// Sets an attribute of all events, such as the host or the version.
    pub fn attribute(&self, name: &str, value: &str) -> Result<()> {
        self.pool.check_running()?;
        self.pool.set_attribute(name, value)
    }

    /// Defines a kind: the fields of its payload, for the storage. It also gives the kind its name.
    pub fn define_kind(&self, definition: Definition) -> Result<()> {
        self.pool.check_running()?;
        Self::with_stack(|large| self.pool.define_kind(&definition, large))
    }

    /// Does something on this stack or, if that is not done there, on a large one.
    fn with_stack(act: impl Fn(bool) -> Result<bool> + Sync) -> Result<()> {
        if !act(false)? {
            thread::on_own_stack("cp-rules", || act(true))??;
        }
        Ok(())
    }

    // ---- rules ----

    /// Puts the list of rules that `read` gives in force in place of the one before; an empty one ends all rules. `dry`: they only count. `read` is called
    /// on a thread with a large stack.
    pub fn set_rules(&self, read: impl FnOnce() -> Result<Vec<Rule>> + Send, dry: bool) -> Result<()> {
        self.pool.check_running()?;
        thread::on_own_stack("cp-rules", || self.pool.set_rules(read()?, dry))?
    }

    /// Ends all rules.
    pub fn clear_rules(&self) -> Result<()> {
        self.pool.set_rules(Vec::new(), false)
    }

    /// How many rules there are.
    pub fn rule_count(&self) -> usize {
        self.pool.rule_count()
    }

    /// What is known of a rule, the first being 0.
    pub fn rule_metrics(&self, index: usize) -> Result<RuleMetrics> {
        self.pool.rule_metrics(index)
    }

    // ---- recovery ----

    /// Begins to deliver what runs that have ended have left in this directory. What is in the way of it is told by health; the pipeline works without.
    fn recover_from(pool: &Arc<Pool>, directory: &Path) {
        let found = RingFiles::new(directory, pool.generation, pool.keeps_one_run());
        let begun = found.and_then(|files| files.map_or(Ok(()), |files| pool.recover(Box::new(files))));
        if let Err(error) = begun {
            pool.cannot_recover(&error);
        }
    }

    /// Delivers to its storage what a source has of runs that have ended, in the background.
    pub fn recover(&self, source: Box<dyn OldRuns>) -> Result<()> {
        self.pool.recover(source)
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

    /// Ends the pause.
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

    /// All figures of one moment: the metrics, those of the writers, and the health without words.
    pub fn figures(&self) -> Result<Figures> {
        self.pool.figures()
    }

    /// Its id, which no other pipeline of this process ever has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What its storage is called in metrics.
    pub fn storage_name(&self) -> &'static str {
        self.pool.storage_name
    }

    /// The figures of one writer.
    pub fn writer_metrics(&self, index: u32) -> Result<WriterMetrics> {
        self.pool.writer_metrics(index)
    }

    /// Its health.
    pub fn health(&self) -> Health {
        self.pool.health()
    }

    /// How urgently it needs relief, 0 to 100; 0 in a forked child.
    pub fn pressure(&self) -> u32 {
        if self.forked() { 0 } else { self.pool.intake().pressure.percent() }
    }

    /// Sets the function that is told when the pressure rises to a threshold or falls to another, or none.
    pub fn watch_pressure(&self, watcher: Option<Watcher>) -> Result<()> {
        self.pool.watch_pressure(watcher)
    }

    /// Sets the transform of the batches that are claimed from now on, or none. A former one is dropped when no call of it runs.
    pub fn set_transform(&self, transform: Option<Transform>) -> Result<()> {
        self.pool.set_transform(transform.map(Arc::new))
    }

    /// Writes what lies in the ring buffers to the directory `dir` as a journal, and changes nothing. Capture and writers go on meanwhile.
    pub fn snapshot(&self, dir: &Path, options: &snapshot::Options) -> Result<Snapshot> {
        // The caller's stack may be small.
        thread::on_own_stack("cp-snapshot", || self.pool.snapshot(dir, options))?
    }

    /// Sets where snapshots go that rules ask for. `None`: there are none any more.
    pub fn snapshot_on_trigger(&self, dir: Option<&Path>, options: &snapshot::Options) -> Result<()> {
        self.pool.check_running()?;
        thread::on_own_stack("cp-snapshot", || self.pool.snapshot_on_trigger(dir, options))?
    }

    // ---- the end ----

    /// Refuses new events, drains, ends the writers.
    pub fn close(&self, timeout: Option<Duration>) -> Result<()> {
        self.pool.close(timeout)
    }

    /// Destroys it if nothing of it runs. Otherwise tells it to stop, and returns `PIPELINE_ERR_BUSY`.
    pub fn destroy(&self) -> Result<()> {
        if self.forked() {
            // SAFETY: in a forked child no other thread uses the parent's pipeline.
            unsafe { self.pool.rings.unmap() };
            return Ok(());
        }
        self.pool.would_deadlock("pipeline_destroy")?;
        self.pool.rings.shut(|| false);
        self.pool.stop();
        if !self.pool.tear_down_if_at_rest() {
            return Err(Error::new(
                PIPELINE_ERR_BUSY,
                format!("pipeline {}: {}", self.pool.name, self.pool.words_of_what_runs()),
            ));
        }
        Ok(())
    }

    /// Fails if the calling thread is in the storage's `release` or `destroy`, called by this pipeline's teardown, because the pipeline is
    /// about to be freed.
    pub fn check_not_ending_here(&self) -> Result<()> {
        if !self.forked() && self.pool.is_torn_down_here() {
            return Err(Error::new(
                PIPELINE_ERR_WOULD_DEADLOCK,
                format!("pipeline_abandon: called while pipeline {} is being destroyed", self.pool.name),
            ));
        }
        Ok(())
    }

    /// Gives it up at once. The last of its threads and calls to end frees everything.
    pub fn abandon(self) {
        if self.forked() {
            // SAFETY: in a forked child no other thread uses the parent's pipeline.
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
        // (Does nothing more if it was destroyed or abandoned.)
        self.pool.abandon();
        // SAFETY: dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.pool) };
    }
}
