//! The header of a block, with its clock pieces.

use super::bytes::{put, u16_at, u32_at, u64_at};
use super::checksum::Salted;
use super::{ALIGNMENT, aligned};
pub use crate::clock::piece::{Piece, piece_of};

/// The first bytes of a block.
pub const MAGIC: [u8; 4] = *b"CPB1";
/// The size of a header without clock pieces.
pub const SIZE: usize = 128;
/// The size of a clock piece.
pub const PIECE_SIZE: usize = 32;
/// The most clock pieces of a block.
pub const MAX_PIECES: u32 = 4096;
/// The size of a record's header.
pub const RECORD_HEADER: u16 = 48;

/// What a block has in its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockType(pub u16);

impl BlockType {
    /// Events of one ring.
    pub const EVENTS: Self = Self(1);
    /// Facts about the events: names, definitions, threads, clocks.
    pub const FACTS: Self = Self(2);
    /// The counts of the pipeline.
    pub const LEDGER: Self = Self(3);
    /// The last block of a complete segment.
    pub const SEAL: Self = Self(4);
    /// Zeros, which mean nothing.
    pub const FILLER: Self = Self(5);
}

/// `BlockHeader::flags`: whoever does not know the type must not read on.
pub const CRITICAL: u16 = 1;

/// How the body differs from the records.
pub mod filter {
    /// It does not.
    pub const NONE: u8 = 0;
    /// The fields of the records lie in columns.
    pub const COLUMNS: u8 = 1;
}

/// How the body is compressed.
pub mod codec {
    /// It is not.
    pub const NONE: u8 = 0;
    /// A block of LZ4.
    pub const LZ4: u8 = 1;
    /// A frame of Zstandard.
    pub const ZSTD: u8 = 2;
}

/// The header of a block, without its clock pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHeader {
    /// What it has in its body.
    pub kind: BlockType,
    /// [`CRITICAL`], or 0.
    pub flags: u16,
    /// That of the segment.
    pub generation: u64,
    /// Where it begins in the segment.
    pub offset: u64,
    /// The ring of its records.
    pub ring_id: u64,
    /// The sequence of the first record.
    pub first_sequence: u64,
    /// The sequence of the last record.
    pub last_sequence: u64,
    /// The number of records.
    pub count: u32,
    /// The union of the flags of the records.
    pub event_flags: u32,
    /// [`filter`].
    pub filter: u8,
    /// [`codec`].
    pub codec: u8,
    /// The length of the body as stored.
    pub stored_len: u64,
    /// The length of the records.
    pub raw_len: u64,
    /// The earliest time.
    pub first_ns: u64,
    /// The latest time.
    pub last_ns: u64,
    /// CLOCK_REALTIME minus CLOCK_MONOTONIC.
    pub realtime_offset_ns: i64,
    /// The number of clock pieces.
    pub pieces: u32,
    /// The checksum of the body as stored.
    pub body_sum: u32,
}

impl Piece {
    /// The piece as it lies in a block.
    pub fn encode(&self) -> [u8; PIECE_SIZE] {
        let mut bytes = [0; PIECE_SIZE];
        for (field, at) in [self.start, self.end, self.ns, self.rate].iter().zip((0..).step_by(8)) {
            put(&mut bytes, at, &field.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            start: u64_at(bytes, 0),
            end: u64_at(bytes, 8),
            ns: u64_at(bytes, 16),
            rate: u64_at(bytes, 24),
        }
    }
}

impl BlockHeader {
    /// The size of the header with its clock pieces.
    pub fn size(&self) -> usize {
        aligned((SIZE + self.pieces as usize * PIECE_SIZE) as u64) as usize
    }

    /// The bytes from the start of the block to the next one.
    pub fn total(&self) -> u64 {
        aligned((self.size() as u64).saturating_add(self.stored_len))
    }

    /// Appends the header and its pieces to `into`, with their checksum.
    pub fn encode(&self, pieces: &[Piece], salted: Salted, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + self.size(), 0);
        self.encode_at(pieces, salted, &mut into[start..]);
    }

    /// Writes the header and its pieces, with their checksum, to `bytes`, which has their [`size`](Self::size).
    pub fn encode_at(&self, pieces: &[Piece], salted: Salted, bytes: &mut [u8]) {
        debug_assert_eq!((self.pieces as usize, self.size()), (pieces.len(), bytes.len()));
        bytes.fill(0);
        put(bytes, 0, &MAGIC);
        put(bytes, 4, &self.kind.0.to_le_bytes());
        put(bytes, 6, &self.flags.to_le_bytes());
        let numbers = [self.generation, self.offset, self.ring_id, self.first_sequence, self.last_sequence];
        numbers.iter().zip((8..).step_by(8)).for_each(|(n, at)| put(bytes, at, &n.to_le_bytes()));
        put(bytes, 48, &self.count.to_le_bytes());
        put(bytes, 52, &self.event_flags.to_le_bytes());
        put(bytes, 56, &RECORD_HEADER.to_le_bytes());
        put(bytes, 58, &[self.filter, self.codec]);
        put(bytes, 60, &(self.size() as u32).to_le_bytes());
        let numbers = [self.stored_len, self.raw_len, self.first_ns, self.last_ns];
        numbers.iter().zip((64..).step_by(8)).for_each(|(n, at)| put(bytes, at, &n.to_le_bytes()));
        put(bytes, 96, &self.realtime_offset_ns.to_le_bytes());
        put(bytes, 104, &self.pieces.to_le_bytes());
        put(bytes, 112, &self.body_sum.to_le_bytes());
        for (piece, at) in pieces.iter().zip((SIZE..).step_by(PIECE_SIZE)) {
            put(bytes, at, &piece.encode());
        }
        let sum = salted.of(&[bytes]);
        put(bytes, 116, &sum.to_le_bytes());
    }

    /// The size of the header with its pieces, by the first [`SIZE`] bytes of a block. `None`: they are no start of a block.
    pub fn peek_size(bytes: &[u8]) -> Option<usize> {
        let size = u32_at(bytes, 60) as usize;
        let pieces = u32_at(bytes, 104);
        let right = bytes.len() >= SIZE
            && bytes.starts_with(&MAGIC)
            && pieces <= MAX_PIECES
            && size == aligned((SIZE + pieces as usize * PIECE_SIZE) as u64) as usize;
        right.then_some(size)
    }

    /// Reads a header with its pieces, which are appended to `pieces`. `bytes` begins with the whole header. `None`: it is damaged, is not the one of a
    /// block at `offset`, or contradicts itself.
    pub fn decode(
        bytes: &[u8],
        salted: Salted,
        generation: u64,
        offset: u64,
        pieces: &mut Vec<Piece>,
    ) -> Option<Self> {
        let bytes = bytes.get(..Self::peek_size(bytes)?)?;
        let sum = salted.of(&[&bytes[..116], &[0; 4], &bytes[120..]]);
        let header = Self {
            kind: BlockType(u16_at(bytes, 4)),
            flags: u16_at(bytes, 6),
            generation: u64_at(bytes, 8),
            offset: u64_at(bytes, 16),
            ring_id: u64_at(bytes, 24),
            first_sequence: u64_at(bytes, 32),
            last_sequence: u64_at(bytes, 40),
            count: u32_at(bytes, 48),
            event_flags: u32_at(bytes, 52),
            filter: bytes[58],
            codec: bytes[59],
            stored_len: u64_at(bytes, 64),
            raw_len: u64_at(bytes, 72),
            first_ns: u64_at(bytes, 80),
            last_ns: u64_at(bytes, 88),
            realtime_offset_ns: u64_at(bytes, 96).cast_signed(),
            pieces: u32_at(bytes, 104),
            body_sum: u32_at(bytes, 112),
        };
        let right = sum == u32_at(bytes, 116)
            && header.generation == generation
            && header.offset == offset
            && u16_at(bytes, 56) == RECORD_HEADER
            && offset.is_multiple_of(ALIGNMENT)
            && offset
                .checked_add(header.size() as u64)
                .and_then(|end| end.checked_add(header.stored_len))
                .is_some();
        if !right {
            return None;
        }
        pieces.extend(bytes[SIZE..].chunks_exact(PIECE_SIZE).take(header.pieces as usize).map(Piece::decode));
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECES: [Piece; 3] = [
        Piece { start: 100, end: 200, ns: 1_000, rate: 2 << 48 },
        Piece { start: 200, end: 300, ns: 1_200, rate: 1 << 47 },
        Piece { start: 350, end: 400, ns: 1_300, rate: 0 },
    ];

    fn header() -> BlockHeader {
        BlockHeader {
            kind: BlockType::EVENTS,
            flags: CRITICAL,
            generation: 1,
            offset: 192,
            ring_id: 3,
            first_sequence: 4,
            last_sequence: 5,
            count: 2,
            event_flags: 7,
            filter: filter::COLUMNS,
            codec: codec::ZSTD,
            stored_len: 100,
            raw_len: u64::MAX,
            first_ns: 11,
            last_ns: 12,
            realtime_offset_ns: -13,
            pieces: 3,
            body_sum: 15,
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_no_other_is() {
        let salted = Salted::new(9);
        let mut bytes = Vec::new();
        header().encode(&PIECES, salted, &mut bytes);
        assert_eq!((bytes.len(), header().size(), header().total()), (256, 256, 384));
        let read = |bytes: &[u8], salted, generation, offset| {
            let mut pieces = Vec::new();
            BlockHeader::decode(bytes, salted, generation, offset, &mut pieces).map(|header| (header, pieces))
        };
        assert_eq!(read(&bytes, salted, 1, 192), Some((header(), PIECES.to_vec())));
        assert_eq!(read(&bytes, Salted::new(8), 1, 192), None);
        assert_eq!(read(&bytes, salted, 2, 192), None);
        assert_eq!(read(&bytes, salted, 1, 256), None);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(read(&changed, salted, 1, 192), None, "{at}");
            assert_eq!(read(&bytes[..at], salted, 1, 192), None, "{at}");
        }
    }

    #[test]
    fn a_reading_belongs_to_the_last_piece_that_begins_before_it() {
        let ns = |ticks| piece_of(&PIECES, ticks).map(|piece| piece.ns(ticks));
        for (ticks, time) in [
            (0, 800),
            (99, 998),
            (100, 1_000),
            (199, 1_198),
            (200, 1_200),
            (301, 1_250),
            (349, 1_274),
            (350, 1_300),
            (u64::MAX, 1_300),
        ] {
            assert_eq!(ns(ticks), Some(time), "{ticks}");
        }
        assert_eq!(piece_of(&[], 5), None);
        let steep = Piece { start: 10, end: 20, ns: 5, rate: u64::MAX };
        assert_eq!((steep.ns(u64::MAX), steep.ns(0)), (u64::MAX, 0));
    }
}
