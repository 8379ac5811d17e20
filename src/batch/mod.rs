//! A batch: events claimed from ring buffers, which a storage gets as one.

pub mod recovered;
pub mod spans;
pub mod stamps;
pub mod token;
mod transformed;
pub mod transforming;
mod view;

use crate::event::EventView;
use crate::platform::sync::AtomicU64;
use crate::ring::ring_buffer::Span;
use recovered::Part;
use spans::SpanBatch;
use std::cell::UnsafeCell;
use token::Issuer;
use transforming::Transforming;
pub use view::{BatchView, WriterData};

/// The function of the storage that a batch goes to next, or the transform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// `store`.
    #[default]
    Store,
    /// The transform, with each event that it has not seen.
    Transform,
    /// `dead_letter`, with the events that `store` did not take.
    DeadLetter {
        /// `PIPELINE_REASON_…`.
        reason: i32,
    },
    /// `release`, for each event of the batch.
    Release,
}

/// The storage's answer to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// So many events at the start of the batch are stored, whatever the result is.
    pub stored_prefix: usize,
    /// `PIPELINE_STORE_…`, or any other number that the storage returned.
    pub result: i32,
}

impl Answer {
    /// An answer without a stored prefix.
    pub const fn new(result: i32) -> Self {
        Self { stored_prefix: 0, result }
    }
}

/// An attempt that the storage has and has not answered.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Names the attempt; 0 if no token can answer it.
    pub token: u64,
    /// When it began.
    pub since_ns: u64,
    /// It has outlived `storage_deadline_ms`.
    pub in_doubt: bool,
    /// The stored prefix that `pipeline_batch_set_stored` has named.
    pub stored_prefix: usize,
    /// An answer by token that is not settled yet: `store` has not returned, or the answer is being exchanged for the next batch.
    pub answer: Option<Answer>,
}

impl Attempt {
    /// An attempt that begins now.
    pub const fn new(token: u64, now_ns: u64) -> Self {
        Self { token, since_ns: now_ns, in_doubt: false, stored_prefix: 0, answer: None }
    }
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, Default)]
pub enum Place {
    /// Its slot is free, or a thread fills it.
    #[default]
    Idle,
    /// In the queue of batches that a writer takes up at once.
    Ready,
    /// Waiting for its next attempt.
    BackOff {
        /// When the last attempt began.
        since_ns: u64,
        /// When the next one is due.
        due_ns: u64,
    },
    /// In a call of the storage.
    InCall(Attempt),
    /// The call has returned `PIPELINE_STORE_PENDING`: the storage answers by token.
    Pending(Attempt),
}

/// What there is of a batch's events, beside the records in the ring buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Views of those that are not settled.
    #[default]
    Views,
    /// The spans in which all of them lie.
    Spans,
    /// Nothing yet. Views are to be made before the batch is shown to the storage.
    Bare,
}

/// A batch as the pool keeps it. It outlives the writers that carry it: same id, same events.
#[derive(Debug, Default)]
pub struct Batch {
    /// What the storage is shown; a heap cell of its own, because a storage reads it while the pool's state changes.
    view: Box<UnsafeCell<BatchView>>,
    /// How its records lie, if it was ever claimed for a storage that takes spans. A heap cell for the same reason.
    span_batch: Option<Box<UnsafeCell<SpanBatch>>>,
    /// How far its transform has come, if a batch with one was ever in this slot. A heap cell, because a writer changes it during the calls.
    transforming: Option<Box<UnsafeCell<Transforming>>>,
    /// The generation of the pipeline's own events.
    generation: u64,
    /// The part that its events are of, if they are those of a run that has ended. Then it has no spans.
    recovered: Option<Box<Part>>,
    /// Whether it is claimed with views for a transform, also where the storage takes spans.
    pub viewed: bool,
    /// Whether it has a transform, or had.
    pub transformed: bool,
    /// Events that the transform has to see before the storage does, and those that it has seen in a call that has not returned.
    untransformed: u32,
    /// With a transform: the events of the part that the storage is shown.
    part_count: usize,
    /// What there is of its events.
    pub form: Form,
    /// The events that are still to be stored (or dead-lettered), oldest first; empty unless it has views.
    pub events: Vec<EventView>,
    /// The events that go to the dead letter once the others are settled, and why.
    pub dead: Vec<(i32, EventView)>,
    /// The claims that it is made of: index of the ring, and the range.
    pub spans: Vec<(usize, Span)>,
    /// Where the storage has a `release`: the timestamps of all its events as they were first shown.
    pub times: Vec<u64>,
    /// The latest timestamp of the library's own clock.
    pub newest_ns: u64,
    /// Unique in the generation.
    pub id: u64,
    /// The function of the storage that it goes to next.
    pub phase: Phase,
    /// Where it is; changed by the pool's `Batches` alone.
    pub place: Place,
    /// Whether it holds the library's own events, which no count includes.
    pub meta: bool,
    /// Whether its events are of priority rings.
    pub priority: bool,
    /// Whether any of its events has `PIPELINE_EVENT_RELEASE`.
    pub marked: bool,
    /// Whether the storage, which has stored all of it, releases its events by itself.
    pub kept: bool,
    /// Whether any of its events has a time of its caller's.
    pub own_times: bool,
    /// Issues the tokens of its attempts; made for the first of them.
    pub issuer: Option<Issuer>,
    /// Attempts in this phase.
    pub attempts: u32,
    /// When the first of them began.
    pub first_attempt_ns: u64,
    /// The events that the storage rejected in this attempt: a flag for each, or nothing if there are none.
    pub rejected: Vec<bool>,
    /// Events shown to `release` so far; written by the writer that shows them.
    pub released: AtomicU64,
}

// SAFETY: the view is written under the pool's lock while no attempt is open, and only read while one is. What the transform has come to is
// used by one writer while it is in a call (`Phase::Transform`), and under the pool's lock otherwise.
unsafe impl Send for Batch {}

impl Batch {
    /// A batch without events.
    pub fn new(pipeline_id: u64, generation: u64) -> Self {
        let mut batch = Self::default();
        (batch.view.get_mut().pipeline_id, batch.generation) = (pipeline_id, generation);
        batch
    }

    /// Fills it with the events of a run that has ended.
    pub fn recover(&mut self, mut part: Box<Part>) {
        std::mem::swap(&mut self.events, &mut part.events);
        (self.meta, self.own_times) = (part.meta, part.own_times);
        self.recovered = Some(part);
    }

    /// The part that its events are of, if they are those of a run that has ended.
    #[inline]
    pub fn recovered(&self) -> Option<&Part> {
        self.recovered.as_deref()
    }

    /// All of it has left: gives the part back.
    #[inline]
    pub fn take_recovered(&mut self) -> Option<Box<Part>> {
        self.recovered.take()
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
        self.priority = false;
        self.marked = false;
        self.kept = false;
        self.viewed = false;
        self.own_times = false;
        self.attempts = 0;
        self.form = Form::Views;
        self.recovered = None;
        if std::mem::take(&mut self.transformed) {
            self.clear_transforming();
        }
        if let Some(kept) = &mut self.span_batch {
            kept.get_mut().clear();
        }
    }

    /// Events that are still to be stored, or dead-lettered.
    #[inline]
    pub fn count(&self) -> usize {
        if self.form == Form::Views { self.events.len() } else { self.claimed() }
    }

    /// Events that it was claimed with.
    fn claimed(&self) -> usize {
        if let Some(part) = &self.recovered {
            return part.count;
        }
        self.spans.iter().map(|(_, span)| span.events as usize).sum()
    }

    /// Events that are not settled.
    pub fn unsettled(&self) -> u64 {
        if self.meta { 0 } else { (self.count() + self.dead.len() + self.untransformed as usize) as u64 }
    }

    /// Whether all its events, as they were claimed, are still to be stored. With a transform: all that the storage is shown of them.
    pub fn is_whole(&self) -> bool {
        let all = if self.transformed { self.part_count } else { self.claimed() };
        self.form != Form::Views || self.events.len() == all
    }

    /// How its records lie, to be filled in while it is claimed.
    pub fn span_batch_mut(&mut self) -> &mut SpanBatch {
        self.span_batch.get_or_insert_default().get_mut()
    }

    /// How its records lie.
    pub fn span_batch(&self) -> Option<&SpanBatch> {
        // SAFETY: written while no attempt is open, by the thread that has the batch alone.
        self.span_batch.as_ref().map(|kept| unsafe { &*kept.get() })
    }

    /// What a storage that takes spans is shown of an attempt. `None`: it is shown views.
    #[inline]
    pub fn spans_to_show(&self) -> Option<*const SpanBatch> {
        let kept = self.span_batch.as_ref().filter(|_| self.form == Form::Spans)?;
        Some(kept.get().cast_const())
    }

    /// Makes views of its events if it has spans. `false`: it has nothing yet, or there is no memory.
    pub fn make_views(&mut self) -> bool {
        match self.form {
            Form::Views => true,
            Form::Bare => false,
            Form::Spans => {
                let mut events = std::mem::take(&mut self.events);
                let made = self.span_batch().is_some_and(|kept| kept.append_views(&mut events).is_ok());
                self.events = events;
                if made {
                    self.form = Form::Views;
                }
                made
            }
        }
    }

    /// How far its transform has come.
    fn transforming(&self) -> Option<&Transforming> {
        // SAFETY: a caller with a `&Batch` holds the pool's lock, or tears the pool down. While the writer that is in the call changes it, nobody asks.
        self.transforming.as_ref().map(|cell| unsafe { &*cell.get() })
    }

    /// None of its events is to be stored any more.
    #[inline]
    pub fn clear_events(&mut self) {
        self.events.clear();
        self.form = Form::Views;
    }

    /// The writer that made the last attempt.
    pub fn writer(&self) -> u32 {
        // SAFETY: the view is written under the pool's lock alone, which a caller with a `&Batch` holds.
        unsafe { (*self.view.get()).writer_id }
    }

    /// The attempt that the storage has not answered.
    #[inline]
    pub fn attempt(&self) -> Option<&Attempt> {
        match &self.place {
            Place::InCall(attempt) | Place::Pending(attempt) => Some(attempt),
            Place::Idle | Place::Ready | Place::BackOff { .. } => None,
        }
    }

    /// The same, to be changed.
    #[inline]
    pub fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match &mut self.place {
            Place::InCall(attempt) | Place::Pending(attempt) => Some(attempt),
            Place::Idle | Place::Ready | Place::BackOff { .. } => None,
        }
    }

    /// Moves its events to the list for the dead letter. `false`: there is no memory for that, and nothing has changed.
    pub fn give_up(&mut self, reason: i32) -> bool {
        if !self.make_views() || self.dead.try_reserve(self.events.len()).is_err() {
            return false;
        }
        self.dead.extend(self.events.iter().map(|e| (reason, *e)));
        self.events.clear();
        true
    }

    /// Counts one more attempt, and fills in the view that the storage is shown. The attempt before has ended.
    pub fn begin_attempt(
        &mut self,
        token: u64,
        writer_id: u32,
        writer_data: WriterData,
        now_ns: u64,
        realtime_offset_ns: i64,
    ) -> *const BatchView {
        self.attempts += 1;
        if self.attempts == 1 {
            self.first_attempt_ns = now_ns;
        }
        self.rejected.clear();
        // (Timestamps of another clock may lie ahead by a fraction of a microsecond.)
        let mut shown = (self.generation, realtime_offset_ns, now_ns.max(self.newest_ns));
        if let Some(part) = &self.recovered {
            // The time of the attempt is told by the clock of the old run, which may be that of another boot.
            let (old, wall_ns) =
                (part.run.realtime_offset_ns, now_ns.saturating_add_signed(realtime_offset_ns));
            shown = (part.run.generation, old, wall_ns.saturating_add_signed(old.saturating_neg()));
        }
        let view = self.view.get_mut();
        (view.generation, view.realtime_offset_ns, view.processed_at_ns) = shown;
        view.batch_id = self.id;
        view.token = token;
        view.attempt = self.attempts;
        view.writer_id = writer_id;
        view.writer_data = writer_data.0;
        view.count = self.events.len();
        view.events = self.events.as_ptr();
        if self.form == Form::Spans {
            let shown = *view;
            self.span_batch_mut().begin_attempt(shown);
        }
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
            let view = batch.begin_attempt(0, writer, WriterData::NONE, 3, 4);
            // SAFETY: of a batch that lives.
            assert_eq!((batch.writer(), unsafe { (*view).writer_id }), (writer, writer));
        }
    }
}
