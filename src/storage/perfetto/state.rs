//! From a batch to the end of a file.

use super::draw::{Drawer, Why};
use super::known::Known;
use super::messages::Report;
use super::options::{Options, Sync};
use super::output::{TraceFile, Unwritten, make_room};
use super::rings::{MOST_OPEN_IN_ALL, Rings};
use super::rows::Process;
use crate::batch::{BatchView, token};
use crate::event::{EventView, PIPELINE_EVENT_PRIORITY, PIPELINE_EVENT_RELEASE, PIPELINE_KIND_RESERVED};
use crate::facts::Facts;
use crate::files::failure::{Class, Failure};
use crate::files::folder::Place;
use crate::formats::perfetto::{LAST_TIME, number_of, number_of_text};
use crate::journal::format::segment::Owner;
use crate::journal::owner::{self, number_of_process};
use crate::ledger::Ledger;
use crate::platform::time;
use crate::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_RETRY, Source};
use std::sync::Arc;

/// Files that are tried for one batch. Another part of the program may close descriptors, or delete files, again and again.
const TRIES: u32 = 3;
/// So many bytes of a program's path are its name.
const PROGRAM_BYTES: usize = 512;

/// What the storage knows and has open.
pub(super) struct State {
    options: Options,
    place: Place,
    owner: Owner,
    generation: u64,
    /// The number of the next file.
    next: u64,
    file: Option<TraceFile>,
    known: Known,
    drawer: Drawer,
    rings: Rings,
    /// Slices that are open.
    opens: usize,
    /// The end of each event of the batch in the encoder's bytes, in the batch's order.
    ends: Vec<usize>,
}

impl State {
    pub fn new(options: Options, place: Place) -> Self {
        let owner = owner::own();
        let mut program = owner::program();
        program.drain(..program.len().saturating_sub(PROGRAM_BYTES));
        let process = Process { uuid: 0, pid: owner.pid, program };
        Self {
            options,
            place,
            owner,
            generation: 0,
            next: 1,
            file: None,
            known: Known::default(),
            drawer: Drawer::new(process),
            rings: Rings::default(),
            opens: 0,
            ends: Vec::new(),
        }
    }

    /// The storage belongs to a pipeline. Makes the first file.
    pub fn attach(&mut self, facts: &Arc<Facts>, generation: u64, report: &mut Report) {
        self.known.attach(facts);
        self.begin_run(generation);
        if let Err(failure) = self.make_file(report) {
            report.failed = Some(failure);
        }
    }

    fn begin_run(&mut self, generation: u64) {
        self.generation = generation;
        self.next = 1;
        self.drawer.set_generation(generation);
        let uuid = &mut self.drawer.rows.process.uuid;
        if *uuid == 0 {
            *uuid = number_of_process(&self.owner, generation);
        }
    }

    fn make_file(&mut self, report: &mut Report) -> Result<(), Failure> {
        report.deleted += make_room(&self.place, &self.options)?;
        let mode = self.options.file_mode;
        self.file = Some(TraceFile::make(&self.place, self.generation, &mut self.next, mode)?);
        Ok(())
    }

    /// Stores a batch, and answers `PIPELINE_STORE_…`.
    pub fn store(&mut self, batch: &BatchView, source: Option<&dyn Source>, report: &mut Report) -> i32 {
        match self.try_store(batch, source, report) {
            Ok(()) => PIPELINE_STORE_OK,
            Err(failure) => {
                report.failed = Some(failure);
                PIPELINE_STORE_RETRY
            }
        }
    }

    fn try_store(
        &mut self,
        batch: &BatchView,
        source: Option<&dyn Source>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        if batch.events().first().is_some_and(|event| event.kind >= PIPELINE_KIND_RESERVED) {
            return self.known.note(batch);
        }
        if batch.generation != self.generation {
            self.end_file(report);
            self.begin_run(batch.generation);
        }
        let mut events = batch.count as u64;
        for (index, event) in batch.events().iter().enumerate() {
            if let Some(why) = refusal(event) {
                report.refused = Some(why);
                events -= 1;
                token::set_rejected(batch.token, index).map_err(|_| Failure::no_memory())?;
            }
        }
        let mut tries = 1;
        loop {
            self.prepare(batch, report)?;
            let drawn = self.draw(batch, batch.count, source);
            let unwritten = match (drawn, &mut self.file) {
                (Ok(()), Some(file)) => match file.append(&self.drawer.encoder.out) {
                    Ok(()) => {
                        file.events += events;
                        self.drawer.clear();
                        self.rings.commit();
                        return Ok(());
                    }
                    Err(unwritten) => unwritten,
                },
                (Ok(()), None) => Unwritten { failure: Failure::no_memory(), kept: 0, abandoned: false },
                (Err(failure), _) => Unwritten { failure, kept: 0, abandoned: false },
            };
            let failure = self.give_up(batch, unwritten, source)?;
            // A file may have the size that the process may write; another one may have the room.
            let is_full =
                failure.errno == libc::EFBIG && self.file.as_ref().is_some_and(|file| file.end != 0);
            if tries >= TRIES || failure.class == Class::Transient && !is_full {
                return Err(failure);
            }
            if is_full {
                self.end_file(report);
            }
            tries += 1;
        }
    }

    /// The batch is not in the file, or only a part of it. `Err`: a part is, and the rest is to be tried again.
    fn give_up(
        &mut self,
        batch: &BatchView,
        unwritten: Unwritten,
        source: Option<&dyn Source>,
    ) -> Result<Failure, Failure> {
        self.rings.undo();
        self.opens = self.rings.opens();
        let Unwritten { failure, kept, abandoned } = unwritten;
        let mut whole = self.ends.partition_point(|end| *end as u64 <= kept);
        while whole > 0 && refusal(&batch.events()[whole - 1]).is_some() {
            whole -= 1;
        }
        self.drawer.restart();
        if kept > 0 && whole > 0 {
            // Drawn once more, so that what is open is known.
            if self.draw(batch, whole, source).is_ok() {
                self.rings.commit();
            }
            let _ = token::set_stored(batch.token, whole);
            self.drawer.restart();
            self.file = None;
            return Err(failure);
        }
        if abandoned {
            self.file = None;
        }
        Ok(failure)
    }

    /// There is a file, and it has room.
    fn prepare(&mut self, batch: &BatchView, report: &mut Report) -> Result<(), Failure> {
        self.rings.begin_batch();
        let is_full = self.file.as_ref().is_some_and(|file| {
            file.is_full(&self.options) || file.end != 0 && self.drawer.rows.are_too_many()
        });
        if is_full {
            self.rotate(report);
        }
        if self.file.is_none() {
            self.make_file(report)?;
        }
        if self.file.as_ref().is_some_and(|file| file.end == 0) {
            self.drawer.begin_file();
            // Before all else: the reader takes no time of a clock that it does not know.
            self.drawer.relate(batch.processed_at_ns, batch.realtime_offset_ns)?;
            for ring in self.rings.iter_mut() {
                self.drawer.resume(ring)?;
            }
        }
        for ring in self.rings.old_ones() {
            let ns = ring.stack.ns;
            self.drawer.close(ring, ns, Why::TooMany)?;
        }
        self.rings.forget_old_ones();
        Ok(())
    }

    /// Goes on in another file. If none can be made, the present one is continued.
    fn rotate(&mut self, report: &mut Report) {
        let Some(mut old) = self.file.take() else { return };
        if let Err(failure) = self.make_file(report) {
            report.warned = Some((failure, "a file is continued, because no other one can be made"));
            self.file = Some(old);
            return;
        }
        // What is open ends in the old file.
        self.drawer.clear();
        let paused = self.rings.iter_mut().try_for_each(|ring| self.drawer.pause(ring));
        let ended = paused.and_then(|()| {
            old.append(&self.drawer.encoder.out).map_err(|unwritten| unwritten.failure)?;
            old.end(&self.options)
        });
        if let Err(failure) = ended {
            report.warned = Some((failure, "a file could not be ended as it should"));
        }
        self.drawer.clear();
    }

    /// The file ends, and the next batch begins another one.
    fn end_file(&mut self, report: &mut Report) {
        if let Some(Err(failure)) = self.file.take().map(|file| file.end(&self.options)) {
            report.warned = Some((failure, "a file could not be ended as it should"));
        }
    }

    /// Makes the packets of the first events of a batch.
    fn draw(&mut self, batch: &BatchView, count: usize, source: Option<&dyn Source>) -> Result<(), Failure> {
        self.ends.clear();
        self.ends.try_reserve(count).map_err(|_| Failure::no_memory())?;
        let facts = self.known.facts();
        self.drawer.kinds.learn(&facts, &mut self.drawer.names)?;
        self.drawer.relate(batch.processed_at_ns, batch.realtime_offset_ns)?;
        let mut lost = None;
        let mut has_lost =
            || *lost.get_or_insert_with(|| source.is_none_or(|source| has_losses(&source.ledger())));
        let mut last: Option<(u64, usize)> = None;
        for event in &batch.events()[..count.min(batch.count)] {
            if refusal(event).is_none() {
                let at = match last {
                    Some((ring_id, at)) if ring_id == event.ring_id => at,
                    _ => self.find_ring(event, source)?,
                };
                last = Some((event.ring_id, at));
                let ring = self.rings.get_mut(at);
                let before = ring.stack.opens();
                self.drawer.event(ring, event, self.opens < MOST_OPEN_IN_ALL, &mut has_lost)?;
                self.opens = (self.opens + ring.stack.opens()).saturating_sub(before);
            }
            self.ends.push(self.drawer.encoder.out.len());
        }
        Ok(())
    }

    fn find_ring(&mut self, event: &EventView, source: Option<&dyn Source>) -> Result<usize, Failure> {
        let id = event.ring_id;
        if let Some(at) = self.rings.find(id)? {
            return Ok(at);
        }
        let (owner, generation) = (self.drawer.rows.process.uuid, self.generation);
        let known = self.known.thread(id, source).filter(|thread| thread.tid != 0);
        // A thread id may be used again, by a thread of another name.
        let (thread, tid, name) = match known {
            Some(thread) => {
                let number = number_of_text(number_of(&[owner, generation, thread.tid]), &thread.name);
                (number, Some(thread.tid), thread.name)
            }
            None => (number_of(&[owner, generation, id, 1]), None, format!("ring {id}").into_bytes().into()),
        };
        let is_priority = event.flags & PIPELINE_EVENT_PRIORITY != 0;
        let uuid = if is_priority { number_of(&[thread, id, 9]) } else { thread };
        // Another thread of that id and name has ended.
        let mut since = 0;
        while let Some(old) = self.rings.with_row(uuid) {
            let Some(at) = self.rings.find(old)? else { break };
            let ring = self.rings.get_mut(at);
            since = since.max(ring.stack.ns);
            let opens = ring.stack.opens();
            self.drawer.close(ring, ring.stack.ns, Why::End)?;
            ring.uuid = number_of(&[uuid, old, 10]);
            ring.row = None;
            self.opens = self.opens.saturating_sub(opens);
        }
        self.rings.add(id, (thread, uuid), tid, &name, since)?;
        self.rings.find(id)?.ok_or_else(Failure::no_memory)
    }

    /// Waits for the disk, if the options say so.
    pub fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.file {
            Some(file) if self.options.sync == Sync::Flush && file.end != 0 => file.sync(),
            _ => Ok(()),
        }
    }

    /// Ends the last file: slices that are open, what was lost in all.
    pub fn finish(&mut self, source: Option<&dyn Source>) -> Result<(), Failure> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        self.drawer.clear();
        if file.end != 0 {
            let last = self.rings.iter_mut().map(|ring| ring.stack.ns).max().unwrap_or(0);
            for ring in self.rings.iter_mut() {
                self.drawer.close(ring, last, Why::End)?;
            }
            if let Some(source) = source {
                let counts = losses(&source.ledger());
                let mut some = counts.iter().filter(|(_, count)| *count != 0).peekable();
                if some.peek().is_some() {
                    let some: Vec<_> = some.copied().collect();
                    self.drawer.totals(time::now_ns(), &some)?;
                }
            }
            file.append(&self.drawer.encoder.out).map_err(|unwritten| unwritten.failure)?;
            self.drawer.clear();
        }
        file.end(&self.options)
    }

    /// The storage is given up without a close: what is acknowledged is in the file.
    pub fn leave(&mut self) {
        if let Some(file) = self.file.take() {
            let _ = file.end(&self.options);
        }
    }
}

/// Why an event is not stored. `None`: it is.
fn refusal(event: &EventView) -> Option<&'static str> {
    if event.flags & PIPELINE_EVENT_RELEASE != 0 {
        return Some("its payload is a handle (PIPELINE_EVENT_RELEASE)");
    }
    (event.timestamp_ns > LAST_TIME).then_some("viewers take no times of 2^63 ns and more")
}

/// What a pipeline has lost, by name. What it has sampled out, filtered or dropped by a rule is no loss.
fn losses(ledger: &Ledger) -> [(&'static str, u64); 10] {
    [
        ("dropped_full", ledger.dropped_full),
        ("refused_too_large", ledger.refused_too_large),
        ("refused_closed", ledger.refused_closed),
        ("refused_invalid", ledger.refused_invalid),
        ("refused_busy", ledger.refused_busy),
        ("refused_no_ring", ledger.refused_no_ring),
        ("overwritten", ledger.overwritten),
        ("discarded", ledger.discarded),
        ("dead_lettered", ledger.dead_lettered),
        ("left", ledger.left),
    ]
}

fn has_losses(ledger: &Ledger) -> bool {
    losses(ledger).iter().any(|(_, count)| *count != 0)
}
