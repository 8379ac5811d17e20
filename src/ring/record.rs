//! A record: how an event lies in a ring buffer.
//!
//! ```text
//!  0  tag: payload length (u32), flags (u32)     the one word that may be read while it is being overwritten
//!  8  kind (u32), weight (f32)
//! 16  sequence        24  timestamp
//! 32  correlation id  40  node id
//! 48  payload, padded to 8 bytes
//! ```
//! A record never wraps. If it does not fit before the end of the ring, a pad fills the rest: a tag and nothing else.

#[cfg(not(loom))]
use crate::platform::sync::{AtomicU64, Ordering};

/// Bytes of a record before its payload.
pub(crate) const HEADER: u64 = 48;
/// Set in the flags of a pad; its length is that of the whole pad, tag included.
const PAD: u32 = 1 << 31;
/// Set in the flags of an event whose timestamp is a reading of the processor's counter. Storages do not see it.
pub const TICKS: u32 = 1 << 30;

/// The bytes that a record with such a payload takes.
#[inline(always)]
pub fn stride(len: usize) -> u64 {
    HEADER + ((len as u64 + 7) & !7)
}

/// The first word of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(pub u64);

impl Tag {
    /// The tag of an event, whose flags may have [`TICKS`] among them.
    #[inline(always)]
    pub fn event(len: usize, flags: u32) -> Self {
        Self(len as u64 | u64::from(flags & !PAD) << 32)
    }

    /// The tag of a pad of `len` bytes.
    pub fn pad(len: u64) -> Self {
        Self(len | u64::from(PAD) << 32)
    }

    /// Whether this is a pad.
    #[inline(always)]
    pub fn is_pad(self) -> bool {
        self.0 >> 63 != 0
    }

    /// The payload's length.
    #[inline(always)]
    pub fn payload_len(self) -> usize {
        (self.0 & 0xFFFF_FFFF) as usize
    }

    /// The event's flags.
    #[inline(always)]
    pub fn flags(self) -> u32 {
        (self.0 >> 32) as u32 & !(PAD | TICKS)
    }

    /// The event's flags as they lie in the record, [`TICKS`] among them.
    #[inline(always)]
    pub fn all_flags(self) -> u32 {
        (self.0 >> 32) as u32 & !PAD
    }

    /// Whether the event's timestamp is a reading of the processor's counter, and not a time.
    #[inline(always)]
    pub fn in_ticks(self) -> bool {
        (self.0 >> 32) as u32 & TICKS != 0
    }

    /// Bytes to the next record.
    #[inline(always)]
    pub fn stride(self) -> u64 {
        if self.is_pad() { self.payload_len() as u64 } else { stride(self.payload_len()) }
    }
}

/// The rest of a record's header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// The event's kind.
    pub kind: u32,
    /// How many events it stands for.
    pub weight: f32,
    /// Its number in its ring buffer.
    pub sequence: u64,
    /// When it was captured: a time in nanoseconds or, as its tag says, a reading of the processor's counter.
    pub timestamp: u64,
    /// Its trace.
    pub correlation_id: u64,
    /// Its place in the program.
    pub node_id: u64,
}

const _: () = assert!(size_of::<Head>() as u64 + 8 == HEADER);

/// Writes a record without its payload.
///
/// # Safety
/// `at` is 8-byte aligned and has room for a record, and no other thread accesses that room.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) unsafe fn write(at: *mut u8, tag: Tag, head: &Head) {
    // SAFETY: by contract; a tag is only ever accessed as an atomic, as it may be read while it is being overwritten.
    unsafe {
        AtomicU64::from_ptr(at.cast()).store(tag.0, Ordering::Relaxed);
        at.add(8).cast::<Head>().write(*head);
    }
}

/// A record, read from its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// Its tag.
    pub tag: Tag,
    /// The rest of its header.
    pub head: Head,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Reads the records in bytes that hold nothing but records, in their order. It ends where the bytes end, or hold no whole record.
#[derive(Clone, Debug)]
pub struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    /// The records in these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let (header, rest) = self.0.split_first_chunk::<{ HEADER as usize }>()?;
        let four = |at: usize| u32::from_ne_bytes(std::array::from_fn(|n| header[at + n]));
        let eight = |at: usize| u64::from_ne_bytes(std::array::from_fn(|n| header[at + n]));
        let tag = Tag(eight(0));
        let head = Head {
            kind: four(8),
            weight: f32::from_bits(four(12)),
            sequence: eight(16),
            timestamp: eight(24),
            correlation_id: eight(32),
            node_id: eight(40),
        };
        let len = tag.payload_len();
        let payload = rest.get(..len)?;
        self.0 = rest.get(len.next_multiple_of(8)..)?;
        (!tag.is_pad()).then_some(Record { tag, head, payload })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn put(bytes: &mut [u64], at: usize, n: u64, payload: &[u8]) {
        let head = Head {
            kind: n as u32,
            weight: 1.5,
            sequence: n,
            timestamp: u64::MAX - n,
            correlation_id: n << 40,
            node_id: n << 50,
        };
        // SAFETY: the vector has room for the record, which is at most 64 bytes long.
        unsafe {
            let record = bytes.as_mut_ptr().add(at / 8).cast::<u8>();
            write(record, Tag::event(payload.len(), TICKS | n as u32), &head);
            record.add(HEADER as usize).copy_from_nonoverlapping(payload.as_ptr(), payload.len());
        }
    }

    #[test]
    fn records_are_read_from_their_bytes_as_they_were_written() {
        let mut words = vec![u64::MAX; 22];
        put(&mut words, 0, 1, b"");
        put(&mut words, 48, 2, b"nine byte");
        put(&mut words, 112, 3, b"12345678");
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let records: Vec<_> = Records::new(&bytes[..168]).collect();
        let payloads: Vec<&[u8]> = records.iter().map(|record| record.payload).collect();
        assert_eq!(payloads, [&b""[..], b"nine byte", b"12345678"]);
        for (record, n) in records.iter().zip(1..) {
            assert_eq!((record.tag.flags(), record.tag.in_ticks()), (n as u32, true));
            let head = record.head;
            assert_eq!((head.kind, head.weight, head.sequence), (n as u32, 1.5, n));
            assert_eq!((head.timestamp, head.correlation_id, head.node_id), (u64::MAX - n, n << 40, n << 50));
        }
    }

    #[test]
    fn what_holds_no_whole_record_ends_the_reading() {
        let mut words = vec![0; 14];
        put(&mut words, 0, 1, b"12345678");
        put(&mut words, 56, 2, b"12345678");
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        for len in 0..=112 {
            assert_eq!(Records::new(&bytes[..len]).count(), len / 56, "{len}");
        }
        let pad = Tag::pad(56).0.to_ne_bytes();
        assert_eq!(Records::new(&[&bytes[..56], &pad, &bytes[8..56]].concat()).count(), 1);
    }
}
