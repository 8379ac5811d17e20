//! The tables: how they are made in a new file, and how a file of ours is told from any other.

use super::failure::Failure;
use crate::platform::time;
use rusqlite::{Connection, Transaction, TransactionBehavior, ffi};
use std::time::Duration;

/// `PRAGMA application_id` of a database of ours: "cpip" in ASCII.
pub const APPLICATION_ID: i32 = 0x6370_6970;
/// `PRAGMA user_version`: the schema below. 1 was the same without `clocks`.
pub const VERSION: i32 = 2;
/// Bytes of a page in a new database.
pub const PAGE_SIZE: u32 = 4096;

// The key of an event is its identity (generation, ring id, sequence). The generation is kept once, in `runs`, and its
// small number in each event: as a 64-bit column of its own it would cost nine bytes a row twice, in the table and in the
// key. `id` is the order in which events were stored, by which the oldest are found without an index on time.
const TABLES: &str = "
CREATE TABLE runs(
    id INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL UNIQUE,
    pid INTEGER NOT NULL,
    program TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    first_wall_ns INTEGER NOT NULL,
    first_time_ns INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE events(
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    ring_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    correlation_id INTEGER NOT NULL,
    node_id INTEGER NOT NULL,
    weight REAL,
    flags INTEGER NOT NULL,
    writer_id INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE(run, ring_id, sequence)
);
CREATE TABLE kinds(
    kind INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);
CREATE TABLE threads(
    run INTEGER NOT NULL,
    ring_id INTEGER NOT NULL,
    tid INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY(run, ring_id)
) WITHOUT ROWID;
CREATE TABLE arrivals(
    first_id INTEGER PRIMARY KEY,
    wall_ns INTEGER NOT NULL
);
CREATE VIEW events_view AS SELECT
    e.id AS id,
    printf('%016x', r.generation) AS generation,
    CASE WHEN e.ring_id < 0 THEN printf('%llu', e.ring_id) ELSE e.ring_id END AS ring_id,
    CASE WHEN e.sequence < 0 THEN printf('%llu', e.sequence) ELSE e.sequence END AS sequence,
    strftime('%Y-%m-%dT%H:%M:%S', e.wall_ns / 1000000000, 'unixepoch')
        || printf('.%09dZ', e.wall_ns % 1000000000) AS wall_time,
    CASE WHEN e.time_ns < 0 THEN printf('%llu', e.time_ns) ELSE e.time_ns END AS time_ns,
    e.kind AS kind,
    k.name AS kind_name,
    CASE WHEN e.correlation_id < 0 THEN printf('%llu', e.correlation_id) ELSE e.correlation_id END AS correlation_id,
    CASE WHEN e.node_id < 0 THEN printf('%llu', e.node_id) ELSE e.node_id END AS node_id,
    e.weight AS weight,
    e.flags AS flags,
    t.tid AS tid,
    t.name AS thread_name,
    e.writer_id AS writer_id,
    e.attempt AS attempt,
    length(e.payload) AS payload_bytes,
    e.payload AS payload
FROM events e
JOIN runs r ON r.id = e.run
LEFT JOIN kinds k ON k.kind = e.kind
LEFT JOIN threads t ON t.run = e.run AND t.ring_id = e.ring_id;
";

/// What came with version 2.
const CLOCKS: &str = "
CREATE TABLE clocks(
    run INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    ticks INTEGER NOT NULL,
    ticks_hz INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    PRIMARY KEY(run, time_ns)
) WITHOUT ROWID;
";

/// What a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Empty,
    /// Ours, of the first version.
    First,
    Ours,
}

/// Reads one integer pragma.
pub(super) fn pragma(conn: &Connection, name: &str) -> Result<i64, Failure> {
    let mut statement = conn.prepare_cached(&format!("PRAGMA {name}"))?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Looks at what is there, and changes nothing.
fn look(conn: &Connection) -> Result<Found, Failure> {
    let application = pragma(conn, "application_id")?;
    let version = pragma(conn, "user_version")?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(Found::Empty);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(Failure::foreign(format!(
            "the database is another program's: application_id {APPLICATION_ID} expected, {application} found, \
             and {tables} tables, indexes or views"
        )));
    }
    match version {
        1 => Ok(Found::First),
        _ if version == i64::from(VERSION) => Ok(Found::Ours),
        _ => Err(Failure::foreign(format!(
            "the database has another schema: user_version 1 to {VERSION} expected, {version} found"
        ))),
    }
}

/// Makes the tables in an empty file, or makes sure that they are ours. Never changes another program's database. While another
/// process does the same, SQLite may refuse a lock without asking its busy handler (it does so where waiting could be a
/// deadlock): then all of it again, for at most `patience_ms`.
pub(super) fn prepare(conn: &mut Connection, patience_ms: u32) -> Result<(), Failure> {
    let began = time::now_ns();
    loop {
        match try_to_prepare(conn) {
            Err(failure) if failure.code & 0xFF == ffi::SQLITE_BUSY => {
                if time::now_ns() - began >= u64::from(patience_ms) * 1_000_000 {
                    return Err(failure);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn try_to_prepare(conn: &mut Connection) -> Result<(), Failure> {
    // One snapshot for the whole look: another process may be making the tables at this moment.
    let snapshot = Transaction::new(conn, TransactionBehavior::Deferred)?;
    let found = look(&snapshot)?;
    snapshot.finish()?;
    if found == Found::Empty {
        conn.execute_batch(&format!("PRAGMA page_size = {PAGE_SIZE}"))?;
    }
    write_ahead(conn)?;
    if found == Found::Ours {
        return Ok(());
    }
    // Another process may be doing the same: whoever gets the lock second finds the tables.
    let tx = Transaction::new(conn, TransactionBehavior::Immediate)?;
    match look(&tx)? {
        Found::Empty => {
            tx.execute_batch(&format!("{TABLES}{CLOCKS}PRAGMA application_id = {APPLICATION_ID};"))?
        }
        Found::First => tx.execute_batch(CLOCKS)?,
        Found::Ours => {}
    }
    tx.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
    tx.commit()?;
    Ok(())
}

/// Only with a write-ahead log can others read while we write.
fn write_ahead(conn: &Connection) -> Result<(), Failure> {
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode.eq_ignore_ascii_case("wal") {
        Ok(())
    } else {
        Err(Failure::foreign(format!("a write-ahead log is not possible here: journal_mode stays {mode}")))
    }
}
