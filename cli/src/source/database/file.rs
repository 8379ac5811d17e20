//! The file of a database: how it is opened, and whether it was left alone.

use crate::failure::Failure;
use capture_pipeline::storage::sqlite::open_to_read;
use rusqlite::Connection;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// See the module.
pub struct File {
    /// The connection, in a transaction: it sees the same rows until it is closed.
    pub connection: Connection,
    /// The version of the schema.
    pub version: i64,
    /// The size of the file.
    pub bytes: u64,
    path: PathBuf,
    /// If nobody may write to it meanwhile: what tells whether somebody has.
    state: Option<State>,
}

/// The inode of a file, its size and when it was written.
type State = (u64, u64, i64, i64);

fn state(path: &Path) -> std::io::Result<State> {
    let found = std::fs::metadata(path)?;
    Ok((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

impl File {
    /// Opens the database. If all of it is in its file, nothing is locked and nothing made beside it.
    pub fn open(given: &Path) -> Result<Self, Failure> {
        let path = given.canonicalize().map_err(|error| Failure::of(given, &error))?;
        let log_bytes = |end: &str| {
            let mut name = path.clone().into_os_string();
            name.push(end);
            std::fs::metadata(name).map_or(0, |found| found.len())
        };
        let has_log = log_bytes("-wal") > 0 || log_bytes("-journal") > 0;
        let before = state(&path).map_err(|error| Failure::of(given, &error))?;
        let opened = open_to_read(&path, !has_log);
        let (connection, version) = opened.map_err(|error| {
            let hint = if has_log {
                "; what lies in its write-ahead log (-wal) must be read, too, for which the directory must be writable: copy the database with its -wal to one that is"
            } else {
                ""
            };
            Failure::new(format!("{error}{hint}"))
        })?;
        let file = Self { connection, version, bytes: before.1, path, state: (!has_log).then_some(before) };
        file.connection.execute_batch("BEGIN").map_err(|error| file.failed(&error))?;
        Ok(file)
    }

    /// A failure of SQLite.
    pub fn failed(&self, error: &rusqlite::Error) -> Failure {
        let path = self.path.display();
        let hint = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                "; the database is damaged: 'sqlite3 FILE .recover' saves what can be read"
            }
            Some(rusqlite::ErrorCode::DiskFull) => {
                "; rows are sorted in a temporary file: set SQLITE_TMPDIR to a directory with more space"
            }
            _ => "",
        };
        Failure::new(format!("{path}: {error}{hint}"))
    }

    /// A value that the storage would not have written.
    pub fn strange(&self, what: &str) -> Failure {
        Failure::new(format!("{}: the database is damaged: {what}", self.path.display()))
    }

    /// An error if somebody has written to the file, which could have changed what was read.
    pub fn check(&self) -> Result<(), Failure> {
        let path = self.path.display();
        match self.state {
            Some(before) if state(&self.path).ok() != Some(before) => Err(Failure::new(format!(
                "{path}: a program has opened the database and written to it meanwhile, so that what was read may be no state of it; try again"
            ))),
            _ => Ok(()),
        }
    }
}
