//! What a journal tells about its events beside the events: facts, the threads of rings, the ledger.

use crate::batch::BatchView;
use crate::event::{EventView, PIPELINE_KIND_RESERVED, PIPELINE_KIND_THREAD};
use crate::facts::{Fact, Facts};
use crate::files::failure::Failure;
use crate::journal::blocks::facts::{self, FactRef};
use crate::journal::blocks::ledger::{self, COUNTS, counts};
use crate::journal::blocks::{Blocks, views};
use crate::journal::segment::State;
use crate::platform::sync::{AtomicU64, Mutex, Ordering};
use crate::platform::time;
use crate::storage::Source;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

/// cbindgen:ignore
/// A fact of a journal alone: `node_id` segments with `correlation_id` events were deleted by this run so far; the payload is their size, a u64.
pub(super) const KIND_DELETED: u32 = 0xFFFF_0005;
/// Threads that are remembered where they come as events.
const THREADS: usize = 1024;
/// Time between two ledgers.
const LEDGER_NS: u64 = 1_000_000_000;

/// Runs that are remembered where what is known of them comes as events.
const RUNS: usize = 8;

/// What the storage knows of its pipeline, and of other runs whose events it is given.
#[derive(Default)]
pub(super) struct Knowledge {
    attached: OnceLock<Attached>,
    /// The runs whose facts have come as events, the one that was used last at the end.
    others: Mutex<VecDeque<Run>>,
    /// The last ledger: its number and its counts. Locked while the counts are taken, so that a later ledger has later counts.
    last_ledger: Mutex<(u64, [u64; COUNTS])>,
    next_ledger_ns: AtomicU64,
    /// The most facts of the pipeline's list that a segment has.
    written_facts: AtomicU64,
}

/// The pipeline.
struct Attached {
    generation: u64,
    facts: Arc<Facts>,
    source: Weak<dyn Source>,
}

/// A run that the storage is not attached to.
struct Run {
    generation: u64,
    facts: Arc<Facts>,
    /// The oldest first.
    threads: VecDeque<KnownThread>,
}

/// A thread that has come as an event.
struct KnownThread {
    ring_id: u64,
    tid: u64,
    name: Box<[u8]>,
}

/// The pipeline, held by one call of the storage. It is taken before any lock, and dropped after all of them: the pipeline may be freed by that.
pub(super) struct Seen(Option<Arc<dyn Source>>);

impl Knowledge {
    /// The storage belongs to this pipeline.
    pub fn attach(&self, source: &Arc<dyn Source>) {
        let _ = self.attached.set(Attached {
            generation: source.generation(),
            facts: Arc::clone(source.facts()),
            source: Arc::downgrade(source),
        });
    }

    /// To be called before a segment is locked.
    pub fn look(&self) -> Seen {
        Seen(self.attached.get().and_then(|attached| attached.source.upgrade()))
    }

    /// The pipeline, if this is its run.
    fn attached(&self, generation: u64) -> Option<&Attached> {
        self.attached.get().filter(|attached| attached.generation == generation)
    }

    /// Keeps the facts of a batch of the library's own events.
    pub fn note_meta(&self, batch: &BatchView) -> Result<(), Failure> {
        let mut others = self.others.lock();
        let run = match others.iter().position(|run| run.generation == batch.generation) {
            Some(at) => others.remove(at),
            None => None,
        };
        let mut run = run.unwrap_or_else(|| Run {
            generation: batch.generation,
            facts: Arc::default(),
            threads: VecDeque::new(),
        });
        let noted = (0..batch.count).try_for_each(|index| {
            // SAFETY: the index is below the count of a valid batch.
            run.note_event(unsafe { views::event(batch, index) })
        });
        if others.len() == RUNS {
            others.pop_front();
        }
        others.try_reserve(1).map_err(|_| Failure::no_memory())?;
        others.push_back(run);
        noted
    }

    /// Adds what a segment of this run does not have yet and what these rings need: facts, threads, the number of deleted segments. The facts count as written
    /// once [`written`](Self::written) is called.
    pub fn add_facts(
        &self,
        seen: &Seen,
        generation: u64,
        state: &mut State,
        rings: impl Iterator<Item = u64>,
        deleted: Deleted,
        blocks: &mut Blocks,
    ) -> Result<usize, Failure> {
        let count = match self.attached(generation) {
            Some(attached) => {
                let count = add_listed(state, &attached.facts, blocks)?;
                let thread = |ring_id, blocks: &mut Blocks| match seen
                    .0
                    .as_ref()
                    .and_then(|source| source.thread(ring_id))
                {
                    Some(thread) => {
                        add(blocks, PIPELINE_KIND_THREAD, thread.tid.into(), ring_id, thread.name())
                    }
                    None => Ok(()),
                };
                add_threads(state, rings, |ring_id, blocks| thread(ring_id, blocks).map(|()| true), blocks)?;
                count
            }
            None => {
                let others = self.others.lock();
                let run = others.iter().find(|run| run.generation == generation);
                let count = run.map_or(Ok(0), |run| add_listed(state, &run.facts, blocks))?;
                let thread = |ring_id, blocks: &mut Blocks| {
                    let threads = run.map(|run| &run.threads).into_iter().flatten();
                    match threads.rev().find(|one| one.ring_id == ring_id) {
                        Some(one) => {
                            add(blocks, PIPELINE_KIND_THREAD, one.tid, ring_id, &one.name).map(|()| true)
                        }
                        None => Ok(false),
                    }
                };
                add_threads(state, rings, thread, blocks)?;
                count
            }
        };
        if deleted.segments != state.deletions {
            add(blocks, KIND_DELETED, deleted.events, deleted.segments, &deleted.bytes.to_le_bytes())?;
        }
        end(blocks);
        Ok(count)
    }

    /// Adds the ledger to a segment of this run, if it is the pipeline's, and a ledger is due or the segment ends.
    pub fn add_ledger(
        &self,
        seen: &Seen,
        generation: u64,
        ends: bool,
        blocks: &mut Blocks,
    ) -> Result<(), Failure> {
        let Some(source) = seen.0.as_ref().filter(|_| self.attached(generation).is_some()) else {
            return Ok(());
        };
        let now = time::now_ns();
        if !ends && now < self.next_ledger_ns.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.next_ledger_ns.store(now + LEDGER_NS, Ordering::Relaxed);
        let (number, counts) = {
            let mut last = self.last_ledger.lock();
            *last = (last.0 + 1, counts(&source.ledger()));
            *last
        };
        Ok(ledger::push(blocks, number, now, &counts)?)
    }
}

impl Knowledge {
    /// A segment of this run has so many facts of the list.
    pub fn note_written(&self, generation: u64, facts: usize) {
        if self.attached(generation).is_some() {
            self.written_facts.fetch_max(facts as u64, Ordering::AcqRel);
        }
    }

    /// The run, if its last ledger is not what was written last, or facts were added since.
    pub fn unwritten(&self, seen: &Seen) -> Option<u64> {
        let source = seen.0.as_ref()?;
        let facts = source.facts().count() as u64 > self.written_facts.load(Ordering::Acquire);
        (facts || counts(&source.ledger()) != self.last_ledger.lock().1).then(|| source.generation())
    }
}

/// What the storage has deleted to make room, or for its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deleted {
    pub segments: u64,
    pub events: u64,
    pub bytes: u64,
}

impl Run {
    fn note_event(&mut self, event: &EventView) -> Result<(), Failure> {
        let fact = Fact::new(event.kind, event.correlation_id, event.node_id, event.payload())
            .map_err(|_| Failure::no_memory())?;
        if event.kind != PIPELINE_KIND_THREAD {
            return self.facts.add(fact, |_| Ok(())).map_err(|error| Failure::transient(error.detail));
        }
        let threads = &mut self.threads;
        threads.retain(|thread| thread.ring_id != event.node_id);
        if threads.len() == THREADS {
            threads.pop_front();
        }
        threads.try_reserve(1).map_err(|_| Failure::no_memory())?;
        threads.push_back(KnownThread {
            ring_id: event.node_id,
            tid: event.correlation_id,
            name: fact.payload,
        });
        Ok(())
    }
}

/// Adds the facts of a list that a segment does not have yet. Answers how many it has then.
fn add_listed(state: &State, facts: &Facts, blocks: &mut Blocks) -> Result<usize, Failure> {
    let count = facts.count();
    if state.facts < count {
        for fact in facts.since(state.facts).take(count - state.facts) {
            add(blocks, fact.kind, fact.correlation_id, fact.node_id, &fact.payload)?;
        }
    }
    Ok(count)
}

/// Adds the threads of rings that a segment does not have yet. `add` answers whether it is known if a ring has one.
fn add_threads(
    state: &mut State,
    rings: impl Iterator<Item = u64>,
    add: impl Fn(u64, &mut Blocks) -> Result<bool, Failure>,
    blocks: &mut Blocks,
) -> Result<(), Failure> {
    let mut last = None;
    for ring_id in rings {
        if last.replace(ring_id) != Some(ring_id) && !state.has_thread(ring_id) && add(ring_id, blocks)? {
            state.note_thread(ring_id);
        }
    }
    Ok(())
}

/// Adds a fact. As in every block, the sequences rise.
fn add(
    blocks: &mut Blocks,
    kind: u32,
    correlation_id: u64,
    node_id: u64,
    payload: &[u8],
) -> Result<(), Failure> {
    let sequence = if blocks.is_open() { blocks.records().into() } else { 0 };
    Ok(facts::push(blocks, FactRef { kind, correlation_id, node_id, payload }, sequence)?)
}

fn end(blocks: &mut Blocks) {
    if blocks.is_open() {
        blocks.end();
    }
}

/// Whether a batch consists of the library's own events.
pub(super) fn is_meta(event: &EventView) -> bool {
    event.kind >= PIPELINE_KIND_RESERVED
}
