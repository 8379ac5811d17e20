//! Failures of SQLite and of the database's files, and their consequence for the batch at hand.

use super::files;
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_STORAGE};
use rusqlite::ffi;
use std::path::Path;

/// The consequence of a failure for the batch that is being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass by itself: another process's lock, a full disk, an I/O error, no memory. The batch is retried.
    Transient,
    /// The connection is useless: the file is damaged, or is not a database of this library. The batch is tried once more on a new
    /// connection, since its file may have been replaced; then it is rejected.
    Unusable,
    /// The connection is useless, but its database may be intact: a file of it was moved, deleted or replaced, or another part
    /// of the program closed the descriptors. The batch is retried on a new connection.
    Moved,
    /// One event cannot be stored (it is too big for SQLite). That event is rejected, the others are stored.
    Event,
}

/// A failure, with its text for the log.
#[derive(Debug)]
pub struct Failure {
    /// Its consequence.
    pub class: Class,
    /// SQLite's extended result code; 0 if SQLite did not report the failure.
    pub code: i32,
    /// Its text.
    pub text: String,
}

impl Failure {
    fn own(class: Class, text: impl Into<String>) -> Self {
        Self { class, code: 0, text: text.into() }
    }

    /// The library must not write to the file.
    pub(super) fn unusable(text: impl Into<String>) -> Self {
        Self::own(Class::Unusable, text)
    }

    /// A file is not at its path any more.
    pub(super) fn moved(text: impl Into<String>) -> Self {
        Self::own(Class::Moved, text)
    }

    /// The descriptors are not the connection's any more.
    pub(super) fn lost() -> Self {
        Self::moved("another part of the program has closed the database's descriptors")
    }

    /// It may pass by itself.
    pub(super) fn transient(text: impl Into<String>) -> Self {
        Self::own(Class::Transient, text)
    }

    /// A failure that is known by its result code only.
    pub(super) fn from_code(code: i32) -> Self {
        Self::of_sqlite(code, ffi::code_to_str(code).to_owned())
    }

    /// A failure of SQLite, with the reason if a system call has reported one.
    fn of_sqlite(code: i32, text: String) -> Self {
        if files::lost() {
            return Self::lost();
        }
        let text = match files::take_size_limit() {
            Some(limit) => format!(
                "{text}: the limit on the size of files, RLIMIT_FSIZE (ulimit -f), of {limit} bytes is reached; raise it"
            ),
            None => text,
        };
        Self { class: classify(code), code, text }
    }

    /// Whether another connection has the lock, as far as SQLite can tell.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.code & 0xff, ffi::SQLITE_BUSY | ffi::SQLITE_PROTOCOL)
    }

    /// Whether a file could not be read or written.
    pub(super) fn is_io(&self) -> bool {
        self.code & 0xff == ffi::SQLITE_IOERR
    }

    /// As an error of the library that names the file.
    pub(super) fn at(&self, path: &Path) -> Error {
        let no_memory = self.code & 0xff == ffi::SQLITE_NOMEM;
        let status = if no_memory { PIPELINE_ERR_NO_MEMORY } else { PIPELINE_ERR_STORAGE };
        Error::new(status, format!("{}: {self}", path.display()))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        if self.code != 0 { write!(f, " (SQLite code {})", self.code) } else { Ok(()) }
    }
}

fn classify(extended: i32) -> Class {
    if extended == ffi::SQLITE_READONLY_DBMOVED {
        return Class::Moved;
    }
    match extended & 0xff {
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB | ffi::SQLITE_SCHEMA | ffi::SQLITE_ERROR => Class::Unusable,
        ffi::SQLITE_TOOBIG | ffi::SQLITE_CONSTRAINT | ffi::SQLITE_MISMATCH => Class::Event,
        _ => Class::Transient,
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(e, text) => Self::of_sqlite(
                e.extended_code,
                text.unwrap_or_else(|| ffi::code_to_str(e.extended_code).to_owned()),
            ),
            // A value of another type than this library's schema has, or a missing row: another program has changed the file.
            other => Self::unusable(other.to_string()),
        }
    }
}
