//! The recovery of a run: parts of runs that have ended, from a source in memory that delays, has nothing at times, and reports damage. Each
//! event tells its number as every event does, so the storage's book takes it like any other.

use crate::producers::{Dice, checksum, fill, trace_of};
use crate::storage::{OLD_GENERATION, OLD_RINGS, Shared};
use crate::world;
use capture_pipeline::batch::recovered::{Part, Run};
use capture_pipeline::event::EventView;
use capture_pipeline::facts::Facts;
use capture_pipeline::platform::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use capture_pipeline::pool::recovery::{Most, Next, OldRuns};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The number of the first event. (The numbers of captured events begin with the id of their source, which is small.)
const FIRST: u64 = 1 << 60;

/// What is known of the parts, by the source and by the run.
#[derive(Debug, Default)]
pub struct Given {
    /// The events of the parts that were given: their rings and sequences.
    parts: Mutex<HashMap<u64, Vec<(u64, u64)>>>,
    /// How many events all parts have.
    pub events: AtomicU64,
    pub acknowledged: AtomicU64,
    pub torn: AtomicU64,
    /// The source was dropped.
    pub over: AtomicU32,
}

/// The source.
pub struct Memory {
    shared: Arc<Shared>,
    given: Arc<Given>,
    dice: Dice,
    runs: [Arc<Run>; 2],
    left: u64,
    next: u64,
    /// The next sequence of each ring.
    sequences: HashMap<u64, u64>,
    untold: u64,
}

impl Memory {
    pub fn new(shared: &Arc<Shared>, mut dice: Dice) -> (Self, Arc<Given>) {
        let given = Arc::new(Given::default());
        let left = 1 + dice.below(12);
        let run = |n: u64| {
            Arc::new(Run {
                generation: OLD_GENERATION + n,
                realtime_offset_ns: -(n as i64) << 40,
                facts: Arc::new(Facts::default()),
                threads: Vec::new(),
            })
        };
        let source = Self {
            shared: Arc::clone(shared),
            given: Arc::clone(&given),
            dice,
            runs: [run(0), run(1)],
            left,
            next: 0,
            sequences: HashMap::new(),
            untold: 0,
        };
        (source, given)
    }

    /// A part, of one ring, whose last bit tells the run.
    fn part(&mut self, most: &Most) -> Part {
        let ring = OLD_RINGS + self.dice.below(4);
        let count = (1 + self.dice.below(20)).min(most.events as u64);
        let traces = self.shared.settings.traces;
        let mut events = Vec::new();
        for _ in 0..count {
            let number = FIRST + self.given.events.fetch_add(1, Ordering::AcqRel);
            let mut payload = vec![0; self.dice.below(200) as usize];
            fill(number, &mut payload);
            let sequence = self.sequences.entry(ring).or_default();
            *sequence += 1 + self.dice.below(3);
            let event = EventView {
                ring_id: 0,
                sequence: *sequence,
                timestamp_ns: *sequence,
                correlation_id: if traces { trace_of(number) } else { number },
                node_id: if traces { number } else { checksum(&payload) },
                kind: 7,
                flags: 0,
                weight: 1.0,
                data: std::ptr::null(),
                len: 0,
            };
            events.push((event, payload));
        }
        let run = &self.runs[(ring & 1) as usize];
        let lengths = events.iter().map(|(_, payload)| payload.len());
        let mut part = Part::new(Arc::clone(run), ring, self.next, lengths).expect("there is memory");
        for (event, payload) in &events {
            part.push(event, payload).expect("it can be delivered");
        }
        let keys = events.iter().map(|(event, _)| (ring, event.sequence)).collect();
        self.given.parts.lock().insert(self.next, keys);
        self.next += 1;
        part
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.given.over.fetch_add(1, Ordering::AcqRel);
    }
}

impl OldRuns for Memory {
    fn next(&mut self, most: &Most, _: bool) -> Next {
        if self.dice.once_in(3) {
            world::sleep(Duration::from_micros(self.dice.below(2_000)));
        }
        if self.dice.once_in(8) {
            self.untold += 1;
            self.given.torn.fetch_add(1, Ordering::AcqRel);
        }
        if self.left == 0 {
            return Next::End;
        }
        match self.dice.below(10) {
            0 => Next::Later,
            1 => {
                // Everything in it was damaged.
                let part = Part::new(Arc::clone(&self.runs[0]), OLD_RINGS, self.next, [].into_iter());
                self.given.parts.lock().insert(self.next, Vec::new());
                self.next += 1;
                Next::Part(part.expect("there is memory"))
            }
            _ => {
                self.left -= 1;
                Next::Part(self.part(most))
            }
        }
    }

    fn acknowledge(&mut self, number: u64) {
        let Some(keys) = self.given.parts.lock().remove(&number) else {
            return self.shared.fail(format!("part {number} is acknowledged twice, or was never given"));
        };
        for key in &keys {
            let fate = self.shared.book.lock().events.get(key).and_then(|entry| entry.fate);
            if fate.is_none() {
                self.shared.fail(format!("part {number} is acknowledged, and {key:?} has not left"));
            }
        }
        self.given.acknowledged.fetch_add(keys.len() as u64, Ordering::AcqRel);
    }

    fn take_torn(&mut self) -> u64 {
        std::mem::take(&mut self.untold)
    }
}
