//! Reads the files of live figures in a journal's directory: what pipelines of other processes count at present.

use super::format::figures::{FILE_BYTES, Live, NotLive, decode, is_file_name, owner_of};
use super::owner;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often, and after how long, a file is read again that is being written. (A write takes some microseconds.)
const TRIES: u32 = 100;
const AGAIN: Duration = Duration::from_millis(2);

/// The figures of a pipeline, and whether its process runs.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What it has.
    pub live: Live,
    /// Whether the process that writes it still runs. If not, these are the last figures.
    pub alive: bool,
}

/// Why a file could not be read.
#[derive(Debug)]
pub enum Unreadable {
    /// The system refused.
    Io(io::Error),
    /// It is no such file, or a damaged one.
    Not(NotLive),
    /// Its process has died while it wrote it.
    LeftUnfinished {
        /// The process.
        pid: u32,
    },
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Not(why) => why.fmt(f),
            Self::LeftUnfinished { pid } => write!(f, "process {pid} has died while it wrote the file"),
        }
    }
}

/// The files of live figures in a directory, by name.
pub fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_file_name) {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads a file. A link or a pipe of that name is not followed or waited for.
pub fn read(path: &Path) -> Result<Found, Unreadable> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(Unreadable::Io)?;
    if !file.metadata().map_err(Unreadable::Io)?.is_file() {
        return Err(Unreadable::Not(NotLive::Foreign));
    }
    let (live, alive) = read_from(&file, 0)?;
    Ok(Found { path: path.to_path_buf(), live, alive })
}

/// Reads the figures that lie in a file from `at` on, and whether the process that writes them still runs.
pub fn read_from(file: &File, at: u64) -> Result<(Live, bool), Unreadable> {
    let mut tries = 0;
    loop {
        let bytes = bytes_of(file, at).map_err(Unreadable::Io)?;
        let alive = owner_of(&bytes).is_ok_and(|owner| owner::lives(file, &owner));
        match decode(&bytes) {
            Ok(live) => return Ok((live, alive)),
            // A reader may see a part of a write even where the sequence is even again: the checksum tells.
            Err(NotLive::Unfinished | NotLive::Damaged | NotLive::Cut(_)) if alive && tries < TRIES => {
                tries += 1;
                std::thread::sleep(AGAIN);
            }
            Err(NotLive::Unfinished) if !alive => {
                let pid = owner_of(&bytes).map_or(0, |owner| owner.pid);
                return Err(Unreadable::LeftUnfinished { pid });
            }
            Err(why) => return Err(Unreadable::Not(why)),
        }
    }
}

/// The bytes of a file from `at` on, and no more of them than there should be.
fn bytes_of(file: &File, at: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; FILE_BYTES];
    let used = read_up_to(file, at, &mut bytes)?;
    bytes.truncate(used);
    Ok(bytes)
}

/// Reads from `at` on until `into` is full or the file ends. Answers how many bytes were read.
pub(crate) fn read_up_to(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut used = 0;
    while used < into.len() {
        match file.read_at(&mut into[used..], at + used as u64) {
            Ok(0) => break,
            Ok(read) => used += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(used)
}
