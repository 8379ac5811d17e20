//! The indexes for the obvious questions: made once the events are in, since keeping them up to date per batch costs most of
//! the speed.

use super::failure::Failure;
use rusqlite::Connection;

/// Name and column of each.
const INDEXES: [(&str, &str); 4] = [
    ("events_by_time", "time_ns"),
    ("events_by_wall_time", "wall_ns"),
    ("events_by_correlation", "correlation_id"),
    ("events_by_node", "node_id"),
];

/// KiB that sorting the keys of an index may take, and the page cache as much again; more is sorted in temporary files.
const SORT_KIB: u32 = 8_192;

/// Makes those that are missing, each in a transaction of its own.
pub(super) fn create(conn: &Connection) -> Result<(), Failure> {
    conn.execute_batch(&format!("PRAGMA cache_size = -{SORT_KIB}"))?;
    for (name, column) in INDEXES {
        conn.execute_batch(&format!("CREATE INDEX IF NOT EXISTS {name} ON events({column})"))?;
        // The next one writes over the log that this one filled.
        checkpoint(conn)?;
    }
    Ok(())
}

/// Removes those that there are.
pub(super) fn remove(conn: &Connection) -> Result<(), Failure> {
    for (name, _) in INDEXES {
        conn.execute_batch(&format!("DROP INDEX IF EXISTS {name}"))?;
    }
    Ok(())
}

fn checkpoint(conn: &Connection) -> Result<(), Failure> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(())
}
