//! Which events are not given, because another block has given them.

use super::allocation::out_of_memory;
use std::collections::HashMap;
use std::io;

/// The events of one block that are not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Skip {
    All,
    /// A bit for each record.
    Some(Box<[u64]>),
}

impl Skip {
    /// Whether the record with this number in the block is skipped.
    pub fn has(&self, index: u32) -> bool {
        match self {
            Self::All => true,
            Self::Some(bits) => {
                bits.get(index as usize / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
            }
        }
    }
}

/// The events that are not given, by segment and offset of their block.
#[derive(Debug, Default)]
pub(super) struct Skips(HashMap<(u32, u64), Skip>);

impl Skips {
    #[inline]
    pub fn of(&self, segment: u32, offset: u64) -> Option<&Skip> {
        if self.0.is_empty() { None } else { self.0.get(&(segment, offset)) }
    }

    pub fn insert(&mut self, segment: u32, offset: u64, skip: Skip) -> io::Result<()> {
        self.0.try_reserve(1).map_err(out_of_memory)?;
        self.0.insert((segment, offset), skip);
        Ok(())
    }
}
