//! The check of a schema. A file may have this library's application id and yet be malicious: the SQL of a schema (triggers, views,
//! checks, defaults, generated columns, indexes on expressions) runs in the program that writes to its tables. Triggers and views are
//! therefore switched off in the library's connections. Everything else that would run must be the library's own, word for word.

use super::failure::Failure;
use super::indexes::INDEXES;
use super::tables::{ATTRIBUTES, CLOCKS, DEFINITIONS, TABLES};
use rusqlite::{Connection, ffi};
use std::ffi::c_int;

/// Switches off the parts of a schema that can be switched off. To be called before anything of the file is read.
pub(super) fn restrict(conn: &Connection) -> Result<(), Failure> {
    const SWITCHES: [(i32, c_int); 7] = [
        (ffi::SQLITE_DBCONFIG_DEFENSIVE, 1),
        (ffi::SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
        (ffi::SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
        (ffi::SQLITE_DBCONFIG_ENABLE_VIEW, 0),
        // A foreign key of another table that refers to a table of the library would act when events are deleted.
        (ffi::SQLITE_DBCONFIG_ENABLE_FKEY, 0),
        (ffi::SQLITE_DBCONFIG_DQS_DDL, 0),
        (ffi::SQLITE_DBCONFIG_DQS_DML, 0),
    ];
    for (switch, to) in SWITCHES {
        // SAFETY: the handle is open; these options take an int and a pointer that may be NULL.
        let code =
            unsafe { ffi::sqlite3_db_config(conn.handle(), switch, to, std::ptr::null_mut::<c_int>()) };
        if code != ffi::SQLITE_OK {
            return Err(Failure::from_code(code));
        }
    }
    // SAFETY: the handle is open.
    unsafe {
        ffi::sqlite3_limit(conn.handle(), ffi::SQLITE_LIMIT_ATTACHED, 0);
        ffi::sqlite3_limit(conn.handle(), ffi::SQLITE_LIMIT_WORKER_THREADS, 0);
        ffi::sqlite3_limit(conn.handle(), ffi::SQLITE_LIMIT_SQL_LENGTH, 1 << 20);
    }
    conn.execute_batch("PRAGMA cell_size_check = ON")?;
    Ok(())
}

/// One object of a schema.
struct Object {
    kind: String,
    name: String,
    table: String,
    sql: String,
}

/// Checks that the library's tables, as of a version, and the indexes on them are defined as the library defines them. Changes nothing.
///
/// The views of kinds are not checked, because the storage does not read them: [`kind_views`](super::kind_views) replaces those that are not its own.
pub(super) fn check(conn: &Connection, version: i64) -> Result<(), Failure> {
    let mut statement = conn.prepare(
        "SELECT type, name, coalesce(tbl_name, ''), coalesce(sql, '') FROM sqlite_schema ORDER BY rowid",
    )?;
    let objects = statement
        .query_map([], |row| {
            Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    drop(statement);
    let scripts = [(1, TABLES), (2, CLOCKS), (3, DEFINITIONS), (4, ATTRIBUTES)];
    let ours: Vec<&str> =
        scripts.iter().filter(|(since, _)| *since <= version).flat_map(|(_, sql)| statements(sql)).collect();
    for sql in &ours {
        let (kind, name) = head(sql);
        let same_name = |object: &&Object| object.name.eq_ignore_ascii_case(name);
        match objects.iter().find(same_name) {
            Some(object) if object.kind == kind && object.sql == *sql => {}
            Some(_) => return Err(altered(kind, name, "it is not defined as this library defines it")),
            None if kind == "view" => {} // the storage does not need it
            None => return Err(altered(kind, name, "it is missing")),
        }
        if kind == "table" {
            check_indexes(conn, name, &objects)?;
        }
    }
    for object in objects.iter().filter(|object| object.kind == "trigger") {
        if ours.iter().any(|sql| head(sql).1.eq_ignore_ascii_case(&object.table)) {
            log::warn!(
                "sqlite storage: the trigger {} on {} does not run while the storage writes",
                object.name,
                object.table
            );
        }
    }
    Ok(())
}

/// Accepts indexes on plain columns that others have made. An index on an expression or with a condition would run that for each event, a unique
/// index would refuse events, and a collation of the user is not known to this connection.
fn check_indexes(conn: &Connection, table: &str, objects: &[Object]) -> Result<(), Failure> {
    let mut list = conn.prepare("SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1)")?;
    let indexes = list
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<Vec<(String, i64, String, i64)>, _>>()?;
    for (name, unique, origin, partial) in indexes {
        if origin != "c" {
            continue; // part of the table's own definition
        }
        if let Some((_, column)) = INDEXES.iter().find(|(known, _)| *known == name) {
            let sql = format!("CREATE INDEX {name} ON events({column})");
            if !objects.iter().any(|object| object.name == name && object.sql == sql) {
                return Err(altered("index", &name, "it is not defined as this library defines it"));
            }
            continue;
        }
        if unique != 0 {
            return Err(altered("index", &name, &format!("a unique index on {table} would keep events out")));
        }
        let plain: bool = conn.query_row(
            "SELECT count(*) = 0 FROM pragma_index_xinfo(?1) WHERE cid < -1 OR coll NOT IN ('BINARY', 'NOCASE', 'RTRIM')",
            [&name],
            |row| row.get(0),
        )?;
        if partial != 0 || !plain {
            let why = format!("on {table} only indexes on plain columns are accepted, without a condition");
            return Err(altered("index", &name, &why));
        }
    }
    Ok(())
}

fn altered(kind: &str, name: &str, why: &str) -> Failure {
    Failure::unusable(format!("the database's {kind} {name} is not accepted: {why}"))
}

/// The statements of a script, as SQLite keeps them.
fn statements(script: &str) -> impl Iterator<Item = &str> {
    script.split(";\n").map(str::trim).filter(|sql| !sql.is_empty())
}

/// The kind and name of the object that a statement makes: `CREATE TABLE name(`, `CREATE VIEW name AS`.
fn head(sql: &str) -> (&'static str, &str) {
    let kind = if sql.starts_with("CREATE VIEW ") { "view" } else { "table" };
    let rest = &sql["CREATE ".len() + kind.len() + 1..];
    (kind, &rest[..rest.find(['(', ' ']).unwrap_or(rest.len())])
}
