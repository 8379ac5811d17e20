//! Numbers, times and bytes as text, appended to a buffer.

use capture_pipeline::wall_time;

/// The largest number that all readers of JSON keep: their numbers are doubles.
const EXACT: u64 = 1 << 53;

/// Appends an integer.
pub fn integer(into: &mut Vec<u8>, number: impl itoa::Integer) {
    into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an integer of JSON: as a string, if that is wanted and readers may round it.
pub fn json_integer(into: &mut Vec<u8>, number: u64, strings: bool) {
    if strings && number > EXACT {
        into.push(b'"');
        integer(into, number);
        into.push(b'"');
    } else {
        integer(into, number);
    }
}

/// Appends a float with as few digits as tell it from others. What is no number is `null` in JSON, which has no such numbers.
pub fn json_float(into: &mut Vec<u8>, number: f64) {
    if number.is_finite() { float(into, number) } else { into.extend_from_slice(b"null") }
}

/// Appends a float.
pub fn float(into: &mut Vec<u8>, number: f64) {
    // Most weights are 1.
    if number == 1.0 {
        into.push(b'1');
        return;
    }
    let mut buffer = ryu::Buffer::new();
    into.extend_from_slice(short(buffer.format(number)).as_bytes());
}

/// A whole number needs no fraction; -0 does, because without one it is read as an integer.
fn short(text: &str) -> &str {
    if text == "-0.0" { text } else { text.strip_suffix(".0").unwrap_or(text) }
}

/// Appends a float of 4 bytes.
pub fn single(into: &mut Vec<u8>, number: f32) {
    let mut buffer = ryu::Buffer::new();
    into.extend_from_slice(short(buffer.format(number)).as_bytes());
}

/// Appends 16 hexadecimal digits.
pub fn generation(into: &mut Vec<u8>, number: u64) {
    hexadecimal(into, &number.to_be_bytes());
}

/// Appends bytes in hexadecimal.
pub fn hexadecimal(into: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    into.reserve(bytes.len() * 2);
    into.extend(
        bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}

/// Appends a wall time.
pub fn time(into: &mut Vec<u8>, ns: u64) {
    into.extend_from_slice(&wall_time::write(ns));
}

/// Appends a string of JSON, with its quotes. Bytes that are no UTF-8 become U+FFFD.
pub fn json_string(into: &mut Vec<u8>, bytes: &[u8]) {
    into.push(b'"');
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        into.extend_from_slice(bytes);
    } else {
        for chunk in bytes.utf8_chunks() {
            chunk.valid().chars().for_each(|character| json_character(into, character));
            if !chunk.invalid().is_empty() {
                into.extend_from_slice("\u{FFFD}".as_bytes());
            }
        }
    }
    into.push(b'"');
}

fn json_character(into: &mut Vec<u8>, character: char) {
    match character {
        '"' => into.extend_from_slice(b"\\\""),
        '\\' => into.extend_from_slice(b"\\\\"),
        '\n' => into.extend_from_slice(b"\\n"),
        '\t' => into.extend_from_slice(b"\\t"),
        '\r' => into.extend_from_slice(b"\\r"),
        // Line separators end a line for some readers, and DEL and C1 change terminals.
        '\0'..='\x1F' | '\x7F'..='\u{9F}' | '\u{2028}' | '\u{2029}' => {
            into.extend_from_slice(b"\\u");
            hexadecimal(into, &(character as u16).to_be_bytes());
        }
        _ => into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut into = Vec::new();
        write(&mut into);
        String::from_utf8(into).expect("UTF-8")
    }

    #[test]
    fn numbers_are_written_exactly() {
        assert_eq!(text(|into| integer(into, u64::MAX)), "18446744073709551615");
        assert_eq!(text(|into| json_integer(into, u64::MAX, true)), "\"18446744073709551615\"");
        assert_eq!(text(|into| json_integer(into, EXACT, true)), "9007199254740992");
        assert_eq!(text(|into| json_integer(into, u64::MAX, false)), "18446744073709551615");
        assert_eq!(text(|into| json_float(into, f64::NAN)), "null");
        assert_eq!(text(|into| json_float(into, f64::NEG_INFINITY)), "null");
        assert_eq!(text(|into| json_float(into, 1.0)), "1");
        assert_eq!(text(|into| json_float(into, -0.1)), "-0.1");
        assert_eq!(text(|into| json_float(into, 1e300)), "1e300");
        assert_eq!(text(|into| single(into, 0.1)), "0.1");
        assert_eq!(text(|into| json_float(into, -0.0)), "-0.0");
        assert_eq!(text(|into| generation(into, 0xAB)), "00000000000000ab");
    }

    #[test]
    fn strings_are_escaped() {
        let string = |bytes: &[u8]| text(|into| json_string(into, bytes));
        assert_eq!(string(b"plain ~"), "\"plain ~\"");
        assert_eq!(string(b"a\"b\\c\nd\te\r\0\x7F"), r#""a\"b\\c\nd\te\r\u0000\u007f""#);
        assert_eq!(string("ü\u{2028}\u{9B}€".as_bytes()), "\"ü\\u2028\\u009b€\"");
        assert_eq!(string(b"a\xFF\xFEb"), "\"a\u{FFFD}\u{FFFD}b\"");
    }
}
