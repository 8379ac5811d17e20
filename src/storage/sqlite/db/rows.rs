//! The rows: runs with their counters, the events of a batch, and the library's own events.

use super::connection::Db;
use crate::batch::BatchView;
use crate::event::{
    ClockFacts, EventView, PIPELINE_EVENT_TRANSFORMED, PIPELINE_KIND_ATTRIBUTE, PIPELINE_KIND_CLOCK,
    PIPELINE_KIND_DEFINITION, PIPELINE_KIND_KIND_NAME, PIPELINE_KIND_THREAD,
};
use crate::facts::attribute_of;
use crate::platform::{process, time};
use crate::storage::sqlite::failure::{Class, Failure};
use crate::storage::sqlite::{batch_table, kind_views, sql};
use rusqlite::{OptionalExtension, params};

/// An event that was not stored.
pub struct Refused {
    /// Its index in the batch.
    pub index: usize,
    /// The reason.
    pub text: String,
    /// Whether its key was already stored with other contents.
    pub conflict: bool,
}

/// The rows that a batch has added.
#[derive(Default)]
pub struct Inserted {
    /// The id of the first new row; `None`: none is new.
    pub first_id: Option<i64>,
    /// New rows.
    pub rows: u64,
}

impl Db {
    /// The number of a generation in `runs`, where its first event adds a row. In a transaction.
    pub fn run(&mut self, generation: u64) -> Result<i64, Failure> {
        if let Some((known, id)) = self.run
            && known == generation
        {
            return Ok(id);
        }
        // Without such a row the result of max() is NULL.
        let found =
            sql::value(&self.conn, "SELECT max(id) FROM runs WHERE generation = ?1", [generation as i64])?;
        let id = match found {
            Some(id) => id,
            None => {
                let now = time::now_ns() as i64;
                self.conn.execute(
                    "INSERT INTO runs(generation, pid, program, boot_id, first_wall_ns, first_time_ns) \
                     VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        generation as i64,
                        std::process::id(),
                        program(),
                        boot_id_text(process::boot_id()),
                        now.wrapping_add(time::realtime_offset_ns()),
                        now,
                    ],
                )?;
                self.conn.last_insert_rowid()
            }
        };
        self.run = Some((generation, id));
        Ok(id)
    }

    /// The number of the run stored last, for counters that change while no batch is stored. In a transaction.
    pub fn newest_run(&mut self) -> Result<i64, Failure> {
        if let Some((_, id)) = self.run {
            return Ok(id);
        }
        sql::value(&self.conn, "SELECT coalesce(max(id), 0) FROM runs", [])
    }

    /// Stores a batch, in a transaction. Events that cannot be stored, whatever the state of the database, are added to `refused`.
    pub fn insert(&mut self, batch: &BatchView, refused: &mut Vec<Refused>) -> Result<Inserted, Failure> {
        let run = self.run(batch.generation)?;
        match self.insert_range(run, batch, 0, batch.count) {
            Ok(inserted) if inserted.rows == batch.count as u64 => Ok(inserted),
            // Some keys exist: the batch is a redelivery, or a key was used twice.
            Ok(inserted) => {
                for index in 0..batch.count {
                    self.compare(run, batch, index, refused)?;
                }
                Ok(inserted)
            }
            // One event cannot be stored. Events before it may be stored already; the comparison finds them equal.
            Err(failure) if failure.class == Class::Event => self.insert_singly(run, batch, refused),
            Err(failure) => Err(failure),
        }
    }

    fn insert_range(
        &mut self,
        run: i64,
        batch: &BatchView,
        from: usize,
        to: usize,
    ) -> Result<Inserted, Failure> {
        let table = self.batch_table.0;
        let mut statement = self.conn.prepare_cached(batch_table::INSERT)?;
        // SAFETY: no statement that reads the table is running here, and the batch outlives this call.
        unsafe { (*table).show(run, batch, from, to) };
        let done = statement.execute([]);
        // SAFETY: as above.
        unsafe { (*table).clear() };
        let rows = done? as u64;
        let first_id = (rows > 0).then(|| self.conn.last_insert_rowid() - rows as i64 + 1);
        Ok(Inserted { first_id, rows })
    }

    fn insert_singly(
        &mut self,
        run: i64,
        batch: &BatchView,
        refused: &mut Vec<Refused>,
    ) -> Result<Inserted, Failure> {
        let mut all = Inserted::default();
        for index in 0..batch.count {
            match self.insert_range(run, batch, index, index + 1) {
                Ok(one) if one.rows == 1 => {
                    all.first_id = all.first_id.or(one.first_id);
                    all.rows += 1;
                }
                Ok(_) => self.compare(run, batch, index, refused)?,
                Err(failure) if failure.class == Class::Event => {
                    refused.push(Refused { index, text: failure.to_string(), conflict: false });
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(all)
    }

    /// Compares the event at `index` with what is stored under its key.
    fn compare(
        &mut self,
        run: i64,
        batch: &BatchView,
        index: usize,
        refused: &mut Vec<Refused>,
    ) -> Result<(), Failure> {
        // SAFETY: the caller's index is below the count.
        let event = unsafe { batch_table::event(batch, index) };
        let same = self
            .conn
            .prepare_cached(
                "SELECT time_ns, kind, correlation_id, node_id, weight, flags, payload FROM events \
                 WHERE run = ?1 AND ring_id = ?2 AND sequence = ?3",
            )?
            .query_row(params![run, event.ring_id as i64, event.sequence as i64], |row| {
                // (A copy that a transform has rewritten need not agree with another, which may have come to another transform, or to none.)
                let flags = row.get::<_, i64>(5)?;
                if (flags | i64::from(event.flags)) & i64::from(PIPELINE_EVENT_TRANSFORMED) != 0 {
                    return Ok(true);
                }
                Ok(row.get::<_, i64>(0)? == event.timestamp_ns as i64
                    && row.get::<_, i64>(1)? == i64::from(event.kind)
                    && row.get::<_, i64>(2)? == event.correlation_id as i64
                    && row.get::<_, i64>(3)? == event.node_id as i64
                    && row.get::<_, Option<f64>>(4)?.unwrap_or(f64::NAN).total_cmp(&event.weight).is_eq()
                    && flags == i64::from(event.flags)
                    && row.get_ref(6)?.as_blob()? == event.payload())
            })
            .optional()?;
        let text = match same {
            Some(true) => return Ok(()),
            Some(false) => "another event with this key is already stored",
            None => "it is missing after it was stored",
        };
        refused.push(Refused { index, text: text.to_owned(), conflict: true });
        Ok(())
    }

    /// Adds to a counter of a run, in the transaction whose work it counts.
    pub fn count(&mut self, run: i64, counter: &'static str, by: u64) -> Result<(), Failure> {
        let sql = format!("UPDATE runs SET {counter} = {counter} + ?1 WHERE id = ?2");
        sql::execute(&self.conn, &sql, [by as i64, run]).map(drop)
    }

    /// Stores one of the library's own events, in a transaction.
    pub fn insert_meta(&mut self, generation: u64, event: &EventView) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(event.payload());
        match event.kind {
            PIPELINE_KIND_KIND_NAME => sql::execute(
                &self.conn,
                "INSERT OR REPLACE INTO kinds(kind, name) VALUES(?1, ?2)",
                params![event.node_id as i64, text],
            )?,
            PIPELINE_KIND_THREAD => {
                let run = self.run(generation)?;
                sql::execute(
                    &self.conn,
                    "INSERT OR REPLACE INTO threads(run, ring_id, tid, name) VALUES(?1, ?2, ?3, ?4)",
                    params![run, event.node_id as i64, event.correlation_id as i64, text],
                )?
            }
            PIPELINE_KIND_CLOCK => {
                let Some(facts) = ClockFacts::from_bytes(event.payload()) else { return Ok(()) };
                let run = self.run(generation)?;
                sql::execute(
                    &self.conn,
                    "INSERT OR REPLACE INTO clocks(run, time_ns, wall_ns, clock, ticks, ticks_hz, boot_id, pid) \
                     VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        run,
                        facts.monotonic_ns as i64,
                        facts.realtime_ns as i64,
                        facts.clock,
                        facts.ticks as i64,
                        facts.ticks_hz as i64,
                        boot_id_text(facts.boot_id),
                        facts.pid,
                    ],
                )?
            }
            PIPELINE_KIND_ATTRIBUTE => {
                let Some((name, value)) = attribute_of(event.payload()) else { return Ok(()) };
                let run = self.run(generation)?;
                sql::execute(
                    &self.conn,
                    "INSERT OR REPLACE INTO run_attributes(run, name, value) VALUES(?1, ?2, ?3)",
                    params![run, String::from_utf8_lossy(name), String::from_utf8_lossy(value)],
                )?
            }
            PIPELINE_KIND_DEFINITION => {
                let run = self.run(generation)?;
                kind_views::insert(&self.conn, run, event.node_id, event.payload())?;
                self.views_due = true;
                0
            }
            _ => 0, // a kind of a newer library, for which this schema has no table
        };
        Ok(())
    }
}

/// The program's name, as the system knows it.
fn program() -> String {
    std::fs::read_to_string("/proc/self/comm").map(|s| s.trim_end().to_owned()).unwrap_or_default()
}

/// The boot id as the kernel writes it; empty if it is unknown.
fn boot_id_text(id: [u8; 16]) -> String {
    if id == [0; 16] {
        return String::new();
    }
    let digits = format!("{:032x}", u128::from_be_bytes(id));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
