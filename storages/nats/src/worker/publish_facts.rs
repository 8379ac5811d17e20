//! What is published of facts.

use super::facts::Part;
use super::publish::Outgoing;
use super::state::{Answer, Worker};
use crate::abi::PIPELINE_STORE_RETRY;
use crate::attempt::Attempt;
use crate::headers::Known;
use crate::pipeline::Encoded;
use bytes::Bytes;

impl Worker {
    pub(super) fn facts_are_stored(&self, generation: u64, schema: u64) -> bool {
        schema == 0 || self.facts.get(&generation).is_some_and(|facts| facts.stored as u64 >= schema)
    }

    /// Whether facts must be published for a batch that needs so many.
    pub(super) fn facts_wanted(&mut self, generation: u64, schema: u64) -> bool {
        if self.facts_are_stored(generation, schema) {
            return false;
        }
        let facts = self.facts.entry(generation).or_default();
        facts.wanted = facts.wanted.max(schema as usize);
        facts.on_the_way.is_none()
    }

    /// The next message of facts, which the attempt's batch gives access to.
    pub(super) fn next_facts(&mut self, order: u64) -> Option<Outgoing> {
        let ack = self.new_ack();
        let mut buffer = self.buffer();
        let attempt = self.attempts.get(&order)?;
        let generation = attempt.batch.key().0;
        let facts = self.facts.entry(generation).or_default();
        let encoded = self.encoder.facts(&attempt.batch, facts.part, &mut buffer);
        let outgoing = match encoded {
            Encoded::Message(message) => {
                let full = ((facts.part + message.count) as u64) < message.schema;
                facts.on_the_way = Some(Part { ack, count: message.count, full });
                let known = Known { generation, count: message.count, schema: message.schema };
                Some(Outgoing {
                    subject: format!("{}.{}", self.naming.facts_subject(generation), facts.part),
                    headers: self.naming.facts(facts.part, known),
                    payload: Bytes::copy_from_slice(&buffer[..message.length]),
                    ack,
                })
            }
            Encoded::End => {
                facts.stored = facts.stored.max(facts.wanted);
                None
            }
            Encoded::TooLarge(_) | Encoded::Never => {
                // No stream will ever have it. Events without it are better than none.
                facts.part += 1;
                facts.stored = facts.stored.max(facts.part);
                None
            }
            Encoded::Failed(words) => {
                self.complain(format!("names and definitions of kinds cannot be encoded: {words}"));
                self.answer(order, PIPELINE_STORE_RETRY);
                None
            }
        };
        self.give_back(buffer);
        outgoing
    }

    /// `true`: the acknowledgement was for facts.
    pub(super) fn facts_answered(&mut self, number: u64, answer: &Answer) -> bool {
        let found =
            self.facts.iter_mut().find(|(_, facts)| facts.on_the_way.is_some_and(|part| part.ack == number));
        let Some((&generation, facts)) = found else { return false };
        let Some(part) = facts.on_the_way.take() else { return false };
        match answer {
            Answer::Stored { again } => {
                self.status.write(|status| {
                    status.acknowledged += 1;
                    status.duplicates += u64::from(*again);
                });
                facts.stored = facts.part + part.count;
                if part.full {
                    facts.part = facts.stored;
                }
                for order in self.attempts.keys().copied().collect::<Vec<_>>() {
                    self.finish_if_stored(order);
                }
                self.open_from = 0;
            }
            Answer::Unheard => self.open_from = 0,
            Answer::Refused { words, .. } => {
                self.status.write(|status| status.refused += 1);
                self.complain(words.clone());
                self.doubt_the_stream();
                // Every batch of this pipeline needs them. Each is tried again, after a pause of the pipeline's.
                let of_it = |attempt: &Attempt| attempt.batch.key().0 == generation;
                let waiting: Vec<u64> = self
                    .attempts
                    .iter()
                    .filter(|(_, attempt)| of_it(attempt))
                    .map(|(&order, _)| order)
                    .collect();
                for order in waiting {
                    self.answer(order, PIPELINE_STORE_RETRY);
                }
            }
        }
        true
    }
}
