//! Shows what the words of a ring file say, whether its process runs, is stopped or has died: what waits in each ring, and the figures of the pipeline.
//!
//! Nothing is changed, nothing is mapped and no lock is taken. The process does nothing for it, and does not notice it.

use super::format::{FIGURES_AT, HEADER_BYTES, Header, NoRingFile, RING_HEADER_BYTES, RING_HEADERS_AT};
use super::reader::{RingWords, lives_with};
use crate::journal::format::figures::{Live, MAGIC};
use crate::journal::live_figures::{self, read_up_to};
use crate::platform::files::first_byte_is_locked;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How many headers of rings are read at once.
const AT_ONCE: u64 = 128;

/// A ring file that is only looked at.
#[derive(Debug)]
pub struct View {
    file: File,
    header: Header,
}

/// Why a file cannot be looked at.
#[derive(Debug)]
pub enum Unreadable {
    /// The system refused.
    Io(io::Error),
    /// It is no ring file that this library can read.
    Not(NoRingFile),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Not(why) => why.fmt(f),
        }
    }
}

/// What a ring's header says at one moment. `released` <= `claimed` <= `head` <= `released` + `bytes`, whatever the file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// The ring's number in the file. The ordinary rings come first.
    pub index: u64,
    /// Whether it is a priority ring.
    pub is_priority: bool,
    /// The size of its memory.
    pub bytes: u64,
    /// Records are committed up to this position.
    pub head: u64,
    /// Records are claimed by a writer, or overwritten, up to this position.
    pub claimed: u64,
    /// Records have left the ring up to this position.
    pub released: u64,
    /// The ring's id.
    pub ring_id: u64,
    /// The thread that captures into it; 0: it is not one thread's.
    pub thread_id: u64,
    /// The thread's name, padded with zeros.
    pub name: [u8; 16],
}

impl Words {
    /// Of a ring of this size.
    fn read(header: &[u8], index: u64, is_priority: bool, bytes: u64) -> Self {
        let RingWords { head, claimed, released, ring_id, tid, name } = RingWords::of(header);
        // The process goes on while the words are read, one after the other: the later ones may be newer than the head.
        let released = released.clamp(head.saturating_sub(bytes), head);
        let claimed = claimed.clamp(released, head);
        Self { index, is_priority, bytes, head, claimed, released, ring_id, thread_id: tid, name }
    }

    /// The bytes of records that have not left the ring.
    pub fn backlog(&self) -> u64 {
        self.head - self.released
    }

    /// The bytes of them that a writer has claimed.
    pub fn in_flight(&self) -> u64 {
        self.claimed - self.released
    }
}

impl View {
    /// Opens the file at a path. A link or a pipe is not followed or waited for.
    pub fn open(path: &Path) -> Result<Self, Unreadable> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(Unreadable::Io)?;
        Self::of(file)
    }

    /// Of a file that is open.
    pub fn of(file: File) -> Result<Self, Unreadable> {
        let status = file.metadata().map_err(Unreadable::Io)?;
        if !status.is_file() {
            return Err(Unreadable::Not(NoRingFile::Foreign));
        }
        let mut start = [0; HEADER_BYTES as usize];
        let used = read_up_to(&file, 0, &mut start).map_err(Unreadable::Io)?;
        let header = Header::decode(&start[..used], status.len()).map_err(Unreadable::Not)?;
        Ok(Self { file, header })
    }

    /// What does not change.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the run goes on. (Its process may live on without it, because the pipeline was destroyed with events left.)
    pub fn owner_lives(&self) -> bool {
        lives_with(first_byte_is_locked(&self.file), &self.header.owner)
    }

    /// The rings that were ever used, the ordinary ones first.
    pub fn rings(&self) -> io::Result<Vec<Words>> {
        let shape = &self.header.shape;
        let mut found = Vec::new();
        let mut headers = [0; (AT_ONCE * RING_HEADER_BYTES) as usize];
        for first in (0..shape.all_rings()).step_by(AT_ONCE as usize) {
            let count = AT_ONCE.min(shape.all_rings() - first);
            let headers = &mut headers[..(count * RING_HEADER_BYTES) as usize];
            let read = read_up_to(&self.file, RING_HEADERS_AT + first * RING_HEADER_BYTES, headers)?;
            let whole = headers[..read].chunks_exact(RING_HEADER_BYTES as usize);
            for (index, header) in (first..).zip(whole) {
                let is_priority = index >= u64::from(shape.rings);
                let words = Words::read(header, index, is_priority, shape.bytes_of(index));
                if words.ring_id != 0 {
                    found.try_reserve(1).map_err(|_| io::ErrorKind::OutOfMemory)?;
                    found.push(words);
                }
            }
        }
        Ok(found)
    }

    /// The figures, which the process writes each second. `None`: it has not written any yet.
    pub fn figures(&self) -> Result<Option<Live>, live_figures::Unreadable> {
        let mut start = [0; MAGIC.len()];
        read_up_to(&self.file, FIGURES_AT, &mut start).map_err(live_figures::Unreadable::Io)?;
        if start == [0; MAGIC.len()] {
            return Ok(None);
        }
        live_figures::read_from(&self.file, FIGURES_AT).map(|(live, _)| Some(live))
    }
}

#[cfg(test)]
mod tests;
