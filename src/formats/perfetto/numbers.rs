//! Numbers of tracks and flows: made of what they stand for, so that they are the same in every file, and those of other things differ.

/// A number made of others, which is never 0. It is the same in every export of the same things.
pub fn number_of(parts: &[u64]) -> u64 {
    let mixed = parts.iter().fold(0x9E37_79B9_7F4A_7C15_u64, |mixed, part| {
        let mut word = (mixed ^ part).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 32)
    });
    mixed.max(1)
}

/// A number made of a text, which is never 0.
pub fn number_of_text(start: u64, text: &[u8]) -> u64 {
    text.chunks(8).fold(number_of(&[start, text.len() as u64]), |number, chunk| {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        number_of(&[number, word])
    })
}
