//! The rows of a timeline.

use super::places::{Places, number_of, number_of_text};
use crate::journal::Found;
use capture_pipeline::formats::nest::MOST_DEEP;
use capture_pipeline::kinds::Hint;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// What a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOf {
    /// What a thread does, by its place in the list.
    Thread(usize),
    /// Slices of a thread that do not lie within those of its own row.
    Lane(usize),
    /// Numbers of a process.
    Counter(usize, Hint),
    /// Slices of a thread that lie deeper than its own row takes.
    Deeper(usize),
    /// What a thread has lost.
    Losses(usize),
    /// What a process has lost.
    Totals(usize),
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// A number that no other row has, in any journal.
    pub uuid: u64,
    /// What it is for.
    pub of: RowOf,
    /// Its name; empty for that of a thread.
    pub name: String,
    /// The unit of its numbers.
    pub unit: String,
}

/// The rows of a timeline.
pub struct Rows {
    /// Where the events happened.
    pub places: Places,
    list: Vec<Row>,
    threads: Vec<usize>,
    counters: HashMap<(usize, u64), usize>,
    lanes: HashMap<(usize, u32), Lanes>,
    others: HashMap<u64, usize>,
}

/// Rows beside that of a thread, for slices of one kind: each has one slice at a time.
#[derive(Default)]
struct Lanes {
    rows: Vec<usize>,
    /// Those that are free, where slices begin and end by events.
    free: BinaryHeap<Reverse<usize>>,
    /// Until when each has a slice, where slices are known when they end.
    until: BTreeSet<(u64, usize)>,
}

/// There is no such row yet.
const NONE: usize = usize::MAX;
/// The most rows beside those of threads: what would need another one is shown in the row of its thread.
const MOST: usize = 50_000;

impl Rows {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            list: Vec::new(),
            threads: Vec::new(),
            counters: HashMap::new(),
            lanes: HashMap::new(),
            others: HashMap::new(),
        }
    }

    /// A row by its place.
    pub fn get(&self, at: usize) -> &Row {
        &self.list[at]
    }

    /// The place of the process that a row belongs to.
    pub fn process_of(&self, of: RowOf) -> usize {
        match of {
            RowOf::Thread(thread) | RowOf::Lane(thread) | RowOf::Deeper(thread) | RowOf::Losses(thread) => {
                self.places.threads[thread].process
            }
            RowOf::Counter(process, _) | RowOf::Totals(process) => process,
        }
    }

    /// The row of a thread.
    #[inline]
    pub fn of_thread(&mut self, thread: usize) -> usize {
        match self.threads.get(thread) {
            Some(row) if *row != NONE => *row,
            _ => self.add_thread(thread),
        }
    }

    /// The row where slices of a thread are drawn that lie within so many others.
    #[inline]
    pub fn of_depth(&mut self, thread: usize, depth: usize) -> usize {
        if depth < MOST_DEEP { self.of_thread(thread) } else { self.deeper(thread, depth / MOST_DEEP) }
    }

    #[cold]
    fn deeper(&mut self, thread: usize, level: usize) -> usize {
        let (parent, name) = (self.places.threads[thread].uuid, format!("deeper than {}", level * MOST_DEEP));
        self.other(RowOf::Deeper(thread), parent, level as u64, 6, name)
    }

    fn push(&mut self, uuid: u64, of: RowOf, name: String, unit: &str) -> usize {
        self.list.push(Row { uuid, of, name, unit: unit.to_owned() });
        self.list.len() - 1
    }

    fn is_full(&self) -> bool {
        self.list.len() >= MOST + self.places.threads.len()
    }

    #[cold]
    fn add_thread(&mut self, thread: usize) -> usize {
        let at = self.push(self.places.threads[thread].uuid, RowOf::Thread(thread), String::new(), "");
        if self.threads.len() <= thread {
            self.threads.resize(thread + 1, NONE);
        }
        self.threads[thread] = at;
        at
    }

    /// The row of a field of a counter: one for each run and key. `None`: there are too many rows.
    pub fn of_counter(&mut self, thread: usize, found: &Found<'_>, field_at: usize) -> Option<usize> {
        let process = self.places.threads[thread].process;
        let definition = found.kind.definition.as_ref()?;
        let key_field = definition.key_field.map(|at| &definition.fields[at]);
        let key = key_field.and_then(|field| field.bytes(found.event.payload));
        let key = key.map_or(0, |bytes| number_of_text(1, bytes));
        let event = found.event;
        let number = number_of(&[event.generation, event.kind.into(), field_at as u64, key]);
        if let Some(row) = self.counters.get(&(process, number)) {
            return Some(*row);
        }
        if self.is_full() {
            return None;
        }
        let field = &definition.fields[field_at];
        let mut name = format!("{} {}", found.kind.label(), field.name);
        if let Some(key_field) = key_field {
            name = format!("{name} [{}]", key_field.show(event.payload));
        }
        let uuid = number_of(&[self.places.processes[process].uuid, number, 2]);
        let at = self.push(uuid, RowOf::Counter(process, field.hint), name, &field.unit);
        self.counters.insert((process, number), at);
        Some(at)
    }

    fn add_lane(&mut self, thread: usize, found: &Found<'_>, number: usize, of: u64) -> Option<usize> {
        if self.is_full() {
            return None;
        }
        let parts = [self.places.threads[thread].uuid, found.event.kind.into(), number as u64, of];
        Some(self.push(number_of(&parts), RowOf::Lane(thread), found.kind.label(), ""))
    }

    /// A lane for a slice of a kind that begins now, and its number. It is taken until it is [given back](Self::free_lane). `None`: there are too many rows.
    pub fn take_lane(&mut self, thread: usize, found: &Found<'_>) -> Option<(usize, usize)> {
        let key = (thread, found.event.kind);
        let lanes = self.lanes.entry(key).or_default();
        if let Some(Reverse(lane)) = lanes.free.pop() {
            return Some((lanes.rows[lane], lane));
        }
        let lane = lanes.rows.len();
        let row = self.add_lane(thread, found, lane, 3)?;
        self.lanes.entry(key).or_default().rows.push(row);
        Some((row, lane))
    }

    /// The slice of a lane has ended.
    pub fn free_lane(&mut self, thread: usize, kind: u32, lane: usize) {
        if let Some(lanes) = self.lanes.get_mut(&(thread, kind)) {
            lanes.free.push(Reverse(lane));
        }
    }

    /// A lane where a slice fits that is known when it ends. `None`: there are too many rows.
    pub fn lane_for(&mut self, thread: usize, found: &Found<'_>, began: u64, ns: u64) -> Option<usize> {
        let key = (thread, found.event.kind);
        let lanes = self.lanes.entry(key).or_default();
        let lane = match lanes.until.range(..=(began, usize::MAX)).next_back().copied() {
            Some((until, lane)) => {
                lanes.until.remove(&(until, lane));
                lane
            }
            None => {
                let lane = lanes.rows.len();
                let row = self.add_lane(thread, found, lane, 4)?;
                self.lanes.entry(key).or_default().rows.push(row);
                lane
            }
        };
        let lanes = self.lanes.entry(key).or_default();
        lanes.until.insert((ns, lane));
        lanes.rows.get(lane).copied()
    }

    /// The row of what a ring has lost.
    #[cold]
    pub fn of_losses(&mut self, ring: usize) -> usize {
        let thread = self.places.rings[ring].thread;
        let ring_id = self.places.rings[ring].ring_id;
        self.other(RowOf::Losses(thread), self.places.threads[thread].uuid, ring_id, 5, "losses".into())
    }

    /// The row of what a process has lost, and could not say where.
    #[cold]
    pub fn of_totals(&mut self, process: usize) -> usize {
        self.other(RowOf::Totals(process), self.places.processes[process].uuid, 0, 7, "losses".into())
    }

    fn other(&mut self, of: RowOf, parent: u64, number: u64, sort: u64, name: String) -> usize {
        let uuid = number_of(&[parent, number, sort]);
        if let Some(row) = self.others.get(&uuid) {
            return *row;
        }
        let at = self.push(uuid, of, name, "");
        self.others.insert(uuid, at);
        at
    }
}
