//! A service whose requests are captured into a journal: a program with the library, as users write them.

#![allow(unsafe_code)]

use capture_pipeline::capture::Offer;
use capture_pipeline::config::{Config, Overflow};
use capture_pipeline::kinds::{Definition, EnumValue, Field, Hint, Integer, Length, Role, Type};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::storage::Storage;
use capture_pipeline::storage::journal::{Encoding, JournalStorage, Options};
use std::path::Path;
use std::time::Duration;

/// The kinds.
pub const REQUEST: u32 = 1;
pub const CACHE: u32 = 2;
pub const NOTE: u32 = 3;

pub fn definitions() -> [Definition; 2] {
    let mut request = Definition::new(REQUEST, "request");
    let methods = ["GET", "PUT", "POST"].into_iter().zip(0..);
    let values = methods.map(|(name, value)| EnumValue { value, name: name.into() }).collect();
    request.fields = vec![
        Field { hint: Hint::Nanoseconds, ..Field::new("took", Type::Integer(Integer::U64), 0) },
        Field { hint: Hint::Bytes, ..Field::new("size", Type::Integer(Integer::U32), 8) },
        Field::new("status", Type::Integer(Integer::U16), 12),
        Field::new("method", Type::Enum { integer: Integer::U8, values }, 14),
        Field { length: Length::Rest, ..Field::new("path", Type::String, 15) },
    ];
    (request.role, request.duration_field) = (Role::Complete, Some(0));
    request.fit();
    let mut cache = Definition::new(CACHE, "cache");
    cache.fields = vec![
        Field::new("hits", Type::Integer(Integer::U64), 0),
        Field::new("misses", Type::Integer(Integer::U64), 8),
    ];
    cache.role = Role::Counter;
    cache.fit();
    [request, cache]
}

/// Captures an event.
pub fn capture(pipeline: &Pipeline, kind: u32, correlation_id: u64, own_time: Option<u64>, payload: &[u8]) {
    let offer = Offer {
        kind,
        flags: if own_time.is_some() { capture_pipeline::event::PIPELINE_EVENT_OWN_TIME } else { 0 },
        timestamp: own_time.unwrap_or(0),
        correlation_id,
        node_id: 0,
        data: payload.as_ptr(),
        len: payload.len(),
    };
    // SAFETY: the payload is as long as it says, and lives through the call.
    assert_eq!(unsafe { pipeline.capture(&offer) }, 0);
}

/// The payload of the n-th request.
pub fn request(n: u64) -> Vec<u8> {
    let random = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let mut payload = (100_000 + random * 40).to_le_bytes().to_vec();
    payload.extend_from_slice(&((random % 97 * (random % 89) * 700) as u32).to_le_bytes());
    payload.extend_from_slice(&(if random.is_multiple_of(50) { 503_u16 } else { 200 }).to_le_bytes());
    payload.push((random % 7 / 3) as u8);
    payload.extend_from_slice(["/", "/items", "/items/7", "/login"][random as usize % 4].as_bytes());
    payload
}

pub fn start<S: Storage + 'static>(storage: S) -> Pipeline {
    let config = Config { overflow: Overflow::Block, block_timeout_us: 60_000_000, ..Config::default() };
    let pipeline = Pipeline::start(config, storage).expect("the pipeline starts");
    for definition in definitions() {
        pipeline.define_kind(definition).expect("defined");
    }
    pipeline.kind_name(NOTE, b"note").expect("named");
    pipeline
}

pub fn close(pipeline: &Pipeline) {
    pipeline.close(Some(Duration::from_secs(60))).expect("everything is stored");
    pipeline.destroy().expect("no thread is left");
}

/// Runs the service with some threads, each of which captures so many requests, and answers how many events there are. `pause` lets the times differ.
pub fn run(
    directory: &Path,
    encoding: Encoding,
    threads: u64,
    requests: u64,
    pause: impl Fn(u64) + Sync,
) -> u64 {
    let options = Options { encoding, segment_bytes: 1 << 20, ..Options::default() };
    let pipeline = start(JournalStorage::open(directory, options).expect("the journal opens"));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (pipeline, pause) = (&pipeline, &pause);
            let work = move || {
                for n in 0..requests {
                    let id = thread * requests + n + 1;
                    capture(pipeline, REQUEST, id, None, &request(id));
                    if n % 100 == 99 {
                        capture(
                            pipeline,
                            CACHE,
                            0,
                            None,
                            &[(n * 3 / 4).to_le_bytes(), (n / 4).to_le_bytes()].concat(),
                        );
                        pause(n);
                    }
                }
                capture(pipeline, NOTE, 0, None, format!("worker {thread} is done").as_bytes());
            };
            std::thread::Builder::new()
                .name(format!("worker-{thread}"))
                .spawn_scoped(scope, work)
                .expect("a thread");
        }
    });
    close(&pipeline);
    threads * (requests + requests / 100 + 1)
}
