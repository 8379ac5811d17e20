//! What can go wrong in SQLite, and what follows for the batch at hand.

use crate::status::{Error, PIPELINE_ERR_STORAGE};
use rusqlite::ffi;
use std::path::Path;

/// What a failure means for what is being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass without anyone's doing: another process's lock, a full disk, an I/O error, no memory. The batch is
    /// answered with a retry.
    Passing,
    /// The connection is of no more use: the file is damaged, is not a database, or was moved or deleted. The batch is
    /// tried once more, on a connection opened anew, since its file may have been replaced; then it is rejected.
    Broken,
    /// One event's own fault (too big for SQLite): that event is rejected, the others are stored.
    Event,
}

/// A failure, with the words for the log.
#[derive(Debug)]
pub struct Failure {
    /// What follows.
    pub class: Class,
    /// SQLite's extended result code; 0 if the failure is of our own finding.
    pub code: i32,
    /// In words.
    pub words: String,
}

impl Failure {
    /// The file is not one that we may write to.
    pub(super) fn foreign(words: impl Into<String>) -> Self {
        Self { class: Class::Broken, code: 0, words: words.into() }
    }

    /// A failure known by its result code alone.
    pub(super) fn from_code(code: i32) -> Self {
        Self { class: classify(code), code, words: ffi::code_to_str(code).to_owned() }
    }

    /// As an error of the library, naming the file.
    pub(super) fn at(&self, path: &Path) -> Error {
        Error::new(PIPELINE_ERR_STORAGE, format!("{}: {self}", path.display()))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.code == 0 {
            f.write_str(&self.words)
        } else {
            write!(f, "{} (SQLite code {})", self.words, self.code)
        }
    }
}

fn classify(extended: i32) -> Class {
    if extended == ffi::SQLITE_READONLY_DBMOVED {
        return Class::Broken;
    }
    match extended & 0xff {
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB | ffi::SQLITE_SCHEMA | ffi::SQLITE_ERROR => Class::Broken,
        ffi::SQLITE_TOOBIG | ffi::SQLITE_CONSTRAINT | ffi::SQLITE_MISMATCH => Class::Event,
        _ => Class::Passing,
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(e, words) => Self {
                class: classify(e.extended_code),
                code: e.extended_code,
                words: words.unwrap_or_else(|| ffi::code_to_str(e.extended_code).to_owned()),
            },
            // A value of another type than our schema has, a missing row: the file is not what it was.
            other => Self { class: Class::Broken, code: 0, words: other.to_string() },
        }
    }
}
