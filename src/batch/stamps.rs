//! The timestamps of several records, of which it matters between which times they lie.

use crate::clock::piece::{Piece, convert};
use crate::event::PIPELINE_EVENT_OWN_TIME;
use crate::ring::record::Tag;

/// A smallest and a largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent(pub Option<(u64, u64)>);

impl Extent {
    /// Adds one.
    pub fn add(&mut self, n: u64) {
        self.0 = Some(self.0.map_or((n, n), |(least, most)| (least.min(n), most.max(n))));
    }
}

/// The timestamps of a span's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// Readings of the processor's counter.
    pub readings: Extent,
    /// Times of the monotonic clock.
    pub times: Extent,
    /// Callers' own times.
    pub own: Extent,
}

impl Stamps {
    /// Adds that of one record.
    pub fn add(&mut self, tag: Tag, timestamp: u64) {
        if tag.in_ticks() {
            self.readings.add(timestamp);
        } else if tag.flags() & PIPELINE_EVENT_OWN_TIME != 0 {
            self.own.add(timestamp);
        } else {
            self.times.add(timestamp);
        }
    }

    /// The earliest and the latest time of all, and the latest of the library's own clocks.
    pub fn convert(&self, pieces: &[Piece]) -> ((u64, u64), u64) {
        let readings = self.readings.0.map(|(least, most)| (convert(pieces, least), convert(pieces, most)));
        let stamped = [readings, self.times.0].into_iter().flatten();
        let newest = stamped.clone().map(|(_, latest)| latest).max().unwrap_or(0);
        let all = stamped.chain(self.own.0).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        (all.unwrap_or_default(), newest)
    }
}
