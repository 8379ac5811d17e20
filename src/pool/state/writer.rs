//! One writer as the pool sees it: what it is doing, and in which function of the storage it is, since when.

use crate::batch::Phase;
use crate::storage::WriterData;
use std::ffi::c_void;

/// A writer that follows a producer too closely reads the cache lines that the producer is writing, and makes each capture several times
/// slower. So after a small claim a writer lets events gather for this long.
pub const GATHER_NS: u64 = 5_000;

/// What a writer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Not open yet; tries (again) at this time.
    Opening(u64),
    /// In `open_writer`, since this time.
    Entering(u64),
    /// Looking for work.
    Searching,
    /// Asleep.
    Asleep,
    /// In a call of `store`, `flush`, `dead_letter`, `release`, `finish` or the transform, since this time.
    Calling(u64),
    /// In `close_writer`, since this time.
    Ending(u64),
}

/// A call of the storage without a batch, between `open_writer` and `close_writer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `release` with overwritten events.
    Release,
    /// `flush`, for a caller of `pipeline_flush` or `pipeline_close`.
    Flush,
    /// `finish`, for a caller of `pipeline_close`.
    Finish,
}

/// Whether a writer lets events gather before its next claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// It claims what there is.
    No,
    /// Its last claim was small: it lets events gather from the begin of its next call on.
    FromNextCall,
    /// It claims nothing before this time.
    Until(u64),
}

/// A writer as the pool sees it.
#[derive(Debug)]
pub struct Writer {
    /// Not reused while its thread lives.
    pub id: u32,
    /// Its thread's number in this library; 0 until it runs.
    pub token: u64,
    /// Its thread's id as the operating system has it.
    pub tid: u32,
    /// What it is doing; changed by [`Writers::set_doing`](super::writers::Writers::set_doing) alone.
    pub doing: Doing,
    /// Its last call without a batch.
    pub call: Call,
    /// The slot of the batch that it carries.
    pub slot: Option<usize>,
    /// Its last call is with a priority batch.
    pub priority: bool,
    /// It was told to end.
    pub leaving: bool,
    /// Its call has outlived the deadline: another writer may take its place.
    pub stuck: bool,
    /// `open_writer` has succeeded.
    pub opened: bool,
    /// The `writer_data` that it gave.
    pub data: WriterData,
    /// Failures of `open_writer` in a row.
    pub open_failures: u32,
    /// The status of its last failure.
    pub open_status: i32,
    /// The argument that its thread was started with.
    pub start: *mut c_void,
    /// Whether it lets events gather.
    pub gather: Gather,
    /// The configuration's field about scheduling that the system has refused.
    pub misplaced: Option<&'static str>,
    /// Attempts made.
    pub attempts: u64,
    /// Events acknowledged at once.
    pub events: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Attempts answered with a retry.
    pub retries: u64,
    /// Time spent in calls.
    pub call_ns: u64,
}

// SAFETY: `start` is only passed on, to the one thread that frees it.
unsafe impl Send for Writer {}

impl Writer {
    /// A writer whose thread is about to start; it opens itself not before that time.
    pub fn new(id: u32, start: *mut c_void, not_before: u64) -> Self {
        Self {
            id,
            token: 0,
            tid: 0,
            doing: Doing::Opening(not_before),
            call: Call::Release,
            slot: None,
            priority: false,
            leaving: false,
            stuck: false,
            opened: false,
            data: WriterData::NONE,
            open_failures: 0,
            open_status: 0,
            start,
            gather: Gather::No,
            misplaced: None,
            attempts: 0,
            events: 0,
            bytes: 0,
            retries: 0,
            call_ns: 0,
        }
    }

    /// Since when it is in a call of the storage.
    pub fn in_call_since(&self) -> Option<u64> {
        match self.doing {
            Doing::Opening(_) | Doing::Searching | Doing::Asleep => None,
            Doing::Entering(since) | Doing::Calling(since) | Doing::Ending(since) => Some(since),
        }
    }

    /// Whether it is in a call of `store`, `flush`, `dead_letter`, `release` or `finish`.
    pub fn is_calling(&self) -> bool {
        matches!(self.doing, Doing::Calling(_))
    }

    /// The function of the storage that it is in; `phase`: of the batch that it carries, if it does.
    pub fn function(&self, phase: Option<Phase>) -> &'static str {
        match (self.doing, phase, self.call) {
            (Doing::Entering(_), _, _) => "open_writer",
            (Doing::Ending(_), _, _) => "close_writer",
            (_, Some(Phase::Transform), _) => "the transform",
            (_, Some(Phase::Store), _) => "store",
            (_, Some(Phase::DeadLetter { .. }), _) => "dead_letter",
            (_, Some(Phase::Release), _) | (_, None, Call::Release) => "release",
            (_, None, Call::Flush) => "flush",
            (_, None, Call::Finish) => "finish",
        }
    }
}
