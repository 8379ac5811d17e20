//! The committing thread: takes the waiting batches, stores them in one transaction, commits, and answers the batches.
//! [`open_database`] stores them, [`transaction`] answers them, [`log_messages`] tells the log about failures.
//!
//! The number of waiting events decides on the size of a transaction. A batch that finds the thread idle is committed at once. Under
//! load, a transaction takes in new batches until it has `commit_events` events. Small groups in quick succession share
//! a transaction, so that there is at most one commit in `commit_interval_us`.

mod log_messages;
mod open_database;
mod transaction;
mod views;

pub(super) use open_database::OpenDatabase;

use super::failure::{Class, Failure};
use super::files::paths;
use super::limits::Admission;
use super::open_storages;
use super::queue::Entry;
use super::schema;
use super::shared::Shared;
use super::temp_files::UseFolder;
use crate::platform::time;
use crate::status::PIPELINE_ERR_STORAGE;
use crate::storage::{PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY};
use log_messages::{LOG_AGAIN_NS, LogMessages};
use rusqlite::ffi;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use transaction::Transaction;

/// A transaction with this many events is committed as soon as no batch waits.
const WORTH_A_COMMIT: usize = 256;
/// A transaction with this many bytes of rows is committed. Fewer are enough if the write-ahead log must stay small.
const COMMIT_BYTES: u64 = 4 << 20;
/// The connection is opened anew after this many failures in a row that concern a lock or a file. It may wait for its own lock, because SQLite
/// ignores it when the system refuses an unlock. Its log may belong to another index than the one that it has mapped.
const MAX_FAILURES_IN_A_ROW: u32 = 3;
/// Times that a flush opens the database anew. Another connection of this process may be replacing the same files meanwhile.
const FLUSH_OPENINGS: u32 = 5;

/// When events expire next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Unknown,
    Never,
    At(u64),
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    open: Option<OpenDatabase>,
    /// Batches that were taken from the queue and are not in the transaction yet; the oldest is last.
    taken: Vec<Entry>,
    transaction: Transaction,
    commit_bytes: u64,
    last_commit_ns: u64,
    expiry: Expiry,
    /// The views of kinds are not tried before this time.
    views_after_ns: u64,
    /// Failures since the last commit that concern a lock or a file.
    failures_in_a_row: u32,
    log: LogMessages,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, open: OpenDatabase) -> Self {
        let log_bytes = u64::from(open.db.checkpoint_frames()) * u64::from(schema::PAGE_SIZE);
        let log = LogMessages::new(shared.path.clone());
        Self {
            shared,
            open: Some(open),
            taken: Vec::with_capacity(64),
            transaction: Transaction::default(),
            commit_bytes: COMMIT_BYTES.min(log_bytes / 4),
            last_commit_ns: 0,
            expiry: Expiry::Unknown,
            views_after_ns: 0,
            failures_in_a_row: 0,
            log,
        }
    }

    /// The thread's whole life.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _folder = UseFolder::of(&shared.path);
        while catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            self.log.panic();
            self.open = None; // it may be in any state
            self.answer_all(PIPELINE_STORE_RETRY);
        }
        if self.open.is_some() {
            self.finish();
        }
        self.shared.shutdown.set_closed(true);
    }

    fn work(&mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let (wake_at, timeout) = self.sleep_limits();
            let requests = shared.queue.take(&mut self.taken, wake_at, timeout);
            self.taken.reverse();
            while let Some(entry) = self.taken.pop() {
                self.store(entry);
                if self.transaction.events >= shared.options.commit_events as usize
                    || self.transaction.bytes >= self.commit_bytes
                {
                    self.commit();
                }
            }
            if self.has_uncommitted()
                && (requests.flush.is_some()
                    || requests.finish
                    || requests.stop
                    || requests.check_files
                    || time::now_ns() >= self.commit_due_ns()
                    || self.is_expiry_due()
                    || (self.transaction.events >= WORTH_A_COMMIT && shared.queue.is_empty()))
            {
                self.commit();
            }
            if !self.has_uncommitted() && self.is_expiry_due() {
                self.expire(0);
            }
            if requests.check_files && !self.has_uncommitted() {
                self.check_files();
            }
            if let Some(number) = requests.flush {
                let result = self.flush();
                shared.queue.complete_flush(number, result);
            }
            let all_stored = self.transaction.is_empty() && shared.queue.is_empty();
            if requests.finish && all_stored {
                let result = self.finish();
                shared.queue.complete_finish(result);
            }
            if requests.stop && self.transaction.is_empty() && shared.queue.is_empty() {
                return;
            }
        }
    }

    /// Whether a transaction is open.
    fn has_uncommitted(&self) -> bool {
        !self.transaction.is_empty() || self.open.as_ref().is_some_and(|open| open.db.in_transaction())
    }

    /// The earliest time for the next commit of a small group.
    fn commit_due_ns(&self) -> u64 {
        self.last_commit_ns + u64::from(self.shared.options.commit_interval_us) * 1_000
    }

    /// The number of events that wakes the thread, and the longest time to sleep.
    fn sleep_limits(&mut self) -> (usize, Option<Duration>) {
        if self.has_uncommitted() {
            let wait = self.commit_due_ns().saturating_sub(time::now_ns());
            // The events that make the transaction worth its commit end the sleep.
            let enough = WORTH_A_COMMIT.min(self.shared.options.commit_events as usize);
            let missing = enough.saturating_sub(self.transaction.events).max(1);
            return (missing, Some(Duration::from_nanos(wait)));
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
        // SAFETY: the batch is valid until it is answered, and only this thread answers it.
        let batch = unsafe { &*entry.batch };
        self.transaction.push(entry, batch);
        let stored = open_if_closed(&mut self.open, &self.shared, true)
            .and_then(|open| open.store(batch, &mut self.transaction));
        match stored {
            Ok(Admission::Admitted) => self.transaction.keep_last(batch.count),
            // Nothing of the batch is in the transaction, and the batches before it may be committed.
            Ok(admission) => {
                self.log.not_admitted(admission, &self.shared.options);
                let refused = admission == Admission::Refused;
                self.transaction.answer_last(if refused {
                    PIPELINE_STORE_REJECT
                } else {
                    PIPELINE_STORE_RETRY
                });
            }
            Err(failure) => self.fail(&failure),
        }
    }

    /// Commits, answers the batches, then makes a checkpoint if one is due.
    fn commit(&mut self) {
        let Some(open) = &mut self.open else { return };
        if let Err(failure) = open.db.commit() {
            self.fail(&failure);
            return;
        }
        self.log.success();
        self.failures_in_a_row = 0;
        let stored = self.transaction.answer_committed(&self.log);
        self.last_commit_ns = time::now_ns();
        if self.expiry == Expiry::Never {
            self.expiry = Expiry::Unknown;
        }
        open.limits.log_deleted(&mut open.db);
        if let Err(failure) = open.db.checkpoint_if_due() {
            // The events are safe in the log, and the next commit tries again.
            self.log.failure(&failure, "the write-ahead log could not be copied back");
        }
        self.update_views();
        if self.is_expiry_due() {
            self.expire(2 * stored as u64);
        }
    }

    fn answer_all(&mut self, result: i32) {
        self.transaction.answer_all(&mut self.taken, result);
        self.expiry = Expiry::Unknown;
    }

    /// Rolls the transaction back and answers all batches at hand.
    fn fail(&mut self, failure: &Failure) {
        self.log.failure(failure, "nothing is stored at present");
        if let Some(open) = &mut self.open {
            open.db.rollback();
            open.limits.forget();
        }
        let mut class = failure.class;
        if failure.is_busy() || failure.is_io() {
            // A log that was deleted causes errors of any kind before a commit notices it.
            if self.has_moved_files() {
                class = Class::Moved;
            }
            self.failures_in_a_row += 1;
            if self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW {
                self.failures_in_a_row = 0;
                self.open = None;
                open_storages::check_others(&self.shared);
            }
        }
        match class {
            Class::Unusable => {
                self.open = None;
                self.transaction.retry_or_reject(&mut self.taken);
                self.expiry = Expiry::Unknown;
            }
            Class::Moved => {
                self.close_moved();
                self.answer_all(PIPELINE_STORE_RETRY);
            }
            Class::Transient | Class::Event => self.answer_all(PIPELINE_STORE_RETRY),
        }
    }

    fn has_moved_files(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.db.check_files().is_err())
    }

    /// Closes the connection, unless acknowledged events would be lost by that.
    fn close_moved(&mut self) {
        let Some(open) = &mut self.open else { return };
        // The other storages that have the files open must notice it as well, because SQLite shares its knowledge of them.
        open_storages::check_others(&self.shared);
        match open.db.save_log() {
            Ok(()) => self.open = None,
            Err(failure) if failure.class == Class::Transient => {
                self.log.failure(&failure, "nothing is stored at present");
            }
            Err(failure) => {
                self.log.failure(&failure, "its write-ahead log could not be copied back");
                self.open = None;
            }
        }
    }

    /// Closes the connection if its files have changed, or if another connection to them has lost a descriptor, because SQLite uses one
    /// for both. The next batch opens a new connection.
    fn check_files(&mut self) {
        let Some(open) = &self.open else { return };
        let checked = open.db.check_files();
        if checked.is_err() || paths::has_lost_descriptors(&self.shared.path) {
            if let Err(moved) = &checked {
                self.log.failure(moved, "the connection is closed");
            }
            self.close_moved();
        }
    }

    fn next_expiry(&mut self) -> Expiry {
        let Some(open) = &mut self.open else { return Expiry::Never };
        match open.limits.next_expiry(open.db.conn()) {
            Ok(Some(wait)) => Expiry::At(time::now_ns() + wait.as_nanos() as u64),
            Ok(None) => Expiry::Never,
            Err(failure) => {
                self.log.failure(&failure, "the age of the events is not known");
                Expiry::At(time::now_ns() + LOG_AGAIN_NS)
            }
        }
    }

    fn is_expiry_due(&self) -> bool {
        matches!(self.expiry, Expiry::At(at) if at <= time::now_ns())
    }

    /// Deletes expired events; see [`OpenDatabase::expire`].
    fn expire(&mut self, rows: u64) {
        let Some(open) = &mut self.open else { return };
        match open.expire(rows) {
            Ok(true) => {} // still due
            Ok(false) => self.expiry = Expiry::Unknown,
            Err(failure) => {
                self.fail(&failure);
                self.expiry = Expiry::At(time::now_ns() + LOG_AGAIN_NS);
            }
        }
    }

    /// Writes everything that is committed through to the disk, as far as the options ask for it. 0, or a negative status.
    fn flush(&mut self) -> i32 {
        for opening in 0.. {
            let was_open = self.open.is_some();
            let flushed = open_if_closed(&mut self.open, &self.shared, true)
                .and_then(|open| open.flush(self.shared.options.synchronous));
            let Err(failure) = flushed else { return 0 };
            let moved = failure.class == Class::Moved || self.has_moved_files();
            // A failed sync is not repeated: the system may have dropped the data that it could not write, and would report success.
            let again = moved || (!was_open && failure.is_io());
            if !again || opening == FLUSH_OPENINGS {
                self.log.failure(&failure, "flush failed");
                break;
            }
            if moved {
                // The log is saved now, because no commit may follow this flush.
                self.log.failure(&failure, "the database is opened anew");
                self.close_moved();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        PIPELINE_ERR_STORAGE
    }

    /// Makes the indexes and closes the connection, which copies the log back. Later events open the database again.
    fn finish(&mut self) -> i32 {
        let result = catch_unwind(AssertUnwindSafe(|| self.make_indexes()));
        self.open = None;
        self.shared.shutdown.set_closed(true);
        match result.unwrap_or_else(|_| Err(Failure::from_code(ffi::SQLITE_INTERNAL))) {
            Ok(()) => 0,
            Err(failure) => {
                self.log.last_failure(&failure, "the indexes could not be made");
                PIPELINE_ERR_STORAGE
            }
        }
    }

    fn make_indexes(&mut self) -> Result<(), Failure> {
        if let Some(Err(failure)) = self.open.as_ref().map(|open| open.db.check_files()) {
            // Saves acknowledged events. A database that is gone is not made anew for its indexes.
            self.close_moved();
            return Err(failure);
        }
        if !self.shared.options.indexes || open_storages::is_superseded(&self.shared) {
            return Ok(());
        }
        let open = open_if_closed(&mut self.open, &self.shared, false)?; // a failure may have closed it
        if !open.make_indexes(&self.shared)? {
            self.log.indexes_left();
        }
        Ok(())
    }
}

fn open_if_closed<'a>(
    open: &'a mut Option<OpenDatabase>,
    shared: &Shared,
    make: bool,
) -> Result<&'a mut OpenDatabase, Failure> {
    match open {
        Some(open) => Ok(open),
        none => Ok(none.insert(OpenDatabase::open(shared, make)?)),
    }
}
