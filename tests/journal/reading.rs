//! What a reader has given, in a form that can be compared.

use crate::segments::Event;
use capture_pipeline::journal::reader::{Identity, Options, Order, Reader};
use std::path::Path;

/// An event with its identity, as a reader gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    pub identity: Identity,
    pub realtime_ns: u64,
    pub event: Event,
}

impl Given {
    pub fn key(&self) -> (u64, Identity) {
        (self.event.timestamp, self.identity)
    }
}

pub fn identity(generation: u64, ring_id: u64, sequence: u64) -> Identity {
    Identity { generation, ring_id, sequence }
}

pub fn in_time() -> Options {
    Options { order: Order::Time, ..Options::default() }
}

pub fn open(path: &Path, options: Options) -> Reader {
    Reader::open(path, options).expect("the journal")
}

/// The events that are there now.
pub fn take(reader: &mut Reader) -> Vec<Given> {
    let mut given = Vec::new();
    while let Some(event) = reader.next().expect("no error") {
        given.push(Given {
            identity: identity(event.generation, event.ring_id, event.sequence),
            realtime_ns: event.realtime_ns,
            event: Event {
                sequence: event.sequence,
                timestamp: event.timestamp_ns,
                kind: event.kind,
                flags: event.flags,
                weight: event.weight as f32,
                correlation_id: event.correlation_id,
                node_id: event.node_id,
                payload: event.payload.to_vec(),
            },
        });
    }
    given
}

/// All events of a journal.
pub fn read(path: &Path, options: Options) -> Vec<Given> {
    take(&mut open(path, options))
}

/// The sequences of what was given.
pub fn sequences(given: &[Given]) -> Vec<u64> {
    given.iter().map(|given| given.identity.sequence).collect()
}
