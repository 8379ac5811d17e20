//! A batch: events claimed from ring buffers, handed to a storage as one.

pub mod token;

use crate::event::EventView;
use crate::platform::sync::AtomicU64;
use crate::ring::log::Span;
use std::ffi::c_void;
use token::Issuer;

/// What `open_writer` gave for a writer; a number to everyone but the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterData(pub *mut c_void);

impl WriterData {
    /// Nothing.
    pub const NONE: Self = Self(std::ptr::null_mut());
}

/// A batch as a storage sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BatchView {
    /// `sizeof(pipeline_batch_t)` of the library.
    pub struct_size: u32,
    /// Bytes from one event to the next; use `PIPELINE_BATCH_EVENT(batch, i)`.
    pub event_stride: u32,
    /// Which pipeline of the process; never reused.
    pub pipeline_id: u64,
    /// 64 random bits drawn when the pipeline started: the first part of every event's identity.
    pub generation: u64,
    /// Unique in the generation; the same at each attempt.
    pub batch_id: u64,
    /// Names this attempt; for `pipeline_batch_complete`.
    pub token: u64,
    /// 1 at the first attempt.
    pub attempt: u32,
    /// The writer that makes the attempt.
    pub writer_id: u32,
    /// When the writer took the batch up, CLOCK_MONOTONIC in nanoseconds.
    pub processed_at_ns: u64,
    /// Add it to a `timestamp_ns` for wall time (nanoseconds since 1970), own-time events excepted.
    pub realtime_offset_ns: i64,
    /// From `open_writer`; NULL without.
    pub writer_data: *mut c_void,
    /// How many events.
    pub count: usize,
    /// The events, `event_stride` bytes apart.
    pub events: *const EventView,
}

/// What is to be done with a batch next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It goes to `store`.
    Store,
    /// What is left of it goes to the dead letter.
    DeadLetter,
    /// Every event of it goes to `release`.
    Release,
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A writer fills it, or nobody has it.
    Idle,
    /// In the queue of batches that a writer shall take up.
    Ready,
    /// Waiting for its next attempt.
    BackOff,
    /// In a call of the storage.
    InCall,
    /// Behind such a call: the storage will answer.
    Pending,
}

/// A batch as the pool keeps it. It outlives the writers that carry it: same id, same events.
#[derive(Debug)]
pub struct Batch {
    /// What the storage is shown; a heap cell of its own, because a storage reads it while the pool's state changes.
    view: Box<std::cell::UnsafeCell<BatchView>>,
    /// The events that are still to be stored (or dead-lettered), oldest first.
    pub events: Vec<EventView>,
    /// The events that go to the dead letter once the others are settled, and why.
    pub dead: Vec<(i32, EventView)>,
    /// The claims that it is made of: index of the ring, and the range.
    pub spans: Vec<(usize, Span)>,
    /// Where the storage has a `release`: the timestamps of all its events as they were first shown.
    pub times: Vec<u64>,
    /// The latest of those that are ours.
    pub newest_ns: u64,
    /// Unique in the generation.
    pub id: u64,
    /// What is next.
    pub phase: Phase,
    /// Where it is.
    pub place: Place,
    /// Whether it holds the library's own events, which no count includes.
    pub meta: bool,
    /// Whether any of its events has `PIPELINE_EVENT_RELEASE`.
    pub marked: bool,
    /// Whether any of its events has a time of its caller's.
    pub own_times: bool,
    /// Whether it is counted as in doubt.
    pub in_doubt: bool,
    /// Names the attempts; made for the first of them.
    pub issuer: Option<Issuer>,
    /// Names the present attempt; 0: none is open.
    pub token: u64,
    /// Attempts in this phase.
    pub attempt: u32,
    /// When the first of them began.
    pub first_attempt_ns: u64,
    /// When the present call or wait began.
    pub since_ns: u64,
    /// When the next attempt is due.
    pub due_ns: u64,
    /// The stored prefix as the storage named it, of this attempt.
    pub prefix: usize,
    /// The events that the storage rejected, of this attempt: a flag for each, or nothing if there are none.
    pub rejected: Vec<bool>,
    /// Events shown to `release` so far; written by the writer that shows them.
    pub released: AtomicU64,
    /// An answer that is not applied yet: it came before `store` had returned, or is being exchanged for the next batch.
    pub early: Option<(usize, i32)>,
    /// Why its events go to the dead letter.
    pub reason: i32,
}

// SAFETY: the view is written under the pool's lock while no attempt is open, and only read while one is.
unsafe impl Send for Batch {}

impl Batch {
    /// A batch without events.
    pub fn new(pipeline_id: u64, generation: u64) -> Self {
        let view = BatchView {
            struct_size: size_of::<BatchView>() as u32,
            event_stride: size_of::<EventView>() as u32,
            pipeline_id,
            generation,
            batch_id: 0,
            token: 0,
            attempt: 0,
            writer_id: 0,
            processed_at_ns: 0,
            realtime_offset_ns: 0,
            writer_data: std::ptr::null_mut(),
            count: 0,
            events: std::ptr::null(),
        };
        Self {
            view: Box::new(std::cell::UnsafeCell::new(view)),
            events: Vec::new(),
            dead: Vec::new(),
            spans: Vec::new(),
            times: Vec::new(),
            newest_ns: 0,
            id: 0,
            phase: Phase::Store,
            place: Place::Idle,
            meta: false,
            marked: false,
            own_times: false,
            in_doubt: false,
            issuer: None,
            token: 0,
            attempt: 0,
            first_attempt_ns: 0,
            since_ns: 0,
            due_ns: 0,
            prefix: 0,
            rejected: Vec::new(),
            released: Default::default(),
            early: None,
            reason: 0,
        }
    }

    /// Empties it for its next use; the memory of its lists stays.
    pub fn clear(&mut self) {
        self.events.clear();
        self.dead.clear();
        self.spans.clear();
        self.times.clear();
        self.newest_ns = 0;
        self.rejected.clear();
        *self.released.get_mut() = 0;
        self.phase = Phase::Store;
        self.place = Place::Idle;
        self.meta = false;
        self.marked = false;
        self.own_times = false;
        self.in_doubt = false;
        self.token = 0;
        self.attempt = 0;
        self.early = None;
        self.prefix = 0;
        self.reason = 0;
    }

    /// Events that are not settled.
    pub fn unsettled(&self) -> u64 {
        if self.meta { 0 } else { (self.events.len() + self.dead.len()) as u64 }
    }

    /// Whether all its events, as they were claimed, are still to be stored.
    pub fn is_whole(&self) -> bool {
        let claimed: usize = self.spans.iter().map(|(_, span)| span.events as usize).sum();
        self.events.len() == claimed
    }

    /// The writer that made the last attempt.
    pub fn writer(&self) -> u32 {
        // SAFETY: the view is written under the pool's lock alone, which whoever has the batch holds.
        unsafe { (*self.view.get()).writer_id }
    }

    /// What is left of it goes to the dead letter.
    pub fn bury(&mut self, reason: i32) {
        self.dead.extend(self.events.iter().map(|e| (reason, *e)));
        self.events.clear();
    }

    /// One attempt more, counted and timed.
    pub fn begin_attempt(&mut self, now_ns: u64) {
        self.attempt += 1;
        if self.attempt == 1 {
            self.first_attempt_ns = now_ns;
        }
    }

    /// Opens an attempt: fills in the view that the storage is shown. No attempt may be open.
    pub fn present(
        &mut self,
        writer_id: u32,
        writer_data: WriterData,
        now_ns: u64,
        realtime_offset_ns: i64,
    ) -> *const BatchView {
        let view = self.view.get_mut();
        view.batch_id = self.id;
        view.token = self.token;
        view.attempt = self.attempt;
        view.writer_id = writer_id;
        // (What a clock of another kind has stamped may lie ahead by a fraction of a microsecond.)
        view.processed_at_ns = now_ns.max(self.newest_ns);
        view.realtime_offset_ns = realtime_offset_ns;
        view.writer_data = writer_data.0;
        view.count = self.events.len();
        view.events = self.events.as_ptr();
        self.view.get().cast_const()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_the_writer_of_its_last_attempt() {
        let mut batch = Batch::new(1, 2);
        for writer in [7, 9] {
            let view = batch.present(writer, WriterData::NONE, 3, 4);
            // SAFETY: of a batch that lives.
            assert_eq!((batch.writer(), unsafe { (*view).writer_id }), (writer, writer));
        }
    }
}
