//! The headers of messages, and how many bytes they take.

use crate::pipeline::Identity;
use async_nats::HeaderMap;

/// The version of docs/format.md that the content of messages follows.
const FORMAT: &str = "1";

/// What makes the ids of a storage's messages unique in a stream.
pub struct Naming {
    /// 128 random bits of this storage, in hexadecimal.
    nonce: String,
    stream: String,
    facts_prefix: String,
}

impl Naming {
    pub fn new(nonce: u128, stream: &str, facts_prefix: &str) -> Self {
        Self {
            nonce: format!("{nonce:032x}"),
            stream: stream.to_owned(),
            facts_prefix: facts_prefix.to_owned(),
        }
    }

    /// The subject of a generation's facts, without the number of the first one at its end.
    pub fn facts_subject(&self, generation: u64) -> String {
        format!("{}.facts.{generation:016x}", self.facts_prefix)
    }

    /// The headers of a message of events. `index` is the first event's in its batch.
    pub fn events(&self, batch_id: u64, index: usize, first: Identity, known: Known) -> Headers {
        let mut headers = self.first(format!("{}-{batch_id}-{index}", self.nonce), known);
        headers.0.push(("Capture-Ring", first.ring_id.to_string()));
        headers.0.push(("Capture-First", first.sequence.to_string()));
        headers.0.push(("Capture-Facts-Subject", self.facts_subject(known.generation)));
        headers
    }

    /// The headers of a message of facts, the first of which has this number.
    pub fn facts(&self, first: usize, known: Known) -> Headers {
        let id = format!("{}-facts-{:016x}-{first}-{}", self.nonce, known.generation, known.count);
        let mut headers = self.first(id, known);
        headers.0.push(("Capture-Facts", first.to_string()));
        headers
    }

    fn first(&self, id: String, known: Known) -> Headers {
        Headers(vec![
            ("Nats-Msg-Id", id),
            ("Capture-Format", FORMAT.to_owned()),
            ("Capture-Generation", format!("{:016x}", known.generation)),
            ("Capture-Count", known.count.to_string()),
            ("Capture-Schema", known.schema.to_string()),
            // The server refuses the message if its subject belongs to another stream.
            ("Nats-Expected-Stream", self.stream.clone()),
        ])
    }

    /// The most bytes that the headers of a message take.
    pub fn room(&self) -> usize {
        let most = Known { generation: u64::MAX, count: usize::MAX, schema: u64::MAX };
        let first = Identity { ring_id: u64::MAX, sequence: u64::MAX };
        let events = self.events(u64::MAX, usize::MAX, first, most).wire_length();
        events.max(self.facts(usize::MAX, most).wire_length())
    }
}

/// What the encoder says of a message.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub generation: u64,
    pub count: usize,
    pub schema: u64,
}

/// Names and values.
pub struct Headers(Vec<(&'static str, String)>);

impl Headers {
    /// Their bytes on the wire, which count for the server's `max_payload`.
    pub fn wire_length(&self) -> usize {
        let lines: usize = self.0.iter().map(|(name, value)| name.len() + 2 + value.len() + 2).sum();
        "NATS/1.0\r\n".len() + lines + "\r\n".len()
    }

    pub fn into_map(self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in self.0 {
            map.insert(name, value.as_str());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, Known, Naming};

    #[test]
    fn the_room_is_enough_for_any_message() {
        let naming = Naming::new(u128::MAX, "STREAM", "capture");
        let known = Known { generation: 1, count: 512, schema: 3 };
        let small = naming.events(1, 0, Identity { ring_id: 1, sequence: 2 }, known);
        assert!(small.wire_length() < naming.room());
        let text: String = small.0.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        assert_eq!(small.wire_length(), format!("NATS/1.0\r\n{text}\r\n").len());
        assert!(text.starts_with("Nats-Msg-Id: ffffffffffffffffffffffffffffffff-1-0\r\n"), "{text}");
    }
}
