//! Names that a sequence says once, and then calls by a number.

use super::NUL;
use std::collections::HashMap;

/// What a name is for. The numbers are those of the fields in `InternedData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameOf {
    /// A category of events.
    Category = 1,
    /// An event.
    Event = 2,
    /// A field of an event.
    Annotation = 3,
    /// The value of a field.
    Text = 29,
}

/// A name and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its number; 0: it has none, and is written out each time.
    pub(super) number: u32,
    pub(super) of: NameOf,
    pub(super) text: Box<str>,
}

impl Name {
    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The names with numbers. There are only so many, so that what a sequence remembers of them takes little memory.
#[derive(Debug, Default)]
pub struct Names {
    known: HashMap<(NameOf, Box<str>), u32>,
}

/// So many names have numbers.
const MOST: usize = 4_096;

impl Names {
    /// The name with this text. Bytes that are no UTF-8 are replaced. If there is no memory for its number, it has none.
    pub fn name(&mut self, of: NameOf, text: &[u8]) -> Name {
        let mut cleaned = Vec::new();
        put_clean(&mut cleaned, text);
        let text: Box<str> = String::from_utf8(cleaned).unwrap_or_default().into();
        let next = self.known.len() as u32 + 1;
        let key = (of, text.clone());
        let number = match self.known.get(&key).copied() {
            Some(number) => number,
            None if self.known.len() < MOST && self.known.try_reserve(1).is_ok() => {
                *self.known.entry(key).or_insert(next)
            }
            None => 0,
        };
        Name { number, of, text }
    }
}

/// Appends a text that the reader does not cut. It takes at most three times as many bytes.
pub(super) fn put_clean(out: &mut Vec<u8>, text: &[u8]) {
    let mut sign = [0; 4];
    for chunk in text.utf8_chunks() {
        let mut parts = chunk.valid().as_bytes().split(|byte| *byte == 0);
        out.extend_from_slice(parts.next().unwrap_or_default());
        for part in parts {
            out.extend_from_slice(NUL.encode_utf8(&mut sign).as_bytes());
            out.extend_from_slice(part);
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(char::REPLACEMENT_CHARACTER.encode_utf8(&mut sign).as_bytes());
        }
    }
}

/// Which names a sequence has said.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(Vec<u64>);

impl Said {
    /// Whether it is said for the first time.
    #[inline]
    pub fn first(&mut self, number: u32) -> bool {
        let (at, bit) = (number as usize / 64, 1 << (number % 64));
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        let is_first = self.0[at] & bit == 0;
        self.0[at] |= bit;
        is_first
    }
}
