//! The contract between a pipeline and its storage.
//!
//! A storage knows batches and nothing else. It answers each with [`PIPELINE_STORE_OK`], [`PIPELINE_STORE_RETRY`],
//! [`PIPELINE_STORE_REJECT`] or [`PIPELINE_STORE_PENDING`], and the pool decides on the consequences for the events.

pub mod callback;
pub mod closure;
pub mod feed;
pub mod journal;
pub mod panic_guard;
pub mod perfetto;
#[cfg(any(feature = "sqlite", feature = "sqlite-system"))]
pub mod sqlite;
#[cfg(not(any(feature = "sqlite", feature = "sqlite-system")))]
#[path = "sqlite_absent.rs"]
pub mod sqlite;

use crate::batch::BatchView;
pub use crate::batch::WriterData;
use crate::batch::recovered::Run;
use crate::batch::spans::SpanBatch;
use crate::event::EventView;
use crate::facts::Facts;
use crate::ledger::Ledger;
use crate::metrics::Figures;
use std::sync::Arc;

/// `store`: every event of the batch is stored, except those named by `pipeline_batch_set_rejected`.
pub const PIPELINE_STORE_OK: i32 = 0;
/// `store`: not now. The batch is tried again later, from the end of the prefix named by `pipeline_batch_set_stored` on.
pub const PIPELINE_STORE_RETRY: i32 = 1;
/// `store`: never. The events behind the stored prefix go to the dead letter.
pub const PIPELINE_STORE_REJECT: i32 = 2;
/// `store`: the answer comes later, through `pipeline_batch_complete` with the batch's token.
pub const PIPELINE_STORE_PENDING: i32 = 3;

/// `pipeline_storage_t.flags`: calls of `store`, `flush` and `dead_letter` may overlap, on different threads.
pub const PIPELINE_STORAGE_CONCURRENT: u32 = 1;
/// `pipeline_storage_t.flags`: the storage also gets the library's own events, with kinds from
/// `PIPELINE_KIND_RESERVED` on: names of kinds, the threads of rings, facts about the clock. They come in batches of their own,
/// in their order and one batch at a time, and are in no count of the ledger. A flush and a close wait for them as for other events.
pub const PIPELINE_STORAGE_META: u32 = 2;
/// `pipeline_storage_t.flags`: under `PIPELINE_OVERFLOW_DROP_OLDEST`, the capture that overwrites an event calls `release` for it, on
/// its own thread. Such a `release` must be short and must not capture. Without the flag a writer calls `release` later, and
/// new events are dropped if the writers are too slow for that.
pub const PIPELINE_STORAGE_RELEASE_ANYWHERE: u32 = 4;
/// `pipeline_storage_t.flags`: `release` is called only for events captured with `PIPELINE_EVENT_RELEASE`. This is for
/// storages with few events that are handles: releasing a batch without handles has no extra cost.
pub const PIPELINE_STORAGE_RELEASE_MARKED: u32 = 8;
/// `pipeline_storage_t.flags`: the storage releases by itself what it has stored. `release` is not called for the events of a batch that is
/// answered `PIPELINE_STORE_OK` while all of them are still to be stored and none is rejected. All others come to `release`: those of batches
/// that were stored in parts, dead-lettered or given up, and those that were overwritten or left. An answer by token counts once the call has
/// returned `PIPELINE_OK`; from then on the batch's memory is no longer valid, so that the storage notes before what it will release. Events with
/// `PIPELINE_EVENT_TRANSFORMED` are never the storage's to release: `release` is called with the event as it was captured.
pub const PIPELINE_STORAGE_RELEASE_UNSTORED: u32 = 16;

/// `dead_letter`'s `reason`: the storage rejected the event.
pub const PIPELINE_REASON_REJECTED: i32 = 1;
/// `dead_letter`'s `reason`: the batch was tried `retry_limit` times.
pub const PIPELINE_REASON_RETRY_LIMIT: i32 = 2;
/// `dead_letter`'s `reason`: the batch is older than `retry_max_age_ms`.
pub const PIPELINE_REASON_RETRY_AGE: i32 = 3;

/// What a storage does. A function that it does not have is not called.
#[derive(Clone, Copy, Debug, Default)]
pub struct Abilities {
    /// Calls may overlap.
    pub concurrent: bool,
    /// It gets the library's own events (kinds from `PIPELINE_KIND_RESERVED` on).
    pub meta: bool,
    /// It gets the facts of runs that have ended as events, as storages with `meta` do, although it learns those of its pipeline from the
    /// [`Source`].
    pub old_facts: bool,
    /// It keeps the events of one run at a time: recovered ones are not for it, and stay where they are.
    pub one_run: bool,
    /// It has a `flush`.
    pub flush: bool,
    /// It gets the events of each ring in their order, one batch at a time, whatever the configuration says.
    pub ordered: bool,
    /// It has a `finish`.
    pub finish: bool,
    /// It has a `dead_letter`.
    pub dead_letter: bool,
    /// It has a `release`.
    pub release: bool,
    /// Capturing threads may call `release`, for events that they overwrite.
    pub release_anywhere: bool,
    /// `release` is only for events with [`PIPELINE_EVENT_RELEASE`](crate::event::PIPELINE_EVENT_RELEASE).
    pub release_marked: bool,
    /// `release` is not for the events of a batch that was stored as a whole at one answer.
    pub release_unstored: bool,
    /// It has a `store_spans`, and wants batches of at most so many bytes of records, or one record; `batch_bytes` may be less, and
    /// `batch_size` does not apply. A storage with a `release` is not given spans.
    pub span_bytes: Option<u64>,
}

/// The thread that captures into a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id, as the operating system has it.
    pub tid: u32,
    /// The name that it had when it got the ring, padded with zeros.
    pub name: [u8; 16],
}

impl Thread {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        self.name.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// What a storage can learn of its pipeline.
///
/// The methods may be called on any thread, also inside `store`. They take locks for a short time, [`facts`](Self::facts) none. A
/// storage keeps a [`Weak`](std::sync::Weak) of it: the pipeline owns the storage, and would never be freed otherwise.
pub trait Source: Send + Sync {
    /// 64 random bits drawn when the pipeline started: the first part of every event's identity.
    fn generation(&self) -> u64;
    /// Names and definitions of kinds, and readings of the clocks. A storage may keep this reference for as long as it likes.
    fn facts(&self) -> &Arc<Facts>;
    /// The thread that captures into a ring, or did. `None`: the ring is a producer handle's, or the one that threads share. The answer for
    /// the ring of an event is right until the event's batch is answered; then another thread may get the ring, under another id.
    fn thread(&self, ring_id: u64) -> Option<Thread>;
    /// The run that has ended and has this generation: the one of a batch whose generation is not [`generation`](Self::generation), which has
    /// events that were recovered. Its facts and its threads are in place of the pipeline's. `None`: no such batch is open.
    fn old_run(&self, _generation: u64) -> Option<Arc<Run>> {
        None
    }
    /// Where the events are. As long as events move, some may be missing from the sum of the places; see [`Ledger`]. Inside `store`, the events of
    /// the batch are in flight.
    fn ledger(&self) -> Ledger;
    /// The pipeline's name.
    fn name(&self) -> &str;
    /// All figures of this moment. Not to be called inside a call of the storage that is timed closely: it takes some microseconds. An error: there is no memory.
    fn figures(&self) -> crate::status::Result<Figures>;
}

/// A storage of events.
///
/// The methods are called on writer threads, [`abilities`](Self::abilities) and [`attach`](Self::attach) excepted, and no lock of the library is held meanwhile. Unless the storage is
/// [`concurrent`](Abilities::concurrent), `store`, `flush` and `dead_letter` never overlap. `finish` never overlaps with them.
///
/// # Safety
/// An implementation must not use `batch` and its views after it has answered. If it answers `PIPELINE_STORE_PENDING` it may use them until it
/// completes the token. It must never complete a token that it was not given.
pub unsafe trait Storage: Send + Sync {
    /// What it is called in metrics, in small letters. `custom`: it is the program's own. Asked once, when a pipeline starts.
    fn name(&self) -> &'static str {
        "custom"
    }
    /// What the storage does. Asked once, when a pipeline starts.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }
    /// Whether the storage takes the library's own events where no pipeline tells it of them: those of runs that it is not attached to.
    fn takes_facts(&self) -> bool {
        self.abilities().meta
    }
    /// Tells the storage what its pipeline is. Called once, by the thread that starts the pipeline, before everything but `abilities`.
    fn attach(&self, _source: &Arc<dyn Source>) {}
    /// Stores the batch, and answers `PIPELINE_STORE_…`.
    fn store(&self, batch: &BatchView) -> i32;
    /// The same for a batch as its records lie in the ring buffers. A storage with [`span_bytes`](Abilities::span_bytes) gets this call
    /// instead of `store` for each batch that is whole: none of its events is stored or rejected yet. Other batches come to `store`, also a
    /// retried rest of such a one, those with the library's own events, and those whose times cannot be told by clock pieces. All that holds for a
    /// batch of views holds for it, its prefix and its indices too: the events are counted through all spans.
    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        batch.view().map_or(PIPELINE_STORE_RETRY, |view| self.store(view))
    }
    /// A writer begins. The result becomes that writer's `writer_data`.
    fn open_writer(&self, _writer_id: u32) -> Result<WriterData, i32> {
        Ok(WriterData::NONE)
    }
    /// A writer ends.
    fn close_writer(&self, _writer_id: u32, _writer_data: WriterData) {}
    /// Makes all stored events durable. 0, or a negative status.
    fn flush(&self, _timeout_ms: i64) -> i32 {
        0
    }
    /// Does the storage's final work, which takes long or may fail (indexes, a seal). 0, or a negative status.
    ///
    /// Only `pipeline_close` calls it, at most once, when all events are settled. Only `open_writer` and `close_writer` of other
    /// writers may run meanwhile, also if the storage is concurrent, and only `close_writer` follows. `timeout_ms` is the time that the caller of
    /// `pipeline_close` still waits; -1: no limit. The work may take longer.
    fn finish(&self, _timeout_ms: i64) -> i32 {
        0
    }
    /// Takes events that cannot be stored. 0: they are kept; `PIPELINE_STORE_RETRY`: try again later.
    fn dead_letter(&self, _batch: &BatchView, _reason: i32) -> i32 {
        PIPELINE_STORE_REJECT
    }
    /// An event has left the pipeline: stored, filtered, dead-lettered, discarded or overwritten.
    fn release(&self, _event: &EventView) {}
}
