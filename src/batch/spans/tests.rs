use super::*;
use crate::event::{PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_PRIORITY};
use crate::ring::record::{TICKS, Tag};

const OWN: u32 = PIPELINE_EVENT_OWN_TIME;

/// Two clock pieces: readings below 2,000 are 49,000 ns ahead, and those from there on take two nanoseconds each.
const PIECES: [Piece; 2] = [
    Piece { start: 1_000, end: 2_000, ns: 50_000, rate: 1 << 48 },
    Piece { start: 2_000, end: 9_000, ns: 51_000, rate: 2 << 48 },
];

/// The bytes of a record whose fields follow from its sequence number. Its padding is not zero.
fn record(sequence: u64, flags: u32, timestamp: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Tag::event(payload.len(), flags).0.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&(sequence as u32 + 100).to_ne_bytes());
    bytes.extend_from_slice(&2.5_f32.to_ne_bytes());
    for word in [sequence, timestamp, sequence + 200, sequence + 300] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0xEE);
    bytes
}

/// The memory of a batch, and the batch. Its first span lies in two parts, its second in one.
fn batch() -> (Vec<Vec<u8>>, SpanBatch) {
    let first = [record(7, TICKS, 1_010, b"seven"), record(8, TICKS | PIPELINE_EVENT_PRIORITY, 2_010, b"")];
    let (front, back) = (first.concat(), record(10, 0, 77_000, b"ten, and more than a word"));
    let other = [record(0, OWN, 5, b"nil"), record(1, OWN, u64::MAX, b"one")].concat();
    let memory = vec![front, back, other];
    let part = |n: usize| (memory[n].as_ptr(), memory[n].len());
    let mut batch = SpanBatch::default();
    batch.spans.push(KeptSpan {
        ring_id: 3,
        parts: [part(0), part(1)],
        count: 3,
        flags: TICKS | PIPELINE_EVENT_PRIORITY,
        sequences: (7, 10),
        times: (50_010, 77_000),
        pieces: 0..2,
        marks: 0..0,
    });
    batch.spans.push(KeptSpan {
        ring_id: 4,
        parts: [part(2), (memory[2].as_ptr(), 0)],
        count: 2,
        flags: OWN,
        sequences: (0, 1),
        times: (5, u64::MAX),
        pieces: 2..2,
        marks: 0..0,
    });
    batch.pieces.extend(PIECES);
    (memory, batch)
}

/// What an event is: ring, sequence, time, kind, flags, ids, payload.
type Shown = (u64, u64, u64, u32, u32, (u64, u64), Vec<u8>);

fn shown(view: &EventView) -> Shown {
    assert_eq!(view.weight, 2.5);
    let ids = (view.correlation_id, view.node_id);
    (view.ring_id, view.sequence, view.timestamp_ns, view.kind, view.flags, ids, view.payload().to_vec())
}

fn wanted() -> [Shown; 5] {
    [
        (3, 7, 50_010, 107, 0, (207, 307), b"seven".to_vec()),
        (3, 8, 51_020, 108, PIPELINE_EVENT_PRIORITY, (208, 308), Vec::new()),
        (3, 10, 77_000, 110, 0, (210, 310), b"ten, and more than a word".to_vec()),
        (4, 0, 5, 100, OWN, (200, 300), b"nil".to_vec()),
        (4, 1, u64::MAX, 101, OWN, (201, 301), b"one".to_vec()),
    ]
}

fn head(token: u64, attempt: u32) -> BatchView {
    BatchView {
        pipeline_id: 1,
        generation: 2,
        batch_id: 5,
        token,
        attempt,
        writer_id: 9,
        ..BatchView::default()
    }
}

#[test]
fn the_views_are_the_records_of_all_spans_in_their_order() {
    let (_memory, batch) = batch();
    assert_eq!((batch.count(), batch.flags()), (5, TICKS | PIPELINE_EVENT_PRIORITY | OWN));
    let spans: Vec<_> =
        batch.spans().map(|span| (span.ring_id, span.pieces.len(), span.read().count())).collect();
    assert_eq!(spans, [(3, 2, 3), (4, 0, 2)]);
    let view = batch.view().expect("memory");
    assert_eq!(view.events().iter().map(shown).collect::<Vec<_>>(), wanted());
    // The payloads are where they were.
    let lies =
        |view: &EventView| _memory.iter().any(|bytes| bytes.as_ptr_range().contains(&view.data.cast()));
    assert!(view.events().iter().filter(|view| view.len > 0).all(lies));
    let times: Vec<u64> = batch.spans().flat_map(|span| span.read().map(move |r| span.time(&r))).collect();
    assert_eq!(times, wanted().map(|event| event.2));
}

#[test]
fn views_are_appended_behind_others() {
    let (_memory, batch) = batch();
    let mut events = Vec::new();
    batch.append_views(&mut events).expect("memory");
    batch.append_views(&mut events).expect("memory");
    let twice = [wanted(), wanted()].concat();
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), twice);
}

#[test]
fn the_views_are_made_once_and_carry_the_present_attempt() {
    let (_memory, mut batch) = batch();
    batch.begin_attempt(head(11, 1));
    assert_eq!((batch.token(), batch.attempt(), batch.batch_id(), batch.writer_id()), (11, 1, 5, 9));
    let first = *batch.view().expect("memory");
    assert_eq!((first.token, first.attempt, first.count, first.generation), (11, 1, 5, 2));
    assert!(std::ptr::eq(first.events, batch.view().expect("memory").events));
    batch.begin_attempt(head(12, 2));
    let second = *batch.view().expect("memory");
    assert_eq!((second.token, second.attempt, second.count), (12, 2, 5));
    assert!(std::ptr::eq(first.events, second.events), "they are not made again");
    assert_eq!(second.events().iter().map(shown).collect::<Vec<_>>(), wanted());
}

#[test]
fn what_is_used_again_has_nothing_of_before() {
    let (_memory, mut batch) = batch();
    batch.begin_attempt(head(11, 1));
    batch.view().expect("memory");
    batch.clear();
    assert_eq!((batch.count(), batch.flags(), batch.spans().count()), (0, 0, 0));
    assert!(batch.pieces.is_empty() && batch.marks.is_empty());
    let bytes = record(1, 0, 60, b"x");
    batch.spans.push(KeptSpan {
        ring_id: 6,
        parts: [(bytes.as_ptr(), bytes.len()), (bytes.as_ptr(), 0)],
        count: 1,
        flags: 0,
        sequences: (1, 1),
        times: (60, 60),
        pieces: 0..0,
        marks: 0..0,
    });
    batch.begin_attempt(head(13, 1));
    let view = *batch.view().expect("memory");
    assert_eq!((view.token, view.count, view.events()[0].ring_id), (13, 1, 6));
}
