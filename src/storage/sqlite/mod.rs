//! The SQLite storage: events in a database that can be read with SQL, also while it is written.
//!
//! One connection, one committing thread. `store` only hands the batch over and answers PENDING; the thread stores all
//! batches that wait in one transaction and completes their tokens once that is committed.

mod bounds;
mod committer;
mod db;
mod failure;
mod feed;
mod fork;
mod index;
mod options;
mod queue;
mod schema;

pub(crate) use options::refuse;
pub use options::{MAX_AGE_MS, MAX_BYTES, MIN_MAX_BYTES, OnFull, Options, Synchronous};
pub use schema::{APPLICATION_ID, VERSION};

use super::{PIPELINE_STORE_PENDING, PIPELINE_STORE_RETRY, Storage};
use crate::batch::BatchView;
use crate::platform::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::platform::{process, thread};
use crate::status::{
    Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_INVALID, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_TIMEOUT,
    PIPELINE_ERR_WOULD_DEADLOCK, Result,
};
use committer::{Committer, Open, Shared};
use queue::{Entry, Queue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Keeps events in a SQLite database.
pub struct SqliteStorage {
    shared: Arc<Shared>,
    thread: Option<thread::Handle>,
    /// 1 in the process that opened the database, 0 in its children.
    alive: &'static AtomicU32,
}

impl SqliteStorage {
    /// Opens or makes the database at `path` and starts the committing thread.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        options.validate()?;
        let path = absolute(path)?;
        let alive = process::alive()
            .ok_or_else(|| Error::new(PIPELINE_ERR_NO_MEMORY, "no memory for the fork check"))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let open = Open::new(&path, &options, &stopping).map_err(|failure| failure.at(&path))?;
        let shared =
            Arc::new(Shared { queue: Queue::default(), path, options, stopping, thread: AtomicU64::new(0) });
        let committer = Committer::new(Arc::clone(&shared), open);
        let theirs = Arc::clone(&shared);
        let handle = thread::spawn(
            "pipeline-sqlite",
            Box::new(move || {
                theirs.thread.store(thread::token(), Ordering::Release);
                drop(theirs);
                committer.run();
            }),
        )?;
        Ok(Self { shared, thread: Some(handle), alive })
    }

    /// The database's path, absolute.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    fn forked(&self) -> bool {
        self.alive.load(Ordering::Relaxed) != 1
    }
}

// SAFETY: a batch that was handed over is used until its token is completed, by the committing thread, and not after; each
// token comes from the batch that carries it.
unsafe impl Storage for SqliteStorage {
    fn concurrent(&self) -> bool {
        true // `store` only puts the batch into a queue behind a lock
    }

    fn wants_meta(&self) -> bool {
        true
    }

    fn store(&self, batch: &BatchView) -> i32 {
        if self.forked() {
            log::error!("sqlite storage {}: opened before a fork, used after", self.shared.path.display());
            return PIPELINE_STORE_RETRY;
        }
        self.shared.queue.push(Entry { batch, token: batch.token }, batch.count);
        PIPELINE_STORE_PENDING
    }

    fn flush(&self, timeout_ms: i64) -> i32 {
        if self.forked() {
            return PIPELINE_ERR_FORKED;
        }
        if self.shared.thread.load(Ordering::Acquire) == thread::token() {
            return PIPELINE_ERR_WOULD_DEADLOCK;
        }
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        self.shared.queue.flush(timeout).unwrap_or(PIPELINE_ERR_TIMEOUT)
    }
}

impl Drop for SqliteStorage {
    fn drop(&mut self) {
        if self.forked() {
            return; // the thread and the connection are the parent's
        }
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.queue.stop();
        let Some(handle) = self.thread.take() else { return };
        if self.shared.thread.load(Ordering::Acquire) == thread::token() {
            // The completion of the last token let go of an abandoned pipeline, on the committing thread itself. It goes on to
            // its end when this returns.
            handle.detach();
        } else {
            handle.join();
        }
    }
}

/// Makes the indexes on an existing database that nobody need have open.
pub fn create_indexes(path: &Path) -> Result<()> {
    let path = absolute(path)?;
    if !path.exists() {
        return Err(Error::new(
            crate::status::PIPELINE_ERR_STORAGE,
            format!("{}: no such file", path.display()),
        ));
    }
    let stopping = Arc::new(AtomicBool::new(false));
    db::Db::open(&path, &Options::default(), stopping)
        .and_then(|db| index::create(db.conn()))
        .map_err(|failure| failure.at(&path))
}

/// The path from the root: it then holds after a change of directory, and nothing in it means anything special to SQLite.
fn absolute(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(PIPELINE_ERR_INVALID, "path: a file name expected, none given"));
    }
    std::path::absolute(path)
        .map_err(|e| Error::new(crate::status::PIPELINE_ERR_STORAGE, format!("{}: {e}", path.display())))
}
