//! A number of the payload as it lies there, for a test that takes few instructions: the eight bytes that end with the number are read as one, whatever its size,
//! and shifted so that the number is their upper part. What is below it belongs to other bytes, and the test lets it be anything.

use super::number::{Number, Test, Wanted};
use crate::kinds::Integer;

/// Eight bytes of a payload, of which the upper ones are a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    at: u32,
    /// By so many bits the number is below the top.
    shift: u32,
}

impl Word {
    /// The word of a number of `size` bytes.
    fn new(offset: u32, size: u32) -> Option<Self> {
        let end = offset.checked_add(size)?;
        let at = end.max(8) - 8;
        Some(Self { at, shift: 64 - 8 * (end - at) })
    }

    /// Its value. `None`: the payload ends before; it may have the number nevertheless.
    #[inline(always)]
    pub fn read(self, payload: &[u8]) -> Option<u64> {
        let bytes = payload.get(self.at as usize..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes).wrapping_shl(self.shift))
    }
}

/// Numbers: from the first on so many more. Behind the greatest begins the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// How many more.
    pub more: u64,
}

impl Span {
    const ALL: Self = Self { first: 0, more: u64::MAX };

    /// All other values. `None`: there are none.
    pub fn others(self) -> Option<Self> {
        let more = (u64::MAX - 1).checked_sub(self.more)?;
        Some(Self { first: self.first.wrapping_add(self.more).wrapping_add(1), more })
    }

    /// Whether a value is among these.
    #[inline(always)]
    pub fn has(self, value: u64) -> bool {
        value.wrapping_sub(self.first) <= self.more
    }
}

/// Where the number of a test lies in the payload, and the values for which it holds; `true`: for no others. `None`: the number is not in the payload, or the
/// test holds for no value.
pub(super) fn word(test: &Test) -> Option<(Word, Span, bool)> {
    match test.number {
        Number::Own(_) => None,
        Number::Field { offset, integer } => {
            let (first, more, exact) = match &test.wanted {
                Wanted::Range(first, more) => (*first, *more, true),
                Wanted::Others(first, more) => {
                    let values = upper(*first, *more, integer).others()?;
                    return Some((Word::new(offset, integer.size())?, values, true));
                }
                Wanted::Ids(ids) => {
                    let (least, most) = (ids.iter().min()?, ids.iter().max()?);
                    (least, most - least, most - least == ids.len() as u64 - 1)
                }
            };
            Some((Word::new(offset, integer.size())?, upper(first, more, integer), exact))
        }
        Number::Bool { offset } => {
            let holds = |value| test.wanted.has(value);
            let zero = Span { first: 0, more: u64::MAX >> 8 };
            let values = match (holds(0), holds(1)) {
                (true, true) => Span::ALL,
                (true, false) => zero,
                (false, true) => zero.others()?,
                (false, false) => return None,
            };
            Some((Word::new(offset, 1)?, values, true))
        }
    }
}

/// The values of a word whose upper part is a number from `first` on, so many more, as the bits of a test. (How signed numbers are ordered there makes no difference,
/// because the values are a circle.)
fn upper(first: u64, more: u64, integer: Integer) -> Span {
    let below = 64 - 8 * integer.size();
    if more >= u64::MAX >> below {
        return Span::ALL;
    }
    let sign = u64::from(integer.signed()) << 63;
    Span { first: (first ^ sign) << below, more: more << below | ((1 << below) - 1) }
}
