//! What a transform means for a batch: which of its events are where.

use super::transforming::{Part, Transforming, is_kept};
use super::{Batch, Phase};
use crate::platform::memory;
use crate::status::Result;
use crate::transform::Transform;
use std::sync::Arc;

impl Batch {
    /// A transform sees its events, which have views, before the storage does.
    pub fn begin_transform(&mut self, transform: Arc<Transform>) {
        self.transformed = true;
        self.phase = Phase::Transform;
        self.transforming.get_or_insert_default().get_mut().begin(transform);
    }

    /// Gets the memory for a part of the batch: see [`Transforming::prepare`].
    pub fn prepare_transform(&mut self, scratch: u64, most: usize, fates: bool) -> Result<()> {
        let scratch = usize::try_from(scratch).map_err(|_| memory::refused(usize::MAX))?;
        let Some(cell) = &mut self.transforming else { return Ok(()) };
        let claimed = self.events.len() as u32;
        cell.get_mut().prepare(&mut self.events, scratch, most, fates)?;
        self.untransformed += claimed;
        Ok(())
    }

    /// How far its transform has come, for the writer that calls it.
    pub fn transforming_cell(&self) -> *mut Transforming {
        self.transforming.as_ref().map_or(std::ptr::null_mut(), |cell| cell.get())
    }

    /// The transform has ended its thread.
    pub fn transform_ended(&mut self) {
        if let Some(cell) = &mut self.transforming {
            cell.get_mut().ended();
        }
    }

    /// The transform has seen a part of the batch: the events that are left of it are to be stored. The filtered ones count as unsettled
    /// until they are [`filtered`](Self::filtered).
    pub fn end_transform(&mut self) -> Part {
        let Some(cell) = &mut self.transforming else { return Part::default() };
        let part = cell.get_mut().take_part(&mut self.events);
        self.untransformed -= part.seen;
        self.part_count = self.events.len();
        self.attempts = 0;
        part
    }

    /// No event of the part is to be stored any more. Returns whether the transform has to see another part.
    pub fn next_part(&mut self) -> bool {
        self.transforming.as_mut().is_some_and(|cell| self.transformed && cell.get_mut().next_part())
    }

    /// The storage has stored all that it was shown, and releases the events by itself.
    pub fn keep(&mut self) {
        match &mut self.transforming {
            Some(cell) if self.transformed => cell.get_mut().part_kept(),
            _ => self.kept = true,
        }
    }

    /// Whether the storage releases all of its events by itself.
    pub fn is_kept(&self) -> bool {
        let fates = self.fates();
        self.kept || (!fates.is_empty() && (0..fates.len() as u64).all(|index| is_kept(fates, index)))
    }

    /// Where the storage releases some of its events by itself: for [`is_kept`](super::transforming::is_kept).
    pub fn fates(&self) -> &[u8] {
        self.transforming().filter(|_| self.transformed).map_or(&[], Transforming::fates)
    }

    /// Forgets the transform that the batch had.
    pub(super) fn clear_transforming(&mut self) {
        (self.untransformed, self.part_count) = (0, 0);
        if let Some(cell) = &mut self.transforming {
            cell.get_mut().clear();
        }
    }

    /// Gives the memory back that transforms have needed in this slot.
    #[inline]
    pub fn free_transforming(&mut self) {
        if self.transforming.is_some() {
            self.transforming = None;
        }
    }
}
