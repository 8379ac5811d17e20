//! The format of a journal's segments, as `docs/format.md` specifies it.

pub mod block;
pub(crate) mod bytes;
pub mod checksum;
pub mod columns;
pub mod figures;
pub mod record;
pub mod segment;

/// The alignment of blocks in a segment.
pub const ALIGNMENT: u64 = 64;
/// The longest body of a raw block, unless it has a single record.
pub const MAX_RAW_BODY: u64 = 1 << 20;
/// The version of the format.
pub const VERSION: u32 = 1;

/// The next multiple of the alignment.
pub const fn aligned(bytes: u64) -> u64 {
    bytes.saturating_add(ALIGNMENT - 1) & !(ALIGNMENT - 1)
}
