//! The members of the C structs as words, as they lie in a file of live figures.

use std::ffi::c_char;

/// A member of a C struct as a word of 64 bits.
pub trait Word {
    /// The word.
    fn to_word(&self) -> u64;
    /// The member of such a word.
    fn from_word(word: u64) -> Self;
}

macro_rules! words {
    ($($type:ty: |$value:ident| $to:expr, |$word:ident| $from:expr;)*) => {
        $(impl Word for $type {
            fn to_word(&self) -> u64 {
                let $value = *self;
                $to
            }
            fn from_word($word: u64) -> Self {
                $from
            }
        })*
    };
}

words! {
    u64: |n| n, |word| word;
    u32: |n| n.into(), |word| word as u32;
    i32: |n| i64::from(n) as u64, |word| word as i32;
    f64: |n| n.to_bits(), |word| f64::from_bits(word);
    [c_char; 256]: |_text| 0, |_word| [0; 256];
}
