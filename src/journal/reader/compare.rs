//! Finding the events that several blocks have.

use super::body;
use super::core::{Core, no_memory};
use super::overlaps::{Member, Overlaps, resolve};
use super::place::Place;
use super::ranges::{Range, Ranges, meeting, union};
use super::segment::Open;
use super::walk::Found;
use crate::journal::format::block::{BlockHeader, BlockType};
use crate::status::Result;
use std::io;

/// What [`resolve`] needs for each sequence that it remembers, in a table that may be half empty.
const SEEN: usize = 48;

impl Core {
    /// Finds out which blocks have the same events, and decides which of them gives them.
    pub fn find_overlaps(&mut self) -> Result<()> {
        while self.ranges.next_pass().ok_or_else(|| no_memory("the sequences of the blocks"))? {
            self.ranges.next_segment();
            let mut ranges = std::mem::take(&mut self.ranges);
            let added =
                self.each_header(|_, _, header| Range::of(header).is_none_or(|range| ranges.add(range)))?;
            self.ranges = ranges;
            if !added {
                return Err(no_memory("the sequences of the blocks"));
            }
        }
        let contested = self.ranges.take_contested();
        let mut contested = contested.ok_or_else(|| self.too_many("rings with events in several blocks"))?;
        union(&mut contested, usize::MAX);
        if !contested.is_empty()
            && let Err(error) = self.compare(&contested)
        {
            // The reader may look again.
            self.ranges.put_back(contested);
            return Err(error);
        }
        if !self.options.follow {
            self.ranges = Ranges::default();
        }
        Ok(())
    }

    /// Compares the blocks that have contested sequences.
    fn compare(&mut self, contested: &[Range]) -> Result<()> {
        let mut members: Vec<Member> = Vec::new();
        let memory = self.options.memory_bytes;
        let most = memory / 8 / size_of::<Member>();
        let complete = self.each_header(|segment, open, header| {
            let Some(range) = Range::of(header).filter(|_| body::check(header, memory as u64).is_ok()) else {
                return true;
            };
            for position in meeting(contested, &range) {
                if members.len() >= most || members.try_reserve(1).is_err() {
                    return false;
                }
                members.push(Member {
                    range: position as u32,
                    count: header.count,
                    old: header.offset < open.before,
                    first: range.first,
                    last: range.last,
                    place: Place::of(header, segment, open.shift),
                });
            }
            true
        })?;
        if !complete {
            return Err(self.too_many("blocks with events that others have"));
        }
        let rings = &mut self.rings;
        let mut with = Overlaps {
            segments: &mut self.segments,
            skips: &mut self.skips,
            losses: &mut self.losses,
            scratch: &mut self.scratch,
            decoding: &mut self.decoding,
            memory: memory as u64,
            most: memory / 8 / SEEN,
            skipped: &mut |range, events| rings.remove(range.generation, range.ring_id, events),
        };
        resolve(contested, &mut members, &mut with)
            .map_err(|_| no_memory("comparing events that several blocks have"))
    }

    /// Shows the headers of all known blocks of events to `each`, until it returns `false`, which is then returned.
    fn each_header(&mut self, mut each: impl FnMut(usize, &Open, &BlockHeader) -> bool) -> Result<bool> {
        for segment in 0..self.segments.all.len() {
            let Ok(open) = self.segments.ready(segment) else { continue };
            self.walk.start(open.start);
            while self.walk.at < open.known {
                match self.walk.next(open) {
                    Ok(Found::Block(header)) if header.kind != BlockType::EVENTS => {}
                    Ok(Found::Block(header)) if header.offset >= open.known => break,
                    Ok(Found::Block(header)) if !each(segment, open, &header) => return Ok(false),
                    Ok(Found::Block(_) | Found::Damage { .. }) => {}
                    Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                        return Err(no_memory("reading the headers of a segment"));
                    }
                    Ok(Found::Tail { .. }) | Err(_) => break,
                }
            }
        }
        Ok(true)
    }
}
