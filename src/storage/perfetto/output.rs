//! The files of a storage: the one that is written, and how many there may be.

use super::options::{Options, Sync};
use crate::files::failure::{Class, Failure};
use crate::files::file::File;
use crate::files::folder::{Folder, Place};
use crate::files::identity::Identity;
use crate::platform::time;
use std::ffi::{CStr, CString};
use std::sync::Arc;

/// How the files' names end.
const ENDING: &str = ".perfetto-trace";

/// The file that is written.
#[derive(Debug)]
pub(super) struct TraceFile {
    file: File,
    name: CString,
    identity: Identity,
    folder: Arc<Folder>,
    /// The end of what is written whole.
    pub end: u64,
    /// Events in it.
    pub events: u64,
    made_ns: u64,
    /// Bytes of a write that failed may lie behind the end.
    uncut: bool,
    /// The directory has its entry on the disk.
    is_listed: bool,
}

/// Bytes that could not be appended.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub failure: Failure,
    /// How many of them are in the file all the same, because it could not be cut.
    pub kept: u64,
    /// Nothing more may be written to the file.
    pub abandoned: bool,
}

impl TraceFile {
    /// Makes a file under the first number from `next` on that is free. It is empty.
    pub fn make(place: &Place, generation: u64, next: &mut u64, mode: u32) -> Result<Self, Failure> {
        let folder = place.folder()?;
        let (name, file) = loop {
            let name = CString::new(format!("{generation:016x}-{:06}{ENDING}", *next)).unwrap_or_default();
            *next += 1;
            if let Some(file) = folder.make_file(&name, libc::O_WRONLY, mode)? {
                break (name, file);
            }
        };
        // The lock says that it is being written: it is not deleted to make room.
        let stat = match file.set_lock(true).and_then(|_| file.stat()) {
            Ok(stat) => stat,
            Err(failure) => {
                let _ = folder.unlink(&name);
                return Err(failure);
            }
        };
        let identity = Identity::of(&stat);
        let made_ns = time::now_ns();
        Ok(Self { file, name, identity, folder, end: 0, events: 0, made_ns, uncut: false, is_listed: false })
    }

    /// Whether another file is to be begun.
    pub fn is_full(&self, options: &Options) -> bool {
        let age = options.file_age_ms.saturating_mul(1_000_000);
        self.end != 0
            && (self.end >= options.file_limit()
                || age != 0 && time::now_ns().saturating_sub(self.made_ns) >= age)
    }

    /// Opens the file again if another part of the program has closed its descriptor, if it still is the same.
    fn reopen(&mut self) -> Result<(), Failure> {
        if self.file.is_ours() {
            return Ok(());
        }
        let gone = |name: &CStr| Failure::gone(format!("{} was deleted or replaced", name.to_string_lossy()));
        let again = match self.folder.open_file(&self.name, libc::O_WRONLY | libc::O_NONBLOCK, 0) {
            Ok(again) => again,
            Err(failure) if failure.errno == libc::ENOENT => return Err(gone(&self.name)),
            Err(failure) => return Err(Failure { class: Class::Lost, ..failure }),
        };
        if Identity::of(&again.stat()?) != self.identity {
            return Err(gone(&self.name));
        }
        if !again.set_lock(true)? {
            // Somebody else has the lock. With bytes behind the end that are to be cut off, another file would have their events once more.
            return Err(if self.uncut { Failure::lost(&super::WORDS) } else { gone(&self.name) });
        }
        self.file = again;
        Ok(())
    }

    /// Checks that the file has a name, and as many bytes as were written to it.
    fn check(&self, bytes: u64) -> Result<(), Failure> {
        let stat = self.file.stat()?;
        let name = self.name.to_string_lossy();
        if stat.st_nlink == 0 {
            return Err(Failure::gone(format!("{name} was deleted")));
        }
        if stat.st_size as u64 != bytes {
            let size = stat.st_size;
            return Err(Failure::gone(format!(
                "{name} has {size} bytes, {bytes} expected: another program has changed it"
            )));
        }
        Ok(())
    }

    /// Appends bytes: all of them, or, if the file could be cut again, none.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Unwritten> {
        let end = self.end + bytes.len() as u64;
        let written = self.reopen().and_then(|()| {
            if self.uncut {
                self.file.truncate(self.end)?;
                self.uncut = false;
            }
            self.check(self.end)?;
            self.uncut = true;
            self.file.write_all(std::iter::once(bytes), self.end)?;
            // Again, because what is acknowledged must be in a file that has a name.
            self.check(end)
        });
        let failure = match written {
            Ok(()) => {
                (self.end, self.uncut) = (end, false);
                return Ok(());
            }
            Err(failure) => failure,
        };
        if failure.class == Class::Gone {
            return Err(Unwritten { failure, kept: 0, abandoned: true });
        }
        if self.reopen().and_then(|()| self.file.truncate(self.end)).is_ok() {
            self.uncut = false;
            return Err(Unwritten { failure, kept: 0, abandoned: false });
        }
        match self.file.stat() {
            // What is whole in the file must not be written again.
            Ok(stat) if stat.st_size as u64 > self.end => {
                let kept = (stat.st_size as u64 - self.end).min(bytes.len() as u64);
                Err(Unwritten { failure, kept, abandoned: true })
            }
            Ok(_) => {
                self.uncut = false;
                Err(Unwritten { failure, kept: 0, abandoned: false })
            }
            Err(_) => Err(Unwritten { failure, kept: 0, abandoned: false }),
        }
    }

    /// Waits until everything that was written is on the disk.
    pub fn sync(&mut self) -> Result<(), Failure> {
        self.reopen()?;
        self.file.sync()?;
        if !self.is_listed {
            self.folder.sync()?;
            self.is_listed = true;
        }
        self.check(self.end)
    }

    /// Nothing more is written to it. A file without events is deleted.
    pub fn end(mut self, options: &Options) -> Result<(), Failure> {
        if self.events == 0 {
            self.reopen()?;
            return self.folder.unlink(&self.name);
        }
        if options.sync == Sync::Flush { self.sync() } else { Ok(()) }
    }
}

/// Makes room for another file: the oldest ones are deleted that nobody writes to. Answers how many.
pub(super) fn make_room(place: &Place, options: &Options) -> Result<u64, Failure> {
    if options.max_bytes == 0 {
        return Ok(0);
    }
    let folder = place.folder()?;
    let mut found: Vec<(i64, CString, u64)> = Vec::new();
    let mut all = 0_u64;
    folder.each_name(|name| {
        if !is_trace(name) {
            return Ok(());
        }
        let stat = match folder.stat(name) {
            Err(failure) if failure.errno == libc::ENOENT => return Ok(()),
            stat => stat?,
        };
        if stat.st_mode & libc::S_IFMT == libc::S_IFREG {
            found.try_reserve(1).map_err(|_| Failure::no_memory())?;
            let written = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec);
            let bytes = stat.st_size.max(0) as u64;
            all += bytes;
            found.push((written, name.to_owned(), bytes));
        }
        Ok(())
    })?;
    let limit = options.max_bytes.saturating_sub(options.file_limit());
    if all <= limit {
        return Ok(0);
    }
    // Another storage may be at the same.
    let Some(_lock) = folder.lock(options.file_mode)? else { return Ok(0) };
    found.sort_unstable();
    let mut deleted = 0;
    for (_, name, bytes) in &found {
        if all <= limit {
            break;
        }
        let Ok(file) = folder.open_file(name, libc::O_RDONLY | libc::O_NONBLOCK, 0) else { continue };
        if file.is_locked()? != Some(true) {
            folder.unlink(name)?;
            all -= bytes;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Whether a file has a name as the storage gives it.
fn is_trace(name: &CStr) -> bool {
    let Some(rest) = name.to_str().ok().and_then(|name| name.strip_suffix(ENDING)) else { return false };
    let Some((generation, number)) = rest.split_once('-') else { return false };
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    generation.len() == 16
        && generation.bytes().all(is_hex)
        && number.len() >= 6
        && number.bytes().all(|byte| byte.is_ascii_digit())
}
