//! Reads the events of a folder in the order of time: from the journal, or from databases.

use crate::event::Event;
use crate::folder::Folder;
use crate::ledger::clean;
use crate::progress::Progress;
use capture_pipeline::journal::reader::{Options, Order, Reader};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// What was read beside the events.
#[derive(Debug, Default)]
pub struct Read {
    pub events: u64,
    /// The bytes of the files.
    pub bytes: u64,
    /// Events that were stored more than once.
    pub duplicates: u64,
    /// What is damaged or missing, a line each.
    pub losses: Vec<String>,
}

/// Reads everything, in the order of time.
pub fn read(folder: &Folder, each: &mut dyn FnMut(&Event<'_>) -> Result<(), String>) -> Result<Read, String> {
    let mut read = Read::default();
    let mut progress = Progress::new("reading");
    if let Some(journal) = &folder.journal {
        read_journal(journal, each, &mut read, &mut progress)?;
    }
    for database in &folder.databases {
        read_database(database, each, &mut read, &mut progress)?;
    }
    Ok(read)
}

fn read_journal(
    path: &Path,
    each: &mut dyn FnMut(&Event<'_>) -> Result<(), String>,
    read: &mut Read,
    progress: &mut Progress,
) -> Result<(), String> {
    let failed =
        |error: capture_pipeline::status::Error| format!("{}: {error}", clean(&path.to_string_lossy()));
    let options = Options { order: Order::Time, ..Options::default() };
    let mut reader = Reader::open(path, options).map_err(failed)?;
    read.bytes += reader.segments().map(|segment| segment.size).sum::<u64>();
    loop {
        if read.events.is_multiple_of(65_536) {
            let so_far = reader.progress();
            progress.show(so_far.done_bytes, so_far.total_bytes);
        }
        let Some(event) = reader.next().map_err(failed)? else { break };
        read.events += 1;
        each(&Event {
            run: event.generation,
            ring: event.ring_id,
            sequence: event.sequence,
            time_ns: event.timestamp_ns,
            kind: event.kind,
            correlation_id: event.correlation_id,
            node_id: event.node_id,
            payload: event.payload,
        })?;
    }
    progress.done();
    let mut losses = reader.losses().clone();
    losses.facts_left_out = 0; // definitions of kinds, of hundreds of processes: the report knows the kinds by itself
    read.duplicates += losses.duplicates;
    read.losses.extend(losses.to_string().lines().map(str::to_owned));
    Ok(())
}

fn read_database(
    path: &Path,
    each: &mut dyn FnMut(&Event<'_>) -> Result<(), String>,
    read: &mut Read,
    progress: &mut Progress,
) -> Result<(), String> {
    let shown = clean(&path.to_string_lossy());
    let failed = |error: rusqlite::Error| format!("{shown}: {error}");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let database = Connection::open_with_flags(path, flags).map_err(failed)?;
    // The views and triggers of a file must not call functions of this program.
    database.pragma_update(None, "trusted_schema", false).map_err(failed)?;
    read.bytes += path.metadata().map_or(0, |metadata| metadata.len());
    let count = |sql: &str| {
        database.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned).map_err(failed)
    };
    if count("SELECT count(*) FROM sqlite_master WHERE name = 'events'")? == 0 {
        return Ok(()); // its process was killed before the tables were made
    }
    let total = count("SELECT count(*) FROM events")?;
    let mut rows = database
        .prepare(
            "SELECT generation, ring_id, sequence, time_ns, kind, correlation_id, node_id, payload FROM events \
             JOIN runs ON runs.id = run ORDER BY time_ns, ring_id, sequence",
        )
        .map_err(failed)?;
    let mut rows = rows.query([]).map_err(failed)?;
    let mut done = 0_u64;
    while let Some(row) = rows.next().map_err(failed)? {
        let unsigned = |index| row.get::<_, i64>(index).map(i64::cast_unsigned).map_err(failed);
        let payload = row.get_ref(7).map_err(failed)?;
        if done.is_multiple_of(65_536) {
            progress.show(done, total);
        }
        done += 1;
        read.events += 1;
        each(&Event {
            run: unsigned(0)?,
            ring: unsigned(1)?,
            sequence: unsigned(2)?,
            time_ns: unsigned(3)?,
            kind: u32::try_from(unsigned(4)?).unwrap_or(u32::MAX),
            correlation_id: unsigned(5)?,
            node_id: unsigned(6)?,
            payload: payload.as_blob().unwrap_or_default(),
        })?;
    }
    progress.done();
    Ok(())
}
