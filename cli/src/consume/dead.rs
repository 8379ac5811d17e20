//! Messages that cannot be read, on a subject of their own.

use super::connect::causes;
use crate::failure::Failure;
use async_nats::HeaderMap;
use async_nats::jetstream::{Context, Message};

/// The subject of dead letters.
pub struct DeadLetters {
    subject: String,
}

impl DeadLetters {
    /// Checks that a stream has the subject, and that what is published there does not come back.
    pub async fn on(
        context: &Context,
        subject: &str,
        stream: &str,
        filters: &[String],
    ) -> Result<Self, Failure> {
        let found = context.stream_by_subject(subject).await.map_err(|error| {
            Failure::new(format!(
                "--dead-letter {subject}: no stream keeps it ({}); add the subject to a stream, or give another",
                causes(&error)
            ))
        })?;
        let comes_back = filters.is_empty() || filters.iter().any(|filter| matches(filter, subject));
        if found == stream && comes_back {
            return Err(Failure::new(format!(
                "--dead-letter {subject}: stream {stream} has it, and this consumer would get its own dead letters; give a subject of another stream, or a --filter"
            )));
        }
        Ok(Self { subject: subject.to_owned() })
    }

    /// Publishes a message with the reason, and waits until a stream has it.
    pub async fn publish(&self, context: &Context, message: &Message, why: &str) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
            // What it says about its own publication has no meaning here.
            if !name.to_string().starts_with("Nats-") {
                values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
            }
        }
        headers.insert("Capture-Reason", one_line(why));
        headers.insert("Capture-Subject", message.subject.as_str());
        if let Ok(info) = message.info() {
            headers.insert("Capture-Stream", info.stream);
            headers.insert("Capture-Sequence", info.stream_sequence.to_string());
            // The server recognises what is published again after a crash.
            let id = format!("dead:{}:{}:{}", info.stream, info.consumer, info.stream_sequence);
            headers.insert("Nats-Msg-Id", id);
        }
        let failed = |error: &dyn std::error::Error| {
            Failure::new(format!("--dead-letter {}: a message was not kept: {}", self.subject, causes(error)))
        };
        let payload = message.payload.clone();
        let sent = context.publish_with_headers(self.subject.clone(), headers, payload).await;
        sent.map_err(|error| failed(&error))?.await.map_err(|error| failed(&error))?;
        Ok(())
    }
}

/// A header's value has one line.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Whether a subject is one of a filter's.
fn matches(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
    loop {
        match (filter.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(part)) if wanted == part => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_subject_is_matched_part_by_part() {
        for (filter, subject, is) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a", "a.b", false),
            ("*.b", "a.c", false),
            (">", "a", true),
        ] {
            assert_eq!(matches(filter, subject), is, "{filter} {subject}");
        }
    }
}
