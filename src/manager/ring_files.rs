//! The ring files of runs that have ended, as the source of a recovery: file after file, each with its facts first, then ring by ring.

use crate::batch::recovered::{Part, Run};
use crate::event::{EventView, PIPELINE_KIND_THREAD};
use crate::facts::{Fact, Facts};
use crate::files::failure::Failure;
use crate::journal::blocks::facts::FactRef;
use crate::journal::reader::Event;
use crate::pool::recovery::{Most, Next, OldRuns};
use crate::ring_file::reader::{DeadRun, Directory, Piece, Purpose, Taken};
use crate::status::Result;
use std::collections::VecDeque;
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

/// A file whose reading fails so often in a row is left to the next recovery.
const TRIES: u32 = 5;

/// The ring files in a directory.
pub(super) struct RingFiles {
    directory: Arc<Directory>,
    /// Those that are still to be looked at, the next one last.
    names: Vec<(CString, u64)>,
    current: Option<Box<OldRun>>,
    /// The storage keeps one run: nothing is delivered.
    waits: bool,
    next_number: u64,
    torn: u64,
    /// What was left in the directory, and why: the first reason, and how many files.
    left: Option<(String, usize)>,
    /// Why the current file does not get on.
    stuck: Option<String>,
}

/// The file that is being delivered.
struct OldRun {
    run: DeadRun,
    shown: Arc<Run>,
    /// Facts that were given.
    facts: usize,
    piece: Piece,
    /// Events of the piece that were given.
    taken: usize,
    /// Parts that are not acknowledged in the file, in the order in which they were given.
    given: VecDeque<Given>,
    /// Failures in a row.
    failures: u32,
    /// Damages that were told.
    torn: u64,
}

/// A part that was given.
struct Given {
    number: u64,
    /// The ring in the file, and the position behind the part. `None`: facts.
    upto: Option<(u64, u64)>,
    left: bool,
}

/// A fact as a storage sees it in a batch.
fn view_of(fact: &FactRef<'_>, number: usize) -> EventView {
    EventView {
        ring_id: 0,
        sequence: number as u64,
        timestamp_ns: 0,
        correlation_id: fact.correlation_id,
        node_id: fact.node_id,
        kind: fact.kind,
        flags: 0,
        weight: 1.0,
        data: std::ptr::null(),
        len: 0,
    }
}

fn view(event: &Event<'_>) -> EventView {
    EventView {
        ring_id: event.ring_id,
        sequence: event.sequence,
        timestamp_ns: event.timestamp_ns,
        correlation_id: event.correlation_id,
        node_id: event.node_id,
        kind: event.kind,
        flags: event.flags,
        weight: event.weight,
        data: std::ptr::null(),
        len: 0,
    }
}

/// How many of the payloads with these lengths a part takes: as many as it may hold, and one at least.
fn fitting(lengths: impl Iterator<Item = usize>, most: &Most) -> usize {
    let mut bytes = 0u64;
    lengths
        .take(most.events.max(1))
        .enumerate()
        .take_while(|(at, len)| {
            bytes = bytes.saturating_add(*len as u64);
            *at == 0 || bytes <= most.bytes
        })
        .count()
}

fn failure(error: crate::status::Error) -> Failure {
    Failure::transient(error.detail)
}

impl OldRun {
    fn new(run: DeadRun) -> Result<Self> {
        let facts = Arc::new(Facts::default());
        for fact in run.facts().filter(|fact| fact.kind != PIPELINE_KIND_THREAD) {
            facts.add(Fact::new(fact.kind, fact.correlation_id, fact.node_id, fact.payload)?, |_| Ok(()))?;
        }
        let threads = run.threads().iter().map(|ring| (ring.ring_id, (ring.tid as u32, ring.name))).collect();
        let shown = Arc::new(Run {
            generation: run.header().generation,
            realtime_offset_ns: run.realtime_offset_ns(),
            facts,
            threads,
        });
        let piece = Piece::default();
        Ok(Self { run, shown, facts: 0, piece, taken: 0, given: VecDeque::new(), failures: 0, torn: 0 })
    }

    /// The next part. `None`: there is no more.
    fn next(&mut self, number: u64, most: &Most, facts: bool) -> Result<Option<Part>, Failure> {
        self.given.try_reserve(1).map_err(|_| Failure::no_memory())?;
        if facts && let Some(part) = self.next_facts(number, most)? {
            self.given.push_back(Given { number, upto: None, left: false });
            return Ok(Some(part));
        }
        if self.taken == self.piece.len() {
            self.taken = 0;
            if !self.run.next(&mut self.piece)? {
                self.piece = Piece::default();
                return Ok(None);
            }
        }
        let lengths = || self.run.events(&self.piece, self.taken).map(|event| event.payload.len());
        let count = fitting(lengths(), most);
        let mut part = {
            let mut lengths = lengths();
            let known = (0..count).map(|_| lengths.next().unwrap_or(0));
            Part::new(Arc::clone(&self.shown), self.piece.ring_id(), number, known).map_err(failure)?
        };
        for event in self.run.events(&self.piece, self.taken).take(count) {
            part.push(&view(&event), event.payload).map_err(failure)?;
        }
        self.taken += count;
        let upto = Some((self.piece.ring(), self.piece.position(self.taken)));
        self.given.push_back(Given { number, upto, left: false });
        Ok(Some(part))
    }

    fn next_facts(&mut self, number: u64, most: &Most) -> Result<Option<Part>, Failure> {
        let facts = || self.run.facts().skip(self.facts);
        let count = fitting(facts().map(|fact| fact.payload.len()), most);
        if count == 0 {
            return Ok(None);
        }
        let mut lengths = facts().map(|fact| fact.payload.len());
        let known = (0..count).map(|_| lengths.next().unwrap_or(0));
        let mut part = Part::new(Arc::clone(&self.shown), 0, number, known).map_err(failure)?;
        for (at, fact) in facts().take(count).enumerate() {
            part.push(&view_of(&fact, self.facts + at), fact.payload).map_err(failure)?;
        }
        self.facts += count;
        Ok(Some(part))
    }

    /// Notes in the file what has left. In the order in which the parts were given, because a ring is released in its order.
    fn release(&mut self) -> Result<(), Failure> {
        while let Some(first) = self.given.front().filter(|first| first.left) {
            if let Some((ring, upto)) = first.upto {
                self.run.acknowledge(ring, upto)?;
            }
            self.given.pop_front();
        }
        Ok(())
    }
}

impl RingFiles {
    /// The ring files in the directory at `path`, but for that of the pipeline with this generation. `None`: there are no others. `one_run`: the storage keeps the events
    /// of one run, so they are looked at and not delivered.
    pub fn new(path: &Path, own: u64, one_run: bool) -> Result<Option<Self>> {
        let directory = Arc::new(Directory::open(path, Purpose::Recover)?);
        let mut names = directory.names()?;
        names.retain(|(_, generation)| *generation != own);
        names.reverse();
        let found = !names.is_empty();
        Ok(found.then(|| Self {
            directory,
            names,
            current: None,
            waits: one_run,
            next_number: 0,
            torn: 0,
            left: None,
            stuck: None,
        }))
    }

    fn leave(&mut self, why: String) {
        match &mut self.left {
            Some((_, count)) => *count += 1,
            none => *none = Some((why, 1)),
        }
    }

    /// Takes the next file that is a run's which has ended. `false`: there is none.
    fn take(&mut self) -> bool {
        while let Some((name, generation)) = self.names.pop() {
            let why = match DeadRun::take(&self.directory, &name, generation) {
                Taken::Run(run) if self.waits => {
                    drop(run);
                    "the storage keeps one run at a time; `capture-pipeline recover` delivers it elsewhere"
                        .to_owned()
                }
                Taken::Run(run) => match OldRun::new(*run) {
                    Ok(run) => {
                        self.current = Some(Box::new(run));
                        return true;
                    }
                    Err(error) => error.detail.into_owned(),
                },
                Taken::Refused(why) => why,
                Taken::Failed(failure) => failure.text,
                Taken::Living(_) | Taken::Busy | Taken::Unfinished | Taken::Gone => continue,
            };
            self.leave(format!("{}: {why}", name.to_string_lossy()));
        }
        false
    }

    /// The current file is done with, or is given up.
    fn finish(&mut self) {
        self.stuck = None;
        let Some(old) = self.current.take() else { return };
        let name = old.run.file().name().to_owned();
        let handles = old.run.losses().handles;
        if handles > 0 {
            log::warn!("ring file {}: {handles} events are handles of its process", name.to_string_lossy());
        }
        let why = match old.run.finish() {
            Ok(true) => return,
            Ok(false) => "events are left in it".to_owned(),
            Err(failure) => failure.text,
        };
        self.leave(format!("{}: {why}", name.to_string_lossy()));
    }
}

impl OldRuns for RingFiles {
    fn next(&mut self, most: &Most, facts: bool) -> Next {
        loop {
            let Some(old) = &mut self.current else {
                if self.take() {
                    continue;
                }
                return Next::End;
            };
            let number = self.next_number;
            let next = old.release().and_then(|()| old.next(number, most, facts));
            let torn = old.run.losses().torn;
            self.torn += torn - std::mem::replace(&mut old.torn, torn);
            match next {
                Ok(Some(part)) => {
                    (old.failures, self.stuck) = (0, None);
                    self.next_number += 1;
                    return Next::Part(part);
                }
                Ok(None) if old.given.is_empty() => self.finish(),
                Ok(None) => return Next::Later,
                Err(failure) => {
                    old.failures += 1;
                    let gives_up = old.failures >= TRIES && old.given.is_empty();
                    self.stuck =
                        Some(format!("{}: {}", old.run.file().name().to_string_lossy(), failure.text));
                    if !gives_up {
                        return Next::Later;
                    }
                    if let Some(why) = self.stuck.take() {
                        self.leave(why);
                    }
                    // (It is not finished: its lock goes, and the next recovery takes it.)
                    self.current = None;
                }
            }
        }
    }

    fn acknowledge(&mut self, number: u64) {
        let Some(old) = &mut self.current else { return };
        if let Some(given) = old.given.iter_mut().find(|given| given.number == number) {
            given.left = true;
        }
        // (What fails here is tried again before the next part.)
        if let Err(failure) = old.release() {
            self.stuck = Some(format!("{}: {}", old.run.file().name().to_string_lossy(), failure.text));
        }
    }

    fn take_torn(&mut self) -> u64 {
        std::mem::take(&mut self.torn)
    }

    fn problem(&self) -> Option<String> {
        let left = self.left.as_ref().map(|(why, count)| match count {
            1 => format!("a ring file was left: {why}"),
            count => format!("{count} ring files were left, the first one: {why}"),
        });
        let stuck = self.stuck.as_ref().map(|why| format!("a ring file is stuck: {why}"));
        let words = [stuck, left].into_iter().flatten().reduce(|all, one| format!("{all}; {one}"))?;
        Some(format!("{}: {words}", self.directory.path().display()))
    }
}

impl Drop for RingFiles {
    fn drop(&mut self) {
        // A file whose last part has left just before the end is done with.
        if let Some(old) = &mut self.current
            && old.release().is_ok()
            && old.given.is_empty()
            && old.taken == old.piece.len()
            && matches!(old.run.next(&mut old.piece), Ok(false))
        {
            self.finish();
        }
    }
}
