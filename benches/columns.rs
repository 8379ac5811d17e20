//! The columns of a journal: bytes an event, and the speed of encoding and decoding, on the records of an allocation tracer.
//!
//! `cargo bench --bench columns -- [events] [file]`. The records come from a model of a program, or from a file of records as they lie in
//! a ring. Each block is decoded again and compared.

use capture_pipeline::journal::format::block::codec;
use capture_pipeline::journal::format::columns::{Decoder, Encoder};
use std::time::{Duration, Instant};

/// How often each block is encoded and decoded.
const REPEATS: usize = 7;

/// A generator of pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number below the bound; small ones are more frequent.
    fn skewed(&mut self, bound: u64) -> u64 {
        self.below(bound).min(self.below(bound)).min(self.below(bound))
    }
}

/// A program that allocates: call sites with sizes of their own, most blocks freed soon, a few reallocated, free lists by size.
struct Program {
    random: Random,
    sites: Vec<(u64, u64)>,
    free: std::collections::HashMap<u64, Vec<u64>>,
    top: u64,
    live: Vec<(u64, u64)>,
}

const MALLOC: u32 = 1;
const FREE: u32 = 2;
const REALLOC: u32 = 3;

impl Program {
    fn new() -> Self {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let sites =
            (0..400).map(|_| (0x7F3A_1C00_0000 + random.below(1 << 21), 8 + random.skewed(600))).collect();
        Self { random, sites, free: Default::default(), top: 0x5581_2F40_02A0, live: Vec::new() }
    }

    fn take(&mut self, size: u64) -> u64 {
        let class = (size + 8).next_multiple_of(16).max(32);
        match self.free.get_mut(&class).and_then(Vec::pop) {
            Some(address) => address,
            None => {
                self.top += class;
                self.top - class
            }
        }
    }

    fn give(&mut self, (address, size): (u64, u64)) {
        let class = (size + 8).next_multiple_of(16).max(32);
        self.free.entry(class).or_default().push(address);
    }

    /// The kind and the payload of the next event.
    fn step(&mut self) -> (u32, Vec<u64>) {
        let (site, habit) = self.sites[self.random.skewed(400) as usize];
        let size = if self.random.below(4) == 0 { habit + self.random.below(64) } else { habit };
        match self.random.below(100) {
            0..4 if !self.live.is_empty() => {
                let old = self.live.pop().unwrap_or_default();
                let new = self.take(size * 2);
                self.give(old);
                self.live.push((new, size * 2));
                (REALLOC, vec![new, old.0, size * 2, site])
            }
            4..52 if !self.live.is_empty() => {
                // Most frees are of young blocks.
                let young = self.random.below(8) != 0;
                let back = self.random.skewed(if young { 8 } else { 5_000 });
                let at = self.live.len() - 1 - (back as usize).min(self.live.len() - 1);
                let block = self.live.remove(at);
                self.give(block);
                (FREE, vec![block.0, site])
            }
            _ => {
                let address = self.take(size);
                self.live.push((address, size));
                (MALLOC, vec![address, size, site])
            }
        }
    }

    fn records(&mut self, events: usize) -> Vec<u8> {
        let mut records = Vec::new();
        let mut ticks = 0x3_5A21_77C0_1000_u64;
        for sequence in 0..events as u64 {
            let (kind, words) = self.step();
            ticks += 150
                + self.random.skewed(400)
                + if self.random.below(50) == 0 { self.random.below(20_000) } else { 0 };
            records.extend_from_slice(&(words.len() as u32 * 8).to_le_bytes());
            records.extend_from_slice(&(1_u32 << 30).to_le_bytes());
            records.extend_from_slice(&kind.to_le_bytes());
            records.extend_from_slice(&1_f32.to_le_bytes());
            for word in [sequence, ticks, 0, 0].iter().chain(&words) {
                records.extend_from_slice(&word.to_le_bytes());
            }
        }
        records
    }
}

/// The records in blocks of at most `most` bytes.
fn blocks(records: &[u8], most: usize) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < records.len() {
        let len = u32::from_le_bytes(records[at..at + 4].try_into().unwrap()) as usize;
        let end = at + 48 + len.next_multiple_of(8);
        if end - start > most {
            found.push(&records[start..at]);
            start = at;
        }
        at = end;
    }
    found.push(&records[start..]);
    found
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let events: usize = args.next().and_then(|a| a.parse().ok()).unwrap_or(1_000_000);
    let records = match args.next() {
        Some(path) => std::fs::read(path).expect("the file of records"),
        None => Program::new().records(events),
    };
    println!(
        "{:>8} {:>6} {:>12} {:>14} {:>14}",
        "block", "codec", "bytes/event", "encode GB/s", "decode GB/s"
    );
    for block in [256 << 10, 1 << 20] {
        let blocks = blocks(&records, block);
        for (name, number) in [("none", codec::NONE), ("lz4", codec::LZ4), ("zstd", codec::ZSTD)] {
            let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
            // The best of several times for each block, because other programs run as well.
            let mut best = vec![(Duration::MAX, Duration::MAX); blocks.len()];
            let (mut bytes, mut count) = (0, 0);
            let mut restored = Vec::new();
            for _ in 0..REPEATS {
                (bytes, count) = (0, 0);
                for (block, best) in blocks.iter().zip(&mut best) {
                    let start = Instant::now();
                    let body = encoder.encode([*block].into_iter(), number).expect("encoded");
                    best.0 = best.0.min(start.elapsed());
                    bytes += body.bytes.len();
                    count += body.count as usize;
                    let start = Instant::now();
                    decoder
                        .decode(body.bytes, body.filter, body.codec, block.len(), &mut restored)
                        .expect("decoded");
                    best.1 = best.1.min(start.elapsed());
                    assert!(restored == *block, "the records differ");
                }
            }
            let (best_encode, best_decode) = (best.iter().map(|b| b.0).sum(), best.iter().map(|b| b.1).sum());
            let speed = |time: Duration| records.len() as f64 / 1e9 / time.as_secs_f64();
            println!(
                "{:>8} {name:>6} {:>12.2} {:>14.2} {:>14.2}",
                block >> 10,
                bytes as f64 / count as f64,
                speed(best_encode),
                speed(best_decode)
            );
        }
    }
    println!("raw records: {:.1} bytes an event", records.len() as f64 / blocks_count(&records) as f64);
}

fn blocks_count(records: &[u8]) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < records.len() {
        let len = u32::from_le_bytes(records[at..at + 4].try_into().unwrap()) as usize;
        at += 48 + len.next_multiple_of(8);
        count += 1;
    }
    count
}
