//! What a reader knows of its journal: segments, facts, losses, and where the events lie.

use super::body::{Decoding, NoBody};
use super::facts::Facts;
use super::filter::Filter;
use super::index::Index;
use super::losses::{Gone, Losses};
use super::options::Options;
use super::place::{Key, Place};
use super::ranges::Ranges;
use super::rings::Rings;
use super::segment::Segments;
use super::skips::Skips;
use super::stretch::{Failure, Stretch, Wanted};
use super::walk::{Found, Walk};
use crate::journal::format::block::{BlockHeader, BlockType};
use crate::platform::memory;
use crate::status::{
    Error, PIPELINE_ERR_LIMIT, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_NOT_FOUND, PIPELINE_ERR_SYSTEM, Result,
};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// How far a reader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The bytes of blocks that were read.
    pub done_bytes: u64,
    /// The bytes of all blocks that may have wanted events, as far as they are known.
    pub total_bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Core {
    pub options: Options,
    pub filter: Filter,
    pub segments: Segments,
    pub facts: Facts,
    pub losses: Losses,
    pub rings: Rings,
    pub skips: Skips,
    pub index: Index,
    pub progress: Progress,
    pub ranges: Ranges,
    pub walk: Walk,
    pub scratch: Stretch,
    pub decoding: Decoding,
    /// `None`: the journal is one segment.
    pub directory: Option<PathBuf>,
    /// The files that have been opened or refused.
    pub known: BTreeSet<PathBuf>,
    /// A look for new blocks has failed before its end, and must be made again before events are given.
    pub is_incomplete: bool,
}

/// Which events of a stretch are wanted, beside the filter.
#[derive(Clone, Copy, Default)]
pub(super) struct Part {
    pub from: Option<Key>,
    pub before: Option<Key>,
    pub sorted: bool,
}

impl Core {
    pub fn new(options: Options, directory: Option<PathBuf>) -> Self {
        let memory = options.memory_bytes;
        Self {
            filter: Filter::new(&options),
            segments: Segments::default(),
            facts: Facts::default(),
            losses: Losses::default(),
            rings: Rings::default(),
            skips: Skips::default(),
            index: Index::new(memory / 4),
            progress: Progress::default(),
            ranges: Ranges::new(memory / 8 / size_of::<super::ranges::Range>(), options.follow),
            walk: Walk::default(),
            scratch: Stretch::default(),
            decoding: Decoding::default(),
            directory,
            known: BTreeSet::new(),
            is_incomplete: false,
            options,
        }
    }

    /// The error of a journal that has more than the memory is for.
    pub fn too_many(&self, what: &str) -> Error {
        let bytes = self.options.memory_bytes;
        let detail = format!(
            "the journal has too many {what} for memory_bytes ({bytes}): allow more, or read its segments one by one"
        );
        Error::new(PIPELINE_ERR_LIMIT, detail)
    }

    /// Loads the stretch at a position of the index. What cannot be read is counted the first time.
    pub fn load(&mut self, position: usize, into: &mut Stretch, part: Part) -> Result<()> {
        memory::check()?;
        into.clear();
        let Some(place) = self.index.places.get(position).copied() else { return Ok(()) };
        let wanted = Wanted {
            blocks: BlockType::EVENTS,
            filter: &self.filter,
            skips: &self.skips,
            memory: self.options.memory_bytes as u64,
            from: part.from,
            before: part.before,
            sorted: part.sorted,
        };
        let opened = self.segments.ready(place.segment as usize);
        let loaded = opened.and_then(|open| into.load(open, &place, &wanted, &mut self.decoding));
        if loaded.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::OutOfMemory) {
            return Err(no_memory(&format!("a block of {} bytes", place.memory)));
        }
        if loaded.is_err() {
            into.clear();
        }
        if place.counted {
            return Ok(());
        }
        if let Some(place) = self.index.places.get_mut(position) {
            place.counted = true;
        }
        self.progress.done_bytes += place.len;
        if let Err(error) = loaded {
            self.count_unread(&place, &error);
        }
        for failure in into.failures.drain(..) {
            self.count_failure(&failure);
        }
        Ok(())
    }

    /// The header of a stretch of one block, with the shift of its segment. `None`: it cannot be read.
    pub fn header(&mut self, place: &Place) -> Option<(BlockHeader, u64)> {
        let open = self.segments.ready(place.segment as usize).ok()?;
        self.walk.start(place.offset);
        match self.walk.next(open) {
            Ok(Found::Block(header)) if header.offset == place.offset => Some((header, open.shift)),
            _ => None,
        }
    }

    /// Counts a stretch that could not be read at all.
    fn count_unread(&mut self, place: &Place, error: &io::Error) {
        let (blocks, events) = (u64::from(place.blocks), u64::from(place.events));
        if error.kind() != io::ErrorKind::NotFound {
            let entry = self.losses.unreadable.entry("the system refused to read them".into()).or_default();
            entry.blocks += blocks;
            entry.events += events;
            return;
        }
        let Some(open) = self.segments.all.get_mut(place.segment as usize) else { return };
        open.done = true;
        let path = open.info.path.clone();
        let gone = match self.losses.gone.iter_mut().find(|gone| gone.path == path) {
            Some(gone) => gone,
            None => {
                self.losses.gone.push(Gone { path, ..Gone::default() });
                let Some(gone) = self.losses.gone.last_mut() else { return };
                gone
            }
        };
        gone.blocks += blocks;
        gone.events += events;
    }

    /// Counts a block that gave no events.
    pub fn count_failure(&mut self, failure: &Failure) {
        let events = u64::from(failure.events);
        let Some(header) = &failure.header else {
            self.losses.damages += 1;
            self.losses.damaged_bytes += failure.bytes;
            self.losses.damaged_events += events;
            return;
        };
        match &failure.why {
            NoBody::Damaged => {
                self.losses.damaged_blocks += 1;
                self.losses.damaged_events += events;
                self.losses.damaged_bytes += failure.bytes;
            }
            NoBody::Unreadable(why) => {
                let entry = self.losses.unreadable.entry(why.clone()).or_default();
                entry.blocks += 1;
                entry.events += events;
            }
            NoBody::NoMemory => {}
        }
        self.rings.remove(header.generation, header.ring_id, events);
    }
}

/// The error of a system call on a file.
pub(super) fn failed(path: &Path, error: &io::Error) -> Error {
    let status = match error.kind() {
        io::ErrorKind::NotFound => PIPELINE_ERR_NOT_FOUND,
        io::ErrorKind::OutOfMemory => PIPELINE_ERR_NO_MEMORY,
        _ => PIPELINE_ERR_SYSTEM,
    };
    Error::new(status, format!("{}: {error}", path.display()))
}

/// The error of an allocation that has failed.
pub(super) fn no_memory(what: &str) -> Error {
    Error::new(PIPELINE_ERR_NO_MEMORY, format!("not enough memory for {what}"))
}
