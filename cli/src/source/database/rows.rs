//! The rows of events: asked for, and read into chunks by a thread.

use super::facts::Known;
use super::file::File;
use crate::failure::Failure;
use capture_pipeline::journal::reader::{Event, Options, Order, Segment};
use rusqlite::Row;
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::SyncSender;

/// The most events of a chunk, and the bytes of payloads after which it is full.
const EVENTS: usize = 4_096;
const BYTES: usize = 1 << 20;

/// An event, but for its payload.
struct Fields {
    ring_id: u64,
    sequence: u64,
    timestamp_ns: u64,
    realtime_ns: u64,
    correlation_id: u64,
    node_id: u64,
    kind: u32,
    flags: u32,
    weight: f64,
    segment: usize,
    /// Where its payload ends among those of the chunk.
    end: usize,
}

/// Some events.
#[derive(Default)]
pub struct Chunk {
    events: Vec<Fields>,
    payloads: Vec<u8>,
}

impl Chunk {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// One of them.
    #[inline]
    pub fn event(&self, at: usize, segments: &[Segment]) -> Event<'_> {
        let fields = &self.events[at];
        let start = at.checked_sub(1).map_or(0, |before| self.events[before].end);
        Event {
            generation: segments[fields.segment].header.generation,
            ring_id: fields.ring_id,
            sequence: fields.sequence,
            timestamp_ns: fields.timestamp_ns,
            realtime_ns: fields.realtime_ns,
            correlation_id: fields.correlation_id,
            node_id: fields.node_id,
            kind: fields.kind,
            flags: fields.flags,
            weight: fields.weight,
            segment: fields.segment,
            payload: &self.payloads[start..fields.end],
        }
    }
}

/// The events that are asked for.
pub struct Rows {
    file: File,
    sql: String,
    /// The places of runs, by their numbers in the database.
    places: HashMap<i64, usize>,
    options: Options,
}

/// What is added to the times of each run, so that those of a later boot of the machine come behind those of an earlier one, as for a journal.
fn shifts(segments: &[Segment]) -> Vec<u64> {
    let boot = |run: &Segment| match run.header.owner.boot_id {
        id if id == [0; 16] => u128::from(run.header.generation),
        id => u128::from_le_bytes(id),
    };
    let mut boots = BTreeMap::new();
    for run in segments {
        let base = run.header.realtime_ns.saturating_sub(run.header.monotonic_ns);
        let first = boots.entry(boot(run)).or_insert(u64::MAX);
        *first = base.min(*first);
    }
    let earliest = boots.values().copied().min().unwrap_or(0);
    segments.iter().map(|run| boots.get(&boot(run)).map_or(0, |base| base - earliest)).collect()
}

impl Rows {
    /// Those that are asked for, of the runs that are known.
    pub fn new(file: File, mut options: Options, known: &mut Known) -> Result<Self, Failure> {
        if let Some(kinds) = &mut options.kinds {
            kinds.sort_unstable();
        }
        let mut wanted = Vec::new();
        if let Some(id) = options.correlation_id {
            wanted.push(format!("e.correlation_id = {}", id.cast_signed()));
        }
        if options.generation.is_some() {
            let runs: Vec<String> = known.places.keys().map(i64::to_string).collect();
            wanted.push(format!("e.run IN ({})", runs.join(",")));
        }
        // (Others are compared when they are read, and so are these: an index may find them at once.)
        if known.is_signed {
            let (from, until) = (options.from_realtime_ns, options.to_realtime_ns);
            wanted.extend(
                (from > 0).then(|| format!("e.wall_ns >= {}", i64::try_from(from).unwrap_or(i64::MAX))),
            );
            wanted.extend(i64::try_from(until).ok().map(|until| format!("e.wall_ns < {until}")));
        }
        let mut sql = "SELECT e.run, e.ring_id, e.sequence, e.time_ns, e.wall_ns, e.correlation_id, e.node_id, e.kind, e.flags, e.weight, e.payload FROM events e"
            .to_owned();
        let order = match options.order {
            // In which they were stored.
            Order::Stored => "e.id".to_owned(),
            Order::Time if known.segments.len() == 1 => {
                format!(
                    "{}e.time_ns, e.ring_id, e.sequence",
                    if known.is_signed { "" } else { "e.time_ns < 0, " }
                )
            }
            Order::Time => {
                Self::rank(&file, known).map_err(|error| file.failed(&error))?;
                sql += " JOIN temp.ranks k ON k.run = e.run";
                let time = "e.time_ns + k.shift";
                let is_late = if known.is_signed { String::new() } else { format!("{time} < 0, ") };
                format!("{is_late}{time}, k.rank, e.ring_id, e.sequence")
            }
        };
        if !wanted.is_empty() {
            sql += &format!(" WHERE {}", wanted.join(" AND "));
        }
        sql += &format!(" ORDER BY {order}");
        Ok(Self { file, sql, places: std::mem::take(&mut known.places), options })
    }

    /// Makes a temporary table with the place of each run in the order of generations, and what is added to its times.
    fn rank(file: &File, known: &Known) -> rusqlite::Result<()> {
        let shifts = shifts(&known.segments);
        let mut runs: Vec<_> =
            known.places.iter().map(|(run, at)| (known.segments[*at].header.generation, *run, *at)).collect();
        runs.sort_unstable();
        file.connection
            .execute_batch("CREATE TEMP TABLE ranks(run INTEGER PRIMARY KEY, rank INTEGER, shift INTEGER)")?;
        let mut insert = file.connection.prepare("INSERT INTO temp.ranks VALUES(?1, ?2, ?3)")?;
        for (rank, (_, run, at)) in runs.into_iter().enumerate() {
            insert.execute((run, rank as i64, shifts[at].cast_signed()))?;
        }
        Ok(())
    }

    /// Sends all of them, until nobody takes them.
    pub fn send_to(self, chunks: &SyncSender<Result<Chunk, Failure>>) {
        let sent = self.read(|chunk| chunks.send(Ok(chunk)).is_ok());
        // What was read last may be of another state of the file.
        if let Err(failure) = sent.and_then(|()| self.file.check()) {
            // (Nobody is there to hear it.)
            let _ = chunks.send(Err(failure));
        }
    }

    fn read(&self, mut send: impl FnMut(Chunk) -> bool) -> Result<(), Failure> {
        let failed = |error| self.file.failed(&error);
        let mut statement = self.file.connection.prepare(&self.sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut chunk = Chunk::default();
        while let Some(row) = rows.next().map_err(failed)? {
            self.add(row, &mut chunk)?;
            if (chunk.events.len() >= EVENTS || chunk.payloads.len() >= BYTES)
                && !send(std::mem::take(&mut chunk))
            {
                return Ok(());
            }
        }
        if chunk.len() > 0 {
            send(chunk);
        }
        Ok(())
    }

    fn add(&self, row: &Row<'_>, chunk: &mut Chunk) -> Result<(), Failure> {
        let number = |column: usize| {
            row.get_ref(column)
                .ok()
                .and_then(|value| value.as_i64().ok())
                .map(i64::cast_unsigned)
                .ok_or_else(|| self.file.strange("a number of an event is none"))
        };
        let small = |column: usize| {
            u32::try_from(number(column)?)
                .map_err(|_| self.file.strange("the kind or the flags of an event are no 32 bits"))
        };
        let (kind, correlation_id, realtime_ns) = (small(7)?, number(5)?, number(4)?);
        let is_of_kind = |kinds: &Vec<u32>| kinds.binary_search(&kind).is_ok();
        let (from, until) = (self.options.from_realtime_ns, self.options.to_realtime_ns);
        if !self.options.kinds.as_ref().is_none_or(is_of_kind)
            || realtime_ns < from
            || (realtime_ns >= until && until != u64::MAX)
        {
            return Ok(());
        }
        let run = number(0)?.cast_signed();
        let segment = *self
            .places
            .get(&run)
            .ok_or_else(|| self.file.strange("an event is of a run that is not in it"))?;
        // NaN is kept as NULL.
        let weight: Option<f64> =
            row.get(9).map_err(|_| self.file.strange("the weight of an event is no number"))?;
        let payload = row.get_ref(10).ok().and_then(|value| value.as_blob().ok());
        let payload = payload.ok_or_else(|| self.file.strange("the payload of an event is no BLOB"))?;
        chunk.payloads.extend_from_slice(payload);
        chunk.events.push(Fields {
            ring_id: number(1)?,
            sequence: number(2)?,
            timestamp_ns: number(3)?,
            realtime_ns,
            correlation_id,
            node_id: number(6)?,
            kind,
            flags: small(8)?,
            weight: weight.unwrap_or(f64::NAN),
            segment,
            end: chunk.payloads.len(),
        });
        Ok(())
    }
}
