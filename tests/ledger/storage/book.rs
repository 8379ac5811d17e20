//! The book: where each event has gone, as the storage's own answers have it, and how each batch must come next.

use super::answers::Plan;
use super::shown::Shown;
use super::transform::Made;
use super::{DIES, Shared};
use crate::producers::{checksum, fill, trace_of};
use crate::world;
use capture_pipeline::batch::BatchView;
use capture_pipeline::event::{EventView, PIPELINE_EVENT_TRANSFORMED};
use capture_pipeline::platform::sync::Ordering;
use capture_pipeline::storage::*;
use std::collections::{HashMap, HashSet, VecDeque};

/// Where an event has gone, as the storage's own answers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    Stored,
    DeadLettered,
    Discarded,
    Filtered,
}

/// An event as it came.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub len: u32,
    pub kind: u32,
    /// Without `PIPELINE_EVENT_TRANSFORMED`.
    pub flags: u32,
    pub rewritten: bool,
    pub timestamp: u64,
    /// In which batch; 0: only ever released.
    pub batch: u64,
    pub fate: Option<Fate>,
    pub released: bool,
    pub weight: u64,
}

/// Ring id and sequence number.
pub type Key = (u64, u64);

/// The ids of the rings of runs that have ended begin here, and the last bit of a ring's id added to the generation is its run's.
pub const OLD_RINGS: u64 = 1 << 40;
pub const OLD_GENERATION: u64 = 0x01D0_0000;

/// Whether an event is one of a run that has ended.
pub fn is_old(key: &Key) -> bool {
    key.0 >= OLD_RINGS
}

/// A batch, as it must come next.
#[derive(Clone, Debug, Default)]
struct Expected {
    /// Still to be stored.
    rest: Vec<Key>,
    /// To the dead letter, in this order.
    dead: VecDeque<(i32, Key)>,
    /// Attempts seen in this phase.
    attempt: u32,
    /// How many of `dead` the present dead letter attempts are about; 0: none yet.
    run: usize,
    /// An answer to `store` is outstanding.
    open: bool,
    /// Its events are of priority rings.
    priority: bool,
}

/// What the storage has noted.
#[derive(Debug, Default)]
pub struct Book {
    pub generation: Option<u64>,
    pub events: HashMap<Key, Entry>,
    batches: HashMap<u64, Expected>,
    /// Per ring: the last batch and the last sequence number that came in it.
    last: HashMap<u64, (u64, u64)>,
    tokens: HashSet<u64>,
    pub bad_results: u64,
    pub retries: u64,
    /// What transforms have made of events.
    pub made: HashMap<Key, Made>,
    pub transform_faults: u64,
}

impl Book {
    /// Batches that have not left the pipeline, without and with priority. `release`: they have only when all their events were released.
    pub fn out(&self, release: bool) -> [usize; 2] {
        let unsettled = |batch: &Expected| batch.open || !batch.rest.is_empty() || !batch.dead.is_empty();
        let mut ids: HashSet<u64> =
            self.batches.iter().filter(|(_, batch)| unsettled(batch)).map(|(&id, _)| id).collect();
        if release {
            ids.extend(self.events.values().filter(|e| e.batch != 0 && !e.released).map(|e| e.batch));
        }
        let mut out = [0; 2];
        for batch in ids.iter().filter_map(|id| self.batches.get(id)) {
            out[usize::from(batch.priority)] += 1;
        }
        out
    }

    /// Whether an answer to `store` is outstanding.
    pub fn any_open(&self) -> bool {
        self.batches.values().any(|batch| batch.open)
    }
}

impl Shared {
    /// An event as it lies there: whole, and what it says it is.
    pub(super) fn inspect(&self, event: &EventView) -> Entry {
        let mut wanted = vec![0; event.len];
        let rewritten = event.flags & PIPELINE_EVENT_TRANSFORMED != 0;
        let traces = self.settings.traces;
        let number = if traces { event.node_id } else { event.correlation_id };
        fill(if rewritten { !number } else { number }, &mut wanted);
        let ids = if traces {
            event.correlation_id == trace_of(number)
        } else {
            event.node_id == checksum(&wanted)
        };
        let whole = ids && wanted == event.payload();
        self.must(whole, || {
            format!("the event {}:{} is not whole: {event:?}", event.ring_id, event.sequence)
        });
        let weight = event.weight as u64;
        let is_weight = weight as f64 == event.weight && weight.is_power_of_two();
        self.must(is_weight && weight <= self.settings.most_weight.into(), || {
            format!("its weight is {}", event.weight)
        });
        Entry {
            number,
            len: event.len as u32,
            kind: event.kind,
            flags: event.flags & !PIPELINE_EVENT_TRANSFORMED,
            rewritten,
            timestamp: event.timestamp_ns,
            batch: 0,
            fate: None,
            released: false,
            weight,
        }
    }

    fn must_be(&self, turn: Result<bool, String>) -> bool {
        turn.unwrap_or_else(|what| {
            self.fail(what);
            false
        })
    }

    /// A call with these events has begun. Returns whether they are of priority rings.
    fn tell_begin(&self, book: &Book, shown: &[(Key, Entry)]) -> bool {
        let (Some(turns), Some((_, first))) = (&self.turns, shown.first()) else { return false };
        let new = shown.iter().filter(|(key, _)| !book.events.contains_key(key)).count();
        self.must_be(turns.begins(first.number, new));
        turns.is_priority(first.number)
    }

    /// Checks a batch that `store` is shown against what must come, and opens the attempt in the book.
    pub(super) fn receive(&self, batch: &mut Shown) {
        let shown = std::mem::take(&mut batch.events);
        let keys: Vec<Key> = shown.iter().map(|(key, _)| *key).collect();
        let book = &mut *self.book.lock();
        let id = batch.batch_id;
        let priority = self.tell_begin(book, &shown);
        if std::env::var_os("TRACE").is_some() {
            let at = world::now_ns();
            println!(
                "{at}: writer {} shows batch {id}, attempt {}: {keys:?}",
                batch.writer_id, batch.attempt
            );
        }
        let generation = match keys.first().filter(|key| is_old(key)) {
            Some((ring, _)) => OLD_GENERATION + (ring & 1),
            None => *book.generation.get_or_insert(batch.generation),
        };
        self.must(generation == batch.generation, || format!("batch {id}: another generation"));
        let old = keys.iter().filter(|key| is_old(key)).count();
        self.must(old == 0 || keys.iter().all(|key| key.0 == keys[0].0), || {
            format!("batch {id}: several rings of a run that has ended: {keys:?}")
        });
        self.must(book.tokens.insert(batch.token), || format!("batch {id}: its token came before"));
        self.must(!keys.is_empty(), || format!("batch {id} is empty"));
        for (key, entry) in &shown {
            self.check_made(book.made.get(key), *key, entry.rewritten);
        }
        // A batch that was cut comes in parts, one after the other: when all of one is settled, or what was left of it has grown too old.
        let is_new = |key: &Key| book.made.contains_key(key) && !book.events.contains_key(key);
        let is_part = batch.attempt == 1 && keys.iter().all(is_new);
        let next_part = |known: &Expected| {
            let over = known.rest.is_empty() && known.dead.is_empty();
            is_part && !known.open && (over || self.settings.ages)
        };
        if let Some(former) = book.batches.get_mut(&id).filter(|known| next_part(known)) {
            let rest = std::mem::take(&mut former.rest).into_iter();
            let dead = std::mem::take(&mut former.dead).into_iter().map(|(_, key)| key);
            discard(&mut book.events, rest.chain(dead));
        } else if let Some(known) = book.batches.get_mut(&id) {
            let as_expected = known.rest == keys && known.attempt + 1 == batch.attempt && !known.open;
            self.must(as_expected, || {
                format!("batch {id}, attempt {}: {keys:?} came, {known:?} expected", batch.attempt)
            });
            known.attempt = batch.attempt;
            known.open = true;
            book.retries += 1;
            return;
        }
        self.must(batch.attempt == 1, || format!("batch {id} begins with attempt {}", batch.attempt));
        self.must(keys.iter().all(|k| k.0 == keys[0].0) || !self.settings.ordered, || {
            format!("batch {id}: several rings in one batch: {keys:?}")
        });
        for (key, mut entry) in shown {
            entry.batch = id;
            let before = book.events.insert(key, entry);
            self.must(before.is_none(), || format!("{key:?} came in batch {id} and in {before:?}"));
            let last = book.last.insert(key.0, (id, key.1));
            if let Some((last_batch, sequence)) = last {
                self.must(sequence < key.1 || (!self.settings.ordered && last_batch != id), || {
                    format!("batch {id}: {key:?} came after {sequence} of batch {last_batch}")
                });
                let unsettled =
                    book.batches.get(&last_batch).is_some_and(|b| !b.rest.is_empty() || !b.dead.is_empty());
                self.must(
                    last_batch == id || !self.settings.ordered || !unsettled || self.settings.ages,
                    || format!("batch {id} of ring {} came before batch {last_batch} was settled", key.0),
                );
            }
        }
        book.batches
            .insert(id, Expected { rest: keys, attempt: 1, open: true, priority, ..Expected::default() });
        if self.settings.most_batches > 0 {
            let out = book.batches.values().filter(|b| !b.rest.is_empty() || !b.dead.is_empty()).count();
            let most = self.settings.most_batches;
            self.must(out <= most, || format!("{out} batches are out, {most} allowed"));
        }
    }

    /// Notes what an answer means, before it is given: afterwards anything may happen at once.
    pub(super) fn note(&self, id: u64, plan: &Plan) {
        let book = &mut *self.book.lock();
        let Some(batch) = book.batches.get_mut(&id) else { return };
        batch.open = false;
        let retry = !matches!(plan.result, PIPELINE_STORE_OK | PIPELINE_STORE_REJECT);
        if retry && plan.result != PIPELINE_STORE_RETRY {
            book.bad_results += 1;
        }
        let rest = std::mem::take(&mut batch.rest);
        let stored_to = if plan.result == PIPELINE_STORE_OK {
            rest.len()
        } else {
            plan.marked.max(plan.prefix).min(rest.len())
        };
        for (i, key) in rest.iter().enumerate().filter(|(i, _)| *i < stored_to && !plan.rejected.contains(i))
        {
            let fate = &mut book.events.get_mut(key).expect("in the book").fate;
            let before = fate.replace(Fate::Stored);
            self.must(before.is_none(), || {
                format!("event {i} of batch {id}, {key:?}: stored, but was {before:?}")
            });
        }
        // In the batch's order, whatever the order in which they were named.
        for (_, key) in rest.iter().enumerate().filter(|(i, _)| plan.rejected.contains(i)) {
            batch.dead.push_back((PIPELINE_REASON_REJECTED, *key));
        }
        let left: Vec<Key> =
            (stored_to..rest.len()).filter(|i| !plan.rejected.contains(i)).map(|i| rest[i]).collect();
        if !retry {
            batch.dead.extend(left.iter().map(|k| (PIPELINE_REASON_REJECTED, *k)));
        } else if batch.attempt >= self.settings.retry_limit {
            batch.dead.extend(left.iter().map(|k| (PIPELINE_REASON_RETRY_LIMIT, *k)));
        } else {
            batch.rest = left;
        }
        if batch.rest.is_empty() {
            batch.attempt = 0;
            if !self.settings.dead_letter {
                let dead = std::mem::take(&mut batch.dead);
                discard(&mut book.events, dead.iter().map(|(_, k)| *k));
            }
        }
    }

    /// What was to be retried has grown too old: it goes to the dead letter instead (seen by what is shown next).
    fn grow_old(&self, batch: &mut Expected) {
        if !batch.rest.is_empty() && self.settings.ages && !batch.open {
            let rest = std::mem::take(&mut batch.rest);
            batch.dead.extend(rest.into_iter().map(|k| (PIPELINE_REASON_RETRY_AGE, k)));
            batch.attempt = 0;
        }
    }

    /// Checks a batch that the dead letter is shown against what must come, and notes what its answer means. `false`: it is not
    /// in the book.
    pub(super) fn note_dead(
        &self,
        book: &mut Book,
        batch: &BatchView,
        keys: &[Key],
        reason: i32,
        answer: i32,
    ) -> bool {
        let id = batch.batch_id;
        if let (Some(turns), Some(entry)) = (&self.turns, keys.first().and_then(|key| book.events.get(key))) {
            self.must_be(turns.begins(entry.number, 0));
        }
        let Some(known) = book.batches.get_mut(&id) else {
            self.fail(format!("batch {id}: first seen by the dead letter"));
            return false;
        };
        self.grow_old(known);
        if self.settings.ages && known.run > 0 && batch.attempt == 1 {
            // The run before was asked again, and has grown too old since.
            discard(&mut book.events, known.dead.drain(..known.run).map(|(_, k)| k));
            (known.run, known.attempt) = (0, 0);
        }
        let expected: Vec<Key> = known
            .dead
            .iter()
            .take_while(|(r, _)| Some(*r) == known.dead.front().map(|d| d.0))
            .map(|d| d.1)
            .collect();
        let as_expected = expected == keys
            && known.rest.is_empty()
            && known.dead.front().map(|d| d.0) == Some(reason)
            && batch.attempt == known.attempt + 1;
        self.must(as_expected, || {
            format!("batch {id} to the dead letter, attempt {}, reason {reason}: {keys:?} came, {known:?} expected", batch.attempt)
        });
        known.attempt = batch.attempt;
        known.run = keys.len();
        book.retries += u64::from(batch.attempt > 1);
        book.bad_results += u64::from(!matches!(answer, 0..=2 | DIES));
        self.tally.deaths.fetch_add(u64::from(answer == DIES), Ordering::Relaxed);
        let fate = match answer {
            0 => Some(Fate::DeadLettered),
            PIPELINE_STORE_REJECT => Some(Fate::Discarded),
            _ if batch.attempt >= self.settings.retry_limit => Some(Fate::Discarded),
            _ => None,
        };
        if fate.is_some() {
            for key in keys {
                if let Some(entry) = book.events.get_mut(key) {
                    let before = std::mem::replace(&mut entry.fate, fate);
                    self.must(before.is_none(), || format!("{key:?}: {fate:?}, but was {before:?}"));
                }
            }
            known.dead.drain(..known.run.min(known.dead.len()));
            (known.run, known.attempt) = (0, 0);
        }
        true
    }

    /// Checks an event that `release` is shown, and notes that it was.
    pub(super) fn note_released(&self, book: &mut Book, key: Key, entry: &Entry) {
        let known = book.events.entry(key).or_insert_with(|| entry.clone());
        self.must((known.number, known.timestamp) == (entry.number, entry.timestamp), || {
            format!("{key:?} was {known:?}, and is released as {entry:?}")
        });
        self.must(!known.released, || format!("{key:?} is released twice"));
        self.must(!is_old(&key), || format!("{key:?}, of a run that has ended, is released"));
        known.released = true;
        // What had to wait for another attempt, and leaves without one, had grown too old.
        if known.fate.is_none() && known.batch != 0 && self.settings.ages {
            known.fate = Some(Fate::Discarded);
        }
    }
}

fn discard(events: &mut HashMap<Key, Entry>, keys: impl Iterator<Item = Key>) {
    for key in keys {
        events.get_mut(&key).expect("in the book").fate = Some(Fate::Discarded);
    }
}

/// The events of a batch.
pub fn views(batch: &BatchView) -> impl Iterator<Item = &EventView> {
    batch.events().iter()
}
