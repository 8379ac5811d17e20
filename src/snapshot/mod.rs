//! Snapshots: what lies in a pipeline's ring buffers, written as a journal while capture goes on.
//!
//! A snapshot claims nothing and holds no lock that a capture takes. Each ring is copied ([`Copies`]), and what was overwritten meanwhile is left out.
//! [`runs`] finds blocks in a copy, and [`output`] appends them to a segment of the snapshot's own. So the journal's reader reads it, and events have their
//! identities: one that lies in several snapshots, or in the storage as well, is the same event.

mod options;
mod output;
mod runs;

use crate::clock::timeline::Timeline;
use crate::files::Words;
use crate::files::failure::Failure;
use crate::files::folder::{Place, absolute};
use crate::platform::kill_point::{Point, pass};
use crate::platform::sync::{AtomicU64, Ordering, fence};
use crate::platform::{memory, time};
use crate::ring::copies::{Copied, Copies};
use crate::ring::ring_buffer::{Progress, RingBuffer};
use crate::ring::slot::Slot;
use crate::status::{Error, PIPELINE_ERR_UNSUPPORTED, Result};
use crate::storage::{Source, Thread};
pub(crate) use options::refuse;
pub use options::{MAX_COPY_BYTES, Options};
use output::Output;
use std::path::{Path, PathBuf};

/// What messages call it.
const WORDS: Words = Words { storage: "snapshot", file: "segment" };
/// The number of the next snapshot of this process. Its segment gets this number, unless a file has it.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What a snapshot has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The run whose events it has.
    pub generation: u64,
    /// The number of its segment.
    pub segment: u64,
    /// Events.
    pub events: u64,
    /// Rings with events.
    pub rings: u64,
    /// The size of its file.
    pub bytes: u64,
    /// Events that are left out because their payload is a handle.
    pub left_out: u64,
    /// Bytes of rings that were released or overwritten while they were copied, and that are left out for that.
    pub passed_bytes: u64,
    /// Bytes of rings that hold no records, because something else in the process has written there.
    pub damaged_bytes: u64,
    /// The earliest and the latest time of its events, callers' own times included.
    pub times: Option<(u64, u64)>,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
}

/// What a snapshot is made of.
pub struct Subject<'a> {
    /// The pipeline.
    pub source: &'a dyn Source,
    /// Its rings.
    pub rings: Vec<&'a Slot>,
    /// What converts readings of the processor's counter, if that stamps events.
    pub timeline: Option<&'a Timeline>,
}

/// A ring whose content is copied.
struct Ring {
    id: u64,
    thread: Option<Thread>,
    copied: Copied,
}

/// Writes what lies in the rings to a new segment in the directory `dir`, which is made if it is not there. If that fails, there is no segment.
pub fn take(subject: &Subject<'_>, dir: &Path, options: &Options) -> Result<Snapshot> {
    let began_ns = time::now_ns();
    options.validate()?;
    if cfg!(target_endian = "big") {
        return Err(Error::new(
            PIPELINE_ERR_UNSUPPORTED,
            "a snapshot is little-endian, and this machine is not",
        ));
    }
    let dir = absolute(dir)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut copies = copies_for(&subject.rings, options)?;
    let place = Place::open(&dir, options.modes(), &WORDS).map_err(|failure| failure.at(&dir))?;
    let output = place.folder().and_then(|folder| Output::begin(&folder, subject, number, options));
    let mut output = output.map_err(|failure| failure.at(&dir))?;
    let written = write_rings(subject, &mut copies, &mut output).and_then(|()| output.end(options));
    match written {
        Ok(snapshot) => Ok(Snapshot { took_ns: time::now_ns() - began_ns, ..snapshot }),
        Err(failure) => {
            output.give_up();
            Err(failure.at(&dir))
        }
    }
}

/// Checks that snapshots can go to a directory, which is made if it is not there. Returns its absolute path.
pub fn prepare(dir: &Path, options: &Options) -> Result<PathBuf> {
    options.validate()?;
    let dir = absolute(dir)?;
    Place::open(&dir, options.modes(), &WORDS).map_err(|failure| failure.at(&dir))?;
    Ok(dir)
}

/// The least memory for copies.
const LEAST_COPY_BYTES: u64 = 1 << 20;

/// Memory for copies: as much as the options allow, and no more than the rings have.
fn copies_for(rings: &[&Slot], options: &Options) -> Result<Copies> {
    let sizes = rings.iter().filter_map(|ring| ring.buffer()).map(RingBuffer::capacity);
    let most = sizes.fold(0, u64::saturating_add);
    copies_of(options.copy_bytes.max(LEAST_COPY_BYTES).min(most).max(1))
}

fn copies_of(bytes: u64) -> Result<Copies> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    Copies::new(bytes).ok_or_else(|| memory::refused(bytes))
}

/// Copies the rings, as many as there is memory for at a time, and writes the copies. A ring that is larger than the memory is copied and written in parts.
fn write_rings(subject: &Subject<'_>, copies: &mut Copies, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut copied: Vec<Ring> = Vec::new();
    copied.try_reserve_exact(subject.rings.len()).map_err(|_| Failure::no_memory())?;
    for slot in &subject.rings {
        let Some(buffer) = slot.buffer() else { continue };
        let mut reading = Reading { slot, buffer, progress: Progress::default(), id: None };
        loop {
            let Some(ring) = reading.copy(copies) else {
                output.write(&mut copied, copies)?;
                continue;
            };
            let last = ring.copied.last;
            copied.push(ring);
            if last {
                break;
            }
            let used = output.write(&mut copied, copies)?;
            reading.progress.used(used);
            if used == 0 {
                // A record that is larger than the memory.
                let bytes = buffer.capacity().max(copies.room() as u64 * 2);
                *copies = copies_of(bytes).map_err(|_| Failure::no_memory())?;
            }
        }
    }
    output.write(&mut copied, copies)?;
    Ok(())
}

/// A ring that is being copied.
struct Reading<'a> {
    slot: &'a Slot,
    buffer: &'a RingBuffer,
    progress: Progress,
    /// Under which id its first part was.
    id: Option<u64>,
}

impl Reading<'_> {
    /// Copies what lies in the ring under one id, or the next part of it. `None`: there is no room for it.
    fn copy(&mut self, copies: &mut Copies) -> Option<Ring> {
        loop {
            let id = self.slot.id();
            let before = copies.mark();
            let copied = copies.take(self.buffer, &mut self.progress)?;
            // These are set before the first event of an id is published, so that this thread, if it has seen one, sees them, or those of a later id.
            let (meta, (tid, name)) = (self.slot.is_meta(), self.slot.thread());
            fence(Ordering::Acquire);
            let is_it = self.slot.id() == id && self.id.is_none_or(|first| first == id);
            if is_it && !meta {
                pass(Point::RingCopied);
                self.id = Some(id);
                let thread = (tid != 0).then_some(Thread { tid, name });
                return Some(Ring { id, thread, copied });
            }
            copies.back_to(before);
            // The ring was drained meanwhile, and has passed to another thread. What comes from there is later than the call.
            if meta || self.id.is_some() {
                return Some(Ring { id, thread: None, copied: Copied::nothing() });
            }
            self.progress = Progress::default();
        }
    }
}
