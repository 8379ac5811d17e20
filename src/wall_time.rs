//! Wall times as text: RFC 3339, in UTC, with nanoseconds.

/// The length of a time as [`write`] writes it.
pub const LEN: usize = 30;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// The days from 1970-01-01 to the first of March of a year that begins in March. Leap days are the last days of such years.
const fn days_to_march(year: i64) -> i64 {
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) - 719_468
}

/// The days of such a year before the month that is so many months behind March.
const fn days_to_month(month: i64) -> i64 {
    (153 * month + 2) / 5
}

/// The year, month and day, from 1 on, of a day since 1970-01-01. For days of 0 to 9999.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days as i64;
    let mut year = (days + 719_468) * 400 / 146_097;
    // By the mean length of a year; leap days may move it by one.
    if days_to_march(year) > days {
        year -= 1;
    } else if days_to_march(year + 1) <= days {
        year += 1;
    }
    let of_year = days - days_to_march(year);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - days_to_month(month) + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (year as u64, month as u64, day as u64)
}

/// Writes nanoseconds since 1970 as `2023-11-14T22:13:20.000000100Z`.
pub fn write(ns: u64) -> [u8; LEN] {
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |at: usize, digits: usize, mut number: u64| {
        for place in text[at..at + digits].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
    };
    let seconds = ns / SECOND;
    let (year, month, day) = date(seconds / DAY);
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, seconds % DAY / 3600);
    put(14, 2, seconds % 3600 / 60);
    put(17, 2, seconds % 60);
    put(20, 9, ns % SECOND);
    text
}

/// Reads the digits at the start of a text. `None`: there are not as many.
fn digits(text: &mut &[u8], count: usize) -> Option<i64> {
    let (number, rest) = text.split_at_checked(count)?;
    *text = rest;
    number.iter().try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + i64::from(digit - b'0')))
}

fn one_of(text: &mut &[u8], allowed: &[u8]) -> Option<u8> {
    let (first, rest) = text.split_first()?;
    *text = rest;
    allowed.contains(first).then_some(*first)
}

/// Reads a time: a date (`2023-11-14`), or a date and a time (`2023-11-14T22:13:20.5Z`, a space for the `T`, seconds and their fraction are
/// optional), with `Z`, an offset (`+01:00`) or nothing for UTC. The result is in nanoseconds since 1970; it may be negative. `None`: the text is no time.
pub fn parse(text: &str) -> Option<i128> {
    let mut text = text.as_bytes();
    let year = digits(&mut text, 4)?;
    one_of(&mut text, b"-")?;
    let month = digits(&mut text, 2)?;
    one_of(&mut text, b"-")?;
    let day = digits(&mut text, 2)?;
    if !(1..=12).contains(&month) {
        return None;
    }
    // The year that begins in March, and the month in it.
    let (march_year, march_month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let first = days_to_march(march_year) + days_to_month(march_month);
    let next = if march_month == 11 {
        days_to_march(march_year + 1)
    } else {
        days_to_march(march_year) + days_to_month(march_month + 1)
    };
    if !(1..=next - first).contains(&day) {
        return None;
    }
    let mut seconds = (first + day - 1) * DAY as i64;
    let mut fraction = 0;
    if !text.is_empty() {
        one_of(&mut text, b"Tt ")?;
        let hour = digits(&mut text, 2)?;
        one_of(&mut text, b":")?;
        let minute = digits(&mut text, 2)?;
        let mut second = 0;
        if text.first() == Some(&b':') {
            text = &text[1..];
            second = digits(&mut text, 2)?;
            if text.first() == Some(&b'.') {
                text = &text[1..];
                let count = text.iter().take_while(|digit| digit.is_ascii_digit()).count();
                if !(1..=9).contains(&count) {
                    return None;
                }
                fraction = digits(&mut text, count)? * 10_i64.pow(9 - count as u32);
            }
        }
        // A leap second is the first second of the next minute.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        seconds += hour * 3600 + minute * 60 + second;
        if let Some(zone) = text.first() {
            let sign = match zone {
                b'Z' | b'z' => 0,
                b'+' => -1,
                b'-' => 1,
                _ => return None,
            };
            text = &text[1..];
            if sign != 0 {
                let hour = digits(&mut text, 2)?;
                one_of(&mut text, b":")?;
                let minute = digits(&mut text, 2)?;
                if hour > 23 || minute > 59 {
                    return None;
                }
                seconds += sign * (hour * 3600 + minute * 60);
            }
        }
    }
    text.is_empty().then(|| i128::from(seconds) * i128::from(SECOND) + i128::from(fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(ns: u64) -> String {
        String::from_utf8(write(ns).to_vec()).expect("ASCII")
    }

    #[test]
    fn times_are_written_as_dates() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1_700_000_000_000_000_100, "2023-11-14T22:13:20.000000100Z"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400 * SECOND, "2000-02-29T00:00:00.000000000Z"),
            (4_107_542_399 * SECOND, "2100-02-28T23:59:59.000000000Z"),
            (4_107_542_400 * SECOND, "2100-03-01T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(written(ns), text);
        }
    }

    #[test]
    fn every_day_is_read_as_it_was_written_and_follows_the_day_before() {
        let mut before = String::new();
        for day in 0..u64::MAX / SECOND / DAY {
            let ns = day * DAY * SECOND + 12_345;
            let text = written(ns);
            assert_eq!(parse(&text), Some(i128::from(ns)), "{text}");
            assert!(before < text);
            before = text;
        }
    }

    #[test]
    fn the_forms_of_a_time() {
        let second = i128::from(SECOND);
        for (text, seconds) in [
            ("1970-01-02", 86_400),
            ("1970-01-01T00:01", 60),
            ("1970-01-01 00:00:07", 7),
            ("1970-01-01t00:00:07z", 7),
            ("1970-01-01T01:00:07+01:00", 7),
            ("1969-12-31T18:30:07-05:30", 7),
            ("1969-12-31", -86_400),
            ("1970-01-01T00:00:60", 60),
            ("0000-03-01", -62_162_035_200),
        ] {
            assert_eq!(parse(text), Some(seconds * second), "{text}");
        }
        assert_eq!(parse("1970-01-01T00:00:00.5"), Some(second / 2));
        assert_eq!(parse("1970-01-01T00:00:00.000000001Z"), Some(1));
        for text in [
            "",
            "1970",
            "1970-1-1",
            "1970-13-01",
            "1970-00-01",
            "1970-02-29",
            "1970-04-31",
            "1970-01-00",
            "1970-01-01T",
            "1970-01-01T24:00",
            "1970-01-01T00:60",
            "1970-01-01T00:00:61",
            "1970-01-01T00:00:00.",
            "1970-01-01T00:00:00.0000000001",
            "1970-01-01T00:00Z0",
            "1970-01-01T00:00+1",
            "+970-01-01",
            "1970-01-01T00:00 Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
