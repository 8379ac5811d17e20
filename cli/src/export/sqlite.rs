//! SQLite, by the library's own storage: the same tables, and the same speed.

use super::Exporter;
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use capture_pipeline::batch::token::{Answered, Issuer};
use capture_pipeline::batch::{BatchView, WriterData};
use capture_pipeline::event::{
    EventView, PIPELINE_KIND_ATTRIBUTE, PIPELINE_KIND_CLOCK, PIPELINE_KIND_DEFINITION,
    PIPELINE_KIND_KIND_NAME, PIPELINE_KIND_THREAD,
};
use capture_pipeline::facts::Fact;
use capture_pipeline::journal::reader::{Event, Facts, Segment};
use capture_pipeline::status::Result as StatusResult;
use capture_pipeline::storage::sqlite::{Options, SqliteStorage, Synchronous};
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, Storage};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Batches that the storage may have at the same time.
const IN_FLIGHT: usize = 16;
/// The most events of a batch, and the most bytes of their payloads, unless one is larger.
const BATCH_EVENTS: usize = 2_048;
const BATCH_BYTES: usize = 1 << 20;
/// The most bytes of payloads that the storage has, unless they are a single event's.
const MAX_BYTES: usize = 32 << 20;

/// What the storage has answered.
#[derive(Default)]
struct Answers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The slots whose batches are answered.
    free: Vec<usize>,
    /// How many batches the storage has, and the bytes of their payloads: all together, and of each slot.
    outstanding: usize,
    bytes: usize,
    bytes_of: [usize; IN_FLIGHT],
    rejected: u64,
    /// An answer that was not OK.
    failed: bool,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot.
    fn slot(&self) -> usize {
        let mut state = self.lock();
        loop {
            match state.free.pop() {
                Some(slot) => return slot,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Notes that the storage gets a batch. Waits until it may have as many bytes.
    fn give(&self, slot: usize, bytes: usize) {
        let mut state = self.lock();
        while state.outstanding > 0 && state.bytes + bytes > MAX_BYTES {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.outstanding += 1;
        state.bytes += bytes;
        state.bytes_of[slot] = bytes;
    }

    /// Notes that the storage has no batch in a slot any more.
    fn take_back(state: &mut State, slot: usize) {
        state.outstanding -= 1;
        state.bytes -= std::mem::take(&mut state.bytes_of[slot]);
    }

    /// Waits until all batches are answered.
    fn all(&self) {
        let mut state = self.lock();
        while state.outstanding > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Answered for Answers {
    fn set_stored(&self, _: usize, _: u64, _: usize) -> StatusResult<()> {
        Ok(())
    }

    fn set_rejected(&self, _: usize, _: u64, _: usize) -> StatusResult<()> {
        self.lock().rejected += 1;
        Ok(())
    }

    fn complete(self: Arc<Self>, slot: usize, _: u64, _: usize, result: i32) -> StatusResult<()> {
        let mut state = self.lock();
        state.failed |= result != PIPELINE_STORE_OK;
        state.free.push(slot);
        Self::take_back(&mut state, slot);
        self.changed.notify_one();
        Ok(())
    }
}

/// A batch and what it points to. Nothing of it changes while the storage has it.
#[derive(Default)]
struct Slot {
    views: Vec<EventView>,
    /// Where the payload of each event begins in `bytes`.
    starts: Vec<usize>,
    bytes: Vec<u8>,
    batch: Box<BatchView>,
}

/// The batches, of which the storage may have some.
struct Batches {
    answers: Arc<Answers>,
    issuers: Vec<Issuer>,
    slots: Vec<Slot>,
    /// The slot that is being filled.
    slot: usize,
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.answers.all();
    }
}

/// See the module.
pub struct Sqlite {
    path: PathBuf,
    // Before the storage: they are dropped first, once it has answered all of them.
    batches: Batches,
    storage: SqliteStorage,
    /// The run, the difference of the clocks and the writer of the batch that is being filled.
    key: (u64, i64, u32),
    writers: Vec<u32>,
    runs: BTreeMap<u64, Segment>,
}

impl Sqlite {
    /// Makes the database, with what is known about the kinds and threads.
    pub fn new(path: &Path, journal: &Journal, indexes: bool) -> Result<Self, Failure> {
        let options = Options {
            synchronous: Synchronous::Off,
            commit_events: 65_536,
            file_mode: 0o644,
            cache_kib: 16 << 10,
            indexes,
            ..Options::default()
        };
        let storage = SqliteStorage::open(path, options)?;
        let answers = Arc::new(Answers::default());
        answers.lock().free = (1..IN_FLIGHT).collect();
        let answered: Arc<dyn Answered> = answers.clone();
        let issuers = (0..IN_FLIGHT).map(|slot| Issuer::new(Arc::downgrade(&answered), slot)).collect();
        let Some(issuers) = issuers else { return Err(Failure::new("not enough memory")) };
        let mut runs = BTreeMap::new();
        for segment in journal.reader().segments() {
            let first = runs.entry(segment.header.generation).or_insert_with(|| segment.clone());
            if segment.header.number < first.header.number {
                *first = segment.clone();
            }
        }
        let mut sqlite = Self {
            path: path.to_path_buf(),
            batches: Batches {
                answers,
                issuers,
                slots: (0..IN_FLIGHT).map(|_| Slot::default()).collect(),
                slot: 0,
            },
            storage,
            key: (0, 0, 0),
            writers: journal.reader().segments().map(|segment| segment.header.writer_id).collect(),
            runs,
        };
        sqlite.add_facts(journal.reader().facts())?;
        Ok(sqlite)
    }

    /// Stores the facts, as the pipeline would.
    fn add_facts(&mut self, facts: &Facts) -> Result<(), Failure> {
        for ((generation, kind), name) in &facts.kind_names {
            self.add_fact(*generation, PIPELINE_KIND_KIND_NAME, (*kind).into(), 0, name)?;
        }
        for ((generation, kind), definition) in &facts.definitions {
            self.add_fact(*generation, PIPELINE_KIND_DEFINITION, (*kind).into(), 0, &definition.to_bytes())?;
        }
        for ((generation, name), attribute) in &facts.attributes {
            let fact = Fact::attribute(0, name, &attribute.value)?;
            self.add_fact(*generation, PIPELINE_KIND_ATTRIBUTE, 0, 0, &fact.payload)?;
        }
        for ((generation, ring), thread) in &facts.threads {
            self.add_fact(*generation, PIPELINE_KIND_THREAD, *ring, thread.thread_id, &thread.name)?;
        }
        for (generation, clock) in &facts.clocks {
            self.add_fact(*generation, PIPELINE_KIND_CLOCK, 0, 0, &clock.bytes())?;
        }
        self.send()
    }

    fn add_fact(
        &mut self,
        generation: u64,
        kind: u32,
        node_id: u64,
        correlation_id: u64,
        payload: &[u8],
    ) -> Result<(), Failure> {
        let event = Event {
            generation,
            ring_id: 0,
            sequence: 0,
            timestamp_ns: 0,
            realtime_ns: 0,
            correlation_id,
            node_id,
            kind,
            flags: 0,
            weight: 1.0,
            segment: 0,
            payload,
        };
        self.append(&event, 0)
    }

    /// Adds an event to the batch; sends the batch before, if it is full or another one's.
    fn append(&mut self, event: &Event<'_>, writer: u32) -> Result<(), Failure> {
        let key =
            (event.generation, event.realtime_ns.wrapping_sub(event.timestamp_ns).cast_signed(), writer);
        let slot = &self.batches.slots[self.batches.slot];
        let full = slot.views.len() >= BATCH_EVENTS || slot.bytes.len() + event.payload.len() > BATCH_BYTES;
        if !slot.views.is_empty() && (full || key != self.key) {
            self.send()?;
        }
        self.key = key;
        let slot = &mut self.batches.slots[self.batches.slot];
        slot.starts.push(slot.bytes.len());
        slot.bytes.extend_from_slice(event.payload);
        slot.views.push(EventView {
            ring_id: event.ring_id,
            sequence: event.sequence,
            timestamp_ns: event.timestamp_ns,
            correlation_id: event.correlation_id,
            node_id: event.node_id,
            kind: event.kind,
            flags: event.flags,
            weight: event.weight,
            data: std::ptr::null(),
            len: event.payload.len(),
        });
        Ok(())
    }

    /// Gives the batch to the storage, and waits for a free slot.
    fn send(&mut self) -> Result<(), Failure> {
        let Batches { answers, issuers, slots, slot: at } = &mut self.batches;
        let slot = &mut slots[*at];
        if slot.views.is_empty() {
            return Ok(());
        }
        for (view, start) in slot.views.iter_mut().zip(&slot.starts) {
            view.data = slot.bytes[*start..].as_ptr().cast();
        }
        let Some(token) = issuers[*at].issue() else { return Err(Failure::new("too many batches")) };
        *slot.batch = BatchView {
            pipeline_id: 1,
            generation: self.key.0,
            token,
            attempt: 1,
            writer_id: self.key.2,
            // Nobody knows it any more.
            processed_at_ns: 0,
            realtime_offset_ns: self.key.1,
            writer_data: WriterData::NONE.0,
            count: slot.views.len(),
            events: slot.views.as_ptr(),
            ..BatchView::default()
        };
        answers.give(*at, slot.bytes.len());
        if self.storage.store(&slot.batch) != PIPELINE_STORE_PENDING {
            Answers::take_back(&mut answers.lock(), *at);
            return Err(self.failed());
        }
        *at = answers.slot();
        let slot = &mut slots[*at];
        slot.views.clear();
        slot.starts.clear();
        slot.bytes.clear();
        slot.bytes.shrink_to(2 * BATCH_BYTES);
        if answers.lock().failed { Err(self.failed()) } else { Ok(()) }
    }

    fn failed(&self) -> Failure {
        Failure::new(format!("{}: the database cannot be written; the reason is above", self.path.display()))
    }
}

impl Exporter for Sqlite {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        let writer = self.writers.get(found.event.segment).copied().unwrap_or(0);
        self.append(found.event, writer)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        self.send()?;
        self.batches.answers.all();
        let (rejected, failed) = {
            let state = self.batches.answers.lock();
            (state.rejected, state.failed)
        };
        if failed || self.storage.finish(-1) != 0 {
            return Err(self.failed());
        }
        if rejected > 0 {
            let path = self.path.display();
            return Err(Failure::new(format!(
                "{path}: {rejected} events were rejected; the reason is above"
            )));
        }
        let Self { path, batches, storage, runs, .. } = *self;
        drop(batches);
        drop(storage);
        say_who_captured(&path, &runs).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
    }
}

/// The runs are those of the programs that captured the events, and not of this one.
fn say_who_captured(path: &Path, runs: &BTreeMap<u64, Segment>) -> rusqlite::Result<()> {
    let mut database = rusqlite::Connection::open(path)?;
    let transaction = database.transaction()?;
    for (generation, segment) in runs {
        let header = &segment.header;
        let owner = &header.owner;
        let digits = format!("{:032x}", u128::from_be_bytes(owner.boot_id));
        let boot_id =
            [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-");
        transaction.execute(
            "UPDATE runs SET pid = ?2, program = ?3, boot_id = ?4, first_wall_ns = ?5, first_time_ns = ?6 WHERE generation = ?1",
            rusqlite::params![
                generation.cast_signed(),
                owner.pid,
                String::from_utf8_lossy(&header.program),
                if owner.boot_id == [0; 16] { "" } else { &boot_id },
                header.realtime_ns.cast_signed(),
                header.monotonic_ns.cast_signed(),
            ],
        )?;
    }
    transaction.commit()
}
