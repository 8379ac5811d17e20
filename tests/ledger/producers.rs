//! Who offers: threads that capture events of every kind and size through every way in, and note each offer with its answer.
//!
//! An event's content follows from its number: its correlation id is the number, its payload is made from it, its node id is
//! the payload's checksum. So whoever meets the event anywhere can tell whether it is whole.

use crate::storage::Turns;
use capture_pipeline::capture::Offer;
use capture_pipeline::event::{PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_PRIORITY, PIPELINE_KIND_RESERVED};
use capture_pipeline::manager::{Pipeline, Producer};
use capture_pipeline::platform::random::mix;
use capture_pipeline::platform::sync::{AtomicU32, Mutex, Ordering};
use capture_pipeline::status::{PIPELINE_ERR_BUSY, PIPELINE_ERR_INVALID, PIPELINE_ERR_STATE, PIPELINE_OK};
use std::sync::Arc;

/// A sequence of numbers that follows from its seed.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// An offer and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub len: u32,
    /// The payload that room was sought for: more than `len` if less than what was reserved was used.
    pub room: u32,
    pub kind: u32,
    pub flags: u32,
    pub timestamp: u64,
    pub status: i32,
}

/// All offers of one thread, or of one handle, in order. Offer `n` has the number `id << 32 | n`.
#[derive(Debug)]
pub struct Source {
    pub id: u32,
    pub records: Vec<Record>,
    traces: bool,
    turns: Option<Arc<Turns>>,
}

/// Where sources are kept once they are done.
#[derive(Debug, Default)]
pub struct Sources {
    pub next: AtomicU32,
    pub done: Mutex<Vec<Source>>,
    /// Several events have one correlation id: [`trace_of`]. Then the number is the node id.
    pub traces: bool,
    /// Half of the events have priority.
    pub urgent: bool,
    /// Is told of each offer, if there is one.
    pub turns: Option<Arc<Turns>>,
}

impl Sources {
    pub fn new_source(&self) -> Source {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        Source { traces: self.traces, turns: self.turns.clone(), ..Source::of(id) }
    }

    pub fn keep(&self, source: Source) {
        self.done.lock().push(source);
    }
}

/// The trace of event `number`, where several have one: three traces at a time, each with a few events, every other time of all sources together. 0: none.
pub fn trace_of(number: u64) -> u64 {
    let (source, n) = (number >> 32, number & 0xFFFF_FFFF);
    let (time, which) = (n / 16, n % 3);
    let own = if time % 2 == 1 { source << 32 } else { 0 };
    if n % 16 == 15 { 0 } else { mix((time * 3 + which) ^ own ^ 0x7_EACE) | 1 }
}

/// The payload of event `number`. Some of its words look like the padding of a ring's end, of odd lengths: whoever takes a
/// payload for a header shall stumble.
pub fn fill(number: u64, out: &mut [u8]) {
    for (i, chunk) in out.chunks_mut(8).enumerate() {
        let bits = mix(number ^ (i as u64) << 48);
        let word = if bits & 3 == 0 { 1 << 63 | bits >> 58 } else { bits };
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

pub fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(bytes.len() as u64, |sum, &b| (sum.rotate_left(7) ^ u64::from(b)).wrapping_mul(0x100_0000_01B3))
}

/// A way in.
pub enum Door<'a> {
    /// The thread's own ring, or the shared one.
    Thread(&'a Pipeline),
    /// A handle.
    Handle(&'a Producer),
}

impl Door<'_> {
    fn capture(&self, offer: &Offer) -> i32 {
        // SAFETY: every offer below points into a buffer of its length.
        unsafe {
            match self {
                Self::Thread(pipeline) => pipeline.capture(offer),
                Self::Handle(producer) => producer.capture(offer),
            }
        }
    }
}

impl Source {
    /// A source of events that have a correlation id each.
    pub fn of(id: u32) -> Self {
        Self { id, records: Vec::new(), traces: false, turns: None }
    }

    fn next_number(&self) -> u64 {
        u64::from(self.id) << 32 | self.records.len() as u64
    }

    /// The correlation id and the node id of event `number`.
    fn ids(&self, number: u64, payload: &[u8]) -> (u64, u64) {
        if self.traces { (trace_of(number), number) } else { (number, checksum(payload)) }
    }

    /// Offers one event of `len` bytes as it is, and notes the answer.
    pub fn offer(&mut self, door: &Door<'_>, len: usize) -> i32 {
        let mut buffer = vec![0; len];
        self.offer_with(door, len, 7, 0, &mut buffer)
    }

    fn offer_with(&mut self, door: &Door<'_>, len: usize, kind: u32, flags: u32, buffer: &mut [u8]) -> i32 {
        let number = self.next_number();
        let payload = &mut buffer[..len];
        fill(number, payload);
        let (correlation_id, node_id) = self.ids(number, payload);
        self.tell_offer(len, flags);
        let offer = Offer {
            kind,
            flags,
            timestamp: mix(number),
            correlation_id,
            node_id,
            data: if len == 0 { std::ptr::null() } else { payload.as_ptr() },
            len,
        };
        let status = door.capture(&offer);
        self.note((len, len), kind, flags, status);
        status
    }

    fn note(&mut self, (len, room): (usize, usize), kind: u32, flags: u32, status: i32) {
        let timestamp = mix(self.next_number());
        if let Some(turns) = self.turns.as_ref().filter(|_| status == PIPELINE_OK) {
            turns.captured(self.next_number());
        }
        self.records.push(Record { len: len as u32, room: room as u32, kind, flags, timestamp, status });
    }

    fn tell_offer(&self, room: usize, flags: u32) {
        if let Some(turns) = &self.turns {
            turns.offers(self.next_number(), flags & PIPELINE_EVENT_PRIORITY != 0, room);
        }
    }

    /// Reserve, write in place, then commit or abort. `Err`: an answer that should not be.
    fn in_place(
        &mut self,
        producer: &Producer,
        dice: &mut Dice,
        shape: Shape,
        buffer: &mut [u8],
    ) -> Result<(), String> {
        let Shape { len, kind, flags } = shape;
        let number = self.next_number();
        let used = if dice.once_in(3) { dice.below(len as u64 + 1) as usize } else { len };
        fill(number, &mut buffer[..used]);
        let (correlation_id, node_id) = self.ids(number, &buffer[..used]);
        self.tell_offer(len, flags);
        let head = Offer {
            kind,
            flags,
            timestamp: mix(number),
            correlation_id,
            node_id,
            data: std::ptr::null(),
            len,
        };
        let place = match producer.reserve(&head) {
            Ok(place) => place,
            Err(status) => {
                self.note((len, len), kind, flags, status);
                return Ok(());
            }
        };
        if len > producer.max_event_bytes() {
            return Err(format!("{len} bytes were reserved"));
        }
        // SAFETY: `reserve` gave `len` bytes, of which `used` are written.
        unsafe { std::ptr::copy_nonoverlapping(buffer.as_ptr(), place, used) };
        if dice.once_in(8) {
            // The reserved event takes the number; whoever comes between takes the next one, and must not get in: neither an event without priority,
            // nor one that would go to the ring that the reservation is in.
            let flags = if flags & PIPELINE_EVENT_PRIORITY != 0 && Some(len) > producer.max_priority_bytes() {
                0
            } else {
                flags
            };
            let flags = if dice.once_in(2) { 0 } else { flags };
            let inner = Offer { correlation_id: u64::MAX, len: 0, flags, ..head };
            // SAFETY: no payload.
            let status = unsafe { producer.capture(&inner) };
            if status != PIPELINE_ERR_BUSY {
                return Err(format!("a capture beside a reservation answered {status}"));
            }
            // Noted out of turn, under a number that no event has: counted, never looked for.
            self.note((0, 0), kind, flags, status);
            let (status, aborted) = (producer.abort(), producer.abort());
            if (status, aborted) != (PIPELINE_OK, PIPELINE_ERR_STATE) {
                return Err(format!("two aborts answered {status} and {aborted}"));
            }
            return Ok(());
        }
        if dice.once_in(8) {
            let status = producer.commit(len + 1);
            if status != PIPELINE_ERR_INVALID {
                return Err(format!("a commit of more than was reserved answered {status}"));
            }
        }
        if dice.once_in(4) {
            let (status, committed) = (producer.abort(), producer.commit(0));
            if (status, committed) != (PIPELINE_OK, PIPELINE_ERR_STATE) {
                return Err(format!("an abort and a commit after it answered {status} and {committed}"));
            }
            return Ok(());
        }
        let status = producer.commit(used);
        self.note((used, len), kind, flags, status);
        Ok(())
    }
}

/// What an event is to look like.
#[derive(Clone, Copy)]
struct Shape {
    len: usize,
    kind: u32,
    flags: u32,
}

impl Shape {
    fn random(dice: &mut Dice, limit: usize, urgent: bool) -> Self {
        let len = match dice.below(64) {
            0 => limit,
            1 => limit + 1,
            2 => limit - dice.below(64) as usize,
            3..6 => dice.below(limit as u64) as usize,
            6..10 => 0,
            _ => dice.below(250) as usize,
        };
        let kind = match dice.below(64) {
            0 => PIPELINE_KIND_RESERVED + dice.below(0x1_0000) as u32,
            _ => dice.below(u64::from(PIPELINE_KIND_RESERVED)) as u32,
        };
        let flags = match dice.below(16) {
            0..3 => PIPELINE_EVENT_OWN_TIME,
            3 => PIPELINE_EVENT_PRIORITY,
            4..11 if urgent => PIPELINE_EVENT_PRIORITY,
            _ => 0,
        };
        Self { len, kind, flags }
    }
}

/// The life of one capturing thread, which rests after each `burst` of events: `events` offers through its own ring, through a handle, or through both by turns.
pub fn live(
    pipeline: &Pipeline,
    sources: &Sources,
    mut dice: Dice,
    events: usize,
    burst: usize,
) -> Result<(), String> {
    let limit = pipeline.max_event_bytes();
    let mut buffer = vec![0; limit + 1];
    let handle = if dice.once_in(2) { None } else { pipeline.open_producer().ok() };
    // SAFETY: open until the end of this function.
    let producer = handle.map(|h| unsafe { &*h });
    let implicit = producer.is_none() || dice.once_in(3);
    let mut own = sources.new_source();
    let mut held = sources.new_source();
    let mut result = Ok(());
    for i in 0..events {
        let shape = Shape::random(&mut dice, limit, sources.urgent);
        let Shape { len, kind, flags } = shape;
        match producer {
            Some(producer) if !implicit || dice.once_in(2) => {
                if dice.once_in(3) {
                    result = result.and(held.in_place(producer, &mut dice, shape, &mut buffer));
                } else {
                    held.offer_with(&Door::Handle(producer), len, kind, flags, &mut buffer);
                }
            }
            _ => {
                own.offer_with(&Door::Thread(pipeline), len, kind, flags, &mut buffer);
            }
        }
        // Not all in one burst: the writers shall find rings in every state.
        if i % burst == 0 {
            crate::world::sleep(std::time::Duration::from_micros(dice.below(1500)));
        }
    }
    if let (Some(handle), Some(producer)) = (handle, producer) {
        if dice.once_in(4) {
            // Closed over its head: never offered.
            let head = Offer { correlation_id: u64::MAX, ..Offer::new(1, std::ptr::null(), 16) };
            if let Err(status) = producer.reserve(&head) {
                held.note((16, 16), 1, 0, status);
            }
        }
        // SAFETY: not used again.
        unsafe { Producer::close(handle) };
    }
    sources.keep(own);
    sources.keep(held);
    result
}
