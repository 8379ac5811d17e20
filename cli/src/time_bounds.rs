//! The times of --from and --until.

use crate::failure::Failure;
use capture_pipeline::wall_time;

/// A bound as it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Nanoseconds since 1970.
    At(u64),
    /// Nanoseconds after the first event.
    AfterFirst(u64),
    /// Nanoseconds before the last event.
    BeforeLast(u64),
}

const UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("min", 6e10), ("s", 1e9), ("h", 3.6e12), ("d", 8.64e13)];

/// A length of time in nanoseconds: numbers with units, as in `1h30min` or `2.5s`.
pub fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == &unit[..end])?;
        sum += number * factor;
        rest = &unit[end..];
    }
    (!text.is_empty() && sum < u64::MAX as f64).then_some(sum as u64)
}

impl Bound {
    /// Reads the value of an option.
    pub fn parse(option: &str, text: &str) -> Result<Self, Failure> {
        let parsed = match text.as_bytes().first() {
            Some(b'+') => duration(&text[1..]).map(Self::AfterFirst),
            Some(b'-') => duration(&text[1..]).map(Self::BeforeLast),
            _ => wall_time::parse(text).and_then(|ns| u64::try_from(ns).ok()).map(Self::At),
        };
        parsed.ok_or_else(|| {
            Failure::new(format!(
                "{option}: '{text}' is no time from 1970 to 2554; give one as in 2024-05-01T10:00:00Z, +1.5s (after the first event) or -10min (before the last one)"
            ))
        })
    }

    /// Whether the journal must be known.
    pub fn is_relative(self) -> bool {
        !matches!(self, Self::At(_))
    }

    /// The time, for a journal whose first and last events have these.
    pub fn at(self, first: u64, last: u64) -> u64 {
        match self {
            Self::At(ns) => ns,
            Self::AfterFirst(ns) => first.saturating_add(ns),
            Self::BeforeLast(ns) => last.saturating_sub(ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_relative_to_the_journal() {
        let parse = |text: &str| Bound::parse("--from", text).ok();
        assert_eq!(parse("1970-01-01T00:00:01Z"), Some(Bound::At(1_000_000_000)));
        assert_eq!(parse("+1.5s"), Some(Bound::AfterFirst(1_500_000_000)));
        assert_eq!(parse("-1h30min"), Some(Bound::BeforeLast(5_400_000_000_000)));
        assert_eq!(parse("+1d2h3min4s5ms6us7ns"), Some(Bound::AfterFirst(93_784_005_006_007)));
        for text in [
            "",
            "+",
            "-",
            "+5",
            "+s",
            "+5 s",
            "+5x",
            "+1e9s",
            "+99999999999d",
            "1969-12-31",
            "now",
            "2600-01-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let Err(Failure::Told(message)) = Bound::parse("--until", "tomorrow") else { panic!("accepted") };
        assert!(message.contains("--until") && message.contains("tomorrow"), "{message}");
        assert_eq!(Bound::AfterFirst(5).at(100, 200), 105);
        assert_eq!(Bound::BeforeLast(5).at(100, 200), 195);
        assert_eq!(
            (Bound::BeforeLast(500).at(100, 200), Bound::AfterFirst(u64::MAX).at(1, 2)),
            (0, u64::MAX)
        );
    }
}
