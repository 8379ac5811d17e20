//! What a dead run has left in its ring file, for whoever delivers it to a storage.
//!
//! One at a time may do that: it holds the lock of recovery. It gives the storage the [facts](DeadRun::facts), then the [pieces](DeadRun::next), acknowledges each once it is
//! stored, and [finishes](DeadRun::finish). What is acknowledged is moved behind `released` in the file, so that a recovery that is killed is gone on with where it was.

use super::chain::Reason;
use super::clock::Clock;
use super::directory::{Directory, no_memory};
use super::facts::Facts;
use super::file::{NotRead, OWNER_LOCK, Opened, RECOVERY_LOCK, RingFile, RingWords};
use super::records::{Damage, Next, Piece, RingReader};
use crate::event::PIPELINE_KIND_THREAD;
use crate::files::failure::Failure;
use crate::journal::blocks::facts::FactRef;
use crate::journal::reader::Event;
use crate::ring_file::format::{Header, NoRingFile, ring};
use std::ffi::CStr;
use std::sync::Arc;

/// So many damages are kept with their words.
const MOST_DAMAGES: usize = 16;

/// What has become of a file that was to be taken.
#[derive(Debug)]
pub enum Taken {
    /// It is a dead run's.
    Run(Box<DeadRun>),
    /// This process captures into it, or makes it (0: unknown which).
    Living(u32),
    /// Another process, or another thread, delivers it at present.
    Busy,
    /// It was never finished, held no event, and was deleted.
    Unfinished,
    /// It was deleted by another.
    Gone,
    /// It is none that this library recovers, and is left as it is.
    Refused(String),
    /// The system has refused a call. It is left as it is.
    Failed(Failure),
}

/// What could not be delivered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Losses {
    /// Rings that end in damage.
    pub torn: u64,
    /// The bytes in them that are given up.
    pub torn_bytes: u64,
    /// The damages, as far as they are kept.
    pub damages: Vec<Damage>,
    /// Events whose payloads are handles, which mean nothing outside the process that captured them.
    pub handles: u64,
    /// Where, counted from the first fact on, and why the facts end in damage.
    pub facts: Option<(u64, Reason)>,
    /// Readings of the processor's counter cannot be converted, and have the time at which the file was made.
    pub clock: bool,
}

/// The ring file of a dead run, with the lock of recovery.
#[derive(Debug)]
pub struct DeadRun {
    directory: Arc<Directory>,
    file: RingFile,
    facts: Facts,
    clock: Clock,
    realtime_offset_ns: i64,
    /// The rings that have had a thread.
    threads: Vec<RingWords>,
    /// The rings that have something, the next one last.
    rings: Vec<(u64, RingWords)>,
    current: Option<RingReader>,
    /// Rings that are given up from a position on.
    given_up: Vec<(u64, u64)>,
    losses: Losses,
}

impl DeadRun {
    /// Takes the file of this name for recovery, if it is a dead run's. `generation` is the one that the name says.
    pub fn take(directory: &Arc<Directory>, name: &CStr, generation: u64) -> Taken {
        let opened = match Opened::open(directory, name, true) {
            Ok(opened) => opened,
            Err(NotRead::Gone) => return Taken::Gone,
            Err(NotRead::Failed(failure)) => return Taken::Failed(failure),
            Err(why) => return Taken::Refused(why.to_string()),
        };
        let taken = match opened.header(generation) {
            Ok(file) => Self::lock(directory, file),
            Err((opened, NotRead::NoRingFile(NoRingFile::Unfinished))) => {
                delete_unfinished(directory, opened, generation)
            }
            Err((_, NotRead::Failed(failure))) => Err(failure),
            Err((_, why)) => Ok(Taken::Refused(why.to_string())),
        };
        taken.unwrap_or_else(Taken::Failed)
    }

    fn lock(directory: &Arc<Directory>, file: RingFile) -> Result<Taken, Failure> {
        if file.owner_lives()? {
            return Ok(Taken::Living(file.header().owner.pid));
        }
        Ok(match file.lock(RECOVERY_LOCK)? {
            Some(false) => Taken::Busy,
            // Another may have delivered and deleted it before it was locked here.
            Some(true) if file.is_gone()? => Taken::Gone,
            Some(true) => Taken::Run(Box::new(Self::open(directory, file)?)),
            None => Taken::Refused(
                "this file system has no locks of open files, so that two recoveries could both deliver it; \
                 copy it to another, under the same name"
                    .into(),
            ),
        })
    }

    fn open(directory: &Arc<Directory>, file: RingFile) -> Result<Self, Failure> {
        let facts = Facts::read(&file)?;
        let clock = Clock::read(&file)?;
        let header = file.header();
        let made = i128::from(header.realtime_ns) - i128::from(header.monotonic_ns);
        let offset = facts.realtime_offset_ns().unwrap_or(i64::try_from(made).unwrap_or(0));
        let losses = Losses { facts: facts.damage(), clock: clock.is_damaged(), ..Losses::default() };
        let (mut threads, mut rings) = (Vec::new(), Vec::new());
        file.each_ring(|ring, words| {
            if words.ring_id != 0 && words.tid != 0 {
                threads.try_reserve(1).map_err(|_| no_memory(size_of::<RingWords>()))?;
                threads.push(words);
            }
            if words.head != words.released {
                rings.try_reserve(1).map_err(|_| no_memory(size_of::<(u64, RingWords)>()))?;
                rings.push((ring, words));
            }
            Ok(())
        })?;
        // The priority rings, which are behind the others in the file, come first.
        let ordinary = rings.partition_point(|(ring, _)| *ring < u64::from(header.shape.rings));
        rings[..ordinary].reverse();
        rings[ordinary..].reverse();
        Ok(Self {
            directory: Arc::clone(directory),
            facts,
            clock,
            realtime_offset_ns: offset,
            threads,
            rings,
            current: None,
            given_up: Vec::new(),
            losses,
            file,
        })
    }

    /// The file's header: the generation, who captured, the names of the pipeline and the program.
    pub fn header(&self) -> &Header {
        self.file.header()
    }

    /// The file.
    pub fn file(&self) -> &RingFile {
        &self.file
    }

    /// CLOCK_REALTIME minus CLOCK_MONOTONIC, as the run has read them last.
    pub fn realtime_offset_ns(&self) -> i64 {
        self.realtime_offset_ns
    }

    /// What could not be delivered so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// What is known about the events: names and definitions of kinds, attributes, clocks, and the threads of the rings. A storage needs it before the events.
    pub fn facts(&self) -> impl Iterator<Item = FactRef<'_>> {
        self.facts.iter().chain(self.threads.iter().map(|words| FactRef {
            kind: PIPELINE_KIND_THREAD,
            correlation_id: words.tid,
            node_id: words.ring_id,
            payload: words.thread_name(),
        }))
    }

    /// The words of the rings that have had a thread.
    pub fn threads(&self) -> &[RingWords] {
        &self.threads
    }

    /// Reads the next piece: events of one ring, in their order, which go on where the piece before of the same ring ended. It may have no event; then it is acknowledged like
    /// any other. `false`: there is no more. After an error the call may be made again.
    pub fn next(&mut self, piece: &mut Piece) -> Result<bool, Failure> {
        loop {
            let Some(reader) = &mut self.current else {
                let Some(&(ring, words)) = self.rings.last() else { return Ok(false) };
                match RingReader::new(&self.file, ring, words, false) {
                    Err(damage) => self.give_up(damage)?,
                    Ok(None) => {}
                    Ok(Some(reader)) => {
                        // What is delivered is claimed: `released` must not pass `claimed`.
                        if words.claimed != words.head {
                            self.file.set_word(ring, ring::CLAIMED, words.head)?;
                        }
                        self.current = Some(reader);
                    }
                }
                self.rings.pop();
                continue;
            };
            match reader.next(&self.file, piece)? {
                Next::Piece => {
                    self.losses.handles += piece.handles();
                    return Ok(true);
                }
                Next::Damaged(damage) => self.give_up(damage)?,
                Next::End | Next::Reassigned => {}
            }
            self.current = None;
        }
    }

    fn give_up(&mut self, damage: Damage) -> Result<(), Failure> {
        self.given_up.try_reserve(1).map_err(|_| no_memory(size_of::<(u64, u64)>()))?;
        self.given_up.push((damage.ring, damage.position));
        self.losses.torn += 1;
        self.losses.torn_bytes = self.losses.torn_bytes.saturating_add(damage.bytes);
        if self.losses.damages.len() < MOST_DAMAGES && self.losses.damages.try_reserve(1).is_ok() {
            self.losses.damages.push(damage);
        }
        Ok(())
    }

    /// The events of a piece, from the number `first` on.
    pub fn events<'a>(&'a self, piece: &'a Piece, first: usize) -> impl Iterator<Item = Event<'a>> {
        piece.events(first, self.header().generation, &self.clock, self.realtime_offset_ns)
    }

    /// The events of a ring before this position are stored, or counted as lost: they are never given again. Positions are acknowledged in their order, ring by ring: those
    /// of [`Piece::upto`], or of [`Piece::position`] if a part of a piece is stored.
    pub fn acknowledge(&self, ring: u64, upto: u64) -> Result<(), Failure> {
        self.file.set_word(ring, ring::RELEASED, upto)
    }

    /// Deletes the file if all of it was acknowledged or given up. `false`: something is left, and the file stays for another recovery.
    pub fn finish(self) -> Result<bool, Failure> {
        let mut left = false;
        self.file.each_ring(|ring, words| {
            left |= words.head != words.released && !self.given_up.contains(&(ring, words.released));
            Ok(())
        })?;
        if !left {
            self.file.delete(&self.directory)?;
        }
        Ok(!left)
    }
}

/// Deletes a file whose process has died while it made it. Both locks are held meanwhile, so that nobody who makes it takes it for complete.
fn delete_unfinished(directory: &Directory, opened: Opened, generation: u64) -> Result<Taken, Failure> {
    match (opened.lock(OWNER_LOCK)?, opened.lock(RECOVERY_LOCK)?) {
        (Some(true), Some(true)) => {}
        (Some(false), _) => return Ok(Taken::Living(0)),
        (_, Some(false)) => return Ok(Taken::Busy),
        (None, _) | (_, None) => {
            let why = "it is not complete, and this file system has no locks that say whether it is still being made";
            return Ok(Taken::Refused(why.into()));
        }
    }
    if opened.is_gone()? {
        return Ok(Taken::Gone);
    }
    match opened.header(generation) {
        Err((opened, NotRead::NoRingFile(NoRingFile::Unfinished))) => {
            opened.delete(directory)?;
            Ok(Taken::Unfinished)
        }
        // It was completed before it was locked.
        _ => Ok(Taken::Living(0)),
    }
}
