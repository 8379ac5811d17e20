//! The header of a segment, and the name of its file.

use super::bytes::{array, put, u32_at, u64_at};
use super::{VERSION, aligned, checksum};
use std::ffi::CString;

/// The first bytes of a segment.
pub const MAGIC: [u8; 8] = *b"\x89CPJ\r\n\x1a\n";
/// The size of a header whose program has no name, and of the largest one.
pub const MIN_SIZE: usize = 192;
/// See [`MIN_SIZE`].
pub const MAX_SIZE: usize = 4096;
/// The longest name of a program; the rest of a longer one is cut.
const MAX_PROGRAM: usize = 3072;
const BYTE_ORDER: u32 = 0x0102_0304;
/// Where the program's name begins.
const PROGRAM: usize = 128;

/// The header of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The run of the pipeline that wrote it.
    pub generation: u64,
    /// The segment's number in that run, from 1.
    pub number: u64,
    /// Which writer wrote it.
    pub writer_id: u32,
    /// With what the checksums of its blocks begin.
    pub salt: u64,
    /// Who wrote it.
    pub owner: Owner,
    /// CLOCK_MONOTONIC when it was made.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME at that moment.
    pub realtime_ns: u64,
    /// The name of the program.
    pub program: Vec<u8>,
}

/// The process that writes a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Which boot of the machine; all 0: unknown.
    pub boot_id: [u8; 16],
    /// The process, in its own pid namespace.
    pub pid: u32,
    /// The inode of that namespace; 0: unknown.
    pub pid_namespace: u64,
    /// When the process started, in clock ticks since the boot; 0: unknown.
    pub start_time: u64,
}

/// Why the bytes at the start of a file are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSegment {
    /// The file is no segment.
    Foreign,
    /// A segment of another version of the format.
    Version(u32),
    /// A segment written on a machine with another byte order.
    ByteOrder,
    /// The header is damaged or cut.
    Damaged,
}

impl std::fmt::Display for NoSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign => f.write_str("no segment of a journal"),
            Self::Version(version) => {
                write!(f, "format version {version}; this library reads version {VERSION}")
            }
            Self::ByteOrder => f.write_str("written on a machine with another byte order"),
            Self::Damaged => f.write_str("the segment's header is damaged"),
        }
    }
}

impl SegmentHeader {
    /// The header as it lies in the file.
    pub fn encode(&self) -> Vec<u8> {
        let program = &self.program[..self.program.len().min(MAX_PROGRAM)];
        let size = aligned((PROGRAM + program.len() + 4) as u64).max(MIN_SIZE as u64) as usize;
        let mut bytes = vec![0; size];
        put(&mut bytes, 0, &MAGIC);
        let words = [BYTE_ORDER, VERSION, size as u32, self.writer_id];
        words.iter().zip((8..).step_by(4)).for_each(|(word, at)| put(&mut bytes, at, &word.to_le_bytes()));
        put(&mut bytes, 24, &self.generation.to_le_bytes());
        put(&mut bytes, 32, &self.number.to_le_bytes());
        put(&mut bytes, 40, &self.salt.to_le_bytes());
        put(&mut bytes, 48, &self.owner.boot_id);
        put(&mut bytes, 64, &self.owner.pid.to_le_bytes());
        put(&mut bytes, 68, &(program.len() as u32).to_le_bytes());
        put(&mut bytes, 72, &self.owner.pid_namespace.to_le_bytes());
        put(&mut bytes, 80, &self.owner.start_time.to_le_bytes());
        put(&mut bytes, 88, &self.monotonic_ns.to_le_bytes());
        put(&mut bytes, 96, &self.realtime_ns.to_le_bytes());
        put(&mut bytes, PROGRAM, program);
        let sum = checksum::unsalted(&bytes[..size - 4]);
        put(&mut bytes, size - 4, &sum.to_le_bytes());
        bytes
    }

    /// Reads a header from the first bytes of a file: [`MAX_SIZE`] of them, or all. Returns it with its size.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), NoSegment> {
        if bytes.len() < MAGIC.len() || !bytes.starts_with(&MAGIC) {
            return Err(NoSegment::Foreign);
        }
        if bytes.len() < 20 {
            return Err(NoSegment::Damaged);
        }
        match u32_at(bytes, 8) {
            BYTE_ORDER => {}
            order if order == BYTE_ORDER.swap_bytes() => return Err(NoSegment::ByteOrder),
            _ => return Err(NoSegment::Damaged),
        }
        let version = u32_at(bytes, 12);
        if version != VERSION {
            return Err(NoSegment::Version(version));
        }
        let size = u32_at(bytes, 16) as usize;
        if !(MIN_SIZE..=MAX_SIZE).contains(&size) || !size.is_multiple_of(64) {
            return Err(NoSegment::Damaged);
        }
        let bytes = bytes.get(..size).ok_or(NoSegment::Damaged)?;
        if checksum::unsalted(&bytes[..size - 4]) != u32_at(bytes, size - 4) {
            return Err(NoSegment::Damaged);
        }
        let program = bytes[PROGRAM..size - 4].get(..u32_at(bytes, 68) as usize).ok_or(NoSegment::Damaged)?;
        let header = Self {
            generation: u64_at(bytes, 24),
            number: u64_at(bytes, 32),
            writer_id: u32_at(bytes, 20),
            salt: u64_at(bytes, 40),
            owner: Owner {
                boot_id: array(bytes, 48),
                pid: u32_at(bytes, 64),
                pid_namespace: u64_at(bytes, 72),
                start_time: u64_at(bytes, 80),
            },
            monotonic_ns: u64_at(bytes, 88),
            realtime_ns: u64_at(bytes, 96),
            program: program.to_vec(),
        };
        Ok((header, size))
    }
}

/// The name of a segment's file.
pub fn file_name(generation: u64, number: u64) -> String {
    format!("{generation:016x}-{number:08}.journal")
}

/// The same for a system call.
pub fn segment_name(generation: u64, number: u64) -> CString {
    CString::new(file_name(generation, number)).unwrap_or_default()
}

/// The generation and number of a segment by the name of its file. `None`: it is no name of a segment.
pub fn parse_file_name(name: &str) -> Option<(u64, u64)> {
    let (generation, number) = name.strip_suffix(".journal")?.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let hexadecimal = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if generation.len() != 16 || number.len() < 8 || !digits(number) || !hexadecimal(generation) {
        return None;
    }
    let parsed = (u64::from_str_radix(generation, 16).ok()?, number.parse().ok()?);
    (file_name(parsed.0, parsed.1) == name).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(program: &[u8]) -> SegmentHeader {
        SegmentHeader {
            generation: 0xFEDC_BA98_7654_3210,
            number: 7,
            writer_id: 3,
            salt: u64::MAX - 1,
            owner: Owner { boot_id: [9; 16], pid: 11, pid_namespace: 12, start_time: 13 },
            monotonic_ns: 14,
            realtime_ns: 15,
            program: program.to_vec(),
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for program in [&b""[..], b"server", &[7; 3072]] {
            let bytes = header(program).encode();
            assert_eq!(SegmentHeader::decode(&bytes), Ok((header(program), bytes.len())));
            assert_eq!(
                SegmentHeader::decode(&[&bytes[..], b"blocks"].concat()).map(|(_, size)| size),
                Ok(bytes.len())
            );
        }
        let cut = header(&[7; 4000]).encode();
        assert_eq!(SegmentHeader::decode(&cut).map(|(h, _)| h), Ok(header(&[7; 3072])));
    }

    #[test]
    fn what_is_no_header_is_named() {
        let bytes = header(b"x").encode();
        let changed = |at: usize, to: &[u8]| {
            let mut bytes = bytes.clone();
            put(&mut bytes, at, to);
            SegmentHeader::decode(&bytes).map(|(h, _)| h)
        };
        assert_eq!(SegmentHeader::decode(b""), Err(NoSegment::Foreign));
        assert_eq!(changed(0, b"SQLite f"), Err(NoSegment::Foreign));
        assert_eq!(changed(8, &[1, 2, 3, 4]), Err(NoSegment::ByteOrder));
        assert_eq!(changed(12, &[2]), Err(NoSegment::Version(2)));
        assert_eq!(changed(16, &u32::MAX.to_le_bytes()), Err(NoSegment::Damaged));
        assert_eq!(changed(68, &u32::MAX.to_le_bytes()), Err(NoSegment::Damaged));
        for at in 20..bytes.len() {
            assert_eq!(changed(at, &[bytes[at] ^ 1]), Err(NoSegment::Damaged), "{at}");
            assert!(SegmentHeader::decode(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn a_segment_is_known_by_its_name() {
        for (generation, number) in [(0, 1), (u64::MAX, 99_999_999), (5, 100_000_000)] {
            assert_eq!(parse_file_name(&file_name(generation, number)), Some((generation, number)));
        }
        for name in [
            "",
            "lock",
            "0000000000000000-1.journal",
            "000000000000000G-00000001.journal",
            "+000000000000000-00000001.journal",
            "0000000000000000-00000001.journal~",
            "0000000000000000-+0000001.journal",
            "0000000000000000-000000001.journal",
        ] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
