//! Events of a run that has ended, in memory of their own: what a recovery has read from the ring file of a process that died.

use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_RELEASE, PIPELINE_KIND_RESERVED};
use crate::facts::Facts;
use crate::platform::memory;
use crate::status::{Error, PIPELINE_ERR_INVALID, Result};
use std::sync::Arc;

/// A thread that captured into a ring: its id, and its name padded with zeros.
pub type ThreadOfRing = (u32, [u8; 16]);

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    /// The first part of the identity of its events.
    pub generation: u64,
    /// CLOCK_REALTIME minus CLOCK_MONOTONIC during the run.
    pub realtime_offset_ns: i64,
    /// Names and definitions of its kinds, its attributes, readings of its clocks.
    pub facts: Arc<Facts>,
    /// The threads of its rings, by ring id.
    pub threads: Vec<(u64, ThreadOfRing)>,
}

impl Run {
    /// The thread that captured into a ring. `None`: no single thread did, or it is not known.
    pub fn thread_of(&self, ring_id: u64) -> Option<ThreadOfRing> {
        self.threads.iter().find(|(id, _)| *id == ring_id).map(|(_, thread)| *thread)
    }
}

/// Events of one ring of such a run, in their order, or facts about the run. A part becomes a batch.
#[derive(Debug)]
pub struct Part {
    /// The run.
    pub run: Arc<Run>,
    /// The ring.
    pub ring_id: u64,
    /// Names the part to whoever gave it.
    pub number: u64,
    /// Whether it consists of facts, which no count of the ledger includes.
    pub meta: bool,
    /// Whether any of its events has a time of its caller's.
    pub own_times: bool,
    /// How many events it has.
    pub count: usize,
    /// The events. While it is a batch, the batch has them.
    pub events: Vec<EventView>,
    /// What their addresses point into, used up to [`used`](Self::used). It does not grow, and so does not move.
    payloads: Vec<u64>,
    /// Words of it that have a payload.
    used: usize,
}

// SAFETY: the addresses are those of bytes that the part owns, and that nobody changes once an event has them.
unsafe impl Send for Part {}

/// The words that a payload of so many bytes takes: payloads are aligned as in the ring buffers.
fn words(bytes: usize) -> usize {
    bytes.div_ceil(size_of::<u64>())
}

impl Part {
    /// A part without events, with room for so many, whose payloads have these lengths. An error: there is no memory.
    pub fn new(
        run: Arc<Run>,
        ring_id: u64,
        number: u64,
        lengths: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Self> {
        let (mut events, mut payloads) = (Vec::new(), Vec::new());
        let count = lengths.len();
        events.try_reserve_exact(count).map_err(|_| memory::refused(count * size_of::<EventView>()))?;
        let room = lengths.map(words).sum();
        payloads.try_reserve_exact(room).map_err(|_| memory::refused(room * size_of::<u64>()))?;
        payloads.resize(room, 0);
        Ok(Self { run, ring_id, number, meta: false, own_times: false, count: 0, events, payloads, used: 0 })
    }

    /// Adds an event with a copy of this payload. The event's own `ring_id`, `data` and `len` are not read. An error (`PIPELINE_ERR_INVALID`): there is no room for it, events and
    /// facts would be mixed, or the payload is a handle, which means nothing without its process.
    pub fn push(&mut self, event: &EventView, payload: &[u8]) -> Result<()> {
        let invalid =
            |what: &str| Err(Error::new(PIPELINE_ERR_INVALID, format!("a recovered event: {what}")));
        let meta = event.kind >= PIPELINE_KIND_RESERVED;
        if event.flags & PIPELINE_EVENT_RELEASE != 0 {
            return invalid("its payload is a handle of a process that has ended");
        }
        if self.count > 0 && meta != self.meta {
            return invalid("a part has events or facts, not both");
        }
        let end = self.used + words(payload.len());
        let Some(room) = self.payloads.get_mut(self.used..end) else {
            return invalid("the part has no room for its payload");
        };
        if self.events.len() == self.events.capacity() {
            return invalid("the part has no room for it");
        }
        for (word, bytes) in room.iter_mut().zip(payload.chunks(size_of::<u64>())) {
            let mut whole = [0; size_of::<u64>()];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        let data = room.as_ptr().cast();
        self.used = end;
        self.events.push(EventView { ring_id: self.ring_id, data, len: payload.len(), ..*event });
        self.meta = meta;
        self.own_times |= event.flags & PIPELINE_EVENT_OWN_TIME != 0;
        self.count += 1;
        Ok(())
    }

    /// Whether the batches of this part and of another one may be with the storage at the same time: not if the ring's order counts
    /// (`ordered`) and both are of one ring, and not if one of them consists of facts about the other.
    pub fn may_overlap(&self, other: &Self, ordered: bool) -> bool {
        let same = self.run.generation == other.run.generation;
        !(same && (self.meta || other.meta || (ordered && self.ring_id == other.ring_id)))
    }
}

/// Parts for tests, here and in the pool.
#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::event::PIPELINE_KIND_KIND_NAME;
    use std::ops::Range;

    /// A run with this generation.
    pub fn run(generation: u64) -> Arc<Run> {
        Arc::new(Run {
            generation,
            realtime_offset_ns: 7_000,
            facts: Arc::default(),
            threads: vec![(5, (9, [b't'; 16]))],
        })
    }

    /// An event with this number.
    pub fn event(sequence: u64) -> EventView {
        EventView {
            ring_id: 0,
            sequence,
            timestamp_ns: 1_000 + sequence,
            correlation_id: 0,
            node_id: 0,
            kind: 3,
            flags: 0,
            weight: 1.0,
            data: std::ptr::null(),
            len: 0,
        }
    }

    /// A part with events of these numbers, of a byte each.
    pub fn part(run: &Arc<Run>, ring_id: u64, number: u64, sequences: Range<u64>) -> Part {
        let lengths = (sequences.start as u32..sequences.end as u32).map(|_| 1);
        let mut part = Part::new(Arc::clone(run), ring_id, number, lengths).unwrap();
        for sequence in sequences {
            part.push(&event(sequence), &[sequence as u8]).unwrap();
        }
        part
    }

    /// A part with one fact.
    pub fn facts(run: &Arc<Run>, number: u64) -> Part {
        let mut part = Part::new(Arc::clone(run), 0, number, [4].into_iter()).unwrap();
        part.push(&EventView { kind: PIPELINE_KIND_KIND_NAME, node_id: 3, ..event(0) }, b"name").unwrap();
        part
    }

    #[test]
    fn a_part_has_its_payloads_and_refuses_what_cannot_be_delivered() {
        let run = run(1);
        let mut made = Part::new(Arc::clone(&run), 5, 1, [9, 1, 0].into_iter()).unwrap();
        made.push(&event(10), b"123456789").unwrap();
        made.push(&event(11), b"x").unwrap();
        let payloads: Vec<&[u8]> = made.events.iter().map(EventView::payload).collect();
        assert_eq!(payloads, [&b"123456789"[..], b"x"]);
        let is_right = |event: &EventView| event.ring_id == 5 && event.data.addr().is_multiple_of(8);
        assert!(made.events.iter().all(is_right) && !made.own_times && !made.meta);
        let refused = [
            made.push(&event(12), b"y"),
            made.push(&EventView { flags: PIPELINE_EVENT_RELEASE, ..event(12) }, b""),
            made.push(&EventView { kind: PIPELINE_KIND_KIND_NAME, ..event(12) }, b""),
        ];
        assert!(
            refused.iter().all(|answer| answer.as_ref().is_err_and(|e| e.status == PIPELINE_ERR_INVALID))
        );
        assert_eq!((made.count, made.events.len()), (2, 2));
        made.push(&EventView { flags: PIPELINE_EVENT_OWN_TIME, ..event(12) }, b"").unwrap();
        assert!(made.own_times && made.events[2].len == 0 && made.push(&event(13), b"").is_err());
        assert_eq!((run.thread_of(5), run.thread_of(6)), (Some((9, [b't'; 16])), None));
    }
}
