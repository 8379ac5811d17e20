//! What the server says of messages, and what follows for their batches.

use super::state::{Answer, Worker};
use crate::abi::{PIPELINE_STORE_OK, PIPELINE_STORE_RETRY};
use async_nats::jetstream::{ErrorCode, publish::PublishAck, response::Response};
use async_nats::{Message, StatusCode};
use std::time::Duration;
use tokio::time::Instant;

/// Time until the first look after a message that nobody has heard.
const LOOK_AFTER_SILENCE: Duration = Duration::from_millis(50);

/// The server's error that says that a message is too large for its stream.
const TOO_LARGE: ErrorCode = ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM;

impl Worker {
    /// A message to our inbox: an acknowledgement, or what the server says instead.
    pub(super) fn acknowledged(&mut self, message: &Message) {
        self.last_ack = Instant::now();
        let number = message.subject.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
        let Some(number) = number else { return };
        let answer = if message.status == Some(StatusCode::NO_RESPONDERS) {
            // Nothing is published before the stream has been found again.
            if self.stream.take().is_some() {
                self.look_at = Some(Instant::now() + LOOK_AFTER_SILENCE);
            }
            Answer::Unheard
        } else {
            match serde_json::from_slice::<Response<PublishAck>>(&message.payload) {
                Ok(Response::Ok(ack)) if ack.stream == self.options.stream => {
                    Answer::Stored { again: ack.duplicate }
                }
                Ok(Response::Ok(ack)) => Answer::Refused {
                    too_large: false,
                    words: format!(
                        "stream: {} expected, and {} has taken a message",
                        self.options.stream, ack.stream
                    ),
                },
                Ok(Response::Err { error }) => Answer::Refused {
                    too_large: error.error_code() == TOO_LARGE,
                    words: format!("stream: {} refuses a message: {error}", self.options.stream),
                },
                Err(error) => Answer::Refused {
                    too_large: false,
                    words: format!("an answer that is no acknowledgement: {error}"),
                },
            }
        };
        if !self.facts_answered(number, &answer) {
            self.message_answered(number, answer);
        }
    }

    fn message_answered(&mut self, number: u64, answer: Answer) {
        let Some(&(order, index)) = self.by_ack.get(&number) else { return };
        let Some(attempt) = self.attempts.get_mut(&order) else { return };
        let sent = &mut attempt.messages[index];
        if let Some(bytes) = sent.in_flight.take() {
            self.pending_messages -= 1;
            self.pending_bytes -= bytes;
        }
        match answer {
            Answer::Stored { again } => {
                self.by_ack.remove(&number);
                sent.cut.stored = true;
                attempt.missing -= 1;
                let (messages, bytes) = (self.pending_messages as u64, self.pending_bytes as u64);
                self.status.write(|status| {
                    status.acknowledged += 1;
                    status.duplicates += u64::from(again);
                    (status.pending_messages, status.pending_bytes) = (messages, bytes);
                });
                self.finish_if_stored(order);
            }
            // It is published again once the stream has been looked at.
            Answer::Unheard => self.open_from = self.open_from.min(order),
            Answer::Refused { too_large, words } => {
                let alone = sent.cut.count == 1;
                self.status.write(|status| status.refused += 1);
                self.complain(words);
                self.doubt_the_stream();
                if too_large && alone {
                    self.reject_message(order, index, number);
                } else {
                    if too_large {
                        // The stream's own limit is read anew before the message is cut again.
                        self.stream = None;
                    }
                    self.answer(order, PIPELINE_STORE_RETRY);
                }
            }
        }
    }

    /// The one event of a message is larger than the stream takes.
    fn reject_message(&mut self, order: u64, index: usize, number: u64) {
        let Some(attempt) = self.attempts.get_mut(&order) else { return };
        let sent = &mut attempt.messages[index];
        if !attempt.batch.reject(sent.at) {
            return self.answer(order, PIPELINE_STORE_RETRY);
        }
        sent.cut.stored = true;
        attempt.missing -= 1;
        self.by_ack.remove(&number);
        self.status.write(|status| status.too_large += 1);
        self.finish_if_stored(order);
    }

    pub(super) fn finish_if_stored(&mut self, order: u64) {
        let Some(attempt) = self.attempts.get(&order) else { return };
        if attempt.is_stored() && self.facts_are_stored(attempt.batch.key().0, attempt.schema) {
            self.answer(order, PIPELINE_STORE_OK);
        }
    }

    /// Answers an attempt. What is stored at its beginning counts in any case.
    pub(super) fn answer(&mut self, order: u64, result: i32) {
        let Some(attempt) = self.attempts.remove(&order) else { return };
        for sent in &attempt.messages {
            self.by_ack.remove(&sent.ack);
            if let Some(bytes) = sent.in_flight {
                self.pending_messages -= 1;
                self.pending_bytes -= bytes;
            }
        }
        let (batch, key, prefix) = (attempt.batch, attempt.batch.key(), attempt.stored_prefix());
        if result == PIPELINE_STORE_RETRY {
            self.plans.insert(key, attempt.into_plan());
        }
        if let Err(words) = batch.complete(prefix, result) {
            self.complain(format!("a batch cannot be answered: {words}"));
        }
    }
}
