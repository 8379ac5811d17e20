//! The rate of a sample: a part of all events that is exactly 1/N, with a whole N.

use super::MAX_WEIGHT;

/// The N of a rate that is `part` of `all`. The error is what is wrong.
pub(super) fn one_in(part: u128, all: u128, written: &str) -> Result<u32, String> {
    if all == 0 || part == 0 || part > all {
        return Err(format!("a rate above 0 and at most 1 expected, {written} given"));
    }
    let (below, exact) = (all / part, all.is_multiple_of(part));
    match u32::try_from(below) {
        Ok(n) if exact && n <= MAX_WEIGHT => Ok(n),
        Ok(n) if n < MAX_WEIGHT => {
            Err(format!("{written} is not 1/N with a whole N; the nearest are 1/{n} and 1/{}", n + 1))
        }
        _ => Err(format!("a rate of at least 1/{MAX_WEIGHT} expected, {written} given")),
    }
}

/// A decimal number as part of a whole: `12.5` is (125, 10).
pub(super) fn decimal(text: &str) -> Option<(u128, u128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return None;
    }
    let all = 10u128.checked_pow(u32::try_from(fraction.len()).ok().filter(|n| *n <= 18)?)?;
    let whole = whole.parse::<u64>().ok()?;
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()? };
    Some((u128::from(whole) * all + u128::from(fraction), all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, expected) in [
            ("1", Some((1, 1))),
            ("12.5", Some((125, 10))),
            ("0.001", Some((1, 1000))),
            ("00.10", Some((10, 100))),
            ("18446744073709551615", Some((u64::MAX.into(), 1))),
            ("1.", None),
            (".5", None),
            ("1.5.2", None),
            ("-1", None),
            ("18446744073709551616", None),
            ("0.0000000000000000001", None),
            ("", None),
        ] {
            assert_eq!(decimal(text), expected, "{text}");
        }
    }

    #[test]
    fn a_rate_is_one_in_n_or_refused_with_its_neighbours() {
        for (part, all, expected) in
            [(1, 4, 4), (25, 100, 4), (125, 1000, 8), (1, 1, 1), (2, 6, 3), (1, 1 << 20, 1 << 20)]
        {
            assert_eq!(one_in(part, all, "x"), Ok(expected));
        }
        for (part, all, words) in [
            (0, 1, "above 0 and at most 1 expected, x given"),
            (3, 2, "at most 1 expected"),
            (1, 0, "above 0"),
            (30, 100, "x is not 1/N with a whole N; the nearest are 1/3 and 1/4"),
            (2, 3, "1/1 and 1/2"),
            (1, (1 << 20) + 1, "at least 1/1048576 expected, x given"),
            (2, (1 << 21) + 1, "at least 1/1048576 expected"),
            (1, u128::MAX, "at least 1/1048576"),
        ] {
            let why = one_in(part, all, "x").unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
