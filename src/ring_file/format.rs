//! The layout of a ring file. `docs/format.md` specifies it.
//!
//! ```text
//! header         4,096 bytes, never changed once the file is complete
//! clock          the timeline that converts readings of the processor's counter
//! facts          names and definitions of kinds, attributes: records, one behind the other, never wrapped
//! figures        what the pipeline counts, as in a file of live figures
//! ring headers   512 bytes for each ring: the words that say what is committed
//! rings          the memory of the ordinary rings, then that of the priority rings
//! ```
//! Everything but the header's checksum is in the machine's order of bytes, which is little-endian. Regions begin at multiples of 4,096.

use crate::journal::format::bytes::{array, put, u32_at, u64_at};
use crate::journal::format::checksum;
use crate::journal::format::figures;
use crate::journal::format::segment::Owner;
use crate::ring::record;

/// The first bytes of a complete file. They are written last; before that they are zeros.
pub const MAGIC: [u8; 8] = *b"\x89CPR\r\n\x1a\n";
/// The version of the layout.
pub const VERSION: u32 = 1;
/// The size of the header.
pub const HEADER_BYTES: u64 = 4096;
/// Where the clock's words are: see [`clock`].
pub const CLOCK_AT: u64 = HEADER_BYTES;
/// The size of the clock's region.
const CLOCK_BYTES: u64 = page(clock::PIECES_AT + clock::PIECES * clock::PIECE_BYTES);
/// Where the facts are. The first eight bytes are the number of bytes of records that are committed; the records begin at [`FACTS_START`] from here.
pub const FACTS_AT: u64 = CLOCK_AT + CLOCK_BYTES;
/// The size of the facts' region.
pub const FACTS_BYTES: u64 = 1 << 20;
/// Where the first fact is in its region.
pub const FACTS_START: u64 = 64;
/// Where the figures are.
pub const FIGURES_AT: u64 = FACTS_AT + FACTS_BYTES;
/// Where the headers of the rings are.
pub const RING_HEADERS_AT: u64 = FIGURES_AT + figures::FILE_BYTES as u64;
/// The size of a ring's header.
pub const RING_HEADER_BYTES: u64 = 512;
/// The longest name of a pipeline and of a program; the rest of a longer one is cut.
const MAX_NAME: usize = 255;
const MAX_PROGRAM: usize = 3072;
const NAME_AT: usize = 256;
const PROGRAM_AT: usize = 512;
const BYTE_ORDER: u32 = 0x0102_0304;
/// `flags`: records are stamped with readings of the processor's counter.
const IN_TICKS: u32 = 1;
/// The most rings that a file may have, of each sort.
const MAX_RINGS: u32 = 1 << 20;

/// Where the words of the clock are, from [`CLOCK_AT`] on. Pieces number `first` to `next` - 1 are valid, each at its number modulo [`PIECES`](clock::PIECES):
/// start, end, nanoseconds, rate.
pub mod clock {
    /// The number of the oldest piece.
    pub const FIRST: u64 = 0;
    /// The number of the next piece.
    pub const NEXT: u64 = 8;
    /// The latest time that a reading converts to.
    pub const CEILING: u64 = 16;
    /// Where the pieces are.
    pub const PIECES_AT: u64 = 64;
    /// How many there may be.
    pub const PIECES: u64 = 4096;
    /// The size of one.
    pub const PIECE_BYTES: u64 = 32;
}

/// Where the words of a ring are in its header. Positions are counted in bytes and never decrease; a position's place in the ring's memory is the position modulo the
/// ring's size.
pub mod ring {
    /// Records are committed up to this position.
    pub const HEAD: u64 = 0;
    /// Records are claimed (or overwritten) up to this one.
    pub const CLAIMED: u64 = 128;
    /// Records are stored, or gone for another reason, up to this one.
    pub const RELEASED: u64 = 256;
    /// The ring's id. It changes only while the ring is empty; 0: never used.
    pub const RING_ID: u64 = 384;
    /// The thread that captures into it; 0: it is not one thread's.
    pub const TID: u64 = 392;
    /// The thread's name, 16 bytes padded with zeros.
    pub const NAME: u64 = 400;
}

const fn page(bytes: u64) -> u64 {
    (bytes + 4095) & !4095
}

/// How many rings of what size a file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The size of an ordinary ring, a power of two from 4,096 on.
    pub ring_bytes: u64,
    /// The size of a priority ring, likewise; 0 if there are none.
    pub priority_ring_bytes: u64,
    /// How many ordinary rings.
    pub rings: u32,
    /// How many priority rings.
    pub priority_rings: u32,
}

impl Shape {
    /// Rings of both sorts. The ordinary ones come first in every count.
    pub fn all_rings(&self) -> u64 {
        u64::from(self.rings) + u64::from(self.priority_rings)
    }

    /// The size of a ring.
    pub fn bytes_of(&self, ring: u64) -> u64 {
        if ring < u64::from(self.rings) { self.ring_bytes } else { self.priority_ring_bytes }
    }

    /// Where a ring's header is in the file.
    pub fn header_at(&self, ring: u64) -> u64 {
        RING_HEADERS_AT + ring * RING_HEADER_BYTES
    }

    /// Where a ring's memory is in the file.
    pub fn ring_at(&self, ring: u64) -> u64 {
        let ordinary = ring.min(self.rings.into());
        page(self.header_at(self.all_rings()))
            + ordinary * self.ring_bytes
            + (ring - ordinary) * self.priority_ring_bytes
    }

    /// The size of the file.
    pub fn file_bytes(&self) -> u64 {
        self.ring_at(self.all_rings())
    }

    /// Whether these are sizes that a library of this version makes.
    fn is_possible(&self) -> bool {
        let size = |bytes: u64| bytes.is_power_of_two() && (4096..=1 << 32).contains(&bytes);
        size(self.ring_bytes)
            && (1..=MAX_RINGS).contains(&self.rings)
            && self.priority_rings <= MAX_RINGS
            && if self.priority_rings == 0 {
                self.priority_ring_bytes == 0
            } else {
                size(self.priority_ring_bytes)
            }
    }
}

/// The header of a ring file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The run of the pipeline.
    pub generation: u64,
    /// How the file is divided.
    pub shape: Shape,
    /// Whether records may be stamped with readings of the processor's counter.
    pub in_ticks: bool,
    /// The process that captures into the file.
    pub owner: Owner,
    /// CLOCK_MONOTONIC when it was made.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME at that moment.
    pub realtime_ns: u64,
    /// The pipeline's name.
    pub name: Vec<u8>,
    /// The name of the program.
    pub program: Vec<u8>,
}

/// Why the bytes at the start of a file are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRingFile {
    /// The file is no ring file.
    Foreign,
    /// The file is being made, or its process has died while it made it. Nothing was captured into it.
    Unfinished,
    /// A file of another version of the layout.
    Version(u32),
    /// A file of a machine with another byte order.
    ByteOrder,
    /// The header is damaged.
    Damaged,
    /// The file is shorter than its header says: the size that it has, and that it must have.
    Cut(u64, u64),
}

impl std::fmt::Display for NoRingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign => f.write_str("no ring file"),
            Self::Unfinished => f.write_str("the file was not finished when it was made; it holds no event"),
            Self::Version(version) => {
                write!(f, "layout version {version}; this library reads version {VERSION}")
            }
            Self::ByteOrder => f.write_str("written on a machine with another byte order"),
            Self::Damaged => f.write_str("the header is damaged"),
            Self::Cut(bytes, all) => write!(f, "cut: it has {bytes} of {all} bytes"),
        }
    }
}

impl Header {
    /// The header as it lies in the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        let name = &self.name[..self.name.len().min(MAX_NAME)];
        let program = &self.program[..self.program.len().min(MAX_PROGRAM)];
        put(&mut bytes, 0, &MAGIC);
        let words = [
            BYTE_ORDER,
            VERSION,
            record::HEADER as u32,
            if self.in_ticks { IN_TICKS } else { 0 },
            name.len() as u32,
            program.len() as u32,
        ];
        words.iter().zip((8..).step_by(4)).for_each(|(word, at)| put(&mut bytes, at, &word.to_le_bytes()));
        let words = [
            self.generation,
            self.shape.ring_bytes,
            self.shape.priority_ring_bytes,
            u64::from(self.shape.rings),
            u64::from(self.shape.priority_rings),
            self.shape.file_bytes(),
        ];
        words.iter().zip((32..).step_by(8)).for_each(|(word, at)| put(&mut bytes, at, &word.to_le_bytes()));
        put(&mut bytes, 80, &self.owner.boot_id);
        let words = [
            u64::from(self.owner.pid),
            self.owner.pid_namespace,
            self.owner.start_time,
            self.monotonic_ns,
            self.realtime_ns,
        ];
        words.iter().zip((96..).step_by(8)).for_each(|(word, at)| put(&mut bytes, at, &word.to_le_bytes()));
        put(&mut bytes, NAME_AT, name);
        put(&mut bytes, PROGRAM_AT, program);
        let sum = checksum::unsalted(&bytes[..HEADER_BYTES as usize - 4]);
        put(&mut bytes, HEADER_BYTES as usize - 4, &sum.to_le_bytes());
        bytes
    }

    /// Reads a header from the first bytes of a file, which has so many.
    pub fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, NoRingFile> {
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if !magic.is_empty() && magic.iter().all(|&byte| byte == 0) {
            return Err(NoRingFile::Unfinished);
        }
        if magic != MAGIC {
            return Err(NoRingFile::Foreign);
        }
        if bytes.len() < 16 {
            return Err(NoRingFile::Damaged);
        }
        match u32_at(bytes, 8) {
            BYTE_ORDER => {}
            order if order == BYTE_ORDER.swap_bytes() => return Err(NoRingFile::ByteOrder),
            _ => return Err(NoRingFile::Damaged),
        }
        let version = u32_at(bytes, 12);
        if version != VERSION {
            return Err(NoRingFile::Version(version));
        }
        let bytes = bytes.get(..HEADER_BYTES as usize).ok_or(NoRingFile::Damaged)?;
        let sum_at = HEADER_BYTES as usize - 4;
        if checksum::unsalted(&bytes[..sum_at]) != u32_at(bytes, sum_at) {
            return Err(NoRingFile::Damaged);
        }
        let text = |at: usize, len: usize, most: usize| {
            let len = u32_at(bytes, len) as usize;
            if len > most { Err(NoRingFile::Damaged) } else { Ok(bytes[at..at + len].to_vec()) }
        };
        let count = |at: usize| u32::try_from(u64_at(bytes, at)).map_err(|_| NoRingFile::Damaged);
        let header = Self {
            generation: u64_at(bytes, 32),
            shape: Shape {
                ring_bytes: u64_at(bytes, 40),
                priority_ring_bytes: u64_at(bytes, 48),
                rings: count(56)?,
                priority_rings: count(64)?,
            },
            in_ticks: u32_at(bytes, 20) & IN_TICKS != 0,
            owner: Owner {
                boot_id: array(bytes, 80),
                pid: count(96)?,
                pid_namespace: u64_at(bytes, 104),
                start_time: u64_at(bytes, 112),
            },
            monotonic_ns: u64_at(bytes, 120),
            realtime_ns: u64_at(bytes, 128),
            name: text(NAME_AT, 24, MAX_NAME)?,
            program: text(PROGRAM_AT, 28, MAX_PROGRAM)?,
        };
        let possible = header.shape.is_possible() && u32_at(bytes, 16) == record::HEADER as u32;
        if !possible || header.shape.file_bytes() != u64_at(bytes, 72) {
            return Err(NoRingFile::Damaged);
        }
        if file_bytes < header.shape.file_bytes() {
            return Err(NoRingFile::Cut(file_bytes, header.shape.file_bytes()));
        }
        Ok(header)
    }
}

/// The name of a run's file.
pub fn file_name(generation: u64) -> String {
    format!("{generation:016x}.rings")
}

/// The run whose file has this name. `None`: it is no name of a ring file.
pub fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".rings")?;
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digits.len() == 16 && digits.bytes().all(digit)).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests;
