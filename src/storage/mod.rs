//! The storage contract: what a pipeline asks of whatever keeps its events.
//!
//! A storage knows batches and nothing else. It answers each with [`PIPELINE_STORE_OK`], [`PIPELINE_STORE_RETRY`],
//! [`PIPELINE_STORE_REJECT`] or [`PIPELINE_STORE_PENDING`]; what that means for the events is the pool's business.

pub mod callback;
pub mod caught;
#[cfg(test)]
pub mod closure;
#[cfg(any(feature = "sqlite", feature = "sqlite-system"))]
pub mod sqlite;
#[cfg(not(any(feature = "sqlite", feature = "sqlite-system")))]
#[path = "sqlite_absent.rs"]
pub mod sqlite;

use crate::batch::BatchView;
pub use crate::batch::WriterData;
use crate::event::EventView;

/// `store`: every event of the batch is stored (but for those named by `pipeline_batch_set_rejected`).
pub const PIPELINE_STORE_OK: i32 = 0;
/// `store`: not now; the same batch again later, behind the prefix named by `pipeline_batch_set_stored`.
pub const PIPELINE_STORE_RETRY: i32 = 1;
/// `store`: never; the events behind the stored prefix go to the dead letter.
pub const PIPELINE_STORE_REJECT: i32 = 2;
/// `store`: the answer comes later, through `pipeline_batch_complete` with the batch's token.
pub const PIPELINE_STORE_PENDING: i32 = 3;

/// `pipeline_storage_t.flags`: calls of `store`, `flush` and `dead_letter` may overlap (on different threads).
pub const PIPELINE_STORAGE_CONCURRENT: u32 = 1;
/// `pipeline_storage_t.flags`: the storage also wants the library's own events (kinds from
/// `PIPELINE_KIND_RESERVED`: names of kinds, threads behind rings, facts of the clock). They come in batches of their own
/// and are in no count of the ledger; a flush and a close wait for them as for others.
pub const PIPELINE_STORAGE_META: u32 = 2;
/// `pipeline_storage_t.flags`: under `PIPELINE_OVERFLOW_DROP_OLDEST`, `release` is called for an overwritten event
/// by the capture that overwrites it, on whatever thread that is; otherwise a writer does it later, and where
/// writers are too slow for that new events are dropped instead. Such a `release` must be short and must not
/// capture, and no capture may be under way when `pipeline_abandon` is called.
pub const PIPELINE_STORAGE_RELEASE_ANYWHERE: u32 = 4;
/// `pipeline_storage_t.flags`: `release` is called for events captured with `PIPELINE_EVENT_RELEASE` alone. For a
/// storage few of whose events are handles: a batch without any costs nothing more when it leaves.
pub const PIPELINE_STORAGE_RELEASE_MARKED: u32 = 8;

/// `dead_letter`'s `reason`: the storage rejected the event.
pub const PIPELINE_REASON_REJECTED: i32 = 1;
/// `dead_letter`'s `reason`: the batch was tried `retry_limit` times.
pub const PIPELINE_REASON_RETRY_LIMIT: i32 = 2;
/// `dead_letter`'s `reason`: the batch is older than `retry_max_age_ms`.
pub const PIPELINE_REASON_RETRY_AGE: i32 = 3;

/// What keeps the events.
///
/// Methods are called on writer threads, with no lock of the library held. Unless [`concurrent`](Self::concurrent),
/// `store`, `flush` and `dead_letter` never overlap.
///
/// # Safety
/// `batch` and the views in it are valid only until the batch is settled; an implementation that answers
/// `PIPELINE_STORE_PENDING` may keep using them until it completes the token, and not after. It must never complete a
/// token that was not given to it.
pub unsafe trait Storage: Send + Sync {
    /// Whether calls may overlap.
    fn concurrent(&self) -> bool {
        false
    }
    /// Whether the library's own events (kinds from `PIPELINE_KIND_RESERVED`) are wanted.
    fn wants_meta(&self) -> bool {
        false
    }
    /// Keeps the batch, and answers `PIPELINE_STORE_…`.
    fn store(&self, batch: &BatchView) -> i32;
    /// A writer begins; what it returns is that writer's `writer_data`.
    fn open_writer(&self, _writer_id: u32) -> Result<WriterData, i32> {
        Ok(WriterData::NONE)
    }
    /// A writer ends.
    fn close_writer(&self, _writer_id: u32, _writer_data: WriterData) {}
    /// Whether `flush` does anything.
    fn has_flush(&self) -> bool {
        true
    }
    /// Makes durable what was stored; 0, or a negative status.
    fn flush(&self, _timeout_ms: i64) -> i32 {
        0
    }
    /// Whether there is a dead letter at all.
    fn has_dead_letter(&self) -> bool {
        false
    }
    /// Takes events that cannot be stored; 0 if they are kept, `PIPELINE_STORE_RETRY` to be asked again.
    fn dead_letter(&self, _batch: &BatchView, _reason: i32) -> i32 {
        PIPELINE_STORE_REJECT
    }
    /// Whether `release` wants to be called.
    fn has_release(&self) -> bool {
        false
    }
    /// Whether `release` may be called on threads that capture, for events that are overwritten; then no capture may be under way
    /// when the pipeline is abandoned.
    fn releases_anywhere(&self) -> bool {
        false
    }
    /// Whether `release` is for the events with [`PIPELINE_EVENT_RELEASE`](crate::event::PIPELINE_EVENT_RELEASE) alone.
    fn releases_marked(&self) -> bool {
        false
    }
    /// An event has left the pipeline, whichever way.
    fn release(&self, _event: &EventView) {}
}
