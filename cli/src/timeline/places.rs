//! Where events happened: the processes and threads of a journal, and one line of time for all of them.

use crate::journal::{Found, Journal};
pub use capture_pipeline::formats::perfetto::{number_of, number_of_text};
use capture_pipeline::journal::format::segment::Owner;
use capture_pipeline::journal::owner::number_of_process;
use std::collections::HashMap;

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// A number that no other process has, in any journal.
    pub uuid: u64,
    /// Its id.
    pub pid: u32,
    /// The name of its program.
    pub program: Vec<u8>,
    /// What is added to its CLOCK_MONOTONIC so that it is that of the first boot.
    shift: i64,
    owner: Owner,
}

/// A thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// A number that no other thread has, in any journal.
    pub uuid: u64,
    /// The place of its process in the list.
    pub process: usize,
    /// Its id. `None`: not known, so that the events of one ring are taken for those of a thread.
    pub tid: Option<u64>,
    /// Its name, or what is known instead.
    pub name: Vec<u8>,
}

/// A ring: what is known of the event that came last.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// The run.
    pub generation: u64,
    /// Its number.
    pub ring_id: u64,
    /// The place of its thread in the list.
    pub thread: usize,
    /// The sequence of the last event. `None`: it had none yet.
    pub last: Option<u64>,
    /// The time of the last event.
    pub ns: u64,
    /// It stands for many rings, whose sequences say nothing together.
    pub is_rest: bool,
    shift: i64,
}

/// The processes and threads of a journal.
#[derive(Debug)]
pub struct Places {
    /// The processes.
    pub processes: Vec<Process>,
    /// The threads that had an event.
    pub threads: Vec<Thread>,
    /// The rings that had an event.
    pub rings: Vec<Ring>,
    of_generation: HashMap<u64, usize>,
    of_ring: HashMap<(u64, u64), usize>,
    rests: HashMap<u64, usize>,
    of_thread: HashMap<u64, usize>,
    /// The rows that events have named, of each run, beside those of threads.
    tracks: HashMap<u64, Vec<usize>>,
    /// The rings that were looked up last, by the low bits of their numbers.
    recent: [usize; 64],
}

/// The most rings that are told from others. Those that come later are one ring for each run, and so are threads past their own bound: memory is bounded, and a
/// program may start a thread for each of its requests.
const MOST_RINGS: usize = 262_144;
const MOST_THREADS: usize = 65_536;

/// No ring has this place in the list.
const NONE: usize = usize::MAX;

impl Places {
    /// The processes that wrote a journal.
    pub fn new(journal: &Journal) -> Self {
        let mut places = Self {
            processes: Vec::new(),
            threads: Vec::new(),
            rings: Vec::new(),
            of_generation: HashMap::new(),
            of_ring: HashMap::new(),
            rests: HashMap::new(),
            of_thread: HashMap::new(),
            tracks: HashMap::new(),
            recent: [NONE; 64],
        };
        let mut headers: Vec<_> = journal.reader().segments().map(|segment| &segment.header).collect();
        headers.sort_by_key(|header| (header.realtime_ns, header.generation, header.number));
        // The difference of the two clocks in each boot, by its first segment.
        let difference = |ns: (u64, u64)| ns.0.wrapping_sub(ns.1).cast_signed();
        let mut boots: HashMap<[u8; 16], i64> = HashMap::new();
        let mut first = None;
        for header in headers {
            let own = difference((header.realtime_ns, header.monotonic_ns));
            let first = *first.get_or_insert(own);
            let of_boot = *boots.entry(header.owner.boot_id).or_insert(own);
            if places.of_generation.contains_key(&header.generation) {
                continue;
            }
            let known = places.processes.iter().position(|process| process.owner == header.owner);
            let at = known.unwrap_or_else(|| {
                places.processes.push(Process {
                    uuid: number_of_process(&header.owner, header.generation),
                    pid: header.owner.pid,
                    program: header.program.clone(),
                    shift: of_boot.wrapping_sub(first),
                    owner: header.owner,
                });
                places.processes.len() - 1
            });
            places.of_generation.insert(header.generation, at);
        }
        places
    }

    /// The place of the ring of an event in the list.
    #[inline]
    pub fn find(&mut self, found: &Found<'_>) -> usize {
        let (generation, ring_id) = (found.event.generation, found.event.ring_id);
        let recent = self.recent[ring_id as usize % 64];
        if let Some(ring) = self.rings.get(recent)
            && ring.ring_id == ring_id
            && ring.generation == generation
        {
            return recent;
        }
        let at = match self.of_ring.get(&(generation, ring_id)) {
            Some(at) => *at,
            None => self.add(found),
        };
        self.recent[ring_id as usize % 64] = at;
        at
    }

    /// A ring that had no event yet.
    #[cold]
    fn add(&mut self, found: &Found<'_>) -> usize {
        let (generation, ring_id) = (found.event.generation, found.event.ring_id);
        if self.rings.len() >= MOST_RINGS {
            return self.rest(generation);
        }
        let process = self.of_generation.get(&generation).copied().unwrap_or(0);
        let owner = self.processes.get(process).map_or(0, |process| process.uuid);
        // A thread id may be used again, by a thread of another name.
        let (uuid, tid, name) = match found.thread.filter(|thread| thread.thread_id != 0) {
            Some(thread) => {
                let number = number_of_text(number_of(&[owner, generation, thread.thread_id]), &thread.name);
                (number, Some(thread.thread_id), thread.name.clone())
            }
            None => {
                let name = found.thread.map(|thread| thread.name.clone()).filter(|name| !name.is_empty());
                let name = name.unwrap_or_else(|| format!("ring {ring_id}").into());
                (number_of(&[owner, generation, ring_id, 1]), None, name)
            }
        };
        let thread = match self.of_thread.get(&uuid) {
            Some(thread) => *thread,
            None if self.threads.len() >= MOST_THREADS => {
                let rest = self.rest(generation);
                self.rings[rest].thread
            }
            None => self.push_thread(Thread { uuid, process, tid, name }),
        };
        self.push_ring(generation, ring_id, thread, false)
    }

    /// The thread of an event: that of its ring, or what stands for one that the event names.
    #[inline]
    pub fn thread(&mut self, ring: usize, found: &Found<'_>) -> usize {
        match found.kind.track(found.event.payload) {
            None => self.rings[ring].thread,
            Some(name) => self.track(ring, found.event.generation, name),
        }
    }

    fn track(&mut self, ring: usize, generation: u64, name: &[u8]) -> usize {
        let process = self.of_generation.get(&generation).copied().unwrap_or(0);
        let owner = self.processes.get(process).map_or(0, |process| process.uuid);
        let uuid = number_of_text(number_of(&[owner, generation, 9]), name);
        match self.of_thread.get(&uuid) {
            Some(thread) => *thread,
            // There are too many: it is shown with its thread.
            None if self.threads.len() >= MOST_THREADS => self.rings[ring].thread,
            None => {
                let thread = self.push_thread(Thread { uuid, process, tid: None, name: name.to_vec() });
                self.tracks.entry(generation).or_default().push(thread);
                thread
            }
        }
    }

    /// The rows that the events of a run have named.
    pub fn tracks(&self, generation: u64) -> Vec<usize> {
        self.tracks.get(&generation).cloned().unwrap_or_default()
    }

    fn push_thread(&mut self, thread: Thread) -> usize {
        self.of_thread.insert(thread.uuid, self.threads.len());
        self.threads.push(thread);
        self.threads.len() - 1
    }

    fn push_ring(&mut self, generation: u64, ring_id: u64, thread: usize, is_rest: bool) -> usize {
        let process = self.threads.get(thread).map_or(0, |thread| thread.process);
        let shift = self.processes.get(process).map_or(0, |process| process.shift);
        self.rings.push(Ring { generation, ring_id, thread, last: None, ns: 0, is_rest, shift });
        if !is_rest {
            self.of_ring.insert((generation, ring_id), self.rings.len() - 1);
        }
        self.rings.len() - 1
    }

    /// The ring that stands for those of a run that are not told from others.
    fn rest(&mut self, generation: u64) -> usize {
        if let Some(ring) = self.rests.get(&generation) {
            return *ring;
        }
        let process = self.of_generation.get(&generation).copied().unwrap_or(0);
        let owner = self.processes.get(process).map_or(0, |process| process.uuid);
        let uuid = number_of(&[owner, generation, 8]);
        let thread = self.push_thread(Thread { uuid, process, tid: None, name: b"other threads".to_vec() });
        let ring = self.push_ring(generation, u64::MAX, thread, true);
        self.rests.insert(generation, ring);
        ring
    }

    /// The time of an event of a ring: CLOCK_MONOTONIC of the first boot.
    #[inline]
    pub fn time(&self, ring: usize, ns: u64) -> u64 {
        ns.saturating_add_signed(self.rings[ring].shift)
    }
}
