//! Figures as people read them.

/// Bytes: 48 B, 3.2 KB, 71 MB.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= if unit == 0 { 1000.0 } else { 999.5 } && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 99.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A number with commas.
pub fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time: 12 us, 3.4 ms, 1.25 s.
pub fn time(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} us", ns / 1000),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

/// A share in percent.
pub fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// A bar of at most `width` characters; one at least for a share that is not 0.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let length = (part as f64 / whole.max(1) as f64 * width as f64).round() as usize;
    "#".repeat(length.clamp(usize::from(part > 0), width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KB"),
            (99_949, "99.9 KB"),
            (99_950, "100 KB"),
            (999_499, "999 KB"),
            (999_500, "1.0 MB"),
            (289_000_000, "289 MB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(number(0), "0");
        assert_eq!(number(123_456), "123,456");
        assert_eq!(number(4_190_655), "4,190,655");
        assert_eq!(time(999_999), "999 us");
        assert_eq!(time(1_250_000_000), "1.25 s");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(0, 0), "0.0 %");
        assert_eq!(bar(1, 1_000_000, 10), "#");
        assert_eq!(bar(0, 10, 10), "");
        assert_eq!(bar(20, 10, 10), "##########");
    }
}
