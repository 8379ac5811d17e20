//! Failures of a storage's files, and their consequence for the batch at hand.

use super::Words;
use crate::journal::blocks::NoMemory;
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_STORAGE};
use std::path::Path;

/// The consequence of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass by itself: a full disk, an I/O error, no descriptor left, no memory. The batch is retried.
    Transient,
    /// Another part of the program has closed the file's descriptor. The file is opened again.
    Lost,
    /// The file is not what it was: it was deleted, or another has changed its size. A new one is made.
    Gone,
}

/// A failure, with its text for the log.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its consequence.
    pub class: Class,
    /// The number of the system's error; 0: the system did not report one.
    pub errno: i32,
    /// Its text.
    pub text: String,
}

impl Failure {
    /// The system has refused a call: `what` names the file and what was to be done.
    pub fn system(what: impl std::fmt::Display, errno: i32) -> Self {
        let error = std::io::Error::from_raw_os_error(errno);
        let text = match errno {
            libc::EFBIG => format!(
                "{what}: {error}: the limit on the size of files, RLIMIT_FSIZE (ulimit -f), of {} bytes is reached; raise it",
                size_limit()
            ),
            _ => format!("{what}: {error}"),
        };
        Self { class: Class::Transient, errno, text }
    }

    /// It may pass by itself.
    pub fn transient(text: impl Into<String>) -> Self {
        Self { class: Class::Transient, errno: 0, text: text.into() }
    }

    /// There is no memory.
    pub fn no_memory() -> Self {
        Self {
            class: Class::Transient,
            errno: libc::ENOMEM,
            text: "no memory: a batch cannot be prepared for writing".into(),
        }
    }

    /// The descriptor is not the storage's any more.
    pub fn lost(words: &Words) -> Self {
        let text = format!("another part of the program has closed the {}'s descriptors", words.storage);
        Self { class: Class::Lost, errno: 0, text }
    }

    /// The file was deleted or changed.
    pub fn gone(text: impl Into<String>) -> Self {
        Self { class: Class::Gone, errno: 0, text: text.into() }
    }

    /// Whether the system has refused a call for want of something that has nothing to do with the file.
    pub fn is_of_the_moment(&self) -> bool {
        self.class == Class::Lost
            || matches!(self.errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EINTR)
    }

    /// As an error of the library that names the directory.
    pub fn at(&self, path: &Path) -> Error {
        let status = if self.errno == libc::ENOMEM { PIPELINE_ERR_NO_MEMORY } else { PIPELINE_ERR_STORAGE };
        Error::new(status, format!("{}: {}", path.display(), self.text))
    }
}

impl From<NoMemory> for Failure {
    fn from(_: NoMemory) -> Self {
        Self::no_memory()
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The limit on the size of files.
fn size_limit() -> u64 {
    // SAFETY: the call writes to a local.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit);
        limit.rlim_cur
    }
}
