//! The views of defined kinds: `kind_NAME` has a column for each field. [`columns`] computes the fields, [`definitions`] keeps what the views are made from.
//!
//! The storage never reads the views, because views are off in its connections. A view whose text is not what this version makes of the stored definitions,
//! whoever made it, is replaced.

mod columns;
mod definitions;
#[cfg(test)]
mod tests;

pub(super) use definitions::insert;

use super::failure::Failure;
use definitions::Layout;
use rusqlite::{Connection, OptionalExtension};
use std::fmt::Write;

/// The columns of the event itself. They begin with an underscore, and the name of a field does not.
const OF_THE_EVENT: &str = "\
    e.id AS _id,
    printf('%016x', r.generation) AS _generation,
    CASE WHEN e.ring_id < 0 THEN printf('%llu', e.ring_id) ELSE e.ring_id END AS _ring_id,
    CASE WHEN e.sequence < 0 THEN printf('%llu', e.sequence) ELSE e.sequence END AS _sequence,
    strftime('%Y-%m-%dT%H:%M:%S', e.wall_ns / 1000000000, 'unixepoch')
        || printf('.%09dZ', e.wall_ns % 1000000000) AS _wall_time,
    CASE WHEN e.time_ns < 0 THEN printf('%llu', e.time_ns) ELSE e.time_ns END AS _time_ns,
    e.kind AS _kind,
    CASE WHEN e.correlation_id < 0 THEN printf('%llu', e.correlation_id) ELSE e.correlation_id END AS _correlation_id,
    CASE WHEN e.node_id < 0 THEN printf('%llu', e.node_id) ELSE e.node_id END AS _node_id,
    e.weight AS _weight,
    e.flags AS _flags,
    t.tid AS _tid,
    t.name AS _thread_name
FROM events e
LEFT JOIN runs r ON r.id = e.run
LEFT JOIN threads t ON t.run = e.run AND t.ring_id = e.ring_id
WHERE ";

/// The statement that makes the view of a layout. Names are identifiers, so they need no quotes against an injection, but some are SQL's own words.
fn statement(layout: &Layout) -> String {
    let name = &layout.definition.name;
    let mut sql = format!("CREATE VIEW \"kind_{name}\" AS WITH {} SELECT\n", columns::all_bytes());
    for field in &layout.definition.fields {
        let _ = writeln!(sql, "    {} AS \"{}\",", columns::column(field), field.name);
    }
    sql += OF_THE_EVENT;
    for (n, kind) in layout.kinds.iter().enumerate() {
        let or = if n == 0 { "" } else { " OR " };
        // The plus keeps the planner from looking up each event of a run by the index of the key.
        let _ = write!(
            sql,
            "{or}e.kind = {kind} AND +e.run IN (SELECT d.run FROM defined_kinds d WHERE d.kind = {kind} AND d.layout = {})",
            layout.id
        );
    }
    sql
}

/// Makes the views that are missing or have another text, in a transaction. Returns how many.
pub(super) fn update(conn: &Connection) -> Result<usize, Failure> {
    let mut made = 0;
    for layout in definitions::layouts(conn)?.iter().filter(|layout| !layout.kinds.is_empty()) {
        let wanted = statement(layout);
        let name = format!("kind_{}", layout.definition.name);
        let present: Option<(String, String)> = conn
            .prepare_cached(
                "SELECT type, coalesce(sql, '') FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE",
            )?
            .query_row([&name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match present {
            Some((kind, sql)) if kind == "view" && sql == wanted => continue,
            Some((kind, _)) if kind == "view" => conn.execute_batch(&format!("DROP VIEW \"{name}\""))?,
            Some((kind, _)) => {
                log::warn!(
                    "sqlite storage: there is no view {name} of the kind {}, because a {kind} has that name; rename it",
                    layout.definition.name
                );
                continue;
            }
            None => {}
        }
        conn.execute_batch(&wanted)?;
        made += 1;
    }
    Ok(made)
}
