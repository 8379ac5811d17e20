//! One writer's way of a batch: the events become blocks, which are appended to the writer's segment by one system call.

mod append;

use super::knowledge::{Seen, is_meta};
use super::options::Sync;
use super::shared::{Shared, Stop};
use super::sync_queue::Waiting;
use crate::batch::spans::SpanBatch;
use crate::batch::{BatchView, token};
use crate::event::PIPELINE_EVENT_RELEASE;
use crate::files::failure::Failure;
use crate::journal::blocks::views;
use crate::journal::blocks::{Blocks, NoMemory};
use crate::journal::format::columns::Encoder;
use crate::journal::segment::Segment;
use crate::platform::sync::Mutex;
use crate::storage::{
    PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY,
};
use std::sync::Arc;

/// A writer of the pipeline.
pub(super) struct Writer {
    pub id: u32,
    work: Mutex<Work>,
}

/// A batch in one of its forms.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    /// A view of each event.
    Views(&'a BatchView),
    /// The records as they lie in the ring buffers.
    Spans(&'a SpanBatch),
}

/// What a writer keeps from batch to batch.
#[derive(Default)]
struct Work {
    segment: Option<Arc<Segment>>,
    /// That of another run, whose batches take turns with those of the first.
    other: Option<Arc<Segment>>,
    events: Blocks,
    encoder: Encoder,
    /// Facts, ledgers, seals.
    extra: Blocks,
}

/// What the log is told once no lock is held.
#[derive(Default)]
struct Report {
    failed: Option<Failure>,
    warned: Option<(Failure, &'static str)>,
    no_space: Option<&'static str>,
    refused: Option<&'static str>,
}

impl Writer {
    pub fn new(id: u32) -> Self {
        Self { id, work: Mutex::new(Work::default()) }
    }

    /// Stores a batch, and answers `PIPELINE_STORE_…`.
    pub fn store(&self, shared: &Shared, batch: Input<'_>) -> i32 {
        let mut report = Report::default();
        // Before any lock, so that it is dropped after all of them.
        let seen = shared.knowledge.look();
        let answer = {
            let mut work = self.work.lock();
            let mut call = Call {
                shared,
                seen: &seen,
                writer: self.id,
                work: &mut work,
                kept: None,
                report: &mut report,
            };
            match batch {
                Input::Views(batch) => call.store(batch),
                Input::Spans(batch) => call.store_spans(batch),
            }
        };
        drop(seen);
        let messages = &shared.messages;
        if let Some((failure, consequence)) = report.warned {
            messages.warning(&failure, consequence);
        }
        if let Some(failure) = &report.failed {
            messages.failure(failure, "nothing is stored at present");
        }
        if let Some(why) = report.no_space {
            messages.no_space(why, &shared.options);
        }
        if let Some(why) = report.refused {
            messages.refused(why);
        }
        if matches!(answer, PIPELINE_STORE_OK | PIPELINE_STORE_PENDING) {
            messages.success();
        }
        messages.deleted(shared.limits.deleted());
        shared.limit_unsynced();
        answer
    }

    /// Seals the writer's segments, unless the next writer has to go on in one of them.
    pub fn close(&self, shared: &Shared) -> Result<(), Failure> {
        let seen = shared.knowledge.look();
        let mut work = self.work.lock();
        let Work { segment, other, extra, .. } = &mut *work;
        let mut result = Ok(());
        for segment in [segment.take(), other.take()].into_iter().flatten() {
            let mut state = segment.lock();
            if state.closed || !shared.keep_spare(&segment) {
                result = shared.seal(&segment, &mut state, &seen, extra).and(result);
            }
        }
        drop(work);
        drop(seen);
        result
    }
}

/// A segment, and where what was written to it ends.
type Written = (Arc<Segment>, u64);

/// One call of `store`.
struct Call<'a> {
    shared: &'a Shared,
    seen: &'a Seen,
    writer: u32,
    work: &'a mut Work,
    /// What the last write has written although it failed: whole blocks with so many events.
    kept: Option<(Written, u64)>,
    report: &'a mut Report,
}

impl Call<'_> {
    fn store(&mut self, batch: &BatchView) -> i32 {
        // SAFETY: the batch is valid, and its count is checked.
        if batch.count != 0 && is_meta(unsafe { views::event(batch, 0) }) {
            return self.store_meta(batch);
        }
        let limit = self.limit();
        let codec = self.shared.options.encoding.codec();
        let mut from = 0;
        let mut written = None;
        while from < batch.count {
            self.work.events.clear();
            let mut refused = 0;
            let refuse = |index: usize| {
                refused += 1;
                token::set_rejected(batch.token, index).map_err(|_| NoMemory)
            };
            let Work { events, encoder, .. } = &mut *self.work;
            let encode = |blocks: &mut Blocks| match codec {
                Some(codec) => blocks.encode(encoder, codec),
                None => Ok(()),
            };
            // SAFETY: the batch is valid until it is answered, and the blocks are cleared before they are used again.
            let taken = match unsafe { views::take(batch, from, limit, events, encode, refuse) } {
                Ok(taken) => taken,
                Err(none) => return self.stopped(batch.token, from, written, Stop::Failed(none.into())),
            };
            self.report.refused = self.report.refused.or(taken.refused);
            let events = taken.to - from - refused;
            if events != 0 {
                match self.write(batch.generation) {
                    Ok(now) => {
                        if let Err(failure) = self.leave_synced(written.replace(now.clone()), &now.0) {
                            return self.stopped(batch.token, 0, None, Stop::Failed(failure));
                        }
                    }
                    // This event can never be stored, and others may be.
                    Err(Stop::Refused(why)) if events == 1 && batch.count != 1 => {
                        self.report.no_space = Some(why);
                        if token::set_rejected(batch.token, taken.first).is_err() {
                            return self.stopped(
                                batch.token,
                                from,
                                written,
                                Stop::Failed(Failure::no_memory()),
                            );
                        }
                    }
                    Err(stop) => {
                        let (from, written) = match self.kept.take() {
                            None => (from, written),
                            Some((now, events)) => match self.leave_synced(written, &now.0) {
                                // SAFETY: the batch is valid.
                                Ok(()) => (unsafe { views::behind(batch, from, events) }, Some(now)),
                                Err(_) => (0, None),
                            },
                        };
                        return self.stopped(batch.token, from, written, stop);
                    }
                }
            }
            from = taken.to;
        }
        self.work.events.clear();
        match written {
            Some((segment, end)) => self.acknowledge(batch.token, segment, end),
            None => PIPELINE_STORE_OK,
        }
    }

    /// The bytes that are written at once. With a limit on all segments, a batch is written in parts, each of which fits into a segment.
    fn limit(&self) -> u64 {
        match self.shared.options.max_bytes {
            0 => u64::MAX,
            _ => self.shared.options.segment_limit(),
        }
    }

    /// Stores the records as they lie.
    fn store_spans(&mut self, batch: &SpanBatch) -> i32 {
        let bytes: u64 = batch.spans().flat_map(|span| span.records).map(|part| part.len() as u64).sum();
        if batch.flags() & PIPELINE_EVENT_RELEASE != 0 || bytes > self.limit() {
            // Single events are rejected, or the batch is divided.
            return match batch.view() {
                Ok(batch) => self.store(batch),
                Err(_) => self.stopped(batch.token(), 0, None, Stop::Failed(Failure::no_memory())),
            };
        }
        let taken = self.take_spans(batch).map_err(Stop::from);
        let written = taken.and_then(|()| self.write(batch.generation()));
        self.work.events.clear();
        match written {
            Ok((segment, end)) => self.acknowledge(batch.token(), segment, end),
            Err(stop) => {
                let (written, events) = self.kept.take().unzip();
                self.stopped(batch.token(), events.unwrap_or(0) as usize, written, stop)
            }
        }
    }

    /// Makes a block of each span.
    fn take_spans(&mut self, batch: &SpanBatch) -> Result<(), Failure> {
        let Work { events, encoder, .. } = &mut *self.work;
        events.clear();
        let (mut spans, mut pieces) = (0, 0);
        for span in batch.spans() {
            spans += 1;
            pieces += span.pieces.len();
        }
        events.reserve(spans, 0, spans)?;
        events.reserve_pieces(pieces)?;
        for span in batch.spans() {
            // SAFETY: the batch is valid until it is answered, and the blocks are cleared before that.
            unsafe { events.span(&span, batch.realtime_offset_ns()) };
            if let Some(codec) = self.shared.options.encoding.codec() {
                events.encode(encoder, codec)?;
            }
            events.end();
        }
        Ok(())
    }

    /// The answer to a batch that is written.
    fn acknowledge(&mut self, token: u64, segment: Arc<Segment>, end: u64) -> i32 {
        match self.shared.options.sync {
            Sync::Never | Sync::Flush => PIPELINE_STORE_OK,
            Sync::Interval => {
                self.shared.sync_queue.note_written();
                PIPELINE_STORE_OK
            }
            Sync::Batch => {
                let waiting = Waiting { token, segment, end };
                if self.shared.sync_queue.push(waiting) {
                    PIPELINE_STORE_PENDING
                } else {
                    self.report.failed = Some(Failure::no_memory());
                    PIPELINE_STORE_RETRY
                }
            }
        }
    }

    /// Before a batch goes on in another segment: its first part must be on the disk when the batch is acknowledged.
    fn leave_synced(&self, before: Option<Written>, now: &Arc<Segment>) -> Result<(), Failure> {
        match before {
            Some((segment, end)) if self.shared.options.sync == Sync::Batch && segment.id() != now.id() => {
                segment.sync_to(end)
            }
            _ => Ok(()),
        }
    }

    /// The answer to a batch whose events before `from` are written, and no others.
    fn stopped(&mut self, token: u64, from: usize, written: Option<Written>, stop: Stop) -> i32 {
        self.work.events.clear();
        let acknowledged = match written {
            Some((segment, end)) if self.shared.options.sync == Sync::Batch => segment.sync_to(end).is_ok(),
            written => written.is_some(),
        };
        if acknowledged {
            if self.shared.options.sync == Sync::Interval {
                self.shared.sync_queue.note_written();
            }
            let _ = token::set_stored(token, from);
        }
        match stop {
            Stop::Failed(failure) => self.report.failed = Some(failure),
            Stop::Later(why) => self.report.no_space = Some(why),
            Stop::SealFirst => self.report.no_space = Some("events wait for room"),
            Stop::Refused(why) => {
                self.report.no_space = Some(why);
                return PIPELINE_STORE_REJECT;
            }
        }
        PIPELINE_STORE_RETRY
    }

    /// Keeps facts that come as events, and writes them at once: they are acknowledged like events.
    fn store_meta(&mut self, batch: &BatchView) -> i32 {
        self.work.events.clear();
        let noted = self.shared.knowledge.note_meta(batch);
        match noted.map_err(Stop::from).and_then(|()| self.write(batch.generation)) {
            Ok((segment, end)) => self.acknowledge(batch.token, segment, end),
            Err(stop) => self.stopped(batch.token, 0, None, stop),
        }
    }
}
