//! Random changes of valid files, and random bytes: reading never panics, ends, and gives no event that was not captured.

use crate::image::{Event, Image, patch};
use crate::random::Random;
use crate::support::{Identity, Scratch, filled, read_all, take};
use capture_pipeline::ring_file::format::{self, CLOCK_AT, FACTS_AT, RING_HEADER_BYTES, RING_HEADERS_AT};
use capture_pipeline::ring_file::reader::{Directory, Next, Piece, Purpose, RingFile, RingReader, Taken};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The files; `MUTATIONS=n` makes n of them.
fn rounds() -> u64 {
    std::env::var("MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// Numbers that limits are made of.
fn extreme(random: &mut Random) -> u64 {
    let power = 1_u64 << random.below(64);
    [0, 1, 8, power, power.wrapping_sub(8), power.wrapping_neg(), u64::MAX, random.next()]
        [random.below(8) as usize]
}

/// Changes something in a file. Answers whether the change may lie in a record, whose contents nothing protects.
fn change(image: &Image, path: &Path, random: &mut Random) -> bool {
    let size = image.header.shape.file_bytes();
    let rings_at = image.header.shape.ring_at(0);
    let (at, in_records) = match random.below(8) {
        0 => (random.below(4096), false),
        1 => (CLOCK_AT + 8 * random.below(40), false),
        2 => (FACTS_AT + 8 * random.below(40), false),
        3..=5 => (RING_HEADERS_AT + random.below(5) * RING_HEADER_BYTES + 128 * random.below(4), false),
        6 => (rings_at + 8 * random.below((size - rings_at) / 8), true),
        _ => (random.below(size), true),
    };
    match random.below(10) {
        0 => {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(random.below(size)).unwrap();
        }
        1..=3 => patch(path, at, &[random.next() as u8]),
        4 => patch(path, at, &vec![[0, 0xFF][random.below(2) as usize]; random.below(300) as usize]),
        5 => {
            let (mut bytes, from) = (vec![0; random.below(500) as usize], random.below(size));
            let read = std::fs::File::open(path).unwrap().read_at(&mut bytes, from).unwrap();
            patch(path, at & !7, &bytes[..read]);
        }
        _ => patch(path, at & !7, &extreme(random).to_le_bytes()),
    }
    in_records || at + 500 > rings_at
}

/// Reads a file as recovery does, and as a reader of a living one. What both give is checked by itself.
fn read(scratch: &Scratch, image: &Image, path: &Path) -> Vec<(Identity, Event)> {
    let given = match take(scratch, path) {
        Taken::Run(mut run) => {
            let given = read_all(&mut run);
            let _ = (run.facts().count(), run.finish().unwrap());
            given
        }
        Taken::Refused(why) => {
            assert!(!why.is_empty());
            Vec::new()
        }
        Taken::Unfinished => Vec::new(),
        other => panic!("{other:?}"),
    };
    // Sequences rise in each ring, and what a ring gives fits into it.
    let mut rings: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let most = image.header.shape.ring_bytes.max(image.header.shape.priority_ring_bytes);
    for ((_, id, sequence), event) in &given {
        // (Two rings may have got one id.)
        let entry = rings.entry(*id).or_insert((*sequence, 0));
        entry.1 += event.bytes().len() as u64;
        assert!(entry.1 <= 5 * most && *id != 0);
        assert!(event.kind < 0xFFFF_0000 && event.weight >= 1.0 && event.weight.is_finite());
    }
    given
}

/// Reads a file whose owner may live.
fn read_living(scratch: &Scratch, path: &Path, generation: u64) {
    let directory = Directory::open(scratch.path(), Purpose::Read).unwrap();
    let name = std::ffi::CString::new(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let Ok(file) = RingFile::open(&directory, &name, generation) else { return };
    let mut piece = Piece::default();
    for ring in 0..file.header().shape.all_rings().min(10) {
        let words = file.ring(ring).unwrap();
        let Ok(Some(mut reader)) = RingReader::new(&file, ring, words, true) else { continue };
        while reader.next(&file, &mut piece).unwrap() == Next::Piece {}
    }
    let _ = file.figures();
}

#[test]
fn changed_files_never_panic_the_reader_and_never_make_it_invent_events() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..rounds() {
        let mut random = Random(seed);
        let scratch = Scratch::new();
        let (image, originals) = filled(1, &mut random);
        let path = image.write(scratch.path());
        let mut records_changed = false;
        for _ in 0..=random.below(4) {
            records_changed |= change(&image, &path, &mut random);
        }
        read_living(&scratch, &path, 1);
        let given = read(&scratch, &image, &path);
        let known = |(identity, event): &(Identity, Event)| originals.get(identity) == Some(event);
        let all_known = given.iter().all(known);
        outcomes.insert((given.is_empty(), given.len() == originals.len(), all_known));
        // Without a change in the records themselves, every event is one that was captured, though perhaps under a ring id that was changed, or one that was released.
        if !records_changed {
            let contents: BTreeSet<(u64, &[u8])> = image.records().into_iter().collect();
            for (identity, event) in &given {
                assert!(contents.contains(&(identity.2, &event.payload[..])), "{seed}: {identity:?}");
            }
        }
    }
    assert!(outcomes.len() >= 4, "{outcomes:?}");
}

#[test]
fn random_bytes_are_no_events() {
    for seed in 0..rounds() / 10 {
        let mut random = Random(seed);
        let scratch = Scratch::new();
        let mut image = Image::new(1, (4096, 3), (0, 0));
        let len = random.below(3 * 4096) as usize;
        let noise = random.bytes(len);
        image.put(image.header.shape.ring_at(0), &noise);
        for ring in 0..3 {
            image.ring(ring, 1 + ring as u64, 0, 8 * random.below(4096));
            image.rings[ring].head += 8 * random.below(513);
        }
        let path = image.write(scratch.path());
        read_living(&scratch, &path, 1);
        read(&scratch, &image, &path);
        // And a file of nothing else.
        let path = scratch.path().join(format::file_name(1));
        std::fs::write(&path, &noise).unwrap();
        read(&scratch, &image, &path);
    }
}
