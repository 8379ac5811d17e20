//! What a recovery has found and done, in numbers and in words.

use crate::ring_file::reader::Losses;
use crate::status::Error;
use std::fmt;
use std::path::PathBuf;

/// What became of one ring file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that it had was delivered or given up, and it was deleted.
    Recovered,
    /// The storage did not take all of it. It stays, and the next recovery goes on with it.
    Left(String),
    /// This process captures into it, or makes it (0: unknown which). It was not touched.
    Living(u32),
    /// Another recovery has it.
    Busy,
    /// Its process had died while it made it. It held no event, and was deleted.
    Unfinished,
    /// Another has deleted it meanwhile.
    Gone,
    /// It is none that this library recovers. It was not touched.
    Refused(String),
    /// The system has refused a call. It stays.
    Failed(String),
}

/// A ring file, and what was delivered from it.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// The run, as the file's name says.
    pub generation: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Events that the storage has stored. One that it had already, under the same identity, counts as well.
    pub events: u64,
    /// Facts that the storage has taken.
    pub facts: u64,
    /// Facts that the storage has refused.
    pub facts_refused: u64,
    /// Events that the storage has rejected, and that its dead letter keeps.
    pub dead_lettered: u64,
    /// Events that the storage has rejected, and that its dead letter, if it has one, does not keep.
    pub discarded: u64,
    /// What could not be delivered.
    pub losses: Losses,
}

impl FileReport {
    pub(super) fn new(path: PathBuf, generation: u64) -> Self {
        Self {
            path,
            generation,
            outcome: Outcome::Gone,
            events: 0,
            facts: 0,
            facts_refused: 0,
            dead_lettered: 0,
            discarded: 0,
            losses: Losses::default(),
        }
    }

    /// Whether something is to be told that a user should know of.
    pub fn has_losses(&self) -> bool {
        self.losses != Losses::default() || self.discarded != 0 || self.facts_refused != 0
    }
}

/// One line for the file, and one for each thing that was lost.
impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.outcome {
            Outcome::Recovered => write!(f, "{} events recovered", self.events)?,
            Outcome::Left(why) => {
                write!(f, "{} events recovered, the rest is left in the file: {why}", self.events)?;
            }
            Outcome::Living(0) => f.write_str("it is being made by a process that lives")?,
            Outcome::Living(pid) => write!(f, "process {pid} captures into it")?,
            Outcome::Busy => f.write_str("it is being recovered by another process or thread")?,
            Outcome::Unfinished => {
                f.write_str("its process died while it made it; it held no event, and is deleted")?;
            }
            Outcome::Gone => f.write_str("another has recovered and deleted it meanwhile")?,
            Outcome::Refused(why) => write!(f, "not recovered, and left as it is: {why}")?,
            Outcome::Failed(why) => {
                write!(f, "{} events recovered, the rest is left in the file: {why}", self.events)?;
            }
        }
        if self.dead_lettered != 0 {
            write!(f, "; {} rejected events are dead-lettered", self.dead_lettered)?;
        }
        if self.discarded != 0 {
            write!(f, "; {} rejected events are discarded", self.discarded)?;
        }
        if self.facts_refused != 0 {
            write!(f, "; {} facts about the events are refused", self.facts_refused)?;
        }
        let losses = &self.losses;
        if losses.handles != 0 {
            write!(
                f,
                "; {} events are left out, because they are handles of the process that has ended",
                losses.handles
            )?;
        }
        if losses.clock {
            f.write_str("\n  the clock is damaged: events stamped by the processor's counter have the time at which the file was made")?;
        }
        if let Some((position, reason)) = losses.facts {
            write!(f, "\n  facts at position {position}: {reason}; the facts behind it are given up")?;
        }
        for damage in &losses.damages {
            write!(f, "\n  {damage}")?;
        }
        match losses.torn.saturating_sub(losses.damages.len() as u64) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more rings that end in damage"),
        }
    }
}

/// All files of a directory.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Files that were recovered and deleted: one for each run.
    pub runs: u64,
    /// Files of which something is left, because the storage did not take it.
    pub left: u64,
    /// Files of processes that live.
    pub living: u64,
    /// Files that another recovery has.
    pub busy: u64,
    /// Files that were never finished.
    pub unfinished: u64,
    /// Files that this library does not recover.
    pub refused: u64,
    /// Files on which the system has refused a call.
    pub failed: u64,
    /// Events that were stored.
    pub events: u64,
    /// Facts that were stored.
    pub facts: u64,
    /// Events that were rejected, and that the dead letter keeps.
    pub dead_lettered: u64,
    /// Events that were rejected, and that nobody keeps.
    pub discarded: u64,
    /// Rings that end in damage.
    pub torn: u64,
    /// The bytes in them that are given up.
    pub torn_bytes: u64,
    /// Events that are left out because their payloads are handles.
    pub handles: u64,
    /// Why something is left, if it is: the first reason.
    pub stopped: Option<Error>,
}

impl Report {
    pub(super) fn add(&mut self, file: &FileReport) {
        match file.outcome {
            Outcome::Recovered => self.runs += 1,
            Outcome::Left(_) => self.left += 1,
            Outcome::Living(_) => self.living += 1,
            Outcome::Busy => self.busy += 1,
            Outcome::Unfinished => self.unfinished += 1,
            Outcome::Gone => {}
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
        self.events += file.events;
        self.facts += file.facts;
        self.dead_lettered += file.dead_lettered;
        self.discarded += file.discarded;
        self.torn += file.losses.torn;
        self.torn_bytes = self.torn_bytes.saturating_add(file.losses.torn_bytes);
        self.handles += file.losses.handles;
    }
}
