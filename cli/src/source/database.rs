//! A database of the SQLite storage as a source of events. The storage's tables are described in `docs/sqlite.md`.
//!
//! Nothing is written: neither to the database nor beside it, unless a writer has left a log that is not in the database yet, which SQLite then reads through an
//! index that it makes beside the log. A thread reads the rows, some thousands at a time, so that memory is bounded.

mod facts;
mod file;
mod rows;

use crate::failure::Failure;
use capture_pipeline::journal::reader::{Event, Facts, Losses, Options, Progress, RingEvents, Segment};
use file::File;
use rows::{Chunk, Rows};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Chunks that are read and not shown yet.
const AHEAD: usize = 2;

/// See the module.
pub struct Database {
    /// The runs.
    pub segments: Vec<Segment>,
    /// What is known about the events.
    pub facts: Facts,
    /// What the storage has noted.
    pub losses: Losses,
    /// The rings.
    pub rings: Vec<RingEvents>,
    bytes: u64,
    events: u64,
    given: u64,
    chunk: Chunk,
    at: usize,
    chunks: Option<Receiver<Result<Chunk, Failure>>>,
    thread: Option<JoinHandle<()>>,
}

impl Database {
    /// Opens a database for the events that are asked for.
    pub fn open(path: &Path, options: Options) -> Result<Self, Failure> {
        if options.follow {
            return Err(Failure::new(format!(
                "{}: a database cannot be followed; --follow is for journals",
                path.display()
            )));
        }
        let file = File::open(path)?;
        let mut known = facts::read(&file, options.generation)?;
        let (bytes, events) = (file.bytes, known.segments.iter().map(|run| run.events).sum());
        let (sender, chunks) = sync_channel(AHEAD);
        let rows = Rows::new(file, options, &mut known)?;
        let thread = std::thread::Builder::new()
            .name("database".into())
            .spawn(move || rows.send_to(&sender))
            .map_err(|error| Failure::new(format!("a thread cannot be started: {error}")))?;
        let facts::Known { segments, facts, losses, rings, .. } = known;
        Ok(Self {
            segments,
            facts,
            losses,
            rings,
            bytes,
            events,
            given: 0,
            chunk: Chunk::default(),
            at: 0,
            chunks: Some(chunks),
            thread: Some(thread),
        })
    }

    /// The next event.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, Failure> {
        if self.at == self.chunk.len() && !self.load()? {
            return Ok(None);
        }
        self.at += 1;
        Ok(Some(self.chunk.event(self.at - 1, &self.segments)))
    }

    /// The next chunk. `false`: there is none.
    #[cold]
    fn load(&mut self) -> Result<bool, Failure> {
        self.given += self.chunk.len() as u64;
        (self.chunk, self.at) = (Chunk::default(), 0);
        let next = self.chunks.as_ref().and_then(|chunks| chunks.recv().ok());
        match next {
            Some(chunk) => self.chunk = chunk?,
            // The thread has come to the end.
            None => self.chunks = None,
        }
        Ok(self.chunk.len() > 0)
    }

    /// How far it is read, as a part of the file.
    pub fn progress(&self) -> Progress {
        let done = u128::from(self.bytes) * u128::from(self.given) / u128::from(self.events.max(1));
        Progress {
            done_bytes: u64::try_from(done).unwrap_or(self.bytes).min(self.bytes),
            total_bytes: self.bytes,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The thread ends when nobody takes its chunks.
        self.chunks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
