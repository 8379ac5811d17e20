//! A trace as a whole: each process image with its ledger, its heap and its stacks.

use crate::event::{Call, Event, Image, Said};
use crate::folder::Folder;
use crate::heap::{Heap, Origin};
use crate::ledger::{Ended, Ledger};
use crate::source::{self, Read};
use rustc_hash::FxHashMap;

/// The stacks of a process image, by number.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    places: FxHashMap<u32, (usize, u16, u16)>,
    addresses: Vec<u64>,
}

/// Why a stack ends, as `enum unwind_end` numbers it.
pub const END_OUTERMOST: u16 = 1;
pub const END_DEPTH: u16 = 2;

impl Stacks {
    fn add(&mut self, stack: &crate::event::Stack<'_>) {
        let words = stack
            .addresses
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        let place = (self.addresses.len(), (stack.addresses.len() / 8) as u16, stack.end);
        if self.places.insert(stack.number, place).is_none() {
            self.addresses.extend(words);
        }
    }

    /// The return addresses of a stack, the innermost first, and why it ends.
    pub fn get(&self, number: u32) -> Option<(&[u64], u16)> {
        let (first, length, end) = *self.places.get(&number)?;
        Some((&self.addresses[first..first + usize::from(length)], end))
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// All stacks: number, addresses, end.
    pub fn all(&self) -> impl Iterator<Item = (u32, &[u64], u16)> {
        let mut numbers: Vec<u32> = self.places.keys().copied().collect();
        numbers.sort_unstable();
        numbers
            .into_iter()
            .filter_map(|number| self.get(number).map(|(addresses, end)| (number, addresses, end)))
    }
}

/// A process image.
#[derive(Debug, Default)]
pub struct Process {
    /// Which pipeline captured it.
    pub run: u64,
    /// Its first event; `None`: that is not in the trace.
    pub image: Option<Image>,
    pub ledger: Option<Ledger>,
    pub heap: Heap,
    pub stacks: Stacks,
    /// Allocations that carry the number of a stack that is not in the trace.
    pub without_stack: u64,
    /// Events of no known kind, or with a payload that is too short.
    pub unknown: u64,
    /// Events of all kinds.
    pub events: u64,
    /// Events of stacks and images, of those.
    pub records: u64,
}

impl Process {
    /// `PID-N`.
    pub fn id(&self) -> String {
        match (&self.ledger, &self.image) {
            (Some(ledger), _) => format!("{}-{}", ledger.pid, ledger.image),
            (None, Some(image)) => format!("{}-{}", image.pid, image.number),
            (None, None) => format!("run {:016x}", self.run),
        }
    }

    /// `None`: neither its ledger nor its first event is there.
    pub fn started_realtime_ns(&self) -> Option<u64> {
        let started = self.ledger.as_ref().map(|ledger| ledger.started_realtime_ns);
        started.or(self.image.as_ref().map(|image| image.started_realtime_ns))
    }

    pub fn name(&self) -> String {
        match (&self.ledger, &self.image) {
            (Some(ledger), _) => ledger.name.clone(),
            (None, Some(image)) => crate::ledger::clean(&image.name),
            (None, None) => "?".to_owned(),
        }
    }

    pub fn command(&self) -> String {
        self.ledger.as_ref().map_or_else(|| self.name(), |ledger| ledger.command.clone())
    }

    /// How it has ended.
    pub fn ended(&self) -> &'static str {
        match self.ledger.as_ref().map(|ledger| ledger.ended) {
            Some(Ended::Exit) => "exit",
            Some(Ended::Exec) => "exec",
            Some(Ended::Open) => "open",
            None => "?",
        }
    }

    /// The calls and stacks that the ledger has and the trace has not. `None`: it is not known, because the process was killed or still runs.
    pub fn lost(&self) -> Option<u64> {
        let ledger = self.ledger.as_ref()?;
        (ledger.ended != Ended::Open).then(|| (ledger.calls() + ledger.records).saturating_sub(self.events))
    }
}

/// Everything in a folder.
#[derive(Debug)]
pub struct Trace {
    /// In the order in which they started.
    pub processes: Vec<Process>,
    pub read: Read,
}

/// Sees each call: the run that it belongs to, its number in the trace (from 1 on), the number of the call whose block it has released, and the bytes that
/// are allocated after it.
pub trait Watch {
    fn call(
        &mut self,
        run: u64,
        number: u64,
        call: &Call,
        released: Option<u64>,
        live_bytes: u64,
    ) -> Result<(), String>;
}

impl Trace {
    /// Reads a folder. A process of which there is a ledger alone is in the trace as well.
    pub fn read(folder: &Folder, mut watch: Option<&mut dyn Watch>) -> Result<Self, String> {
        let mut processes: Vec<Process> = Vec::new();
        let mut indexes: FxHashMap<u64, usize> = FxHashMap::default();
        let mut last = (u64::MAX, usize::MAX);
        let mut calls = 0;
        let read = source::read(folder, &mut |event: &Event<'_>| {
            if last.0 != event.run || last.1 == usize::MAX {
                let index = *indexes.entry(event.run).or_insert_with(|| {
                    processes.push(Process { run: event.run, ..Process::default() });
                    processes.len() - 1
                });
                last = (event.run, index);
            }
            let process = &mut processes[last.1];
            process.events += 1;
            match event.decode() {
                Some(Said::Call(call)) => {
                    calls += 1;
                    let released = process.heap.follow(&call, calls);
                    if let Some(watch) = &mut watch {
                        watch.call(event.run, calls, &call, released, process.heap.live_bytes)?;
                    }
                }
                Some(Said::Stack(stack)) => {
                    process.records += 1;
                    process.stacks.add(&stack);
                }
                Some(Said::Image(image)) => {
                    process.records += 1;
                    process.image = Some(image);
                }
                None => process.unknown += 1,
            }
            Ok(())
        })?;
        for process in &mut processes {
            process.without_stack = process
                .heap
                .origins()
                .filter(|(origin, ..)| matches!(origin, Origin::Stack(number) if process.stacks.get(*number).is_none()))
                .map(|(_, _, totals)| totals.calls)
                .sum();
        }
        give_ledgers(&mut processes, &folder.ledgers);
        Ok(Self { processes, read })
    }
}

/// Each process gets its ledger; ledgers without events become processes without events.
fn give_ledgers(processes: &mut Vec<Process>, ledgers: &[Ledger]) {
    let mut by_image: FxHashMap<(u32, u32, u64), usize> = FxHashMap::default();
    for (index, process) in processes.iter().enumerate() {
        if let Some(image) = &process.image {
            by_image.insert((image.pid, image.number, image.started_realtime_ns), index);
        }
    }
    for ledger in ledgers {
        match by_image.get(&(ledger.pid, ledger.image, ledger.started_realtime_ns)) {
            Some(index) => processes[*index].ledger = Some(ledger.clone()),
            None => processes.push(Process { ledger: Some(ledger.clone()), ..Process::default() }),
        }
    }
    processes.sort_by_key(|process| (process.started_realtime_ns(), process.run));
}
