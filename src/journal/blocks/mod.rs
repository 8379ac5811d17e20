//! Blocks as they are put together in memory, for a segment of a journal or for a message. Where they will lie is not known yet: their headers are written last, for one
//! segment and offset.

pub mod facts;
mod gather;
pub mod ledger;
pub mod views;

use crate::batch::spans::SpanView;
use crate::journal::format::block::{self, BlockHeader, BlockType, Piece};
use crate::journal::format::checksum::Salted;
use crate::journal::format::columns::{EncodeError, Encoder};
use crate::journal::format::record::{Record, stride};
use crate::journal::format::{ALIGNMENT, aligned};
use gather::Gather;

/// There is not enough memory at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// A block whose header is not written yet.
#[derive(Clone, Debug)]
struct Pending {
    header: BlockHeader,
    /// Where the header lies in the buffer.
    at: usize,
    /// The first part of the body, and the first one behind it.
    body: (usize, usize),
    /// Its first clock piece in `Blocks::pieces`.
    first_piece: usize,
}

/// Blocks that are to be written one behind the other.
#[derive(Debug, Default)]
pub struct Blocks {
    gather: Gather,
    pending: Vec<Pending>,
    pieces: Vec<Piece>,
    /// The length before the block that was begun last.
    open_at: u64,
    open: bool,
}

impl Blocks {
    /// Removes all blocks.
    pub fn clear(&mut self) {
        self.gather.clear();
        self.pending.clear();
        self.pieces.clear();
        self.open = false;
    }

    /// Makes room for so many blocks without pieces, with so many bytes of copied and so many parts of borrowed body.
    pub fn reserve(&mut self, blocks: usize, bytes: usize, borrowed: usize) -> Result<(), NoMemory> {
        let around = blocks * (block::SIZE + 2 * ALIGNMENT as usize);
        self.gather.reserve(bytes + around, 4 * blocks + 2 * borrowed)?;
        self.pending.try_reserve(blocks).map_err(|_| NoMemory)
    }

    /// Makes room for so many clock pieces.
    pub fn reserve_pieces(&mut self, pieces: usize) -> Result<(), NoMemory> {
        self.gather.reserve(pieces * block::PIECE_SIZE, 0)?;
        self.pieces.try_reserve(pieces).map_err(|_| NoMemory)
    }

    /// The bytes of all blocks.
    pub fn len(&self) -> u64 {
        self.gather.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The rings of the blocks.
    pub fn rings(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|block| block.header.ring_id)
    }

    /// The number of blocks of events, and of events in them.
    pub fn counts(&self) -> (u64, u64) {
        let events = self.pending.iter().filter(|block| block.header.kind == BlockType::EVENTS);
        events.fold((0, 0), |(blocks, events), block| (blocks + 1, events + u64::from(block.header.count)))
    }

    /// What is whole of the blocks in a file of so many bytes, if the first one begins at `at`: where the last whole one ends, the number of blocks of events,
    /// and of events in them.
    pub fn whole_in(&self, at: u64, bytes: u64) -> (u64, u64, u64) {
        let (mut end, mut blocks, mut events) = (at, 0, 0);
        for Pending { header, .. } in &self.pending {
            // The padding may be missing.
            if end + header.size() as u64 + header.stored_len > bytes {
                break;
            }
            end += header.total();
            if header.kind == BlockType::EVENTS {
                blocks += 1;
                events += u64::from(header.count);
            }
        }
        (end, blocks, events)
    }

    /// Begins a block. Room for it was made by [`reserve`](Self::reserve).
    pub fn begin(&mut self, kind: BlockType, ring_id: u64, realtime_offset_ns: i64) {
        let first_ns = u64::MAX;
        self.begin_with(
            BlockHeader { kind, ring_id, realtime_offset_ns, first_ns, ..BlockHeader::default() },
            &[],
        );
    }

    fn begin_with(&mut self, header: BlockHeader, pieces: &[Piece]) {
        self.open_at = self.gather.len();
        self.open = true;
        let at = self.gather.buffer().len();
        self.gather.buffer().resize(at + header.size(), 0);
        self.gather.copied();
        let first = self.gather.begin_part();
        self.pending.push(Pending { header, at, body: (first, first), first_piece: self.pieces.len() });
        self.pieces.extend_from_slice(pieces);
    }

    /// Adds a block with records as they lie in a ring buffer. [`end`](Self::end) must follow.
    ///
    /// # Safety
    /// The records stay valid until the blocks are cleared, or used no more.
    pub unsafe fn span(&mut self, span: &SpanView<'_>, realtime_offset_ns: i64) {
        let header = BlockHeader {
            kind: BlockType::EVENTS,
            ring_id: span.ring_id,
            first_sequence: span.first_sequence,
            last_sequence: span.last_sequence,
            count: span.count,
            event_flags: span.flags,
            raw_len: span.records.iter().map(|part| part.len() as u64).sum(),
            first_ns: span.earliest_ns,
            last_ns: span.latest_ns,
            realtime_offset_ns,
            pieces: span.pieces.len() as u32,
            ..BlockHeader::default()
        };
        self.begin_with(header, span.pieces);
        for part in span.records.iter().filter(|part| !part.is_empty()) {
            // SAFETY: passed on.
            unsafe { self.gather.borrow(part.as_ptr(), part.len()) };
        }
    }

    /// Puts the records of the block that was begun last into columns, if that pays.
    pub fn encode(&mut self, encoder: &mut Encoder, codec: u8) -> Result<(), NoMemory> {
        let Some(Pending { header, body, .. }) = self.pending.last_mut() else { return Ok(()) };
        let records = self.gather.slices(body.0..self.gather.parts());
        let encoded = match encoder.encode(records, codec) {
            Ok(encoded) => encoded,
            // They are written as they are.
            Err(EncodeError::NoMemory | EncodeError::NotRecords) => return Ok(()),
        };
        if encoded.bytes.is_empty() {
            return Ok(());
        }
        self.gather.cut(body.0);
        self.gather.reserve(encoded.bytes.len() + 2 * ALIGNMENT as usize, 4)?;
        self.gather.begin_part();
        self.gather.buffer().extend_from_slice(encoded.bytes);
        self.gather.copied();
        header.filter = encoded.filter;
        header.codec = encoded.codec;
        header.stored_len = encoded.bytes.len() as u64;
        Ok(())
    }

    /// Adds a record to the block that was begun last.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>) {
        self.note(record, record.payload.len());
        record.encode(self.gather.buffer());
        self.gather.copied();
    }

    /// Adds a record whose payload stays where it is.
    ///
    /// # Safety
    /// The payload stays valid until the blocks are cleared, or used no more.
    pub unsafe fn record_borrowing(&mut self, record: &Record<'_>, payload: *const u8, len: usize) {
        self.note(record, len);
        let buffer = self.gather.buffer();
        let at = buffer.len();
        record.encode(buffer);
        buffer[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
        self.gather.copied();
        // SAFETY: passed on.
        unsafe { self.gather.borrow(payload, len) };
        let padding = stride(len) - stride(0) - len;
        let buffer = self.gather.buffer();
        buffer.resize(buffer.len() + padding, 0);
        self.gather.copied();
    }

    #[inline]
    fn note(&mut self, record: &Record<'_>, len: usize) {
        let Some(Pending { header, .. }) = self.pending.last_mut() else { return };
        if header.count == 0 {
            header.first_sequence = record.sequence;
        }
        header.last_sequence = record.sequence;
        header.count += 1;
        header.event_flags |= record.flags;
        header.raw_len += stride(len) as u64;
        header.first_ns = header.first_ns.min(record.timestamp);
        header.last_ns = header.last_ns.max(record.timestamp);
    }

    /// Adds bytes that are no records to the block that was begun last.
    pub fn words(&mut self, words: &[u64]) {
        for word in words {
            self.gather.buffer().extend_from_slice(&word.to_le_bytes());
        }
        self.gather.copied();
        if let Some(Pending { header, .. }) = self.pending.last_mut() {
            header.raw_len += size_of_val(words) as u64;
        }
    }

    /// Whether a block was begun and not ended.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Adds a block of so many bytes in all that means nothing: at least a header, and a multiple of the alignment.
    pub fn filler(&mut self, bytes: u64) -> Result<(), NoMemory> {
        let body = (bytes as usize).saturating_sub(block::SIZE);
        self.reserve(1, body, 0)?;
        self.begin(BlockType::FILLER, 0, 0);
        let buffer = self.gather.buffer();
        buffer.resize(buffer.len() + body, 0);
        self.gather.copied();
        if let Some(Pending { header, .. }) = self.pending.last_mut() {
            header.raw_len = body as u64;
        }
        self.end();
        Ok(())
    }

    /// The number of records in the block that was begun last.
    pub fn records(&self) -> u32 {
        self.pending.last().map_or(0, |block| block.header.count)
    }

    /// Bytes of records in the block that was begun last.
    pub fn body_len(&self) -> u64 {
        self.pending.last().map_or(0, |block| block.header.raw_len)
    }

    /// Ends the block that was begun last.
    pub fn end(&mut self) {
        self.open = false;
        let Some(block) = self.pending.last_mut() else { return };
        if block.header.stored_len == 0 {
            block.header.stored_len = block.header.raw_len;
        }
        if block.header.count == 0 || block.header.kind != BlockType::EVENTS {
            block.header.first_ns = 0;
            block.header.last_ns = 0;
        }
        block.body.1 = self.gather.parts();
        // The padding belongs to no body.
        self.gather.begin_part();
        let len = self.gather.len() - self.open_at;
        let buffer = self.gather.buffer();
        buffer.resize(buffer.len() + (aligned(len) - len) as usize, 0);
        self.gather.copied();
    }

    /// Writes the headers for a place in a segment, and answers all bytes.
    pub fn place(&mut self, generation: u64, salted: Salted, offset: u64) -> impl Iterator<Item = &[u8]> {
        let mut offset = offset;
        for block in &mut self.pending {
            let header = &mut block.header;
            header.generation = generation;
            header.offset = offset;
            header.body_sum = salted.of_all(self.gather.slices(block.body.0..block.body.1));
            let pieces = &self.pieces[block.first_piece..][..header.pieces as usize];
            header.encode_at(pieces, salted, self.gather.patch(block.at..block.at + header.size()));
            offset += header.total();
        }
        self.gather.all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the blocks are in a segment, from `offset` on: type, records, and the bytes of the body.
    fn read(bytes: &[u8], salted: Salted, offset: u64) -> Vec<(BlockType, u32, Vec<u8>)> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let header =
                BlockHeader::decode(rest, salted, 7, offset + at as u64, &mut Vec::new()).expect("a header");
            let body = &rest[header.size()..][..header.stored_len as usize];
            assert_eq!(salted.of(&[body]), header.body_sum, "the body at {at}");
            found.push((header.kind, header.count, body.to_vec()));
            at += header.total() as usize;
        }
        found
    }

    #[test]
    fn blocks_are_read_as_they_were_put_together() {
        let payloads: Vec<Vec<u8>> =
            [0usize, 1, 8, 15, 16, 17, 64].iter().map(|&len| vec![len as u8; len]).collect();
        let mut blocks = Blocks::default();
        for round in 0..2 {
            blocks.clear();
            let (mut wanted, mut total) = (Vec::new(), 0);
            for borrowed in 0..payloads.len() {
                blocks.reserve(1, 4096, payloads.len()).unwrap();
                blocks.begin(BlockType::EVENTS, 3, 0);
                let mut body = Vec::new();
                for (n, payload) in payloads.iter().enumerate() {
                    let record = Record { sequence: n as u64, timestamp: 5, ..Record::default() };
                    Record { payload, ..record }.encode(&mut body);
                    if n == borrowed && !payload.is_empty() {
                        // SAFETY: the payloads outlive the blocks.
                        unsafe { blocks.record_borrowing(&record, payload.as_ptr(), payload.len()) };
                    } else {
                        blocks.record(&Record { payload, ..record });
                    }
                }
                blocks.end();
                total += payloads.len() as u64;
                wanted.push((BlockType::EVENTS, payloads.len() as u32, body));
                blocks.reserve(1, 16, 0).unwrap();
                blocks.begin(BlockType::SEAL, 0, 0);
                blocks.words(&[1, 2]);
                blocks.end();
                wanted.push((BlockType::SEAL, 0, [1u64.to_le_bytes(), 2u64.to_le_bytes()].concat()));
            }
            let salted = Salted::new(round);
            assert_eq!(blocks.counts(), (payloads.len() as u64, total));
            let len = blocks.len();
            for offset in [0, 640] {
                let bytes: Vec<u8> = blocks.place(7, salted, offset).collect::<Vec<_>>().concat();
                assert_eq!(bytes.len() as u64, len);
                assert_eq!(read(&bytes, salted, offset), wanted);
            }
        }
    }
}
