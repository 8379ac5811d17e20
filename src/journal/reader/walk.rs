//! Going from block to block through a segment, by the headers alone.

use super::segment::Open;
use super::window::Window;
use crate::journal::format::block::{self, BlockHeader, Piece};
use crate::journal::format::{ALIGNMENT, aligned};
use std::io;

/// What is read at once where blocks are small, or where the next block is searched.
const CHUNK: usize = 256 << 10;
/// What is read where the last block was large: one header, and no body for nothing.
const SMALL_CHUNK: usize = 4 << 10;
/// After so many bytes without a block, holes of the file are skipped. A hole may be larger than anything that can be read.
const SKIP_HOLES_AFTER: u64 = 16 << 20;
/// How many bytes may be checked in vain for each byte of a segment. A segment can be made of headers of 128 KiB whose checksums are wrong, one every 64 bytes.
const CHECKED_PER_BYTE: u64 = 16;

/// What is at a place in a segment.
#[derive(Debug)]
pub(super) enum Found {
    /// A block, which ends within the file.
    Block(BlockHeader),
    /// No block before the one that begins at `to`.
    Damage {
        /// Where a block begins.
        to: u64,
    },
    /// No block up to the end of the file.
    Tail {
        /// The bytes that are no block.
        bytes: u64,
    },
}

/// A walk through a segment.
#[derive(Debug, Default)]
pub(super) struct Walk {
    window: Window,
    pieces: Vec<Piece>,
    /// Where the next block begins.
    pub at: u64,
    chunk: usize,
    checked: u64,
}

impl Walk {
    /// Begins at `at` in another segment, or in the same one after it has changed.
    pub fn start(&mut self, at: u64) {
        self.window.clear();
        (self.at, self.chunk, self.checked) = (at, SMALL_CHUNK, 0);
    }

    /// What is at the walk's place; the walk goes behind it. At the tail it stays.
    pub fn next(&mut self, open: &Open) -> io::Result<Found> {
        let (at, size) = (self.at, open.info.size);
        if let Some(header) = self.block_at(open, at)? {
            let total = header.total();
            self.chunk = if total < CHUNK as u64 / 8 { CHUNK } else { SMALL_CHUNK };
            self.at = at.saturating_add(total);
            return Ok(Found::Block(header));
        }
        self.chunk = CHUNK;
        let most = size.saturating_mul(CHECKED_PER_BYTE).saturating_add(CHUNK as u64);
        let (mut to, mut looked_at) = (at, at);
        loop {
            to = aligned(to.saturating_add(1));
            if to - looked_at >= SKIP_HOLES_AFTER {
                to = to.max(open.next_data(to) / ALIGNMENT * ALIGNMENT);
                looked_at = to;
            }
            if to >= size || self.checked > most {
                return Ok(Found::Tail { bytes: size.saturating_sub(at) });
            }
            if self.block_at(open, to)?.is_some() {
                self.at = to;
                return Ok(Found::Damage { to });
            }
        }
    }

    /// The block at `at`, if there is a valid one.
    fn block_at(&mut self, open: &Open, at: u64) -> io::Result<Option<BlockHeader>> {
        let size = open.info.size;
        if at.saturating_add(block::SIZE as u64) > size {
            return Ok(None);
        }
        let file = open.file()?;
        // No more than there is.
        let chunk = usize::try_from(size - at).map_or(self.chunk, |rest| rest.min(self.chunk));
        let bytes = self.window.at(file, at, block::SIZE, chunk)?;
        let Some(length) = BlockHeader::peek_size(bytes) else { return Ok(None) };
        let bytes = self.window.at(file, at, length, chunk)?;
        self.pieces.clear();
        let header =
            BlockHeader::decode(bytes, open.salted, open.info.header.generation, at, &mut self.pieces);
        let header = header.filter(|header| end(header).is_some_and(|end| end <= size));
        if header.is_none() {
            self.checked = self.checked.saturating_add(length as u64);
        }
        Ok(header)
    }
}

/// The end of a block's body.
fn end(header: &BlockHeader) -> Option<u64> {
    header.offset.checked_add(header.size() as u64)?.checked_add(header.stored_len)
}
