//! Where a stretch lies, and the order of events.

use super::body::is_raw;
use crate::journal::format::block::BlockHeader;

/// Where a stretch lies, and what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub offset: u64,
    /// The bytes from the first block's header to the end of the last one's body.
    pub len: u64,
    /// The memory that it takes, without the table.
    pub memory: u64,
    /// The earliest and the latest time among its events, with the shift of their segment.
    pub first: u64,
    pub last: u64,
    pub segment: u32,
    /// The blocks of events, and their events by their headers.
    pub blocks: u32,
    pub events: u32,
    /// It has been loaded, and what is damaged in it has been counted.
    pub counted: bool,
    /// Bytes before it are no block.
    pub apart: bool,
}

impl Place {
    /// The memory that it takes when it is loaded.
    pub fn memory_loaded(&self) -> u64 {
        self.memory.saturating_add(u64::from(self.events) * size_of::<Entry>() as u64)
    }

    /// The place of one block.
    pub fn of(header: &BlockHeader, segment: usize, shift: u64) -> Self {
        let len = header.size() as u64 + header.stored_len;
        let decoded = if is_raw(header) { 0 } else { header.raw_len };
        Self {
            offset: header.offset,
            len,
            memory: len.saturating_add(decoded),
            first: header.first_ns.saturating_add(shift),
            last: header.last_ns.max(header.first_ns).saturating_add(shift),
            segment: segment as u32,
            blocks: 1,
            events: header.count,
            counted: false,
            apart: true,
        }
    }
}

/// The order of events in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub time: u64,
    pub generation: u64,
    pub ring_id: u64,
    pub sequence: u64,
}

/// An event of a stretch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub time: u64,
    /// Where its record begins.
    pub at: u32,
    pub block: u32,
}
