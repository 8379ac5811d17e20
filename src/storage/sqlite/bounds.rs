//! The bounds: what happens when the database is as large as it may be, its events as old as they may be, or the disk as
//! full as it may be.
//!
//! The file does not shrink when events are deleted: the pages that they leave are used again, which is what bounds it. So
//! "room" is free pages inside the file plus what the file may still grow.

use super::db::Db;
use super::failure::Failure;
use super::options::{OnFull, Options};
use super::schema;
use crate::platform::time;
use rusqlite::{Connection, OptionalExtension, params};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Rows that one step deletes.
const CHUNK: i64 = 1_024;
/// How long a reading of the free disk space counts.
const DISK_LOOK_NS: u64 = 100_000_000;
/// Bytes of a row beside its payload, in the table and in the key: generous.
pub(super) const ROW_BYTES: u64 = 110;
/// Bytes of a row in the indexes, which must still fit when they are made.
const INDEX_BYTES: u64 = 76;
/// How far the write-ahead log may grow, in multiples of the size at which it is copied back.
const LOG_SHARE: u32 = 3;

/// Whether a batch may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Yes,
    /// Not now: something else must give way first.
    Later,
    /// Not under these options.
    No,
}

/// The bounds of a storage and what is known about them.
pub(super) struct Bounds {
    options: Options,
    page_size: u64,
    /// Pages that the file may have; `None`: no limit.
    limit: Option<u64>,
    disk_low: bool,
    disk_looked: u64,
    directory: Option<CString>,
    last_arrival_ns: i64,
    deleted_before_log: u64,
    logged: u64,
}

impl Bounds {
    /// For a freshly opened database.
    pub(super) fn new(db: &Db, options: &Options) -> Result<Self, Failure> {
        let conn = db.conn();
        let page_size = schema::pragma(conn, "page_size")?.max(512) as u64;
        let mut limit = None;
        if options.max_bytes != 0 {
            let log = u64::from(LOG_SHARE * db.checkpoint_frames()) * (page_size + 24);
            let most = (options.max_bytes.saturating_sub(log) / page_size).max(1);
            limit = Some(most);
            // The last resort, and what stops an index from growing past the bound. A file that is larger stays so.
            let _: i64 = conn.query_row(&format!("PRAGMA max_page_count = {most}"), [], |row| row.get(0))?;
        }
        let last_arrival_ns = conn
            .query_row("SELECT wall_ns FROM arrivals ORDER BY first_id DESC LIMIT 1", [], |row| row.get(0))
            .optional()?
            .unwrap_or(i64::MIN);
        let directory = db.path().parent().and_then(|d| CString::new(d.as_os_str().as_bytes()).ok());
        Ok(Self {
            options: *options,
            page_size,
            limit,
            disk_low: false,
            disk_looked: 0,
            directory,
            last_arrival_ns,
            deleted_before_log: 0,
            logged: 0,
        })
    }

    /// Sees to room for `events` events with `bytes` of payload, in the open transaction.
    pub(super) fn make_room(
        &mut self,
        db: &mut Db,
        run: i64,
        events: u64,
        bytes: u64,
    ) -> Result<Room, Failure> {
        self.look_at_disk();
        if self.limit.is_none() && !self.disk_low {
            return Ok(Room::Yes);
        }
        let need = (events * ROW_BYTES + bytes) * 9 / 8 / self.page_size + 8;
        let mut pages = schema::pragma(db.conn(), "page_count")? as u64;
        let mut free = schema::pragma(db.conn(), "freelist_count")? as u64;
        let mut freed = 0;
        loop {
            let most = match self.limit {
                Some(limit) => {
                    let limit = limit.saturating_sub(self.index_pages(db.conn(), events)?);
                    if self.disk_low { limit.min(pages) } else { limit }
                }
                None => pages,
            };
            if pages - free + need <= most {
                return Ok(Room::Yes);
            }
            if self.options.on_full == OnFull::Reject {
                return Ok(Room::No);
            }
            // A database far over its bound (a bound lowered since) is brought down over many batches, each of which
            // deletes twice what it adds, so that none has to wait for long.
            if free >= need && freed >= 2 * need {
                return Ok(Room::Yes);
            }
            if delete_oldest(db, run, i64::MAX)? == 0 {
                return Ok(if self.disk_low { Room::Later } else { Room::No });
            }
            let before = free;
            pages = schema::pragma(db.conn(), "page_count")? as u64;
            free = schema::pragma(db.conn(), "freelist_count")? as u64;
            freed += free.saturating_sub(before);
        }
    }

    /// Pages that the indexes will take, with so many events more.
    fn index_pages(&self, conn: &Connection, more: u64) -> Result<u64, Failure> {
        if !self.options.indexes {
            return Ok(0);
        }
        let (first, last): (Option<i64>, Option<i64>) = conn
            .prepare_cached("SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events)")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        // Ids have no holes, as the oldest are deleted and no others.
        let rows = last.zip(first).map_or(0, |(last, first)| last.abs_diff(first) + 1);
        Ok((rows + more) * INDEX_BYTES / self.page_size)
    }

    /// Whether a reader keeps the write-ahead log from being reused, so that it has outgrown its share of a bound: then
    /// nothing can be stored until that reader is done. Outside a transaction.
    pub(super) fn log_is_held(&mut self, db: &mut Db) -> Result<bool, Failure> {
        if (self.limit.is_none() && !self.disk_low) || db.wal_frames() <= LOG_SHARE * db.checkpoint_frames() {
            return Ok(false);
        }
        db.restart_log()?;
        Ok(db.wal_frames() > LOG_SHARE * db.checkpoint_frames())
    }

    fn look_at_disk(&mut self) {
        if self.options.min_free_disk == 0 {
            return;
        }
        let now = time::now_ns();
        if self.disk_looked != 0 && now.wrapping_sub(self.disk_looked) < DISK_LOOK_NS {
            return;
        }
        self.disk_looked = now;
        let Some(free) = self.directory.as_deref().and_then(free_disk) else { return };
        let low = free < self.options.min_free_disk;
        if low != self.disk_low {
            let state = if low { "less" } else { "no longer less" };
            log::warn!("sqlite storage: {state} than min_free_disk is free: {free} bytes");
        }
        self.disk_low = low;
    }

    /// Notes when events were stored, at most once a second: by that the old ones are found. In the open transaction.
    pub(super) fn note_arrival(&mut self, conn: &Connection, first_id: i64) -> Result<(), Failure> {
        let now = wall_now_ns();
        if now.saturating_sub(self.last_arrival_ns) < self.grain_ns() && now >= self.last_arrival_ns {
            return Ok(());
        }
        conn.prepare_cached("INSERT OR REPLACE INTO arrivals(first_id, wall_ns) VALUES(?1, ?2)")?
            .execute(params![first_id, now])?;
        self.last_arrival_ns = now;
        Ok(())
    }

    /// What was noted in a transaction that is undone counts no more.
    pub(super) fn forget_arrival(&mut self) {
        self.last_arrival_ns = i64::MIN;
    }

    fn grain_ns(&self) -> i64 {
        let second = 1_000_000_000;
        match self.options.max_age_ms {
            0 => second,
            ms => (ms as i64).saturating_mul(1_000_000 / 16).clamp(1_000_000, second),
        }
    }

    /// Deletes some of the events that are too old, in the open transaction. `true`: there may be more.
    pub(super) fn expire(&mut self, db: &mut Db, run: i64) -> Result<bool, Failure> {
        let cutoff = self.cutoff();
        match self.oldest(db.conn())? {
            // Stored before the second mark, which itself is old enough.
            Some((first, _, Some((below, wall)))) if wall <= cutoff => {
                if delete_oldest(db, run, below)? == 0 {
                    drop_mark(db, first)?;
                }
                Ok(true)
            }
            // All that was stored since the only mark came within a grain of it, else there would be another.
            Some((first, wall, None)) if wall.saturating_add(self.grain_ns()) <= cutoff => {
                if delete_oldest(db, run, i64::MAX)? != 0 {
                    return Ok(true);
                }
                drop_mark(db, first)?;
                self.forget_arrival();
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// How long until events become too old; `None`: not foreseeable, or no limit.
    pub(super) fn next_expiry(&self, conn: &Connection) -> Result<Option<Duration>, Failure> {
        if self.options.max_age_ms == 0 {
            return Ok(None);
        }
        let due = match self.oldest(conn)? {
            Some((_, _, Some((_, wall)))) => wall,
            Some((_, wall, None)) => wall.saturating_add(self.grain_ns()),
            None => return Ok(None),
        };
        let wait = due.saturating_sub(self.cutoff()).max(0) as u64;
        // Wall time may be set: it is looked at again in a minute at the latest.
        Ok(Some(Duration::from_nanos(wait + 1_000_000).min(Duration::from_secs(60))))
    }

    fn cutoff(&self) -> i64 {
        wall_now_ns().saturating_sub((self.options.max_age_ms as i64).saturating_mul(1_000_000))
    }

    /// The two oldest marks: id and wall time of each.
    #[allow(clippy::type_complexity)] // one place, read right there
    fn oldest(&self, conn: &Connection) -> Result<Option<(i64, i64, Option<(i64, i64)>)>, Failure> {
        let mut statement =
            conn.prepare_cached("SELECT first_id, wall_ns FROM arrivals ORDER BY first_id LIMIT 2")?;
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (id, wall) = (row.get(0)?, row.get(1)?);
        let second = match rows.next()? {
            Some(row) => Some((row.get(0)?, row.get(1)?)),
            None => None,
        };
        Ok(Some((id, wall, second)))
    }

    /// Says now and then how many events were deleted.
    pub(super) fn report(&mut self, db: &mut Db) {
        self.deleted_before_log += db.take_deleted();
        let now = time::now_ns();
        if self.deleted_before_log != 0 && (self.logged == 0 || now - self.logged > 10_000_000_000) {
            log::info!(
                "sqlite storage {}: {} events deleted to keep within its bounds",
                db.path().display(),
                self.deleted_before_log
            );
            self.deleted_before_log = 0;
            self.logged = now;
        }
    }
}

/// Deletes the oldest events, a chunk of them and none from the id `below` on; answers how many.
fn delete_oldest(db: &mut Db, run: i64, below: i64) -> Result<u64, Failure> {
    let lowest: Option<i64> =
        db.conn().prepare_cached("SELECT min(id) FROM events")?.query_row([], |row| row.get(0))?;
    let Some(lowest) = lowest else { return Ok(0) };
    let end = lowest.saturating_add(CHUNK).min(below);
    let rows = db.conn().prepare_cached("DELETE FROM events WHERE id < ?1")?.execute([end])? as u64;
    if rows != 0 {
        // Marks that lie wholly in what is gone; the last one before stays, it says when the next rows came.
        db.conn()
            .prepare_cached(
                "DELETE FROM arrivals WHERE first_id < (SELECT max(first_id) FROM arrivals WHERE first_id <= ?1)",
            )?
            .execute([end])?;
        db.count(run, "deleted", rows)?;
        db.add_deleted(rows);
    }
    Ok(rows)
}

fn drop_mark(db: &Db, first_id: i64) -> Result<(), Failure> {
    db.conn().prepare_cached("DELETE FROM arrivals WHERE first_id = ?1")?.execute([first_id])?;
    Ok(())
}

fn wall_now_ns() -> i64 {
    (time::now_ns() as i64).wrapping_add(time::realtime_offset_ns())
}

/// Bytes that an unprivileged process may still write on the file system of `directory`.
fn free_disk(directory: &std::ffi::CStr) -> Option<u64> {
    // SAFETY: a NUL-terminated path; the structure is a local, read only after success.
    unsafe {
        let mut figures: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(directory.as_ptr(), &raw mut figures) == 0)
            .then(|| (figures.f_bavail as u64).saturating_mul(figures.f_frsize as u64))
    }
}

/// Whether there is room for the indexes: with `max_bytes`, SQLite itself says no when they would not fit.
pub(super) fn indexes_fit(path: &Path, options: &Options) -> bool {
    if options.min_free_disk == 0 {
        return true;
    }
    path.parent()
        .and_then(|d| CString::new(d.as_os_str().as_bytes()).ok())
        .and_then(|d| free_disk(&d))
        .is_none_or(|free| free >= options.min_free_disk)
}
