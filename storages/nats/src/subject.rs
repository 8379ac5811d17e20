//! Subjects: the template of the user, and what a stream's subjects cover.

use std::fmt::Write;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Kind,
    Ring,
}

/// A subject with places for what is known of an event. `{host}` and `{node}` are filled in once, `{kind}` and `{ring}` for each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Reads a template. `per_event`: each message has one event, so that `{kind}` and `{ring}` have a meaning. An error says what is wrong with the
    /// field `subject`.
    pub fn parse(text: &str, host: &str, node: Option<&str>, per_event: bool) -> Result<Self, String> {
        let wrong = |what: String| format!("subject: {what} in \"{text}\"");
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let end = rest[at..].find('}').map(|length| at + length);
            let Some(end) = end.filter(|_| rest[at..].starts_with('{')) else {
                return Err(wrong("a brace without its partner".to_owned()));
            };
            let name = &rest[at + 1..end];
            let single = match name {
                "host" => {
                    literal.push_str(&token(host));
                    None
                }
                "node" => {
                    let node = node.ok_or_else(|| wrong("{node}, and the field node is NULL".to_owned()))?;
                    literal.push_str(&token(node));
                    None
                }
                "kind" => Some(Part::Kind),
                "ring" => Some(Part::Ring),
                _ => {
                    return Err(wrong(format!(
                        "the unknown name {{{name}}} (known: kind, node, host, ring)"
                    )));
                }
            };
            if let Some(part) = single {
                if !per_event {
                    return Err(wrong(format!(
                        "{{{name}}}, which needs a message per event (PIPELINE_NATS_MESSAGE_PER_EVENT),"
                    )));
                }
                parts.push(Part::Text(std::mem::take(&mut literal)));
                parts.push(part);
            }
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        let template = Self(parts);
        check(&template.fill(0, 0)).map_err(|what| wrong(what.to_owned()))?;
        Ok(template)
    }

    /// The subject of an event. Every message has it if the template names neither `{kind}` nor `{ring}`.
    pub fn fill(&self, kind: u32, ring: u64) -> String {
        let mut subject = String::new();
        for part in &self.0 {
            let _ = match part {
                Part::Text(text) => subject.write_str(text),
                Part::Kind => write!(subject, "{kind}"),
                Part::Ring => write!(subject, "{ring}"),
            };
        }
        subject
    }

    /// The subjects that messages may have, as a pattern: a token that changes is `*`.
    pub fn pattern(&self) -> String {
        let mut marked = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => marked.push_str(text),
                Part::Kind | Part::Ring => marked.push('*'),
            }
        }
        tokens(&marked)
            .map(|token| if token.contains('*') { "*" } else { token })
            .collect::<Vec<_>>()
            .join(".")
    }
}

/// A name as one token of a subject: what has a meaning in a subject, and what is not printable ASCII, becomes `_`.
fn token(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '.' | '*' | '>') { c } else { '_' })
        .collect()
}

/// Checks that a message can be published under the subject.
pub fn check(subject: &str) -> Result<(), &'static str> {
    if subject.is_empty() || tokens(subject).any(str::is_empty) {
        return Err("an empty part (two dots, or one at an end)");
    }
    if subject.contains(['*', '>']) {
        return Err("a wildcard");
    }
    if !subject.chars().all(|c| c.is_ascii_graphic()) {
        return Err("a character that is not printable ASCII");
    }
    if subject.len() > 200 {
        return Err("more than 200 bytes");
    }
    if subject.starts_with('$') || subject.starts_with("_INBOX.") {
        return Err("a beginning that belongs to the server");
    }
    Ok(())
}

fn tokens(subject: &str) -> impl Iterator<Item = &str> {
    subject.split('.')
}

/// Whether every subject that `pattern` matches is one of a stream's `subject`.
pub fn covers(subject: &str, pattern: &str) -> bool {
    let (mut ours, mut theirs) = (tokens(pattern), tokens(subject));
    loop {
        match (theirs.next(), ours.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(part)) if part != ">" => {}
            (Some(their), Some(our)) if their == our && our != "*" && our != ">" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, check, covers};

    fn read(text: &str, per_event: bool) -> Result<Template, String> {
        Template::parse(text, "my.host", Some("n1@there"), per_event)
    }

    #[test]
    fn names_are_filled_in() {
        let t = read("capture.{host}.{node}", false).unwrap();
        assert_eq!(t.fill(1, 2), "capture.my_host.n1@there");
        let t = read("c.{kind}.x{ring}.{host}", true).unwrap();
        assert_eq!(t.fill(7, 8), "c.7.x8.my_host");
        assert_eq!(t.pattern(), "c.*.*.my_host");
    }

    #[test]
    fn what_is_wrong_with_a_template_is_named() {
        for (text, per_event, words) in [
            ("capture.{host", false, "brace"),
            ("capture.host}", false, "brace"),
            ("capture.{pid}", false, "the unknown name {pid} (known: kind, node, host, ring)"),
            ("capture.{}", false, "the unknown name {}"),
            ("capture.{kind}", false, "PIPELINE_NATS_MESSAGE_PER_EVENT"),
            ("capture.{ring}", false, "PIPELINE_NATS_MESSAGE_PER_EVENT"),
            ("capture..a", false, "empty part"),
            ("", false, "empty part"),
            ("capture.", true, "empty part"),
            ("capture.*", false, "wildcard"),
            ("capture.>", false, "wildcard"),
            ("capture.a b", false, "not printable ASCII"),
            ("capture.ä", false, "not printable ASCII"),
            ("$JS.API.x", false, "belongs to the server"),
        ] {
            let error = read(text, per_event).unwrap_err();
            assert!(error.starts_with("subject: ") && error.contains(words), "{text}: {error}");
        }
        let error = Template::parse("a.{node}", "h", None, false).unwrap_err();
        assert!(error.contains("the field node is NULL"), "{error}");
        assert!(check(&"a".repeat(201)).is_err());
    }

    #[test]
    fn a_stream_covers_what_its_subjects_match() {
        for (subject, pattern, covered) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a.*", true),
            ("a.b", "a.*", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a.*.c", true),
            ("a.>", "a", false),
            ("a.>", "a.>", true),
            ("a.*", "a.>", false),
            (">", "a", true),
            ("*.b", "a.b", true),
            ("*.b", "a.*", false),
        ] {
            assert_eq!(covers(subject, pattern), covered, "{subject} over {pattern}");
        }
    }
}
