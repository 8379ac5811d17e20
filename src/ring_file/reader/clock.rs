//! The clock of a ring file: converts the readings of the processor's counter that its records are stamped with.

use super::directory::zeros;
use super::file::RingFile;
use crate::clock::piece::{Piece, convert};
use crate::files::failure::Failure;
use crate::journal::format::bytes::u64_at;
use crate::platform::time;
use crate::ring_file::format::{CLOCK_AT, clock};
use std::sync::atomic::{Ordering, fence};

/// How often the clock of a living owner is read again, because a piece was overwritten meanwhile.
const TRIES: u32 = 1_000;

/// The clock of a ring file.
#[derive(Clone, Debug)]
pub struct Clock {
    pieces: Vec<Piece>,
    ceiling: u64,
    /// The time of readings where there are no pieces.
    made_ns: u64,
    in_ticks: bool,
}

impl Clock {
    /// Reads the clock of a file. While the owner lives, pieces that it overwrites meanwhile are read again.
    pub fn read(file: &RingFile) -> Result<Self, Failure> {
        let header = file.header();
        let mut this = Self {
            pieces: Vec::new(),
            ceiling: u64::MAX,
            made_ns: header.monotonic_ns,
            in_ticks: header.in_ticks,
        };
        if !header.in_ticks {
            return Ok(this);
        }
        let mut bytes = zeros::<u8>((clock::PIECES_AT + clock::PIECES * clock::PIECE_BYTES) as usize)?;
        for _ in 0..TRIES {
            file.read(&mut bytes[..clock::PIECES_AT as usize], CLOCK_AT)?;
            // What is counted as valid was written before.
            fence(Ordering::Acquire);
            file.read(&mut bytes[clock::PIECES_AT as usize..], CLOCK_AT + clock::PIECES_AT)?;
            fence(Ordering::Acquire);
            let mut first = [0; 8];
            file.read(&mut first, CLOCK_AT + clock::FIRST)?;
            if u64::from_le_bytes(first) == u64_at(&bytes, clock::FIRST as usize) {
                this.take(&bytes)?;
                return Ok(this);
            }
            time::sleep_us(1);
        }
        Err(Failure::transient("the clock changes faster than it can be read"))
    }

    /// Takes the pieces, if they can be the clock's.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let word = |at: u64| u64_at(bytes, at as usize);
        self.ceiling = word(clock::CEILING);
        let (first, next) = (word(clock::FIRST), word(clock::NEXT));
        let Some(count) = next.checked_sub(first).filter(|&count| count <= clock::PIECES) else {
            return Ok(());
        };
        let full = |_| Failure::no_memory();
        self.pieces.try_reserve_exact(count as usize).map_err(full)?;
        self.pieces.extend((first..next).map(|number| {
            let at = clock::PIECES_AT + number % clock::PIECES * clock::PIECE_BYTES;
            Piece { start: word(at), end: word(at + 8), ns: word(at + 16), rate: word(at + 24) }
        }));
        if !self.pieces.windows(2).all(|two| two[0].start <= two[1].start && two[0].ns <= two[1].ns) {
            self.pieces.clear();
        }
        Ok(())
    }

    /// The time of a reading of the counter.
    pub fn ns(&self, ticks: u64) -> u64 {
        if self.pieces.is_empty() {
            return self.made_ns;
        }
        convert(&self.pieces, ticks).min(self.ceiling)
    }

    /// Whether there is no way to convert readings, though there may be some. They get the time at which the file was made.
    pub fn is_damaged(&self) -> bool {
        self.in_ticks && self.pieces.is_empty()
    }
}
