//! The reader in Python, which is written from docs/format.md alone, and the library's give the same events, facts and losses.

use crate::locks;
use crate::random::Random;
use crate::reading::{Given, open, take};
use crate::segments::{Builder, Event, Scratch};
use capture_pipeline::journal::format::block::Piece;
use capture_pipeline::journal::format::record::{OWN_TIME, TICKS};
use capture_pipeline::journal::format::segment::MIN_SIZE;
use capture_pipeline::journal::reader::Options;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What the reader in Python prints: the lines by their first word.
fn printed(path: &Path) -> BTreeMap<String, Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/reader.py");
    let output = Command::new("python3").arg(script).arg(path).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines = BTreeMap::<String, Vec<String>>::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let (word, rest) = line.split_once(' ').expect("a word and values");
        lines.entry(word.to_owned()).or_default().push(rest.to_owned());
    }
    lines
}

fn hexadecimal(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if text.is_empty() { "-".into() } else { text }
}

fn line(given: &Given) -> String {
    let Given { identity, realtime_ns, event } = given;
    let weight =
        if event.weight.fract() == 0.0 { format!("{:.1}", event.weight) } else { event.weight.to_string() };
    format!(
        "{:016x} {} {} {} {realtime_ns} {} {} {weight} {} {} {}",
        identity.generation,
        identity.ring_id,
        identity.sequence,
        event.timestamp,
        event.kind,
        event.flags,
        event.correlation_id,
        event.node_id,
        hexadecimal(&event.payload)
    )
}

/// Compares both, and returns the number of events and of losses.
pub fn compare(path: &Path) -> (usize, u64) {
    let python = printed(path);
    let count = |word: &str| python.get(word).map_or(0, Vec::len) as u64;
    let sum = |word: &str| -> u64 {
        let numbers = python.get(word).into_iter().flatten();
        numbers.map(|text| text.parse::<u64>().expect("a number")).sum()
    };
    let mut reader = open(path, Options::default());
    let mut given = take(&mut reader);
    given.sort_by_key(|given| given.identity);
    let lines: Vec<String> = given.iter().map(line).collect();
    let events = python.get("event").cloned().unwrap_or_default();
    for (ours, theirs) in lines.iter().zip(&events) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(lines.len(), events.len());
    let losses = reader.losses();
    assert_eq!(
        (losses.damaged_blocks, losses.damaged_events),
        (count("damaged-block"), sum("damaged-block"))
    );
    assert_eq!(losses.damages, count("damage"));
    assert_eq!((losses.torn_tails, losses.torn_bytes), (count("torn"), sum("torn")));
    assert_eq!((losses.duplicates, losses.contradictions), (count("duplicate"), count("contradiction")));
    assert_eq!(losses.refused.len() as u64, count("refused"));
    let unreadable: u64 = losses.unreadable.values().map(|entry| entry.blocks).sum();
    assert_eq!(unreadable, count("unreadable"));
    let ledgers = reader.facts().ledgers.iter().map(|(generation, ledger)| {
        let counts: Vec<String> = ledger.counts.iter().map(u64::to_string).collect();
        let head = (ledger.number, ledger.monotonic_ns, ledger.counts.len());
        format!("{generation:016x} {} {} {} {}", head.0, head.1, head.2, counts.join(" "))
    });
    let theirs = python.get("ledger").cloned().unwrap_or_default();
    assert_eq!(ledgers.collect::<Vec<_>>(), theirs);
    let facts = |kind: &str| {
        let lines = python.get("fact").into_iter().flatten();
        lines.filter(|line| line.split(' ').nth(1) == Some(kind)).count()
    };
    let known = (reader.facts().kind_names.len(), reader.facts().threads.len());
    assert_eq!(known, (facts("4294901761"), facts("4294901762")));
    for fact in python.get("fact").into_iter().flatten() {
        let words: Vec<&str> = fact.split(' ').collect();
        let generation = u64::from_str_radix(words[0], 16).expect("a generation");
        let (kind, node) = (words[1], words[2].parse::<u64>().expect("a node id"));
        match kind {
            "4294901761" => {
                let name = &reader.facts().kind_names[&(generation, node as u32)];
                assert_eq!(hexadecimal(name), words[4]);
            }
            "4294901762" => {
                let thread = &reader.facts().threads[&(generation, node)];
                assert_eq!(thread.thread_id.to_string(), words[3]);
                assert_eq!(hexadecimal(&thread.name), words[4]);
            }
            _ => {}
        }
    }
    let other = losses.damages + losses.torn_tails + losses.contradictions + unreadable;
    (lines.len(), losses.damaged_blocks + other + losses.refused.len() as u64)
}

/// A random journal with everything that the page describes, but for Zstandard, which Python has from 3.14 on.
fn random_journal(random: &mut Random, directory: &Path) -> Vec<Builder> {
    let mut builders = Vec::new();
    for (generation, number) in
        [(1, 1), (1, 2), (0xFFFF_FFFF_FFFF_FFF0, 1), (0xFFFF_FFFF_FFFF_FFF0, 123_456_789)]
    {
        let mut builder = Builder::new(generation, number);
        builder.kind_name(random.below(4) as u32, "a name").thread(random.below(3), 99, "thread");
        builder.ledger(number % 100, random.next(), &(0..20).map(|_| random.next()).collect::<Vec<_>>());
        if random.one_in(2) {
            let rate = (1 << 48) + random.below(1 << 47);
            let piece = |start: u64| Piece { start, end: start + 1_000, ns: 5 * start, rate };
            builder.pieces = (1..=1 + random.below(5)).map(|n| piece(n * 1_000)).collect();
        }
        for block in 0..=random.below(6) {
            let ring = random.below(3);
            let mut sequence = 100 * (number % 100) + block * 1_000;
            let events: Vec<Event> = (0..random.below(30))
                .map(|_| {
                    sequence += 1 + random.below(2);
                    let len = [0, 8, 24, random.below(40)][random.below(4) as usize] as usize;
                    let ticks = if builder.pieces.is_empty() { 0 } else { TICKS };
                    let flags = [0, 1, OWN_TIME, ticks, ticks | 4][random.below(5) as usize];
                    Event {
                        weight: [1.0, 2.5, 1024.0][random.below(3) as usize],
                        node_id: random.next() >> random.below(64),
                        ..Event::new(sequence, random.below(20_000), random.bytes(len))
                    }
                    .kind(random.below(5) as u32)
                    .correlation_id(random.below(3))
                    .flags(flags)
                })
                .collect();
            match random.below(4) {
                codec @ 0..=1 => builder.encoded(ring, &events, codec as u8),
                _ => builder.events(ring, &events),
            };
            if random.one_in(4) && !events.is_empty() {
                let mut again = events.clone();
                if random.one_in(3) {
                    again[0].kind += 1;
                }
                builder.events(ring, &again);
            }
        }
        if !random.one_in(4) {
            builder.seal();
        }
        builder.write(directory);
        builders.push(builder);
    }
    builders
}

#[test]
fn both_readers_give_the_same_events() {
    let mut random = Random(1);
    let (mut events, mut losses) = (0, 0);
    for _ in 0..12 {
        let scratch = Scratch::new();
        let mut builders = random_journal(&mut random, scratch.path());
        let clean = compare(scratch.path());
        events += clean.0;
        // And of what is left when bytes are changed.
        for _ in 0..3 {
            let builder = &mut builders[random.below(4) as usize];
            let at = random.below(builder.bytes.len() as u64) as usize;
            match random.below(3) {
                0 => builder.bytes.truncate(at.max(MIN_SIZE)),
                _ => builder.bytes[at] ^= 1 << random.below(8),
            }
            builder.write(scratch.path());
        }
        losses += compare(scratch.path()).1;
    }
    assert!(events > 1_000 && losses > 5, "{events} events, {losses} losses");
}

#[test]
fn both_readers_agree_about_tails_and_later_versions() {
    let scratch = Scratch::new();
    let event = |n| [Event::new(n, n, "payload")];
    let mut growing = Builder::new(1, 1);
    growing.events(1, &event(1)).raw(&[5; 70]);
    let path = growing.write(scratch.path());
    let lock = locks::hold(&path);
    let mut sealed = Builder::new(1, 2);
    sealed.events(1, &event(2)).seal().raw(b"behind the seal");
    sealed.write(scratch.path());
    let mut left = Builder::new(1, 3);
    left.events(1, &event(3)).bytes.extend_from_slice(b"CPB1");
    left.write(scratch.path());
    let mut later = Builder::new(2, 1);
    later.bytes[12] = 9;
    later.write(scratch.path());
    std::fs::write(scratch.path().join("lock"), "").expect("a file");
    assert_eq!(compare(scratch.path()), (3, 3));
    drop(lock);
    assert_eq!(compare(scratch.path()), (3, 4));
}

#[test]
fn a_block_of_zstandard_is_read_or_reported() {
    let scratch = Scratch::new();
    let events: Vec<Event> = (0..100).map(|n| Event::new(n, n, vec![7; 100])).collect();
    let mut builder = Builder::new(1, 1);
    builder.encoded(1, &events, 2).events(2, &events[..1]).seal().write(scratch.path());
    let python = printed(scratch.path());
    let (read, reported) = (python["event"].len(), python.get("unreadable").map_or(0, Vec::len));
    assert!((read, reported) == (101, 0) || (read, reported) == (1, 1), "{read} read, {reported} reported");
}
