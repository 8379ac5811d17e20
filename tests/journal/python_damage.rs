//! The reader in Python and the library's agree about each kind of damage, and about what is no segment.

use crate::locks;
use crate::python::compare;
use crate::segments::{Builder, Event, Scratch};
use capture_pipeline::journal::format::block::{BlockHeader, BlockType, CRITICAL, Piece};
use capture_pipeline::journal::format::record::{OWN_TIME, PAD, TICKS};
use capture_pipeline::journal::format::segment::{MIN_SIZE, file_name};
use std::panic::catch_unwind;
use std::path::Path;

/// Compares what both read from each journal that `make` makes, and names all journals about which they disagree, or of which they read another number of
/// events, or of losses, than is said.
fn agree<Make: Fn(&Path) + std::panic::RefUnwindSafe>(cases: &[(&str, (usize, u64), Make)]) {
    let mut wrong = Vec::new();
    for (name, expected, make) in cases {
        let outcome = catch_unwind(|| {
            let scratch = Scratch::new();
            make(scratch.path());
            compare(scratch.path())
        });
        match outcome {
            Ok(both) if both == *expected => {}
            Ok(both) => wrong.push(format!("{name}: both read {both:?}, not {expected:?}")),
            Err(_) => wrong.push(format!("{name}: they disagree, see above")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn two() -> [Event; 2] {
    [Event::new(1, 10, "first"), Event::new(2, 20, "second")]
}

fn records(events: &[Event]) -> Vec<u8> {
    let mut body = Vec::new();
    events.iter().for_each(|event| event.record().encode(&mut body));
    body
}

/// A block whose header and body are changed before the header gets its checksum; the body's checksum is right.
fn other(builder: &mut Builder, events: &[Event], change: impl FnOnce(&mut BlockHeader, &mut Vec<u8>)) {
    let mut body = records(events);
    let mut header = builder.block_header(BlockType::EVENTS, 1, events, &body);
    change(&mut header, &mut body);
    header.body_sum = builder.salted().of(&[&body]);
    header.stored_len = body.len() as u64;
    builder.block(&header, &body);
}

/// A block of that type and body. If `damaged`, the body does not have its checksum.
fn typed(builder: &mut Builder, kind: u16, flags: u16, body: &[u8], damaged: bool) {
    let mut header = BlockHeader { flags, ..builder.block_header(BlockType(kind), 0, &[], body) };
    header.body_sum ^= u32::from(damaged);
    builder.block(&header, body);
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A segment with a good block, then what `change` appends, then another good block.
type Change = fn(&mut Builder);

fn around(change: Change, directory: &Path) {
    let mut builder = Builder::new(1, 1);
    builder.events(7, &two());
    change(&mut builder);
    builder.pieces.clear();
    builder.events(8, &two()).seal().write(directory);
}

#[test]
fn both_readers_agree_about_each_kind_of_damaged_block() {
    let cases: &[(&str, (usize, u64), Change)] = &[
        ("a reading without a clock piece", (4, 1), |builder| {
            builder.events(1, &two().map(|event| event.flags(TICKS)));
        }),
        ("the flag that never occurs", (4, 1), |builder| {
            builder.events(1, &two().map(|event| event.flags(PAD)));
        }),
        ("own times that are readings", (6, 0), |builder| {
            let piece = |rate| Piece { start: 5, end: 9, ns: 100, rate };
            for rate in [1 << 48, 1 << 48, 1 << 47] {
                builder.pieces = vec![piece(rate)];
                builder.events(1, &two().map(|event| event.flags(TICKS | OWN_TIME)));
            }
        }),
        ("a time before 0 and one after the last", (6, 0), |builder| {
            builder.pieces = vec![Piece { start: 15, end: 16, ns: 3, rate: u64::MAX }];
            builder.events(1, &[two()[0].clone().flags(TICKS), Event::new(2, u64::MAX, "").flags(TICKS)]);
        }),
        ("the same sequence twice", (4, 1), |builder| {
            builder.events(1, &[two()[0].clone(), two()[0].clone()]);
        }),
        ("sequences that fall", (4, 1), |builder| {
            builder.events(1, &[two()[0].clone(), Event::new(9, 9, ""), two()[1].clone()]);
        }),
        ("one record less", (4, 1), |builder| other(builder, &two(), |header, _| header.count = 1)),
        ("one record more", (4, 1), |builder| other(builder, &two(), |header, _| header.count = 3)),
        ("no record, by the header", (4, 1), |builder| other(builder, &two(), |header, _| header.count = 0)),
        ("no record", (4, 0), |builder| other(builder, &[], |_, _| {})),
        ("no record, with sequences", (4, 0), |builder| {
            other(builder, &[], |header, _| (header.first_sequence, header.last_sequence) = (5, 9));
        }),
        ("another first sequence", (4, 1), |builder| {
            other(builder, &two(), |header, _| header.first_sequence = 0);
        }),
        ("another last sequence", (4, 1), |builder| {
            other(builder, &two(), |header, _| header.last_sequence = 3)
        }),
        ("other flags, by the header", (6, 0), |builder| {
            other(builder, &two(), |header, _| header.event_flags = 1);
        }),
        ("other times, by the header", (6, 0), |builder| {
            other(builder, &two(), |header, _| (header.first_ns, header.last_ns) = (500, 400));
        }),
        ("another length", (4, 1), |builder| other(builder, &two(), |header, _| header.raw_len += 8)),
        ("more than a block has", (4, 1), |builder| {
            other(builder, &two(), |header, _| header.raw_len = 1 << 21)
        }),
        ("a record that is cut off", (4, 1), |builder| {
            other(builder, &two(), |header, body| {
                body.truncate(90);
                header.raw_len = 90;
            });
        }),
        ("a payload of 4 GiB", (4, 1), |builder| {
            other(builder, &two(), |_, body| body[..4].copy_from_slice(&u32::MAX.to_le_bytes()));
        }),
        ("padding that is not 0", (6, 0), |builder| other(builder, &two(), |_, body| body[54] = 9)),
        ("an unknown filter", (4, 1), |builder| other(builder, &two(), |header, _| header.filter = 77)),
        ("an unknown codec", (4, 1), |builder| other(builder, &two(), |header, _| header.codec = 3)),
        ("an unknown codec and no record", (4, 1), |builder| {
            other(builder, &[], |header, _| header.codec = 3)
        }),
        ("no columns", (4, 1), |builder| other(builder, &two(), |header, _| header.filter = 1)),
        ("no LZ4", (4, 1), |builder| other(builder, &two(), |header, _| header.codec = 1)),
        ("facts with an unknown codec", (4, 1), |builder| {
            other(builder, &two(), |header, _| (header.kind, header.codec) = (BlockType::FACTS, 3));
        }),
        ("facts of another number", (4, 1), |builder| {
            other(builder, &two(), |header, _| (header.kind, header.count) = (BlockType::FACTS, 3));
        }),
        ("facts with other sequences", (4, 0), |builder| {
            other(builder, &two(), |header, _| {
                (header.kind, header.first_sequence, header.last_sequence) = (BlockType::FACTS, 7, 3);
            });
        }),
        ("damaged facts", (4, 1), |builder| typed(builder, 2, 0, &records(&two()), true)),
        ("a damaged ledger", (4, 1), |builder| typed(builder, 3, 0, &words(&[1, 2, 1, 4]), true)),
        ("a ledger with fewer counts than it says", (4, 1), |builder| {
            typed(builder, 3, 0, &words(&[1, 2, 3, 4]), false);
        }),
        ("a ledger with more bytes than it says", (4, 0), |builder| {
            typed(builder, 3, 0, &words(&[1, 2, 1, 4, 5]), false);
        }),
        ("a ledger of 20 bytes", (4, 1), |builder| typed(builder, 3, 0, &[0; 20], false)),
        ("two ledgers with one number", (4, 0), |builder| {
            typed(builder, 3, 0, &words(&[5, 2, 1, 4]), false);
            typed(builder, 3, 0, &words(&[5, 3, 2, 3, 1]), false);
            typed(builder, 3, 0, &words(&[4, 9, 2, 3, 1]), false);
        }),
        ("two names of one kind", (4, 0), |builder| {
            builder.kind_name(3, "one").kind_name(3, "two");
        }),
        ("a damaged seal, and one of 8 bytes", (4, 2), |builder| {
            typed(builder, 4, 0, &words(&[1, 2, 3]), true);
            typed(builder, 4, 0, &words(&[1]), false);
        }),
        ("a seal in the middle", (4, 0), |builder| typed(builder, 4, 0, &words(&[1, 2, 3]), false)),
        ("a filler, and a damaged one", (4, 0), |builder| {
            typed(builder, 5, 0, b"anything", false);
            typed(builder, 5, 0, b"anything", true);
        }),
        ("a filler that is critical", (4, 0), |builder| typed(builder, 5, CRITICAL, b"anything", false)),
        ("a later type, and a damaged one", (4, 0), |builder| {
            typed(builder, 6, 0, b"later", false);
            typed(builder, 0, 0, b"later", true);
        }),
        ("a critical block of a later type", (2, 1), |builder| typed(builder, 6, CRITICAL, b"later", false)),
        ("a damaged critical block of a later type", (2, 1), |builder| {
            typed(builder, 6, CRITICAL, b"later", true)
        }),
        ("events that are critical", (6, 0), |builder| {
            other(builder, &two(), |header, _| header.flags = 0xFF)
        }),
        ("another generation", (4, 1), |builder| other(builder, &two(), |header, _| header.generation = 2)),
        ("another offset", (4, 1), |builder| other(builder, &two(), |header, _| header.offset += 64)),
        ("two stretches without a block", (6, 2), |builder| {
            builder.raw(&[3; 200]).events(1, &two()).raw(&[0; 1]);
        }),
    ];
    let make = |change: Change| move |directory: &Path| around(change, directory);
    agree(&cases.iter().map(|&(name, expected, change)| (name, expected, make(change))).collect::<Vec<_>>());
}

/// A segment that ends with what `change` has appended, whose writer lives or does not.
fn at_the_end(change: Change, lives: bool, expected: (usize, u64)) {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    change(builder.events(1, &two()));
    let path = builder.write(scratch.path());
    let _lock = lives.then(|| locks::hold(&path));
    assert_eq!(compare(scratch.path()), expected, "the writer lives: {lives}");
}

#[test]
fn both_readers_agree_about_each_end_of_a_segment() {
    type End = (&'static str, (usize, u64), (usize, u64), Change);
    // What is read if the writer lives, and if it does not.
    let cases: &[End] = &[
        ("nothing", (2, 0), (2, 0), |_| {}),
        ("10 zeros", (2, 0), (2, 1), |builder| builder.bytes.extend_from_slice(&[0; 10])),
        ("640 zeros", (2, 0), (2, 1), |builder| builder.bytes.extend_from_slice(&[0; 640])),
        ("a block without its padding", (3, 0), (3, 0), |builder| {
            builder.events(1, &[Event::new(3, 30, "third")]);
            builder.bytes.truncate(builder.bytes.len() - 8);
        }),
        ("a block that is cut off", (2, 0), (2, 1), |builder| {
            builder.events(1, &[Event::new(3, 30, vec![1; 64])]);
            builder.bytes.truncate(builder.bytes.len() - 40);
        }),
        ("a block with another body", (2, 0), (2, 1), |builder| {
            builder.events(1, &[Event::new(3, 30, "third")]);
            let at = builder.bytes.len() - 20;
            builder.bytes[at] ^= 1;
        }),
        ("a block with another body, and bytes", (2, 0), (2, 2), |builder| {
            builder.events(1, &[Event::new(3, 30, "third")]);
            let at = builder.bytes.len() - 20;
            builder.bytes[at] ^= 1;
            builder.raw(&[9; 70]);
        }),
        ("a block with another body, and a good one", (3, 1), (3, 1), |builder| {
            builder.events(1, &[Event::new(3, 30, "third")]);
            let at = builder.bytes.len() - 20;
            builder.bytes[at] ^= 1;
            builder.events(1, &[Event::new(4, 40, "fourth")]);
        }),
        ("a block that contradicts its header", (2, 1), (2, 1), |builder| {
            other(builder, &[Event::new(3, 30, "third")], |header, _| header.count = 2);
        }),
        ("a seal", (2, 0), (2, 0), |builder| {
            builder.seal();
        }),
        ("a seal, and zeros", (2, 1), (2, 1), |builder| {
            builder.seal().raw(&[0; 3]);
        }),
        ("a damaged seal", (2, 0), (2, 1), |builder| {
            typed(builder, 4, 0, &words(&[1, 2, 3]), true);
        }),
        ("a damaged seal, and zeros", (2, 0), (2, 2), |builder| {
            typed(builder, 4, 0, &words(&[1, 2, 3]), true);
            builder.raw(&[0; 3]);
        }),
        ("a seal that is too short, and zeros", (2, 1), (2, 2), |builder| {
            typed(builder, 4, 0, &words(&[1, 2]), false);
            builder.raw(&[0; 3]);
        }),
        ("events behind a seal, and zeros", (2, 0), (2, 1), |builder| {
            builder.seal().events(1, &[]).raw(&[0; 3]);
        }),
        ("a stretch without a block, and events", (3, 1), (3, 1), |builder| {
            builder.raw(&[7; 7]).events(1, &[Event::new(3, 30, "third")]);
        }),
    ];
    let mut wrong = Vec::new();
    for &(name, living, left, change) in cases {
        for (lives, expected) in [(true, living), (false, left)] {
            if catch_unwind(|| at_the_end(change, lives, expected)).is_err() {
                wrong.push(format!("{name}, the writer lives: {lives}"));
            }
        }
    }
    assert!(wrong.is_empty(), "see above: {wrong:#?}");
}

#[test]
fn both_readers_agree_about_what_is_no_segment() {
    type Make = fn(&Path);
    fn segment(number: u64) -> Builder {
        let mut builder = Builder::new(1, number);
        builder.events(number, &two()).seal();
        builder
    }
    fn changed(directory: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut builder = segment(1);
        change(&mut builder.bytes);
        builder.write(directory);
    }
    let cases: &[(&str, (usize, u64), Make)] = &[
        ("an empty directory", (0, 0), |_| {}),
        ("an empty file", (0, 0), |directory| changed(directory, Vec::clear)),
        ("the beginning of a header", (0, 1), |directory| changed(directory, |bytes| bytes.truncate(5))),
        ("most of a header", (0, 1), |directory| changed(directory, |bytes| bytes.truncate(191))),
        ("a short file that is none", (0, 1), |directory| {
            changed(directory, |bytes| *bytes = b"none".into())
        }),
        ("a longer file that is none", (0, 1), |directory| changed(directory, |bytes| bytes.fill(7))),
        ("a header alone", (0, 0), |directory| changed(directory, |bytes| bytes.truncate(MIN_SIZE))),
        ("another byte order", (0, 1), |directory| changed(directory, |bytes| bytes[8..12].reverse())),
        ("no byte order", (0, 1), |directory| changed(directory, |bytes| bytes[8] = 9)),
        ("version 0", (0, 1), |directory| changed(directory, |bytes| bytes[12] = 0)),
        ("version 2", (0, 1), |directory| changed(directory, |bytes| bytes[12] = 2)),
        ("a header longer than the file", (0, 1), |directory| {
            changed(directory, |bytes| bytes[16..20].copy_from_slice(&4096_u32.to_le_bytes()));
        }),
        ("a header of 200 bytes", (0, 1), |directory| changed(directory, |bytes| bytes[16] = 200)),
        ("a damaged header", (0, 1), |directory| changed(directory, |bytes| bytes[90] ^= 1)),
        ("a long name of the program", (2, 0), |directory| {
            let header = capture_pipeline::journal::format::segment::SegmentHeader {
                program: vec![b'p'; 3000],
                ..segment(1).header
            };
            Builder::with_header(header).events(1, &two()).seal().write(directory);
        }),
        ("other names", (2, 0), |directory| {
            let bytes = segment(1).bytes;
            for name in [
                "0000000000000001-1.journal",
                "0000000000000001-000000001.journal",
                "000000000000000A-00000001.journal",
                "0000000000000001-00000001.journal~",
                "0000000000000001-00000001.JOURNAL",
                "00000000000000001-00000001.journal",
                "lock",
            ] {
                std::fs::write(directory.join(name), &bytes).expect("a file");
            }
            std::fs::write(directory.join(file_name(10, 123_456_789)), &bytes).expect("a file");
        }),
        ("a name of another generation and number", (4, 1), |directory| {
            // The first one by the names is the one that counts.
            let mut other = segment(1);
            other.header.number = 2;
            let mut builder = Builder::with_header(other.header);
            builder.events(1, &[two()[0].clone().kind(9)]).events(2, &two()).seal();
            std::fs::write(directory.join(file_name(0, 7)), &builder.bytes).expect("a file");
            segment(1).write(directory);
        }),
        ("a directory with the name of a segment", (2, 1), |directory| {
            std::fs::create_dir(directory.join(file_name(1, 9))).expect("a directory");
            segment(1).write(directory);
        }),
        ("a segment that is there twice, by a link", (2, 0), |directory| {
            let path = segment(1).write(directory);
            std::os::unix::fs::symlink(path, directory.join(file_name(1, 2))).expect("a link");
        }),
        ("segments in the order of their numbers", (2, 2), |directory| {
            for number in [100_000_000, 99_999_999] {
                let mut builder = Builder::new(1, number);
                builder.events(1, &two().map(|event| event.kind(number as u32))).seal().write(directory);
            }
        }),
    ];
    agree(cases);
}
