//! Ring files as a process leaves them when it is killed, made from the layout alone.

use capture_pipeline::journal::format::segment::Owner;
use capture_pipeline::ring::record::{TICKS, Tag, stride};
use capture_pipeline::ring_file::format::{self, Header, Shape, clock, ring};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// CLOCK_REALTIME minus CLOCK_MONOTONIC in every file.
pub const OFFSET: i64 = 1_000_000_000_000;

/// An event as it is captured.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub kind: u32,
    pub flags: u32,
    pub weight: f32,
    pub sequence: u64,
    pub timestamp: u64,
    pub correlation_id: u64,
    pub node_id: u64,
    pub payload: Vec<u8>,
}

impl Event {
    pub fn new(sequence: u64, payload: &[u8]) -> Self {
        Self {
            kind: 7 + (sequence % 3) as u32,
            flags: 0,
            weight: 1.0,
            sequence,
            timestamp: 1_000 + sequence,
            correlation_id: sequence % 5,
            node_id: sequence << 40,
            payload: payload.to_vec(),
        }
    }

    /// Its record.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(Tag::event(self.payload.len(), self.flags).0.to_le_bytes());
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.weight.to_bits().to_le_bytes());
        for word in [self.sequence, self.timestamp, self.correlation_id, self.node_id] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&self.payload);
        bytes.resize(stride(self.payload.len()) as usize, 0xEE);
        bytes
    }
}

/// The words of a ring.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    pub head: u64,
    pub claimed: u64,
    pub released: u64,
    pub id: u64,
    pub tid: u64,
    pub name: [u8; 16],
}

/// A ring file.
#[derive(Clone, Debug)]
pub struct Image {
    pub header: Header,
    pub rings: Vec<Ring>,
    /// What was written where, in bytes of the file.
    bytes: BTreeMap<u64, Vec<u8>>,
    facts: u64,
    fact_number: u64,
    pieces: u64,
}

impl Image {
    /// A file of a process of another boot, with rings of these sizes: `ring_bytes`, `rings`, `priority_ring_bytes`, `priority_rings`.
    pub fn new(
        generation: u64,
        (ring_bytes, rings): (u64, u32),
        (priority, priority_rings): (u64, u32),
    ) -> Self {
        let shape = Shape { ring_bytes, priority_ring_bytes: priority, rings, priority_rings };
        let header = Header {
            generation,
            shape,
            in_ticks: false,
            owner: Owner { boot_id: [9; 16], pid: 4242, pid_namespace: 3, start_time: 4 },
            monotonic_ns: 500,
            realtime_ns: 500 + OFFSET as u64,
            name: b"pipeline".to_vec(),
            program: b"/bin/program".to_vec(),
        };
        Self {
            rings: vec![Ring::default(); shape.all_rings() as usize],
            header,
            bytes: BTreeMap::new(),
            facts: 0,
            fact_number: 0,
            pieces: 0,
        }
    }

    /// Gives a ring an id and a thread, and lets its positions begin at a multiple of 8.
    pub fn ring(&mut self, ring: usize, id: u64, tid: u64, start: u64) -> &mut Self {
        let mut name = [0; 16];
        name[..6].copy_from_slice(b"thread");
        self.rings[ring] = Ring { head: start, claimed: start, released: start, id, tid, name };
        self
    }

    /// Where a position of a ring is in the file.
    pub fn at(&self, ring: usize, position: u64) -> u64 {
        let shape = &self.header.shape;
        shape.ring_at(ring as u64) + position % shape.bytes_of(ring as u64)
    }

    /// Bytes at a place of the file.
    pub fn put(&mut self, at: u64, bytes: &[u8]) -> &mut Self {
        // (What is written later counts.)
        let number = self.bytes.len() as u64;
        self.bytes.insert(number << 40 | at, bytes.to_vec());
        self
    }

    /// Captures an event. `false`: there is no room.
    pub fn push(&mut self, ring: usize, event: &Event) -> bool {
        let size = self.header.shape.bytes_of(ring as u64);
        let bytes = event.bytes();
        let head = self.rings[ring].head;
        let to_end = size - head % size;
        let pad = if bytes.len() as u64 > to_end { to_end } else { 0 };
        if head + pad + bytes.len() as u64 - self.rings[ring].released > size {
            return false;
        }
        if pad != 0 {
            self.put(self.at(ring, head), &Tag::pad(pad).0.to_le_bytes());
        }
        self.put(self.at(ring, head + pad), &bytes);
        self.rings[ring].head = head + pad + bytes.len() as u64;
        true
    }

    /// Sequence and payload of all that was captured, released events among it.
    pub fn records(&self) -> Vec<(u64, &[u8])> {
        let record = |bytes: &'_ Vec<u8>| bytes.len() >= 48;
        let rings = self.header.shape.ring_at(0);
        let of_rings =
            self.bytes.iter().filter(|(at, bytes)| **at & ((1 << 40) - 1) >= rings && record(bytes));
        of_rings
            .map(|(_, bytes)| {
                let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
                (word(16), &bytes[48..48 + (word(0) as u32) as usize])
            })
            .collect()
    }

    /// Adds a fact.
    pub fn fact(&mut self, kind: u32, node_id: u64, payload: &[u8]) -> &mut Self {
        let fact = Event { kind, node_id, correlation_id: 0, ..Event::new(self.fact_number, payload) };
        let bytes = fact.bytes();
        self.put(format::FACTS_AT + format::FACTS_START + self.facts, &bytes);
        self.facts += bytes.len() as u64;
        self.fact_number += 1;
        self.put(format::FACTS_AT, &self.facts.to_le_bytes())
    }

    /// Adds a piece of the clock: from this reading on the time is `ns` and each tick so many nanoseconds.
    pub fn piece(&mut self, start: u64, end: u64, ns: u64, ns_per_tick: u64) -> &mut Self {
        self.header.in_ticks = true;
        let at = format::CLOCK_AT + clock::PIECES_AT + self.pieces % clock::PIECES * clock::PIECE_BYTES;
        for (word, n) in [start, end, ns, ns_per_tick << 48].iter().zip(0..) {
            self.put(at + 8 * n, &word.to_le_bytes());
        }
        self.pieces += 1;
        self.put(format::CLOCK_AT + clock::FIRST, &self.pieces.saturating_sub(clock::PIECES).to_le_bytes());
        self.put(format::CLOCK_AT + clock::CEILING, &u64::MAX.to_le_bytes());
        self.put(format::CLOCK_AT + clock::NEXT, &self.pieces.to_le_bytes())
    }

    pub fn file_name(&self) -> String {
        format::file_name(self.header.generation)
    }

    /// Writes the file into a directory.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join(self.file_name());
        self.write_to(&path);
        path
    }

    pub fn write_to(&self, path: &Path) {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .expect("a file");
        file.set_len(self.header.shape.file_bytes()).expect("its size");
        let put = |bytes: &[u8], at: u64| file.write_all_at(bytes, at).expect("written");
        put(&self.header.encode(), 0);
        for (number, words) in self.rings.iter().enumerate() {
            let at = self.header.shape.header_at(number as u64);
            for (word, value) in [
                (ring::HEAD, words.head),
                (ring::CLAIMED, words.claimed.max(words.released)),
                (ring::RELEASED, words.released),
                (ring::RING_ID, words.id),
                (ring::TID, words.tid),
            ] {
                put(&value.to_le_bytes(), at + word);
            }
            put(&words.name, at + ring::NAME);
        }
        for (at, bytes) in &self.bytes {
            put(bytes, at & ((1 << 40) - 1));
        }
    }
}

/// Changes bytes of a file that was written.
pub fn patch(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("the file");
    file.write_all_at(bytes, at).expect("written");
}

/// The word at a place of a file.
pub fn word(path: &Path, at: u64) -> u64 {
    let mut bytes = [0; 8];
    File::open(path).expect("the file").read_exact_at(&mut bytes, at).expect("read");
    u64::from_le_bytes(bytes)
}

/// The flag of a timestamp that is a reading of the processor's counter.
pub const IN_TICKS: u32 = TICKS;
