//! How many events a second the reader of journals gives on one core, from the page cache.
//!
//!     cargo bench --bench journal_read -- [EVENTS [PAYLOAD [RINGS [DIRECTORY]]]]
//!
//! It writes a journal of raw blocks of 256 KiB into DIRECTORY (a temporary one by default; one that is not empty is read as it is), reads it five times (REPEATS=n) in each order, and checks the
//! number of events, the sum of their payloads, and the order. Each ring is the work of one thread; their events alternate in time. Rates are per second of processor time, so that
//! other work on the machine matters less.

#[path = "../tests/journal/segments.rs"]
mod segments;

use capture_pipeline::journal::format::block::{BlockHeader, BlockType, Piece};
use capture_pipeline::journal::format::record::{Record, TICKS};
use capture_pipeline::journal::reader::{Options, Order, Reader};
use segments::{Builder, Scratch};
use std::path::{Path, PathBuf};
use std::time::Instant;

const BLOCK: usize = 256 << 10;
const SEGMENT: usize = 64 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|text| !text.starts_with("--"));
    let mut number = |or: u64| arguments.next().map_or(or, |text| text.parse().expect("a number"));
    let (events, payload, rings) = (number(10_000_000), number(64) as usize, number(4));
    let scratch = Scratch::new();
    let directory = arguments.next().map_or(scratch.path().to_path_buf(), PathBuf::from);
    if directory.read_dir().expect("a directory").next().is_none() {
        write(&directory, events, payload, rings);
    }
    println!("{events} events of {payload} bytes, {rings} rings");
    let repeats = std::env::var("REPEATS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_usize).max(1);
    for order in [Order::Stored, Order::Time] {
        let mut rates: Vec<f64> = (0..repeats).map(|_| read(&directory, order, events)).collect();
        rates.sort_by(f64::total_cmp);
        println!(
            "{order:?}: {:.1} M events/s (median; best {:.1}, worst {:.1})",
            rates[repeats / 2],
            rates[repeats - 1],
            rates[0]
        );
    }
    println!("the most memory of the process: {}", peak());
}

/// The most resident memory so far, as the kernel says it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("unknown").trim().to_owned()
}

/// Reads everything. Returns millions of events a second, with the opening.
fn read(directory: &Path, order: Order, events: u64) -> f64 {
    let (start, before) = (Instant::now(), processor_time());
    let options = Options { order, ..Options::default() };
    let mut reader = Reader::open(directory, options).expect("the journal");
    let opened = start.elapsed();
    let (mut count, mut sum, mut last, mut backwards) = (0, 0_u64, 0, 0);
    while let Some(event) = reader.next().expect("no error") {
        count += 1;
        sum = sum.wrapping_add(event.payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
        backwards += u64::from(event.timestamp_ns < last);
        last = event.timestamp_ns;
    }
    let (elapsed, used) = (start.elapsed(), processor_time() - before);
    assert_eq!((count, sum), (events, events * (events - 1) / 2));
    assert!(order == Order::Stored || backwards == 0, "{backwards} events are out of order");
    assert!(reader.losses().is_empty());
    let ms = |seconds: f64| seconds * 1e3;
    let (opened, elapsed) = (ms(opened.as_secs_f64()), ms(elapsed.as_secs_f64()));
    eprintln!(
        "  {order:?}: opened in {opened:.1} ms, read in {elapsed:.1} ms, {:.1} ms of processor time",
        ms(used)
    );
    events as f64 / used / 1e6
}

/// The processor time of this thread in seconds.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Writes the journal. Event `n` is in ring `n % rings`, at reading 3 `n`, and its payload begins with `n`.
fn write(directory: &Path, events: u64, payload_bytes: usize, rings: u64) {
    let pieces = [Piece { start: 0, end: u64::MAX, ns: 1_000, rate: (1 << 48) / 3 }];
    let mut bodies: Vec<(Vec<u8>, u64, u64)> = (0..rings).map(|_| (Vec::new(), 0, 0)).collect();
    let mut segment = begin(1, &pieces);
    let mut payload = vec![7; payload_bytes.max(8)];
    for n in 0..events {
        payload[..8].copy_from_slice(&n.to_le_bytes());
        let record = Record {
            flags: TICKS,
            kind: n as u32 % 5,
            weight: 1.0,
            sequence: n / rings,
            timestamp: 3 * n,
            correlation_id: n / 100,
            node_id: 0,
            payload: &payload,
        };
        let (body, first, count) = &mut bodies[(n % rings) as usize];
        if *count == 0 {
            *first = n;
        }
        record.encode(body);
        *count += 1;
        let is_last = n + rings >= events;
        if body.len() + payload.len() + 48 <= BLOCK && !is_last {
            continue;
        }
        let ns = |n: u64| pieces[0].ns(3 * n);
        let header = BlockHeader {
            first_sequence: *first / rings,
            last_sequence: n / rings,
            count: *count as u32,
            first_ns: ns(*first),
            last_ns: ns(n),
            ..segment.block_header(BlockType::EVENTS, n % rings, &[], body)
        };
        segment.block(&header, body);
        body.clear();
        *count = 0;
        if segment.bytes.len() >= SEGMENT {
            segment.write(directory);
            segment = begin(segment.header.number + 1, &pieces);
        }
    }
    segment.write(directory);
}

fn begin(number: u64, pieces: &[Piece]) -> Builder {
    let mut builder = Builder::new(1, number);
    builder.pieces = pieces.to_vec();
    builder
}
