//! A clock piece converts the readings of the processor's counter in a part of the timeline. `docs/format.md` has the same formula.

/// The number of fraction bits of a rate.
pub(super) const SHIFT: u32 = 48;

/// A linear piece of the timeline: a start, and nanoseconds per tick from there on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The first reading.
    pub start: u64,
    /// The first reading behind it.
    pub end: u64,
    /// The time of the first reading.
    pub ns: u64,
    /// Nanoseconds per tick, times 2^48.
    pub rate: u64,
}

impl Piece {
    /// The time of a reading that belongs to this piece.
    #[inline(always)]
    pub fn ns(&self, ticks: u64) -> u64 {
        if ticks < self.start {
            return self.ns.saturating_sub(ticks_to_ns(self.start - ticks, self.rate));
        }
        self.ns.saturating_add(ticks_to_ns(ticks - self.start, self.rate))
    }

    pub(super) fn covers(&self, ticks: u64) -> bool {
        self.start <= ticks && ticks < self.end
    }

    /// A piece behind the end of this one, where time stands still.
    pub(super) fn standstill(&self) -> Self {
        Self { start: self.end, end: self.end, ns: self.ns(self.end), rate: 0 }
    }
}

/// The piece that a reading belongs to: the last one that begins at or before it, or the first one. `None`: there are no pieces.
#[inline]
pub fn piece_of(pieces: &[Piece], ticks: u64) -> Option<&Piece> {
    let behind = pieces.partition_point(|piece| piece.start <= ticks);
    pieces.get(behind.saturating_sub(1))
}

/// The time of a reading, by the piece that it belongs to. Without pieces a reading is taken for a time.
#[inline]
pub fn convert(pieces: &[Piece], ticks: u64) -> u64 {
    piece_of(pieces, ticks).map_or(ticks, |piece| piece.ns(ticks))
}

/// Converts ticks to nanoseconds.
#[inline(always)]
pub(super) fn ticks_to_ns(ticks: u64, rate: u64) -> u64 {
    let ns = (u128::from(ticks) * u128::from(rate)) >> SHIFT;
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Converts nanoseconds to ticks.
pub(super) fn ns_to_ticks(ns: u64, rate: u64) -> u64 {
    let ticks = (u128::from(ns) << SHIFT) / u128::from(rate.max(1));
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The rate between two points, given as ticks and nanoseconds. It is never negative.
pub(super) fn rate_between(from: (u64, u64), to: (u64, u64)) -> u64 {
    let ticks = u128::from(to.0.saturating_sub(from.0).max(1));
    let rate = (u128::from(to.1.saturating_sub(from.1)) << SHIFT) / ticks;
    u64::try_from(rate).unwrap_or(u64::MAX)
}
