//! The facts of runs: a message of events says how many its run had, and where they are. Those that have not come are fetched.

use super::check::Said;
use super::store::Incoming;
use crate::messages;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use std::collections::HashMap;

/// The most runs of which it is known how many facts have come.
const MOST_RUNS: usize = 4096;

/// See the module.
#[derive(Default)]
pub struct Facts {
    /// The facts that have come, or that were looked for, of each run.
    known: HashMap<u64, u64>,
}

impl Facts {
    /// Fetches what a message needs and has not come, and says that it has. What a message tells is noted.
    pub async fn needed(&mut self, context: &Context, said: &Said) -> Vec<Incoming> {
        let mut fetched = Vec::new();
        let Some(generation) = said.generation else { return fetched };
        if self.known.len() >= MOST_RUNS && !self.known.contains_key(&generation) {
            self.known.clear();
        }
        let known = self.known.entry(generation).or_default();
        if let (Some(first), Some(count)) = (said.facts, said.count) {
            if first <= *known {
                *known = (*known).max(first.saturating_add(count));
            }
            return fetched;
        }
        let (Some(schema), Some(subject)) = (said.schema, &said.facts_subject) else { return fetched };
        while *known < schema {
            // The parts that are full begin where they always did, so from the first one on each tells where the next one begins.
            let first = if fetched.is_empty() { 0 } else { *known };
            match last(context, &format!("{subject}.{first}")).await {
                Ok(Some((message, end))) if end > first => {
                    fetched.push(message);
                    *known = end;
                }
                Ok(_) => {
                    messages::tell(format!(
                        "generation {generation:016x}: {schema} facts about its events are needed, and {known} are at {subject}; names and fields may be missing"
                    ));
                    *known = schema;
                }
                Err(why) => {
                    messages::tell(format!("the facts about events are not fetched from {subject}: {why}"));
                    break;
                }
            }
        }
        fetched
    }
}

/// The last message of a subject, in whatever stream it is, and the number behind its last fact.
async fn last(context: &Context, subject: &str) -> Result<Option<(Incoming, u64)>, String> {
    use async_nats::jetstream::context::GetStreamByNameErrorKind as NoStream;
    let stream = match context.stream_by_subject(subject).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == NoStream::NotFound => return Ok(None),
        Err(error) => return Err(super::connect::causes(&error)),
    };
    let stream = context.get_stream_no_info(&stream).await.map_err(|error| super::connect::causes(&error))?;
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => {
            let said = Said::of(Some(&message.headers));
            let end = said.facts.unwrap_or(0).saturating_add(said.count.unwrap_or(0));
            Ok(Some((Incoming { headers: Some(message.headers), body: message.payload }, end)))
        }
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(super::connect::causes(&error)),
    }
}
