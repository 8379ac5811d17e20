//! Makes ring files by their layout alone, and processes that may own them.

use capture_pipeline::files::{Words, file};
use capture_pipeline::journal::format::figures::{self, Live};
use capture_pipeline::journal::format::segment::Owner;
use capture_pipeline::journal::owner;
use capture_pipeline::ring_file::format::{
    FACTS_AT, FACTS_START, FIGURES_AT, Header, RING_HEADER_BYTES, Shape, file_name, ring,
};
use std::ffi::CString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The ordinary rings of a file, and the size of each.
pub const RINGS: u32 = 3;
pub const RING_BYTES: u64 = 4096;

/// An event, or a fact.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: u32,
    pub sequence: u64,
    pub timestamp: u64,
    pub correlation_id: u64,
    pub node_id: u64,
    pub payload: Vec<u8>,
}

impl Event {
    pub fn new(kind: u32, sequence: u64, timestamp: u64, payload: &[u8]) -> Self {
        Self { kind, sequence, timestamp, correlation_id: 0, node_id: 0, payload: payload.to_vec() }
    }

    fn record(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((self.payload.len() as u32).to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(1_f32.to_le_bytes());
        for word in [self.sequence, self.timestamp, self.correlation_id, self.node_id] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&self.payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0xEE);
        bytes
    }
}

/// A file of a run with three ordinary rings of 4,096 bytes and a priority ring of 8,192.
pub struct RingFile {
    pub path: PathBuf,
    pub header: Header,
    file: File,
    /// Holds the owner's lock.
    lock: Option<file::File>,
    /// The positions of the heads.
    heads: [u64; RINGS as usize + 1],
    /// The bytes of facts.
    facts: u64,
}

impl RingFile {
    /// Makes a file in a directory, whose owner lives if it is a process that does.
    pub fn new(directory: &Path, generation: u64, owner: Owner) -> Self {
        let shape = Shape {
            ring_bytes: RING_BYTES,
            priority_ring_bytes: 2 * RING_BYTES,
            rings: RINGS,
            priority_rings: 1,
        };
        let header = Header {
            generation,
            shape,
            owner,
            monotonic_ns: 1_000,
            realtime_ns: 1_700_000_000_000_001_000,
            name: b"audit".to_vec(),
            program: b"/usr/bin/service".to_vec(),
            ..Header::default()
        };
        std::fs::create_dir_all(directory).expect("a directory");
        let path = directory.join(file_name(generation));
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        file.set_len(shape.file_bytes()).expect("its size");
        file.write_all_at(&header.encode(), 0).expect("its header");
        let lock = (owner != ended()).then(|| locked(&path));
        Self { path, header, file, lock, heads: [0; RINGS as usize + 1], facts: 0 }
    }

    /// From now on the owner is dead.
    pub fn unlock(&mut self) {
        self.lock = None;
    }

    /// Sets a word of a ring's header.
    pub fn word(&self, index: u64, at: u64, value: u64) {
        let at = self.header.shape.header_at(0) + index * RING_HEADER_BYTES + at;
        self.file.write_all_at(&value.to_le_bytes(), at).expect("written");
    }

    /// Gives a ring an id and a thread.
    pub fn ring(&self, index: u64, id: u64, thread: u64, name: &str) {
        self.word(index, ring::RING_ID, id);
        self.word(index, ring::TID, thread);
        let at = self.header.shape.header_at(index) + ring::NAME;
        self.file.write_all_at(name.as_bytes(), at).expect("written");
    }

    /// Begins a ring at a position, as if events before it had come and gone.
    pub fn begin(&mut self, index: u64, position: u64) {
        for word in [ring::HEAD, ring::CLAIMED, ring::RELEASED] {
            self.word(index, word, position);
        }
        self.heads[index as usize] = position;
    }

    /// Captures an event. Answers the head.
    pub fn capture(&mut self, index: u64, event: &Event) -> u64 {
        let (size, at) = (self.header.shape.bytes_of(index), self.header.shape.ring_at(index));
        let record = event.record();
        let mut head = self.heads[index as usize];
        let left = size - head % size;
        if left < record.len() as u64 {
            let mut pad = (left as u32).to_le_bytes().to_vec();
            pad.extend((1_u32 << 31).to_le_bytes());
            self.file.write_all_at(&pad, at + head % size).expect("written");
            head += left;
        }
        self.file.write_all_at(&record, at + head % size).expect("written");
        head += record.len() as u64;
        self.heads[index as usize] = head;
        self.word(index, ring::HEAD, head);
        head
    }

    /// Adds a fact.
    pub fn fact(&mut self, event: &Event) {
        let record = event.record();
        self.file.write_all_at(&record, FACTS_AT + FACTS_START + self.facts).expect("written");
        self.facts += record.len() as u64;
        self.file.write_all_at(&self.facts.to_le_bytes(), FACTS_AT).expect("written");
    }

    /// Writes figures.
    pub fn figures(&self, live: &Live) {
        let mut bytes = vec![0; figures::FILE_BYTES];
        figures::encode(live, 2, &mut bytes);
        self.file.write_all_at(&bytes, FIGURES_AT).expect("written");
    }

    /// Overwrites bytes anywhere.
    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).expect("written");
    }

    /// Figures with nothing in them but this.
    pub fn live(&self, change: impl FnOnce(&mut Live)) -> Live {
        let mut live = Live {
            generation: self.header.generation,
            owner: self.header.owner,
            monotonic_ns: capture_pipeline::platform::time::now_ns(),
            realtime_ns: 1_700_000_000_000_000_000,
            name: "audit".into(),
            storage: "sqlite".into(),
            figures: Default::default(),
            writers_left_out: 0,
        };
        change(&mut live);
        live
    }
}

fn locked(path: &Path) -> file::File {
    static WORDS: Words = Words { storage: "test", file: "ring file" };
    let name = CString::new(path.to_str().expect("UTF-8")).expect("no zeros");
    let file = file::File::open(-100, &name, 2, 0, &WORDS).expect("it opens for reading and writing");
    assert!(file.set_lock(true).expect("a lock"));
    file
}

/// A process of this machine as the owner of a file.
pub fn process(pid: u32) -> Owner {
    Owner { pid, start_time: owner::start_time(pid).expect("it runs"), ..owner::own() }
}

/// A process that has ended.
pub fn ended() -> Owner {
    Owner { start_time: 1, ..owner::own() }
}

/// A process that does nothing. It has a file open as its standard input.
pub struct Idle(pub Child);

impl Idle {
    pub fn new(input: impl Into<Stdio>) -> Self {
        let child = Command::new("sleep").arg("1000").stdin(input).stdout(Stdio::null()).spawn();
        Self(child.expect("sleep is there"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(done.expect("kill is there").success());
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
