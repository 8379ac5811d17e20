//! Storages of events that come from elsewhere than a pipeline of this process: from a stream, or from ring files. What such a storage has acknowledged is deleted where it
//! came from, so it is on the disk before.

pub mod lines;
pub mod place;
mod seen;

use capture_pipeline::status::Error;
use capture_pipeline::storage::feed::Feed;
use capture_pipeline::storage::journal::{self, JournalStorage};
use capture_pipeline::storage::sqlite::{self, SqliteStorage};
use std::path::Path;

/// A database, opened or made.
pub fn sqlite(path: &Path) -> Result<Feed, Error> {
    let options = sqlite::Options {
        synchronous: sqlite::Synchronous::Full,
        indexes: false,
        ..sqlite::Options::default()
    };
    Ok(Feed::new(SqliteStorage::open(path, options)?))
}

/// New segments in a journal, for the events of one run.
pub fn journal(directory: &Path) -> Result<Feed, Error> {
    let options = journal::Options { sync: journal::Sync::Batch, ..journal::Options::default() };
    Ok(Feed::new(JournalStorage::open(directory, options)?))
}
