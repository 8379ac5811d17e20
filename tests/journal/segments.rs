//! Makes segments of a journal, right and wrong ones, by the encoders of the format alone. For the tests of whatever reads journals: other crates of the
//! workspace include this file by its path.
#![allow(dead_code)] // each test uses a part

use capture_pipeline::journal::format::ALIGNMENT;
use capture_pipeline::journal::format::block::{self, BlockHeader, BlockType, Piece, piece_of};
use capture_pipeline::journal::format::checksum::Salted;
use capture_pipeline::journal::format::columns::{Encoder, is_supported};
use capture_pipeline::journal::format::record::{Record, TICKS};
use capture_pipeline::journal::format::segment::{Owner, SegmentHeader, file_name};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// CLOCK_REALTIME minus CLOCK_MONOTONIC of all blocks, unless a test changes it.
pub const REALTIME_OFFSET: i64 = 1_700_000_000_000_000_000;

/// An event to be written.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub sequence: u64,
    pub timestamp: u64,
    pub kind: u32,
    pub flags: u32,
    pub weight: f32,
    pub correlation_id: u64,
    pub node_id: u64,
    pub payload: Vec<u8>,
}

/// Equal to the bit: a weight need not be a number.
impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |event: &Self| {
            let ids = (event.sequence, event.timestamp, event.correlation_id, event.node_id);
            (ids, event.kind, event.flags, event.weight.to_bits())
        };
        numbers(self) == numbers(other) && self.payload == other.payload
    }
}

impl Event {
    /// An event of kind 1 with weight 1.
    pub fn new(sequence: u64, timestamp: u64, payload: impl Into<Vec<u8>>) -> Self {
        Self { sequence, timestamp, kind: 1, weight: 1.0, payload: payload.into(), ..Self::default() }
    }

    pub fn kind(self, kind: u32) -> Self {
        Self { kind, ..self }
    }

    pub fn correlation_id(self, correlation_id: u64) -> Self {
        Self { correlation_id, ..self }
    }

    pub fn flags(self, flags: u32) -> Self {
        Self { flags, ..self }
    }

    pub fn record(&self) -> Record<'_> {
        Record {
            flags: self.flags,
            kind: self.kind,
            weight: self.weight,
            sequence: self.sequence,
            timestamp: self.timestamp,
            correlation_id: self.correlation_id,
            node_id: self.node_id,
            payload: &self.payload,
        }
    }
}

/// A segment that is being made. Each function appends a block and returns the segment.
pub struct Builder {
    pub header: SegmentHeader,
    pub bytes: Vec<u8>,
    pub realtime_offset: i64,
    /// The clock pieces of the next blocks of events.
    pub pieces: Vec<Piece>,
    blocks: u64,
    events: u64,
}

impl Builder {
    /// The segment of a process that does not live: another boot.
    pub fn new(generation: u64, number: u64) -> Self {
        let owner = Owner { boot_id: [1; 16], pid: 1, pid_namespace: 1, start_time: 1 };
        Self::with_header(SegmentHeader {
            generation,
            number,
            writer_id: 1,
            salt: generation ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            owner,
            monotonic_ns: 1,
            realtime_ns: REALTIME_OFFSET as u64 + 1,
            program: b"a test".to_vec(),
        })
    }

    pub fn with_header(header: SegmentHeader) -> Self {
        let bytes = header.encode();
        let realtime_offset = REALTIME_OFFSET;
        Self { header, bytes, realtime_offset, pieces: Vec::new(), blocks: 0, events: 0 }
    }

    pub fn salted(&self) -> Salted {
        Salted::new(self.header.salt)
    }

    /// The header of a raw block with these events.
    pub fn block_header(&self, kind: BlockType, ring_id: u64, events: &[Event], body: &[u8]) -> BlockHeader {
        let time = |event: &Event| match event.flags & TICKS {
            0 => event.timestamp,
            _ => piece_of(&self.pieces, event.timestamp).map_or(0, |piece| piece.ns(event.timestamp)),
        };
        BlockHeader {
            kind,
            generation: self.header.generation,
            offset: self.bytes.len() as u64,
            ring_id,
            first_sequence: events.first().map_or(0, |event| event.sequence),
            last_sequence: events.last().map_or(0, |event| event.sequence),
            count: events.len() as u32,
            event_flags: events.iter().fold(0, |flags, event| flags | event.flags & !TICKS),
            stored_len: body.len() as u64,
            raw_len: body.len() as u64,
            first_ns: events.iter().map(time).min().unwrap_or(0),
            last_ns: events.iter().map(time).max().unwrap_or(0),
            realtime_offset_ns: self.realtime_offset,
            pieces: self.pieces.len() as u32,
            body_sum: self.salted().of(&[body]),
            ..BlockHeader::default()
        }
    }

    /// Appends a block with this header and body, as they are.
    pub fn block(&mut self, header: &BlockHeader, body: &[u8]) -> &mut Self {
        let pieces = self.pieces[..header.pieces as usize].to_vec();
        header.encode(&pieces, self.salted(), &mut self.bytes);
        self.raw(body)
    }

    /// Appends bytes, and zeros up to the next block.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        let padded = self.bytes.len().next_multiple_of(ALIGNMENT as usize);
        self.bytes.resize(padded, 0);
        self
    }

    /// A raw block of events.
    pub fn events(&mut self, ring_id: u64, events: &[Event]) -> &mut Self {
        self.blocks += 1;
        self.events += events.len() as u64;
        self.records(BlockType::EVENTS, ring_id, events)
    }

    fn records(&mut self, kind: BlockType, ring_id: u64, events: &[Event]) -> &mut Self {
        let mut body = Vec::new();
        events.iter().for_each(|event| event.record().encode(&mut body));
        let header = self.block_header(kind, ring_id, events, &body);
        self.block(&header, &body)
    }

    /// A block of events in columns, compressed by `codec` (by LZ4 if the build does not have it); raw if that does not pay.
    pub fn encoded(&mut self, ring_id: u64, events: &[Event], codec: u8) -> &mut Self {
        let mut records = Vec::new();
        events.iter().for_each(|event| event.record().encode(&mut records));
        let mut encoder = Encoder::default();
        let codec = if is_supported(codec) { codec } else { block::codec::LZ4 };
        let body = encoder.encode([&records[..]].into_iter(), codec).expect("records");
        if body.bytes.is_empty() {
            return self.events(ring_id, events);
        }
        let header = BlockHeader {
            filter: body.filter,
            codec: body.codec,
            raw_len: body.raw_len,
            ..self.block_header(BlockType::EVENTS, ring_id, events, body.bytes)
        };
        let bytes = body.bytes.to_vec();
        self.blocks += 1;
        self.events += events.len() as u64;
        self.block(&header, &bytes)
    }

    /// A block of one fact.
    pub fn fact(&mut self, kind: u32, node_id: u64, correlation_id: u64, payload: &[u8]) -> &mut Self {
        let fact = Event { node_id, ..Event::new(0, 0, payload).kind(kind).correlation_id(correlation_id) };
        self.records(BlockType::FACTS, 0, &[fact])
    }

    pub fn kind_name(&mut self, kind: u32, name: &str) -> &mut Self {
        self.fact(0xFFFF_0001, kind.into(), 0, name.as_bytes())
    }

    pub fn thread(&mut self, ring_id: u64, thread_id: u64, name: &str) -> &mut Self {
        self.fact(0xFFFF_0002, ring_id, thread_id, name.as_bytes())
    }

    pub fn definition(&mut self, kind: u32, payload: &[u8]) -> &mut Self {
        self.fact(0xFFFF_0004, kind.into(), 0, payload)
    }

    fn words(&mut self, kind: BlockType, words: &[u64]) -> &mut Self {
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let header = BlockHeader { pieces: 0, ..self.block_header(kind, 0, &[], &body) };
        self.block(&header, &body)
    }

    /// A ledger block; the counts in their order.
    pub fn ledger(&mut self, number: u64, monotonic_ns: u64, counts: &[u64]) -> &mut Self {
        self.words(BlockType::LEDGER, &[&[number, monotonic_ns, counts.len() as u64], counts].concat())
    }

    pub fn seal(&mut self) -> &mut Self {
        let words = [self.blocks, self.events, self.bytes.len() as u64];
        self.words(BlockType::SEAL, &words)
    }

    /// Writes the segment into a directory, under its name.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join(file_name(self.header.generation, self.header.number));
        std::fs::write(&path, &self.bytes).expect("a segment");
        path
    }
}

/// A temporary directory, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("capture_pipeline-journal-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
