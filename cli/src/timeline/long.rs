//! Texts that are too long to be shown on a line of time.

use crate::numbers;
use capture_pipeline::kinds::Value;

/// So many bytes of a text are shown, and half as many of bytes, which are in hexadecimal.
const MOST: usize = 16_384;

/// The beginning of a text or of bytes, if it is long, with a sign that there was more.
#[inline]
pub fn beginning(value: &Value<'_>) -> Option<String> {
    match value {
        Value::String(text) if text.len() > MOST => {
            let mut end = MOST;
            // Not within a character.
            while end > MOST - 4 && text[end] & 0xC0 == 0x80 {
                end -= 1;
            }
            Some(format!("{}…", String::from_utf8_lossy(&text[..end])))
        }
        Value::Bytes(bytes) if bytes.len() > MOST / 2 => {
            let mut digits = Vec::new();
            numbers::hexadecimal(&mut digits, &bytes[..MOST / 2]);
            Some(format!("{}…", String::from_utf8_lossy(&digits)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(beginning(&Value::String(&[b'x'; MOST])), None);
        assert_eq!(beginning(&Value::Bytes(&[0; MOST / 2])), None);
        let text = format!("{}ü€", "x".repeat(MOST - 1));
        assert_eq!(beginning(&Value::String(text.as_bytes())), Some(format!("{}…", "x".repeat(MOST - 1))));
        assert_eq!(beginning(&Value::Bytes(&[0xAB; MOST])), Some(format!("{}…", "ab".repeat(MOST / 2))));
        // No text at all: every byte seems to be within a character.
        assert!(beginning(&Value::String(&[0x80; 2 * MOST])).is_some_and(|text| text.ends_with('…')));
    }
}
