//! Text written into a buffer that its caller has: no allocation, and nothing is written behind its end.

use super::families::Value;

/// Where the text goes.
pub struct Out<'a> {
    buffer: &'a mut [u8],
    length: usize,
    /// Nothing is written, and each number counts as the longest of its form.
    measures: bool,
}

/// The digits of the largest number.
const LONGEST: usize = 20;

impl<'a> Out<'a> {
    /// Into `buffer`. What does not fit is only counted.
    pub fn to(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0, measures: false }
    }

    /// Nowhere: it counts the most bytes that such a text can have.
    pub fn measure() -> Self {
        Self { buffer: &mut [], length: 0, measures: true }
    }

    /// The bytes so far.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Writes bytes.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.buffer.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.length += bytes.len();
    }

    /// Writes a number.
    pub fn count(&mut self, number: u64) {
        if self.measures {
            self.length += LONGEST;
            return;
        }
        let mut digits = [0; LONGEST];
        let mut from = LONGEST;
        let mut rest = number;
        loop {
            from -= 1;
            digits[from] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.put(&digits[from..]);
    }

    /// Writes a decimal fraction: `number` / 10^`DIGITS`, exactly.
    fn fraction<const DIGITS: usize>(&mut self, number: u128) {
        let unit = 10u128.pow(DIGITS as u32);
        self.count(u64::try_from(number / unit).unwrap_or(u64::MAX));
        let mut digits = [b'.'; LONGEST];
        let mut rest = (number % unit) as u64;
        for digit in digits[1..=DIGITS].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.put(&digits[..=DIGITS]);
    }

    /// Writes nanoseconds as seconds.
    pub fn seconds(&mut self, ns: u128) {
        self.fraction::<9>(ns);
    }

    /// Writes the value of a sample.
    #[inline]
    pub fn value(&mut self, value: Value) {
        match value {
            Value::Count(number) => self.count(number),
            Value::Ns(ns) => self.seconds(ns.into()),
            Value::Percent(percent) => self.fraction::<2>(percent.into()),
        }
    }
}
