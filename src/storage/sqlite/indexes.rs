//! The indexes for common queries. They are made when the storage ends, because updating them with each batch costs most of the speed.

use super::failure::Failure;
use crate::platform::sync::{AtomicBool, Ordering};
use rusqlite::{Connection, ffi};
use std::ffi::{c_int, c_void};

/// The name and the column of each index.
pub(super) const INDEXES: [(&str, &str); 4] = [
    ("events_by_time", "time_ns"),
    ("events_by_wall_time", "wall_ns"),
    ("events_by_correlation", "correlation_id"),
    ("events_by_node", "node_id"),
];

/// KiB for sorting the keys of an index, and as much again for the page cache. SQLite sorts more keys in temporary files.
const SORT_KIB: u32 = 8_192;
/// Instructions of SQLite's virtual machine between two checks of the stop flag.
const CHECK_EVERY: c_int = 10_000;

/// Makes the missing indexes, each in a transaction of its own.
pub(super) fn create(conn: &Connection) -> Result<(), Failure> {
    create_unless(conn, &AtomicBool::new(false)).map(drop)
}

/// The same, until `stop` is set. `false`: it was set, and indexes may be missing.
pub(super) fn create_unless(conn: &Connection, stop: &AtomicBool) -> Result<bool, Failure> {
    conn.execute_batch(&format!("PRAGMA cache_size = -{SORT_KIB}"))?;
    let _stopped_by = StopFlag::install(conn, stop);
    for (name, column) in INDEXES {
        if stop.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let made = conn.execute_batch(&format!("CREATE INDEX IF NOT EXISTS {name} ON events({column})"));
        if stop.load(Ordering::SeqCst) {
            return Ok(false); // the statement may have failed for that reason
        }
        made?;
        // So that the next index reuses the log that this one has filled.
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(true)
}

/// Removes the indexes.
pub(super) fn remove(conn: &Connection) -> Result<(), Failure> {
    for (name, _) in INDEXES {
        conn.execute_batch(&format!("DROP INDEX IF EXISTS {name}"))?;
    }
    Ok(())
}

/// Makes the statements of a connection fail once a flag is set, until it is dropped.
struct StopFlag<'a> {
    conn: &'a Connection,
    // Borrowed as long as SQLite has its address.
    _flag: &'a AtomicBool,
}

impl<'a> StopFlag<'a> {
    fn install(conn: &'a Connection, flag: &'a AtomicBool) -> Self {
        let address = (&raw const *flag).cast_mut().cast();
        // SAFETY: the handle is open; the flag outlives this value, which removes the callback when it is dropped.
        unsafe { ffi::sqlite3_progress_handler(conn.handle(), CHECK_EVERY, Some(on_progress), address) };
        Self { conn, _flag: flag }
    }
}

impl Drop for StopFlag<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_progress_handler(self.conn.handle(), 0, None, std::ptr::null_mut()) };
    }
}

unsafe extern "C" fn on_progress(flag: *mut c_void) -> c_int {
    // SAFETY: the flag is borrowed by a `StopFlag` that has not been dropped.
    c_int::from(unsafe { &*flag.cast::<AtomicBool>() }.load(Ordering::Relaxed))
}
