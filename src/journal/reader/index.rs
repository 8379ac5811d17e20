//! Where the events lie: the stretches of all segments.

use super::place::Place;
use crate::journal::format::aligned;
use crate::journal::format::block::BlockHeader;

/// Smaller blocks are read together, up to so many bytes.
const GROUP: u64 = 256 << 10;
/// The same where there are so many blocks that the index would get too large.
const MAX_GROUP: u64 = 4 << 20;

/// The stretches.
#[derive(Debug)]
pub(super) struct Index {
    pub places: Vec<Place>,
    /// The first one that is not being read.
    pub next: usize,
    most: usize,
    group: u64,
    /// The next block does not belong to the last stretch, because bytes between them are no block.
    apart: bool,
}

impl Index {
    /// At most `bytes` are used.
    pub fn new(bytes: usize) -> Self {
        let most = (bytes / size_of::<Place>()).max(16);
        Self { places: Vec::new(), next: 0, most, group: GROUP, apart: true }
    }

    /// Adds a block. `false`: there are too many.
    pub fn add(&mut self, header: &BlockHeader, segment: usize, shift: u64) -> bool {
        let place = Place { apart: self.apart, ..Place::of(header, segment, shift) };
        self.apart = false;
        let group = self.group;
        if let Some(last) = self.places.last_mut()
            && let Some(joined) = joined(last, &place, group)
        {
            *last = joined;
            return true;
        }
        if self.places.len() >= self.most {
            self.coarsen();
        }
        if self.places.len() >= self.most || self.places.try_reserve(1).is_err() {
            return false;
        }
        self.places.push(place);
        true
    }

    /// The next block does not belong to the last stretch.
    pub fn set_apart(&mut self) {
        self.apart = true;
    }

    /// Joins stretches until there are half as many, or they are large.
    fn coarsen(&mut self) {
        while self.places.len() > self.most / 2 && self.group < MAX_GROUP {
            self.group *= 2;
            let group = self.group;
            self.places.dedup_by(|place, before| {
                let joined = joined(before, place, group);
                if let Some(joined) = joined {
                    *before = joined;
                }
                joined.is_some()
            });
        }
    }

    /// Forgets the stretches that are read.
    pub fn forget(&mut self) {
        self.places.clear();
        self.next = 0;
        self.apart = true;
    }
}

/// Two neighbouring stretches as one, if that is not too large.
fn joined(before: &Place, place: &Place, group: u64) -> Option<Place> {
    if place.apart || before.segment != place.segment || place.offset < aligned(before.offset + before.len) {
        return None;
    }
    let len = (place.offset - before.offset).checked_add(place.len)?;
    let decoded = (before.memory - before.len) + (place.memory - place.len);
    let joined = Place {
        len,
        memory: len.checked_add(decoded)?,
        first: before.first.min(place.first),
        last: before.last.max(place.last),
        blocks: before.blocks.saturating_add(place.blocks),
        events: before.events.saturating_add(place.events),
        ..*before
    };
    (joined.memory <= group).then_some(joined)
}
