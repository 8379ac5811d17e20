//! The text of one rule: `[NAME:] [dry] ACTION {, ACTION} [if EXPRESSION]`.

use super::rate::{decimal, one_in};
use super::rule::{ACTIONS, Actions, Fault, Limit, Redact, Rule};
use super::source::Source;
use super::{MAX_DEPTH, MAX_LIMIT, MAX_REDACTED, TAGS};
use crate::expression::Expression;

/// The words that begin an action. A field with such a name is redacted as `KIND.FIELD`.
const WORDS: [&str; 8] = ["keep", "drop", "sample", "limit", "priority", "redact", "snapshot", "tag"];

/// What a text of a rule that is given as data redacts: `FIELD`, `KIND.FIELD`, `payload` or `payload[A..B]`.
pub fn redact(text: &str) -> Result<Redact, String> {
    let source = Source::of(text);
    let mut cursor = Cursor { source: &source, at: 0, name: String::new() };
    let mut actions = Actions::default();
    cursor.redact(&mut actions).map_err(|fault| fault.reason)?;
    match actions.redact.pop() {
        Some(part) if cursor.rest().trim().is_empty() => Ok(part),
        _ => Err(cursor.expected("the end").reason),
    }
}

struct Cursor<'a> {
    source: &'a Source,
    /// The byte of the text.
    at: usize,
    name: String,
}

/// Reads the rule.
pub(super) fn rule(source: &Source) -> Result<Rule, Fault> {
    let mut cursor = Cursor { source, at: 0, name: String::new() };
    let mut rule = Rule { line: source.line(), ..Rule::default() };
    let first = cursor.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if cursor.skip(':') {
        if first.is_empty() {
            return Err(cursor.expected_at(0, "a name before ':'"));
        }
        (rule.name, cursor.name) = (first.to_owned(), first.to_owned());
    } else {
        cursor.at = 0;
    }
    let rule_at = cursor.at;
    rule.dry = cursor.skip_word("dry");
    loop {
        cursor.action(&mut rule.actions)?;
        if !cursor.skip(',') {
            break;
        }
    }
    if cursor.skip_word("if") {
        rule.condition = Some(cursor.expression()?);
    } else if !cursor.rest().trim().is_empty() {
        return Err(cursor.expected("',' and an action, 'if' and an expression, or the end of the rule"));
    }
    rule.check()
        .map_err(|reason| cursor.fault(if reason.starts_with("name") { 0 } else { rule_at }, reason))?;
    Ok(rule)
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.source.text.get(self.at..).unwrap_or("")
    }

    /// A fault at a byte of the text, or behind the space there.
    fn fault(&self, at: usize, reason: impl Into<String>) -> Fault {
        let rest = self.source.text.get(at..).unwrap_or("");
        let at = at + rest.len() - rest.trim_start().len();
        let characters = self.source.text.get(..at).unwrap_or("").chars().count();
        self.fault_at_character(characters, reason)
    }

    fn fault_at_character(&self, character: usize, reason: impl Into<String>) -> Fault {
        Fault {
            rule: Some((self.source.index, self.name.clone())),
            place: Some(self.source.place(character)),
            reason: reason.into(),
        }
    }

    fn expected_at(&self, at: usize, what: &str) -> Fault {
        let found = self.source.text.get(at..).unwrap_or("").trim_start();
        let end = found
            .char_indices()
            .skip(1)
            .find(|(_, c)| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '%'))
            .map_or(found.len(), |(end, _)| end);
        let first = found.chars().next();
        let found = match first {
            None => "the end".to_owned(),
            Some(c) if c.is_ascii_alphanumeric() || c == '_' => {
                format!("'{}'", found[..end].chars().take(40).collect::<String>())
            }
            Some(c) => format!("{c:?}"),
        };
        self.fault(at, format!("{what} expected, {found} found"))
    }

    fn expected(&self, what: &str) -> Fault {
        self.expected_at(self.at, what)
    }

    fn skip_space(&mut self) {
        self.at = self.source.text.len() - self.rest().trim_start().len();
    }

    /// The word that comes next; empty if there is none.
    fn word(&mut self) -> &'a str {
        self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    }

    /// The characters that come next, behind space.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip(&mut self, sign: char) -> bool {
        self.skip_space();
        let is = self.rest().starts_with(sign);
        if is {
            self.at += sign.len_utf8();
        }
        is
    }

    fn skip_word(&mut self, wanted: &str) -> bool {
        let before = self.at;
        let is = self.word().eq_ignore_ascii_case(wanted);
        if !is {
            self.at = before;
        }
        is
    }

    fn number(&mut self, what: &str) -> Result<u64, Fault> {
        let at = self.at;
        let digits = self.take(|c| c.is_ascii_digit() || c == '_').replace('_', "");
        if digits.is_empty() {
            return Err(self.expected_at(at, what));
        }
        digits.parse().map_err(|_| self.fault(at, format!("{what}: the number is too large")))
    }

    fn action(&mut self, actions: &mut Actions) -> Result<(), Fault> {
        self.skip_space();
        let at = self.at;
        let word = self.word().to_ascii_lowercase();
        let twice = |given: bool| {
            if given { Err(self.fault(at, format!("{word} is given twice"))) } else { Ok(()) }
        };
        match word.as_str() {
            "keep" => {
                twice(actions.keep)?;
                actions.keep = true;
                actions.trace = self.skip_word("trace");
            }
            "drop" => {
                twice(actions.drop)?;
                actions.drop = true;
            }
            "sample" => {
                twice(actions.sample != 0)?;
                actions.sample = self.rate()?;
            }
            "limit" => {
                twice(actions.limit.is_some())?;
                actions.limit = Some(self.limit()?);
            }
            "priority" => {
                twice(actions.priority)?;
                actions.priority = true;
            }
            "snapshot" => {
                twice(actions.snapshot)?;
                actions.snapshot = true;
            }
            "redact" => loop {
                self.redact(actions)?;
                if !self.goes_on_with_field() {
                    break;
                }
            },
            "tag" => {
                let at = self.at;
                let tag = self.number("a tag from 1 to 8")?;
                let known = u32::try_from(tag).ok().filter(|tag| (1..=TAGS).contains(tag));
                let bit = known
                    .ok_or_else(|| self.fault(at, format!("a tag from 1 to 8 expected, {tag} found")))?;
                actions.tags |= 1 << (bit - 1);
            }
            _ => return Err(self.expected_at(at, &format!("an action ({ACTIONS})"))),
        }
        Ok(())
    }

    fn rate(&mut self) -> Result<u32, Fault> {
        const WHAT: &str = "a rate, as in 1/100, 1% or 0.01,";
        self.skip_space();
        let at = self.at;
        let text = self.take(|c| c.is_ascii_digit() || matches!(c, '.' | '_')).replace('_', "");
        let (part, all) = decimal(&text).ok_or_else(|| self.expected_at(at, WHAT))?;
        let (part, all) = if self.skip('%') {
            (part, all * 100)
        } else if self.skip('/') {
            let below = self.number("a whole number")?;
            (part, all * u128::from(below))
        } else {
            (part, all)
        };
        let written: String = self.source.text[at..self.at].chars().take(40).collect();
        one_in(part, all, &written).map_err(|reason| self.fault(at, format!("sample: {reason}")))
    }

    fn limit(&mut self) -> Result<Limit, Fault> {
        let at = self.at;
        let per_second = self.number("a number of events")?;
        if !self.skip('/') || !self.skip_word("s") {
            return Err(self.expected("'/s'"));
        }
        let burst = if self.skip_word("burst") { self.number("a number of events")? } else { per_second };
        for given in [per_second, burst] {
            if !(1..=MAX_LIMIT).contains(&given) {
                return Err(self.fault(at, format!("limit: 1 to {MAX_LIMIT} events allowed, {given} given")));
            }
        }
        Ok(Limit { per_second, burst })
    }

    /// Whether a comma comes next and, behind it, a field and no action. The comma is skipped then.
    fn goes_on_with_field(&mut self) -> bool {
        let before = self.at;
        let goes_on = self.skip(',') && {
            let behind = self.at;
            let word = self.field_name();
            self.at = behind;
            !word.is_empty() && !WORDS.iter().any(|action| action.eq_ignore_ascii_case(word))
        };
        if !goes_on {
            self.at = before;
        }
        goes_on
    }

    fn field_name(&mut self) -> &'a str {
        self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
    }

    fn redact(&mut self, actions: &mut Actions) -> Result<(), Fault> {
        self.skip_space();
        let at = self.at;
        let name = self.field_name();
        let part = match name.split_once('.') {
            None if name.is_empty() => return Err(self.expected_at(at, "a field, or payload[A..B],")),
            None if name.eq_ignore_ascii_case("payload") => self.payload(at)?,
            None => Redact::Field { kind: None, field: name.to_owned() },
            Some((kind, field)) if !kind.is_empty() && !field.is_empty() && !field.contains('.') => {
                Redact::Field { kind: Some(kind.to_owned()), field: field.to_owned() }
            }
            Some(_) => return Err(self.expected_at(at, "FIELD, KIND.FIELD or payload[A..B]")),
        };
        if actions.redact.len() >= MAX_REDACTED {
            return Err(self.fault(at, format!("redact: at most {MAX_REDACTED} fields allowed in a rule")));
        }
        actions.redact.push(part);
        Ok(())
    }

    fn payload(&mut self, at: usize) -> Result<Redact, Fault> {
        if !self.skip('[') {
            return Ok(Redact::Payload(0, u32::MAX));
        }
        let offset = |this: &mut Self| {
            let at = this.at;
            let number = this.number("an offset")?;
            u32::try_from(number).map_err(|_| {
                this.fault(at, format!("an offset of at most {} expected, {number} found", u32::MAX))
            })
        };
        let first = offset(self)?;
        if !self.skip('.') || !self.rest().starts_with('.') {
            return Err(self.expected("'..'"));
        }
        self.at += 1;
        let end = if self.skip(']') {
            u32::MAX
        } else {
            let end = offset(self)?;
            if !self.skip(']') {
                return Err(self.expected("']'"));
            }
            end
        };
        if first >= end {
            return Err(self.fault(at, format!("redact: payload[{first}..{end}] is empty")));
        }
        Ok(Redact::Payload(first, end))
    }

    fn expression(&mut self) -> Result<Expression, Fault> {
        let before = self.source.text.get(..self.at).unwrap_or("").chars().count();
        Expression::parse_within(self.rest(), MAX_DEPTH)
            .map_err(|problem| self.fault_at_character(before + problem.at, problem.reason))
    }
}
