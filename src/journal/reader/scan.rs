//! Reading the headers of a segment, its facts and its ledgers.

use super::allocation::zeros;
use super::body::{self, NoBody, is_raw};
use super::core::{Core, no_memory};
use super::event::realtime;
use super::facts::{Facts, LedgerBlock};
use super::filter::Filter;
use super::losses::{Gone, Refused};
use super::place::Place;
use super::ranges::Range;
use super::segment::{Seal, State};
use super::skips::Skips;
use super::stretch::{Failure, Wanted};
use super::walk::{Found, Walk};
use super::window::read_up_to;
use crate::journal::format::MAX_RAW_BODY;
use crate::journal::format::block::{BlockHeader, BlockType, CRITICAL};
use crate::platform::memory;
use crate::status::{Error, Result};
use std::io;
use std::ops::ControlFlow;

/// The most bytes of a ledger or a seal that are read.
const MAX_WORDS: u64 = 4096;
/// What is read at once to compute a checksum.
const CHUNK: u64 = 256 << 10;

/// Why a segment is not read to its end.
#[derive(Debug)]
enum Trouble {
    /// The system refuses to read it.
    Io(io::Error),
    /// The reader cannot go on.
    Reader(Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Reader(error)
    }
}

impl Core {
    /// Reads the headers of a segment from where they are not known yet, and its facts and ledgers.
    pub fn scan(&mut self, segment: usize) -> Result<()> {
        let Some(open) = self.segments.all.get_mut(segment).filter(|open| !open.done) else { return Ok(()) };
        open.before = open.known;
        let error = match self.scan_ready(segment) {
            Ok(()) => return Ok(()),
            Err(Trouble::Reader(error)) => return Err(error),
            Err(Trouble::Io(error)) => error,
        };
        if error.kind() == io::ErrorKind::OutOfMemory {
            return Err(no_memory("reading the headers of a segment"));
        }
        let Some(open) = self.segments.all.get_mut(segment) else { return Ok(()) };
        open.done = true;
        let (path, offset) = (open.info.path.clone(), open.known);
        match error.kind() {
            io::ErrorKind::NotFound => self.losses.gone.push(Gone { path, ..Gone::default() }),
            _ => self.losses.refused.push(Refused { path, offset, reason: error.to_string() }),
        }
        Ok(())
    }

    fn scan_ready(&mut self, segment: usize) -> Result<(), Trouble> {
        self.segments.ready(segment)?;
        let Some(open) = self.segments.all.get_mut(segment) else { return Ok(()) };
        // The size is asked for after the writer: all that it wrote before it ended is there then.
        let lives = open.owner_lives();
        open.look()?;
        let mut walk = std::mem::take(&mut self.walk);
        walk.start(open.known);
        let ended = self.go_through(segment, &mut walk, lives);
        self.walk = walk;
        ended
    }

    fn go_through(&mut self, segment: usize, walk: &mut Walk, lives: bool) -> Result<(), Trouble> {
        // A block is taken when the next one is found, because the last one may not be whole.
        let mut held: Option<BlockHeader> = None;
        loop {
            let at = walk.at;
            let found = walk.next(&self.segments.all[segment])?;
            let header = held.take();
            if let Found::Tail { bytes } = found {
                return self.end_of(segment, header, bytes, lives);
            }
            if let Some(header) = header
                && self.take(segment, &header)?.is_break()
            {
                return Ok(());
            }
            match found {
                Found::Block(header) => held = Some(header),
                Found::Damage { to } => {
                    self.segments.all[segment].known = to;
                    self.index.set_apart();
                    self.losses.damages += 1;
                    self.losses.damaged_bytes += to - at;
                }
                Found::Tail { .. } => {}
            }
        }
    }

    /// At the end of what is there: with the last block, and the bytes behind it.
    fn end_of(
        &mut self,
        segment: usize,
        last: Option<BlockHeader>,
        bytes: u64,
        lives: bool,
    ) -> Result<(), Trouble> {
        if let Some(header) = last {
            if lives && self.may_be_checked(&header) && !self.body_is_right(segment, &header)? {
                self.segments.all[segment].info.state = State::Growing;
                return Ok(());
            }
            if self.take(segment, &header)?.is_break() {
                return Ok(());
            }
        }
        let open = &mut self.segments.all[segment];
        open.done = true;
        if let Some(seal) = open.seal {
            open.info.state = State::Sealed(seal);
            self.losses.damages += u64::from(bytes > 0);
            self.losses.damaged_bytes += bytes;
        } else if lives {
            open.info.state = State::Growing;
            open.done = false;
        } else {
            open.info.state = State::Left;
            self.losses.torn_tails += u64::from(bytes > 0);
            self.losses.torn_bytes += bytes;
        }
        Ok(())
    }

    /// Takes a block. `Break`: nothing behind it can be read. An error changes nothing, so the block may be taken again.
    fn take(&mut self, segment: usize, header: &BlockHeader) -> Result<ControlFlow<()>, Trouble> {
        memory::check()?;
        let mut seal = None;
        match header.kind {
            BlockType::EVENTS => self.take_events(segment, header)?,
            BlockType::FACTS => self.take_facts(segment, header)?,
            BlockType::LEDGER | BlockType::SEAL => seal = self.take_words(segment, header)?,
            BlockType::FILLER => {}
            _ if header.flags & CRITICAL != 0 => {
                let open = &mut self.segments.all[segment];
                open.done = true;
                let reason =
                    format!("a block of type {}, which only a later version can read", header.kind.0);
                let path = open.info.path.clone();
                self.losses.refused.push(Refused { path, offset: header.offset, reason });
                return Ok(ControlFlow::Break(()));
            }
            _ => {}
        }
        let open = &mut self.segments.all[segment];
        open.known = header.offset.saturating_add(header.total());
        open.seal = seal;
        Ok(ControlFlow::Continue(()))
    }

    fn take_events(&mut self, segment: usize, header: &BlockHeader) -> Result<(), Trouble> {
        let range = Range::of(header);
        let readable = match body::check(header, self.options.memory_bytes as u64) {
            Ok(()) if header.count > 0 && range.is_none() => Err(NoBody::Damaged),
            checked => checked,
        };
        if readable.is_ok() {
            if let Some(range) = range
                && !self.ranges.add(range)
            {
                return Err(no_memory("the sequences of the blocks").into());
            }
            let shift = self.segments.all[segment].shift;
            if self.filter.wants_block(header) && !self.index.add(header, segment, shift) {
                return Err(self.too_many("blocks").into());
            }
        }
        self.note_events(segment, header);
        if let Some(range) = &range {
            self.rings.add(range, header.count);
        }
        if let Err(why) = readable {
            self.index.set_apart();
            self.count_failure(&Failure::of(header, why));
        }
        Ok(())
    }

    /// Adds a block of events to what is known about its segment.
    fn note_events(&mut self, segment: usize, header: &BlockHeader) {
        let info = &mut self.segments.all[segment].info;
        info.blocks += 1;
        info.events += u64::from(header.count);
        info.stored_bytes = info.stored_bytes.saturating_add(header.stored_len);
        info.raw_bytes = info.raw_bytes.saturating_add(header.raw_len);
        if header.count > 0 {
            let join = |times: &mut (u64, u64), first: u64, last: u64| {
                *times = (times.0.min(first), times.1.max(last));
            };
            let real = |ns| realtime(ns, header.realtime_offset_ns);
            join(&mut info.times_ns, header.first_ns, header.last_ns);
            join(&mut info.realtimes_ns, real(header.first_ns), real(header.last_ns));
        }
    }

    fn take_facts(&mut self, segment: usize, header: &BlockHeader) -> Result<(), Trouble> {
        if let Err(why) = body::check(header, self.options.memory_bytes as u64) {
            self.count_failure(&Failure::of(header, why));
            return Ok(());
        }
        let (filter, skips) = (Filter::none(), Skips::default());
        let wanted = Wanted {
            blocks: BlockType::FACTS,
            filter: &filter,
            skips: &skips,
            memory: self.options.memory_bytes as u64,
            from: None,
            before: None,
            sorted: false,
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let place = Place::of(header, segment, 0);
        let opened = self.segments.ready(segment);
        let mut loaded = opened.and_then(|open| scratch.load(open, &place, &wanted, &mut self.decoding));
        if loaded.is_ok() {
            let mut records = scratch.table.iter().filter_map(|entry| scratch.record(entry));
            let (facts, losses) = (&mut self.facts, &mut self.losses);
            let mut place = self.segments.all[segment].facts;
            loaded = records.try_for_each(|record| {
                place += u64::from(Facts::is_listed(&record));
                facts.add(header.generation, &record, place, losses)
            });
            if loaded.is_ok() {
                self.segments.all[segment].facts = place;
            }
            scratch.failures.drain(..).for_each(|failure| self.count_failure(&failure));
        }
        self.scratch = scratch;
        Ok(loaded?)
    }

    /// Whether the body of a block is short enough to be read for its checksum alone. A file may have holes, so that a body can be longer than any disk.
    fn may_be_checked(&self, header: &BlockHeader) -> bool {
        match header.kind {
            BlockType::EVENTS | BlockType::FACTS => {
                body::check(header, self.options.memory_bytes as u64).is_ok()
            }
            _ => header.stored_len <= MAX_RAW_BODY,
        }
    }

    fn take_words(&mut self, segment: usize, header: &BlockHeader) -> Result<Option<Seal>, Trouble> {
        let mut bytes = zeros(header.stored_len.min(MAX_WORDS) as usize)?;
        let right = is_raw(header) && self.may_be_checked(header) && self.body_is_right(segment, header)?;
        let offset = header.offset + header.size() as u64;
        let read = read_up_to(self.segments.ready(segment)?.file()?, &mut bytes, offset)?;
        if right && read == bytes.len() {
            if header.kind == BlockType::SEAL {
                if let Some(seal) = Seal::decode(&bytes) {
                    return Ok(Some(seal));
                }
            } else if let Some(ledger) = LedgerBlock::decode(&bytes) {
                self.facts.add_ledger(header.generation, ledger);
                return Ok(None);
            }
        }
        let failure = Failure::of(header, NoBody::Damaged);
        self.count_failure(&failure);
        Ok(None)
    }

    /// Whether the body of a block has its checksum.
    fn body_is_right(&mut self, segment: usize, header: &BlockHeader) -> io::Result<bool> {
        let open = self.segments.ready(segment)?;
        let mut buffer = zeros(CHUNK.min(header.stored_len) as usize)?;
        let (mut at, mut left) = (header.offset + header.size() as u64, header.stored_len);
        let mut sum = open.salted.append(None, &[]);
        while left > 0 {
            let part = &mut buffer[..CHUNK.min(left) as usize];
            if read_up_to(open.file()?, part, at)? < part.len() {
                return Ok(false);
            }
            sum = open.salted.append(Some(sum), part);
            at += part.len() as u64;
            left -= part.len() as u64;
        }
        Ok(sum == header.body_sum)
    }
}
