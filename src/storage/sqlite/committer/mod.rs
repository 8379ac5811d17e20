//! The committing thread: takes what waits, stores it in one transaction, commits, answers the batches.
//! [`answers`] is what those are answered, [`expiry`] the age of the events, [`complaints`] what the log is told.
//!
//! How large a transaction gets is decided by what waits. A batch that finds the thread idle is committed at once; under
//! load a transaction takes in what arrives until it has `commit_events` events; small groups in quick succession share
//! one, so that there is at most one commit per `commit_interval_us`.

mod answers;
mod complaints;
mod expiry;

use super::bounds::{self, Bounds, Room};
use super::db::{Db, Refused};
use super::failure::Failure;
use super::options::{Options, Synchronous};
use super::queue::{Entry, Queue};
use super::{feed, index};
use crate::batch::{BatchView, token};
use crate::event::PIPELINE_KIND_RESERVED;
use crate::platform::sync::{AtomicBool, AtomicU64};
use crate::platform::time;
use crate::status::PIPELINE_ERR_STORAGE;
use crate::storage::{PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY};
use expiry::Expiry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Events in a transaction from which it is not held open any longer once nothing waits.
const WORTH_A_COMMIT: usize = 256;
/// Bytes of rows at which a transaction is committed, or fewer where the write-ahead log must stay small.
const COMMIT_BYTES: u64 = 4 << 20;

/// What the writers' side and the committing thread share.
pub(super) struct Shared {
    pub queue: Queue,
    pub path: PathBuf,
    pub options: Options,
    /// Set together with the queue's stop; SQLite's busy handler reads it.
    pub stopping: Arc<AtomicBool>,
    /// [`crate::platform::thread::token`] of the committing thread.
    pub thread: AtomicU64,
}

/// A database, and the bounds that hold for it.
pub(super) struct Open {
    db: Db,
    bounds: Bounds,
}

impl Open {
    pub(super) fn new(
        path: &std::path::Path,
        options: &Options,
        stopping: &Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let db = Db::open(path, options, Arc::clone(stopping))?;
        index::remove(db.conn())?; // of an earlier run; made anew at the end
        let bounds = Bounds::new(&db, options)?;
        Ok(Self { db, bounds })
    }
}

/// A batch in the open transaction.
struct Held {
    entry: Entry,
    attempt: u32,
    /// The end of its events in `Committer::refused`.
    refused_end: usize,
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    open: Option<Open>,
    /// Taken from the queue, not looked at yet; the next one is last.
    taken: Vec<Entry>,
    held: Vec<Held>,
    refused: Vec<Refused>,
    events: usize,
    bytes: u64,
    commit_bytes: u64,
    last_commit_ns: u64,
    expiry: Expiry,
    /// The code of the failure logged last, and when.
    logged: Option<(i32, u64)>,
    /// When it was last logged that there is no room.
    logged_full: u64,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, open: Open) -> Self {
        let log = u64::from(open.db.checkpoint_frames()) * u64::from(super::schema::PAGE_SIZE);
        Self {
            shared,
            open: Some(open),
            taken: Vec::with_capacity(64),
            held: Vec::with_capacity(64),
            refused: Vec::new(),
            events: 0,
            bytes: 0,
            commit_bytes: COMMIT_BYTES.min(log / 4),
            last_commit_ns: 0,
            expiry: Expiry::Unknown,
            logged: None,
            logged_full: 0,
        }
    }

    /// The thread's whole life.
    pub(super) fn run(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.work())) {
                Ok(()) => break,
                Err(_) => {
                    log::error!("sqlite storage {}: a panic was caught", self.shared.path.display());
                    self.open = None; // whatever state it is in
                    self.answer_all(PIPELINE_STORE_RETRY);
                }
            }
        }
        self.finish();
    }

    fn work(&mut self) {
        loop {
            let (wake_at, timeout) = self.patience();
            let shared = Arc::clone(&self.shared);
            let orders = shared.queue.take(&mut self.taken, wake_at, timeout);
            self.taken.reverse(); // the oldest is taken off the end
            while let Some(entry) = self.taken.pop() {
                self.store(entry);
                if self.events >= self.shared.options.commit_events as usize
                    || self.bytes >= self.commit_bytes
                {
                    self.commit();
                }
            }
            if self.uncommitted()
                && (orders.flush.is_some()
                    || orders.stop
                    || time::now_ns() >= self.due()
                    || self.expiry_due()
                    || (self.events >= WORTH_A_COMMIT && self.shared.queue.is_empty()))
            {
                self.commit();
            }
            if !self.uncommitted() && self.expiry_due() {
                self.expire(0);
            }
            if let Some(upto) = orders.flush {
                let result = self.sync();
                self.shared.queue.flushed(upto, result);
            }
            if orders.stop && self.held.is_empty() && self.shared.queue.is_empty() {
                return;
            }
        }
    }

    /// Whether a transaction is open.
    fn uncommitted(&self) -> bool {
        !self.held.is_empty() || self.open.as_ref().is_some_and(|open| open.db.in_transaction())
    }

    /// When the next commit of a small group may be.
    fn due(&self) -> u64 {
        self.last_commit_ns + u64::from(self.shared.options.commit_interval_us) * 1_000
    }

    /// How many events to be woken for, and how long to sleep at most.
    fn patience(&mut self) -> (usize, Option<Duration>) {
        if self.uncommitted() {
            let wait = self.due().saturating_sub(time::now_ns());
            // Events that make the transaction worth its commit end the wait.
            let enough = WORTH_A_COMMIT.min(self.shared.options.commit_events as usize);
            return (enough.saturating_sub(self.events).max(1), Some(Duration::from_nanos(wait)));
        }
        if self.expiry == Expiry::Unknown {
            self.expiry = self.next_expiry();
        }
        let timeout = match self.expiry {
            Expiry::At(at) => Some(Duration::from_nanos(at.saturating_sub(time::now_ns()))),
            Expiry::Unknown | Expiry::Never => None,
        };
        (1, timeout)
    }

    /// Stores a batch in the open transaction, and begins one if there is none.
    fn store(&mut self, entry: Entry) {
        // SAFETY: the batch is valid until it is answered, and this thread alone answers it.
        let batch = unsafe { &*entry.batch };
        self.held.push(Held { entry, attempt: batch.attempt, refused_end: self.refused.len() });
        match self.try_store(batch) {
            Ok(Room::Yes) => {
                self.events += batch.count.max(1);
                if let Some(held) = self.held.last_mut() {
                    held.refused_end = self.refused.len();
                }
            }
            Ok(room) => {
                // Nothing of it is in the transaction; what is may be committed.
                self.held.pop();
                let result = if room == Room::No { PIPELINE_STORE_REJECT } else { PIPELINE_STORE_RETRY };
                self.log_full(room);
                let _ = token::complete(entry.token, 0, result);
            }
            Err(failure) => self.fail(&failure),
        }
    }

    fn try_store(&mut self, batch: &BatchView) -> Result<Room, Failure> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::new(&self.shared.path, &self.shared.options, &self.shared.stopping)?),
        };
        let mut bytes = 0;
        let mut meta = 0;
        for index in 0..batch.count {
            // SAFETY: the index is below the count.
            let event = unsafe { feed::event(batch, index) };
            bytes += event.len as u64;
            meta += usize::from(event.kind >= PIPELINE_KIND_RESERVED);
        }
        if self.events == 0 && open.bounds.log_is_held(&mut open.db)? {
            return Ok(Room::Later);
        }
        open.db.begin()?;
        if meta != 0 {
            for index in 0..batch.count {
                // SAFETY: as above.
                open.db.insert_meta(batch.generation, unsafe { feed::event(batch, index) })?;
            }
            return Ok(Room::Yes);
        }
        let run = open.db.run(batch.generation)?;
        match open.bounds.make_room(&mut open.db, run, batch.count as u64, bytes)? {
            Room::Yes => {}
            other => return Ok(other),
        }
        let before = self.refused.len();
        let inserted = open.db.insert(batch, &mut self.refused)?;
        let conflicts = self.refused[before..].iter().filter(|r| r.conflict).count() as u64;
        if conflicts != 0 {
            open.db.count(run, "conflicts", conflicts)?;
        }
        if let Some(first_id) = inserted.first_id {
            open.bounds.note_arrival(open.db.conn(), first_id)?;
        }
        self.bytes += bytes + batch.count as u64 * bounds::ROW_BYTES;
        Ok(Room::Yes)
    }

    /// Commits, answers what was committed, then sees to the write-ahead log.
    fn commit(&mut self) {
        let Some(open) = &mut self.open else { return };
        if let Err(failure) = open.db.commit() {
            self.fail(&failure);
            return;
        }
        if self.logged.take().is_some() {
            log::info!("sqlite storage {}: events are stored again", self.shared.path.display());
        }
        self.answer_committed();
        let stored = std::mem::take(&mut self.events);
        self.bytes = 0;
        self.last_commit_ns = time::now_ns();
        if self.expiry == Expiry::Never {
            self.expiry = Expiry::Unknown;
        }
        if let Some(open) = &mut self.open {
            open.bounds.report(&mut open.db);
            if let Err(failure) = open.db.checkpoint_if_due() {
                // The events are safe in the log; the next commit tries again.
                self.log(&failure, "the write-ahead log could not be copied back");
            }
        }
        if self.expiry_due() {
            self.expire(2 * stored as u64);
        }
    }

    /// Has everything that is committed reach the disk, as far as the options want that.
    fn sync(&mut self) -> i32 {
        let Some(open) = &mut self.open else { return PIPELINE_ERR_STORAGE };
        if self.shared.options.synchronous != Synchronous::Normal {
            return 0; // reached it with its commit, or is not to be waited for
        }
        match open.db.sync() {
            Ok(()) => 0,
            Err(failure) => {
                self.log(&failure, "flush failed");
                PIPELINE_ERR_STORAGE
            }
        }
    }

    /// The end: indexes, and the connection closed.
    fn finish(mut self) {
        let Some(open) = self.open.take() else { return };
        let options = &self.shared.options;
        if options.indexes {
            if !bounds::indexes_fit(open.db.path(), options) {
                log::warn!(
                    "sqlite storage {}: no indexes are made: less than min_free_disk is free",
                    self.shared.path.display()
                );
            } else if let Err(failure) = index::create(open.db.conn()) {
                self.log(&failure, "the indexes could not be made");
            }
        }
        drop(open);
    }
}
