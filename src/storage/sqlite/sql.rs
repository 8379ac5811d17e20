//! Statements that a connection prepares once and keeps.

use super::failure::Failure;
use rusqlite::types::FromSql;
use rusqlite::{Connection, Params};

/// Executes a statement. Returns the number of rows that it has changed.
pub(super) fn execute(conn: &Connection, sql: &str, params: impl Params) -> Result<u64, Failure> {
    Ok(conn.prepare_cached(sql)?.execute(params)? as u64)
}

/// The first column of the only row.
pub(super) fn value<T: FromSql>(conn: &Connection, sql: &str, params: impl Params) -> Result<T, Failure> {
    Ok(conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?)
}

/// The value of a pragma.
pub(super) fn pragma(conn: &Connection, name: &str) -> Result<i64, Failure> {
    value(conn, &format!("PRAGMA {name}"), [])
}
