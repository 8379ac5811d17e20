//! What is published next.

use super::state::Worker;
use crate::abi::{PIPELINE_LOG_WARN, PIPELINE_STORE_RETRY};
use crate::attempt::Sent;
use crate::headers::{Headers, Known};
use crate::pipeline::{self, Encoded};
use crate::plan::Cut;
use bytes::Bytes;

/// A message as it goes to the server.
pub(super) struct Outgoing {
    pub subject: String,
    pub headers: Headers,
    pub payload: Bytes,
    pub ack: u64,
}

/// What came of looking for a message in an attempt.
enum Next {
    Message(Outgoing),
    /// The attempt has none, and is answered if all of it is stored.
    Nothing,
    /// The attempt has been answered.
    Answered,
    /// It needs facts that the stream does not have, and that are not on their way. They come first.
    Facts,
    /// Nothing is published for this step; the next one follows.
    Again,
}

impl Worker {
    /// Publishes what can be published: within the pending bound, the oldest attempt first.
    pub(super) async fn pump(&mut self) {
        while self.connected && self.stream.is_some() && self.has_room() {
            let Some(outgoing) = self.next_message() else { return };
            self.status.write(|status| status.published += 1);
            let reply = format!("{}.{}", self.inbox, outgoing.ack);
            let headers = outgoing.headers.into_map();
            let sent = self.client.publish_with_reply_and_headers(
                outgoing.subject,
                reply,
                headers,
                outgoing.payload,
            );
            if let Err(error) = sent.await {
                // The message stays unacknowledged, so it is tried again.
                self.complain(format!("a message could not be given to the connection: {error}"));
            }
        }
    }

    fn has_room(&self) -> bool {
        self.pending_messages < self.options.pending_messages
            && self.pending_bytes < self.options.pending_bytes
    }

    /// The most bytes that a message's content may have.
    fn limit(&self) -> usize {
        let server = self.client.max_payload();
        let most = self.stream.and_then(|stream| stream.max_message).map_or(server, |own| own.min(server));
        most.saturating_sub(self.naming.room())
    }

    pub(super) fn buffer(&mut self) -> Vec<u8> {
        let limit = self.limit();
        let mut buffer = std::mem::take(&mut self.scratch);
        buffer.resize(limit, 0);
        buffer
    }

    pub(super) fn give_back(&mut self, buffer: Vec<u8>) {
        self.scratch = buffer;
    }

    pub(super) fn new_ack(&mut self) -> u64 {
        self.next_ack += 1;
        self.next_ack
    }

    fn next_message(&mut self) -> Option<Outgoing> {
        loop {
            let (&order, _) = self.attempts.range(self.open_from..).next()?;
            self.open_from = order;
            let mut buffer = self.buffer();
            let next = self.next_of(order, &mut buffer);
            self.give_back(buffer);
            match next {
                Next::Message(outgoing) => return Some(outgoing),
                Next::Facts => {
                    if let Some(outgoing) = self.next_facts(order) {
                        return Some(outgoing);
                    }
                }
                Next::Nothing => {
                    self.open_from = order + 1;
                    self.finish_if_stored(order);
                }
                Next::Answered | Next::Again => {}
            }
        }
    }

    /// The next message of an attempt: one that must be published again, or the next events.
    fn next_of(&mut self, order: u64, buffer: &mut [u8]) -> Next {
        let Some(attempt) = self.attempts.get_mut(&order) else { return Next::Answered };
        let again = attempt.unsent();
        let count = attempt.batch.count();
        let (at, cut) = match again {
            Some(index) => (attempt.messages[index].at, Some(attempt.messages[index].cut)),
            None if attempt.position == count => return self.after_the_last(order),
            None => {
                let at = attempt.position;
                (at, attempt.earlier.take(attempt.batch.identity(at)))
            }
        };
        if let (None, Some(cut)) = (again, cut)
            && cut.stored
        {
            attempt.position += cut.count;
            return Next::Again;
        }
        let most = cut.map_or(if self.options.per_event { 1 } else { usize::MAX }, |cut| cut.count);
        match self.encoder.events(&attempt.batch, at, most, buffer) {
            Encoded::Message(message) => {
                if again.is_some() && Some(message.count) != cut.map(|cut| cut.count) {
                    // The limit is smaller than it was: the next attempt divides the message.
                    self.answer(order, PIPELINE_STORE_RETRY);
                    return Next::Answered;
                }
                if self.facts_wanted(message.generation, message.schema) {
                    self.put_back(order, cut.filter(|_| again.is_none()));
                    return Next::Facts;
                }
                let payload = Bytes::copy_from_slice(&buffer[..message.length]);
                self.outgoing(order, at, cut, again, message, payload)
            }
            Encoded::TooLarge(bytes) => {
                self.reject_event(order, at, cut, again, format!("needs {bytes} bytes"))
            }
            Encoded::Never => self.reject_event(order, at, cut, again, "can be in no message".to_owned()),
            Encoded::End => Next::Nothing,
            Encoded::Failed(words) => {
                self.complain(format!("a batch cannot be encoded: {words}"));
                self.answer(order, PIPELINE_STORE_RETRY);
                Next::Answered
            }
        }
    }

    fn outgoing(
        &mut self,
        order: u64,
        at: usize,
        cut: Option<Cut>,
        again: Option<usize>,
        message: crate::abi::Message,
        payload: Bytes,
    ) -> Next {
        let ack = self.new_ack();
        let Some(attempt) = self.attempts.get_mut(&order) else { return Next::Answered };
        let first = attempt.batch.identity(at);
        let index = cut.map_or(attempt.earlier.next_index, |cut| cut.index);
        let (_, batch_id) = attempt.batch.key();
        let event = attempt.batch.event(at);
        let subject = self.options.subject.fill(event.kind, event.ring_id);
        let bytes = payload.len();
        let ack = match again {
            Some(again) => {
                attempt.messages[again].in_flight = Some(bytes);
                attempt.messages[again].ack
            }
            None => {
                if cut.is_none() {
                    attempt.earlier.next_index += message.count;
                }
                if let Some(whole) = cut.filter(|whole| whole.count > message.count) {
                    let rest = at + message.count;
                    attempt.earlier.put_back(Cut {
                        first: attempt.batch.identity(rest),
                        index: whole.index + message.count,
                        count: whole.count - message.count,
                        stored: false,
                    });
                }
                attempt.position = at + message.count;
                attempt.missing += 1;
                self.by_ack.insert(ack, (order, attempt.messages.len()));
                let cut = Cut { first, index, count: message.count, stored: false };
                attempt.messages.push(Sent { cut, at, ack, in_flight: Some(bytes) });
                ack
            }
        };
        attempt.schema = attempt.schema.max(message.schema);
        self.pending_messages += 1;
        self.pending_bytes += bytes;
        let known = Known { generation: message.generation, count: message.count, schema: message.schema };
        let headers = self.naming.events(batch_id, index, first, known);
        Next::Message(Outgoing { subject, headers, payload, ack })
    }

    /// All events of an attempt are in messages. Facts that it needs may have to be published again.
    fn after_the_last(&mut self, order: u64) -> Next {
        let Some(attempt) = self.attempts.get(&order) else { return Next::Answered };
        let (generation, schema) = (attempt.batch.key().0, attempt.schema);
        if self.facts_wanted(generation, schema) { Next::Facts } else { Next::Nothing }
    }

    /// A message that was about to be published comes again in the next step.
    fn put_back(&mut self, order: u64, cut: Option<Cut>) {
        if let (Some(attempt), Some(cut)) = (self.attempts.get_mut(&order), cut) {
            attempt.earlier.put_back(cut);
        }
    }

    /// The event at this index can be in no message. It alone is rejected.
    fn reject_event(
        &mut self,
        order: u64,
        at: usize,
        cut: Option<Cut>,
        again: Option<usize>,
        why: String,
    ) -> Next {
        let limit = self.limit();
        let Some(attempt) = self.attempts.get_mut(&order) else { return Next::Answered };
        // A message that was cut when the limit was larger is divided by the next attempt.
        if again.is_some() || !attempt.batch.reject(at) {
            self.answer(order, PIPELINE_STORE_RETRY);
            return Next::Answered;
        }
        match cut {
            None => attempt.earlier.next_index += 1,
            Some(cut) if cut.count > 1 => attempt.earlier.put_back(Cut {
                first: attempt.batch.identity(at + 1),
                index: cut.index + 1,
                count: cut.count - 1,
                stored: false,
            }),
            Some(_) => {}
        }
        attempt.position = at + 1;
        let event = attempt.batch.event(at);
        let words = format!(
            "an event of kind {} with {} bytes is rejected: it {why}, and a message to this server and stream may have {limit} beside its headers",
            event.kind, event.len
        );
        self.status.write(|status| status.too_large += 1);
        pipeline::log(PIPELINE_LOG_WARN, &words);
        Next::Again
    }
}
