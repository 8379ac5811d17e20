//! Writes protobuf messages: appends fields to a buffer.
//!
//! The fields of a trace are few and known, and a message is written once, front to back. So no code is generated from a schema, no message is built in
//! memory first, and the library needs no crate for it: an event costs little more than the copy of its bytes.

/// A field's number, with how its value is written.
const fn key(field: u32, wire: u32) -> u64 {
    (field << 3 | wire) as u64
}

/// Appends an integer, seven bits to a byte.
#[inline(always)]
pub fn varint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    let (bytes, len) = bytes_of(value);
    out.extend_from_slice(&bytes[..len]);
}

/// The bytes of an integer, and how many they are.
#[inline(always)]
fn bytes_of(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0_u8; 10];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    (bytes, len + 1)
}

/// A field with an integer. One that is signed is given by its bits.
#[inline(always)]
pub fn integer(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, key(field, 0));
    varint(out, value);
}

/// A field of the type fixed64.
#[inline(always)]
pub fn fixed(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, key(field, 1));
    out.extend_from_slice(&value.to_le_bytes());
}

/// A field with a float.
#[inline(always)]
pub fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    fixed(out, field, value.to_bits());
}

/// The beginning of a field with so many bytes, which follow.
#[inline(always)]
pub fn field_of_bytes(out: &mut Vec<u8>, field: u32, bytes: usize) {
    varint(out, key(field, 2));
    varint(out, bytes as u64);
}

/// A field with bytes, a text or a whole message.
#[inline(always)]
pub fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    field_of_bytes(out, field, value.len());
    out.extend_from_slice(value);
}

/// A field with a message, whose fields `write` appends.
#[inline(always)]
pub fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    varint(out, key(field, 2));
    // Most are short: their length takes one byte.
    out.push(0);
    let start = out.len();
    write(out);
    let len = out.len() - start;
    if len < 0x80 {
        out[start - 1] = len as u8;
    } else {
        long(out, start, len);
    }
}

/// Makes room for the length of a message that takes more than one byte.
#[cold]
fn long(out: &mut Vec<u8>, start: usize, len: usize) {
    let (bytes, more) = bytes_of(len as u64);
    let length = &bytes[..more];
    // (Whatever is appended is overwritten.)
    out.extend_from_slice(&length[1..]);
    out.copy_within(start..start + len, start + more - 1);
    out[start - 1..start - 1 + more].copy_from_slice(length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_seven_bits_a_byte() {
        let written = |value| {
            let mut out = Vec::new();
            varint(&mut out, value);
            out
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(127), [127]);
        assert_eq!(written(128), [0x80, 1]);
        assert_eq!(written(300), [0xAC, 2]);
        assert_eq!(written(u64::MAX), [255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn a_message_has_its_length_before_it_however_long_it_is() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 1 << 21] {
            let mut out = vec![9];
            message(&mut out, 60, |out| out.resize(out.len() + len, 7));
            let mut wanted = vec![9, 0xE2, 3];
            varint(&mut wanted, len as u64);
            wanted.resize(wanted.len() + len, 7);
            assert_eq!(out, wanted, "{len}");
        }
    }

    #[test]
    fn fields_have_their_numbers_and_types() {
        let mut out = Vec::new();
        integer(&mut out, 8, 1);
        fixed(&mut out, 47, 2);
        double(&mut out, 5, 1.0);
        bytes(&mut out, 2, b"ab");
        assert_eq!(
            out,
            [
                0x40, 1, 0xF9, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0x12, 2, b'a',
                b'b'
            ]
        );
    }
}
