//! Who offers events: threads that capture through their own ring buffers and through handles, and note each offer with its answer. An event's
//! correlation id is its number, so that it is found again wherever it has got to.

use crate::random::Random;
use crate::sample::{point, sample, samples};
use crate::service::{CACHE, REQUEST, request};
use capture_pipeline::capture::Offer;
use capture_pipeline::event::{
    PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_PRIORITY, PIPELINE_EVENT_RELEASE, PIPELINE_KIND_RESERVED,
};
use capture_pipeline::kinds::{Definition, Field, Integer, Type};
use capture_pipeline::manager::{Pipeline, Producer};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Kinds that get names, and other names later.
pub const NAMED: std::ops::Range<u32> = 20..28;
/// Kinds that are defined by the thread that first captures them, before that or after it.
const LATE: std::ops::Range<u32> = 30..34;
/// Kinds without a name or a definition.
const PLAIN: std::ops::Range<u32> = 40..60;
/// The tee rejects its events.
const REFUSED: u32 = 66;

/// Whether the tee rejects an event. A journal rejects handles itself, because its reader could not follow them.
pub fn is_refused(kind: u32, flags: u32) -> bool {
    kind == REFUSED || flags & PIPELINE_EVENT_RELEASE != 0
}

/// An offer and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    pub kind: u32,
    pub flags: u32,
    pub time: u64,
    pub node_id: u64,
    pub payload: Vec<u8>,
    pub status: i32,
}

/// All offers of one thread through its own ring buffer, or through one handle. Offer `n` has the number `id << 32 | n`.
#[derive(Debug)]
pub struct Source {
    pub id: u64,
    /// The thread's name; `None`: a handle.
    pub thread: Option<String>,
    pub offers: Vec<Offered>,
}

#[derive(Debug, Default)]
pub struct Sources {
    next: AtomicU64,
    pub done: Mutex<Vec<Source>>,
}

/// The definition of a kind that is defined late.
fn late(kind: u32) -> Definition {
    let mut late = Definition::new(kind, &format!("late_{kind}"));
    late.fields = vec![
        Field::new("number", Type::Integer(Integer::U64), 0),
        Field::new("change", Type::Integer(Integer::I16), 8),
        Field::new("text", Type::String, 10),
    ];
    late.fit();
    late
}

/// The definitions that there are before the first event.
pub fn early_definitions() -> Vec<Definition> {
    crate::service::definitions().into_iter().chain([sample(), point()]).collect()
}

/// All definitions, when every late one was made.
pub fn definition(kind: u32) -> Option<Definition> {
    LATE.contains(&kind)
        .then(|| late(kind))
        .or_else(|| early_definitions().into_iter().find(|known| known.kind == kind))
}

fn payload(random: &mut Random, kind: u32, limit: usize) -> Vec<u8> {
    let mut payload = match kind {
        REQUEST => request(random.next()),
        CACHE => random.bytes(16),
        7 => samples()[random.below(4) as usize].payload(),
        8 => random.bytes(16),
        _ if LATE.contains(&kind) => {
            let mut payload = random.bytes(10);
            payload.extend_from_slice(format!("text {}", random.below(1000)).as_bytes());
            payload
        }
        _ => {
            let len = match random.below(32) {
                0 => limit,
                1 => 0,
                2 | 3 => random.below(limit as u64) as usize,
                _ => random.below(200) as usize,
            };
            random.bytes(len)
        }
    };
    // Also payloads that their definition does not fit.
    if random.one_in(32) {
        payload.truncate(random.below(payload.len() as u64 + 1) as usize);
    }
    payload
}

impl Offered {
    fn random(random: &mut Random, limit: usize) -> Self {
        let among = |random: &mut Random, kinds: &std::ops::Range<u32>| {
            kinds.start + random.below(u64::from(kinds.end - kinds.start)) as u32
        };
        let kind = match random.below(64) {
            0 => PIPELINE_KIND_RESERVED + random.below(0x1_0000) as u32,
            1 => REFUSED,
            2..16 => REQUEST,
            16..22 => CACHE,
            22..26 => 7,
            26..30 => 8,
            30..38 => among(random, &LATE),
            38..48 => among(random, &NAMED),
            48 => random.below(u64::from(PIPELINE_KIND_RESERVED)) as u32,
            _ => among(random, &PLAIN),
        };
        let flags = match random.below(32) {
            0..4 => PIPELINE_EVENT_OWN_TIME,
            4 => PIPELINE_EVENT_OWN_TIME | PIPELINE_EVENT_PRIORITY,
            5 => PIPELINE_EVENT_PRIORITY,
            6 if random.one_in(4) => PIPELINE_EVENT_RELEASE,
            _ => 0,
        };
        let time = match random.below(8) {
            0 => 0,
            1 => u64::MAX - random.below(3),
            2 => (1 << 63) + random.below(3),
            _ => random.next() >> random.below(40),
        };
        let mut payload = payload(random, kind, limit);
        if random.one_in(100) {
            payload = vec![1; limit + 1 + random.below(100) as usize];
        }
        Self { kind, flags, time, node_id: random.next() >> random.below(64), payload, status: 0 }
    }
}

impl Source {
    fn offer(
        &mut self,
        mut offered: Offered,
        random: &mut Random,
        pipeline: &Pipeline,
        handle: Option<&Producer>,
    ) {
        let head = Offer {
            kind: offered.kind,
            flags: offered.flags,
            timestamp: offered.time,
            correlation_id: self.id << 32 | self.offers.len() as u64,
            node_id: offered.node_id,
            data: offered.payload.as_ptr(),
            len: offered.payload.len(),
        };
        offered.status = match handle {
            Some(handle) if random.one_in(3) => match handle.reserve(&head) {
                Ok(place) => {
                    // SAFETY: `reserve` gave room for so many bytes.
                    unsafe { std::ptr::copy_nonoverlapping(head.data, place, head.len) };
                    if random.one_in(16) {
                        assert_eq!(handle.abort(), 0);
                        return;
                    }
                    handle.commit(head.len)
                }
                Err(status) => status,
            },
            // SAFETY: the payload outlives the call.
            Some(handle) => unsafe { handle.capture(&head) },
            // SAFETY: as above.
            None => unsafe { pipeline.capture(&head) },
        };
        self.offers.push(offered);
    }
}

impl Sources {
    fn source(&self, thread: Option<String>) -> Source {
        Source { id: self.next.fetch_add(1, Ordering::Relaxed) + 1, thread, offers: Vec::new() }
    }

    /// The life of one thread: `events` offers, through its own ring buffer, a handle, or both by turns.
    pub fn live(&self, pipeline: &Pipeline, mut random: Random, events: usize) -> Result<(), String> {
        let limit = pipeline.max_event_bytes();
        let handle = match random.below(3) {
            0 => None,
            // (If all ring buffers are in use, there is none.)
            _ => pipeline.open_producer().ok(),
        };
        // SAFETY: open until the end of this function.
        let producer = handle.map(|handle| unsafe { &*handle });
        let both = random.one_in(2);
        let mut own = self.source(std::thread::current().name().map(str::to_owned));
        let mut held = self.source(None);
        let burst = if random.one_in(4) { events as u64 } else { 32 };
        for n in 0..events {
            let offered = Offered::random(&mut random, limit);
            let define = LATE.contains(&offered.kind).then(|| late(offered.kind));
            let before = random.one_in(2);
            let define_now = |now: bool| match &define {
                Some(definition) if now => pipeline.define_kind(definition.clone()),
                _ => Ok(()),
            };
            define_now(before).map_err(|error| error.to_string())?;
            match producer {
                Some(_) if !both || random.one_in(2) => held.offer(offered, &mut random, pipeline, producer),
                _ => own.offer(offered, &mut random, pipeline, None),
            }
            define_now(!before).map_err(|error| error.to_string())?;
            // Not all in one burst: the writers shall find the ring buffers in every state.
            if n as u64 % burst == burst - 1 {
                std::thread::sleep(Duration::from_micros(random.below(3_000)));
            }
        }
        if let Some(handle) = handle {
            // SAFETY: not used again.
            unsafe { Producer::close(handle) };
        }
        let mut done = self.done.lock().map_err(|error| error.to_string())?;
        done.extend([own, held].into_iter().filter(|source| !source.offers.is_empty()));
        Ok(())
    }
}
