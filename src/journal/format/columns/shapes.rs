//! The shapes of a block: the different combinations of payload length, flags, kind and weight that its records have.

use super::{NoMemory, reserve};
use crate::journal::format::bytes::{u32_at, u64_at};

/// The number of fields of a shape in the body: kind, flags, weight, length, layout.
pub(super) const FIELDS: usize = 5;
/// Payloads one after another, in the order of the records.
pub(super) const ROWS: u64 = 0;
/// The words of the payloads in columns.
pub(super) const COLUMNS: u64 = 1;

/// A payload longer than this is not split into columns.
const MAX_COLUMNS_LEN: usize = 256;
/// Fewer payloads than this are not split into columns.
const MIN_COLUMNS_COUNT: usize = 16;
/// So many payloads of a shape are looked at to tell text from numbers.
const LOOKED_AT: usize = 8;

/// What some records have in common, and how many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// The first word of the records: the length and the flags.
    tag: u64,
    /// The second word: kind and weight.
    kind_weight: u64,
    pub count: usize,
    text_words: usize,
}

impl Shape {
    pub fn len(&self) -> usize {
        (self.tag & 0xFFFF_FFFF) as usize
    }

    /// The words of a payload, the last of which may be partial.
    pub fn words(&self) -> usize {
        self.len().div_ceil(8)
    }

    /// How the payloads are stored.
    pub fn layout(&self) -> u64 {
        let looked_at = self.count.min(LOOKED_AT) * self.words();
        let right = (1..=MAX_COLUMNS_LEN).contains(&self.len())
            && self.count >= MIN_COLUMNS_COUNT
            && self.text_words * 2 <= looked_at;
        if right { COLUMNS } else { ROWS }
    }

    /// The fields as they are stored.
    pub fn fields(&self) -> [u64; FIELDS] {
        let low = |word: u64| word & 0xFFFF_FFFF;
        [low(self.kind_weight), self.tag >> 32, self.kind_weight >> 32, low(self.tag), self.layout()]
    }

    /// Notes one more record of this shape, with this payload.
    fn add(&mut self, payload: &[u8]) {
        if self.count < LOOKED_AT {
            self.text_words += payload.chunks_exact(8).filter(|word| is_text(u64_at(word, 0))).count();
        }
        self.count += 1;
    }
}

/// Whether all eight bytes are printable ASCII.
fn is_text(word: u64) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    word & HIGH == 0 && word.wrapping_sub(0x2020_2020_2020_2020) & HIGH == 0
}

/// The shapes in the order in which they first occur, and a hash table of them.
#[derive(Default)]
pub(super) struct Shapes {
    pub list: Vec<Shape>,
    /// 1 + the number of a shape, or 0. The length is a power of two, and more than twice that of the list.
    slots: Vec<u32>,
}

impl Shapes {
    pub fn clear(&mut self) {
        self.list.clear();
        self.slots.clear();
    }

    /// The number of the shape of a record with this header and payload.
    #[inline]
    pub fn number(&mut self, header: &[u8; 48], payload: &[u8]) -> Result<u64, NoMemory> {
        let (tag, kind_weight) = (u64_at(header, 0), u64_at(header, 8));
        if self.list.len() * 2 >= self.slots.len() {
            self.grow()?;
        }
        let mut at = self.slot(tag, kind_weight);
        while let Some(number) = self.slots[at].checked_sub(1) {
            let shape = &mut self.list[number as usize];
            if shape.tag == tag && shape.kind_weight == kind_weight {
                shape.add(payload);
                return Ok(u64::from(number));
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        let mut shape = Shape { tag, kind_weight, ..Shape::default() };
        shape.add(payload);
        reserve(&mut self.list, 1)?;
        self.list.push(shape);
        self.slots[at] = self.list.len() as u32;
        Ok(self.list.len() as u64 - 1)
    }

    fn slot(&self, tag: u64, kind_weight: u64) -> usize {
        let word = (tag ^ kind_weight.rotate_left(25)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (word >> 32) as usize & (self.slots.len() - 1)
    }

    #[cold]
    fn grow(&mut self) -> Result<(), NoMemory> {
        let count = (self.slots.len() * 2).max(256);
        self.slots.clear();
        reserve(&mut self.slots, count)?;
        self.slots.resize(count, 0);
        for number in 0..self.list.len() {
            let mut at = self.slot(self.list[number].tag, self.list[number].kind_weight);
            while self.slots[at] != 0 {
                at = (at + 1) & (count - 1);
            }
            self.slots[at] = number as u32 + 1;
        }
        Ok(())
    }
}

/// A shape as the decoder reads it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadShape {
    /// The first 16 bytes of its records.
    pub start: [u8; 16],
    pub len: usize,
    pub columns: bool,
    /// How many records have it.
    pub count: usize,
}

impl ReadShape {
    /// From the fields of [`Shape::fields`]. `None`: one of them is out of its range.
    pub fn from_fields([kind, flags, weight, len, layout]: [u64; FIELDS]) -> Option<Self> {
        let mut start = [0; 16];
        for (value, at) in [len, flags, kind, weight].into_iter().zip((0..).step_by(4)) {
            start[at..at + 4].copy_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
        }
        let known = layout == ROWS || layout == COLUMNS;
        known.then_some(Self { len: u32_at(&start, 0) as usize, start, columns: layout == COLUMNS, count: 0 })
    }

    /// The words of a payload, the last of which may be partial.
    pub fn words(&self) -> usize {
        self.len.div_ceil(8)
    }

    /// The bytes of a record.
    pub fn stride(&self) -> usize {
        48 + self.words() * 8
    }
}
