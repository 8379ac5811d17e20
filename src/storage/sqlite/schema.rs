//! The schema: making it in a new file, and telling a database of this library from any other file.

use super::failure::Failure;
use super::schema_check;
use super::sql;
use super::tables::{ATTRIBUTES, CLOCKS, DEFINITIONS, TABLES};
use crate::platform::time;
use rusqlite::{Connection, Transaction, TransactionBehavior, ffi};
use std::time::Duration;

/// `PRAGMA application_id` of a database of this library: "cpip" in ASCII.
pub const APPLICATION_ID: i32 = 0x6370_6970;
/// `PRAGMA user_version`: the schema in [`super::tables`]. Version 1 was the same without `clocks`, versions 1 and 2 without
/// `definitions` and `defined_kinds`, versions 1 to 3 without `run_attributes`.
pub const VERSION: i32 = 4;
/// Bytes of a page in a new database.
pub const PAGE_SIZE: u32 = 4096;

/// The contents of a file.
#[derive(Debug, PartialEq, Eq)]
enum Contents {
    Empty,
    /// This library's schema, in an earlier version.
    Earlier(i64),
    /// This library's schema, the present version.
    Current,
}

/// Reads the contents of the file, and changes nothing.
fn read_contents(conn: &Connection) -> Result<Contents, Failure> {
    let application = sql::pragma(conn, "application_id")?;
    let version = sql::pragma(conn, "user_version")?;
    let tables: i64 = sql::value(conn, "SELECT count(*) FROM sqlite_master", [])?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(Contents::Empty);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(Failure::unusable(format!(
            "the database is another program's: application_id {APPLICATION_ID} expected, {application} found, \
             with {tables} tables, indexes or views"
        )));
    }
    let found = match version {
        _ if version == i64::from(VERSION) => Contents::Current,
        1.. if version < i64::from(VERSION) => Contents::Earlier(version),
        _ => {
            return Err(Failure::unusable(format!(
                "the database has another schema: user_version 1 to {VERSION} expected, {version} found"
            )));
        }
    };
    schema_check::check(conn, version)?;
    Ok(found)
}

/// The version of the schema in a file that must be this library's.
pub(super) fn version(conn: &Connection) -> Result<i64, Failure> {
    match read_contents(conn)? {
        Contents::Current => Ok(VERSION.into()),
        Contents::Earlier(version) => Ok(version),
        Contents::Empty => Err(Failure::unusable("the database is empty: it has no tables")),
    }
}

/// The number that SQLite increments with every change of the schema.
pub(super) fn revision(conn: &Connection) -> Result<i64, Failure> {
    sql::pragma(conn, "schema_version")
}

/// Checks, while the database is in use, that the schema still is the library's.
pub(super) fn check_again(conn: &Connection) -> Result<(), Failure> {
    match read_contents(conn)? {
        Contents::Current => Ok(()),
        Contents::Empty | Contents::Earlier(_) => {
            Err(Failure::unusable("the database's tables were removed or replaced while it was in use"))
        }
    }
}

/// Makes the tables in an empty file, or checks that they are the library's. Never changes another program's database.
///
/// While another process does the same, SQLite may refuse a lock without asking the busy handler, because waiting could deadlock.
/// Everything is then repeated, for at most `timeout_ms`.
pub(super) fn prepare(conn: &mut Connection, timeout_ms: u32) -> Result<(), Failure> {
    let began = time::now_ns();
    loop {
        match try_to_prepare(conn) {
            Err(failure) if failure.code & 0xFF == ffi::SQLITE_BUSY => {
                if time::now_ns() - began >= u64::from(timeout_ms) * 1_000_000 {
                    return Err(failure);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn try_to_prepare(conn: &mut Connection) -> Result<(), Failure> {
    // All reads are in one snapshot, because another process may be making the tables at this moment.
    let snapshot = Transaction::new(conn, TransactionBehavior::Deferred)?;
    let found = read_contents(&snapshot)?;
    snapshot.finish()?;
    if found == Contents::Empty {
        conn.execute_batch(&format!("PRAGMA page_size = {PAGE_SIZE}"))?;
    }
    use_write_ahead_log(conn)?;
    if found == Contents::Current {
        return Ok(());
    }
    // Another process may be doing the same: the second one to get the lock finds the tables.
    let tx = Transaction::new(conn, TransactionBehavior::Immediate)?;
    match read_contents(&tx)? {
        Contents::Empty => tx.execute_batch(&format!(
            "{TABLES}{CLOCKS}{DEFINITIONS}{ATTRIBUTES}PRAGMA application_id = {APPLICATION_ID};"
        ))?,
        Contents::Earlier(version) => {
            if version < 2 {
                tx.execute_batch(CLOCKS)?;
            }
            if version < 3 {
                tx.execute_batch(DEFINITIONS)?;
            }
            tx.execute_batch(ATTRIBUTES)?;
        }
        Contents::Current => {}
    }
    tx.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
    tx.commit()?;
    Ok(())
}

/// Others can read while the storage writes only if the database has a write-ahead log.
fn use_write_ahead_log(conn: &Connection) -> Result<(), Failure> {
    let mode: String = sql::value(conn, "PRAGMA journal_mode = WAL", [])?;
    if mode.eq_ignore_ascii_case("wal") {
        Ok(())
    } else {
        Err(Failure::unusable(format!(
            "the database cannot have a write-ahead log here (journal_mode stays {mode}); put it on a local file system"
        )))
    }
}
