//! Draws a timeline as packets of a trace.

use crate::export::pieces::Pieces;
use crate::failure::Failure;
use crate::journal::Found;
use crate::timeline::rows::{RowOf, Rows};
use crate::timeline::{Drawing, Note, Why};
use capture_pipeline::formats::perfetto::{
    About, Annotations, Encoder, Event, KindNames, Mark, NameOf, Names, OwnNames, Sequence, Track, TrackKind,
    Unit, annotate,
};
use capture_pipeline::kinds::{Hint, Value};
use flate2::{Compress, Compression, FlushCompress, Status};

/// The file is written in pieces of this size.
const PIECE: usize = 256 << 10;
/// The sequences of rows have numbers from here on: the encoder has 1 for itself.
const FIRST_SEQUENCE: u32 = 2;

/// See the module.
pub struct Trace {
    pieces: Pieces,
    encoder: Encoder,
    names: Names,
    own: OwnNames,
    /// The names of kinds, by their places.
    kinds: Vec<Option<KindNames>>,
    /// The sequences of rows, by their places.
    sequences: Vec<Sequence>,
    /// The processes that are described in the file.
    processes: Vec<bool>,
    /// The threads that are described in the file.
    threads: Vec<bool>,
    payload: Option<bool>,
    compressor: Option<Compressor>,
}

/// Makes one packet of many, which is a quarter as large and less.
struct Compressor {
    zlib: Compress,
    compressed: Vec<u8>,
    start: Vec<u8>,
}

impl Compressor {
    fn new() -> Self {
        Self { zlib: Compress::new(Compression::fast(), true), compressed: Vec::new(), start: Vec::new() }
    }

    /// The packet, in two parts.
    fn compress(&mut self, packets: &[u8]) -> Result<[&[u8]; 2], Failure> {
        self.zlib.reset();
        self.compressed.clear();
        // (zlib adds five bytes for each 16 KiB that it cannot make smaller.)
        self.compressed.reserve(packets.len() + packets.len() / 1_024 + 1_024);
        let status = self.zlib.compress_vec(packets, &mut self.compressed, FlushCompress::Finish);
        if !matches!(status, Ok(Status::StreamEnd)) {
            return Err(Failure::new(format!("zlib: {status:?} for {} bytes", packets.len())));
        }
        self.start.clear();
        Encoder::compressed(&mut self.start, self.compressed.len());
        Ok([&self.start, &self.compressed])
    }
}

impl Trace {
    /// Writes to these files. `payload`: whether payloads are shown: always, never, or where their fields do not tell what they are.
    pub fn new(pieces: Pieces, payload: Option<bool>, compresses: bool) -> Self {
        let mut names = Names::default();
        let own = OwnNames::new(&mut names);
        Self {
            pieces,
            encoder: Encoder::default(),
            names,
            own,
            kinds: Vec::new(),
            sequences: Vec::new(),
            processes: Vec::new(),
            threads: Vec::new(),
            payload,
            compressor: compresses.then(Compressor::new),
        }
    }

    /// Whether there may be several files.
    #[inline]
    pub fn is_split(&self) -> bool {
        self.pieces.is_split()
    }

    /// Whether the file ends before an event of this time.
    pub fn ends_before(&mut self, ns: u64) -> bool {
        self.pieces.ends_before(ns, self.encoder.out.len())
    }

    /// The file is whole; begins another one, which says again all that it needs.
    pub fn next_file(&mut self, ns: u64) -> Result<(), Failure> {
        self.write()?;
        self.pieces.next(ns)?;
        self.sequences.iter_mut().for_each(Sequence::restart);
        self.processes.clear();
        self.threads.clear();
        Ok(())
    }

    /// Writes what was drawn, if it is enough.
    #[inline]
    pub fn write_some(&mut self) -> Result<(), Failure> {
        if self.encoder.out.len() >= PIECE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Failure> {
        match &mut self.compressor {
            Some(compressor) if !self.encoder.out.is_empty() => {
                for part in compressor.compress(&self.encoder.out)? {
                    self.pieces.put(part)?;
                }
            }
            _ => self.pieces.put(&self.encoder.out)?,
        }
        self.encoder.out.clear();
        // One large event does not take its memory for ever.
        self.encoder.out.shrink_to(4 * PIECE);
        Ok(())
    }

    /// The last file is whole.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.write()?;
        self.pieces.finish()
    }

    /// Prepares a row.
    #[inline]
    fn prepare(&mut self, rows: &Rows, row: usize) {
        if self.sequences.get(row).is_none_or(|sequence| !sequence.has_begun()) {
            self.describe(rows, row);
        }
    }

    /// Prepares the names of a kind.
    #[inline]
    fn prepare_kind(&mut self, found: &Found<'_>) -> Result<(), Failure> {
        if self.kinds.get(found.kind_at).is_none_or(Option::is_none) || found.kind.is_rest {
            if self.kinds.len() <= found.kind_at {
                self.kinds.resize_with(found.kind_at + 1, || None);
            }
            let kind = found.kind;
            let names = KindNames::new(&mut self.names, &kind.label(), kind.definition.as_ref());
            let no_memory = |_| Failure::new(format!("kind {}: no memory for its names", kind.number));
            self.kinds[found.kind_at] = Some(names.map_err(no_memory)?);
        }
        Ok(())
    }

    #[cold]
    fn describe(&mut self, rows: &Rows, at: usize) {
        while self.sequences.len() <= at {
            let number = FIRST_SEQUENCE + self.sequences.len() as u32;
            self.sequences.push(Sequence::new(number, rows.get(self.sequences.len()).uuid));
        }
        let row = rows.get(at);
        let process = rows.process_of(row.of);
        if is_first(&mut self.processes, process) {
            let process = &rows.places.processes[process];
            let kind = TrackKind::Process { pid: process.pid };
            self.encoder.describe(&Track { uuid: process.uuid, parent: 0, name: &process.program, kind });
        }
        let kind = match row.of {
            RowOf::Thread(thread) => return self.describe_thread(rows, thread),
            RowOf::Counter(_, Hint::Bytes) => TrackKind::Counter(Unit::Bytes),
            RowOf::Counter(_, Hint::Nanoseconds) => TrackKind::Counter(Unit::Nanoseconds),
            RowOf::Counter(..) => TrackKind::Counter(Unit::Named(&row.unit)),
            RowOf::Lane(_) | RowOf::Deeper(_) | RowOf::Losses(_) | RowOf::Totals(_) => TrackKind::Events,
        };
        let parent = match row.of {
            RowOf::Lane(thread) | RowOf::Deeper(thread) | RowOf::Losses(thread) => {
                self.describe_thread(rows, thread);
                rows.places.threads[thread].uuid
            }
            _ => rows.places.processes[process].uuid,
        };
        self.encoder.describe(&Track { uuid: row.uuid, parent, name: row.name.as_bytes(), kind });
    }

    fn describe_thread(&mut self, rows: &Rows, at: usize) {
        if !is_first(&mut self.threads, at) {
            return;
        }
        let thread = &rows.places.threads[at];
        let process = &rows.places.processes[thread.process];
        let kind = match thread.tid {
            Some(tid) => TrackKind::Thread { pid: process.pid, tid },
            None => TrackKind::Events,
        };
        self.encoder.describe(&Track { uuid: thread.uuid, parent: process.uuid, name: &thread.name, kind });
    }

    fn event(
        &mut self,
        rows: &Rows,
        row: usize,
        event: Event<'_>,
        found: &Found<'_>,
        note: Note,
    ) -> Result<(), Failure> {
        self.prepare(rows, row);
        self.prepare_kind(found)?;
        let Some(Some(names)) = self.kinds.get(found.kind_at) else { return Ok(()) };
        // A name at the end of a slice would be a condition.
        let is_named = event.mark != Mark::End;
        let label = found.kind.own_label(found.event.payload).filter(|_| is_named);
        let label = label.map(|label| self.names.name(NameOf::Event, label));
        let name = is_named.then_some(label.as_ref().unwrap_or(&names.name));
        let event = Event { name, category: names.category.as_ref().filter(|_| is_named), ..event };
        let own = &self.own;
        let about = About {
            payload: found.event.payload,
            shows_payload: self.payload.unwrap_or_else(|| !found.kind.fits(found.event.payload)),
            correlation_id: found.event.correlation_id,
            node_id: found.event.node_id,
            weight: found.event.weight,
            flags: found.event.flags,
        };
        self.encoder.event(&mut self.sequences[row], event, |annotations| {
            annotate(annotations, own, names, found.kind.definition.as_ref(), &about);
            match note {
                Note::None => {}
                Note::Continued => annotations.value(&own.continued, Value::Bool(true)),
                Note::Unpaired => annotations.value(&own.unpaired, Value::Bool(true)),
            }
        });
        Ok(())
    }
}

/// Whether it is seen for the first time.
fn is_first(seen: &mut Vec<bool>, at: usize) -> bool {
    if seen.len() <= at {
        seen.resize(at + 1, false);
    }
    !std::mem::replace(&mut seen[at], true)
}

impl Drawing for Trace {
    fn clocks(&mut self, ns: u64, realtime_ns: u64) {
        self.encoder.clocks(ns, realtime_ns);
    }

    fn begin(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        note: Note,
    ) -> Result<(), Failure> {
        self.event(rows, row, Event::new(ns, Mark::Begin), found, note)
    }

    fn end(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        by: Result<Option<&Found<'_>>, Why>,
    ) -> Result<(), Failure> {
        let event = Event::new(ns, Mark::End);
        match by {
            Ok(Some(found)) => self.event(rows, row, event, found, Note::None)?,
            Ok(None) => {
                self.prepare(rows, row);
                self.encoder.event(&mut self.sequences[row], event, |_| {});
            }
            Err(why) => {
                self.prepare(rows, row);
                let why = self.names.name(NameOf::Text, why.name().as_bytes());
                let truncated = &self.own.truncated;
                let annotate = |annotations: &mut Annotations<'_>| annotations.one_of(truncated, &why);
                self.encoder.event(&mut self.sequences[row], event, annotate);
            }
        }
        Ok(())
    }

    fn instant(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        flow: u64,
        note: Note,
    ) -> Result<(), Failure> {
        self.event(rows, row, Event { flow, ..Event::new(ns, Mark::Instant) }, found, note)
    }

    fn number(&mut self, rows: &Rows, row: usize, ns: u64, value: Value<'_>) -> Result<(), Failure> {
        self.prepare(rows, row);
        self.encoder.counter(&mut self.sequences[row], ns, value);
        Ok(())
    }

    fn lost(
        &mut self,
        rows: &Rows,
        row: usize,
        times: (u64, u64),
        counts: &[(&str, u64)],
    ) -> Result<(), Failure> {
        self.prepare(rows, row);
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, count)| (self.names.name(NameOf::Annotation, name.as_bytes()), *count))
            .collect();
        let (name, category) = (Some(&self.own.lost), Some(&self.own.losses));
        let sequence = &mut self.sequences[row];
        let event = Event { name, category, ..Event::new(times.0, Mark::Begin) };
        self.encoder.event(sequence, event, |annotations| {
            counts.iter().for_each(|(name, count)| annotations.unsigned(name, *count));
        });
        self.encoder.event(sequence, Event::new(times.1, Mark::End), |_| {});
        Ok(())
    }
}
