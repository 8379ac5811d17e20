//! The SQLite storage: events in a database that can be read with SQL, also while it is written.
//!
//! It has one connection and one committing thread. `store` adds the batch to a queue and answers PENDING. The committing thread stores all
//! waiting batches in one transaction, and completes their tokens once that is committed.

mod batch_table;
mod committer;
mod db;
mod failure;
mod files;
mod fork;
mod indexes;
mod kind_views;
mod limits;
mod open_storages;
mod options;
mod queue;
mod read;
mod schema;
mod schema_check;
mod shared;
mod sql;
mod sqlite_thread;
mod tables;
mod temp_files;

pub(crate) use options::refuse;
pub use options::{MAX_AGE_MS, MAX_BYTES, MIN_MAX_BYTES, OnFull, Options, Synchronous};
pub use read::open_to_read;
pub use schema::{APPLICATION_ID, VERSION};

use super::{Abilities, PIPELINE_STORE_PENDING, PIPELINE_STORE_RETRY, Storage};
use crate::batch::BatchView;
use crate::platform::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::platform::{process, thread};
use crate::status::{
    Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_INVALID, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_STORAGE,
    PIPELINE_ERR_TIMEOUT, PIPELINE_ERR_WOULD_DEADLOCK, Result,
};
use committer::{Committer, OpenDatabase};
use queue::{Entry, Queue};
use shared::{Shared, Shutdown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Keeps events in a SQLite database.
pub struct SqliteStorage {
    shared: Arc<Shared>,
    /// 1 in the process that opened the database, 0 in its children.
    alive: &'static AtomicU32,
}

impl SqliteStorage {
    /// Opens the database at `path`, or makes it, and starts the committing thread.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        options.validate()?;
        let path = absolute(path)?;
        let alive = process::alive().ok_or_else(|| {
            Error::new(PIPELINE_ERR_NO_MEMORY, "no memory for the page that detects a fork")
        })?;
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            path,
            options,
            shutdown: Shutdown::default(),
            thread: AtomicU64::new(0),
        });
        // The thread shares the ownership of everything that it uses.
        let of_thread = Arc::clone(&shared);
        sqlite_thread::start(move |sender| {
            of_thread.thread.store(thread::token(), Ordering::Release);
            open_storages::take_over(&of_thread);
            match OpenDatabase::open(&of_thread, true) {
                Ok(open) => {
                    let committer = Committer::new(of_thread, open);
                    sender.send(Ok(()));
                    committer.run();
                }
                Err(failure) => sender.send(Err(failure.at(&of_thread.path))),
            }
        })?;
        Ok(Self { shared, alive })
    }

    /// The database's path, absolute.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    fn is_forked(&self) -> bool {
        self.alive.load(Ordering::Relaxed) != 1
    }

    /// Whether the caller may wait for the committing thread.
    fn check_caller(&self) -> Result<(), i32> {
        if self.is_forked() {
            return Err(PIPELINE_ERR_FORKED);
        }
        let is_committing_thread = self.shared.thread.load(Ordering::Acquire) == thread::token();
        if is_committing_thread { Err(PIPELINE_ERR_WOULD_DEADLOCK) } else { Ok(()) }
    }
}

// SAFETY: a queued batch is used by the committing thread until that completes its token, and not after; each token comes from the
// batch that carries it.
unsafe impl Storage for SqliteStorage {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn abilities(&self) -> Abilities {
        // Calls may overlap: `store` only adds to a queue that has a lock.
        Abilities { concurrent: true, meta: true, flush: true, finish: true, ..Abilities::default() }
    }

    fn store(&self, batch: &BatchView) -> i32 {
        if self.is_forked() {
            log::error!(
                "sqlite storage {}: it was opened before a fork and is used in the child: open it again there",
                self.shared.path.display()
            );
            return PIPELINE_STORE_RETRY;
        }
        self.shared.queue.push(Entry { batch, token: batch.token }, batch.count);
        PIPELINE_STORE_PENDING
    }

    fn flush(&self, timeout_ms: i64) -> i32 {
        if let Err(status) = self.check_caller() {
            return status;
        }
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        self.shared.queue.flush(timeout).unwrap_or(PIPELINE_ERR_TIMEOUT)
    }

    /// Makes the indexes and closes the connection. Work that takes longer than the timeout goes on in the background, which is no failure.
    fn finish(&self, timeout_ms: i64) -> i32 {
        if let Err(status) = self.check_caller() {
            return status;
        }
        self.shared.shutdown.request();
        // A little less than the given time, so that this call ends before the close that waits for it does.
        let timeout = u64::try_from(timeout_ms).ok().map(|ms| Duration::from_millis(ms - (ms / 8).min(50)));
        self.shared.queue.finish(timeout).unwrap_or(0)
    }
}

impl Drop for SqliteStorage {
    fn drop(&mut self) {
        if self.is_forked() {
            return; // the thread and the connection are the parent's
        }
        self.shared.shutdown.request();
        self.shared.queue.stop();
    }
}

/// Makes the indexes on an existing database. No storage needs to have it open.
pub fn create_indexes(path: &Path) -> Result<()> {
    let path = absolute(path)?;
    sqlite_thread::start(move |sender| {
        let _folder = temp_files::UseFolder::of(&path);
        let yielding = Arc::new(AtomicBool::new(false));
        let made = open_storages::await_lost_connections(&path)
            .and_then(|()| db::Db::open(&path, &Options::default(), false, yielding))
            .and_then(|db| indexes::create(db.conn()))
            .map_err(|failure| failure.at(&path));
        sender.send(made);
    })
}

/// The absolute path: it stays valid after a change of directory, and nothing in it has a special meaning to SQLite.
fn absolute(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(PIPELINE_ERR_INVALID, "path: a file name expected, none given"));
    }
    std::path::absolute(path)
        .map_err(|e| Error::new(PIPELINE_ERR_STORAGE, format!("{}: {e}", path.display())))
}
