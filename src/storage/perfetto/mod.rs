//! The Perfetto storage: events as traces of track events, which `ui.perfetto.dev` and `trace_processor` open.
//!
//! One file is written at a time, so that a thread's begins and ends are in the same one. The storage is therefore not concurrent, and asks for the
//! events of each ring in their order. `store` turns a batch into packets, and appends them by one system call; the answer is OK when they are written.
//! [`draw`] and [`slices`] make the packets, [`rings`] has what is open, [`output`] the files, [`state`] puts them together.

mod draw;
mod kinds;
mod known;
mod messages;
mod options;
mod output;
mod rings;
mod rows;
mod slices;
mod state;

pub(crate) use options::refuse;
pub use options::{FILE_AGE_MS, FILE_BYTES, MAX_BYTES, MIN_MAX_BYTES, Options, Sync};

use super::{Abilities, PIPELINE_STORE_RETRY, Source, Storage};
use crate::batch::BatchView;
use crate::files::Words;
use crate::files::failure::Failure;
use crate::files::folder::{Place, absolute};
use crate::platform::cancellation::Uncancelled;
use crate::platform::signals::FileSignalsHeld;
use crate::platform::sync::{AtomicU32, Mutex, Ordering};
use crate::platform::{process, thread};
use crate::status::{Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_STORAGE, Result};
use messages::{Messages, Report};
use state::State;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

/// What messages call it.
const WORDS: Words = Words { storage: "trace", file: "trace" };

/// Keeps events as traces.
pub struct PerfettoStorage {
    source: OnceLock<Weak<dyn Source>>,
    /// In a box, because it is large, and the storage is moved on stacks that may be small.
    state: Mutex<Box<State>>,
    messages: Messages,
    /// 1 in the process that opened the storage, 0 in its children.
    alive: &'static AtomicU32,
}

impl PerfettoStorage {
    /// Opens the directory at `path`, or makes it. The work is done on a thread of its own, because the caller's stack may be small.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        options.validate()?;
        let path = absolute(path)?;
        let alive = process::alive().ok_or_else(|| {
            Error::new(PIPELINE_ERR_NO_MEMORY, "no memory for the page that detects a fork")
        })?;
        thread::on_own_stack("cp-perfetto", || {
            let place = Place::open(&path, options.modes(), &WORDS).map_err(|failure| failure.at(&path))?;
            let state = Mutex::new(Box::new(State::new(options, place)));
            Ok(Self { source: OnceLock::new(), state, messages: Messages::new(path.clone()), alive })
        })?
    }

    fn is_forked(&self) -> bool {
        self.alive.load(Ordering::Relaxed) != 1
    }

    /// The pipeline. It is taken before the lock, and dropped after it: the pipeline may be freed by that.
    fn source(&self) -> Option<Arc<dyn Source>> {
        self.source.get().and_then(Weak::upgrade)
    }

    fn answer(&self, result: std::result::Result<(), Failure>, what: &'static str) -> i32 {
        match result {
            Ok(()) => 0,
            Err(failure) => {
                self.messages.tell(&Report { warned: Some((failure, what)), ..Report::default() });
                PIPELINE_ERR_STORAGE
            }
        }
    }
}

// SAFETY: a batch is not used after it is answered, and no token is completed.
unsafe impl Storage for PerfettoStorage {
    fn name(&self) -> &'static str {
        "perfetto"
    }

    fn abilities(&self) -> Abilities {
        // Facts come from the source.
        Abilities { flush: true, finish: true, ordered: true, one_run: true, ..Abilities::default() }
    }

    fn takes_facts(&self) -> bool {
        true
    }

    fn attach(&self, source: &Arc<dyn Source>) {
        let _ = self.source.set(Arc::downgrade(source));
        let mut report = Report::default();
        // Now, because the program may drop its privileges right after the start.
        self.state.lock().attach(source.facts(), source.generation(), &mut report);
        self.messages.tell(&report);
    }

    fn store(&self, batch: &BatchView) -> i32 {
        if self.is_forked() {
            self.messages.forked();
            return PIPELINE_STORE_RETRY;
        }
        let mut report = Report::default();
        let source = self.source();
        let answer = self.state.lock().store(batch, source.as_deref(), &mut report);
        drop(source);
        self.messages.tell(&report);
        if report.failed.is_none() {
            self.messages.success();
        }
        answer
    }

    fn flush(&self, _timeout_ms: i64) -> i32 {
        if self.is_forked() {
            return PIPELINE_ERR_FORKED;
        }
        let flushed = self.state.lock().flush();
        self.answer(flushed, "flush failed")
    }

    fn finish(&self, _timeout_ms: i64) -> i32 {
        if self.is_forked() {
            return PIPELINE_ERR_FORKED;
        }
        let source = self.source();
        let finished = self.state.lock().finish(source.as_deref());
        drop(source);
        self.answer(finished, "the end of the last trace is not in it")
    }
}

impl Drop for PerfettoStorage {
    fn drop(&mut self) {
        if self.is_forked() {
            return; // the file is the parent's
        }
        let _uncancelled = Uncancelled::begin();
        let _held = FileSignalsHeld::begin();
        self.state.lock().leave();
    }
}
