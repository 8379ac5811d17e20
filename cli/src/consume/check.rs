//! Whether a message is one of ours, and what its headers say.

use async_nats::HeaderMap;
use capture_pipeline::event::PIPELINE_KIND_RESERVED;
use capture_pipeline::journal::message::{Reader, Summary};

/// What the headers of a message say. What they do not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The version of the format, as it stands there.
    pub format: Option<String>,
    /// The run.
    pub generation: Option<u64>,
    /// The events, or the facts.
    pub count: Option<u64>,
    /// The facts that the run had.
    pub schema: Option<u64>,
    /// The number of the first fact.
    pub facts: Option<u64>,
    /// Where the facts of the run are.
    pub facts_subject: Option<String>,
}

impl Said {
    /// Reads the headers.
    pub fn of(headers: Option<&HeaderMap>) -> Self {
        let text = |name: &str| headers?.get(name).map(|value| value.as_str().to_owned());
        let number = |name: &str| text(name)?.parse().ok();
        Self {
            format: text("Capture-Format"),
            generation: text("Capture-Generation").and_then(|text| u64::from_str_radix(&text, 16).ok()),
            count: number("Capture-Count"),
            schema: number("Capture-Schema"),
            facts: number("Capture-Facts"),
            facts_subject: text("Capture-Facts-Subject"),
        }
    }
}

/// Lets a reader take a message. An error says why it is none of ours, or which part of it is damaged. `memory`: an error that has nothing to do with the message.
pub fn take(reader: &mut Reader, said: &Said, body: &[u8]) -> Result<Summary, Refusal> {
    if let Some(format) = said.format.as_ref().filter(|format| *format != "1") {
        let why = format!("format {format}; this command reads format 1: use a later version of it");
        return Err(Refusal::Bad(why));
    }
    let summary = reader.take(body).map_err(|error| {
        if error.status == capture_pipeline::status::PIPELINE_ERR_NO_MEMORY {
            Refusal::NoMemory(error.to_string())
        } else {
            Refusal::Bad(error.to_string())
        }
    })?;
    let count = if summary.stretches == 0 { summary.facts } else { summary.events };
    if let Some(generation) = said.generation.filter(|generation| *generation != summary.generation) {
        let why = format!(
            "Capture-Generation says {generation:016x}, and the message is of {:016x}",
            summary.generation
        );
        return Err(Refusal::Bad(why));
    }
    if let Some(said) = said.count.filter(|said| *said != count) {
        return Err(Refusal::Bad(format!("Capture-Count says {said}, and the message has {count}")));
    }
    let own = reader.events(body).find(|event| event.kind >= PIPELINE_KIND_RESERVED);
    if let Some(event) = own {
        return Err(Refusal::Bad(format!(
            "an event has the kind {:#x}, which is the library's own",
            event.kind
        )));
    }
    Ok(summary)
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not one of ours, or damaged.
    Bad(String),
    /// There is no memory at the moment.
    NoMemory(String),
}
