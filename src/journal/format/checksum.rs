//! The checksums of segments: CRC-32C.

/// Checksums of the blocks of one segment. They begin with the segment's salt, so that a payload with the bytes of a block is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salted(u32);

impl Salted {
    /// For a segment with this salt.
    pub fn new(salt: u64) -> Self {
        Self(crc32c::crc32c(&salt.to_le_bytes()))
    }

    /// Goes on with the checksum of what comes before `bytes`; `None`: nothing does.
    pub fn append(self, before: Option<u32>, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(before.unwrap_or(self.0), bytes)
    }

    /// The checksum of bytes that lie in several places, in their order.
    pub fn of(self, parts: &[&[u8]]) -> u32 {
        self.of_all(parts.iter().copied())
    }

    /// The same.
    pub fn of_all<'a>(self, parts: impl Iterator<Item = &'a [u8]>) -> u32 {
        parts.fold(self.0, crc32c::crc32c_append)
    }
}

/// The checksum of a segment's header.
pub fn unsalted(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}
