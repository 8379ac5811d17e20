//! The rows of a timeline.

use super::places::{Places, number_of, number_of_text};
use crate::journal::Found;
use capture_pipeline::kinds::Hint;
use std::collections::HashMap;

/// What a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOf {
    /// What a thread does, by its place in the list.
    Thread(usize),
    /// Numbers of a process.
    Counter(usize, Hint),
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
    counters: HashMap<(usize, u32, usize, u64), usize>,
}

/// There is no such row yet.
const NONE: usize = usize::MAX;

impl Rows {
    pub(super) fn new(places: Places) -> Self {
        Self { places, list: Vec::new(), threads: Vec::new(), counters: HashMap::new() }
    }

    /// A row by its place.
    pub fn get(&self, at: usize) -> &Row {
        &self.list[at]
    }

    /// The row of a thread.
    #[inline]
    pub fn of_thread(&mut self, thread: usize) -> usize {
        match self.threads.get(thread) {
            Some(row) if *row != NONE => *row,
            _ => self.add_thread(thread),
        }
    }

    fn push(&mut self, row: Row) -> usize {
        self.list.push(row);
        self.list.len() - 1
    }

    #[cold]
    fn add_thread(&mut self, thread: usize) -> usize {
        let uuid = self.places.threads[thread].uuid;
        let row = Row { uuid, of: RowOf::Thread(thread), name: String::new(), unit: String::new() };
        let at = self.push(row);
        if self.threads.len() <= thread {
            self.threads.resize(thread + 1, NONE);
        }
        self.threads[thread] = at;
        at
    }

    /// The row of a field of a counter: one for each process and key.
    pub fn of_counter(&mut self, thread: usize, found: &Found<'_>, field_at: usize) -> usize {
        let process = self.places.threads[thread].process;
        let Some(definition) = &found.kind.definition else { return self.of_thread(thread) };
        let key_field = definition.key_field.map(|at| &definition.fields[at]);
        let key_bytes = key_field.and_then(|field| field.bytes(found.event.payload));
        let key = key_bytes.map_or(0, |bytes| number_of_text(1, bytes));
        let known = (process, found.event.kind, field_at, number_of(&[found.event.generation, key]));
        if let Some(row) = self.counters.get(&known) {
            return *row;
        }
        let field = &definition.fields[field_at];
        let mut name = format!("{} {}", found.kind.label(), field.name);
        if let Some(key_field) = key_field {
            name = format!("{name} [{}]", key_field.show(found.event.payload));
        }
        let uuid = number_of(&[
            self.places.processes[process].uuid,
            found.event.generation,
            found.event.kind.into(),
            field_at as u64,
            key,
            2,
        ]);
        let row = Row { uuid, of: RowOf::Counter(process, field.hint), name, unit: field.unit.clone() };
        let at = self.push(row);
        self.counters.insert(known, at);
        at
    }
}
