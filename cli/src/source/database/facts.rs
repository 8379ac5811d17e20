//! What a database says about its events: runs, rings, names, definitions, threads, clocks, attributes.

use super::file::File;
use crate::failure::Failure;
use capture_pipeline::event::ClockFacts;
use capture_pipeline::journal::format::segment::{Owner, SegmentHeader};
use capture_pipeline::journal::reader::{
    Attribute, Deleted, Facts, Losses, RingEvents, Seal, Segment, State, Thread,
};
use capture_pipeline::kinds::Definition;
use rusqlite::Row;
use std::collections::HashMap;
use std::path::PathBuf;

/// The most rings that are listed, as of a journal.
const MOST_RINGS: usize = 65_536;
/// What a fact takes beside its bytes.
const ENTRY: usize = 128;

/// What is known when a database is open.
#[derive(Default)]
pub struct Known {
    /// A segment for each run, with what the database says about it.
    pub segments: Vec<Segment>,
    /// The places of runs among the segments, by their numbers in the database.
    pub places: HashMap<i64, usize>,
    /// Whether all times are below 2^63, so that the database's order is that of the times.
    pub is_signed: bool,
    pub facts: Facts,
    pub losses: Losses,
    pub rings: Vec<RingEvents>,
    bytes: usize,
}

/// Reads all that is known; of one run alone, if that is asked for.
pub fn read(file: &File, generation: Option<u64>) -> Result<Known, Failure> {
    let mut known = Known { is_signed: true, ..Known::default() };
    known.runs(file, generation)?;
    known.rings(file)?;
    known.times(file)?;
    known.facts(file)?;
    Ok(known)
}

/// Calls `act` for each row of a query, with the run that its first column names, if that is wanted.
fn each(
    file: &File,
    known: &mut Known,
    sql: &str,
    mut act: impl FnMut(&mut Known, u64, usize, &Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), Failure> {
    let mut read = || {
        let mut statement = file.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(at) = known.places.get(&row.get(0)?).copied() {
                let generation = known.segments[at].header.generation;
                act(known, generation, at, row)?;
            }
        }
        Ok(())
    };
    read().map_err(|error| file.failed(&error))
}

/// The bytes of a boot's id. All 0: unknown.
fn boot_id(text: &str) -> [u8; 16] {
    u128::from_str_radix(&text.replace('-', ""), 16).unwrap_or(0).to_be_bytes()
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

impl Known {
    fn runs(&mut self, file: &File, wanted: Option<u64>) -> Result<(), Failure> {
        let mut read = || {
            let mut statement = file.connection.prepare(
                "SELECT id, generation, pid, program, boot_id, first_wall_ns, first_time_ns, deleted, conflicts FROM runs ORDER BY id",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let generation = unsigned(row, 1)?;
                if wanted.is_some_and(|wanted| wanted != generation) {
                    continue;
                }
                let owner = Owner {
                    boot_id: boot_id(&row.get::<_, String>(4)?),
                    pid: row.get(2)?,
                    // A process id may be used again, and two programs in containers may have the same: each run is a process of its own.
                    start_time: generation,
                    ..Owner::default()
                };
                let header = SegmentHeader {
                    generation,
                    owner,
                    realtime_ns: unsigned(row, 5)?,
                    monotonic_ns: unsigned(row, 6)?,
                    program: row.get::<_, String>(3)?.into_bytes(),
                    ..SegmentHeader::default()
                };
                let events = unsigned(row, 7)?;
                if events > 0 {
                    self.facts.deleted.insert(generation, Deleted { events, ..Deleted::default() });
                }
                self.losses.contradictions += unsigned(row, 8)?;
                self.places.insert(row.get(0)?, self.segments.len());
                self.segments.push(Segment {
                    path: PathBuf::new(),
                    header,
                    size: 0,
                    state: State::Sealed(Seal::default()),
                    blocks: 0,
                    events: 0,
                    stored_bytes: 0,
                    raw_bytes: 0,
                    times_ns: (u64::MAX, 0),
                    realtimes_ns: (u64::MAX, 0),
                });
            }
            Ok(())
        };
        read().map_err(|error| file.failed(&error))
    }

    fn rings(&mut self, file: &File) -> Result<(), Failure> {
        let sql =
            "SELECT run, ring_id, min(sequence), max(sequence), count(*) FROM events GROUP BY run, ring_id";
        each(file, self, sql, |known, generation, at, row| {
            let events = unsigned(row, 4)?;
            known.segments[at].events += events;
            if known.rings.len() < MOST_RINGS {
                known.rings.push(RingEvents {
                    generation,
                    ring_id: unsigned(row, 1)?,
                    first_sequence: unsigned(row, 2)?,
                    last_sequence: unsigned(row, 3)?,
                    events,
                });
            }
            Ok(())
        })
    }

    /// The first and the last times. Those of the only run are found by the indexes on times, if there are any.
    fn times(&mut self, file: &File) -> Result<(), Failure> {
        let runs: i64 = file
            .connection
            .query_row("SELECT count(*) FROM runs", [], |row| row.get(0))
            .map_err(|error| file.failed(&error))?;
        let sql = if runs == 1 {
            "SELECT (SELECT min(id) FROM runs), (SELECT min(time_ns) FROM events), (SELECT max(time_ns) FROM events), \
             (SELECT min(wall_ns) FROM events), (SELECT max(wall_ns) FROM events)"
        } else {
            "SELECT run, min(time_ns), max(time_ns), min(wall_ns), max(wall_ns) FROM events GROUP BY run"
        };
        let mut is_signed = true;
        each(file, self, sql, |known, _, at, row| {
            let segment = &mut known.segments[at];
            if segment.events == 0 {
                return Ok(());
            }
            let mut span = |first: usize| {
                let (least, most) = (row.get::<_, i64>(first)?, row.get::<_, i64>(first + 1)?);
                is_signed &= least >= 0;
                // One above 2^63 is kept as a negative number.
                Ok::<_, rusqlite::Error>(match (least >= 0, most >= 0) {
                    (true, _) => (least.cast_unsigned(), most.cast_unsigned()),
                    (false, true) => (0, u64::MAX),
                    (false, false) => (least.cast_unsigned(), most.cast_unsigned()),
                })
            };
            segment.times_ns = span(1)?;
            segment.realtimes_ns = span(3)?;
            Ok(())
        })?;
        self.is_signed = is_signed;
        Ok(())
    }

    /// Whether there is room for a fact of so many bytes.
    fn has_room(&mut self, bytes: usize) -> bool {
        self.bytes += bytes.saturating_add(ENTRY);
        let has_room = self.bytes <= Facts::MAX_BYTES;
        self.losses.facts_left_out += u64::from(!has_room);
        has_room
    }

    fn facts(&mut self, file: &File) -> Result<(), Failure> {
        // The names of kinds are the same for all runs.
        let sql = "SELECT r.id, k.kind, k.name FROM kinds k CROSS JOIN runs r WHERE k.kind BETWEEN 0 AND 4294967295";
        each(file, self, sql, |known, generation, _, row| {
            let name: String = row.get(2)?;
            if known.has_room(name.len()) {
                known.facts.kind_names.insert((generation, row.get(1)?), name.into_bytes());
            }
            Ok(())
        })?;
        let sql = "SELECT run, ring_id, tid, name FROM threads";
        each(file, self, sql, |known, generation, _, row| {
            let name: String = row.get(3)?;
            if known.has_room(name.len()) {
                let thread = Thread { thread_id: unsigned(row, 2)?, name: name.into_bytes() };
                known.facts.threads.insert((generation, unsigned(row, 1)?), thread);
            }
            Ok(())
        })?;
        if file.version >= 2 {
            self.clocks(file)?;
        }
        if file.version >= 3 {
            self.definitions(file)?;
        }
        if file.version < 4 {
            return Ok(());
        }
        each(file, self, "SELECT run, name, value FROM run_attributes", |known, generation, _, row| {
            let (name, value): (String, String) = (row.get(1)?, row.get(2)?);
            if known.has_room(name.len() + value.len()) {
                let attribute = Attribute::new(value.into_bytes());
                known.facts.attributes.insert((generation, name.into_bytes()), attribute);
            }
            Ok(())
        })
    }

    fn clocks(&mut self, file: &File) -> Result<(), Failure> {
        let sql = "SELECT run, time_ns, wall_ns, clock, ticks, ticks_hz, boot_id, pid FROM clocks ORDER BY run, time_ns";
        each(file, self, sql, |known, generation, _, row| {
            let clock = ClockFacts {
                struct_size: ClockFacts::SIZE as u32,
                clock: row.get(3)?,
                monotonic_ns: unsigned(row, 1)?,
                realtime_ns: unsigned(row, 2)?,
                ticks: unsigned(row, 4)?,
                ticks_hz: unsigned(row, 5)?,
                boot_id: boot_id(&row.get::<_, String>(6)?),
                pid: row.get(7)?,
                reserved: 0,
            };
            // The last one holds.
            known.facts.clocks.insert(generation, clock);
            Ok(())
        })
    }

    fn definitions(&mut self, file: &File) -> Result<(), Failure> {
        let sql = "SELECT k.run, k.kind, d.definition FROM defined_kinds k JOIN definitions d ON d.id = k.definition";
        each(file, self, sql, |known, generation, _, row| {
            let bytes: Vec<u8> = row.get(2)?;
            let kind = u32::try_from(row.get::<_, i64>(1)?).ok();
            match Definition::from_bytes(&bytes) {
                Ok(definition) if Some(definition.kind) == kind => {
                    // What the fields take in memory is some times what they take here.
                    if known.has_room(4 * bytes.len()) {
                        known.facts.definitions.insert((generation, definition.kind), definition);
                    }
                }
                _ => known.losses.unreadable_facts += 1,
            }
            Ok(())
        })
    }
}
