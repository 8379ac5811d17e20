//! CTF 1.8, the Common Trace Format: a directory with a trace for each run, which babeltrace2 and Trace Compass open.
//!
//! The format: <https://diamon.org/ctf/v1.8.3/>.

mod fields;
mod metadata;
mod stream;

use super::Exporter;
use super::folder::Folder;
use crate::damage::some;
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use crate::messages::tell;
use crate::timeline::LAST_TIME;
use crate::timeline::gaps::Gaps;
use crate::timeline::places::Places;
use capture_pipeline::event::PIPELINE_EVENT_OWN_TIME;
use fields::Class;
use metadata::Metadata;
use std::collections::HashMap;
use stream::Stream;

/// All packets that are being filled have at most so many bytes.
const MOST_BYTES: usize = 64 << 20;

/// See the module.
pub struct Ctf {
    folder: Folder,
    payload: Option<bool>,
    places: Places,
    gaps: Gaps,
    runs: Vec<Run>,
    of_generation: HashMap<u64, usize>,
    /// The classes of a kind's events, by its place in the journal's list.
    classes: Vec<[Option<Class>; 2]>,
    /// The bytes of all packets.
    bytes: usize,
    /// Events whose time is before that of an earlier one of their stream.
    moved: u64,
    /// Events that are left out, because their times are beyond [`LAST_TIME`].
    too_late: u64,
    event: Vec<u8>,
}

/// A run: a trace of its own, because the clock of each shows another time.
struct Run {
    generation: u64,
    /// The events that the library has stamped, and those that brought their own time, which would otherwise put off the times of the others.
    streams: [Stream; 2],
    metadata: Metadata,
}

impl Ctf {
    /// Writes into this directory.
    pub fn new(folder: Folder, journal: &Journal, payload: Option<bool>) -> Self {
        Self {
            folder,
            payload,
            places: Places::new(journal),
            gaps: Gaps::new(journal),
            runs: Vec::new(),
            of_generation: HashMap::new(),
            classes: Vec::new(),
            bytes: 0,
            moved: 0,
            too_late: 0,
            event: Vec::new(),
        }
    }

    /// The place of the run of an event.
    #[inline]
    fn run(&mut self, found: &Found<'_>, ring: usize) -> Result<usize, Failure> {
        match self.of_generation.get(&found.event.generation) {
            Some(run) => Ok(*run),
            None => self.add_run(found, ring),
        }
    }

    #[cold]
    fn add_run(&mut self, found: &Found<'_>, ring: usize) -> Result<usize, Failure> {
        let generation = found.event.generation;
        let process = &self.places.processes[self.places.threads[self.places.rings[ring].thread].process];
        let metadata = Metadata::new(process, found.event);
        let streams = ["events", "events-with-own-time"]
            .map(|name| Stream::new(&directory(generation), name, metadata.uuid()));
        self.runs.push(Run { generation, streams, metadata });
        self.of_generation.insert(generation, self.runs.len() - 1);
        Ok(self.runs.len() - 1)
    }

    /// Notes what is missing before an event.
    #[inline]
    fn check(&mut self, found: &Found<'_>, ring: usize, run: usize) -> Result<(), Failure> {
        let ns = found.event.timestamp_ns;
        match self.gaps.before(&mut self.places.rings[ring], ns, found.event) {
            None => Ok(()),
            Some((_, count)) => {
                let stream = &mut self.runs[run].streams[0];
                self.bytes -= stream.len();
                stream.discard(&self.folder, count, ns)
            }
        }
    }

    /// The class of an event: that of its kind if the payload has all fields, or else one that only has the payload.
    fn class(&mut self, found: &Found<'_>, run: usize) -> &Class {
        if self.classes.len() <= found.kind_at {
            self.classes.resize_with(found.kind_at + 1, || [None, None]);
        }
        let typed = found.kind.definition.is_some() && !found.kind.is_rest && has_all_fields(found);
        let classes = &mut self.classes[found.kind_at];
        // One that stands for several kinds has a class that tells them by a field.
        let metadata = &mut self.runs[run].metadata;
        classes[usize::from(typed)].get_or_insert_with(|| metadata.class(found.kind, typed, self.payload))
    }

    /// Writes packets if there are too many bytes of them.
    #[inline]
    fn write_some(&mut self, run: usize, stream: usize) -> Result<(), Failure> {
        let stream = &mut self.runs[run].streams[stream];
        if stream.is_full() {
            self.bytes -= stream.len();
            stream.write(&self.folder)?;
        }
        if self.bytes > MOST_BYTES {
            for stream in self.runs.iter_mut().flat_map(|run| &mut run.streams) {
                stream.write(&self.folder)?;
            }
            self.bytes = 0;
        }
        Ok(())
    }
}

/// The directory of a run's trace.
fn directory(generation: u64) -> String {
    format!("run-{generation:016x}")
}

fn has_all_fields(found: &Found<'_>) -> bool {
    let fields = found.kind.definition.iter().flat_map(|definition| &definition.fields);
    fields.into_iter().all(|field| field.bytes(found.event.payload).is_some())
}

impl Exporter for Ctf {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        let ring = self.places.find(&found);
        let run = self.run(&found, ring)?;
        self.check(&found, ring, run)?;
        if found.event.realtime_ns > LAST_TIME || found.event.timestamp_ns > LAST_TIME {
            self.too_late += 1;
            return Ok(());
        }
        let mut event = std::mem::take(&mut self.event);
        event.clear();
        self.class(&found, run).write(&mut event, &found);
        let at = usize::from(found.event.flags & PIPELINE_EVENT_OWN_TIME != 0);
        let stream = &mut self.runs[run].streams[at];
        self.bytes -= stream.len();
        self.moved += u64::from(stream.add(&event, found.event.timestamp_ns));
        self.bytes += stream.len();
        self.event = event;
        self.write_some(run, at)
    }

    fn skip(&mut self, found: Found<'_>) -> Result<(), Failure> {
        let ring = self.places.find(&found);
        match self.of_generation.get(&found.event.generation) {
            Some(run) => self.check(&found, ring, *run),
            // What is missing before the first event that was asked for is in none of its packets.
            None => {
                let ns = found.event.timestamp_ns;
                self.gaps.before(&mut self.places.rings[ring], ns, found.event);
                Ok(())
            }
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        if self.runs.is_empty() {
            return Err(Failure::new(
                "no event was asked for that is in the journal: a trace without a run cannot be written",
            ));
        }
        for run in &mut self.runs {
            let lost: u64 = self
                .gaps
                .totals()
                .filter(|(of, _)| **of == run.generation)
                .flat_map(|(_, counts)| counts)
                .map(|(_, count)| *count)
                .sum();
            let [stamped, own] = &mut run.streams;
            stamped.finish(&self.folder, lost)?;
            own.finish(&self.folder, 0)?;
            let metadata = self.folder.append(&directory(run.generation), "metadata");
            metadata?.put(run.metadata.text().as_bytes())?;
        }
        self.folder.commit()?;
        if let Some(moved) = some(self.moved, "event has", "events have") {
            tell(format_args!(
                "{moved} the time of the event before, which is later than their own: times rise in a trace"
            ));
        }
        if let Some(left_out) = some(self.too_late, "event is", "events are") {
            tell(format_args!("{left_out} left out: readers take no times of 2^63 ns and more"));
        }
        Ok(())
    }
}
