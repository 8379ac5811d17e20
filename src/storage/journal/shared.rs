//! What all writers of a storage share: the directory, the open segments, the limits, what is known of the pipeline.

use super::blocks::Blocks;
use super::failure::Failure;
use super::folder::Place;
use super::knowledge::{Knowledge, Seen};
use super::limits::{Admission, Limits, OpenSegments};
use super::messages::Messages;
use super::options::{Options, Sync};
use super::segment::{Author, SEAL_ROOM, Segment, State};
use super::sync_queue::SyncQueue;
use crate::journal::format::segment::MAX_SIZE;
use crate::platform::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::platform::time;
use std::sync::Arc;

/// Sealed segments that wait for a flush. If there are more, the oldest is written through to the disk.
const MOST_UNSYNCED: usize = 16;

/// One storage, as its writers and its thread see it.
pub(super) struct Shared {
    pub options: Options,
    pub place: Place,
    pub author: Author,
    pub limits: Limits,
    pub knowledge: Knowledge,
    pub messages: Messages,
    pub sync_queue: SyncQueue,
    next_number: AtomicU64,
    /// The segments that are written.
    open: Mutex<Vec<Arc<Segment>>>,
    /// The first segment, until a writer takes it.
    first: Mutex<Option<Arc<Segment>>>,
    /// Sealed segments that are not on the disk yet.
    unsynced: Mutex<Vec<Arc<Segment>>>,
    /// A sync has failed, and no flush has reported it yet.
    sync_failed: AtomicBool,
}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Stop {
    /// It failed.
    Failed(Failure),
    /// There is no room now, but there may be later.
    Later(&'static str),
    /// There is no room for it.
    Refused(&'static str),
    /// There will be room once the caller's own segment is sealed.
    SealFirst,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Admission> for Result<(), Stop> {
    fn from(admission: Admission) -> Self {
        Err(match admission {
            Admission::Admitted => return Ok(()),
            Admission::Later(why) => Stop::Later(why),
            Admission::Refused(why) => Stop::Refused(why),
            Admission::SealFirst => Stop::SealFirst,
        })
    }
}

/// The open segments, as the limits see them while one call writes to `caller`.
struct LimitsView<'a> {
    shared: &'a Shared,
    seen: &'a Seen,
    /// The segment that the caller has locked, if it has events.
    caller: Option<(u64, u64)>,
}

impl OpenSegments for LimitsView<'_> {
    fn is_open(&self, generation: u64, number: u64) -> bool {
        self.caller == Some((generation, number)) || self.shared.find((generation, number)).is_some()
    }

    fn open(&self) -> u64 {
        self.shared.open.lock().len() as u64
    }

    fn is_callers(&self, generation: u64, number: u64) -> bool {
        self.caller == Some((generation, number))
    }

    fn try_seal(&self, generation: u64, number: u64) -> bool {
        let Some(segment) = self.shared.find((generation, number)) else { return true };
        let Some(mut state) = segment.try_lock() else { return false };
        if state.events == 0 {
            return false; // its writer is about to write to it
        }
        let _ = self.shared.seal(&segment, &mut state, self.seen, &mut Blocks::default());
        true
    }

    fn deleted(&self, generation: u64, number: u64) {
        let mut unsynced = self.shared.unsynced.lock();
        unsynced.retain(|segment| {
            let is_it = segment.id() == (generation, number);
            if is_it {
                segment.note_deleted();
            }
            !is_it
        });
    }
}

impl Shared {
    pub fn new(options: Options, place: Place, author: Author, messages: Messages) -> Self {
        Self {
            limits: Limits::new(options),
            options,
            place,
            author,
            knowledge: Knowledge::default(),
            messages,
            sync_queue: SyncQueue::default(),
            next_number: AtomicU64::new(1),
            open: Mutex::new(Vec::new()),
            first: Mutex::new(None),
            unsynced: Mutex::new(Vec::new()),
            sync_failed: AtomicBool::new(false),
        }
    }

    fn find(&self, id: (u64, u64)) -> Option<Arc<Segment>> {
        self.open.lock().iter().find(|segment| segment.id() == id).cloned()
    }

    /// The open segments, and those that wait for a flush.
    fn all(&self, unsynced: bool) -> Result<Vec<Arc<Segment>>, Failure> {
        let mut all = Vec::new();
        for list in [Some(&self.open), unsynced.then_some(&self.unsynced)].into_iter().flatten() {
            let list = list.lock();
            all.try_reserve(list.len()).map_err(|_| Failure::no_memory())?;
            all.extend(list.iter().cloned());
        }
        Ok(all)
    }

    /// An open segment of another writer of the same run: one that nobody writes to at the moment, or else one that the caller has to wait for. A batch that
    /// is retried instead would use up its attempts while another writer is busy.
    pub fn borrow(&self, generation: u64) -> Option<Arc<Segment>> {
        let open = self.open.lock();
        let usable = |segment: &&Arc<Segment>| segment.id().0 == generation && !segment.has_failed();
        let is_idle = |segment: &&Arc<Segment>| segment.try_lock().is_some_and(|state| !state.closed);
        let mut all = open.iter().filter(usable);
        all.clone().find(is_idle).or_else(|| all.next()).cloned()
    }

    /// Asks for room for so many bytes. `caller`: the segment that the caller has locked.
    pub fn admit(&self, need: u64, seen: &Seen, caller: Option<(&Segment, &State)>) -> Result<(), Stop> {
        if !self.limits.is_bounded() {
            return Ok(());
        }
        let folder = self.place.folder()?;
        let caller = caller.filter(|(_, state)| state.events != 0).map(|(segment, _)| segment.id());
        self.limits.admit(&folder, &LimitsView { shared: self, seen, caller }, need)?.into()
    }

    /// Makes the first segment when the pipeline starts: a program may drop its privileges right after that. Writers that cannot make one of their
    /// own use it then.
    pub fn make_first(&self, generation: u64) {
        let seen = self.knowledge.look();
        let made = self.make_segment(generation, 0, &seen, None);
        drop(seen);
        match made {
            Ok(segment) => *self.first.lock() = Some(segment),
            Err(Stop::Failed(failure)) => {
                self.messages.failure(&failure, "no segment can be made at present");
            }
            Err(_) => {}
        }
    }

    /// The first segment, for the first writer that asks.
    pub fn take_first(&self, generation: u64) -> Option<Arc<Segment>> {
        self.first.lock().take().filter(|segment| segment.id().0 == generation)
    }

    /// Makes a segment.
    pub fn make_segment(
        &self,
        generation: u64,
        writer_id: u32,
        seen: &Seen,
        caller: Option<(&Segment, &State)>,
    ) -> Result<Arc<Segment>, Stop> {
        const NEED: u64 = MAX_SIZE as u64 + SEAL_ROOM;
        let folder = self.place.folder()?;
        self.admit(NEED, seen, caller)?;
        let made = Segment::make(
            &folder,
            &self.author,
            generation,
            &self.next_number,
            writer_id,
            self.options.file_mode,
        );
        self.limits.done(NEED, made.is_ok());
        let segment = Arc::new(made?);
        let mut open = self.open.lock();
        open.try_reserve(1).map_err(|_| Failure::no_memory())?;
        open.push(Arc::clone(&segment));
        Ok(segment)
    }

    /// Ends a segment that the caller has locked, with what it still lacks.
    pub fn seal(
        &self,
        segment: &Segment,
        state: &mut State,
        seen: &Seen,
        blocks: &mut Blocks,
    ) -> Result<(), Failure> {
        blocks.clear();
        let prepared = self
            .knowledge
            .add_facts(seen, state, std::iter::empty(), self.limits.deleted(), blocks)
            .and_then(|_| self.knowledge.add_ledger(seen, true, blocks));
        let sealed = segment.seal(state, blocks);
        self.forget(segment);
        prepared.and(sealed)
    }

    /// The segment is written no more.
    pub fn forget(&self, segment: &Segment) {
        let mut open = self.open.lock();
        let Some(at) = open.iter().position(|one| one.id() == segment.id()) else { return };
        let segment = open.swap_remove(at);
        drop(open);
        if self.options.sync != Sync::Never && !segment.is_synced() && !segment.has_failed() {
            let mut unsynced = self.unsynced.lock();
            if unsynced.try_reserve(1).is_ok() {
                unsynced.push(segment);
            } else {
                self.sync_failed.store(true, Ordering::Release);
            }
        }
    }

    /// Writes the oldest of the segments through to the disk that wait for a flush, if there are many.
    pub fn limit_unsynced(&self) {
        if self.options.sync == Sync::Never {
            return;
        }
        let oldest = {
            let mut unsynced = self.unsynced.lock();
            (unsynced.len() > MOST_UNSYNCED).then(|| unsynced.remove(0))
        };
        if let Some(Err(failure)) = oldest.map(|segment| segment.sync()) {
            self.note_failed_sync(&failure);
        }
    }

    /// A sync has failed. The next flush reports it.
    pub fn note_failed_sync(&self, failure: &Failure) {
        self.sync_failed.store(true, Ordering::Release);
        self.messages.failure(failure, "stored events may not survive a power loss; the segment is given up");
    }

    /// Writes the segments through to the disk.
    pub fn sync_segments(&self) -> Result<(), Failure> {
        let mut result = Ok(());
        for segment in self.all(true)? {
            // (One that has failed was reported, and its writer is about to leave it.)
            if !segment.has_failed()
                && let Err(failure) = segment.sync()
            {
                self.note_failed_sync(&failure);
                result = Err(failure);
            }
        }
        self.unsynced.lock().retain(|segment| !segment.is_synced() && !segment.has_failed());
        result
    }

    /// Writes everything that was stored through to the disk. It also fails if that has failed since the last call.
    pub fn flush(&self) -> Result<(), Failure> {
        let result = self.sync_segments();
        if self.sync_failed.swap(false, Ordering::AcqRel) && result.is_ok() {
            return Err(Failure::transient("an earlier sync has failed"));
        }
        result
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

    /// When segments may be too old next.
    pub fn next_look_ns(&self) -> Option<u64> {
        let oldest = self.options.segment_age_ns().and_then(|age_ns| {
            let open = self.open.lock();
            let due = |segment: &Arc<Segment>| match segment.try_lock() {
                Some(state) => (state.events != 0).then(|| state.made_ns.saturating_add(age_ns)),
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
                && state.made_ns.saturating_add(age_ns) <= now
            {
                let _ = self.seal(&segment, &mut state, &seen, &mut Blocks::default());
            }
        }
    }
}
