//! The directory of ring files, as a reader has it open. It is used by its descriptor, so that a change of its path changes nothing.

use crate::files::Words;
use crate::files::failure::Failure;
use crate::files::file::File;
use crate::files::folder::{absolute, each_name_of};
use crate::files::identity::{Identity, errno, stat_path};
use crate::platform::{file_calls, memory};
use crate::ring_file::format::parse_file_name;
use crate::status::{
    Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_NOT_FOUND, PIPELINE_ERR_SYSTEM, Result,
};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What messages call the directory and its files.
pub(super) const WORDS: Words = Words { storage: "ring directory", file: "ring file" };

/// What a directory is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Its files are read.
    Read,
    /// Its files are read, changed and deleted. It must be this user's own.
    Recover,
}

/// An open directory of ring files.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    file: File,
}

impl Directory {
    /// Opens the directory at `path`, which is neither made nor changed. It must not be a link, and nobody but its owner may be allowed to write to it: whoever can
    /// put files there could make this process deliver events that were never captured. An error names the directory and what is wrong with it:
    /// `PIPELINE_ERR_NOT_FOUND`, `_INVALID`, `_SYSTEM`, `_NO_MEMORY`.
    pub fn open(path: &Path, purpose: Purpose) -> Result<Self> {
        let refuse = |status: i32, why: String| {
            Error::new(status, format!("ring directory {}: {why}", path.display()))
        };
        let invalid = |why: &str| refuse(PIPELINE_ERR_INVALID, why.into());
        if path.as_os_str().is_empty() {
            return Err(Error::new(
                PIPELINE_ERR_INVALID,
                "ring_dir: a directory's name expected, none given",
            ));
        }
        let path = absolute(path)?;
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| invalid("the path has a NUL"))?;
        let system = |error: i32| match error {
            libc::ENOENT => refuse(PIPELINE_ERR_NOT_FOUND, "there is no such directory".into()),
            libc::ENOMEM => refuse(PIPELINE_ERR_NO_MEMORY, "no memory to open it".into()),
            error => refuse(PIPELINE_ERR_SYSTEM, std::io::Error::from_raw_os_error(error).to_string()),
        };
        let seen = stat_path(libc::AT_FDCWD, &name).map_err(system)?;
        match seen.st_mode & libc::S_IFMT {
            libc::S_IFDIR => {}
            libc::S_IFLNK => {
                return Err(invalid(
                    "it is a symbolic link, which is not followed; give the path of the directory itself",
                ));
            }
            _ => return Err(invalid("it is no directory")),
        }
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let file = File::open(libc::AT_FDCWD, &name, flags, 0, &WORDS).map_err(system)?;
        let opened = file.stat().map_err(|failure| refuse(PIPELINE_ERR_SYSTEM, failure.text))?;
        if Identity::of(&opened) != Identity::of(&seen) {
            return Err(invalid("it was replaced while it was opened; try again"));
        }
        let mode = opened.st_mode & 0o7777;
        if mode & 0o022 != 0 {
            return Err(refuse(
                PIPELINE_ERR_INVALID,
                format!(
                    "others than its owner may write to it (mode {mode:04o}), and could have made the files in it; \
                     chmod go-w it"
                ),
            ));
        }
        // SAFETY: the call has no arguments and does not fail.
        let me = unsafe { libc::geteuid() };
        if purpose == Purpose::Recover && opened.st_uid != me {
            return Err(refuse(
                PIPELINE_ERR_INVALID,
                format!(
                    "it belongs to another user (uid {}, this is uid {me}); recover as that user",
                    opened.st_uid
                ),
            ));
        }
        Ok(Self { path, file })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the files in it that are named as ring files are, each with the generation that its name says, in the order of the names.
    pub fn names(&self) -> Result<Vec<(CString, u64)>> {
        let mut names = Vec::new();
        let listed = self.open_file(c".", libc::O_RDONLY | libc::O_DIRECTORY);
        listed
            .map_err(|error| Failure::system("listing the directory", error))
            .and_then(|listed| {
                each_name_of(&listed, |name| {
                    let Some(generation) = name.to_str().ok().and_then(parse_file_name) else {
                        return Ok(());
                    };
                    names.try_reserve(1).map_err(|_| Failure::no_memory())?;
                    names.push((name.to_owned(), generation));
                    Ok(())
                })
            })
            .map_err(|failure| self.error(&failure))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Opens a file of it, without following a link. An error is the number of the system's.
    pub(super) fn open_file(&self, name: &CStr, flags: i32) -> Result<File, i32> {
        let folder = self.file.fd().map_err(|_| libc::EBADF)?;
        File::open(folder, name, flags, 0, &WORDS)
    }

    /// The file that has this name now. An error is the number of the system's.
    pub(super) fn stat(&self, name: &CStr) -> Result<libc::stat, i32> {
        stat_path(self.file.fd().map_err(|_| libc::EBADF)?, name)
    }

    /// Deletes this file, if it still has this name.
    pub(super) fn unlink(&self, name: &CStr, file: Identity) -> Result<(), Failure> {
        let failed = |error| Failure::system("deleting a ring file", error);
        match self.stat(name) {
            Ok(stat) if Identity::of(&stat) == file => {}
            Ok(_) | Err(libc::ENOENT) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        // SAFETY: a NUL-terminated name.
        match unsafe { file_calls::unlinkat(self.file.fd()?, name.as_ptr(), 0) } {
            0 => Ok(()),
            _ => match errno() {
                libc::ENOENT => Ok(()),
                error => Err(failed(error)),
            },
        }
    }

    /// A failure in it, as an error of the library that names it.
    pub fn error(&self, failure: &Failure) -> Error {
        let status = if failure.errno == libc::ENOMEM { PIPELINE_ERR_NO_MEMORY } else { PIPELINE_ERR_SYSTEM };
        Error::new(status, format!("ring directory {}: {failure}", self.path.display()))
    }
}

/// Bytes that are all zero. An error: there is no memory.
pub(super) fn zeros<T: Copy + Default>(count: usize) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).map_err(|_| no_memory(count * size_of::<T>()))?;
    all.resize(count, T::default());
    Ok(all)
}

/// There is no memory for so many bytes.
pub(super) fn no_memory(bytes: usize) -> Failure {
    Failure { errno: libc::ENOMEM, ..Failure::transient(memory::refused(bytes).detail) }
}
