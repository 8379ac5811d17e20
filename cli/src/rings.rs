//! Reads ring files without changing them: what runs that are dead have left, and what lies in the rings of those that go on meanwhile.

use crate::failure::Failure;
use capture_pipeline::event::{ClockFacts, PIPELINE_KIND_CLOCK, PIPELINE_KIND_THREAD};
use capture_pipeline::journal::blocks::facts::FactRef;
use capture_pipeline::journal::reader::Event;
use capture_pipeline::ring_file::format::NoRingFile;
use capture_pipeline::ring_file::reader::{
    Clock, Damage, Directory, Facts, Next, NotRead, Piece, Purpose, RingFile, RingReader, RingWords,
};
use capture_pipeline::storage::feed::{Fed, Feed, Part};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// So many facts come in one batch.
const FACTS: usize = 1024;
/// So many damages are kept with their words.
const MOST_DAMAGES: usize = 16;

/// A run, by its ring file.
pub struct Run {
    /// The file.
    pub path: PathBuf,
    /// Its header and its bytes.
    pub file: RingFile,
    /// Whether the run goes on.
    pub lives: bool,
    /// CLOCK_REALTIME minus CLOCK_MONOTONIC, as the run has read them last.
    pub realtime_offset_ns: i64,
    facts: Facts,
    clock: Clock,
    rings: Vec<(u64, RingWords)>,
}

/// What was found in the rings of a run.
#[derive(Debug, Default)]
pub struct Found {
    /// Events.
    pub events: u64,
    /// The bytes that they take in the rings.
    pub bytes: u64,
    /// Rings that have some.
    pub rings: u64,
    /// Events that are left out, because their payloads are handles.
    pub handles: u64,
    /// Rings that end in damage.
    pub torn: u64,
    /// The bytes in them that cannot be read.
    pub torn_bytes: u64,
    /// The damages, as far as they are kept.
    pub damages: Vec<Damage>,
}

/// A file that cannot be read.
pub struct Unread {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub why: String,
}

/// The runs in a directory, in the order of their files, and those that cannot be read. Files that are being made are passed over.
pub fn in_directory(path: &Path) -> Result<(Vec<Run>, Vec<Unread>), Failure> {
    let directory = Directory::open(path, Purpose::Read)?;
    let (mut runs, mut unread) = (Vec::new(), Vec::new());
    for (name, generation) in directory.names()? {
        let path = directory.path().join(OsStr::from_bytes(name.to_bytes()));
        match Run::open(&directory, path.clone(), &name, generation) {
            Ok(run) => runs.push(run),
            Err(NotRead::Gone | NotRead::NoRingFile(NoRingFile::Unfinished)) => {}
            Err(why) => unread.push(Unread { path, why: why.to_string() }),
        }
    }
    Ok((runs, unread))
}

impl Run {
    fn open(directory: &Directory, path: PathBuf, name: &CStr, generation: u64) -> Result<Self, NotRead> {
        let file = RingFile::open(directory, name, generation)?;
        let lives = file.owner_lives()?;
        let (facts, clock) = (Facts::read(&file)?, Clock::read(&file)?);
        let mut rings = Vec::new();
        file.each_ring(|ring, words| {
            if words.ring_id != 0 {
                rings.push((ring, words));
            }
            Ok(())
        })?;
        let header = file.header();
        let of = |realtime_ns: u64, monotonic_ns: u64| {
            i64::try_from(i128::from(realtime_ns) - i128::from(monotonic_ns)).unwrap_or(0)
        };
        let clocks = facts.iter().filter(|fact| fact.kind == PIPELINE_KIND_CLOCK);
        let last =
            clocks.filter_map(|fact| ClockFacts::from_bytes(fact.payload)).max_by_key(|c| c.monotonic_ns);
        let realtime_offset_ns = last.map_or_else(
            || of(header.realtime_ns, header.monotonic_ns),
            |clock| of(clock.realtime_ns, clock.monotonic_ns),
        );
        Ok(Self { path, file, lives, realtime_offset_ns, facts, clock, rings })
    }

    /// The run.
    pub fn generation(&self) -> u64 {
        self.file.header().generation
    }

    /// What is known about its events, the threads of its rings among it.
    pub fn facts(&self) -> impl Iterator<Item = FactRef<'_>> {
        let threads = self.rings.iter().filter(|(_, words)| words.tid != 0);
        self.facts.iter().chain(threads.map(|(_, words)| FactRef {
            kind: PIPELINE_KIND_THREAD,
            correlation_id: words.tid,
            node_id: words.ring_id,
            payload: words.thread_name(),
        }))
    }

    /// Where, counted from the first fact on, and why the facts end in damage.
    pub fn facts_damage(&self) -> Option<String> {
        let (position, reason) = self.facts.damage()?;
        Some(format!("facts at position {position}: {reason}; the facts behind it cannot be read"))
    }

    /// The bytes that wait in its rings.
    pub fn backlog(&self) -> u64 {
        self.rings
            .iter()
            .map(|(_, words)| words.head.saturating_sub(words.released))
            .fold(0, u64::saturating_add)
    }

    /// The events of a piece.
    pub fn events<'a>(&'a self, piece: &'a Piece) -> impl Iterator<Item = Event<'a>> {
        piece.events(0, self.generation(), &self.clock, self.realtime_offset_ns)
    }

    /// Shows all pieces, ring by ring. If the run goes on, what it releases or overwrites meanwhile is left out.
    pub fn each(&self, mut see: impl FnMut(&Piece) -> Result<(), Failure>) -> Result<Found, Failure> {
        let mut found = Found::default();
        let mut piece = Piece::default();
        for (ring, words) in &self.rings {
            let mut reader = match RingReader::new(&self.file, *ring, *words, self.lives) {
                Ok(Some(reader)) => reader,
                Ok(None) => continue,
                Err(damage) => {
                    found.add(damage);
                    continue;
                }
            };
            let before = found.events;
            loop {
                match reader.next(&self.file, &mut piece) {
                    Ok(Next::Piece) => {
                        found.events += piece.len() as u64;
                        found.bytes += piece.upto() - piece.from();
                        found.handles += piece.handles();
                        see(&piece)?;
                    }
                    Ok(Next::End | Next::Reassigned) => break,
                    Ok(Next::Damaged(damage)) => {
                        found.add(damage);
                        break;
                    }
                    Err(failure) => {
                        return Err(Failure::new(format!("{}: {failure}", self.path.display())));
                    }
                }
            }
            found.rings += u64::from(found.events > before);
        }
        Ok(found)
    }
}

impl Found {
    fn add(&mut self, damage: Damage) {
        self.torn += 1;
        self.torn_bytes = self.torn_bytes.saturating_add(damage.bytes);
        if self.damages.len() < MOST_DAMAGES {
            self.damages.push(damage);
        }
    }
}

/// Writes what lies in the rings of a run, as segments of its own in the journal in `directory`, which `feed` leads to.
pub fn copy(run: &Run, mut feed: Feed, directory: &Path) -> Result<Found, Failure> {
    let mut facts = run.facts().peekable();
    while facts.peek().is_some() {
        let mut part = Part::new(run.generation(), run.realtime_offset_ns);
        for fact in facts.by_ref().take(FACTS) {
            part.push_fact(fact)?;
        }
        store(&mut feed, &part, directory)?;
    }
    let found = run.each(|piece| {
        let mut part = Part::new(run.generation(), run.realtime_offset_ns);
        for event in run.events(piece) {
            part.push(&event)?;
        }
        store(&mut feed, &part, directory)
    })?;
    match feed.finish() {
        0 => Ok(found),
        status => Err(Failure::new(format!(
            "{}: the journal cannot be closed (status {status})",
            directory.display()
        ))),
    }
}

fn store(feed: &mut Feed, part: &Part<'_>, directory: &Path) -> Result<(), Failure> {
    let fed = feed.store(std::slice::from_ref(part))?.pop();
    match fed {
        Some(Fed::Stored(refused)) if refused.is_empty() => Ok(()),
        _ => Err(Failure::new(format!(
            "{}: the journal does not take the events: free space, or give another directory; the ring files are as they were",
            directory.display()
        ))),
    }
}
