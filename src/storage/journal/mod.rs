//! The journal storage: events in files that are written as fast as the disk takes them, and read by [`crate::journal::reader`].
//!
//! A journal is a directory of segments, as `docs/format.md` specifies. Each writer of the pipeline has a segment of its own. `store` puts the events of
//! a batch into blocks and appends them by one system call; the answer is OK when they are written.

mod found;
mod inspect;
mod knowledge;
mod limits;
mod live_figures;
mod messages;
mod options;
mod shared;
mod stop;
mod sync_queue;
mod sync_thread;
mod writer;

pub(crate) use options::refuse;
pub use options::{
    Encoding, MAX_AGE_MS, MAX_BYTES, MIN_AGE_MS, MIN_MAX_BYTES, OnFull, Options, SEGMENT_BYTES, Sync,
};

use super::{Abilities, PIPELINE_STORE_RETRY, Source, Storage, WriterData};
use crate::batch::BatchView;
use crate::batch::spans::SpanBatch;
use crate::files::Words;
use crate::files::failure::Failure;
use crate::files::folder::{Place, absolute};
use crate::journal::owner::Author;
use crate::platform::cancellation::Uncancelled;
use crate::platform::signals::FileSignalsHeld;
use crate::platform::sync::{AtomicU32, Mutex, Ordering};
use crate::platform::{process, thread};
use crate::status::{
    Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_STORAGE, PIPELINE_ERR_UNSUPPORTED,
    Result,
};
use messages::Messages;
use shared::Shared;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use writer::{Input, Writer};

/// What messages call it.
const WORDS: Words = Words { storage: "journal", file: "segment" };
/// Bytes of records in a batch. With the headers of some blocks they are a little less than 256 KiB, see `writer/append.rs`. (Larger batches are not faster, and
/// hold more of the ring buffers at a time.)
const SPAN_BYTES: u64 = (256 << 10) - (2 << 10);

/// Keeps events in a journal.
pub struct JournalStorage {
    shared: Arc<Shared>,
    path: PathBuf,
    writers: Mutex<Vec<Arc<Writer>>>,
    /// 1 in the process that opened the journal, 0 in its children.
    alive: &'static AtomicU32,
}

impl JournalStorage {
    /// Opens the directory at `path`, or makes it. The work is done on a thread of its own, because the caller's stack may be small.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        options.validate()?;
        if cfg!(target_endian = "big") {
            return Err(Error::new(
                PIPELINE_ERR_UNSUPPORTED,
                "a journal is little-endian, and this machine is not",
            ));
        }
        let path = absolute(path)?;
        let alive = process::alive().ok_or_else(|| {
            Error::new(PIPELINE_ERR_NO_MEMORY, "no memory for the page that detects a fork")
        })?;
        thread::on_own_stack("cp-journal", || {
            let place = Place::open(&path, options.modes(), &WORDS).map_err(|failure| failure.at(&path))?;
            let shared = Arc::new(Shared::new(options, place, Author::own(), Messages::new(path.clone())));
            sync_thread::start(&shared)?;
            Ok(Self { shared, path: path.clone(), writers: Mutex::new(Vec::new()), alive })
        })?
    }

    /// The directory's path, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_forked(&self) -> bool {
        self.alive.load(Ordering::Relaxed) != 1
    }

    /// The writer with this id. It is looked up by that, and not by `writer_data`: a program may have put a storage of its own around this one.
    fn writer(&self, id: u32) -> Result<Arc<Writer>, Failure> {
        let mut writers = self.writers.lock();
        if let Some(writer) = writers.iter().find(|writer| writer.id == id) {
            return Ok(Arc::clone(writer));
        }
        writers.try_reserve(1).map_err(|_| Failure::no_memory())?;
        let writer = Arc::new(Writer::new(id));
        writers.push(Arc::clone(&writer));
        Ok(writer)
    }

    fn store_input(&self, writer_id: u32, batch: Input<'_>) -> i32 {
        if self.is_forked() {
            self.shared.messages.forked();
            return PIPELINE_STORE_RETRY;
        }
        match self.writer(writer_id) {
            Ok(writer) => writer.store(&self.shared, batch),
            Err(failure) => {
                self.shared.messages.failure(&failure, "nothing is stored at present");
                PIPELINE_STORE_RETRY
            }
        }
    }

    fn answer(&self, result: Result<(), Failure>, what: &str) -> i32 {
        match result {
            Ok(()) => 0,
            Err(failure) => {
                self.shared.messages.failure(&failure, what);
                PIPELINE_ERR_STORAGE
            }
        }
    }
}

// SAFETY: a batch is used until it is answered, and not after; each token comes from the batch that carries it.
unsafe impl Storage for JournalStorage {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn abilities(&self) -> Abilities {
        // Facts come from the source, but for those of runs that have ended.
        Abilities {
            concurrent: true,
            old_facts: true,
            flush: true,
            finish: true,
            span_bytes: Some(SPAN_BYTES),
            ..Abilities::default()
        }
    }

    fn takes_facts(&self) -> bool {
        true
    }

    fn attach(&self, source: &Arc<dyn Source>) {
        self.shared.knowledge.attach(source);
        self.shared.make_first(source.generation());
        live_figures::start(&self.shared, source);
    }

    fn store(&self, batch: &BatchView) -> i32 {
        self.store_input(batch.writer_id, Input::Views(batch))
    }

    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        self.store_input(batch.writer_id(), Input::Spans(batch))
    }

    /// Seals the writer's segment. (`open_writer` does nothing: a segment is made when there is something to write.)
    fn close_writer(&self, writer_id: u32, _writer_data: WriterData) {
        if self.is_forked() {
            return;
        }
        let writer = {
            let mut writers = self.writers.lock();
            let at = writers.iter().position(|writer| writer.id == writer_id);
            at.map(|at| writers.swap_remove(at))
        };
        if let Some(Err(failure)) = writer.map(|writer| writer.close(&self.shared)) {
            self.shared.messages.warning(&failure, "a segment could not be sealed");
        }
    }

    fn flush(&self, _timeout_ms: i64) -> i32 {
        if self.is_forked() {
            return PIPELINE_ERR_FORKED;
        }
        if self.shared.options.sync == Sync::Never {
            return 0;
        }
        self.answer(self.shared.flush(), "flush failed")
    }

    fn finish(&self, _timeout_ms: i64) -> i32 {
        if self.is_forked() {
            return PIPELINE_ERR_FORKED;
        }
        let sealed = self.shared.seal_all(true);
        // No event is missing without it.
        if let Err(failure) = self.shared.write_end() {
            self.shared.messages.warning(&failure, "the last ledger of the run is not in the journal");
        }
        let synced = if self.shared.options.sync == Sync::Never { Ok(()) } else { self.shared.flush() };
        self.answer(sealed.and(synced), "a segment could not be sealed")
    }
}

impl Drop for JournalStorage {
    fn drop(&mut self) {
        if self.is_forked() {
            return; // the segments are the parent's
        }
        let _uncancelled = Uncancelled::begin();
        let _held = FileSignalsHeld::begin();
        let _ = self.shared.seal_all(false);
        self.shared.sync_queue.stop();
        self.shared.live_figures.stop();
    }
}
