//! From the blocks of a batch to the end of a segment: which segment, what must come before the events, one write.

use super::{Call, Work, Written};
use crate::files::failure::{Class, Failure};
use crate::journal::blocks::Blocks;
use crate::journal::format::block;
use crate::journal::segment::{SEAL_ROOM, Segment, State};
use crate::storage::journal::shared::Stop;
use std::sync::Arc;

/// Segments that are tried for one write. Another part of the program may close descriptors, or delete files, again and again.
const TRIES: u32 = 4;
/// The system takes large writes faster if they begin and end at multiples of this, because it then keeps them in large pieces. Measured with batches of
/// 256 KiB: 22 ns for 112 bytes, where other writes take 26.
const ALIGNED_WRITES: u64 = 64 << 10;
/// A write of so many bytes is a large one.
const LARGE_WRITE: u64 = 192 << 10;
/// After so many large writes in a row the next one is made to begin at a multiple.
const STEADY: u32 = 4;
/// The most bytes by which a large write is made longer so that it ends at a multiple.
const MOST_FILLER: u64 = 4 << 10;
/// Smaller segments are not worth it.
const LARGE_SEGMENT: u64 = 8 << 20;

impl Call<'_> {
    /// Writes the blocks of events, and what must come before them. Answers the segment, and where they end.
    pub(super) fn write(&mut self, generation: u64) -> Result<Written, Stop> {
        let mut last = Stop::SealFirst;
        self.kept = None;
        for _ in 0..TRIES {
            let segment = self.segment(generation)?;
            let mut state = segment.lock();
            if state.closed || segment.has_failed() {
                self.leave(&segment, &mut state);
                continue;
            }
            let before = state.events;
            match self.append(&segment, &mut state) {
                Ok(()) => return Ok((Arc::clone(&segment), state.end)),
                Err(Stop::SealFirst) => self.seal(&segment, &mut state),
                Err(stop) => {
                    if state.closed {
                        self.leave(&segment, &mut state);
                    }
                    let again = matches!(&stop, Stop::Failed(failure) if failure.class != Class::Transient);
                    last = stop;
                    if state.events != before {
                        self.kept = Some(((Arc::clone(&segment), state.end), state.events - before));
                    }
                    if !again || self.kept.is_some() {
                        return Err(last);
                    }
                }
            }
        }
        Err(last)
    }

    /// The segment to write to: the writer's own, a new one, or, if none can be made, another writer's.
    fn segment(&mut self, generation: u64) -> Result<Arc<Segment>, Stop> {
        let is_another_s = |own: &Arc<Segment>| own.id().0 != generation;
        if self.work.segment.as_ref().is_some_and(is_another_s) {
            let Work { segment, other, .. } = &mut *self.work;
            std::mem::swap(segment, other);
        }
        // One of a third run gives way, but only when its successor is made: a program that has dropped its privileges must not lose what it can write to.
        let third = self.work.segment.clone().filter(is_another_s);
        if third.is_none()
            && let Some(own) = self.work.segment.clone()
        {
            let mut state = own.lock();
            if !state.closed && !own.has_failed() {
                if !self.is_full(&state) {
                    drop(state);
                    return Ok(own);
                }
                if let Some(next) = self.rotate(&own, &mut state)? {
                    return Ok(next);
                }
                drop(state);
                return Ok(own);
            }
            self.leave(&own, &mut state);
        }
        let spare = self.shared.take_spare(generation);
        let made =
            spare.map_or_else(|| self.shared.make_segment(generation, self.writer, self.seen, None), Ok);
        match made {
            Ok(segment) => {
                if let Some(third) = third {
                    let mut state = third.lock();
                    self.seal(&third, &mut state);
                }
                self.work.segment = Some(Arc::clone(&segment));
                Ok(segment)
            }
            // A program that has dropped its privileges, for example, may not make files any more.
            Err(Stop::Failed(failure)) => self.shared.borrow(generation).ok_or(Stop::Failed(failure)),
            Err(stop) => Err(stop),
        }
    }

    fn is_full(&self, state: &State) -> bool {
        let need = self.work.events.len() + SEAL_ROOM;
        state.events != 0 && state.end + need > self.shared.options.segment_limit()
    }

    /// Goes on in a new segment. `None`: none can be made, and the old one is continued.
    fn rotate(&mut self, old: &Segment, state: &mut State) -> Result<Option<Arc<Segment>>, Stop> {
        let make = |caller| self.shared.make_segment(old.id().0, self.writer, self.seen, caller);
        let made = match make(Some((old, &*state))) {
            Err(Stop::SealFirst) => {
                self.seal(old, state);
                self.shared.make_segment(old.id().0, self.writer, self.seen, None)?
            }
            Err(Stop::Failed(failure)) => {
                self.report.warned =
                    Some((failure, "a segment is continued, because no new one can be made"));
                return Ok(None);
            }
            made => made?,
        };
        self.seal(old, state);
        self.work.segment = Some(Arc::clone(&made));
        Ok(Some(made))
    }

    fn seal(&mut self, segment: &Segment, state: &mut State) {
        // Without its seal a segment is complete as well, as far as events are concerned.
        if let Err(failure) = self.shared.seal(segment, state, self.seen, &mut self.work.extra) {
            self.report.warned = Some((failure, "a segment could not be sealed"));
        }
        self.forget_own(segment);
    }

    /// Gives up a segment that cannot be written any more.
    fn leave(&mut self, segment: &Segment, state: &mut State) {
        segment.give_up(state);
        self.shared.forget(segment);
        self.forget_own(segment);
    }

    fn forget_own(&mut self, segment: &Segment) {
        let Work { segment: own, other, .. } = &mut *self.work;
        for own in [own, other] {
            if own.as_ref().is_some_and(|own| own.id() == segment.id()) {
                *own = None;
            }
        }
    }

    /// Appends the blocks of events, and before them what the segment lacks.
    fn append(&mut self, segment: &Segment, state: &mut State) -> Result<(), Stop> {
        let Work { events, extra, .. } = &mut *self.work;
        extra.clear();
        let (shared, seen) = (self.shared, self.seen);
        let deleted = shared.limits.deleted();
        let run = segment.id().0;
        let facts = shared.knowledge.add_facts(seen, run, state, events.rings(), deleted, extra)?;
        shared.knowledge.add_ledger(seen, run, false, extra)?;
        align(state, extra, events, shared.options.segment_limit())?;
        let need = extra.len() + events.len();
        let first = state.events == 0;
        shared.admit(need, seen, Some((segment, &*state)))?;
        let before = state.end;
        let written = append_some(segment, state, extra).and_then(|()| {
            // They stay, whatever becomes of the events: each segment has the list of facts once.
            (state.facts, state.deletions) = (facts, deleted.segments);
            shared.knowledge.note_written(run, facts);
            append_some(segment, state, events)
        });
        shared.limits.done(need, state.end - before);
        if state.deletions == deleted.segments {
            shared.limits.note_stated(deleted);
        }
        if first && state.events != 0 && shared.options.segment_age_ns().is_some() {
            shared.sync_queue.note_begun();
        }
        if let Err(failure) = written {
            state.forget_threads();
            return Err(failure.into());
        }
        Ok(())
    }
}

/// Makes large writes begin and end at multiples of [`ALIGNED_WRITES`], by blocks that mean nothing.
fn align(
    state: &mut State,
    extra: &mut Blocks,
    events: &mut Blocks,
    segment_limit: u64,
) -> Result<(), Failure> {
    if events.len() < LARGE_WRITE || segment_limit < LARGE_SEGMENT {
        state.large_writes = 0;
        return Ok(());
    }
    state.large_writes += 1;
    let gap = |end: u64| end.next_multiple_of(ALIGNED_WRITES) - end;
    let fits = |gap: &u64| *gap >= block::SIZE as u64;
    let before = gap(state.end + extra.len());
    if state.large_writes > STEADY && before > MOST_FILLER {
        extra.filler(before)?;
        state.large_writes = 0;
    }
    let after = gap(state.end + extra.len() + events.len());
    if after <= MOST_FILLER && fits(&after) {
        events.filler(after)?;
    }
    Ok(())
}

fn append_some(segment: &Segment, state: &mut State, blocks: &mut Blocks) -> Result<(), Failure> {
    if blocks.is_empty() { Ok(()) } else { segment.append(state, blocks) }
}
