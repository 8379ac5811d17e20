//! The definitions of kinds in the database: each distinct one once, and which runs have which.

use crate::event::PIPELINE_KIND_RESERVED;
use crate::kinds::{Definition, MAX_BYTES};
use crate::storage::sqlite::failure::Failure;
use crate::storage::sqlite::sql;
use rusqlite::{Connection, OptionalExtension, params};

/// The layouts that views are made for, those of the last runs first. Far more than a program has; a bound for a file that somebody else has prepared.
const MAX_LAYOUTS: usize = 4096;
/// The kinds that one view shows. A kind gets another number only with another version of its program.
const MAX_KINDS: usize = 64;

/// What a view shows: the events with a certain layout.
pub(super) struct Layout {
    /// Its number in the tables.
    pub id: i64,
    /// A definition that has it.
    pub definition: Definition,
    /// The kinds that have it, in some run each.
    pub kinds: Vec<u32>,
}

/// Stores the definition of a kind in a run, in a transaction. What is no definition is ignored.
pub(in crate::storage::sqlite) fn insert(
    conn: &Connection,
    run: i64,
    kind: u64,
    bytes: &[u8],
) -> Result<(), Failure> {
    let definition = match Definition::from_bytes(bytes) {
        Ok(definition) if u64::from(definition.kind) == kind => definition,
        Ok(other) => {
            log::warn!(
                "sqlite storage: the definition of kind {kind} is ignored: it is of kind {}",
                other.kind
            );
            return Ok(());
        }
        Err(why) => {
            log::warn!("sqlite storage: the definition of kind {kind} is ignored: {why}");
            return Ok(());
        }
    };
    let known = conn
        .prepare_cached("SELECT id, layout FROM definitions WHERE name = ?1 AND definition = ?2")?
        .query_row(params![definition.name, bytes], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (id, layout): (i64, i64) = match known {
        Some(known) => known,
        None => {
            let layout = layout_of(conn, &definition)?;
            conn.prepare_cached("INSERT INTO definitions(name, layout, definition) VALUES(?1, ?2, ?3)")?
                .execute(params![definition.name, layout.unwrap_or(0), bytes])?;
            let id = conn.last_insert_rowid();
            if layout.is_none() {
                sql::execute(conn, "UPDATE definitions SET layout = id WHERE id = ?1", [id])?;
            }
            (id, layout.unwrap_or(id))
        }
    };
    sql::execute(
        conn,
        "INSERT OR REPLACE INTO defined_kinds(run, kind, definition, layout) VALUES(?1, ?2, ?3, ?4)",
        params![run, kind as i64, id, layout],
    )?;
    Ok(())
}

/// The layout of a stored definition with the same name and fields.
fn layout_of(conn: &Connection, new: &Definition) -> Result<Option<i64>, Failure> {
    let mut statement = conn.prepare_cached(
        "SELECT layout, definition FROM definitions WHERE name = ?1 AND length(definition) <= ?2 ORDER BY id",
    )?;
    let mut rows = statement.query(params![new.name, MAX_BYTES as i64])?;
    while let Some(row) = rows.next()? {
        let known = Definition::from_bytes(row.get_ref(1)?.as_blob().unwrap_or_default());
        if known.is_ok_and(|known| known.name == new.name && known.same_fields(new)) {
            return Ok(Some(row.get(0)?));
        }
    }
    Ok(None)
}

/// The layouts that have a view: for each name that of the last run.
pub(super) fn layouts(conn: &Connection) -> Result<Vec<Layout>, Failure> {
    let mut found: Vec<Layout> = Vec::new();
    let mut statement = conn.prepare(
        "SELECT k.layout, d.definition FROM (SELECT layout, max(run) AS run FROM defined_kinds GROUP BY layout) k \
         JOIN definitions d ON d.id = k.layout WHERE length(d.definition) <= ?1 ORDER BY k.run DESC, k.layout DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![MAX_BYTES as i64, MAX_LAYOUTS as i64])?;
    while let Some(row) = rows.next()? {
        let Ok(definition) = Definition::from_bytes(row.get_ref(1)?.as_blob().unwrap_or_default()) else {
            continue;
        };
        if !found.iter().any(|layout| layout.definition.name.eq_ignore_ascii_case(&definition.name)) {
            found.push(Layout { id: row.get(0)?, definition, kinds: Vec::new() });
        }
    }
    let mut statement = conn.prepare(
        "SELECT kind FROM defined_kinds WHERE layout = ?1 AND kind BETWEEN 0 AND ?2 \
         GROUP BY kind ORDER BY max(run) DESC, kind LIMIT ?3",
    )?;
    for layout in &mut found {
        let kinds = statement
            .query_map(params![layout.id, PIPELINE_KIND_RESERVED - 1, MAX_KINDS as i64], |row| row.get(0))?;
        layout.kinds = kinds.collect::<Result<_, _>>()?;
    }
    Ok(found)
}
