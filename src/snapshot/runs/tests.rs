use super::*;
use crate::journal::format::record::{Record, stride};

/// Records with these sequences, flags and payload lengths, and pads (their length) between them.
enum Item {
    Event(u64, u32, usize),
    Pad(u64),
}
use Item::{Event, Pad};

fn bytes(items: &[Item]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        match *item {
            Event(sequence, flags, len) => Record {
                flags,
                kind: 1,
                sequence,
                timestamp: 100 + sequence,
                payload: &vec![7; len],
                ..Record::default()
            }
            .encode(&mut bytes),
            Pad(len) => {
                bytes.extend_from_slice(&Tag::pad(len).0.to_ne_bytes());
                bytes.resize(bytes.len() + len as usize - 8, 0xFF);
            }
        }
    }
    bytes
}

/// First and last sequence, count, flags, and the lengths of both parts.
type Seen = (u64, u64, u32, u32, [usize; 2]);

fn runs(bytes: &[u8]) -> (Vec<Seen>, u64, usize) {
    let mut runs = Runs::from(bytes, 0);
    let seen = runs.by_ref().map(|run| {
        let parts = run.parts.clone().map(|part| part.len());
        (run.first_sequence, run.last_sequence, run.count, run.flags, parts)
    });
    let seen = seen.collect();
    (seen, runs.left_out, runs.damaged())
}

#[test]
fn records_are_divided_at_pads_handles_and_the_size_of_a_block() {
    let h = PIPELINE_EVENT_RELEASE;
    let of = |items: &[Item]| runs(&bytes(items));
    assert_eq!(of(&[]), (vec![], 0, 0));
    assert_eq!(of(&[Event(4, 1, 0), Event(9, 2, 8)]), (vec![(4, 9, 2, 3, [104, 0])], 0, 0));
    // One pad lies in a block, at most: there are two parts.
    assert_eq!(of(&[Event(1, 0, 0), Pad(16), Event(2, 0, 0)]), (vec![(1, 2, 2, 0, [48, 48])], 0, 0));
    let two =
        [Pad(8), Event(1, 0, 0), Pad(16), Event(2, 0, 0), Event(3, 0, 0), Pad(8), Event(4, 0, 0), Pad(8)];
    assert_eq!(of(&two), (vec![(1, 3, 3, 0, [48, 96]), (4, 4, 1, 0, [48, 0])], 0, 0));
    // Handles are in no block.
    let handles =
        [Event(1, h, 8), Event(2, 0, 0), Event(3, h, 8), Event(4, h | 1, 8), Event(5, 0, 0), Event(6, h, 0)];
    assert_eq!(of(&handles), (vec![(2, 2, 1, 0, [48, 0]), (5, 5, 1, 0, [48, 0])], 4, 0));
    assert_eq!(of(&[Event(1, h, 8), Pad(8)]), (vec![], 1, 0));
    // In a block sequences rise.
    assert_eq!(of(&[Event(5, 0, 0), Event(5, 0, 0)]).0.len(), 2);
    let large = MAX_RAW_BODY as usize;
    assert_eq!(of(&[Event(1, 0, large - 96), Event(2, 0, 0)]).0.len(), 1);
    assert_eq!(of(&[Event(1, 0, large - 95), Event(2, 0, 0)]).0.len(), 2);
    assert_eq!(of(&[Event(1, 0, 2 * large), Event(2, 0, 0)]).0.len(), 2);
}

#[test]
fn what_is_no_record_ends_the_runs_and_is_counted() {
    let good = bytes(&[Event(1, 0, 0), Event(2, 0, 8)]);
    for bad in [0u64, 1, 7, 100, u64::from(u32::MAX), Tag::pad(0).0, Tag::pad(12).0, Tag::pad(1 << 20).0] {
        let damaged = [&good[..], &bad.to_ne_bytes(), &[0; 16]].concat();
        assert_eq!(runs(&damaged), (vec![(1, 2, 2, 0, [104, 0])], 0, 24), "{bad:#x}");
    }
    for cut in 0..good.len() {
        let (seen, _, damaged) = runs(&good[..cut]);
        let whole = if cut < 48 { 0 } else { 48 };
        assert_eq!((seen.len(), damaged), (whole / 48, cut - whole), "{cut}");
    }
}

#[test]
fn times_are_written_in_place_of_readings_and_of_nothing_else() {
    let mut bytes = bytes(&[Event(1, TICKS | 1, 5), Pad(8), Event(2, 2, 0), Event(3, TICKS, 9)]);
    let run = Runs::from(&bytes, 0).next().unwrap();
    let stamps = run.stamps;
    assert_eq!((stamps.readings.0, stamps.times.0), (Some((101, 103)), None));
    set_times(&mut bytes, &run, |ticks| 1000 * ticks);
    let record = |at| Record::decode(&bytes, at).unwrap().0;
    let told = |at| (record(at).flags, record(at).timestamp, record(at).sequence);
    let second = stride(5) + 8;
    assert_eq!(told(0), (1, 101_000, 1));
    assert_eq!(told(second), (2, 102, 2));
    assert_eq!(told(second + stride(0)), (0, 103_000, 3));
    assert_eq!(record(0).payload, [7; 5]);
}
