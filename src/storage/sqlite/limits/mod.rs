//! The limits of a database: its size, the age of its events, and the free disk space.
//!
//! The file does not shrink when events are deleted, but the pages that they leave are reused, which limits its size. So the space for new
//! rows is the free pages inside the file plus the pages by which the file may still grow.

mod age;
mod disk;
mod pages;

pub(super) use pages::Needed;

use super::db::Db;
use super::failure::Failure;
use super::options::{OnFull, Options};
use super::sql;
use crate::platform::time;
use age::Age;
use disk::Disk;
use pages::Freed;
use rusqlite::Connection;
use std::time::Duration;

/// The rows are counted again after this long if another program has changed the database.
const COUNT_AGAIN_NS: u64 = 1_000_000_000;
/// The number of deleted events is logged at most once in this time.
const LOG_AGAIN_NS: u64 = 10_000_000_000;
/// Bytes of a row beside its payload, in the table and in the key, rounded up.
pub(super) const ROW_BYTES: u64 = 110;
/// Bytes of a row in the indexes, for which space is reserved.
const INDEX_BYTES: u64 = 76;
/// The limit of the write-ahead log, in multiples of the length that makes a checkpoint due.
const MAX_LOG: u32 = 3;
/// Expired rows that one step deletes.
const EXPIRED_ROWS: i64 = 1_024;

/// Whether a batch may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// There is space for it.
    Admitted,
    /// There is no space now, but there may be later.
    Later,
    /// It exceeds the limits.
    Refused,
}

/// The limits of a storage and the state of the database with regard to them.
pub(super) struct Limits {
    on_full: OnFull,
    indexes: bool,
    page_size: u64,
    /// Pages that the file may have; `None`: no limit.
    max_pages: Option<u64>,
    /// Pages of a database without any rows: at least one for each table and index.
    empty_pages: u64,
    /// The number of events, once they were counted.
    rows: Option<Counted>,
    disk: Disk,
    age: Age,
    deleted_since_log: u64,
    logged_ns: Option<u64>,
}

/// A count of the rows in `events`, kept up to date with the rows that this storage inserts and deletes.
#[derive(Clone, Copy)]
struct Counted {
    rows: u64,
    /// `PRAGMA data_version`. It differs once another connection has changed the database.
    version: i64,
    at_ns: u64,
}

/// The pages of the file, and the number of pages that may be in use.
#[derive(Clone, Copy)]
struct Pages {
    used: u64,
    free: u64,
    max: u64,
}

impl Pages {
    /// The number of pages that must become free before `need` more may be used.
    fn shortage(&self, need: u64) -> u64 {
        (self.used + need).saturating_sub(self.max)
    }
}

impl Limits {
    /// For a freshly opened database.
    pub(super) fn new(db: &Db, options: &Options) -> Result<Self, Failure> {
        let conn = db.conn();
        let page_size = sql::pragma(conn, "page_size")?.max(512) as u64;
        let mut max_pages = None;
        if options.max_bytes != 0 {
            let log = u64::from(MAX_LOG * db.checkpoint_frames()) * (page_size + 24);
            let max = (options.max_bytes.saturating_sub(log) / page_size).max(1);
            max_pages = Some(max);
            // SQLite's own limit keeps an index from exceeding it. A file that is larger already stays so.
            sql::pragma(conn, &format!("max_page_count = {max}"))?;
        }
        let trees: i64 = sql::value(conn, "SELECT count(*) FROM sqlite_master WHERE rootpage > 0", [])?;
        Ok(Self {
            on_full: options.on_full,
            indexes: options.indexes,
            page_size,
            max_pages,
            empty_pages: trees as u64 + 1,
            rows: None,
            disk: Disk::new(db.path(), options.min_free_disk),
            age: Age::new(options.max_age_ms),
            deleted_since_log: 0,
            logged_ns: None,
        })
    }

    /// For adding up the size of a batch.
    pub(super) fn nothing_needed(&self) -> Needed {
        Needed::new(self.page_size)
    }

    /// Makes space for `needed`, in the open transaction. Rows are deleted only if that is known to make the batch fit, and no more
    /// than necessary.
    pub(super) fn make_space(
        &mut self,
        db: &mut Db,
        run: i64,
        needed: &Needed,
    ) -> Result<Admission, Failure> {
        self.disk.update();
        if self.max_pages.is_none() && !self.disk.is_low() {
            return Ok(Admission::Admitted);
        }
        let need = needed.pages();
        let mut pages = self.pages(db, needed.rows())?;
        if pages.shortage(need) != 0 && self.count_rows(db)? {
            pages = self.pages(db, needed.rows())?;
        }
        let shortage = pages.shortage(need);
        if shortage == 0 {
            return Ok(Admission::Admitted);
        }
        if self.on_full == OnFull::Reject {
            return Ok(Admission::Refused);
        }
        let refusal = if self.disk.is_low() { Admission::Later } else { Admission::Refused };
        // The batch would not fit even if every event were deleted.
        let in_file = pages.used + pages.free;
        let max = match self.max_pages {
            Some(max) if self.disk.is_low() => max.min(in_file),
            Some(max) => max,
            None => in_file,
        };
        if need + self.empty_pages > max {
            return Ok(refusal);
        }
        // If the limit was lowered, the database may be far above it. It shrinks over many batches, each of which deletes twice
        // what it adds, so that no batch waits for long.
        let wanted = shortage.min(2 * need);
        if self.rows.is_some_and(|c| Freed::by_rows(self.page_size, c.rows) >= wanted)
            || self.oldest_rows(db, wanted, true)?.1
        {
            return if self.delete_until_it_fits(db, run, needed)? {
                Ok(Admission::Admitted)
            } else {
                // The failure rolls back the whole transaction, and with it the deletion.
                Err(Failure::transient("deleting the oldest events has freed fewer pages than they had"))
            };
        }
        if pages.used.saturating_sub(self.empty_pages) < wanted {
            return Ok(refusal);
        }
        // Deleting all rows may be enough, because pages are never quite full. This is tried, and undone if it is not enough.
        let (deleted, rows) = (db.deleted, self.rows);
        sql::execute(db.conn(), "SAVEPOINT deletion", [])?;
        let fits = self.delete_until_it_fits(db, run, needed)?;
        if !fits {
            sql::execute(db.conn(), "ROLLBACK TO deletion", [])?;
            db.deleted = deleted;
            self.rows = rows;
        }
        sql::execute(db.conn(), "RELEASE deletion", [])?;
        Ok(if fits { Admission::Admitted } else { refusal })
    }

    /// Deletes the oldest events until `needed` fits. `false`: it does not fit, and none is left.
    fn delete_until_it_fits(&mut self, db: &mut Db, run: i64, needed: &Needed) -> Result<bool, Failure> {
        let need = needed.pages();
        let mut freed = 0;
        loop {
            let pages = self.pages(db, needed.rows())?;
            let shortage = pages.shortage(need);
            if shortage == 0 || (pages.free >= need && freed >= 2 * need) {
                return Ok(true);
            }
            let wanted = if shortage > 2 * need { (2 * need).saturating_sub(freed).max(1) } else { shortage };
            let (Some(last), _) = self.oldest_rows(db, wanted, false)? else { return Ok(false) };
            if self.delete_upto(db, run, last)? == 0 {
                return Err(Failure::transient("the oldest events could not be deleted"));
            }
            let free = sql::pragma(db.conn(), "freelist_count")? as u64;
            freed += free.saturating_sub(pages.free);
        }
    }

    /// The pages of the file, and the number that may be in use with `more` rows.
    fn pages(&self, db: &Db, more: u64) -> Result<Pages, Failure> {
        let all = sql::pragma(db.conn(), "page_count")? as u64;
        let free = sql::pragma(db.conn(), "freelist_count")? as u64;
        let max = match self.max_pages {
            Some(max) => {
                let max = max.saturating_sub(self.index_pages(db, more)?);
                if self.disk.is_low() { max.min(all) } else { max }
            }
            None => all,
        };
        Ok(Pages { used: all.saturating_sub(free), free, max })
    }

    /// The oldest rows that usually free so many pages, or that do so for certain.
    /// Returns the id of the last of them, unless there are no rows, and whether they do so for certain.
    fn oldest_rows(&self, db: &Db, pages: u64, certain: bool) -> Result<(Option<i64>, bool), Failure> {
        let mut statement = db.conn().prepare_cached("SELECT id, length(payload) FROM events ORDER BY id")?;
        let mut rows = statement.query([])?;
        let indexed = if self.indexes && self.max_pages.is_some() { INDEX_BYTES } else { 0 };
        let mut freed = Freed::new(self.page_size, indexed);
        let mut last = None;
        while let Some(row) = rows.next()? {
            freed.add(row.get::<_, i64>(1)?.max(0) as u64);
            last = Some(row.get(0)?);
            let is_certain = freed.certain_pages() >= pages;
            if is_certain || (!certain && freed.likely_pages() >= pages) {
                return Ok((last, is_certain));
            }
        }
        Ok((last, false))
    }

    /// Pages that the indexes will take, with `more` events.
    fn index_pages(&self, db: &Db, more: u64) -> Result<u64, Failure> {
        if !self.indexes {
            return Ok(0);
        }
        let rows = match self.rows {
            Some(counted) => counted.rows,
            None => {
                let first: Option<i64> = sql::value(db.conn(), "SELECT min(id) FROM events", [])?;
                let last: Option<i64> = sql::value(db.conn(), "SELECT max(id) FROM events", [])?;
                // An upper bound, because other programs may have deleted rows in between.
                last.zip(first).map_or(0, |(last, first)| last.abs_diff(first).saturating_add(1))
            }
        };
        Ok(rows.saturating_add(more).saturating_mul(INDEX_BYTES) / self.page_size)
    }

    /// Counts the rows at the first shortage, and after another program has changed the database. (The ids only give an upper bound.)
    /// `true`: the count is new.
    fn count_rows(&mut self, db: &Db) -> Result<bool, Failure> {
        let version = sql::pragma(db.conn(), "data_version")?;
        let now = time::now_ns();
        if self.rows.is_some_and(|c| c.version == version || now.wrapping_sub(c.at_ns) < COUNT_AGAIN_NS) {
            return Ok(false);
        }
        let rows: i64 = sql::value(db.conn(), "SELECT count(*) FROM events", [])?;
        self.rows = Some(Counted { rows: rows as u64, version, at_ns: now });
        Ok(true)
    }

    /// Notes rows that were inserted in the open transaction, from the id `first_id` on.
    pub(super) fn note_inserted(
        &mut self,
        conn: &Connection,
        first_id: i64,
        rows: u64,
    ) -> Result<(), Failure> {
        if let Some(counted) = &mut self.rows {
            counted.rows += rows;
        }
        self.age.note_arrival(conn, first_id)
    }

    /// To be called when a transaction was rolled back: forgets the figures that it has changed.
    pub(super) fn forget(&mut self) {
        self.age.forget_last();
        self.rows = None;
    }

    /// Whether the write-ahead log exceeds its limit because a reader keeps it from being reused. Nothing can be stored until that
    /// reader is done. Outside a transaction.
    pub(super) fn is_log_held(&mut self, db: &mut Db) -> Result<bool, Failure> {
        let max = MAX_LOG * db.checkpoint_frames();
        if (self.max_pages.is_none() && !self.disk.is_low()) || db.wal_frames() <= max {
            return Ok(false);
        }
        db.restart_log()?;
        Ok(db.wal_frames() > max)
    }

    /// Checks that the disk has space for the indexes. (With `max_bytes`, SQLite itself refuses indexes that do not fit.)
    pub(super) fn check_space_for_indexes(&self) -> Result<(), Failure> {
        self.disk.check_for_indexes()
    }

    /// Deletes some of the expired events, in the open transaction. `true`: there may be more.
    pub(super) fn delete_expired(&mut self, db: &mut Db, run: i64) -> Result<bool, Failure> {
        let Some(expired) = self.age.oldest_expired(db.conn())? else { return Ok(false) };
        let last: Option<i64> = sql::value(
            db.conn(),
            "SELECT max(id) FROM (SELECT id FROM events WHERE id <= ?1 ORDER BY id LIMIT ?2)",
            [expired.last_id, EXPIRED_ROWS],
        )?;
        let deleted = last.map_or(Ok(0), |last| self.delete_upto(db, run, last))?;
        if deleted == 0 { self.age.remove_mark(db.conn(), &expired) } else { Ok(true) }
    }

    /// The time until events expire; `None`: it is not foreseeable, or there is no limit.
    pub(super) fn next_expiry(&self, conn: &Connection) -> Result<Option<Duration>, Failure> {
        self.age.next_expiry(conn)
    }

    /// Deletes the events with ids up to this one, and counts them. Returns their number.
    fn delete_upto(&mut self, db: &mut Db, run: i64, last: i64) -> Result<u64, Failure> {
        let rows = sql::execute(db.conn(), "DELETE FROM events WHERE id <= ?1", [last])?;
        if rows != 0 {
            // The marks of the deleted rows. The last mark before the first remaining row stays, because it is the time of that row.
            sql::execute(
                db.conn(),
                "DELETE FROM arrivals WHERE first_id < (SELECT max(first_id) FROM arrivals WHERE first_id <= ?1)",
                [last.saturating_add(1)],
            )?;
            db.count(run, "deleted", rows)?;
            db.deleted += rows;
            if let Some(counted) = &mut self.rows {
                counted.rows = counted.rows.saturating_sub(rows);
            }
        }
        Ok(rows)
    }

    /// Logs from time to time how many events were deleted.
    pub(super) fn log_deleted(&mut self, db: &mut Db) {
        self.deleted_since_log += std::mem::take(&mut db.deleted);
        let now = time::now_ns();
        if self.deleted_since_log != 0 && self.logged_ns.is_none_or(|at| now - at > LOG_AGAIN_NS) {
            log::info!(
                "sqlite storage {}: the oldest {} events were deleted, because of max_bytes, max_age_ms or min_free_disk",
                db.path().display(),
                self.deleted_since_log
            );
            self.deleted_since_log = 0;
            self.logged_ns = Some(now);
        }
    }
}
