//! From the text of a list of rules to rules.

use super::rule::{Fault, Rule};
use super::source::Source;
use super::{MAX_RULES, actions};

/// The most bytes of a text.
pub const MAX_TEXT: usize = 4 << 20;

/// Parses a text. What depends on the kinds is not looked at.
pub fn parse(text: &str) -> Result<Vec<Rule>, Fault> {
    if text.len() > MAX_TEXT {
        return Err(Fault::list(format!("at most {MAX_TEXT} bytes of text allowed, {} given", text.len())));
    }
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut rules = Vec::new();
    let mut open: Option<Source> = None;
    for (line, written) in (1..).zip(text.lines()) {
        let content = without_comment(line, written)?;
        let trimmed = content.trim_start();
        if trimmed.trim_end().is_empty() {
            continue;
        }
        let column = content.chars().count() - trimmed.chars().count();
        let at_fault = |reason: &str| Fault { place: Some((line, column + 1)), ..Fault::list(reason) };
        match &mut open {
            Some(source) if column > 0 => source.push(line, column, trimmed.trim_end()),
            None if column > 0 => {
                return Err(at_fault(
                    "a line that begins with white space goes on with the rule before, and there is none",
                ));
            }
            _ => {
                finish(open.take(), &mut rules)?;
                if rules.len() >= MAX_RULES {
                    return Err(at_fault(&format!("at most {MAX_RULES} rules allowed, this is one more")));
                }
                let mut source = Source::of_rule(rules.len());
                source.push(line, 0, trimmed.trim_end());
                open = Some(source);
            }
        }
    }
    finish(open, &mut rules)?;
    Ok(rules)
}

fn finish(source: Option<Source>, rules: &mut Vec<Rule>) -> Result<(), Fault> {
    if let Some(source) = source {
        rules.push(actions::rule(&source)?);
    }
    Ok(())
}

/// A line up to its comment. A `#` within quotes begins none.
fn without_comment(line: u32, text: &str) -> Result<&str, Fault> {
    let mut quote: Option<(char, usize)> = None;
    let mut characters = text.char_indices().enumerate();
    while let Some((column, (at, character))) = characters.next() {
        match (quote, character) {
            (None, '#') => return Ok(&text[..at]),
            (None, '"' | '\'') => quote = Some((character, column)),
            (Some(_), '\\') => {
                characters.next();
            }
            (Some((open, _)), _) if character == open => quote = None,
            _ => {}
        }
    }
    match quote {
        None => Ok(text),
        Some((_, column)) => Err(Fault {
            place: Some((line, column + 1)),
            ..Fault::list("the text that begins here has no closing quote in its line")
        }),
    }
}
