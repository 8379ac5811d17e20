//! Random changes of valid segments: a reader never panics, ends, and gives no event that was not written, nor one of them twice.

use crate::random::Random;
use crate::reading::{Given, identity, in_time, take};
use crate::segments::{Builder, Event, REALTIME_OFFSET, Scratch};
use capture_pipeline::journal::format::block::{BlockHeader, SIZE};
use capture_pipeline::journal::format::checksum::Salted;
use capture_pipeline::journal::format::segment::SegmentHeader;
use capture_pipeline::journal::reader::{Options, Reader};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// The journals; `MUTATIONS=n` makes n of them.
fn rounds() -> u64 {
    std::env::var("MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

type Originals = BTreeMap<capture_pipeline::journal::reader::Identity, Given>;

/// Two segments of one run and one of another.
fn valid(random: &mut Random) -> (Vec<Builder>, Originals) {
    let mut originals = Originals::new();
    let mut segments = vec![Builder::new(1, 1), Builder::new(1, 2), Builder::new(2, 1)];
    for (number, segment) in segments.iter_mut().enumerate() {
        segment.kind_name(1, "one").thread(1, 2, "thread").definition(3, b"rubbish").ledger(1, 2, &[3; 20]);
        for block in 0..3 + random.below(4) {
            let ring = random.below(3);
            let first = 1_000 * (number as u64 * 10 + block);
            let events: Vec<Event> = (0..=random.below(20))
                .map(|n| {
                    let len = random.below(50) as usize;
                    Event::new(first + n, first + n, random.bytes(len)).correlation_id(n % 3)
                })
                .collect();
            match random.below(6) {
                codec @ 0..=2 => segment.encoded(ring, &events, codec as u8),
                _ => segment.events(ring, &events),
            };
            if random.one_in(4) {
                segment.events(ring, &events);
            }
            for event in events {
                let identity = identity(segment.header.generation, ring, event.sequence);
                let realtime_ns = event.timestamp + REALTIME_OFFSET as u64;
                originals.insert(identity, Given { identity, realtime_ns, event });
            }
        }
        if !random.one_in(3) {
            segment.seal();
        }
    }
    (segments, originals)
}

/// Numbers that limits are made of.
fn extreme(random: &mut Random) -> u64 {
    let power = 1_u64 << random.below(64);
    [0, 1, power, power.wrapping_sub(1), power.wrapping_neg(), u64::MAX, random.next()]
        [random.below(7) as usize]
}

fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() as u64) as usize;
    let block = at / 64 * 64;
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => bytes.truncate(at),
        3 => {
            let end = bytes.len().min(at + random.below(300) as usize);
            bytes[at..end].fill([0, 0xFF][random.below(2) as usize]);
        }
        // Whole lines are repeated, left out, or go elsewhere.
        4 => {
            let end = bytes.len().min(block + 64 * random.below(8) as usize);
            let lines = bytes[block..end].to_vec();
            let to = random.below(bytes.len() as u64 + 1) as usize / 64 * 64;
            bytes.splice(to..to, lines);
        }
        5 => {
            let end = bytes.len().min(block + 64 * random.below(8) as usize);
            bytes.drain(block..end);
        }
        6 => {
            let end = bytes.len().min(block + 64 * random.below(8) as usize);
            let lines = bytes[block..end].to_vec();
            let to = (random.below(bytes.len() as u64) as usize / 64 * 64).min(bytes.len() - lines.len());
            bytes[to..to + lines.len()].copy_from_slice(&lines);
        }
        7 => {
            let number = extreme(random).to_le_bytes();
            let end = bytes.len().min(at + 8);
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        _ => {
            let len = random.below(200) as usize;
            bytes.extend(random.bytes(len));
        }
    }
}

/// Changes a field of a block's header, or a byte of its body, and makes the checksums right again.
fn forge(bytes: &mut [u8], random: &mut Random) {
    let Ok((header, size)) = SegmentHeader::decode(bytes) else { return };
    let salted = Salted::new(header.salt);
    let mut starts = Vec::new();
    let mut at = size;
    while let Some(rest) = bytes.get(at..)
        && let Some(block) = BlockHeader::decode(rest, salted, header.generation, at as u64, &mut Vec::new())
        && let Some(end) = at.checked_add(block.total() as usize)
    {
        starts.push((at, block));
        at = end;
    }
    if starts.is_empty() {
        return;
    }
    let (at, block) = starts[random.below(starts.len() as u64) as usize];
    let body = (at + block.size()).min(bytes.len());
    let body = body..body.saturating_add(block.stored_len as usize).min(bytes.len());
    if random.one_in(2) && !body.is_empty() {
        let place = body.start + random.below(body.len() as u64) as usize;
        if random.one_in(2) {
            bytes[place] ^= 1 << random.below(8);
        } else {
            let number = extreme(random).to_le_bytes();
            let end = body.end.min(place + 8);
            bytes[place..end].copy_from_slice(&number[..end - place]);
        }
    } else {
        let fields = [(4, 2), (6, 2), (24, 8), (32, 8), (40, 8), (48, 4), (52, 4), (58, 1), (59, 1)];
        let more = [(64, 8), (72, 8), (80, 8), (88, 8), (96, 8), (104, 4)];
        let all = [&fields[..], &more[..]].concat();
        let (field, len) = all[random.below(all.len() as u64) as usize];
        let number = if random.one_in(2) { random.below(4) } else { extreme(random) };
        bytes[at + field..at + field + len].copy_from_slice(&number.to_le_bytes()[..len]);
    }
    let body_sum = salted.of(&[bytes.get(body).unwrap_or_default()]);
    bytes[at + 112..at + 116].copy_from_slice(&body_sum.to_le_bytes());
    bytes[at + 116..at + 120].fill(0);
    let sum = salted.of(&[&bytes[at..at + block.size().max(SIZE)]]);
    bytes[at + 116..at + 120].copy_from_slice(&sum.to_le_bytes());
}

/// Reads in both orders. Returns the events in the order of time.
fn read(path: &Path, context: &str) -> Vec<Given> {
    let mut both = [Options::default(), in_time()].map(|options| {
        let mut reader = Reader::open(path, options).expect("a directory");
        let given = take(&mut reader);
        let unique: HashSet<_> = given.iter().map(|given| given.identity).collect();
        assert_eq!(unique.len(), given.len(), "{context}: an identity was given twice");
        // What is told must be there to be told.
        let _ = (reader.losses().to_string(), reader.rings().count(), reader.segments().len());
        given
    });
    both[0].sort_by_key(Given::key);
    let [stored, merged] = both;
    let mut sorted = merged.clone();
    sorted.sort_by_key(Given::key);
    assert!(stored == sorted, "{context}: the orders give different events");
    merged
}

#[test]
fn no_change_makes_a_reader_invent_an_event() {
    let scratch = Scratch::new();
    let mut lost = 0;
    for seed in 0..rounds() {
        let mut random = Random(seed);
        let (mut segments, originals) = valid(&mut random);
        for _ in 0..=random.below(4) {
            let segment = random.below(3) as usize;
            change(&mut segments[segment].bytes, &mut random);
        }
        segments.iter().for_each(|segment| drop(segment.write(scratch.path())));
        let given = read(scratch.path(), &format!("seed {seed}"));
        for event in &given {
            assert!(
                originals.get(&event.identity) == Some(event),
                "seed {seed}: {:?} was not written",
                event.identity
            );
        }
        lost += originals.len() - given.len();
    }
    assert!(lost > 0, "no change had an effect");
}

#[test]
fn headers_and_bodies_with_right_checksums_and_wrong_contents_do_no_harm() {
    let scratch = Scratch::new();
    for seed in 0..rounds() {
        let mut random = Random(!seed);
        let (mut segments, _) = valid(&mut random);
        for _ in 0..=random.below(4) {
            let segment = random.below(3) as usize;
            forge(&mut segments[segment].bytes, &mut random);
        }
        segments.iter().for_each(|segment| drop(segment.write(scratch.path())));
        read(scratch.path(), &format!("seed {seed}"));
    }
}
