//! How much memory the command takes, where events are as large as is promised.

use super::*;
use capture_pipeline::journal::format::block::codec;
use capture_pipeline::kinds::{Definition, Field, Length, Type};
use sample::segments::{Builder, Event};
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The largest payload that is promised to be shown and exported in [`LIMIT`].
const LARGEST: usize = 16 << 20;
/// In bytes. It is promised for anonymous memory; what is measured here has that of the program's file as well.
const LIMIT: u64 = 256_000_000;
const RINGS: u64 = 4;
const EVENTS: u64 = 5;

/// A kind whose payload is one text.
fn text_kind() -> Definition {
    let mut definition = Definition::new(5, "text");
    definition.fields = vec![Field { length: Length::Rest, ..Field::new("text", Type::String, 0) }];
    definition.fit();
    definition
}

/// What the events consist of.
#[derive(Clone, Copy, Debug)]
enum Contents {
    /// Bytes without a definition, which compress a little.
    Bytes,
    /// A text of which each byte takes six in JSON.
    Controls,
    /// A text of which each byte takes three as UTF-8, which it is not.
    NoText,
}

impl Contents {
    fn payload(self, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let words = (0..LARGEST / 8).flat_map(|_| {
            match self {
                Self::Bytes => random() & 0x3F3F_3F3F_3F3F_3F3F,
                Self::Controls => 0x0102_0304_0506_0708,
                Self::NoText => random() | 0x8080_8080_8080_8080,
            }
            .to_le_bytes()
        });
        words.collect()
    }
}

/// Writes a journal of several rings, whose events have the same times, so that those of all rings are needed at once.
fn write(directory: &Path, contents: Contents, with: u8) {
    std::fs::create_dir_all(directory).expect("a directory");
    let payload = contents.payload(7);
    for number in 0..EVENTS {
        let (ring, sequence) = (number % RINGS, number / RINGS);
        let mut builder = Builder::new(0xABCD, number + 1);
        builder.kind_name(5, "text").definition(5, &text_kind().to_bytes()).thread(ring, 4711, "main");
        let kind = if matches!(contents, Contents::Controls | Contents::NoText) { 5 } else { 9 };
        let event = Event::new(sequence, 1_000 * sequence, payload.clone()).kind(kind);
        builder.encoded(ring, &[event], with).seal().write(directory);
    }
}

/// Runs the command, which must end well and say nothing, and answers the most memory that it had, in bytes.
fn most_memory(arguments: &[&str], output: &Path) -> u64 {
    let output = File::create(output).expect("a file");
    let mut child =
        command(arguments).stdout(output).stderr(Stdio::piped()).spawn().expect("the command runs");
    let status = format!("/proc/{}/status", child.id());
    let deadline = Instant::now() + Duration::from_secs(900);
    let mut most = 0;
    // The kernel keeps the most that there was: only what comes within the last moment of the process may be missed.
    while child.try_wait().expect("the command is waited for").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let kilobytes = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) * 1024);
        assert!(Instant::now() < deadline, "{arguments:?} does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
    let done = done(child.wait_with_output().expect("the command has ended"));
    assert_eq!((done.status, done.err.as_str()), (0, ""), "{arguments:?}");
    assert!(most > 0, "{arguments:?}");
    most
}

/// How an export or a print is asked for. In the order of time, the reader has the most events at once.
const CAT: &[&str] = &["cat"];
const CAT_JSON: &[&str] = &["cat", "--json"];
const SQLITE: &[&str] = &["export", "--to", "sqlite", "--order", "time"];
const NDJSON: &[&str] = &["export", "--to", "ndjson", "--order", "time"];
const CSV: &[&str] = &["export", "--to", "csv", "--order", "time"];
const PARQUET: &[&str] = &["export", "--to", "parquet", "--order", "time", "--compression", "none"];
const PERFETTO: &[&str] = &["export", "--to", "perfetto"];
const CHROME: &[&str] = &["export", "--to", "chrome"];
const PARQUET_ZSTD: &[&str] = &["export", "--to", "parquet", "--order", "time"];

fn check(contents: Contents, with: u8, commands: &[&[&str]]) {
    let scratch = Scratch::new();
    let journal = text(&scratch.path().join("journal"));
    write(journal.as_ref(), contents, with);
    let mut wrong = Vec::new();
    for arguments in commands {
        let file = scratch.path().join("out");
        let name = text(&file);
        let mut all = [arguments, &[journal.as_str()][..]].concat();
        let is_export = arguments[0] == "export";
        if is_export {
            all.push(&name);
        }
        let most = most_memory(&all, if is_export { Path::new("/dev/null") } else { &file });
        let len = std::fs::metadata(&file).expect("the output").len();
        // Parquet stores equal payloads of a row group once, and compresses them.
        let least = match arguments.contains(&"parquet") {
            _ if arguments[0] == "verify" || arguments[0] == "stat" => 1,
            // Timelines show the beginning of what is long.
            _ if arguments.contains(&"perfetto") || arguments.contains(&"chrome") => 1,
            true => LARGEST as u64 / 64,
            false => EVENTS * LARGEST as u64,
        };
        assert!(len >= least, "{contents:?}, codec {with}, {arguments:?}: only {len} bytes are written");
        std::fs::remove_file(&file).expect("removed");
        println!("{contents:?}, codec {with}, {arguments:?}: {:.1} MB", most as f64 / 1e6);
        if most > LIMIT {
            wrong.push((arguments.join(" "), most));
        }
    }
    assert!(wrong.is_empty(), "{contents:?}, codec {with}: more than {LIMIT} bytes of memory: {wrong:?}");
}

#[test]
fn events_of_16_mib_of_several_rings_at_one_time_take_less_than_256_mb() {
    let tables = [&["verify"][..], &["stat"], CAT, SQLITE, NDJSON, CSV, PARQUET, PARQUET_ZSTD];
    let commands = [&tables[..], &[PERFETTO, CHROME]].concat();
    check(Contents::Bytes, codec::NONE, &commands);
}

#[test]
fn so_they_do_where_they_are_compressed() {
    check(Contents::Bytes, codec::ZSTD, &[&["verify"], SQLITE, CSV, PARQUET_ZSTD]);
}

#[test]
fn so_they_do_where_their_texts_get_longer() {
    check(Contents::Controls, codec::LZ4, &[CAT_JSON]);
    check(Contents::NoText, codec::NONE, &[CSV, PARQUET_ZSTD, PERFETTO, CHROME]);
}
