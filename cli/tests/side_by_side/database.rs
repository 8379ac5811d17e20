//! What is in a database, so that two can be compared.

use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;

/// Generation, ring id, sequence.
pub type Identity = (u64, u64, u64);

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub time: u64,
    pub kind: u32,
    pub correlation_id: u64,
    pub node_id: u64,
    /// As bits.
    pub weight: u64,
    pub flags: u32,
    pub payload: Vec<u8>,
}

/// What surrounds an event.
#[derive(Clone, Debug)]
pub struct Around {
    pub wall_ns: i64,
    pub thread: Option<(i64, String)>,
    pub kind_name: Option<String>,
}

#[derive(Debug)]
pub struct Database {
    pub events: BTreeMap<Identity, (Row, Around)>,
    /// Rows that have the identity of another one.
    pub twice: usize,
    /// Of each run: deleted events, and conflicts.
    pub runs: Vec<(i64, i64)>,
    pub kinds: BTreeMap<u32, String>,
    /// Kind, name, bytes.
    pub definitions: BTreeMap<u32, (String, Vec<u8>)>,
    /// Of each view of a kind: the columns, and the rows in the order of identities, without what two databases need not have in common.
    pub views: BTreeMap<String, (String, Vec<String>)>,
    /// Of each statement about the clock: the two times.
    pub clocks: Vec<(i64, i64)>,
    /// The names of all tables, views and indexes.
    pub schema: Vec<String>,
}

/// Columns that tell how a database came to be.
const OWN_COLUMNS: [&str; 4] = ["_id", "_wall_time", "_tid", "_thread_name"];

fn list<T>(
    database: &Connection,
    sql: &str,
    row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    database.prepare(sql)?.query_map([], row)?.collect()
}

impl Database {
    /// Reads a database.
    pub fn read(path: &Path) -> Self {
        Self::try_read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn try_read(path: &Path) -> rusqlite::Result<Self> {
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let check = list(&database, "PRAGMA integrity_check", |row| row.get::<_, String>(0))?;
        assert_eq!(check, ["ok"], "{}", path.display());
        let mut twice = 0;
        let mut events = BTreeMap::new();
        let sql = "SELECT r.generation, e.ring_id, e.sequence, e.time_ns, e.kind, e.correlation_id, e.node_id, e.weight, e.flags, e.payload, \
                   e.wall_ns, t.tid, t.name, k.name FROM events e JOIN runs r ON r.id = e.run \
                   LEFT JOIN threads t ON t.run = e.run AND t.ring_id = e.ring_id LEFT JOIN kinds k ON k.kind = e.kind";
        let rows = list(&database, sql, |row| {
            let number = |n| row.get::<_, i64>(n).map(i64::cast_unsigned);
            let event = Row {
                time: number(3)?,
                kind: row.get(4)?,
                correlation_id: number(5)?,
                node_id: number(6)?,
                weight: row.get::<_, f64>(7)?.to_bits(),
                flags: row.get(8)?,
                payload: row.get(9)?,
            };
            let thread = row.get::<_, Option<i64>>(11)?;
            let around = Around {
                wall_ns: row.get(10)?,
                thread: match thread {
                    Some(tid) => Some((tid, row.get(12)?)),
                    None => None,
                },
                kind_name: row.get(13)?,
            };
            Ok(((number(0)?, number(1)?, number(2)?), (event, around)))
        })?;
        for (identity, row) in rows {
            twice += usize::from(events.insert(identity, row).is_some());
        }
        let count: i64 = database.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
        assert_eq!(count as usize, events.len() + twice, "{}: events without a run", path.display());
        let definitions = "SELECT k.kind, d.name, d.definition FROM defined_kinds k JOIN definitions d ON d.id = k.definition";
        let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(Self {
            events,
            twice,
            runs: list(&database, "SELECT deleted, conflicts FROM runs", pair)?,
            kinds: list(&database, "SELECT kind, name FROM kinds", |row| Ok((row.get(0)?, row.get(1)?)))?
                .into_iter()
                .collect(),
            definitions: list(&database, definitions, |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?
                .into_iter()
                .collect(),
            views: views(&database)?,
            clocks: list(&database, "SELECT time_ns, wall_ns FROM clocks ORDER BY 1", pair)?,
            schema: list(&database, "SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1", |row| {
                row.get(0)
            })?,
        })
    }
}

fn views(database: &Connection) -> rusqlite::Result<BTreeMap<String, (String, Vec<String>)>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'view' AND name LIKE 'kind\\_%' ESCAPE '\\'";
    let mut all = BTreeMap::new();
    for name in list(database, sql, |row| row.get::<_, String>(0))? {
        let columns: Vec<String> =
            list(database, &format!("SELECT name FROM pragma_table_info('{name}')"), |row| {
                row.get::<_, String>(0)
            })?
            .into_iter()
            .filter(|column| !OWN_COLUMNS.contains(&column.as_str()))
            .map(|column| format!("\"{column}\""))
            .collect();
        let columns = columns.join(", ");
        let mut rows = list(database, &format!("SELECT {columns} FROM \"{name}\""), |row| {
            // (Texts need not be UTF-8.)
            let values =
                (0..row.as_ref().column_count()).map(|n| row.get_ref(n).map(|value| format!("{value:?}")));
            values.collect::<rusqlite::Result<Vec<_>>>().map(|values| values.join(" "))
        })?;
        rows.sort_unstable();
        all.insert(name, (columns, rows));
    }
    Ok(all)
}
