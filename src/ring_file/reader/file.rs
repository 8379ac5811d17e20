//! A ring file, as a reader has it open: its header, and the words of its rings. It is read by `pread` alone, because a file that is cut while it is mapped kills its reader.

use super::directory::{Directory, zeros};
use super::owner;
use crate::files::failure::Failure;
use crate::files::file::File;
use crate::files::identity::Identity;
use crate::journal::format::bytes::{array, u64_at};
use crate::journal::format::figures;
use crate::ring_file::format::{FIGURES_AT, HEADER_BYTES, Header, NoRingFile, RING_HEADER_BYTES, ring};
use std::ffi::{CStr, CString};

/// The byte that the owner locks for as long as it lives.
pub const OWNER_LOCK: u64 = 0;
/// The byte that is locked by whoever delivers what a dead owner has left.
pub const RECOVERY_LOCK: u64 = 1;

/// A ring file.
#[derive(Debug)]
pub struct RingFile {
    file: File,
    name: CString,
    identity: Identity,
    header: Header,
}

/// A file with the name of a ring file, before its header is read.
#[derive(Debug)]
pub struct Opened {
    file: File,
    name: CString,
    identity: Identity,
}

/// Why a file is not read.
#[derive(Debug)]
pub enum NotRead {
    /// It was deleted since it was listed.
    Gone,
    /// It is a link, a folder, a device or a pipe.
    NotRegular,
    /// Its header is none that this library reads.
    NoRingFile(NoRingFile),
    /// Its name says that it is of another run than its header says: the name's generation, and the header's.
    Renamed(u64, u64),
    /// The system has refused a call.
    Failed(Failure),
}

impl std::fmt::Display for NotRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("it was deleted"),
            Self::NotRegular => f.write_str("it is no regular file"),
            Self::NoRingFile(why) => why.fmt(f),
            Self::Renamed(name, header) => write!(
                f,
                "its name says run {name:016x}, and its header run {header:016x}: it was renamed or copied; \
                 give it the name {header:016x}.rings"
            ),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl From<Failure> for NotRead {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The words of a ring, as they were at one moment. While its owner lives they go on changing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingWords {
    /// Records are committed up to this position.
    pub head: u64,
    /// Records are claimed, or overwritten, up to this one.
    pub claimed: u64,
    /// Records are stored, or gone for another reason, up to this one.
    pub released: u64,
    /// The ring's id; 0: it was never used.
    pub ring_id: u64,
    /// The thread that captures into it; 0: it is not one thread's.
    pub tid: u64,
    /// That thread's name, padded with zeros.
    pub name: [u8; 16],
}

impl RingWords {
    /// Those in the header of a ring.
    pub(in crate::ring_file) fn of(bytes: &[u8]) -> Self {
        let word = |at: u64| u64_at(bytes, at as usize);
        Self {
            head: word(ring::HEAD),
            claimed: word(ring::CLAIMED),
            released: word(ring::RELEASED),
            ring_id: word(ring::RING_ID),
            tid: word(ring::TID),
            name: array(bytes, ring::NAME as usize),
        }
    }

    /// The thread's name.
    pub fn thread_name(&self) -> &[u8] {
        self.name.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

impl Opened {
    /// Opens the file of this name. `write`: to recover it.
    pub fn open(directory: &Directory, name: &CStr, write: bool) -> Result<Self, NotRead> {
        let failed = |error: i32| match error {
            libc::ENOENT => NotRead::Gone,
            libc::ELOOP => NotRead::NotRegular,
            error => NotRead::Failed(Failure::system("opening it", error)),
        };
        // A device is not even opened, because that may do something.
        let is_regular = |stat: &libc::stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG;
        if !is_regular(&directory.stat(name).map_err(failed)?) {
            return Err(NotRead::NotRegular);
        }
        let access = if write { libc::O_RDWR } else { libc::O_RDONLY };
        let file = directory.open_file(name, access | libc::O_NONBLOCK | libc::O_NOCTTY).map_err(failed)?;
        let stat = file.stat()?;
        if !is_regular(&stat) {
            return Err(NotRead::NotRegular);
        }
        Ok(Self { file, name: name.to_owned(), identity: Identity::of(&stat) })
    }

    /// Reads the header. `generation` is the one that the name says. If it is none, the file is given back as well.
    pub fn header(self, generation: u64) -> Result<RingFile, (Self, NotRead)> {
        match self.read_header(generation) {
            Ok(header) => {
                let Self { file, name, identity } = self;
                Ok(RingFile { file, name, identity, header })
            }
            Err(why) => Err((self, why)),
        }
    }

    fn read_header(&self, generation: u64) -> Result<Header, NotRead> {
        let bytes = self.file.stat()?.st_size as u64;
        if bytes == 0 {
            return Err(NotRead::NoRingFile(NoRingFile::Unfinished));
        }
        let mut header = zeros::<u8>(HEADER_BYTES as usize)?;
        let got = self.file.read(&mut header, 0)?;
        let header = Header::decode(&header[..got], bytes).map_err(NotRead::NoRingFile)?;
        if header.generation != generation {
            return Err(NotRead::Renamed(generation, header.generation));
        }
        Ok(header)
    }

    /// Locks a byte of the file for this open file. `None`: there are no such locks here.
    pub fn lock(&self, byte: u64) -> Result<Option<bool>, Failure> {
        self.file.set_lock_of(byte, true)
    }

    /// Whether the file was deleted since it was opened.
    pub fn is_gone(&self) -> Result<bool, Failure> {
        Ok(self.file.stat()?.st_nlink == 0)
    }

    /// Deletes the file, if it still has its name.
    pub fn delete(&self, directory: &Directory) -> Result<(), Failure> {
        directory.unlink(&self.name, self.identity)
    }
}

impl RingFile {
    /// Opens the ring file of this name to read it. `generation` is the one that the name says.
    pub fn open(directory: &Directory, name: &CStr, generation: u64) -> Result<Self, NotRead> {
        Opened::open(directory, name, false)?.header(generation).map_err(|(_, why)| why)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The name of the file.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Whether the process that captures into it lives, or may live.
    pub fn owner_lives(&self) -> Result<bool, Failure> {
        owner::lives(&self.file, &self.header.owner)
    }

    /// Reads exactly these bytes.
    pub fn read(&self, into: &mut [u8], at: u64) -> Result<(), Failure> {
        match self.file.read(into, at)? {
            got if got == into.len() => Ok(()),
            _ => Err(Failure::transient("it was cut while it was read")),
        }
    }

    /// The words of a ring.
    pub fn ring(&self, ring: u64) -> Result<RingWords, Failure> {
        let mut bytes = [0; RING_HEADER_BYTES as usize];
        self.read(&mut bytes, self.header.shape.header_at(ring))?;
        Ok(RingWords::of(&bytes))
    }

    /// Shows the words of every ring, with its number.
    pub fn each_ring(
        &self,
        mut see: impl FnMut(u64, RingWords) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        /// So many headers are read at once.
        const RINGS: u64 = 64;
        let all = self.header.shape.all_rings();
        let mut bytes = zeros::<u8>((RINGS.min(all) * RING_HEADER_BYTES) as usize)?;
        for first in (0..all).step_by(RINGS as usize) {
            let part = &mut bytes[..(RINGS.min(all - first) * RING_HEADER_BYTES) as usize];
            self.read(part, self.header.shape.header_at(first))?;
            for (header, ring) in part.chunks_exact(RING_HEADER_BYTES as usize).zip(first..) {
                see(ring, RingWords::of(header))?;
            }
        }
        Ok(())
    }

    /// The figures of the run, as they were written last. While the owner lives they may be in the middle of a write: then they are read again later.
    pub fn figures(&self) -> Result<Result<figures::Live, figures::NotLive>, Failure> {
        let mut bytes = zeros::<u8>(figures::FILE_BYTES)?;
        self.read(&mut bytes, FIGURES_AT)?;
        Ok(figures::decode(&bytes))
    }

    /// Moves a word of a ring's header, for who holds the lock of recovery.
    pub(super) fn set_word(&self, ring: u64, word: u64, to: u64) -> Result<(), Failure> {
        let bytes = to.to_le_bytes();
        self.file.write_all(std::iter::once(&bytes[..]), self.header.shape.header_at(ring) + word)
    }

    /// Locks a byte of the file for this open file. `None`: there are no such locks here.
    pub(super) fn lock(&self, byte: u64) -> Result<Option<bool>, Failure> {
        self.file.set_lock_of(byte, true)
    }

    /// Whether the file was deleted since it was opened.
    pub(super) fn is_gone(&self) -> Result<bool, Failure> {
        Ok(self.file.stat()?.st_nlink == 0)
    }

    /// Deletes the file, if it still has its name.
    pub(super) fn delete(&self, directory: &Directory) -> Result<(), Failure> {
        directory.unlink(&self.name, self.identity)
    }
}
