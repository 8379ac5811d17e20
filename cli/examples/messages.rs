//! Runs a service whose storage makes messages, and writes them into a file for tests/cli/consume.py, which publishes them. Prints what is in them: a line of JSON for each
//! event, as the storage was shown it.
//!
//! `cargo run -p capture_pipeline_cli --example messages -- FILE EVENTS MESSAGE_BYTES`
//!
//! The file: for each message a line of JSON (its length, and what its headers say), then its bytes.

#![allow(unsafe_code)]

#[path = "../tests/command/service.rs"]
#[allow(dead_code)]
mod service;

use capture_pipeline::batch::BatchView;
use capture_pipeline::journal::format::block::codec;
use capture_pipeline::journal::message::{Encoder, Message};
use capture_pipeline::storage::{Abilities, PIPELINE_STORE_OK, Source, Storage};
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// Writes a message for each part of a batch, and one for new facts.
struct Messages {
    source: OnceLock<Weak<dyn Source>>,
    state: Mutex<State>,
    size: usize,
}

struct State {
    file: File,
    encoder: Encoder,
    facts: usize,
}

impl State {
    fn put(&mut self, made: Message, schema: usize) {
        let bytes = self.encoder.bytes().collect::<Vec<_>>().concat();
        let Message { generation, ring_id, first_sequence, count, stretches, .. } = made;
        let is_facts = stretches == 0;
        writeln!(
            self.file,
            "{{\"length\":{},\"generation\":\"{generation:016x}\",\"ring\":{ring_id},\"first\":{first_sequence},\"count\":{count},\"schema\":{schema},\"facts\":{is_facts}}}",
            bytes.len()
        )
        .and_then(|()| self.file.write_all(&bytes))
        .expect("the file takes it");
    }
}

// SAFETY: a batch is used during the call alone.
unsafe impl Storage for Messages {
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn attach(&self, source: &Arc<dyn Source>) {
        let _ = self.source.set(Arc::downgrade(source));
    }

    fn store(&self, batch: &BatchView) -> i32 {
        let source = self.source.get().and_then(Weak::upgrade).expect("a pipeline");
        let mut state = self.state.lock().expect("no panic");
        let mut lines = String::new();
        for event in batch.events() {
            let payload: String = event.payload().iter().map(|byte| format!("{byte:02x}")).collect();
            lines += &format!(
                "{{\"generation\":\"{:016x}\",\"ring_id\":{},\"sequence\":{},\"time_ns\":{},\"wall_ns\":{},\"kind\":{},\"correlation_id\":{},\"node_id\":{},\"flags\":{},\"payload\":\"{payload}\"}}\n",
                batch.generation,
                event.ring_id,
                event.sequence,
                event.timestamp_ns,
                event.timestamp_ns.saturating_add_signed(batch.realtime_offset_ns),
                event.kind,
                event.correlation_id,
                event.node_id,
                event.flags,
            );
        }
        print!("{lines}");
        let facts = source.facts();
        while state.facts < facts.count() {
            let (first, size) = (state.facts, self.size);
            let made = state.encoder.encode_facts(batch.generation, facts, first, size).expect("it fits");
            state.facts += made.count;
            state.put(made, facts.count());
        }
        let mut first = 0;
        while first < batch.count {
            let thread = |ring_id| source.thread(ring_id).map(|thread| (thread.tid, thread.name));
            // SAFETY: the batch is valid during the call.
            let made = unsafe { state.encoder.encode(batch, first, usize::MAX, self.size, thread) };
            let made = made.expect("it fits");
            first += made.count;
            let schema = state.facts;
            state.put(made, schema);
        }
        PIPELINE_STORE_OK
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("FILE EVENTS MESSAGE_BYTES");
    let (file, events, size) = (next(), next(), next());
    let state = State {
        file: File::create(file).expect("the file is made"),
        encoder: Encoder::new(Some(codec::LZ4), true),
        facts: 0,
    };
    let storage = Messages {
        source: OnceLock::new(),
        state: Mutex::new(state),
        size: size.parse().expect("a number of bytes"),
    };
    let pipeline = service::start(storage);
    let events: u64 = events.parse().expect("a number of events");
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let pipeline = &pipeline;
            let work = move || {
                for n in 0..events / 2 {
                    let id = thread * (events / 2) + n + 1;
                    service::capture(pipeline, service::REQUEST, id, None, &service::request(id));
                }
            };
            let name = format!("worker-{thread}");
            std::thread::Builder::new().name(name).spawn_scoped(scope, work).expect("a thread");
        }
    });
    service::capture(&pipeline, service::NOTE, 0, Some(7), b"a note of its own time");
    service::capture(&pipeline, 99, 0, None, b"");
    service::close(&pipeline);
}
