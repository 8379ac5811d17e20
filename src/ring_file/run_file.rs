//! The ring file of a run, as the process that captures into it has it: made, allocated, locked and mapped when the pipeline starts.

use super::format::{
    CLOCK_AT, FACTS_AT, FACTS_BYTES, FACTS_START, FIGURES_AT, HEADER_BYTES, Header, MAGIC, clock, file_name,
};
use super::place::{in_a_promising_place, on_a_promising_system, too_little_space};
use super::start::Start;
use crate::clock::timeline::{self, PIECES, SharedPiece};
use crate::facts::Fact;
use crate::files::Words as FileWords;
use crate::files::failure::Failure;
use crate::files::file::File;
use crate::files::folder::{Folder, Modes, Place as Directory, absolute};
use crate::files::identity::Identity;
use crate::files::mappings::{MOST, Mapping};
use crate::journal::format::figures::FILE_BYTES;
use crate::journal::owner;
use crate::platform::kill_point::{Point, pass};
use crate::platform::place::Place;
use crate::platform::signals::FileSignalsHeld;
use crate::platform::sync::{AtomicU64, Mutex, Ordering};
use crate::platform::time;
use crate::ring::memory::Memory;
use crate::ring::record::{Head, Tag, stride};
use crate::ring::words::Words;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, PIPELINE_ERR_NO_MEMORY, Result};
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// What messages call it.
static WORDS: FileWords = FileWords { storage: "ring file", file: "ring file" };
/// Of the facts' region, so many bytes are for the library's own facts.
const OWN_FACTS_BYTES: u64 = 16 << 10;

/// What this crate maps is laid out as the format says.
#[cfg(not(simulator))]
const _: () = {
    use super::format::{RING_HEADER_BYTES, ring};
    use crate::ring::words::About;
    use std::mem::offset_of;
    assert!(size_of::<Words>() as u64 == RING_HEADER_BYTES);
    assert!(offset_of!(Words, head) as u64 == ring::HEAD);
    assert!(offset_of!(Words, claimed) as u64 == ring::CLAIMED);
    assert!(offset_of!(Words, released) as u64 == ring::RELEASED);
    assert!((offset_of!(Words, about) + offset_of!(About, ring_id)) as u64 == ring::RING_ID);
    assert!((offset_of!(Words, about) + offset_of!(About, tid)) as u64 == ring::TID);
    assert!((offset_of!(Words, about) + offset_of!(About, name)) as u64 == ring::NAME);
    assert!(PIECES == clock::PIECES && size_of::<SharedPiece>() as u64 == clock::PIECE_BYTES);
    assert!(offset_of!(timeline::Words, first) as u64 == clock::FIRST);
    assert!(offset_of!(timeline::Words, next) as u64 == clock::NEXT);
    assert!(offset_of!(timeline::Words, ceiling) as u64 == clock::CEILING);
};

/// The file.
#[derive(Debug)]
pub struct RunFile {
    directory: Directory,
    path: PathBuf,
    name: CString,
    identity: Identity,
    header: Header,
    mapping: Mapping,
    /// Holds the owner's lock. `None`: the file was deleted.
    file: Mutex<Option<File>>,
    /// How many ordinary and priority rings have their place.
    taken: [AtomicU32; 2],
    /// Bytes of facts that are committed.
    facts: Mutex<u64>,
}

impl RunFile {
    /// Makes the file of a run, in a directory that is made if it is not there. It has its full size on the file system before this returns.
    pub fn make(start: &Start) -> Result<Arc<Self>> {
        let _signals = FileSignalsHeld::begin();
        let path = absolute(Path::new(start.directory)).map_err(|error| {
            Error::new(error.status, format!("pipeline_config_t.ring_dir: {}", error.detail))
        })?;
        let failed = |failure: Failure| {
            let error = failure.at(&path);
            Error::new(error.status, format!("pipeline_config_t.ring_dir: {}", error.detail))
        };
        in_a_promising_place(&path, start.may_be_on_disk)?;
        let directory = Directory::open(&path, Modes::of(0o600, false), &WORDS).map_err(failed)?;
        on_a_promising_system(&directory, &path, start.may_be_on_disk)?;
        let name = CString::new(file_name(start.generation)).unwrap_or_default();
        let folder = directory.folder().map_err(failed)?;
        let file = locked_file(&folder, &name).map_err(failed)?;
        let identity = Identity::of(&file.stat().map_err(failed)?);
        let bytes = start.shape.file_bytes();
        pass(Point::FileLocked);
        let prepare = || {
            if let Err(errno) = file.allocate(bytes).map_err(failed)? {
                return Err(too_little_space(&folder, &path, start, errno));
            }
            let mapped = usize::try_from(bytes).map_err(|_| libc::ENOMEM);
            let fd = file.fd().map_err(failed)?;
            mapped.and_then(|bytes| Mapping::new(fd, bytes)).map_err(|errno| match errno {
                libc::EMFILE => Error::new(
                    PIPELINE_ERR_LIMIT,
                    format!(
                        "pipeline_config_t.ring_dir: {MOST} pipelines with ring files allowed in a process"
                    ),
                ),
                errno => {
                    let error = std::io::Error::from_raw_os_error(errno);
                    Error::new(
                        PIPELINE_ERR_NO_MEMORY,
                        format!(
                            "pipeline_config_t.ring_dir: {bytes} bytes of {} cannot be mapped: {error}",
                            path.display()
                        ),
                    )
                }
            })
        };
        let mapping = prepare().inspect_err(|_| {
            let _ = folder.unlink(&name);
        })?;
        pass(Point::FileAllocated);
        let monotonic_ns = time::now_ns();
        let header = Header {
            generation: start.generation,
            shape: start.shape,
            in_ticks: start.in_ticks,
            owner: owner::own(),
            monotonic_ns,
            realtime_ns: monotonic_ns.wrapping_add_signed(time::realtime_offset_ns()),
            name: start.name.as_bytes().to_vec(),
            program: owner::program(),
        };
        let this = Arc::new(Self {
            directory,
            path,
            name,
            identity,
            header,
            mapping,
            file: Mutex::new(Some(file)),
            taken: Default::default(),
            facts: Mutex::new(0),
        });
        this.write_header();
        Ok(this)
    }

    /// The file in which the run's events are, for messages.
    pub fn path(&self) -> PathBuf {
        self.path.join(self.name.to_string_lossy().as_ref())
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// What does not change.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn at<T>(&self, offset: u64) -> NonNull<T> {
        debug_assert!(offset + size_of::<T>() as u64 <= self.header.shape.file_bytes());
        // SAFETY: inside the mapping, which is not at address 0.
        unsafe { NonNull::new_unchecked(self.mapping.start().add(offset as usize).cast()) }
    }

    fn word(&self, offset: u64) -> &AtomicU64 {
        // SAFETY: aligned, inside the mapping, and only ever accessed as an atomic.
        unsafe { self.at::<AtomicU64>(offset).as_ref() }
    }

    /// The magic comes last: until it is there, the file is unfinished to everybody.
    fn write_header(&self) {
        let bytes = self.header.encode();
        let rest = &bytes[MAGIC.len()..];
        debug_assert!(bytes.len() as u64 == HEADER_BYTES);
        // SAFETY: the header's page, which no other thread of this process accesses; other processes copy it.
        unsafe {
            self.at::<u8>(MAGIC.len() as u64).as_ptr().copy_from_nonoverlapping(rest.as_ptr(), rest.len())
        };
        pass(Point::HeaderWritten);
        self.word(0).store(u64::from_ne_bytes(MAGIC), Ordering::Release);
        pass(Point::FileMade);
    }

    /// A place for a ring: its words, all 0, and its memory. `None`: all have theirs.
    pub fn ring(self: &Arc<Self>, priority: bool) -> Option<(Place<Words>, Memory)> {
        let shape = &self.header.shape;
        let count = if priority { shape.priority_rings } else { shape.rings };
        let free = |taken: u32| (taken < count).then_some(taken + 1);
        let taken = &self.taken[usize::from(priority)];
        let number = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok()?;
        let ring = u64::from(number) + if priority { u64::from(shape.rings) } else { 0 };
        // SAFETY: words of 0 are valid; both ranges lie inside the mapping and are this ring's alone, and the file keeps the mapping.
        unsafe {
            let words = Place::within(self.at(shape.header_at(ring)), Arc::clone(self) as _);
            let memory =
                Memory::within(self.at(shape.ring_at(ring)), shape.bytes_of(ring), Arc::clone(self) as _);
            Some((words, memory))
        }
    }

    /// The place of the timeline: its words and its pieces, all 0.
    pub fn clock(self: &Arc<Self>) -> (Place<timeline::Words>, Place<[SharedPiece]>) {
        let first = self.at::<SharedPiece>(CLOCK_AT + clock::PIECES_AT);
        let pieces = NonNull::slice_from_raw_parts(first, PIECES as usize);
        // SAFETY: words and pieces of 0 are valid; both ranges lie inside the mapping and are the timeline's alone, and the file keeps the mapping.
        unsafe {
            let words = Place::within(self.at(CLOCK_AT), Arc::clone(self) as _);
            (words, Place::within(pieces, Arc::clone(self) as _))
        }
    }

    /// Keeps a fact. It is committed when this returns.
    pub fn add_fact(&self, fact: &Fact) -> Result<()> {
        let mut used = self.facts.lock();
        let need = stride(fact.payload.len());
        let room = FACTS_BYTES - FACTS_START - if fact.is_own() { 0 } else { OWN_FACTS_BYTES };
        if *used + need > room {
            let text = format!(
                "{fact}: with ring_dir, {room} bytes of names and definitions of kinds and attributes allowed in the life of a pipeline, \
                 {} used, {need} given",
                *used
            );
            return Err(Error::new(PIPELINE_ERR_LIMIT, text));
        }
        let head = Head {
            kind: fact.kind,
            weight: 1.0,
            sequence: *used,
            timestamp: time::now_ns(),
            correlation_id: fact.correlation_id,
            node_id: fact.node_id,
        };
        let at = self.at::<u8>(FACTS_AT + FACTS_START + *used).as_ptr();
        // SAFETY: the record fits into its region, and nobody else writes there, as the lock is held; other processes read only what is committed.
        unsafe {
            crate::ring::record::write(at, Tag::event(fact.payload.len(), 0), &head);
            let payload = at.add(crate::ring::record::HEADER as usize);
            payload.copy_from_nonoverlapping(fact.payload.as_ptr(), fact.payload.len());
        }
        *used += need;
        pass(Point::FactWritten);
        self.word(FACTS_AT).store(*used, Ordering::Release);
        Ok(())
    }

    /// Writes the figures: `bytes` are those of a file of live figures, as [`encode`](crate::journal::format::figures::encode) has made them. To be called by one thread at a
    /// time.
    pub fn write_figures(&self, bytes: &[u8]) {
        use crate::journal::format::figures::SEQUENCE;
        let bytes = &bytes[..bytes.len().min(FILE_BYTES)];
        let Some(&sequence) = bytes.get(SEQUENCE..).and_then(|rest| rest.first_chunk::<8>()) else { return };
        let word = self.word(FIGURES_AT + SEQUENCE as u64);
        word.store(u64::from_le_bytes(sequence) - 1, Ordering::Release);
        crate::platform::sync::fence(Ordering::Release);
        for (part, at) in [(&bytes[..SEQUENCE], 0), (&bytes[SEQUENCE + 8..], SEQUENCE + 8)] {
            // SAFETY: inside the figures' region, which no other thread of this process accesses; a process that reads it meanwhile finds the sequence odd or
            // the checksum wrong.
            unsafe {
                let to = self.at::<u8>(FIGURES_AT + at as u64).as_ptr();
                to.copy_from_nonoverlapping(part.as_ptr(), part.len());
            }
        }
        word.store(u64::from_le_bytes(sequence), Ordering::Release);
    }

    /// Every event of the run has left its ring, and none can follow: the file is deleted.
    pub fn delete(&self) {
        let Some(file) = self.file.lock().take() else { return };
        pass(Point::FileDeleted);
        let Ok(folder) = self.directory.folder() else { return };
        drop(file);
        // (The descriptor may be lost: a host may close those that are not its own.)
        if folder.stat(&self.name).is_ok_and(|stat| Identity::of(&stat) == self.identity)
            && let Err(failure) = folder.unlink(&self.name)
        {
            log::warn!(
                "ring_dir: {}: {failure}; it holds no event and may be deleted",
                self.path().display()
            );
        }
    }

    /// No event can be captured or released any more: gives the owner's lock up, so that others may take what is left. (The memory may stay mapped for longer.)
    pub fn give_up(&self) {
        if let Some(file) = &*self.file.lock() {
            let _ = file.set_lock(false);
        }
    }

    /// In a forked child: gives the addresses back, and nothing else.
    ///
    /// # Safety
    /// No thread uses the rings in this process any more; `self` is never dropped here.
    pub unsafe fn unmap(&self) {
        // SAFETY: passed on.
        unsafe { self.mapping.unmap() };
    }
}

/// Makes the file with its owner's lock. Whoever looks for files of dead runs takes one without the lock for abandoned and deletes it, so it is made again then.
fn locked_file(folder: &Folder, name: &CStr) -> std::result::Result<File, Failure> {
    const TRIES: u32 = 100;
    const AGAIN_US: u32 = 500;
    for _ in 0..TRIES {
        let made = folder.make_file(name, libc::O_RDWR, 0o600)?;
        pass(Point::FileNamed);
        if let Some(file) = made
            && file.set_lock(true)?
            && file.stat()?.st_nlink != 0
        {
            return Ok(file);
        }
        time::sleep_us(AGAIN_US);
    }
    Err(Failure::transient("another process has made the file of this run, or deletes it again and again"))
}

/// An error if a configuration with `ring_dir` has a storage for which that is of no use.
pub fn refuse_handles(release: bool, marked: bool) -> Result<()> {
    if release && !marked {
        return Err(Error::new(
            PIPELINE_ERR_INVALID,
            "pipeline_config_t.ring_dir: the storage has a release, so its events are handles, which do not outlive the process; \
             give no ring_dir, or set PIPELINE_STORAGE_RELEASE_MARKED and capture handles with PIPELINE_EVENT_RELEASE",
        ));
    }
    Ok(())
}
