//! The bytes of a simulated file: as programs see them, and as the disk has them.

use super::Dice;
use std::collections::BTreeSet;

/// What the system writes to the disk at once, in any order.
const PAGE: usize = 4096;
/// What the disk writes whole. A power loss tears a page between two of these.
const SECTOR: usize = 512;

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// As programs see it.
    pub bytes: Vec<u8>,
    /// As the disk has it.
    disk: Vec<u8>,
    /// The pages that the system still has to write.
    dirty: BTreeSet<usize>,
    /// The file was cut, and the disk may still have it as it was before that.
    uncut: Option<Vec<u8>>,
}

fn range(page: usize, len: usize) -> std::ops::Range<usize> {
    (page * PAGE).min(len)..((page + 1) * PAGE).min(len)
}

fn put(into: &mut Vec<u8>, at: usize, part: &[u8]) {
    if into.len() < at + part.len() {
        into.resize(at + part.len(), 0);
    }
    into[at..at + part.len()].copy_from_slice(part);
}

impl Content {
    pub fn write(&mut self, at: usize, part: &[u8]) {
        put(&mut self.bytes, at, part);
        if !part.is_empty() {
            self.dirty.extend(at / PAGE..=(at + part.len() - 1) / PAGE);
        }
    }

    /// Sets the length.
    pub fn cut(&mut self, len: usize, dice: &mut Dice) {
        if len < self.disk.len() {
            if self.uncut.is_none() && dice.once_in(2) {
                self.uncut = Some(self.disk.clone());
            }
            self.disk.truncate(len);
        }
        self.bytes.resize(len, 0);
        self.dirty.retain(|page| page * PAGE < len);
        if !len.is_multiple_of(PAGE) {
            self.dirty.insert(len / PAGE);
        }
    }

    fn write_page(&mut self, page: usize) {
        let range = range(page, self.bytes.len());
        put(&mut self.disk, range.start, &self.bytes[range]);
    }

    /// Writes everything to the disk that is to be written.
    pub fn sync(&mut self) {
        for page in std::mem::take(&mut self.dirty) {
            self.write_page(page);
        }
        self.disk.resize(self.bytes.len(), 0);
        self.uncut = None;
    }

    /// Fails to. As in Linux, pages that could not be written count as written from now on.
    pub fn fail_sync(&mut self, dice: &mut Dice) {
        for page in std::mem::take(&mut self.dirty) {
            if dice.once_in(2) {
                self.write_page(page);
            }
        }
    }

    /// The system writes a page of its own accord.
    pub fn write_back(&mut self, dice: &mut Dice) {
        let at = dice.below(self.dirty.len() as u64) as usize;
        if let Some(page) = self.dirty.iter().nth(at).copied() {
            self.dirty.remove(&page);
            self.write_page(page);
        }
    }

    /// What the disk has after a power loss: of each page that was to be written, all, nothing or some sectors.
    pub fn after_power_loss(&self, dice: &mut Dice) -> Vec<u8> {
        if let Some(uncut) = &self.uncut
            && dice.once_in(2)
        {
            return uncut.clone();
        }
        let mut left = self.disk.clone();
        let (old, new) = (self.disk.len(), self.bytes.len());
        let len = match dice.below(4) {
            0 => old,
            1 if new > old => old + dice.below((new - old) as u64) as usize,
            _ => new,
        };
        left.resize(len, 0);
        for &page in &self.dirty {
            let all = range(page, len.min(new));
            let how = dice.below(4);
            for from in all.clone().step_by(SECTOR) {
                let sector = from..(from + SECTOR).min(all.end);
                if how == 0 || (how == 1 && dice.once_in(2)) {
                    left[sector.clone()].copy_from_slice(&self.bytes[sector]);
                }
            }
        }
        left
    }
}
