//! One segment that is being written, by a storage or for a snapshot: its file, and what was written to it.

use crate::files::failure::{Class, Failure};
use crate::files::file::File;
use crate::files::folder::Folder;
use crate::files::identity::Identity;
use crate::journal::blocks::Blocks;
use crate::journal::format::block::BlockType;
use crate::journal::format::checksum::Salted;
use crate::journal::format::segment::{SegmentHeader, segment_name};
use crate::journal::owner::Author;
use crate::platform::kill_point::{Point, pass};
use crate::platform::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::platform::{random, time};
use std::ffi::CString;
use std::sync::Arc;

/// Bytes that are kept free for the last blocks of a segment: a few facts, a ledger and the seal.
pub const SEAL_ROOM: u64 = 1024;
/// Those of them that are for facts.
pub const SEAL_FACTS: u64 = 512;
/// How many rings a segment remembers, whose threads it has. For one that it has forgotten the thread is written again.
const RINGS: usize = 256;

/// An open segment. Any thread may sync or seal it; only one at a time holds its [`State`] and writes.
#[derive(Debug)]
pub struct Segment {
    generation: u64,
    number: u64,
    salted: Salted,
    identity: Identity,
    folder: Arc<Folder>,
    /// Replaced when the descriptor was lost and the file is opened again.
    file: Mutex<Arc<File>>,
    /// The end of what is written whole.
    written: AtomicU64,
    /// The end of what is on the disk.
    synced: AtomicU64,
    /// The storage itself has deleted it, to make room.
    deleted: AtomicBool,
    /// A sync has failed: what was written since the last one may be lost, and nothing more may be written.
    failed: AtomicBool,
    /// No flush knows of that yet.
    untold: AtomicBool,
    /// The directory has its entry on the disk.
    listed: AtomicBool,
    /// Held while it is written through to the disk. The system reports a failure to one of several calls only: another one would succeed, and
    /// what is lost would be acknowledged.
    syncing: Mutex<()>,
    state: Mutex<State>,
}

/// What its writer knows about a segment.
#[derive(Debug)]
pub struct State {
    /// The end of the last block.
    pub end: u64,
    /// Blocks of events.
    blocks: u64,
    /// Events in them.
    pub events: u64,
    /// From when on its age counts: when it was made, or when it was found to be old and could not be replaced.
    pub aged_from_ns: u64,
    /// The facts that it has, as a number of the pipeline's list.
    pub facts: usize,
    /// Rings whose thread it has, each plus one, at their number modulo [`RINGS`].
    rings: Box<[u64]>,
    /// Nothing more is written: it is sealed, or was given up.
    pub closed: bool,
    /// Bytes of a write that failed may lie behind the end.
    uncut: bool,
    /// Large writes in a row.
    pub large_writes: u32,
    /// Segments that the storage had deleted when it last wrote their number here.
    pub deletions: u64,
}

impl State {
    /// Whether the segment has the thread of a ring, or knows that there is none.
    pub fn has_thread(&self, ring_id: u64) -> bool {
        self.rings[ring_id as usize % RINGS] == ring_id.wrapping_add(1)
    }

    /// The segment is about to get the thread of a ring.
    pub fn note_thread(&mut self, ring_id: u64) {
        self.rings[ring_id as usize % RINGS] = ring_id.wrapping_add(1);
    }

    /// Forgets which threads it has, because they could not be written.
    pub fn forget_threads(&mut self) {
        self.rings.fill(0);
    }
}

impl Segment {
    /// Makes a segment under the first number from `next` on that is free, and writes its header.
    pub fn make(
        folder: &Arc<Folder>,
        author: &Author,
        generation: u64,
        next: &AtomicU64,
        writer_id: u32,
        mode: u32,
    ) -> Result<Self, Failure> {
        let mut rings = Vec::new();
        rings.try_reserve_exact(RINGS).map_err(|_| Failure::no_memory())?;
        rings.resize(RINGS, 0);
        let (number, name, file) = loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let name = segment_name(generation, number);
            if let Some(file) = folder.make_file(&name, libc::O_WRONLY, mode)? {
                break (number, name, file);
            }
        };
        pass(Point::SegmentNamed);
        let made_ns = time::now_ns();
        let salt = random::seed();
        let header = SegmentHeader {
            generation,
            number,
            writer_id,
            salt,
            owner: author.owner,
            monotonic_ns: made_ns,
            realtime_ns: made_ns.wrapping_add_signed(time::realtime_offset_ns()),
            program: author.program.clone(),
        };
        let bytes = header.encode();
        // The lock first: whoever deletes segments takes one without it for abandoned.
        let begun = file
            .set_lock(true)
            .and_then(|_| file.write_all(std::iter::once(&bytes[..]), 0))
            .and_then(|()| file.stat());
        let stat = match begun {
            Ok(stat) => stat,
            Err(failure) => {
                let _ = folder.unlink(&name);
                return Err(failure);
            }
        };
        let end = bytes.len() as u64;
        Ok(Self {
            generation,
            number,
            salted: Salted::new(salt),
            identity: Identity::of(&stat),
            folder: Arc::clone(folder),
            file: Mutex::new(Arc::new(file)),
            written: AtomicU64::new(end),
            synced: AtomicU64::new(0),
            deleted: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            untold: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            syncing: Mutex::new(()),
            state: Mutex::new(State {
                end,
                blocks: 0,
                events: 0,
                aged_from_ns: made_ns,
                facts: 0,
                rings: rings.into_boxed_slice(),
                closed: false,
                uncut: false,
                large_writes: 0,
                deletions: 0,
            }),
        })
    }

    /// The run that it belongs to, and its number.
    pub fn id(&self) -> (u64, u64) {
        (self.generation, self.number)
    }

    fn name(&self) -> CString {
        segment_name(self.generation, self.number)
    }

    /// Waits until no other thread writes.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The same, unless another thread writes.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        self.state.try_lock()
    }

    /// Whether a sync has failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether a sync has failed of which no flush knows, as far as this call can tell for the first time.
    pub fn take_untold(&self) -> bool {
        self.untold.swap(false, Ordering::AcqRel)
    }

    /// Notes that the storage has deleted it.
    pub fn note_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Whether everything that was written is on the disk, or need not be.
    pub fn is_synced(&self) -> bool {
        self.is_synced_to(self.written.load(Ordering::Acquire))
    }

    fn is_synced_to(&self, end: u64) -> bool {
        self.deleted.load(Ordering::Acquire) || self.synced.load(Ordering::Acquire) >= end
    }

    /// The open file. If another part of the program has closed its descriptor, it is opened again, if it still is the same.
    fn file(&self) -> Result<Arc<File>, Failure> {
        let mut file = self.file.lock();
        if file.is_ours() {
            return Ok(Arc::clone(&file));
        }
        let gone = || Failure::gone(format!("segment {} was deleted or replaced", self.number));
        let again = match self.folder.open_file(&self.name(), libc::O_WRONLY | libc::O_NONBLOCK, 0) {
            Ok(again) => again,
            Err(failure) if failure.errno == libc::ENOENT => return Err(gone()),
            Err(failure) => return Err(Failure { class: Class::Lost, ..failure }),
        };
        let stat = again.stat()?;
        if Identity::of(&stat) != self.identity || !again.set_lock(true)? {
            return Err(gone());
        }
        *file = Arc::new(again);
        Ok(Arc::clone(&file))
    }

    /// Holds up whoever needs the file.
    #[cfg(test)]
    pub fn hold_file(&self) -> MutexGuard<'_, Arc<File>> {
        self.file.lock()
    }

    /// Appends blocks. After a failure the segment ends where it did, or behind the blocks that are whole, or is closed.
    pub fn append(&self, state: &mut State, blocks: &mut Blocks) -> Result<(), Failure> {
        let at = state.end;
        let end = at + blocks.len();
        let written = self.file().and_then(|file| {
            if state.uncut {
                file.truncate(at)?;
                state.uncut = false;
            }
            self.check(&file, at)?;
            file.write_all(blocks.place(self.generation, self.salted, at), at)?;
            // Again, because what is acknowledged must be in a file that has a name.
            self.check(&file, end)
        });
        match written {
            Ok(()) => {
                let (more_blocks, more_events) = blocks.counts();
                state.end = end;
                state.blocks += more_blocks;
                state.events += more_events;
                self.written.store(end, Ordering::Release);
                Ok(())
            }
            Err(failure) => {
                // What was written of the next block is cut off, because later blocks would lie behind it otherwise.
                let (whole, more_blocks, more_events) = self.whole(&failure, blocks, at);
                let cut =
                    failure.class != Class::Gone && self.file().and_then(|file| file.truncate(whole)).is_ok();
                state.uncut = !cut;
                if cut {
                    state.end = whole;
                    state.blocks += more_blocks;
                    state.events += more_events;
                    self.written.store(whole, Ordering::Release);
                } else if failure.class != Class::Lost {
                    self.give_up(state);
                }
                Err(failure)
            }
        }
    }

    /// Where to cut the segment after a failure, and the blocks and events that stay. For want of space, whole blocks stay: a reader that follows may have given
    /// their events, and must not find other blocks in their place. Facts are written again as a whole instead: a segment has each of them once.
    fn whole(&self, failure: &Failure, blocks: &Blocks, at: u64) -> (u64, u64, u64) {
        let no_space = matches!(failure.errno, libc::ENOSPC | libc::EDQUOT | libc::EFBIG);
        match self.file().and_then(|file| file.stat()) {
            Ok(stat) if no_space && blocks.counts().1 != 0 => blocks.whole_in(at, stat.st_size as u64),
            _ => (at, 0, 0),
        }
    }

    /// Checks that the file has a name, and as many bytes as were written to it.
    fn check(&self, file: &File, bytes: u64) -> Result<(), Failure> {
        let stat = file.stat()?;
        if stat.st_nlink == 0 {
            return Err(Failure::gone(format!("segment {} was deleted", self.number)));
        }
        if stat.st_size as u64 != bytes {
            return Err(Failure::gone(format!(
                "segment {} has {} bytes, {bytes} expected: another program has changed it",
                self.number, stat.st_size
            )));
        }
        Ok(())
    }

    /// Ends the segment with these blocks, which may be none, and the seal. It is closed in any case.
    pub fn seal(&self, state: &mut State, blocks: &mut Blocks) -> Result<(), Failure> {
        if state.closed {
            return Ok(());
        }
        let result = if blocks.is_empty() { Ok(()) } else { self.append(state, blocks) };
        let sealed = result.and_then(|()| {
            blocks.clear();
            blocks.reserve(1, 24, 0)?;
            blocks.begin(BlockType::SEAL, 0, time::realtime_offset_ns());
            blocks.words(&[state.blocks, state.events, state.end]);
            blocks.end();
            self.append(state, blocks)
        });
        self.give_up(state);
        pass(Point::SegmentSealed);
        sealed
    }

    /// Writes nothing more to the segment, and gives up the lock that says that it is being written.
    pub fn give_up(&self, state: &mut State) {
        state.closed = true;
        let _ = self.file.lock().set_lock(false);
    }

    /// Deletes the file, as if nothing had been written. It is not deleted if its name is another file's by now.
    pub fn delete(&self) {
        self.give_up(&mut self.lock());
        let is_it = |stat: libc::stat| Identity::of(&stat) == self.identity;
        if self.folder.stat(&self.name()).is_ok_and(is_it) {
            let _ = self.folder.unlink(&self.name());
        }
    }

    /// Waits until everything that was written so far is on the disk. After a failure nothing more is written to the segment.
    pub fn sync(&self) -> Result<(), Failure> {
        self.sync_to(self.written.load(Ordering::Acquire))
    }

    /// Waits until the bytes before `end` are on the disk. If another thread syncs the segment at the same time and its sync covers them, that is enough.
    pub fn sync_to(&self, end: u64) -> Result<(), Failure> {
        let known = || match self.has_failed() {
            true => Some(Err(Failure::transient(format!(
                "an earlier sync of segment {} has failed",
                self.number
            )))),
            false => self.is_synced_to(end).then_some(Ok(())),
        };
        if let Some(known) = known() {
            return known;
        }
        let _alone = self.syncing.lock();
        if let Some(known) = known() {
            return known;
        }
        let written = self.written.load(Ordering::Acquire);
        let synced = self.file().and_then(|file| {
            file.sync()?;
            // A segment that has no name is not on the disk.
            if !self.listed.load(Ordering::Acquire) {
                self.folder.sync()?;
                self.listed.store(true, Ordering::Release);
            }
            let stat = file.stat()?;
            if (stat.st_nlink == 0 && !self.deleted.load(Ordering::Acquire))
                || (stat.st_size as u64) < written
            {
                return Err(Failure::gone(format!("segment {} was deleted or cut", self.number)));
            }
            Ok(())
        });
        match synced {
            Ok(()) => {
                self.synced.fetch_max(written, Ordering::AcqRel);
                Ok(())
            }
            Err(failure) => {
                // A failed sync is not repeated: the system may have dropped the data that it could not write, and would report success.
                if failure.class != Class::Lost && !self.failed.load(Ordering::Acquire) {
                    // Before the other: whoever sees that one learns whether it was told.
                    self.untold.store(true, Ordering::Release);
                    self.failed.store(true, Ordering::Release);
                }
                Err(failure)
            }
        }
    }
}
