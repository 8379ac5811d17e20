//! From the text of an expression to words.

use std::fmt;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, in characters from the start of the text.
    pub at: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.at + 1, self.reason)
    }
}

impl std::error::Error for Problem {}

/// A word of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// A name, or a word of the language.
    Name(String),
    Integer(i128),
    Float(f64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    /// An operator or a parenthesis.
    Sign(&'static str),
    End,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "'{name}'"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "\"{}\"", String::from_utf8_lossy(text)),
            Self::Bytes(_) => f.write_str("bytes"),
            Self::Sign(sign) => write!(f, "'{sign}'"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// The signs; those that begin with another one come first.
const SIGNS: [(&str, &str); 15] = [
    ("<=", "<="),
    (">=", ">="),
    ("!=", "!="),
    ("<>", "!="),
    ("==", "="),
    ("&&", "and"),
    ("||", "or"),
    ("<", "<"),
    (">", ">"),
    ("=", "="),
    ("!", "not"),
    ("(", "("),
    (")", ")"),
    (",", ","),
    ("-", "-"),
];

const UNITS: [(&str, i128); 14] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Splits a text into words.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// A problem at a byte of the text.
    pub fn problem(&self, at: usize, reason: impl Into<String>) -> Problem {
        let before = self.text.get(..at).unwrap_or(self.text);
        Problem { at: before.chars().count(), reason: reason.into() }
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// The next word, and the byte that it begins at.
    pub fn next(&mut self) -> Result<(Word, usize), Problem> {
        self.skip_space();
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok((Word::End, start)) };
        let word = match first {
            'x' if self.rest()[1..].starts_with(['"', '\'']) => {
                self.at += 1;
                Word::Bytes(self.bytes()?)
            }
            '"' | '\'' => Word::Text(self.quoted()?),
            '0'..='9' => self.number()?,
            'a'..='z' | 'A'..='Z' | '_' => Word::Name(self.name().to_owned()),
            _ => {
                let sign = SIGNS.iter().find(|(written, _)| self.rest().starts_with(written));
                let (written, sign) = sign.ok_or_else(|| {
                    self.problem(start, format!("the character {first:?} has no meaning here"))
                })?;
                self.at += written.len();
                Word::Sign(sign)
            }
        };
        Ok((word, start))
    }

    /// A name, which may have the name of a kind and a dot in front.
    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Problem> {
        let start = self.at;
        let mut characters = self.rest().char_indices();
        let quote = characters.next().map_or('"', |(_, quote)| quote);
        let mut text = Vec::new();
        while let Some((at, character)) = characters.next() {
            if character == quote {
                self.at = start + at + 1;
                return Ok(text);
            }
            if character != '\\' {
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            text.push(match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => b'\n',
                Some('t') => b'\t',
                Some(same @ ('\\' | '"' | '\'')) => same as u8,
                Some('x') => {
                    let mut digit = || characters.next().and_then(|(_, digit)| digit.to_digit(16));
                    match (digit(), digit()) {
                        (Some(high), Some(low)) => (high * 16 + low) as u8,
                        _ => return Err(self.problem(start + at, "two hexadecimal digits expected behind \\x")),
                    }
                }
                _ => return Err(self.problem(start + at, r#"only \n \t \\ \" \' \xHH have a meaning in a text"#)),
            });
        }
        Err(self.problem(start, "the text has no closing quote"))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Problem> {
        let start = self.at;
        let digits = self.quoted()?;
        let value = |digit: u8| char::from(digit).to_digit(16);
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => Some((value(*high)? * 16 + value(*low)?) as u8),
            _ => None,
        });
        pairs
            .collect::<Option<_>>()
            .ok_or_else(|| self.problem(start, "pairs of hexadecimal digits expected"))
    }

    fn number(&mut self) -> Result<Word, Problem> {
        let start = self.at;
        let rest = self.rest();
        if let Some(digits) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            let end = digits.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(digits.len());
            self.at += 2 + end;
            let digits = digits[..end].replace('_', "");
            let number = i128::from_str_radix(&digits, 16);
            return number
                .map(Word::Integer)
                .map_err(|_| self.problem(start, "at most 31 hexadecimal digits expected behind 0x"));
        }
        let digit = |c: char| c.is_ascii_digit() || c == '_';
        let count = |text: &str| text.find(|c| !digit(c)).unwrap_or(text.len());
        let mut end = count(rest);
        let mut is_float = false;
        if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            is_float = true;
            end += 1 + count(&rest[end + 1..]);
        }
        if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
            let signed = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if signed.starts_with(|c: char| c.is_ascii_digit()) {
                is_float = true;
                end = rest.len() - signed.len() + count(signed);
            }
        }
        let digits = rest[..end].replace('_', "");
        self.at += end;
        let unit = self.unit()?;
        let too_large = || self.problem(start, "the number is too large");
        if is_float {
            let number: f64 = digits.parse().map_err(|_| self.problem(start, "a number expected"))?;
            return Ok(Word::Float(number * unit as f64));
        }
        let number: i128 = digits.parse().map_err(|_| too_large())?;
        number.checked_mul(unit).map(Word::Integer).ok_or_else(too_large)
    }

    /// The unit behind a number, with or without a space. No unit: 1.
    fn unit(&mut self) -> Result<i128, Problem> {
        let rest = self.rest();
        let spaced = rest.trim_start();
        let end = spaced.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(spaced.len());
        let name = &spaced[..end];
        if let Some((_, factor)) = UNITS.iter().find(|(unit, _)| *unit == name) {
            self.at += rest.len() - spaced.len() + end;
            return Ok(*factor);
        }
        // A word behind a space is the next word: `1 and`.
        if name.is_empty() || spaced.len() < rest.len() {
            return Ok(1);
        }
        let known: Vec<&str> = UNITS.iter().map(|(unit, _)| *unit).collect();
        Err(self.problem(self.at, format!("unknown unit '{name}'; there are {}", known.join(" "))))
    }
}
