//! Finds blocks in the copy of a ring: records that lie behind each other, with what a block's header says of them.

use crate::batch::stamps::Stamps;
use crate::event::PIPELINE_EVENT_RELEASE;
use crate::journal::format::MAX_RAW_BODY;
use crate::ring::record::{Head, TICKS, Tag};
use std::ops::Range;

/// Records of a copy that make a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// Their places. The second is empty unless a pad lies between records.
    pub parts: [Range<usize>; 2],
    pub count: u32,
    /// The union of their flags, with [`TICKS`].
    pub flags: u32,
    pub first_sequence: u64,
    pub last_sequence: u64,
    pub stamps: Stamps,
}

/// The runs of a copy, in their order. They end where the copy does, or where it holds no records any more.
#[derive(Debug)]
pub(super) struct Runs<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Events that are in no run because their payload is a handle.
    pub left_out: u64,
}

/// A record or a pad in a copy.
struct Found {
    tag: Tag,
    sequence: u64,
    stamp: u64,
    /// The place behind it.
    end: usize,
}

impl<'a> Runs<'a> {
    /// Those that begin at `at` or behind it, which is the start or the end of a run.
    pub fn from(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, left_out: 0 }
    }

    /// Where the last run ends.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes that were not read, because they are no records.
    pub fn damaged(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What lies where the last one ends. `None`: nothing, or no whole record.
    fn look(&self) -> Option<Found> {
        let rest = self.bytes.get(self.at..)?;
        let tag = Tag(word(rest, 0)?);
        let stride = usize::try_from(tag.stride()).ok()?;
        if stride == 0 || !stride.is_multiple_of(8) || stride > rest.len() {
            return None;
        }
        let end = self.at + stride;
        if tag.is_pad() {
            return Some(Found { tag, sequence: 0, stamp: 0, end });
        }
        Some(Found { tag, sequence: word(rest, SEQUENCE)?, stamp: word(rest, TIMESTAMP)?, end })
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let mut run = Run::default();
        let (mut part, mut bytes) = (0, 0);
        while let Some(Found { tag, sequence, stamp, end }) = self.look() {
            let begins = run.count == 0;
            if tag.is_pad() {
                if !begins {
                    if part == 1 {
                        break;
                    }
                    part = 1;
                }
            } else if tag.flags() & PIPELINE_EVENT_RELEASE != 0 {
                if !begins {
                    break;
                }
                self.left_out += 1;
            } else {
                let size = (end - self.at) as u64;
                if !begins && (bytes + size > MAX_RAW_BODY || sequence <= run.last_sequence) {
                    break;
                }
                bytes += size;
                if begins {
                    run.first_sequence = sequence;
                }
                let place = &mut run.parts[part];
                *place = if place.start == place.end { self.at..end } else { place.start..end };
                run.last_sequence = sequence;
                run.count += 1;
                run.flags |= tag.all_flags();
                run.stamps.add(tag, stamp);
            }
            self.at = end;
        }
        (run.count != 0).then_some(run)
    }
}

/// Gives the records of a run that have a reading of the processor's counter the time that `time_of` answers.
pub(super) fn set_times(bytes: &mut [u8], run: &Run, mut time_of: impl FnMut(u64) -> u64) {
    for part in &run.parts {
        let mut at = part.start;
        while at < part.end {
            let Some(record) = bytes.get_mut(at..part.end) else { return };
            let (Some(tag), Some(stamp)) = (word(record, 0), word(record, TIMESTAMP)) else { return };
            if Tag(tag).in_ticks() {
                put(record, 0, tag & !(u64::from(TICKS) << 32));
                put(record, TIMESTAMP, time_of(stamp));
            }
            at += Tag(tag).stride() as usize;
        }
    }
}

/// Where these lie in a record.
const SEQUENCE: usize = 8 + std::mem::offset_of!(Head, sequence);
const TIMESTAMP: usize = 8 + std::mem::offset_of!(Head, timestamp);

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, word: u64) {
    if let Some(place) = bytes.get_mut(at..at + 8) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests;
