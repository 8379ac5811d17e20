//! What a journal says about its events: names, definitions, threads, clocks, and the ledger.

use super::allocation::copy;
use super::losses::{EXAMPLES, Losses};
use crate::event::{
    ClockFacts, PIPELINE_KIND_ATTRIBUTE, PIPELINE_KIND_CLOCK, PIPELINE_KIND_DEFINITION,
    PIPELINE_KIND_KIND_NAME, PIPELINE_KIND_THREAD,
};
use crate::facts::{MOST_BYTES, MOST_FACTS, attribute_of};
use crate::journal::blocks::facts::FactRef;
use crate::journal::format::record::Record;
use crate::kinds::Definition;
use std::collections::BTreeMap;
use std::io;

/// The counts of a ledger block, in their order.
pub const LEDGER_COUNTS: [&str; 20] = [
    "captured",
    "recovered",
    "dropped_full",
    "dropped_sampled",
    "dropped_rule",
    "refused_too_large",
    "refused_closed",
    "refused_invalid",
    "refused_busy",
    "refused_no_ring",
    "stored",
    "filtered",
    "dead_lettered",
    "discarded",
    "overwritten",
    "buffered",
    "in_flight",
    "in_doubt",
    "left",
    "torn",
];

/// The last ledger of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerBlock {
    /// Its number in the run, from 1.
    pub number: u64,
    /// CLOCK_MONOTONIC when it was written.
    pub monotonic_ns: u64,
    /// The counts, as [`LEDGER_COUNTS`] names them; those that the run's version did not have are missing.
    pub counts: Vec<u64>,
}

impl LedgerBlock {
    /// A count by its name. `None`: the version that wrote the ledger did not have it.
    pub fn count(&self, name: &str) -> Option<u64> {
        let index = LEDGER_COUNTS.iter().position(|&known| known == name)?;
        self.counts.get(index).copied()
    }

    /// The events that were offered.
    pub fn offered(&self) -> u64 {
        let of =
            |name: &&str| *name == "captured" || name.starts_with("dropped_") || name.starts_with("refused_");
        let names = LEDGER_COUNTS.iter().filter(|name| of(name));
        names.filter_map(|name| self.count(name)).fold(0, u64::saturating_add)
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut words =
            body.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        let (number, monotonic_ns, n) = (words.next()?, words.next()?, words.next()?);
        let counts: Vec<u64> =
            words.take(LEDGER_COUNTS.len().min(n.try_into().unwrap_or(usize::MAX))).collect();
        (counts.len() as u64 == n.min(LEDGER_COUNTS.len() as u64)).then_some(Self {
            number,
            monotonic_ns,
            counts,
        })
    }
}

/// A reserved kind: what the storage has deleted.
const DELETED: u32 = 0xFFFF_0005;

/// What a run has deleted, to make room or for its age: segments of its own or of other runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The segments.
    pub segments: u64,
    /// The events in them.
    pub events: u64,
    /// Their size.
    pub bytes: u64,
}

/// The thread of a ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Its thread id.
    pub thread_id: u64,
    /// Its name; it need not be UTF-8.
    pub name: Vec<u8>,
}

/// An attribute of a run: the same for all of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribute {
    /// Its value.
    pub value: Vec<u8>,
    /// Its place in the list of its run.
    place: u64,
}

impl Attribute {
    /// One with this value.
    pub fn new(value: Vec<u8>) -> Self {
        Self { value, place: 0 }
    }
}

/// What an entry takes beside its bytes.
const ENTRY: usize = 128;

/// What is known about the events of all runs. The keys begin with the generation.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The names of kinds; they need not be UTF-8.
    pub kind_names: BTreeMap<(u64, u32), Vec<u8>>,
    /// The definitions of kinds.
    pub definitions: BTreeMap<(u64, u32), Definition>,
    /// The attributes of runs, by their names; they need not be UTF-8.
    pub attributes: BTreeMap<(u64, Vec<u8>), Attribute>,
    /// The threads of rings.
    pub threads: BTreeMap<(u64, u64), Thread>,
    /// The last clock of each run.
    pub clocks: BTreeMap<u64, ClockFacts>,
    /// The last ledger of each run.
    pub ledgers: BTreeMap<u64, LedgerBlock>,
    /// What each run has deleted so far.
    pub deleted: BTreeMap<u64, Deleted>,
    /// The places of the names in the lists of their runs.
    places: BTreeMap<(u64, u32), u64>,
    /// The bytes of all of them.
    bytes: usize,
}

impl Facts {
    /// The attributes of a run, by their names.
    pub fn attributes_of(&self, generation: u64) -> impl Iterator<Item = (&[u8], &[u8])> {
        let first = (generation, Vec::new());
        let all = self.attributes.range(first..).take_while(move |((of, _), _)| *of == generation);
        all.map(|((_, name), attribute)| (name.as_slice(), attribute.value.as_slice()))
    }

    /// The most bytes of facts that are kept: at least all the names that a pipeline can give.
    pub const MAX_BYTES: usize = MOST_BYTES + MOST_FACTS * ENTRY;

    /// Whether a record is a fact of the pipeline's list, which each segment has from its beginning and in its order.
    pub(super) fn is_listed(record: &Record<'_>) -> bool {
        matches!(
            record.kind,
            PIPELINE_KIND_KIND_NAME
                | PIPELINE_KIND_CLOCK
                | PIPELINE_KIND_DEFINITION
                | PIPELINE_KIND_ATTRIBUTE
        )
    }

    /// Takes a fact that comes from elsewhere than a journal's block, as from a ring file, behind those that it has taken before. An error: there is not enough memory.
    pub fn tell(&mut self, generation: u64, fact: FactRef<'_>, losses: &mut Losses) -> io::Result<()> {
        let FactRef { kind, correlation_id, node_id, payload } = fact;
        self.add(
            generation,
            &Record { kind, correlation_id, node_id, payload, ..Record::default() },
            u64::MAX,
            losses,
        )
    }

    /// Takes a record of a block of facts. `place`: so many facts of the list its segment has up to this one. It tells which name of a kind is the last
    /// one: segments are read one after the other, and an earlier one may have been written for longer than a later one. An error: there is not enough
    /// memory.
    pub(in crate::journal) fn add(
        &mut self,
        generation: u64,
        record: &Record<'_>,
        place: u64,
        losses: &mut Losses,
    ) -> io::Result<()> {
        let kind = u32::try_from(record.node_id).ok();
        let known = |is: bool| is.then_some(record.payload.len());
        match (record.kind, kind) {
            (PIPELINE_KIND_KIND_NAME, Some(kind)) => {
                let key = (generation, kind);
                let is_last = self.places.get(&key).is_none_or(|&known| known <= place);
                if is_last && self.has_room(self.kind_names.get(&key).map(Vec::len), record, losses) {
                    self.kind_names.insert(key, copy(record.payload)?);
                    self.places.insert(key, place);
                }
            }
            (PIPELINE_KIND_ATTRIBUTE, _) => match attribute_of(record.payload) {
                Some((name, value)) => {
                    let key = (generation, copy(name)?);
                    let before = self.attributes.get(&key);
                    let len = before.map(|before| 1 + name.len() + before.value.len());
                    if before.is_none_or(|before| before.place <= place) && self.has_room(len, record, losses)
                    {
                        let value = copy(value)?;
                        self.attributes.insert(key, Attribute { value, place });
                    }
                }
                None => losses.unreadable_facts += 1,
            },
            (PIPELINE_KIND_DEFINITION, Some(kind)) => self.define(generation, kind, record, losses),
            (PIPELINE_KIND_THREAD, _) => {
                let key = (generation, record.node_id);
                if self.has_room(self.threads.get(&key).map(|thread| thread.name.len()), record, losses) {
                    let name = copy(record.payload)?;
                    let thread = Thread { thread_id: record.correlation_id, name };
                    self.threads.insert(key, thread);
                }
            }
            (PIPELINE_KIND_CLOCK, _) => match ClockFacts::from_bytes(record.payload) {
                Some(clock) => {
                    let before = self.clocks.get(&generation);
                    if before.is_none_or(|before| before.monotonic_ns <= clock.monotonic_ns)
                        && self.has_room(known(before.is_some()), record, losses)
                    {
                        self.clocks.insert(generation, clock);
                    }
                }
                None => losses.unreadable_facts += 1,
            },
            (DELETED, _) if self.has_room(known(self.deleted.contains_key(&generation)), record, losses) => {
                let bytes = record.payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                let entry = self.deleted.entry(generation).or_default();
                // The counts only rise, but facts are read segment by segment.
                entry.segments = entry.segments.max(record.node_id);
                entry.events = entry.events.max(record.correlation_id);
                entry.bytes = entry.bytes.max(bytes);
            }
            (PIPELINE_KIND_KIND_NAME | PIPELINE_KIND_DEFINITION, None) => losses.unreadable_facts += 1,
            _ => {}
        }
        Ok(())
    }

    /// The first definition of a kind holds.
    fn define(&mut self, generation: u64, kind: u32, record: &Record<'_>, losses: &mut Losses) {
        let definition = match Definition::from_bytes(record.payload) {
            Ok(definition) if definition.kind == kind => definition,
            _ => {
                losses.unreadable_facts += 1;
                return;
            }
        };
        let key = (generation, kind);
        match self.definitions.get(&key).map(|first| first.same_layout(&definition)) {
            None if self.has_room(None, record, losses) => {
                self.definitions.insert(key, definition);
            }
            Some(Err(_)) => {
                losses.contradicting_facts += 1;
                if losses.contradicting_kinds.len() < EXAMPLES && !losses.contradicting_kinds.contains(&key) {
                    losses.contradicting_kinds.push(key);
                }
            }
            None | Some(Ok(())) => {}
        }
    }

    /// The bytes of all facts.
    pub(in crate::journal) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the threads of rings, of which there come more as long as a pipeline runs.
    pub(in crate::journal) fn forget_threads(&mut self) {
        let gone: usize = self.threads.values().map(|thread| ENTRY + thread.name.len()).sum();
        self.bytes = self.bytes.saturating_sub(gone);
        self.threads.clear();
    }

    /// Whether there is room for a fact, which takes the place of one whose payload has `known` bytes.
    fn has_room(&mut self, known: Option<usize>, record: &Record<'_>, losses: &mut Losses) -> bool {
        /// What the fields of a definition take in memory, for each of its bytes.
        const DEFINITION: usize = 4;
        let of_kind = if record.kind == PIPELINE_KIND_DEFINITION { DEFINITION } else { 1 };
        let more = record.payload.len().saturating_mul(of_kind);
        let bytes = match known {
            Some(before) => self.bytes.saturating_sub(before).saturating_add(more),
            None => self.bytes.saturating_add(more).saturating_add(ENTRY),
        };
        let fits = bytes <= Self::MAX_BYTES;
        if fits {
            self.bytes = bytes;
        } else {
            losses.facts_left_out += 1;
        }
        fits
    }

    /// Takes a ledger block.
    pub(super) fn add_ledger(&mut self, generation: u64, ledger: LedgerBlock) {
        let last = self.ledgers.entry(generation).or_default();
        if ledger.number >= last.number {
            *last = ledger;
        }
    }
}
