//! The limits of a journal: its size, the age of its segments, and the free disk space. Whole segments are deleted, and only those that nobody
//! writes any more.

use super::found::{self, Found};
use super::inspect::{events_in, is_sealed};
use super::knowledge::Deleted;
use super::options::{OnFull, Options};
use crate::files::failure::Failure;
use crate::files::folder::Folder;
use crate::journal::format::segment::segment_name;
use crate::journal::format::segment::{MIN_SIZE, SegmentHeader};
use crate::journal::owner;
use crate::journal::segment::SEAL_ROOM;
use crate::platform::sync::{AtomicU64, Mutex, Ordering};
use crate::platform::time;

/// The directory is listed again after this long, because other processes may write to it, or after this many times as long as listing it takes.
const LIST_AGAIN_NS: u64 = 1_000_000_000;
const LIST_SHARE: u64 = 100;
/// The free disk space is read again after this long.
const READ_AGAIN_NS: u64 = 100_000_000;
/// Why new events are refused where nothing may be deleted.
const NO_ROOM: &str = "they do not fit";
/// If deleting segments has freed no disk space, because they are open elsewhere, none is deleted for this long.
const HELD_NS: u64 = 10_000_000_000;
/// A file without a header that was written this long ago was abandoned.
const ABANDONED_NS: i64 = 3_600_000_000_000;

/// Whether events may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// There is room for them.
    Admitted,
    /// There is none now, but there may be later.
    Later(&'static str),
    /// They exceed the limits.
    Refused(&'static str),
    /// There will be once the segment that the caller writes is sealed, so that it can be deleted.
    SealFirst,
}

/// An open segment of this storage, as its limits see it.
pub(super) trait OpenSegments {
    /// Whether the storage has this segment open.
    fn is_open(&self, generation: u64, number: u64) -> bool;
    /// How many it has open.
    fn open(&self) -> u64;
    /// Whether the caller is writing to this segment, which has events.
    fn is_callers(&self, generation: u64, number: u64) -> bool;
    /// Seals an open segment, unless another thread writes to it. `true`: it is not open any more.
    fn try_seal(&self, generation: u64, number: u64) -> bool;
    /// A segment was deleted.
    fn deleted(&self, generation: u64, number: u64);
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of all segments, and of what was admitted and is not written yet.
    used: u64,
    /// Bytes that were admitted and are not written yet.
    in_flight: u64,
    listed_ns: Option<u64>,
    listing_took_ns: u64,
    free_read_ns: Option<u64>,
    free: u64,
    /// No segment is deleted for disk space before this time.
    held_until_ns: u64,
}

/// The limits of a storage, and the state of its directory with regard to them.
#[derive(Debug)]
pub(super) struct Limits {
    options: Options,
    state: Mutex<State>,
    /// When segments may be too old.
    expiry_ns: AtomicU64,
    deleted_segments: AtomicU64,
    /// How many of them the journal has stated.
    stated: AtomicU64,
    deleted_events: AtomicU64,
    deleted_bytes: AtomicU64,
}

impl Limits {
    /// For a storage with these options.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            state: Mutex::new(State::default()),
            expiry_ns: AtomicU64::new(0),
            deleted_segments: AtomicU64::new(0),
            stated: AtomicU64::new(0),
            deleted_events: AtomicU64::new(0),
            deleted_bytes: AtomicU64::new(0),
        }
    }

    /// Whether room is to be asked for.
    pub fn is_bounded(&self) -> bool {
        self.options.max_bytes != 0 || self.options.min_free_disk != 0
    }

    /// What was deleted so far.
    pub fn deleted(&self) -> Deleted {
        Deleted {
            segments: self.deleted_segments.load(Ordering::Relaxed),
            events: self.deleted_events.load(Ordering::Relaxed),
            bytes: self.deleted_bytes.load(Ordering::Relaxed),
        }
    }

    /// A segment has this statement.
    pub fn note_stated(&self, deleted: Deleted) {
        self.stated.fetch_max(deleted.segments, Ordering::Relaxed);
    }

    /// Whether the journal has stated everything that was deleted.
    pub fn has_stated_all(&self) -> bool {
        self.stated.load(Ordering::Relaxed) == self.deleted_segments.load(Ordering::Relaxed)
    }

    /// Asks for room for so many bytes. After `Admitted`, [`done`](Self::done) must follow.
    pub fn admit(
        &self,
        folder: &Folder,
        segments: &dyn OpenSegments,
        need: u64,
    ) -> Result<Admission, Failure> {
        let now = time::now_ns();
        let mut state = self.state.lock();
        self.read_free(&mut state, folder, now)?;
        let listed = state.listed_ns;
        if self.options.on_full == OnFull::Reject
            && self.shortage(&state, need) != (0, 0)
            && listed.is_some_and(|at| now - at.min(now) < READ_AGAIN_NS)
        {
            return Ok(Admission::Refused(NO_ROOM));
        }
        let list_again = LIST_AGAIN_NS.max(state.listing_took_ns.saturating_mul(LIST_SHARE));
        let is_recent = state.listed_ns.is_some_and(|at| now - at.min(now) < list_again);
        let mut admission = Admission::Admitted;
        if self.shortage(&state, need) != (0, 0) || (self.options.max_bytes != 0 && !is_recent) {
            admission = self.make_room(&mut state, folder, segments, need, now)?;
        }
        if admission == Admission::Admitted {
            state.used += need;
            state.in_flight += need;
        }
        Ok(admission)
    }

    /// So many bytes of what was admitted are written, and no others will be.
    pub fn done(&self, need: u64, written: u64) {
        if !self.is_bounded() {
            return;
        }
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(need);
        state.used = state.used.saturating_sub(need.saturating_sub(written));
        if written < need {
            // More may be there that could not be cut off. The next call finds out.
            state.listed_ns = None;
        }
    }

    /// The bytes that are missing in `max_bytes` and in `min_free_disk` for `need` more.
    fn shortage(&self, state: &State, need: u64) -> (u64, u64) {
        let bytes = match self.options.max_bytes {
            0 => 0,
            max => state.used.saturating_add(need).saturating_sub(max),
        };
        let disk = match self.options.min_free_disk {
            0 => 0,
            min => min.saturating_add(need).saturating_sub(state.free),
        };
        (bytes, disk)
    }

    fn read_free(&self, state: &mut State, folder: &Folder, now: u64) -> Result<(), Failure> {
        let is_recent = state.free_read_ns.is_some_and(|at| now - at.min(now) < READ_AGAIN_NS);
        if self.options.min_free_disk != 0 && !is_recent {
            state.free = folder.free_bytes()?;
            state.free_read_ns = Some(now);
        }
        Ok(())
    }

    /// Lists the directory, the oldest segment first.
    fn list(
        &self,
        state: &mut State,
        folder: &Folder,
        segments: &dyn OpenSegments,
    ) -> Result<Vec<Found>, Failure> {
        let began = time::now_ns();
        // First, because one that is sealed meanwhile may have been listed before that.
        let open = segments.open();
        let mut found = found::list(folder)?;
        found.sort_unstable_by_key(|one| (one.written_ns, one.generation, one.number));
        let bytes = found.iter().fold(0, |sum: u64, one| sum.saturating_add(one.bytes));
        state.used = bytes + open * SEAL_ROOM + state.in_flight;
        let now = time::now_ns();
        (state.listed_ns, state.listing_took_ns) = (Some(now), now - began);
        Ok(found)
    }

    /// Looks at the directory and makes room. Segments are deleted only if that is known to be enough, and no more than necessary.
    fn make_room(
        &self,
        state: &mut State,
        folder: &Folder,
        segments: &dyn OpenSegments,
        need: u64,
        now: u64,
    ) -> Result<Admission, Failure> {
        let found = self.list(state, folder, segments)?;
        let (bytes, disk) = self.shortage(state, need);
        if (bytes, disk) == (0, 0) {
            return Ok(Admission::Admitted);
        }
        if self.options.on_full == OnFull::Reject {
            return Ok(Admission::Refused(NO_ROOM));
        }
        if self.options.max_bytes != 0 && need > self.options.max_bytes {
            return Ok(Admission::Refused("they do not fit, not even if every segment were deleted"));
        }
        if disk != 0 && now < state.held_until_ns {
            return Ok(Admission::Later(
                "events wait for disk space: deleted segments are still open elsewhere",
            ));
        }
        if !folder.may_change() {
            // Nothing is sealed in vain: no new segment could be made either.
            return Ok(Admission::Later(
                "events wait for room: the process may not delete files in the directory",
            ));
        }
        let Some(_lock) = folder.lock(self.options.file_mode)? else {
            return Ok(Admission::Later("events wait for another process that holds the directory's lock"));
        };
        let mut plan = Vec::new();
        let (mut frees, mut frees_disk) = (0u64, 0u64);
        for one in found {
            if frees >= bytes && frees_disk >= disk {
                break;
            }
            let open = segments.is_open(one.generation, one.number);
            if open && segments.is_callers(one.generation, one.number) {
                let more = (frees.saturating_add(one.bytes), frees_disk.saturating_add(one.disk_bytes));
                if more.0 >= bytes && more.1 >= disk {
                    return Ok(Admission::SealFirst);
                }
                continue;
            }
            // An open one is sealed, even if that turns out to have been in vain: it is only continued in another segment then.
            let deletable =
                if open { segments.try_seal(one.generation, one.number) } else { is_abandoned(folder, &one) };
            if deletable {
                plan.try_reserve(1).map_err(|_| Failure::no_memory())?;
                plan.push(one);
                frees = frees.saturating_add(one.bytes);
                frees_disk = frees_disk.saturating_add(one.disk_bytes);
            }
        }
        if frees < bytes || frees_disk < disk {
            return Ok(Admission::Later(
                "events wait for room: the segments that are left are being written",
            ));
        }
        for one in &plan {
            self.delete(state, folder, segments, one)?;
        }
        if disk != 0 {
            state.free_read_ns = None;
            self.read_free(state, folder, now)?;
            if self.shortage(state, need).1 != 0 {
                state.held_until_ns = now + HELD_NS;
            }
        }
        let enough = self.shortage(state, need) == (0, 0);
        Ok(if enough {
            Admission::Admitted
        } else {
            Admission::Later(
                "events wait for the room of segments that were deleted, and are still open elsewhere",
            )
        })
    }

    fn delete(
        &self,
        state: &mut State,
        folder: &Folder,
        segments: &dyn OpenSegments,
        one: &Found,
    ) -> Result<(), Failure> {
        let name = segment_name(one.generation, one.number);
        let (events, bytes) = match folder.open_file(&name, libc::O_RDONLY | libc::O_NONBLOCK, 0) {
            Ok(file) => {
                // It may have been sealed since it was listed.
                let bytes = file.stat()?.st_size.max(0) as u64;
                let events = events_in(&file, bytes);
                file.fd()?; // they were counted in this file, and to the end
                (events, bytes)
            }
            Err(failure) if failure.errno == libc::ENOENT => return Ok(()),
            // It is deleted later, when its events can be counted.
            Err(failure) if failure.is_of_the_moment() => return Err(failure),
            Err(_) => (0, one.bytes),
        };
        folder.unlink(&name)?;
        segments.deleted(one.generation, one.number);
        state.used = state.used.saturating_sub(one.bytes);
        self.deleted_events.fetch_add(events, Ordering::Relaxed);
        self.deleted_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.deleted_segments.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The time from which on segments may be too old; `None`: there is no limit.
    pub fn expiry_ns(&self) -> Option<u64> {
        (self.options.max_age_ms != 0).then(|| self.expiry_ns.load(Ordering::Relaxed))
    }

    /// Deletes the segments that are too old, if it is time to look. The wall clock decides, by when a segment was last written.
    pub fn expire(&self, folder: &Folder, segments: &dyn OpenSegments) -> Result<(), Failure> {
        let now = time::now_ns();
        if self.expiry_ns().is_none_or(|at| now < at) {
            return Ok(());
        }
        let mut state = self.state.lock();
        let max_ns = (self.options.max_age_ms as i64).saturating_mul(1_000_000);
        // Even if this fails, the next look is not at once.
        let pause = (max_ns as u64 / 16).clamp(10_000_000, 60_000_000_000);
        self.expiry_ns.store(now + pause, Ordering::Relaxed);
        let found = self.list(&mut state, folder, segments)?;
        let wall_now = (now as i64).wrapping_add(time::realtime_offset_ns());
        let is_old = |one: &Found| one.written_ns.saturating_add(max_ns) <= wall_now;
        if !found.first().is_some_and(is_old) {
            return Ok(());
        }
        let Some(_lock) = folder.lock(self.options.file_mode)? else { return Ok(()) };
        for one in found.iter().take_while(|one| is_old(one)) {
            if !segments.is_open(one.generation, one.number) && is_abandoned(folder, one) {
                self.delete(&mut state, folder, segments, one)?;
            }
        }
        Ok(())
    }
}

/// Whether nobody writes a segment any more: it is sealed, its writer has given it up, or the writer does not live.
fn is_abandoned(folder: &Folder, one: &Found) -> bool {
    let name = segment_name(one.generation, one.number);
    let Ok(file) = folder.open_file(&name, libc::O_RDONLY | libc::O_NONBLOCK, 0) else { return false };
    if one.bytes < MIN_SIZE as u64 {
        // It may be that its writer is about to lock it.
        let wall_now = (time::now_ns() as i64).wrapping_add(time::realtime_offset_ns());
        return file.is_locked().is_ok_and(|locked| locked != Some(true))
            && one.written_ns.saturating_add(ABANDONED_NS) < wall_now;
    }
    match file.is_locked() {
        Ok(Some(locked)) => !locked,
        // The file system has no such locks.
        Ok(None) => {
            let mut start = [0; crate::journal::format::segment::MAX_SIZE];
            let got = file.read(&mut start, 0).unwrap_or(0);
            is_sealed(&file, one.bytes)
                || SegmentHeader::decode(&start[..got])
                    .is_ok_and(|(header, _)| !owner::is_running(&header.owner))
        }
        Err(_) => false,
    }
}
