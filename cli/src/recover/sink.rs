//! Where recovered events go.

use crate::deliver::lines::Lines;
use crate::deliver::place::Place;
use crate::deliver::{journal, sqlite};
use crate::failure::Failure;
use capture_pipeline::batch::BatchView;
use capture_pipeline::event::{EventView, PIPELINE_KIND_RESERVED};
use capture_pipeline::journal::blocks::facts::FactRef;
use capture_pipeline::journal::reader::{Event, Facts, Losses};
use capture_pipeline::recovery::Feeds;
use capture_pipeline::ring_file::reader::DeadRun;
use capture_pipeline::status::{Error, PIPELINE_ERR_INTERNAL, Result};
use capture_pipeline::storage::closure::Closure;
use capture_pipeline::storage::feed::Feed;
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_RETRY};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// See the module.
pub struct Sink {
    /// The feed of all runs, or of the last one.
    feed: Option<Feed>,
    /// A journal has segments of its own for each run.
    journal: Option<PathBuf>,
    lines: Arc<Mutex<Shared>>,
    /// The first status of a storage's end that is none of success.
    ended: i32,
}

/// What the storage of lines writes with.
#[derive(Default)]
struct Shared {
    lines: Option<Lines>,
    facts: Facts,
    losses: Losses,
    failure: Option<Failure>,
}

impl Sink {
    /// Opens the target.
    pub fn open(place: &Place) -> std::result::Result<Self, Failure> {
        let lines: Arc<Mutex<Shared>> = Arc::default();
        let mut this = Self { feed: None, journal: None, lines: Arc::clone(&lines), ended: 0 };
        match place {
            Place::Sqlite(path) => this.feed = Some(sqlite(path)?),
            Place::Journal(path) => {
                // So that a directory that cannot be used is known before a file is taken.
                this.feed = Some(journal(path)?);
                this.journal = Some(path.clone());
            }
            Place::Ndjson(path) => {
                lock(&lines).lines = Some(Lines::open(path.as_deref())?);
                let store = move |batch: &BatchView, events: &[EventView]| lock(&lines).store(batch, events);
                this.feed = Some(Feed::new(Closure(store)));
            }
        }
        Ok(this)
    }

    /// Ends it. An error says what has kept lines from being written, or that the storage's final work has failed.
    pub fn close(mut self) -> std::result::Result<(), Failure> {
        self.finish();
        if let Some(failure) = lock(&self.lines).failure.take() {
            return Err(failure);
        }
        if self.ended != 0 {
            return Err(Failure::new(format!(
                "the target could not be closed as it should be (status {}); the events that are reported as recovered are stored",
                self.ended
            )));
        }
        Ok(())
    }

    fn finish(&mut self) {
        let status = self.feed.take().map_or(0, Feed::finish);
        if self.ended == 0 {
            self.ended = status;
        }
    }
}

impl Feeds for Sink {
    fn of(&mut self, _: &DeadRun) -> Result<&mut Feed> {
        if let Some(directory) = self.journal.clone() {
            self.finish();
            self.feed = Some(journal(&directory)?);
        }
        self.feed.as_mut().ok_or_else(|| Error::new(PIPELINE_ERR_INTERNAL, "the target is closed"))
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Writes events as lines, which are on the disk when this returns; or takes facts.
    fn store(&mut self, batch: &BatchView, events: &[EventView]) -> i32 {
        let Some(lines) = &mut self.lines else { return PIPELINE_STORE_RETRY };
        for view in events.iter().filter(|view| view.kind >= PIPELINE_KIND_RESERVED) {
            let fact = FactRef {
                kind: view.kind,
                correlation_id: view.correlation_id,
                node_id: view.node_id,
                payload: view.payload(),
            };
            if self.facts.tell(batch.generation, fact, &mut self.losses).is_err() {
                return PIPELINE_STORE_RETRY;
            }
        }
        let events = events.iter().filter(|view| view.kind < PIPELINE_KIND_RESERVED).map(|view| Event {
            generation: batch.generation,
            ring_id: view.ring_id,
            sequence: view.sequence,
            timestamp_ns: view.timestamp_ns,
            realtime_ns: view.timestamp_ns.saturating_add_signed(batch.realtime_offset_ns),
            correlation_id: view.correlation_id,
            node_id: view.node_id,
            kind: view.kind,
            flags: view.flags,
            weight: view.weight,
            segment: 0,
            payload: view.payload(),
        });
        lines.add(batch.generation, &self.facts, events);
        match lines.flush() {
            Ok(()) => {
                self.failure = None;
                PIPELINE_STORE_OK
            }
            Err(failure) => {
                self.failure = Some(failure);
                PIPELINE_STORE_RETRY
            }
        }
    }
}
