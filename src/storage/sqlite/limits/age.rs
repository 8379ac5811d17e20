//! The age of the events, by marks in the table `arrivals`. A mark is an id and the wall time at which the rows from that id on began to
//! come. Every storage makes a mark at its first row, and at a row that comes a second or more after its last mark. So a row was
//! stored no later than a second after the last mark at or below its id.
//!
//! That holds whatever other programs do to the rows:
//! - SQLite reuses ids when the last rows are deleted. The new rows then lie below marks that are older than they are, so a new mark
//!   removes the marks above it.
//! - Once the largest id is used up, SQLite draws ids at random. Then one mark stands for all rows, and is renewed.

use crate::platform::time;
use crate::storage::sqlite::failure::Failure;
use crate::storage::sqlite::sql;
use rusqlite::Connection;
use std::time::Duration;

const SECOND_NS: i64 = 1_000_000_000;

/// A mark: rows from this id on were stored at this wall time or later.
#[derive(Clone, Copy, Debug)]
struct Mark {
    first_id: i64,
    wall_ns: i64,
}

impl Mark {
    /// When the rows between this mark and the next one were stored at the latest.
    fn all_stored_by(self, next: Option<Self>) -> i64 {
        let latest = self.wall_ns.saturating_add(SECOND_NS);
        next.map_or(latest, |next| latest.min(next.wall_ns))
    }
}

/// The marks of a database, and the age at which events expire.
pub(super) struct Age {
    max_ns: i64,
    /// The last mark that this storage has made.
    last: Option<Mark>,
}

/// The oldest events are expired.
pub(super) struct Expired {
    /// The id of the oldest mark.
    mark: i64,
    has_next: bool,
    /// The last id that is known to be expired.
    pub last_id: i64,
}

impl Age {
    /// Without marks of this storage; `max_age_ms` is 0 where there is no limit.
    pub(super) fn new(max_age_ms: u64) -> Self {
        Self { max_ns: (max_age_ms as i64).saturating_mul(1_000_000), last: None }
    }

    /// To be called when a transaction was rolled back, because it may have made the last mark.
    pub(super) fn forget_last(&mut self) {
        self.last = None;
    }

    /// Notes that rows from `first_id` on were just inserted. Makes a mark once a second, or once in a sixteenth of the maximal age, and wherever
    /// ids are reused. In the open transaction.
    pub(super) fn note_arrival(&mut self, conn: &Connection, first_id: i64) -> Result<(), Failure> {
        let now = wall_now_ns();
        if let Some(last) = self.last
            && first_id > last.first_id
            && (last.wall_ns..last.wall_ns.saturating_add(self.mark_interval_ns())).contains(&now)
        {
            return Ok(());
        }
        let highest: i64 = sql::value(conn, "SELECT max(id) FROM events", [])?;
        // New rows have the highest ids, unless another program has inserted a row with the largest possible id.
        let first_id = if highest > conn.last_insert_rowid() { i64::MIN } else { first_id };
        sql::execute(conn, "DELETE FROM arrivals WHERE first_id >= ?1", [first_id])?;
        sql::execute(conn, "INSERT INTO arrivals(first_id, wall_ns) VALUES(?1, ?2)", [first_id, now])?;
        self.last = Some(Mark { first_id, wall_ns: now });
        Ok(())
    }

    fn mark_interval_ns(&self) -> i64 {
        if self.max_ns == 0 { SECOND_NS } else { (self.max_ns / 16).clamp(1_000_000, SECOND_NS) }
    }

    /// The oldest events, if they are expired.
    pub(super) fn oldest_expired(&self, conn: &Connection) -> Result<Option<Expired>, Failure> {
        let (Some(first), next) = oldest_marks(conn)? else { return Ok(None) };
        Ok((first.all_stored_by(next) <= self.cutoff()).then(|| Expired {
            mark: first.first_id,
            has_next: next.is_some(),
            last_id: next.map_or(i64::MAX, |next| next.first_id.saturating_sub(1)),
        }))
    }

    /// Removes the mark of expired events that are all deleted. `true`: there may be more.
    pub(super) fn remove_mark(&mut self, conn: &Connection, expired: &Expired) -> Result<bool, Failure> {
        sql::execute(conn, "DELETE FROM arrivals WHERE first_id = ?1", [expired.mark])?;
        if !expired.has_next {
            self.last = None;
        }
        Ok(expired.has_next)
    }

    /// The time until events expire; `None`: it is not foreseeable, or there is no limit.
    pub(super) fn next_expiry(&self, conn: &Connection) -> Result<Option<Duration>, Failure> {
        if self.max_ns == 0 {
            return Ok(None);
        }
        let (Some(first), next) = oldest_marks(conn)? else { return Ok(None) };
        let wait = first.all_stored_by(next).saturating_sub(self.cutoff()).max(0) as u64;
        // At most a minute, because wall time may be set.
        Ok(Some(Duration::from_nanos(wait.saturating_add(1_000_000)).min(Duration::from_secs(60))))
    }

    /// Events stored before this wall time are expired.
    fn cutoff(&self) -> i64 {
        wall_now_ns().saturating_sub(self.max_ns)
    }
}

/// The two oldest marks.
fn oldest_marks(conn: &Connection) -> Result<(Option<Mark>, Option<Mark>), Failure> {
    let mut statement =
        conn.prepare_cached("SELECT first_id, wall_ns FROM arrivals ORDER BY first_id LIMIT 2")?;
    let mut marks =
        statement.query_map([], |row| Ok(Mark { first_id: row.get(0)?, wall_ns: row.get(1)? }))?.fuse();
    Ok((marks.next().transpose()?, marks.next().transpose()?))
}

fn wall_now_ns() -> i64 {
    (time::now_ns() as i64).wrapping_add(time::realtime_offset_ns())
}
