//! The way of recovered events: from the ring file of a run that has ended through this pipeline's storage.
//!
//! A thread of the recovery's own takes parts from their [`OldRuns`] and offers them. A writer claims an offered part as it claims events from
//! the rings, and from there on it is a batch like any other, but for its generation and its clock. When the batch has left, the thread
//! acknowledges the part, and the old file is released up to there. What is offered and not claimed was not taken: it stays in the file.
//!
//! At most [`MOST_PARTS`](super::state::recovery::MOST_PARTS) parts are on the way at a time. They count among `max_in_flight`, but one place there is never theirs; and while
//! there is other work, every fourth call at most is with a recovered batch.

use super::Pool;
use super::state::State;
use super::state::life_cycle::Stage;
use super::state::turns::Which;
use crate::batch::recovered::{Part, Run};
use crate::platform::sync::Ordering;
use crate::platform::{park, thread, time};
use crate::status::{Error, Result};
use log::Level;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The most bytes of payloads in a part.
const MOST_BYTES: u64 = 256 << 10;
/// A source that has nothing at present is asked again after this time.
const LOOK: Duration = Duration::from_secs(1);
/// In [`Pool::recovery_word`]: the pool is being torn down.
const END: u32 = 1;
/// Added to it for each call.
const CALL: u32 = 2;

/// The most that a part may hold; one event more than the bytes if it is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Events.
    pub events: usize,
    /// Bytes of payloads.
    pub bytes: u64,
}

/// What a source has next.
#[derive(Debug)]
pub enum Next {
    /// Events, or facts about them. The facts of a run come before its events.
    Part(Part),
    /// Nothing at present: it is to be asked again later.
    Later,
    /// Nothing any more.
    End,
}

/// Where recovered events come from: the ring files of runs that have ended. The recovery's thread alone uses it, and no lock is held meanwhile.
pub trait OldRuns: Send {
    /// The next part. `facts`: whether the storage gets parts of facts.
    fn next(&mut self, most: &Most, facts: bool) -> Next;
    /// Every event of the part with this number has left the pipeline. Parts may leave in another order than they came; the events of one that never
    /// leaves are to be delivered again.
    fn acknowledge(&mut self, number: u64);
    /// Damaged records that were found since it was last asked.
    fn take_torn(&mut self) -> u64 {
        0
    }
    /// What is in the way at present, for health: a file that was refused, or cannot be read or released.
    fn problem(&self) -> Option<String> {
        None
    }
}

/// What the recovery's thread is started with.
struct Start {
    pool: Weak<Pool>,
    id: u64,
    name: String,
    source: Box<dyn OldRuns>,
}

/// The recovery's thread. It ends after its work, or when the pipeline does.
extern "C-unwind" fn recovery_main(start: *mut c_void) -> *mut c_void {
    // SAFETY: made by `recover`, and only this thread has it.
    let Start { pool, id, name, mut source } = *unsafe { Box::from_raw(start.cast::<Start>()) };
    thread::list_own();
    thread::arm_end();
    thread::set_name(&thread::short_name(&format!("cp-old-{name}")));
    thread::run_start_hook();
    thread::set_works_for(id);
    let fed = catch_unwind(AssertUnwindSafe(|| Pool::feed(&pool, &mut *source)));
    // The files are released before the pipeline knows that the thread has ended.
    drop((source, name));
    if let Some(pool) = pool.upgrade() {
        pool.end_recovery(fed.is_err());
    }
    drop(pool);
    thread::run_stop_hook();
    std::ptr::null_mut()
}

impl Pool {
    /// Delivers what a source has to the storage, on a thread of its own. Once in the life of a pipeline.
    pub fn recover(self: &Arc<Self>, source: Box<dyn OldRuns>) -> Result<()> {
        {
            let mut st = self.lock();
            self.check_open(&st)?;
            st.recovery.begin()?;
        }
        let start = Start { pool: Arc::downgrade(self), id: self.id, name: self.name.clone(), source };
        let start = Box::into_raw(Box::new(start)).cast::<c_void>();
        thread::spawn_plain(recovery_main, start).inspect_err(|_| {
            // SAFETY: no thread got it.
            drop(unsafe { Box::from_raw(start.cast::<Start>()) });
            self.lock().recovery.end();
        })
    }

    /// Whether the storage keeps one run at a time, so that recovered events are not for it.
    pub fn keeps_one_run(&self) -> bool {
        self.can.one_run
    }

    /// There is no recovery, although there may be something for it.
    pub fn cannot_recover(&self, error: &Error) {
        let mut st = self.lock();
        st.report(Level::Warn, format!("recovery: {error}"));
        st.recovery.note(0, Some(error.to_string()));
        self.unlock(st);
    }

    /// Offers part after part, and acknowledges those that have left, until there are no more or the pipeline ends.
    fn feed(pool: &Weak<Self>, source: &mut dyn OldRuns) {
        let mut next = None;
        let mut over = false;
        while let Some(pool) = pool.upgrade() {
            let seen = pool.recovery_word.load(Ordering::Acquire);
            if seen & END != 0 {
                return;
            }
            pool.acknowledge_parts(source);
            let (running, room, withdrawn) = {
                let mut st = pool.lock();
                let running = st.life.is_running();
                let withdrawn = if running { None } else { Some(st.recovery.withdraw()) };
                (running, st.recovery.has_room(), withdrawn)
            };
            drop(withdrawn);
            if !running {
                (next, over) = (None, true);
            }
            let mut look = None;
            if !over && next.is_none() && room {
                match source.next(&pool.most_of_a_part(), pool.can.meta || pool.can.old_facts) {
                    Next::Part(part) if part.count == 0 => {
                        source.acknowledge(part.number);
                        continue;
                    }
                    Next::Part(part) => next = Some(Box::new(part)),
                    Next::Later => look = Some(LOOK),
                    Next::End => over = true,
                }
                pool.note_recovery(source);
            }
            match next.take() {
                Some(part) => match pool.offer(part) {
                    None => continue,
                    waiting => next = waiting,
                },
                None if over && pool.lock().recovery.is_empty() => return,
                None => {}
            }
            park::wait(&pool.recovery_word, seen, look);
        }
    }

    fn most_of_a_part(&self) -> Most {
        let st = self.lock();
        Most { events: st.config.batch_size as usize, bytes: st.config.batch_bytes.min(MOST_BYTES) }
    }

    /// Offers a part. Returns it if it must wait for others.
    fn offer(&self, part: Box<Part>) -> Option<Box<Part>> {
        let mut st = self.lock();
        let ordered = self.ordered;
        let waits = !st.life.is_running()
            || !st.recovery.may_follow(&part, ordered)
            || st.batches.recovered().any(|(_, other)| !part.may_overlap(other, ordered));
        if waits {
            return Some(part);
        }
        st.recovery.offer(part);
        drop(st);
        self.intake().wake(1);
        None
    }

    /// Tells the source of the parts that have left.
    fn acknowledge_parts(&self, source: &mut dyn OldRuns) {
        loop {
            let Some(number) = self.lock().recovery.to_acknowledge() else { return };
            source.acknowledge(number);
            // (Freed without the lock.)
            let part = self.lock().recovery.acknowledged(number);
            drop(part);
            self.note_recovery(source);
        }
    }

    fn note_recovery(&self, source: &mut dyn OldRuns) {
        let (torn, problem) = (source.take_torn(), source.problem());
        let mut st = self.lock();
        if let Some(words) = problem.as_deref().filter(|words| st.recovery.problem() != Some(words)) {
            let message = format!("recovery: {words}");
            st.report(Level::Warn, message);
        }
        st.recovery.note(torn, problem);
        self.unlock(st);
    }

    fn end_recovery(&self, panicked: bool) {
        let mut st = self.lock();
        if panicked {
            let words = "its thread has failed; what it has not delivered stays in the ring files".to_owned();
            st.report(Level::Error, format!("recovery: {words}"));
            st.recovery.note(0, Some(words));
        }
        st.recovery.end();
        self.unlock_changed(st);
    }

    /// Wakes the recovery's thread.
    pub(super) fn call_recovery(&self) {
        self.recovery_word.fetch_add(CALL, Ordering::Release);
        park::wake(&self.recovery_word, 1);
    }

    /// The pool is torn down: the thread ends, whatever has not left.
    pub(super) fn dismiss_recovery(&self) {
        self.recovery_word.fetch_or(END, Ordering::Release);
        park::wake(&self.recovery_word, 1);
    }

    // ---- the writers' side ----

    /// Whether an offered part may be claimed. The places in flight that live batches have are kept for them: see `may_claim_without`.
    #[inline]
    pub(super) fn may_claim_recovered(&self, st: &State) -> bool {
        st.recovery.has_offered() && self.may_claim_offered(st)
    }

    #[cold]
    fn may_claim_offered(&self, st: &State) -> bool {
        let (batches, most) = (&st.batches, st.config.max_in_flight);
        let recovered = batches.recovered_in_flight;
        st.life.stage() == Stage::Running
            && batches.in_flight + batches.claiming < most
            && (recovered == 0 || recovered + Self::kept_from_recovered(st) < most)
            && self.may_claim(st).ordinary
    }

    /// The places in flight that recovered batches leave to the others: the last one, or the last two while one is kept for priority batches.
    pub(super) fn kept_from_recovered(st: &State) -> u32 {
        1 + u32::from(Self::keeps(st))
    }

    /// Whether the next call is to be with an offered part: it may be claimed, and its turn has come or there is nothing else to be claimed.
    #[inline]
    pub(super) fn recovered_is_next(&self, st: &mut State, which: Which) -> bool {
        st.recovery.has_offered() && which.includes(false) && self.offered_is_next(st)
    }

    #[cold]
    fn offered_is_next(&self, st: &mut State) -> bool {
        self.may_claim_offered(st)
            && (st.turns.recovered_may_go() || self.to_claim(st, time::now_ns(), Which::All).is_none())
    }

    /// Makes a batch of the part that has waited longest. `None`: there is no memory for one.
    #[cold]
    pub(super) fn claim_recovered(self: &Arc<Self>, st: &mut State) -> Option<usize> {
        let (slot, mut batch) = st.batches.begin_claim(self.id, self.generation, false)?;
        let has_issuer = batch.issuer.is_some() || self.make_issuer(&mut batch, slot);
        let Some(part) = has_issuer.then(|| st.recovery.claim()).flatten() else {
            st.batches.cancel_claim(slot, batch);
            return None;
        };
        batch.recover(part);
        self.begin_views(st, &mut batch);
        if batch.viewed {
            Self::give_transform(st, &mut batch);
        }
        st.batches.end_claim(slot, batch);
        Some(slot)
    }

    /// The run that has ended and has this generation, while events of it are with the storage.
    pub(super) fn old_run(&self, generation: u64) -> Option<Arc<Run>> {
        if generation == self.generation {
            return None;
        }
        let st = self.lock();
        let mut runs = st.batches.recovered().map(|(_, part)| &part.run);
        runs.find(|run| run.generation == generation).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests;
