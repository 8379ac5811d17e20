//! What does not fit together is damage: it ends its ring, with place and reason, and no other.

use crate::image::{Event, IN_TICKS, Image, patch};
use crate::support::{Keeping, Scratch, read_all, recover_into, take, take_run};
use capture_pipeline::event::{PIPELINE_EVENT_TRANSFORMED, PIPELINE_KIND_KIND_NAME, PIPELINE_KIND_RESERVED};
use capture_pipeline::ring::record::Tag;
use capture_pipeline::ring_file::format::{self, FACTS_AT, FACTS_START, ring};
use capture_pipeline::ring_file::reader::{Damage, Reason, Taken};
use std::path::{Path, PathBuf};

/// Bytes of each record below.
const STRIDE: u64 = 48 + 16;

/// Two rings with ten events each: the first from position 4096 - 5 strides on, so that it wraps without a pad.
fn two_rings(scratch: &Scratch) -> (Image, PathBuf) {
    let mut image = Image::new(1, (4096, 2), (0, 0));
    image.ring(0, 11, 1, 4096 - 5 * STRIDE).ring(1, 12, 2, 0);
    for sequence in 0..10 {
        assert!(
            image.push(0, &Event::new(10 + sequence, &[1; 16]))
                && image.push(1, &Event::new(sequence, &[2; 16]))
        );
    }
    let path = image.write(scratch.path());
    (image, path)
}

/// Changes a file, and checks that the first ring ends behind so many events, for this reason.
#[track_caller]
fn damaged(events: u64, reason: Reason, change: impl FnOnce(&Image, &Path)) {
    let scratch = Scratch::new();
    let (image, path) = two_rings(&scratch);
    change(&image, &path);
    let mut run = take_run(&scratch, &path);
    let given: Vec<(u64, u64)> = read_all(&mut run).iter().map(|((_, id, n), _)| (*id, *n)).collect();
    let wanted = (10..10 + events).map(|n| (11, n)).chain((0..10).map(|n| (12, n)));
    assert_eq!(given, wanted.collect::<Vec<_>>());
    let position = image.rings[0].released + events * STRIDE;
    let bytes = (10 - events) * STRIDE;
    let losses = run.losses();
    assert_eq!(losses.damages, [Damage { ring: 0, ring_id: 11, position, reason, bytes }]);
    assert_eq!((losses.torn, losses.torn_bytes, losses.handles), (1, bytes, 0));
    drop(run);
    // It is told, with the place; what is left is delivered; and the file is not in the way for ever.
    let (report, files) = recover_into(scratch.path(), Keeping::default());
    assert_eq!((report.runs, report.events, report.torn, report.torn_bytes), (1, events + 10, 1, bytes));
    let words = files[0].to_string();
    let place = format!("ring 0 (id 11) at position {position}: ");
    assert!(words.contains(&place) && words.contains(&format!("{bytes} bytes are given up")), "{words}");
    assert_eq!(scratch.names(), [""; 0]);
}

/// Where the record number `n` of the first ring is in the file.
fn record(image: &Image, n: u64) -> u64 {
    image.at(0, image.rings[0].released + n * STRIDE)
}

#[test]
fn a_record_that_breaks_the_chain_ends_its_ring() {
    let tag = |n: u64, tag: Tag| {
        move |image: &Image, path: &Path| patch(path, record(image, n), &tag.0.to_le_bytes())
    };
    let field = |n: u64, at: u64, bytes: Vec<u8>| {
        move |image: &Image, path: &Path| patch(path, record(image, n) + at, &bytes)
    };
    // Lengths. Record 4 is the last before the end of the memory, 9 the last of all.
    damaged(4, Reason::CrossesEnd(72), tag(4, Tag::event(24, 0)));
    damaged(0, Reason::CrossesEnd(48 + 0xFFFF_FFF8), tag(0, Tag::event(0xFFFF_FFF1, 0)));
    damaged(9, Reason::BehindHead(72), tag(9, Tag::event(17, 0)));
    // Pads: too short, too long, where none is needed, with flags, and behind `head`.
    damaged(2, Reason::Pad(STRIDE), tag(2, Tag::pad(STRIDE)));
    damaged(2, Reason::Pad(3 * STRIDE + 8), tag(2, Tag::pad(3 * STRIDE + 8)));
    damaged(2, Reason::Pad(0), tag(2, Tag::pad(0)));
    damaged(2, Reason::Pad(3 * STRIDE), tag(2, Tag(Tag::pad(3 * STRIDE).0 | 1 << 32)));
    damaged(7, Reason::BehindHead(4096 - 2 * STRIDE), tag(7, Tag::pad(4096 - 2 * STRIDE)));
    // Flags that no capture sets, and readings of a counter where there is no clock.
    damaged(3, Reason::Flags(PIPELINE_EVENT_TRANSFORMED), tag(3, Tag::event(16, PIPELINE_EVENT_TRANSFORMED)));
    damaged(3, Reason::Flags(1 << 4), tag(3, Tag::event(16, 1 << 4)));
    damaged(3, Reason::Flags(1 << 24), tag(3, Tag::event(16, 1 << 24)));
    damaged(3, Reason::Flags(IN_TICKS), tag(3, Tag::event(16, IN_TICKS)));
    // Kinds, weights and sequences.
    damaged(
        1,
        Reason::Kind(PIPELINE_KIND_RESERVED),
        field(1, 8, PIPELINE_KIND_RESERVED.to_le_bytes().into()),
    );
    damaged(1, Reason::Weight(0.5), field(1, 12, 0.5_f32.to_le_bytes().into()));
    damaged(1, Reason::Weight(f32::INFINITY), field(1, 12, f32::INFINITY.to_le_bytes().into()));
    damaged(6, Reason::Sequence(15, 15), field(6, 16, 15_u64.to_le_bytes().into()));
    damaged(6, Reason::Sequence(15, 0), field(6, 16, 0_u64.to_le_bytes().into()));
}

#[test]
fn a_weight_that_is_no_number_is_damage() {
    let scratch = Scratch::new();
    let (image, path) = two_rings(&scratch);
    patch(&path, record(&image, 0) + 12, &f32::NAN.to_le_bytes());
    let mut run = take_run(&scratch, &path);
    assert_eq!(read_all(&mut run).len(), 10);
    assert!(matches!(run.losses().damages[0].reason, Reason::Weight(weight) if weight.is_nan()));
}

#[test]
fn a_pad_that_reaches_behind_head_is_damage() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (4096, 1), (0, 0));
    image.ring(0, 1, 0, 4096 - 128);
    image.put(image.at(0, 4096 - 128), &Tag::pad(128).0.to_le_bytes());
    image.rings[0].head = 4096 - 64;
    let mut run = take_run(&scratch, &image.write(scratch.path()));
    assert_eq!(read_all(&mut run), []);
    assert_eq!(run.losses().damages[0].reason, Reason::BehindHead(128));
}

#[test]
fn words_that_cannot_be_those_of_a_ring_end_it_before_its_first_record() {
    let word = |word: u64, to: u64| {
        move |image: &Image, path: &Path| {
            patch(path, image.header.shape.header_at(0) + word, &to.to_le_bytes())
        }
    };
    let (start, end) = (4096 - 5 * STRIDE, 4096 + 5 * STRIDE);
    let cases: [(u64, u64, Reason, u64); 5] = [
        (ring::HEAD, end + 4, Reason::Misaligned, end + 4 - start),
        (ring::HEAD, start - 8, Reason::Backward, 0),
        (ring::HEAD, start + 4096 + 8, Reason::TooFull(4104), 4096),
        (ring::HEAD, u64::MAX - 7, Reason::TooFull(u64::MAX - 7 - start), 4096),
        (ring::RING_ID, 0, Reason::NoRingId, end - start),
    ];
    for (which, to, reason, bytes) in cases {
        let scratch = Scratch::new();
        let (image, path) = two_rings(&scratch);
        word(which, to)(&image, &path);
        let mut run = take_run(&scratch, &path);
        assert_eq!(read_all(&mut run).len(), 10, "the other ring");
        let id = if which == ring::RING_ID { 0 } else { 11 };
        let position = start;
        assert_eq!(run.losses().damages, [Damage { ring: 0, ring_id: id, position, reason, bytes }]);
        drop(run);
        let (report, _) = recover_into(scratch.path(), Keeping::default());
        assert_eq!((report.runs, report.events, report.torn, report.torn_bytes), (1, 10, 1, bytes));
        assert_eq!(scratch.names(), [""; 0]);
    }
}

#[test]
fn damaged_facts_end_there_and_are_told() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (4096, 1), (0, 0));
    for kind in 1..4 {
        image.fact(PIPELINE_KIND_KIND_NAME, kind, b"name");
    }
    let path = image.write(scratch.path());
    patch(&path, FACTS_AT + FACTS_START + 2 * 56 + 8, &5_u32.to_le_bytes());
    let run = take_run(&scratch, &path);
    assert_eq!(run.facts().map(|fact| fact.node_id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(run.losses().facts, Some((112, Reason::Kind(5))));
    drop(run);
    for (committed, reason) in [
        (3, Reason::Misaligned),
        (format::FACTS_BYTES, Reason::TooFull(format::FACTS_BYTES)),
        (format::FACTS_BYTES + 8, Reason::TooFull(format::FACTS_BYTES + 8)),
    ] {
        patch(&path, FACTS_AT, &u64::to_le_bytes(committed));
        let run = take_run(&scratch, &path);
        assert_eq!((run.facts().count(), run.losses().facts), (0, Some((0, reason))));
    }
    let (report, files) = recover_into(scratch.path(), Keeping::default());
    assert!(report.runs == 1 && files[0].to_string().contains("facts at position 0"), "{}", files[0]);
}

#[test]
fn a_clock_that_cannot_be_one_gives_the_time_of_the_file_and_is_told() {
    use capture_pipeline::ring_file::format::{CLOCK_AT, clock};
    let piece = CLOCK_AT + clock::PIECES_AT;
    for (at, word) in [
        (CLOCK_AT + clock::NEXT, 0),
        (CLOCK_AT + clock::NEXT, clock::PIECES + 1),
        (CLOCK_AT + clock::FIRST, 3),
        (piece, 5_000),          // the first piece begins behind the second
        (piece + 16, 1_000_000), // the time of the first is later than that of the second
    ] {
        let scratch = Scratch::new();
        let mut image = Image::new(1, (4096, 1), (0, 0));
        image.ring(0, 1, 0, 0).piece(1_000, 2_000, 50_000, 2).piece(2_000, 3_000, 52_000, 3);
        image.push(0, &Event { timestamp: 1_500, flags: IN_TICKS, ..Event::new(0, b"") });
        let path = image.write(scratch.path());
        patch(&path, at, &u64::to_le_bytes(word));
        let mut run = take_run(&scratch, &path);
        let times: Vec<u64> = read_all(&mut run).iter().map(|(_, event)| event.timestamp).collect();
        assert_eq!((times, run.losses().clock), (vec![500], true), "{at} {word}");
        drop(run);
        let (_, files) = recover_into(scratch.path(), Keeping::default());
        assert!(files[0].to_string().contains("the clock is damaged"), "{}", files[0]);
    }
}

#[test]
fn files_that_are_none_are_refused_by_name_and_left_as_they_are() {
    let refused = |words: &str, change: &dyn Fn(&Path)| {
        let scratch = Scratch::new();
        let (_, path) = two_rings(&scratch);
        change(&path);
        let contents = || path.is_file().then(|| std::fs::read(&path).unwrap()); // (A pipe would wait.)
        let before = contents();
        let names = scratch.names();
        match take(&scratch, &path) {
            Taken::Refused(why) => assert!(why.contains(words), "{why}"),
            other => panic!("{words}: {other:?}"),
        }
        // Another file is recovered all the same.
        let mut other = Image::new(0xFF, (4096, 1), (0, 0));
        other.ring(0, 1, 0, 0).push(0, &Event::new(0, b"x"));
        other.write(scratch.path());
        let (report, files) = recover_into(scratch.path(), Keeping::default());
        assert_eq!((report.refused, report.runs, report.events), (1, 1, 1), "{words}");
        assert!(files[0].to_string().contains(words) && report.stopped.is_none(), "{}", files[0]);
        assert!(contents() == before && scratch.names() == names, "{words}");
    };
    refused("layout version 2; this library reads version 1", &|path| patch(path, 12, &[2]));
    refused("no ring file", &|path| patch(path, 0, b"SQLite f"));
    refused("no ring file", &|path| std::fs::write(path, b"rings").unwrap());
    refused("byte order", &|path| patch(path, 8, &[1, 2, 3, 4]));
    refused("the header is damaged", &|path| patch(path, 100, &[1]));
    refused("cut: it has 1000000 of ", &|path| {
        std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1_000_000).unwrap();
    });
    refused("it was renamed or copied; give it the name 0000000000000005.rings", &|path| {
        Image::new(5, (4096, 1), (0, 0)).write_to(path);
    });
    refused("no regular file", &|path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    });
    refused("no regular file", &|path| {
        let aside = path.with_extension("aside");
        std::fs::rename(path, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, path).unwrap();
    });
    refused("no regular file", &|path| {
        std::fs::remove_file(path).unwrap();
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a NUL-terminated path.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    });
}
