//! The timeline: what the processor's counter showed, as nanoseconds of CLOCK_MONOTONIC.
//!
//! Captures note the counter, whoever reads their events converts. The two clocks drift against each other, and the monotonic one
//! is slewed, so there is no one factor: the timeline is a chain of straight pieces, each beginning where the one before ends. A piece never
//! changes once it is there, and every reading lies in exactly one. So a reading always converts to the same time, whoever
//! converts it and when, and of two readings the later one never to the earlier time.
//!
//! The chain is made longer by whoever has to convert a reading behind its end: both clocks are read, and the new piece is aimed
//! at where the monotonic clock will be at the piece's end, a millisecond on, which corrects what the last one missed. Where
//! nothing was converted for a while, a piece that joins the two readings spans the gap; alone, if the gap is longer than a piece.
//!
//! Only so many pieces are kept. They grow longer as the oldest event that is not converted yet grows older (by its age over
//! [`SHARE`]), so that those that will still be needed stay few: some 1,200 for ten years.

use crate::platform::sync::{AtomicU64, Mutex, Ordering, fence};
use crate::platform::time::Pair;

/// Pieces that are kept.
const PIECES: u64 = 4096;
/// A piece is as long as this (the kernel slews the clock by 500 parts in a million as a rule: half a microsecond), or as the age of the oldest event that may have to be converted over [`SHARE`].
const LENGTH_NS: u64 = 1_000_000;
const SHARE: u64 = 32;
/// Where nothing is converted, both clocks are read once in so long.
const LOOK_NS: u64 = 500_000_000;
/// The rate is measured over at least so long, once that has passed.
const MEASURED_NS: u64 = 10_000_000;
/// Processors may differ by so much; a counter that has gone back by more is none.
const SKEW_NS: u64 = 1_000_000;
/// Fraction bits of a rate.
const SHIFT: u32 = 48;

/// A straight piece: nanoseconds per tick, from a point on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Piece {
    start: u64,
    /// The first reading behind it.
    end: u64,
    ns: u64,
    rate: u64,
}

impl Piece {
    #[inline(always)]
    fn at(&self, ticks: u64) -> u64 {
        if ticks < self.start {
            return self.ns.saturating_sub(span(self.start - ticks, self.rate));
        }
        self.ns.saturating_add(span(ticks - self.start, self.rate))
    }

    fn covers(&self, ticks: u64) -> bool {
        self.start <= ticks && ticks < self.end
    }

    /// All that lies behind its end, at its end.
    fn held(&self) -> Self {
        Self { start: self.end, end: self.end, ns: self.at(self.end), rate: 0 }
    }
}

/// So many ticks in nanoseconds.
#[inline(always)]
fn span(ticks: u64, rate: u64) -> u64 {
    let ns = (u128::from(ticks) * u128::from(rate)) >> SHIFT;
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// So many nanoseconds in ticks.
fn ticks_in(ns: u64, rate: u64) -> u64 {
    let ticks = (u128::from(ns) << SHIFT) / u128::from(rate.max(1));
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The rate that leads from one point to another, as far as time does not go back.
fn slope(from: (u64, u64), to: (u64, u64)) -> u64 {
    let ticks = u128::from(to.0.saturating_sub(from.0).max(1));
    let rate = (u128::from(to.1.saturating_sub(from.1)) << SHIFT) / ticks;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
struct Slot {
    start: AtomicU64,
    end: AtomicU64,
    ns: AtomicU64,
    rate: AtomicU64,
}

/// What the next piece is made from.
#[derive(Debug)]
struct Calibration {
    /// The newest reading of both clocks.
    last: Pair,
    /// Two older ones, by which the rate is measured.
    marks: [(u64, u64); 2],
    rate: u64,
    /// The smallest width that a reading had.
    best_width: u64,
    /// The last rate measured was none: one of the clocks had stood still (a suspended machine).
    jumped: bool,
}

/// What the counter showed, as nanoseconds of the monotonic clock.
#[derive(Debug)]
pub struct Timeline {
    slots: Box<[Slot]>,
    /// Pieces `first` to `next` - 1 are there, each in the slot of its number. A sequence lock: `first` moves before the slot of the piece
    /// that goes is written anew.
    first: AtomicU64,
    next: AtomicU64,
    /// No event captured before this is left to convert.
    needed: AtomicU64,
    /// Where the counter turned out to be no clock: no reading of it is later than this. Else `u64::MAX`.
    ceiling: AtomicU64,
    calibration: Mutex<Calibration>,
    /// Reads both clocks.
    read: fn(u64) -> Pair,
}

impl Timeline {
    /// A timeline that begins now. `read` reads both clocks, as [`pair`](crate::platform::time::pair) does.
    pub fn new(read: fn(u64) -> Pair) -> Self {
        let now = read(0);
        let this = Self {
            slots: (0..PIECES).map(|_| Slot::default()).collect(),
            first: AtomicU64::new(0),
            next: AtomicU64::new(0),
            needed: AtomicU64::new(now.ticks),
            ceiling: AtomicU64::new(u64::MAX),
            calibration: Mutex::new(Calibration {
                last: now,
                marks: [(now.ticks, now.ns); 2],
                rate: 0,
                best_width: now.width,
                jumped: false,
            }),
            read,
        };
        // What a processor behind this one has noted before converts to now.
        this.push(Piece { start: now.ticks, end: now.ticks, ns: now.ns, rate: 0 });
        this
    }

    /// Converts a reading, and those of the same piece; for a batch of them.
    #[inline(never)]
    pub fn know(&self, ticks: u64) -> Known {
        let piece = self.find(ticks).unwrap_or_else(|_| self.lengthen(&mut self.calibration.lock(), ticks));
        let ceiling = self.ceiling.load(Ordering::Acquire);
        if ceiling == u64::MAX && piece.covers(ticks) && piece.at(piece.end) < u64::MAX {
            Known { start: piece.start, width: piece.end - piece.start, ns: piece.ns, rate: piece.rate }
        } else {
            Known::only(ticks, piece.at(ticks).min(ceiling))
        }
    }

    /// Converts a reading without ever waiting for another thread: if one is about to make the chain longer at this moment, what lies
    /// behind its end becomes that end. For captures, which convert what they overwrite.
    pub fn at_once(&self, ticks: u64) -> u64 {
        let piece = self.find(ticks).unwrap_or_else(|last| match self.calibration.try_lock() {
            Some(mut calibration) => self.lengthen(&mut calibration, ticks),
            None => self.find(ticks).unwrap_or(last.held()),
        });
        piece.at(ticks).min(self.ceiling.load(Ordering::Acquire))
    }

    /// To be called now and then. `oldest`: what the counter showed when the oldest event was captured that nobody has converted
    /// (or, without one, a moment ago).
    /// `false`: the counter has turned out to be no clock, and must not be used from here on.
    pub fn keep(&self, oldest: u64) -> bool {
        let mut calibration = self.calibration.lock();
        let now = self.look(&mut calibration);
        self.needed.store(oldest.min(now.ticks), Ordering::Relaxed);
        let last = self.last();
        let rate = calibration.rate;
        let pause = ticks_in(LOOK_NS, rate).max(self.age(now.ticks) / SHARE);
        if rate != 0 && now.ticks.saturating_sub(last.end) >= pause {
            self.bridge(&last, now);
        }
        self.ceiling.load(Ordering::Relaxed) == u64::MAX
    }

    /// The counter's rate in hertz; 0 before it was measured for long enough.
    pub fn hz(&self) -> u64 {
        let c = self.calibration.lock();
        if c.rate == 0 || c.last.ns.saturating_sub(c.marks[0].1) < MEASURED_NS {
            return 0;
        }
        let hz = (1_000_000_000u128 << SHIFT) / u128::from(c.rate);
        u64::try_from(hz).unwrap_or(0)
    }

    fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.needed.load(Ordering::Relaxed))
    }

    /// Reads both clocks, and learns the rate from that.
    fn look(&self, c: &mut Calibration) -> Pair {
        let mut now = (self.read)(c.best_width.saturating_mul(2).saturating_add(1));
        if span(c.last.ticks.saturating_sub(now.ticks), c.rate) > SKEW_NS {
            // Whatever was noted up to now is not later than now.
            let _ = self.ceiling.compare_exchange(u64::MAX, now.ns, Ordering::AcqRel, Ordering::Acquire);
        }
        c.best_width = c.best_width.min(now.width);
        if now.ticks <= c.last.ticks {
            return c.last;
        }
        if c.rate != 0 {
            // Somewhere within the width; if what was expected lies there, that is the better guess.
            let expected = c.last.ns.saturating_add(span(now.ticks - c.last.ticks, c.rate));
            let doubt = span(now.width / 2, c.rate);
            now.ns = expected.clamp(now.ns.saturating_sub(doubt), now.ns.saturating_add(doubt));
        }
        let measured = slope(c.marks[0], (now.ticks, now.ns));
        let settled = c.last.ns.saturating_sub(c.marks[0].1) >= MEASURED_NS;
        // The kernel slews by a tenth at the very most.
        let like = measured.abs_diff(c.rate) < c.rate / 5;
        if settled && !like && !c.jumped {
            c.marks = [(now.ticks, now.ns); 2];
            c.jumped = true;
        } else {
            c.rate = measured;
            c.jumped &= !like;
        }
        let since = now.ticks - c.marks[1].0;
        if span(since, c.rate) >= MEASURED_NS && since >= self.age(now.ticks) / SHARE {
            c.marks = [c.marks[1], (now.ticks, now.ns)];
        }
        c.last = now;
        now
    }

    /// Adds pieces up to behind a reading; answers the one that it lies in.
    fn lengthen(&self, c: &mut Calibration, upto: u64) -> Piece {
        let last = self.last();
        if upto < last.end {
            return self.find(upto).unwrap_or_else(|last| last.held()); // another was faster
        }
        let now = self.look(c);
        let wanted = ticks_in(LENGTH_NS, c.rate).max(self.age(now.ticks) / SHARE);
        // Never further ahead than the rate was measured over: what it is wrong by is then no more than the readings are.
        let length = wanted.min(now.ticks.saturating_sub(c.marks[0].0)).max(1);
        let mut last = last;
        let gap = now.ticks.saturating_sub(last.end);
        if gap > length / 4 {
            last = self.bridge(&last, now);
            // Where events are rare the next one will lie behind a gap as well.
            if gap > length && upto < last.end {
                return last;
            }
        }
        let end = now.ticks.max(upto).max(last.end).saturating_add(length);
        let ns = now.ns.saturating_add(span(end - now.ticks.min(end), c.rate));
        let ahead = self.join(&last, (end, ns));
        if upto < last.end { last } else { ahead }
    }

    /// Adds a piece from the end of the last one to a reading of both clocks.
    fn bridge(&self, last: &Piece, now: Pair) -> Piece {
        self.join(last, (now.ticks, now.ns))
    }

    fn join(&self, last: &Piece, to: (u64, u64)) -> Piece {
        let (start, ns) = (last.end, last.at(last.end));
        let piece = Piece { start, end: to.0, ns, rate: slope((start, ns), to) };
        self.push(piece);
        piece
    }

    // ---- the chain ----

    fn slot(&self, number: u64) -> &Slot {
        &self.slots[(number % PIECES) as usize]
    }

    fn piece(&self, number: u64) -> Piece {
        let slot = self.slot(number);
        Piece {
            start: slot.start.load(Ordering::Relaxed),
            end: slot.end.load(Ordering::Relaxed),
            ns: slot.ns.load(Ordering::Relaxed),
            rate: slot.rate.load(Ordering::Relaxed),
        }
    }

    /// Only while the calibration is held (or nobody else knows the timeline).
    fn push(&self, piece: Piece) {
        let next = self.next.load(Ordering::Relaxed);
        if next - self.first.load(Ordering::Relaxed) == PIECES {
            self.first.store(next - PIECES + 1, Ordering::Relaxed);
            // Who reads what is written below sees that `first` has moved.
            fence(Ordering::Release);
        }
        let slot = self.slot(next);
        slot.start.store(piece.start, Ordering::Relaxed);
        slot.end.store(piece.end, Ordering::Relaxed);
        slot.ns.store(piece.ns, Ordering::Relaxed);
        slot.rate.store(piece.rate, Ordering::Relaxed);
        self.next.store(next + 1, Ordering::Release);
    }

    /// Only while the calibration is held.
    fn last(&self) -> Piece {
        self.piece(self.next.load(Ordering::Relaxed) - 1)
    }

    /// The piece that a reading lies in; before the first, that one. Behind the last: that one, as an error.
    fn find(&self, ticks: u64) -> Result<Piece, Piece> {
        loop {
            let next = self.next.load(Ordering::Acquire);
            let first = self.first.load(Ordering::Acquire);
            // The last piece that begins at it or before, if there is one: as a rule one of the newest. So it is looked for from that
            // end on, in steps that double, and then between the last two (Bentley and Yao, "An almost optimal algorithm for
            // unbounded searching", 1976).
            let begins_by = |number: u64| self.slot(number).start.load(Ordering::Relaxed) <= ticks;
            let (mut low, mut high, mut step) = (first, next, 1);
            while low < high {
                let before = high.saturating_sub(step).max(first);
                if begins_by(before) {
                    low = before + 1;
                    break;
                }
                (high, step) = (before, step * 2);
            }
            while low < high {
                let middle = low + (high - low) / 2;
                if begins_by(middle) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            let number = low.saturating_sub(1).max(first);
            let piece = self.piece(number);
            fence(Ordering::Acquire);
            if self.first.load(Ordering::Relaxed) == first {
                return if ticks < piece.end { Ok(piece) } else { Err(piece) };
            }
        }
    }
}

/// Readings of which it is known what they convert to: all in one piece. At first none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// So many from `start` on, by numbers with which none leads to a time of more than 64 bits.
    start: u64,
    width: u64,
    ns: u64,
    rate: u64,
}

impl Known {
    /// A reading by itself, and when it was.
    pub fn only(ticks: u64, ns: u64) -> Self {
        Self { start: ticks, width: 1, ns, rate: 0 }
    }

    /// What the counter showed, in nanoseconds of the monotonic clock; `None`: it is none of them.
    #[inline(always)]
    pub fn ns(&self, ticks: u64) -> Option<u64> {
        let past = ticks.wrapping_sub(self.start);
        let ns = self.ns.wrapping_add(((u128::from(past) * u128::from(self.rate)) >> SHIFT) as u64);
        (past < self.width).then_some(ns)
    }
}

#[cfg(test)]
mod tests;
