//! The segments that a reader has open.

use super::allocation::{push, zeros};
use super::window::read_up_to;
use crate::journal::format::checksum::Salted;
use crate::journal::format::segment::{MAGIC, MAX_SIZE, MIN_SIZE, NoSegment, SegmentHeader};
use crate::journal::owner;
use crate::platform::files::{first_byte_is_locked, most_descriptors, next_data};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A segment, as far as it is known.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its file.
    pub path: PathBuf,
    /// Its header.
    pub header: SegmentHeader,
    /// The size of its file.
    pub size: u64,
    /// How it ends.
    pub state: State,
    /// Its blocks of events.
    pub blocks: u64,
    /// The events that the headers of those blocks count.
    pub events: u64,
    /// The length of the bodies of those blocks as they are stored.
    pub stored_bytes: u64,
    /// The length of the records in those blocks.
    pub raw_bytes: u64,
    /// The earliest and the latest time of an event. Without events: `u64::MAX` and 0.
    pub times_ns: (u64, u64),
    /// The same in nanoseconds since 1970.
    pub realtimes_ns: (u64, u64),
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// With a seal: it is complete.
    Sealed(Seal),
    /// Its writer lives: it may grow.
    Growing,
    /// Without a seal, and its writer does not live any more.
    Left,
}

/// What a seal says about its segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seal {
    /// The blocks of events before it.
    pub blocks: u64,
    /// The events in them.
    pub events: u64,
    /// The bytes of the file before it.
    pub bytes: u64,
}

impl Seal {
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut words =
            body.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        Some(Self { blocks: words.next()?, events: words.next()?, bytes: words.next()? })
    }
}

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// Its header is not written yet, or its writer has ended before it was.
    Begun {
        /// The writer lives.
        lives: bool,
        /// The bytes that are there.
        bytes: u64,
    },
    NoSegment(NoSegment),
    NoFile,
    Io(io::Error),
}

impl From<io::Error> for NotOpened {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A segment and its file.
#[derive(Debug)]
pub(super) struct Open {
    /// `None`: closed, because many are open.
    file: Option<OwnFile>,
    used: u64,
    identity: (u64, u64),
    pub salted: Salted,
    pub info: Segment,
    /// Where its first block begins.
    pub start: u64,
    /// Up to where its blocks are known.
    pub known: u64,
    /// Up to where they were known when the reader looked before.
    pub before: u64,
    /// The facts of the pipeline's list that were read in it; see [`Facts::add`](super::facts::Facts::add).
    pub facts: u64,
    /// What the last known block says, if it is a seal.
    pub seal: Option<Seal>,
    /// Nothing behind `known` is read any more: it is sealed, refused or gone.
    pub done: bool,
    /// What is added to its times so that the runs of one boot come behind those of an earlier one.
    pub shift: u64,
}

impl Open {
    pub fn new(path: &Path) -> Result<Self, NotOpened> {
        let (own, data) = OwnFile::open(path)?;
        if !data.is_file() {
            return Err(NotOpened::NoFile);
        }
        let mut bytes = zeros(MAX_SIZE)?;
        let file = own.get()?;
        let read = read_up_to(file, &mut bytes, 0)?;
        let (header, first_block) = match SegmentHeader::decode(&bytes[..read]) {
            Ok(decoded) => decoded,
            Err(_) if read < MIN_SIZE && MAGIC.starts_with(&bytes[..read.min(MAGIC.len())]) => {
                let lives = first_byte_is_locked(file) == Some(true);
                return Err(NotOpened::Begun { lives, bytes: read as u64 });
            }
            Err(reason) => return Err(NotOpened::NoSegment(reason)),
        };
        Ok(Self {
            identity: own.identity,
            file: Some(own),
            used: 0,
            salted: Salted::new(header.salt),
            start: first_block as u64,
            known: first_block as u64,
            before: first_block as u64,
            facts: 0,
            seal: None,
            done: false,
            shift: 0,
            info: Segment {
                path: path.to_path_buf(),
                header,
                size: data.len(),
                state: State::Growing,
                blocks: 0,
                events: 0,
                stored_bytes: 0,
                raw_bytes: 0,
                times_ns: (u64::MAX, 0),
                realtimes_ns: (u64::MAX, 0),
            },
        })
    }

    /// Its file, which [`Segments::ready`] has opened.
    pub fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or(io::ErrorKind::NotFound)?.get()
    }

    /// Looks how large the file is now.
    pub fn look(&mut self) -> io::Result<()> {
        self.info.size = self.file()?.metadata()?.len();
        Ok(())
    }

    /// From where on the file has data, at `from` or behind it; `u64::MAX`: there is only a hole. What the system does not tell counts as data.
    pub fn next_data(&self, from: u64) -> u64 {
        match &self.file {
            Some(own) if own.is_ours() => own.get().map_or(from, |file| next_data(file, from)),
            _ => from,
        }
    }

    /// Whether its writer lives.
    pub fn owner_lives(&self) -> bool {
        self.file().is_ok_and(|file| owner::lives(file, &self.info.header.owner))
    }
}

/// A file that is only touched while its descriptor leads to it: the program may close any descriptor, and the number is then that of another file, which is
/// not ours to close.
#[derive(Debug)]
struct OwnFile {
    /// `None` only while it is dropped.
    file: Option<File>,
    identity: (u64, u64),
}

impl OwnFile {
    /// Opens a file. It does not wait for the other end of a FIFO.
    fn open(path: &Path) -> io::Result<(Self, Metadata)> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let data = file.metadata()?;
        Ok((Self { file: Some(file), identity: (data.dev(), data.ino()) }, data))
    }

    fn get(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn is_ours(&self) -> bool {
        let data = self.file.as_ref().and_then(|file| file.metadata().ok());
        data.is_some_and(|data| (data.dev(), data.ino()) == self.identity)
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if !self.is_ours()
            && let Some(file) = self.file.take()
        {
            _ = file.into_raw_fd();
        }
    }
}

/// All segments of a reader. Their files stay open, so that a segment can be read after it was deleted; but no more than [`MAX_FILES`] of them, or a share of what
/// the process may have.
#[derive(Debug, Default)]
pub(super) struct Segments {
    pub all: Vec<Open>,
    clock: u64,
    files: usize,
    /// The most that are open; 0: it is not known yet.
    most: usize,
}

/// The most files that a reader has open.
const MAX_FILES: usize = 256;
/// It leaves the others of the descriptors that the process may have to the program.
const SHARE: usize = 4;
/// So many are open in any case.
const MIN_FILES: usize = 4;

impl Segments {
    /// Opens a segment, which [`push`](Self::push) may add.
    pub fn open(&mut self, path: &Path) -> Result<Open, NotOpened> {
        loop {
            match Open::new(path) {
                Err(NotOpened::Io(error)) if self.makes_room(&error) => {}
                opened => return opened,
            }
        }
    }

    pub fn push(&mut self, open: Open) -> io::Result<()> {
        push(&mut self.all, Open { used: self.clock + 1, ..open })?;
        self.clock += 1;
        self.note_opened();
        Ok(())
    }

    fn note_opened(&mut self) {
        if self.most == 0 {
            self.most = (most_descriptors() / SHARE).clamp(MIN_FILES, MAX_FILES);
        }
        self.files += 1;
        if self.files > self.most {
            self.close_oldest();
        }
    }

    /// The segment with its file open. An error of the kind `NotFound`: it is gone.
    pub fn ready(&mut self, segment: usize) -> io::Result<&Open> {
        self.clock += 1;
        let used = self.clock;
        let at = self.all.get_mut(segment).ok_or(io::ErrorKind::NotFound)?;
        at.used = used;
        if at.file.as_ref().is_some_and(|file| !file.is_ours()) {
            at.file = None;
            self.files -= 1;
        }
        if at.file.is_none() {
            self.open_again(segment)?;
        }
        self.all.get(segment).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open_again(&mut self, segment: usize) -> io::Result<()> {
        loop {
            let at = self.all.get_mut(segment).ok_or(io::ErrorKind::NotFound)?;
            match OwnFile::open(&at.info.path) {
                Ok((file, _)) if file.identity == at.identity => at.file = Some(file),
                Ok(_) => return Err(io::ErrorKind::NotFound.into()),
                Err(error) if self.makes_room(&error) => continue,
                Err(error) => return Err(error),
            }
            self.note_opened();
            return Ok(());
        }
    }

    /// Whether a file could not be opened for want of a descriptor, and one is free now.
    pub fn makes_room(&mut self, error: &io::Error) -> bool {
        no_descriptors(error) && self.close_oldest()
    }

    /// Closes the file that was not used for the longest time. `false`: none is open but the one that is in use.
    fn close_oldest(&mut self) -> bool {
        let open = self.all.iter_mut().filter(|open| open.file.is_some() && open.used != self.clock);
        let Some(oldest) = open.min_by_key(|open| open.used) else { return false };
        oldest.file = None;
        self.files -= 1;
        true
    }
}

/// The process, or the system, has as many files open as it may.
fn no_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
