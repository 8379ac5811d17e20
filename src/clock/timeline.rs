//! The timeline converts readings of the processor's counter to nanoseconds of CLOCK_MONOTONIC.
//!
//! A capture notes the counter, and the thread that reads the event converts it. The two clocks drift against each other, and the kernel
//! slews the monotonic clock, so there is no constant factor. The timeline is a chain of linear pieces. Each begins where the one before it
//! ends. A piece never changes, and every reading lies in exactly one. So a reading always converts to the same time, whichever thread
//! converts it and when, and a later reading never converts to an earlier time.
//!
//! A thread that has to convert a reading behind the end of the chain extends it. It reads both clocks, and aims the new piece at
//! the expected value of the monotonic clock at the piece's end, a millisecond later. That corrects the error of the piece before. If nothing was
//! converted for a while, a piece that joins the two readings bridges the gap, and no other is added if the gap is longer than a piece.
//!
//! The number of pieces is limited. They grow longer with the age of the oldest event that is not converted yet (its age over
//! [`AGE_SHARE`]), so that few of them are needed: about 1,200 for ten years.

mod pieces;

use super::piece::{Piece, SHIFT, ns_to_ticks, rate_between, ticks_to_ns};
use crate::platform::memory;
use crate::platform::place::Place;
use crate::platform::sync::{AtomicU64, Mutex, Ordering, fence};
use crate::platform::time::Pair;
use crate::status::Result;

/// The number of pieces that are kept.
pub const PIECES: u64 = 4096;
/// The length of a piece. The kernel usually slews the clock by 500 parts in a million at most, which is half a microsecond in that time.
const LENGTH_NS: u64 = 1_000_000;
/// A piece is at least as long as the age of the oldest event that may have to be converted, divided by this.
const AGE_SHARE: u64 = 32;
/// Both clocks are read at least once in this time, also if nothing is converted.
const SAMPLE_NS: u64 = 500_000_000;
/// The rate is measured over at least this time, as soon as that has passed.
const MEASURED_NS: u64 = 10_000_000;
/// The largest difference between processors. A counter that goes back by more cannot serve as a clock.
const SKEW_NS: u64 = 1_000_000;

/// A piece as threads, and other processes, read it.
#[derive(Debug, Default)]
#[repr(C)]
pub struct SharedPiece {
    start: AtomicU64,
    end: AtomicU64,
    ns: AtomicU64,
    rate: AtomicU64,
}

/// Which pieces are valid, and how far they hold.
#[derive(Debug)]
#[repr(C)]
pub struct Words {
    /// The pieces `first` to `next` - 1 are valid, each at its number modulo [`PIECES`]. This is a sequence lock: `first` moves before
    /// the entry of the oldest piece is overwritten.
    pub(crate) first: AtomicU64,
    pub(crate) next: AtomicU64,
    /// The latest time that any reading converts to, once the counter has turned out not to be a clock. Before that, `u64::MAX`.
    pub(crate) ceiling: AtomicU64,
}

impl Default for Words {
    fn default() -> Self {
        Self { first: AtomicU64::new(0), next: AtomicU64::new(0), ceiling: AtomicU64::new(u64::MAX) }
    }
}

/// The readings from which the next piece is computed.
#[derive(Debug)]
struct Calibration {
    /// The newest reading of both clocks.
    last: Pair,
    /// Two older ones, from which the rate is measured.
    marks: [(u64, u64); 2],
    rate: u64,
    /// The smallest width of a reading.
    best_width: u64,
    /// The last rate was invalid, because one of the clocks had stood still (on a suspended machine).
    jumped: bool,
}

/// Converts readings of the counter to nanoseconds of the monotonic clock.
#[derive(Debug)]
pub struct Timeline {
    /// [`PIECES`] of them.
    pieces: Place<[SharedPiece]>,
    words: Place<Words>,
    /// No event that was captured before this still has to be converted.
    needed: AtomicU64,
    calibration: Mutex<Calibration>,
    /// Reads both clocks.
    read: fn(u64) -> Pair,
}

impl Timeline {
    /// A timeline that begins now. `read` reads both clocks, as [`pair`](crate::platform::time::pair) does. Fails if there is no memory.
    pub fn new(read: fn(u64) -> Pair) -> Result<Self> {
        let pieces = memory::boxed(PIECES as usize, SharedPiece::default)?;
        Ok(Self::within(Place::own(Box::default()), Place::own(pieces), read))
    }

    /// The same, in places of the caller's: words that are all 0 but for those that this sets, and [`PIECES`] pieces.
    pub fn within(words: Place<Words>, pieces: Place<[SharedPiece]>, read: fn(u64) -> Pair) -> Self {
        let now = read(0);
        words.ceiling.store(u64::MAX, Ordering::Relaxed);
        let this = Self {
            pieces,
            words,
            needed: AtomicU64::new(now.ticks),
            calibration: Mutex::new(Calibration {
                last: now,
                marks: [(now.ticks, now.ns); 2],
                rate: 0,
                best_width: now.width,
                jumped: false,
            }),
            read,
        };
        // An earlier reading, from another processor, converts to now.
        this.push(Piece { start: now.ticks, end: now.ticks, ns: now.ns, rate: 0 });
        this
    }

    /// The conversion of a reading and of all others in the same piece, for a batch of events.
    #[inline(never)]
    pub fn know(&self, ticks: u64) -> Known {
        let piece = self.find(ticks).unwrap_or_else(|_| self.extend(&mut self.calibration.lock(), ticks));
        let ceiling = self.words.ceiling.load(Ordering::Acquire);
        if ceiling == u64::MAX && piece.covers(ticks) && piece.ns(piece.end) < u64::MAX {
            Known { start: piece.start, width: piece.end - piece.start, ns: piece.ns, rate: piece.rate }
        } else {
            Known::only(ticks, piece.ns(ticks).min(ceiling))
        }
    }

    /// Converts a reading without waiting for another thread, for captures that overwrite events. If another thread is just extending the chain, a reading
    /// behind its end converts to the time of that end.
    pub fn at_once(&self, ticks: u64) -> u64 {
        let piece = self.find(ticks).unwrap_or_else(|last| match self.calibration.try_lock() {
            Some(mut calibration) => self.extend(&mut calibration, ticks),
            None => self.find(ticks).unwrap_or(last.standstill()),
        });
        piece.ns(ticks).min(self.words.ceiling.load(Ordering::Acquire))
    }

    /// To be called from time to time. `oldest` is the counter at the capture of the oldest event that is not converted yet, or a recent
    /// reading if there is none. `false`: the counter has turned out not to be a clock, and must not be used any more.
    pub fn keep(&self, oldest: u64) -> bool {
        let mut calibration = self.calibration.lock();
        let now = self.sample(&mut calibration);
        self.needed.store(oldest.min(now.ticks), Ordering::Relaxed);
        let last = self.last();
        let rate = calibration.rate;
        let pause = ns_to_ticks(SAMPLE_NS, rate).max(self.age(now.ticks) / AGE_SHARE);
        if rate != 0 && now.ticks.saturating_sub(last.end) >= pause {
            self.join(&last, (now.ticks, now.ns));
        }
        self.words.ceiling.load(Ordering::Relaxed) == u64::MAX
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

    /// Reads both clocks and measures the rate.
    fn sample(&self, c: &mut Calibration) -> Pair {
        let mut now = (self.read)(c.best_width.saturating_mul(2).saturating_add(1));
        if ticks_to_ns(c.last.ticks.saturating_sub(now.ticks), c.rate) > SKEW_NS {
            // No reading up to now can be later than now.
            let _ =
                self.words.ceiling.compare_exchange(u64::MAX, now.ns, Ordering::AcqRel, Ordering::Acquire);
        }
        c.best_width = c.best_width.min(now.width);
        if now.ticks <= c.last.ticks {
            return c.last;
        }
        if c.rate != 0 {
            // The time lies within the width. The expected time is the better estimate if it lies there, too.
            let expected = c.last.ns.saturating_add(ticks_to_ns(now.ticks - c.last.ticks, c.rate));
            let doubt = ticks_to_ns(now.width / 2, c.rate);
            now.ns = expected.clamp(now.ns.saturating_sub(doubt), now.ns.saturating_add(doubt));
        }
        let measured = rate_between(c.marks[0], (now.ticks, now.ns));
        let settled = c.last.ns.saturating_sub(c.marks[0].1) >= MEASURED_NS;
        // The kernel slews by a tenth at most.
        let like = measured.abs_diff(c.rate) < c.rate / 5;
        if settled && !like && !c.jumped {
            c.marks = [(now.ticks, now.ns); 2];
            c.jumped = true;
        } else {
            c.rate = measured;
            c.jumped &= !like;
        }
        let since = now.ticks - c.marks[1].0;
        if ticks_to_ns(since, c.rate) >= MEASURED_NS && since >= self.age(now.ticks) / AGE_SHARE {
            c.marks = [c.marks[1], (now.ticks, now.ns)];
        }
        c.last = now;
        now
    }

    /// Adds pieces until one covers a reading, and returns that.
    fn extend(&self, c: &mut Calibration, upto: u64) -> Piece {
        let last = self.last();
        if upto < last.end {
            return self.find(upto).unwrap_or_else(|last| last.standstill()); // another thread was faster
        }
        let now = self.sample(c);
        let wanted = ns_to_ticks(LENGTH_NS, c.rate).max(self.age(now.ticks) / AGE_SHARE);
        // Not longer than the time over which the rate was measured, so that the error is not larger than that of the readings.
        let length = wanted.min(now.ticks.saturating_sub(c.marks[0].0)).max(1);
        let mut last = last;
        let gap = now.ticks.saturating_sub(last.end);
        if gap > length / 4 {
            last = self.join(&last, (now.ticks, now.ns));
            // If events are rare, the next one will lie behind a gap as well.
            if gap > length && upto < last.end {
                return last;
            }
        }
        let end = now.ticks.max(upto).max(last.end).saturating_add(length);
        let ns = now.ns.saturating_add(ticks_to_ns(end - now.ticks.min(end), c.rate));
        let ahead = self.join(&last, (end, ns));
        if upto < last.end { last } else { ahead }
    }

    /// Adds a piece from the end of the last one to `to`, a reading of both clocks.
    fn join(&self, last: &Piece, to: (u64, u64)) -> Piece {
        let (start, ns) = (last.end, last.ns(last.end));
        let piece = Piece { start, end: to.0, ns, rate: rate_between((start, ns), to) };
        self.push(piece);
        piece
    }

    // ---- the chain ----

    fn shared(&self, number: u64) -> &SharedPiece {
        &self.pieces[(number % PIECES) as usize]
    }

    fn piece(&self, number: u64) -> Piece {
        let shared = self.shared(number);
        Piece {
            start: shared.start.load(Ordering::Relaxed),
            end: shared.end.load(Ordering::Relaxed),
            ns: shared.ns.load(Ordering::Relaxed),
            rate: shared.rate.load(Ordering::Relaxed),
        }
    }

    /// To be called only with the calibration locked, or before the timeline is shared.
    fn push(&self, piece: Piece) {
        let next = self.words.next.load(Ordering::Relaxed);
        if next - self.words.first.load(Ordering::Relaxed) == PIECES {
            self.words.first.store(next - PIECES + 1, Ordering::Relaxed);
            // A thread that reads the values written below also sees that `first` has moved.
            fence(Ordering::Release);
        }
        let shared = self.shared(next);
        shared.start.store(piece.start, Ordering::Relaxed);
        shared.end.store(piece.end, Ordering::Relaxed);
        shared.ns.store(piece.ns, Ordering::Relaxed);
        shared.rate.store(piece.rate, Ordering::Relaxed);
        self.words.next.store(next + 1, Ordering::Release);
    }

    /// To be called only with the calibration locked.
    fn last(&self) -> Piece {
        self.piece(self.words.next.load(Ordering::Relaxed) - 1)
    }

    /// The piece of a reading; the first one if the reading lies before it. The error is the last one, if the reading lies behind it.
    fn find(&self, ticks: u64) -> Result<Piece, Piece> {
        loop {
            let next = self.words.next.load(Ordering::Acquire);
            let first = self.words.first.load(Ordering::Acquire);
            let piece = self.piece(self.number_of(ticks, first, next));
            fence(Ordering::Acquire);
            if self.words.first.load(Ordering::Relaxed) == first {
                return if ticks < piece.end { Ok(piece) } else { Err(piece) };
            }
        }
    }

    /// The number of the last piece, from `first` to before `next`, that begins at or before a reading; `first` if there is none.
    fn number_of(&self, ticks: u64, first: u64, next: u64) -> u64 {
        // It usually is one of the newest, so the search goes back from the end in steps that double, and then bisects (Bentley and Yao,
        // "An almost optimal algorithm for unbounded searching", 1976).
        let begins_by = |number: u64| self.shared(number).start.load(Ordering::Relaxed) <= ticks;
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
        low.saturating_sub(1).max(first)
    }
}

/// The conversion of the readings in one piece. The default converts none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// The number of readings from `start` on. None of them converts to a time of more than 64 bits.
    start: u64,
    width: u64,
    ns: u64,
    rate: u64,
}

impl Known {
    /// The conversion of one reading.
    pub fn only(ticks: u64, ns: u64) -> Self {
        Self { start: ticks, width: 1, ns, rate: 0 }
    }

    /// Converts a reading to nanoseconds of the monotonic clock. `None`: it does not lie in the piece.
    #[inline(always)]
    pub fn ns(&self, ticks: u64) -> Option<u64> {
        let past = ticks.wrapping_sub(self.start);
        let ns = self.ns.wrapping_add(((u128::from(past) * u128::from(self.rate)) >> SHIFT) as u64);
        (past < self.width).then_some(ns)
    }
}

#[cfg(test)]
mod tests;
