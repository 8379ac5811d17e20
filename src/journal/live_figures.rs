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
    let mut tries = 0;
    loop {
        let bytes = bytes_of(&file).map_err(Unreadable::Io)?;
        let alive = owner_of(&bytes).is_ok_and(|owner| owner::lives(&file, &owner));
        match decode(&bytes) {
            Ok(live) => return Ok(Found { path: path.to_path_buf(), live, alive }),
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

/// The bytes of a file, and no more of them than it should have.
fn bytes_of(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; FILE_BYTES];
    let mut used = 0;
    while used < bytes.len() {
        match file.read_at(&mut bytes[used..], used as u64) {
            Ok(0) => break,
            Ok(read) => used += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(used);
    Ok(bytes)
}
