//! Where events are read from: a journal, a database that the SQLite storage has written, or ring files. A file is a database if it begins as one of SQLite's.

mod database;
mod rings;

use crate::failure::Failure;
use capture_pipeline::journal::reader::{
    Event, Facts, Losses, Options, Progress, Reader, RingEvents, Segment, State,
};
use database::Database;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// See the module.
pub enum Source {
    /// A journal.
    Journal(Box<Reader>),
    /// A database.
    Database(Box<Database>),
}

/// The first bytes of each file of SQLite's.
const MAGIC: [u8; 16] = *b"SQLite format 3\0";

/// Whether a path is that of a database of SQLite's.
pub fn is_database(path: &Path) -> bool {
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    let mut start = [0; MAGIC.len()];
    is_file
        && std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && start == MAGIC
}

/// Whether a segment stands for a run in a database, which has no segments: those of journals are numbered from 1.
pub fn is_stored_in_database(segment: &Segment) -> bool {
    segment.header.number == 0
}

impl Source {
    /// Opens what lies at a path.
    pub fn open(path: &Path, options: Options) -> Result<Self, Failure> {
        Ok(if is_database(path) {
            Self::Database(Box::new(Database::open(path, options)?))
        } else if rings::are_in(path) {
            Self::Journal(Box::new(rings::open(path, options)?))
        } else {
            Self::Journal(Box::new(Reader::open(path, options)?))
        })
    }

    /// The next event of those that were there when the source was opened. It is valid until the next call.
    #[inline]
    pub fn next_found(&mut self) -> Result<Option<Event<'_>>, Failure> {
        match self {
            Self::Journal(reader) => Ok(reader.next_found()?),
            Self::Database(database) => database.next(),
        }
    }

    /// The next event; if the source is followed, it may come within this time.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Event<'_>>, Failure> {
        match self {
            Self::Journal(reader) => Ok(reader.next_within(timeout)?),
            Self::Database(database) => database.next(),
        }
    }

    /// Looks for what was written meanwhile. A database is not followed.
    pub fn look_for_more(&mut self) -> Result<(), Failure> {
        match self {
            Self::Journal(reader) => Ok(reader.look_for_more()?),
            Self::Database(_) => Ok(()),
        }
    }

    /// Changes the start that was asked for, for the events that are not found yet.
    pub fn set_from_realtime_ns(&mut self, ns: u64) {
        // (A database is not followed: none come later.)
        if let Self::Journal(reader) = self {
            reader.set_from_realtime_ns(ns);
        }
    }

    /// Whether some writer lives, so that there may be more events later.
    pub fn is_growing(&self) -> bool {
        self.segments().any(|segment| segment.state == State::Growing)
    }

    /// The segments of a journal, or one for each run of a database.
    pub fn segments(&self) -> Box<dyn ExactSizeIterator<Item = &Segment> + '_> {
        match self {
            Self::Journal(reader) => Box::new(reader.segments()),
            Self::Database(database) => Box::new(database.segments.iter()),
        }
    }

    /// What is known about the events.
    pub fn facts(&self) -> &Facts {
        match self {
            Self::Journal(reader) => reader.facts(),
            Self::Database(database) => &database.facts,
        }
    }

    /// What is damaged, contradictory or missing, as far as it is known.
    pub fn losses(&self) -> &Losses {
        match self {
            Self::Journal(reader) => reader.losses(),
            Self::Database(database) => &database.losses,
        }
    }

    /// The rings, with the sequences that are stored.
    pub fn rings(&self) -> Box<dyn Iterator<Item = &RingEvents> + '_> {
        match self {
            Self::Journal(reader) => Box::new(reader.rings()),
            Self::Database(database) => Box::new(database.rings.iter()),
        }
    }

    /// How far it is read.
    pub fn progress(&self) -> Progress {
        match self {
            Self::Journal(reader) => reader.progress(),
            Self::Database(database) => database.progress(),
        }
    }
}
