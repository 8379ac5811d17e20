//! Events that are copied from other stretches, see [`passes`](crate::journal::reader::passes).

use super::{Block, Stretch};
use crate::journal::format::record::Record;
use crate::journal::reader::place::{Entry, Key};

impl Stretch {
    /// Empties it, so that events can be copied into it.
    pub fn clear_all(&mut self) {
        self.clear();
        self.read.clear();
        self.decoded.clear();
    }

    /// Copies an event of another stretch, whose entries come in the order of its blocks. `None`: there is not enough memory.
    pub fn copy(&mut self, from: &Self, entry: &Entry) -> Option<()> {
        let bytes = from.record_bytes(entry)?;
        if self.copied != Some(entry.block) {
            self.blocks.try_reserve(1).ok()?;
            self.blocks.push(Block { decoded: false, ..*from.blocks.get(entry.block as usize)? });
            self.copied = Some(entry.block);
        }
        let at = self.read.len();
        self.read.try_reserve(bytes.len()).ok()?;
        self.table.try_reserve(1).ok()?;
        self.read.extend_from_slice(bytes);
        self.table.push(Entry { time: entry.time, at: at as u32, block: self.blocks.len() as u32 - 1 });
        Some(())
    }

    /// The next copies are of another stretch.
    pub fn end_copies(&mut self) {
        self.copied = None;
    }

    /// The memory of what was copied.
    pub fn collected(&self) -> usize {
        self.read.len() + size_of_val(&self.table[..]) + size_of_val(&self.blocks[..])
    }

    /// Keeps the first half of what was copied, in the order of time. Returns the first event that is not kept.
    pub fn keep_half(&mut self) -> Option<Key> {
        self.sort();
        let half = self.table.len() / 2;
        let cut = self.key(self.table.get(half)?);
        self.table.truncate(half);
        // Records and blocks move to the front, in the order in which they lie.
        self.table.sort_unstable_by_key(|entry| (entry.block, entry.at));
        let (mut end, mut blocks) = (0, 0);
        let mut last = None;
        for entry in &mut self.table {
            if last != Some(entry.block) {
                last = Some(entry.block);
                self.blocks.copy_within(entry.block as usize..entry.block as usize + 1, blocks);
                blocks += 1;
            }
            entry.block = blocks as u32 - 1;
            let at = entry.at as usize;
            let large = self.blocks[entry.block as usize].elsewhere.is_some();
            let Some((_, next)) = Record::decode(&self.read, at).filter(|_| !large) else { continue };
            self.read.copy_within(at..next, end);
            entry.at = end as u32;
            end += next - at;
        }
        self.blocks.truncate(blocks);
        self.copied = None;
        self.read.truncate(end);
        Some(cut)
    }
}
