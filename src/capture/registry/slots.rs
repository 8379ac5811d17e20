//! The slots of a pipeline in two parts: the ordinary ones, and behind them those for events with priority. A slot's index is its place in both together.
//! In each part the slots that were ever used are the first ones.

use crate::platform::memory;
use crate::ring::slot::Slot;
use crate::status::Result;
use std::ops::Range;
use std::sync::OnceLock;

/// So many slots for events with priority are made at once, when they are needed: a pipeline may have room for many more than it ever uses.
const CHUNK: usize = 16;

#[derive(Debug)]
pub(super) struct Slots {
    ordinary: Box<[Slot]>,
    priority: Box<[OnceLock<Box<[Slot]>>]>,
    priority_count: usize,
}

impl Slots {
    pub(super) fn new(ordinary: usize, priority: usize) -> Result<Self> {
        let mut indices = 0..;
        Ok(Self {
            ordinary: memory::boxed(ordinary, || Slot::new(indices.next().unwrap_or_default(), false))?,
            priority: memory::boxed(priority.div_ceil(CHUNK), OnceLock::new)?,
            priority_count: priority,
        })
    }

    /// The slot with this index. `None`: there is none, or it was never used.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Slot> {
        if let Some(slot) = self.ordinary.get(index) {
            return Some(slot);
        }
        let at = index - self.ordinary.len();
        self.priority.get(at / CHUNK)?.get()?.get(at % CHUNK)
    }

    /// The index of the first slot of one part.
    pub(super) fn first(&self, priority: bool) -> usize {
        if priority { self.ordinary.len() } else { 0 }
    }

    /// The indices of the slots of one part that were ever used.
    pub(super) fn used(&self, priority: bool) -> Range<usize> {
        let first = self.first(priority);
        first..first + self.part(priority).count()
    }

    /// The slots of one part that were ever used.
    pub(super) fn part(&self, priority: bool) -> impl Iterator<Item = &Slot> {
        let (ordinary, chunks) =
            if priority { (&[][..], &self.priority[..]) } else { (&self.ordinary[..], &[][..]) };
        let more = chunks.iter().map_while(OnceLock::get).flat_map(|chunk| chunk.iter());
        ordinary.iter().chain(more).take_while(|slot| slot.buffer().is_some())
    }

    /// A slot of one part that was never used. `None`: all are. The caller holds the registry's lock. Fails if there is no memory.
    pub(super) fn fresh(&self, priority: bool) -> Result<Option<&Slot>> {
        let at = self.part(priority).count();
        if !priority {
            return Ok(self.ordinary.get(at));
        }
        if at >= self.priority_count {
            return Ok(None);
        }
        let (chunk, first) = (&self.priority[at / CHUNK], self.ordinary.len() + at / CHUNK * CHUNK);
        if chunk.get().is_none() {
            let mut indices = first as u32..;
            let made = memory::boxed(CHUNK, || Slot::new(indices.next().unwrap_or_default(), true))?;
            let _ = chunk.set(made);
        }
        Ok(chunk.get().and_then(|chunk| chunk.get(at % CHUNK)))
    }

    /// Whether it has no slot for events with priority.
    pub(super) fn without_priority(&self) -> bool {
        self.priority_count == 0
    }
}
