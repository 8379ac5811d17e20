//! A record: how an event lies in a ring buffer.
//!
//! ```text
//!  0  tag: payload length (u32), flags (u32)     the one word that may be read while it is being overwritten
//!  8  kind (u32), weight (f32)
//! 16  sequence        24  timestamp
//! 32  correlation id  40  node id
//! 48  payload, padded to 8 bytes
//! ```
//! A record never wraps: where the end of the ring is too near, a pad takes up the rest, a tag and nothing else.

/// Bytes of a record before its payload.
pub(crate) const HEADER: u64 = 48;
/// Set in the flags of a pad; its length is that of the whole pad, tag included.
const PAD: u32 = 1 << 31;
/// Set in the flags of an event whose timestamp is a reading of the processor's counter. Nobody is shown it.
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
    /// What sort of event.
    pub kind: u32,
    /// How many events it stands for.
    pub weight: f32,
    /// Its number in its ring buffer.
    pub sequence: u64,
    /// When it was captured: a time in nanoseconds, or, as its tag says, what the processor's counter showed.
    pub timestamp: u64,
    /// Its trace.
    pub correlation_id: u64,
    /// Its place in the program.
    pub node_id: u64,
}

const _: () = assert!(size_of::<Head>() as u64 + 8 == HEADER);
