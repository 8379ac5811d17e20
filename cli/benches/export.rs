//! The speed and the memory of the command: each export, `cat` and `verify`, on a journal of an allocation tracer.
//!
//! `cargo bench -p capture_pipeline_cli --bench export -- [events] [directory] [columns|large|calls]`. The journal is made in the directory; with
//! `columns` its blocks lie in columns with LZ4, with `large` its events have 16 MiB, with `calls` they are begins and ends of calls that lie within each other. Speeds are by elapsed time and, because other programs may run as well, by processor time of all threads. Each export's rows are counted by the size of its output alone; the tests look into them.

#[path = "../../tests/journal/segments.rs"]
mod segments;

use capture_pipeline::journal::format::block::{BlockType, codec};
use capture_pipeline::journal::format::columns::Encoder;
use capture_pipeline::kinds::{Definition, Field, Integer, Role, Type};
use segments::{Builder, Event};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SEGMENT: usize = 64 << 20;
const BLOCK: usize = 256 << 10;
const KINDS: [(u32, &str, &[&str]); 3] = [
    (1, "malloc", &["address", "size", "site"]),
    (2, "free", &["address", "site"]),
    (3, "realloc", &["address", "old", "size", "site"]),
];

fn definition(number: u32, name: &str, fields: &[&str]) -> Definition {
    let mut definition = Definition::new(number, name);
    for (n, field) in fields.iter().enumerate() {
        let field_type = if *field == "size" { Type::Integer(Integer::U64) } else { Type::Address };
        definition.fields.push(Field::new(field, field_type, 8 * n as u32));
    }
    definition.fit();
    definition
}

fn start(number: u64) -> Builder {
    let mut builder = Builder::new(0xABCD, number);
    for (number, name, fields) in KINDS {
        builder.kind_name(number, name).definition(number, &definition(number, name, fields).to_bytes());
    }
    builder.thread(1, 4711, "main");
    builder
}

/// Writes the journal, and answers its size.
fn make(directory: &Path, events: u64, columns: bool) -> u64 {
    let mut encoder = Encoder::default();
    let (mut size, mut number, mut state) = (0, 1, 1_u64);
    let mut random = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut builder = start(number);
    let mut block: Vec<Event> = Vec::new();
    let mut records = 0;
    for sequence in 0..events {
        let (kind, _, fields) = KINDS[match random(100) {
            0..48 => 0,
            48..96 => 1,
            _ => 2,
        }];
        let mut payload = Vec::new();
        for field in fields {
            let value = match *field {
                "size" => 16 + random(40) * random(40),
                "site" => 0x7F12_0000_0000 + random(300) * 0x40,
                _ => 0x5500_0000_0000 + random(1 << 22) * 16,
            };
            payload.extend_from_slice(&value.to_le_bytes());
        }
        records += 48 + payload.len();
        block.push(Event::new(sequence, 1_000_000 + sequence * 250 + random(200), payload).kind(kind));
        if records >= BLOCK || sequence + 1 == events {
            let mut body = Vec::new();
            block.iter().for_each(|event| event.record().encode(&mut body));
            let mut header = builder.block_header(BlockType::EVENTS, 1, &block, &body);
            if columns {
                let encoded = encoder.encode([&body[..]].into_iter(), codec::LZ4).expect("encoded");
                (header.filter, header.codec) = (encoded.filter, encoded.codec);
                header.stored_len = encoded.bytes.len() as u64;
                header.body_sum = builder.salted().of(&[encoded.bytes]);
                body = encoded.bytes.to_vec();
            }
            builder.block(&header, &body);
            block.clear();
            records = 0;
        }
        if builder.bytes.len() >= SEGMENT || sequence + 1 == events {
            builder.seal();
            builder.write(directory);
            size += builder.bytes.len() as u64;
            number += 1;
            builder = start(number);
        }
    }
    size
}

/// Writes a journal of calls and returns, up to 20 within each other, with a number each.
fn make_calls(directory: &Path, events: u64) -> u64 {
    let pair = |number: u32, name: &str, role: Role, field: &str| {
        let mut definition = definition(number, name, &[field]);
        (definition.role, definition.pairs_with) = (role, Some(5 - number));
        definition
    };
    let pair = [pair(2, "call", Role::Begin, "argument"), pair(3, "call_return", Role::End, "result")];
    let begin = |number: u64| {
        let mut builder = Builder::new(0xABCD, number);
        for definition in &pair {
            builder.definition(definition.kind, &definition.to_bytes());
        }
        builder.thread(1, 4711, "main");
        builder
    };
    let (mut size, mut depth, mut state) = (0, 0_u64, 1_u64);
    for (number, first) in (0..events).step_by(SEGMENT / 128).enumerate() {
        let mut builder = begin(number as u64 + 1);
        let last = events.min(first + SEGMENT as u64 / 128);
        let all: Vec<Event> = (first..last)
            .map(|sequence| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let is_call = depth == 0 || depth < 20 && state >> 63 == 0;
                depth = if is_call { depth + 1 } else { depth - 1 };
                let payload = (state >> 40).to_le_bytes();
                Event::new(sequence, 1_000_000 + sequence * 250, payload).kind(if is_call { 2 } else { 3 })
            })
            .collect();
        all.chunks(BLOCK / 64).for_each(|events| _ = builder.events(1, events));
        builder.seal();
        builder.write(directory);
        size += builder.bytes.len() as u64;
    }
    size
}

/// Writes a journal of events of 16 MiB, the largest that are promised to be exported in little memory.
fn make_large(directory: &Path, events: u64) -> u64 {
    let mut size = 0;
    for sequence in 0..events {
        let mut builder = start(sequence + 1);
        let payload: Vec<u8> = (0..16_u64 << 20).map(|n| ((n * (n + sequence)) >> 9) as u8).collect();
        builder.events(1, &[Event::new(sequence, sequence * 1000, payload).kind(9)]).seal();
        builder.write(directory);
        size += builder.bytes.len() as u64;
    }
    size
}

/// The bytes of a file, or of all files in a directory.
fn size_of(path: &Path) -> u64 {
    if !path.is_dir() {
        return std::fs::metadata(path).map_or(0, |file| file.len());
    }
    let entries = std::fs::read_dir(path).expect("a directory");
    entries.map(|entry| size_of(&entry.expect("an entry").path())).sum()
}

/// The processor time of the children that have ended.
fn of_children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: u64 = fields[13..15].iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Runs the command, and answers how long it took, its processor time, and the most anonymous memory that it had, in kB.
fn run(arguments: &[&str]) -> (Duration, Duration, u64) {
    let before = of_children();
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_capture-pipeline"))
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("the command starts");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let anonymous = text
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = most.max(anonymous.unwrap_or(0));
        if let Some(done) = child.try_wait().expect("the command is waited for") {
            assert!(done.success(), "{arguments:?}: {done}");
            return (start.elapsed(), of_children() - before, most);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let events: u64 = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(2_000_000);
    let base = args.next().map_or_else(std::env::temp_dir, Into::into);
    let how = args.next().unwrap_or_default();
    let directory = base.join(format!("capture-pipeline-export-{}", std::process::id()));
    let journal = directory.join("journal");
    std::fs::create_dir_all(&journal).expect("a directory");
    let size = match how.as_str() {
        "large" => make_large(&journal, events),
        "calls" => make_calls(&journal, events),
        _ => make(&journal, events, how == "columns"),
    };
    println!("{events} events, {:.1} bytes each, in {}", size as f64 / events as f64, journal.display());
    let (condition, kind) =
        if how == "calls" { ("argument > 16000000", "call") } else { ("size > 1500", "malloc") };
    let journal = journal.to_string_lossy().into_owned();
    let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
    for (what, arguments, output) in [
        ("verify", vec!["verify", &journal], None),
        ("stat", vec!["stat", &journal], None),
        ("cat", vec!["cat", &journal], None),
        ("cat --where", vec!["cat", &journal, "--order", "stored", "--where", condition], None),
        ("ndjson", vec!["export", &journal, &file("a.ndjson")], Some("a.ndjson")),
        ("csv", vec!["export", &journal, &file("a.csv")], Some("a.csv")),
        (
            "parquet, none",
            vec!["export", &journal, &file("a.parquet"), "--compression", "none"],
            Some("a.parquet"),
        ),
        ("parquet, zstd", vec!["export", &journal, &file("b.parquet")], Some("b.parquet")),
        (
            "parquet, one kind",
            vec!["export", &journal, &file("c.parquet"), "--kind", kind],
            Some("c.parquet"),
        ),
        ("perfetto", vec!["export", &journal, &file("a.pftrace")], Some("a.pftrace")),
        (
            "perfetto, none",
            vec!["export", &journal, &file("b.pftrace"), "--compression", "none"],
            Some("b.pftrace"),
        ),
        ("chrome", vec!["export", &journal, &file("a.json")], Some("a.json")),
        ("ctf", vec!["export", &journal, &file("a.ctf")], Some("a.ctf")),
        ("otlp", vec!["export", &journal, &file("a.otlp")], Some("a.otlp")),
        ("otlp, protobuf", vec!["export", &journal, &file("b.otlp"), "--to", "otlp-proto"], Some("b.otlp")),
        ("sqlite", vec!["export", &journal, &file("a.db")], Some("a.db")),
        ("sqlite, no indexes", vec!["export", &journal, &file("b.db"), "--no-indexes"], Some("b.db")),
    ] {
        let (time, processor, memory) = run(&arguments);
        assert!(memory < 256_000, "{what}: {memory} kB of memory");
        let bytes = output.map_or(0, |name| size_of(&directory.join(name)));
        println!(
            "{what:>18}: {:6.2} M events/s, {:6.2} by processor time, {:6.1} MB of memory, {:6.1} bytes an event",
            events as f64 / 1e6 / time.as_secs_f64(),
            events as f64 / 1e6 / processor.as_secs_f64(),
            memory as f64 / 1e3,
            bytes as f64 / events as f64
        );
    }
    if std::env::var_os("KEEP").is_none() {
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
