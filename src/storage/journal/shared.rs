//! What all writers of a storage share: the directory, the open segments, the limits, what is known of the pipeline.

use super::knowledge::{Knowledge, Seen};
use super::limits::{Admission, Limits, OpenSegments};
use super::messages::Messages;
use super::options::{Options, Sync};
use super::stop::Stop as StopFigures;
use super::sync_queue::SyncQueue;
use crate::files::failure::Failure;
use crate::files::folder::Place;
use crate::journal::blocks::Blocks;
use crate::journal::format::segment::MAX_SIZE;
use crate::journal::owner::Author;
use crate::journal::segment::{SEAL_ROOM, Segment, State};
use crate::platform::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use std::sync::Arc;

mod sealing;
#[cfg(test)]
mod tests;

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
    pub live_figures: StopFigures,
    next_number: AtomicU64,
    /// The run that the newest segment belongs to.
    generation: AtomicU64,
    /// The segments that are written.
    open: Mutex<Vec<Arc<Segment>>>,
    /// The first segment until a writer takes it, or one that a writer has left for the next one.
    spare: Mutex<Option<Arc<Segment>>>,
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
        let _ = self.shared.seal_within(&segment, &mut state, self.seen, &mut Blocks::default(), false);
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
            live_figures: StopFigures::default(),
            next_number: AtomicU64::new(1),
            generation: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
            spare: Mutex::new(None),
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
            Ok(segment) => *self.spare.lock() = Some(segment),
            Err(Stop::Failed(failure)) => {
                self.messages.failure(&failure, "no segment can be made at present");
            }
            Err(_) => {}
        }
    }

    /// The spare segment, for the first writer that asks.
    pub fn take_spare(&self, generation: u64) -> Option<Arc<Segment>> {
        let mut spare = self.spare.lock();
        spare.take_if(|segment| segment.id().0 == generation)
    }

    /// Keeps the segment of a writer that ends for the next one, if no other can be made: the program may have dropped its privileges. `false`: it is not
    /// kept.
    pub fn keep_spare(&self, segment: &Arc<Segment>) -> bool {
        if segment.has_failed() || self.may_make_segments() {
            return false;
        }
        let mut spare = self.spare.lock();
        let keeps = spare.is_none();
        if keeps {
            *spare = Some(Arc::clone(segment));
        }
        keeps
    }

    fn may_make_segments(&self) -> bool {
        self.place.folder().is_ok_and(|folder| folder.may_change())
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
        self.generation.store(generation, Ordering::Relaxed);
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
        let added = made.and_then(|segment| {
            let segment = Arc::new(segment);
            let mut open = self.open.lock();
            open.try_reserve(1).map_err(|_| Failure::no_memory())?;
            open.push(Arc::clone(&segment));
            Ok(segment)
        });
        // Only now, because the limits keep room for the end of each open segment.
        self.limits.done(NEED, if added.is_ok() { NEED } else { 0 });
        Ok(added?)
    }

    /// The segment is written no more.
    pub fn forget(&self, segment: &Segment) {
        let mut open = self.open.lock();
        let Some(at) = open.iter().position(|one| one.id() == segment.id()) else { return };
        let segment = open.swap_remove(at);
        if self.options.sync != Sync::Never && !segment.is_synced() && !segment.has_failed() {
            // While the other list is locked: whoever looks through both must find it in one of them.
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
            let unsynced = self.unsynced.lock();
            unsynced.first().filter(|_| unsynced.len() > MOST_UNSYNCED).cloned()
        };
        let Some(oldest) = oldest else { return };
        // It stays in the list meanwhile: a flush must wait for it.
        if let Err(failure) = oldest.sync() {
            self.note_failed_sync(&oldest, &failure);
        }
        self.unsynced.lock().retain(|segment| segment.id() != oldest.id());
    }

    /// A sync has failed. The next flush reports it, once for each segment that is given up.
    pub fn note_failed_sync(&self, segment: &Segment, failure: &Failure) {
        if !segment.has_failed() || segment.take_untold() {
            self.sync_failed.store(true, Ordering::Release);
        }
        self.messages.failure(failure, "stored events may not survive a power loss; the segment is given up");
    }

    /// Writes the segments through to the disk.
    pub fn sync_segments(&self) -> Result<(), Failure> {
        let mut result = Ok(());
        for segment in self.all(true)? {
            if segment.has_failed() {
                // Its writer is about to leave it. Another thread may have seen the failure, and not have noted it yet.
                if segment.take_untold() {
                    self.sync_failed.store(true, Ordering::Release);
                }
            } else if let Err(failure) = segment.sync() {
                self.note_failed_sync(&segment, &failure);
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
}
