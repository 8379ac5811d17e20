//! The records of one block: undoing how they are stored, and checking them.

use crate::journal::format::MAX_RAW_BODY;
use crate::journal::format::block::{BlockHeader, BlockType, Piece, codec, filter, piece_of};
use crate::journal::format::columns::{DecodeError, Decoder};
use crate::journal::format::record::{HEADER, PAD, Record, TICKS};
use std::borrow::Cow;

/// Why the records of a block are not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum NoBody {
    /// The bytes are not those that were written, or contradict the header.
    Damaged,
    /// This library cannot read them.
    Unreadable(Cow<'static, str>),
    /// There is not enough memory at the moment.
    NoMemory,
}

/// What an encoded body may take more than its records: for bytes that do not compress.
const ENCODED_SLACK: u64 = 1 << 20;

/// Whether the records lie in the body as they are.
pub(in crate::journal) fn is_raw(header: &BlockHeader) -> bool {
    (header.filter, header.codec) == (filter::NONE, codec::NONE)
}

/// Checks, before anything is allocated, that a block is one that can be read.
pub(in crate::journal) fn check(header: &BlockHeader, memory: u64) -> Result<(), NoBody> {
    if is_raw(header) && header.stored_len != header.raw_len {
        return Err(NoBody::Damaged);
    }
    if u64::from(header.count) > header.raw_len / HEADER as u64 {
        return Err(NoBody::Damaged);
    }
    if header.raw_len > MAX_RAW_BODY && header.count != 1 {
        return Err(NoBody::Unreadable("several events that take more than 1 MiB".into()));
    }
    // To decode takes three times the memory beside the body as stored.
    let (part, most) = if is_raw(header) { ("a quarter", memory / 4) } else { ("an eighth", memory / 8) };
    if header.raw_len.max(header.stored_len) > most {
        return Err(NoBody::Unreadable(format!("larger than {part} of the reader's memory_bytes").into()));
    }
    if header.stored_len > header.raw_len.saturating_add(ENCODED_SLACK) {
        return Err(NoBody::Unreadable("longer as stored than its events".into()));
    }
    Ok(())
}

/// Undoes how records are stored. One serves all blocks of a reader, one after another.
#[derive(Default)]
pub(in crate::journal) struct Decoding {
    decoder: Decoder,
    records: Vec<u8>,
}

impl std::fmt::Debug for Decoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoding").finish_non_exhaustive()
    }
}

impl Decoding {
    /// Appends the records of an encoded body that has passed [`check`].
    pub fn decode(&mut self, stored: &[u8], header: &BlockHeader, into: &mut Vec<u8>) -> Result<(), NoBody> {
        let raw_len = usize::try_from(header.raw_len).map_err(|_| NoBody::NoMemory)?;
        let records = if into.is_empty() { &mut *into } else { &mut self.records };
        let decoded = self.decoder.decode(stored, header.filter, header.codec, raw_len, records);
        decoded.map_err(|error| match error {
            DecodeError::Damaged(_) => NoBody::Damaged,
            DecodeError::NoMemory => NoBody::NoMemory,
            unknown => NoBody::Unreadable(unknown.to_string().into()),
        })?;
        if !self.records.is_empty() {
            into.try_reserve(raw_len).map_err(|_| NoBody::NoMemory)?;
            into.append(&mut self.records);
        }
        Ok(())
    }
}

/// Shows all records from `start` on to `take`: each with its place, its time, and its number in the block. `false`: they are not what the header says.
#[inline]
pub(in crate::journal) fn records(
    bytes: &[u8],
    start: usize,
    header: &BlockHeader,
    pieces: &[Piece],
    mut take: impl FnMut(&Record<'_>, usize, u64, u32),
) -> bool {
    // The sequences and times of facts have no meaning.
    let events = header.kind == BlockType::EVENTS;
    let (mut at, mut count, mut last) = (start, 0_u32, None);
    let mut clock = Clock { pieces, last: 0 };
    while at < bytes.len() {
        let Some((record, next)) = Record::decode(bytes, at) else { return false };
        let rises = match last {
            None => record.sequence == header.first_sequence,
            Some(last) => record.sequence > last,
        };
        if events && !rises || record.flags & PAD != 0 || count == header.count {
            return false;
        }
        let time = if record.flags & TICKS == 0 {
            record.timestamp
        } else {
            match clock.ns(record.timestamp) {
                None if events => return false,
                time => time.unwrap_or(0),
            }
        };
        take(&record, at, time, count);
        (at, count, last) = (next, count + 1, Some(record.sequence));
    }
    count == header.count && (!events || last.is_none_or(|last| last == header.last_sequence))
}

/// The pieces, and the one that the last reading belonged to: the next one usually belongs to it as well.
struct Clock<'a> {
    pieces: &'a [Piece],
    last: usize,
}

impl Clock<'_> {
    #[inline]
    fn ns(&mut self, ticks: u64) -> Option<u64> {
        if let Some(piece) = self.pieces.get(self.last)
            && piece.start <= ticks
            && self.pieces.get(self.last + 1).is_none_or(|next| ticks < next.start)
        {
            return Some(piece.ns(ticks));
        }
        let piece = piece_of(self.pieces, ticks)?;
        self.last = self.pieces.partition_point(|piece| piece.start <= ticks).saturating_sub(1);
        Some(piece.ns(ticks))
    }
}
