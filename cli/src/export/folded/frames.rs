//! The frames of a line.

/// Appends a frame, as its readers take it: `;` is between frames, a line is a stack, and a number behind the last space is read as a count.
pub fn frame(into: &mut Vec<u8>, name: &[u8]) {
    let start = into.len();
    for character in String::from_utf8_lossy(name).chars() {
        let plain = match character {
            ';' => ':',
            _ if character.is_control() || character.is_whitespace() => ' ',
            _ => character,
        };
        into.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
    }
    let digits =
        into[start..].iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let space = into.len() - digits;
    if space > start && into[space - 1] == b' ' {
        into[space - 1] = b'_';
    }
    if into.len() == start {
        into.push(b'?');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_not_taken_for_two_or_for_a_count() {
        for (name, shown) in [
            (&b"main"[..], "main"),
            (b"a;b c", "a:b c"),
            (b"line\nend\0", "line end_"),
            (b"call 12", "call_12"),
            (b"call 1.5", "call_1.5"),
            (b"12", "12"),
            (b" 12", "_12"),
            (b"", "?"),
            (b"\xFFx", "\u{FFFD}x"),
        ] {
            let mut into = b"before;".to_vec();
            frame(&mut into, name);
            assert_eq!(String::from_utf8_lossy(&into), format!("before;{shown}"));
        }
    }
}
