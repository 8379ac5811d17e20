//! Ending segments: when a writer or the pipeline ends, to make room, and when they are old.

use super::{LimitsView, Shared, Stop};
use crate::files::failure::Failure;
use crate::journal::blocks::Blocks;
use crate::journal::segment::{SEAL_FACTS, Segment, State};
use crate::platform::sync::Ordering;
use crate::platform::time;
use crate::storage::journal::knowledge::{Deleted, Seen};
use std::sync::Arc;

impl Shared {
    /// Ends a segment that the caller has locked, with what it still lacks.
    pub fn seal(
        &self,
        segment: &Segment,
        state: &mut State,
        seen: &Seen,
        blocks: &mut Blocks,
    ) -> Result<(), Failure> {
        self.seal_within(segment, state, seen, blocks, true)
    }

    /// The same. `asks`: if the room that is kept for the end of a segment is too little, more is asked for. Otherwise facts are left out.
    pub(super) fn seal_within(
        &self,
        segment: &Segment,
        state: &mut State,
        seen: &Seen,
        blocks: &mut Blocks,
        asks: bool,
    ) -> Result<(), Failure> {
        if state.closed {
            self.forget(segment);
            return Ok(());
        }
        blocks.clear();
        let mut deleted = self.limits.deleted();
        let run = segment.id().0;
        let mut facts = self.add_last_facts(run, state, seen, deleted, blocks);
        // Kinds may have been named and defined since the last event.
        let more = if self.limits.is_bounded() { blocks.len().saturating_sub(SEAL_FACTS) } else { 0 };
        let admitted = more != 0 && asks && self.admit(more, seen, Some((segment, state))).is_ok();
        let all_facts = more == 0 || admitted;
        if more != 0 {
            if !all_facts {
                // Only what was deleted is told.
                state.facts = usize::MAX;
            }
            blocks.clear();
            // (Segments may have been deleted for the room.)
            deleted = self.limits.deleted();
            facts = self.add_last_facts(run, state, seen, deleted, blocks);
        }
        let prepared = facts.and_then(|facts| {
            self.knowledge.add_ledger(seen, run, true, blocks)?;
            Ok(facts)
        });
        let before = state.end;
        let sealed = segment.seal(state, blocks);
        if admitted {
            self.limits.done(more, if state.end == before { 0 } else { more });
        }
        self.forget(segment);
        let facts = prepared.and_then(|facts| sealed.map(|()| facts))?;
        self.limits.note_stated(deleted);
        if all_facts {
            self.knowledge.note_written(run, facts);
        }
        Ok(())
    }

    fn add_last_facts(
        &self,
        run: u64,
        state: &mut State,
        seen: &Seen,
        deleted: Deleted,
        blocks: &mut Blocks,
    ) -> Result<usize, Failure> {
        self.knowledge.add_facts(seen, run, state, std::iter::empty(), deleted, blocks)
    }

    /// Seals all open segments. Waits for those that are being written if `wait` is set.
    pub fn seal_all(&self, wait: bool) -> Result<(), Failure> {
        let seen = self.knowledge.look();
        let mut result = Ok(());
        for segment in self.all(false)? {
            let state = if wait { Some(segment.lock()) } else { segment.try_lock() };
            let Some(mut state) = state else { continue };
            result = self.seal(&segment, &mut state, &seen, &mut Blocks::default()).and(result);
        }
        result
    }

    /// Writes what the last segment does not say about a pipeline that has ended. It takes one more segment, because all are sealed.
    pub fn write_end(&self) -> Result<(), Failure> {
        let seen = self.knowledge.look();
        let newest = || self.generation.load(Ordering::Relaxed);
        let unstated = (!self.limits.has_stated_all()).then(newest);
        let Some(generation) = self.knowledge.unwritten(&seen).or(unstated) else { return Ok(()) };
        let segment = match self.make_segment(generation, 0, &seen, None) {
            Ok(segment) => segment,
            Err(Stop::Failed(failure)) => return Err(failure),
            Err(_) => return Ok(()), // there is no room for it
        };
        let mut state = segment.lock();
        self.seal(&segment, &mut state, &seen, &mut Blocks::default())
    }

    /// At the very end: the same, if segments were deleted for their age since.
    pub fn state_deleted(&self) -> Result<(), Failure> {
        if self.limits.has_stated_all() { Ok(()) } else { self.write_end() }
    }

    /// When segments may be too old next.
    pub fn next_look_ns(&self) -> Option<u64> {
        let oldest = self.options.segment_age_ns().and_then(|age_ns| {
            let open = self.open.lock();
            let due = |segment: &Arc<Segment>| match segment.try_lock() {
                Some(state) => (state.events != 0).then(|| state.aged_from_ns.saturating_add(age_ns)),
                None => Some(time::now_ns() + age_ns / 16),
            };
            open.iter().filter_map(due).min()
        });
        oldest.into_iter().chain(self.limits.expiry_ns()).min()
    }

    /// Seals the open segments that are too old, and deletes the sealed ones that are. Without a lock.
    pub fn look_for_old(&self) {
        let now = time::now_ns();
        if let Some(age_ns) = self.options.segment_age_ns() {
            self.seal_old(now, age_ns);
        }
        if self.limits.expiry_ns().is_some_and(|at| now >= at) {
            let seen = self.knowledge.look();
            let view = LimitsView { shared: self, seen: &seen, caller: None };
            if let Err(failure) = self.place.folder().and_then(|folder| self.limits.expire(&folder, &view)) {
                self.messages.failure(&failure, "old segments cannot be deleted");
            }
        }
    }

    fn seal_old(&self, now: u64, age_ns: u64) {
        let Ok(all) = self.all(false) else { return };
        let seen = self.knowledge.look();
        for segment in all {
            if let Some(mut state) = segment.try_lock()
                && state.events != 0
                && state.aged_from_ns.saturating_add(age_ns) <= now
            {
                if self.may_make_segments() {
                    let _ = self.seal(&segment, &mut state, &seen, &mut Blocks::default());
                } else {
                    // It is continued, as one that has its size.
                    state.aged_from_ns = now;
                }
            }
        }
    }
}
