//! A ring buffer on one thread: how much room there is, how much a claim takes, what is overwritten, which event is the oldest. What
//! producer and writers do to each other is for loom and the simulator.

use super::*;
use crate::ring::record::{Records, stride};

const CAPACITY: u64 = 256;
const ALL: Limits = Limits { events: 100, bytes: 1 << 20, exceed: true, alone: false, cover: CAPACITY };

/// A ring buffer and its producer. Event `n` has the sequence number `n`, the timestamp 1000 + `n` and the flags `n`.
struct Written {
    buffer: RingBuffer,
    cursor: Cursor,
    next: u64,
}

impl Written {
    /// With an event of each of these lengths, for which there is room.
    fn new(lengths: &[usize]) -> Self {
        let mut this = Self {
            buffer: RingBuffer::new(Memory::new(CAPACITY).unwrap(), 8).unwrap(),
            cursor: Cursor::default(),
            next: 0,
        };
        this.cursor = this.buffer.cursor();
        for &len in lengths {
            this.write(len).unwrap();
        }
        this
    }

    fn write(&mut self, len: usize) -> Result<u64, u64> {
        let position = self.buffer.room(&mut self.cursor, stride(len))?;
        self.put(position, Tag::event(len, self.next as u32), position + stride(len));
        self.next += 1;
        Ok(position)
    }

    fn put(&mut self, position: u64, tag: Tag, end: u64) {
        let head = Head {
            kind: 0,
            weight: 1.0,
            sequence: self.next,
            timestamp: 1000 + self.next,
            correlation_id: 0,
            node_id: 0,
        };
        // SAFETY: no other thread uses the buffer.
        unsafe { self.buffer.write(position, tag, &head) };
        self.buffer.publish(&mut self.cursor, end);
    }

    /// Overwrites for `missing` bytes as long as `may` allows; the events that went, and those that it was asked about.
    fn overwrite(&mut self, missing: u64, may: impl Fn(u64) -> bool) -> (Vec<u64>, Vec<u64>) {
        let (mut gone, mut asked) = (Vec::new(), Vec::new());
        let count = self.buffer.overwrite(
            &mut self.cursor,
            missing,
            |tag| {
                asked.push(tag.flags().into());
                may(tag.flags().into())
            },
            |_, head, _| gone.push(head.sequence),
        );
        assert_eq!(count, gone.len() as u64);
        (gone, asked)
    }

    fn claim(&self, events: u32) -> Span {
        self.buffer.claim(&Limits { events, ..ALL }).expect("something to claim")
    }
}

/// The oldest event's timestamp and flags.
fn oldest(w: &Written) -> Option<(u64, u32)> {
    w.buffer.oldest().map(|(tag, time)| (time, tag.flags()))
}

fn oldest_unclaimed(w: &Written) -> Option<(u64, u32)> {
    w.buffer.oldest_unclaimed().map(|(tag, time)| (time, tag.flags()))
}

#[test]
fn there_is_room_to_the_last_byte_and_the_missing_bytes_are_exact() {
    let mut w = Written::new(&[0, 0, 0, 64]);
    assert_eq!((w.buffer.head(), w.cursor.limit), (CAPACITY, CAPACITY));
    assert_eq!((w.write(0), w.write(8)), (Err(48), Err(56)));
    let first = w.claim(1);
    assert!(w.buffer.settle(first.start));
    assert_eq!(w.write(8), Err(8));
    assert_eq!(w.write(0), Ok(CAPACITY));
}

#[test]
fn a_record_never_wraps_and_the_pad_before_it_is_no_event() {
    let mut w = Written::new(&[0, 0, 0, 0, 0]);
    let five = w.claim(5);
    w.buffer.settle(five.start);
    assert_eq!(w.write(0), Ok(CAPACITY), "16 bytes before the end are left");
    assert_eq!(oldest_unclaimed(&w), Some((1005, 5)));
    let sixth = w.claim(5);
    assert_eq!((sixth.start, sixth.end, sixth.events), (240, CAPACITY + 48, 1));
    assert_eq!(oldest(&w), Some((1005, 5)));
    let mut shown = Vec::new();
    w.buffer.read(&sixth, |_, head, _| shown.push(head.sequence));
    assert_eq!(shown, [5]);
}

#[test]
fn a_claim_takes_what_its_limits_allow_and_one_event_at_least_where_it_may() {
    let claims = |limits: Limits| Written::new(&[8, 8, 8, 8]).buffer.claim(&limits);
    for (limits, events) in [
        (ALL, 4),
        (Limits { events: 2, ..ALL }, 2),
        (Limits { bytes: 24, ..ALL }, 3),
        (Limits { bytes: 23, ..ALL }, 2),
        (Limits { bytes: 16, exceed: false, ..ALL }, 2),
        (Limits { bytes: 7, ..ALL }, 1),
        (Limits { cover: 112, ..ALL }, 2),
        (Limits { cover: 111, ..ALL }, 1),
        (Limits { cover: 1, ..ALL }, 1),
    ] {
        let span = claims(limits).expect("something to claim");
        assert_eq!((span.start, span.events), (0, events), "{limits:?}");
        assert_eq!((span.end, span.bytes), (u64::from(events) * 56, u64::from(events) * 8), "{limits:?}");
    }
    for limits in [Limits { events: 0, ..ALL }, Limits { bytes: 7, exceed: false, ..ALL }] {
        assert_eq!(claims(limits), None, "{limits:?}");
    }
}

#[test]
fn claims_together_cover_no_more_than_they_may_until_one_is_released() {
    let w = Written::new(&[8, 8, 8, 8]);
    let limits = Limits { events: 1, cover: 112, ..ALL };
    let claims: Vec<Option<Span>> = (0..3).map(|_| w.buffer.claim(&limits)).collect();
    assert_eq!(claims.iter().flatten().count(), 2, "{claims:?}");
    assert!(!w.buffer.is_claimable(112) && w.buffer.is_claimable(113));
    assert!(w.buffer.settle(0));
    assert!(w.buffer.is_claimable(112));
    assert_eq!(w.buffer.claim(&limits).map(|s| s.start), Some(112));
}

#[test]
fn a_walk_ends_at_a_tag_that_cannot_be_a_record() {
    for nonsense in [Tag::event(4096, 0), Tag::pad(4096), Tag::pad(9), Tag::pad(0)] {
        let mut w = Written::new(&[0]);
        w.put(48, nonsense, 144);
        assert_eq!(w.buffer.claim(&ALL).map(|s| (s.end, s.events)), Some((48, 1)), "{nonsense:?}");
        assert_eq!(w.buffer.claim(&ALL), None, "{nonsense:?}");
    }
}

#[test]
fn overwriting_takes_the_oldest_and_no_more_than_it_must() {
    let mut w = Written::new(&[0, 0, 0, 0, 0]);
    assert_eq!(w.write(0), Err(48));
    assert_eq!(w.overwrite(48, |_| true), (vec![0], vec![0]));
    assert_eq!(w.write(0), Ok(CAPACITY));
    assert_eq!(w.write(40), Err(88));
    assert_eq!(w.overwrite(88, |_| true), (vec![1, 2], vec![1, 2]));
    assert_eq!(w.write(40), Ok(CAPACITY + 48));
    // Now the pad goes, without a question.
    assert_eq!(w.write(72), Err(112));
    assert_eq!(w.overwrite(112, |_| true), (vec![3, 4], vec![3, 4]));
    assert_eq!(w.write(72), Ok(CAPACITY + 136));
    assert_eq!(oldest(&w), Some((1005, 5)));
    // More than there is: all of it, and no more.
    assert_eq!(w.overwrite(10_000, |_| true).0, [5, 6, 7]);
    assert!(!w.buffer.has_unclaimed());
    assert_eq!(w.buffer.released(), w.buffer.head());
}

#[test]
fn overwriting_ends_where_it_is_refused_and_at_claimed_events() {
    let mut w = Written::new(&[0, 0, 0, 0, 0]);
    assert_eq!(w.overwrite(256, |n| n < 2), (vec![0, 1], vec![0, 1, 2]));
    let third = w.claim(1);
    assert_eq!(w.overwrite(256, |_| true), (vec![], vec![]));
    assert_eq!(w.buffer.released(), third.start);
    assert!(w.buffer.settle(third.start));
    assert_eq!(w.overwrite(256, |_| true).0, [3, 4]);
}

#[test]
fn the_oldest_event_is_the_first_that_is_not_released_claimed_or_not() {
    let times = |w: &Written| (oldest(w).map(|o| o.0), oldest_unclaimed(w).map(|o| o.0));
    let mut w = Written::new(&[]);
    assert_eq!(times(&w), (None, None));
    w.write(0).unwrap();
    w.write(8).unwrap();
    assert_eq!(times(&w), (Some(1000), Some(1000)));
    let first = w.claim(1);
    assert_eq!(times(&w), (Some(1000), Some(1001)));
    assert_eq!(oldest_unclaimed(&w), Some((1001, 1)), "with its flags");
    let second = w.claim(1);
    assert_eq!(times(&w), (Some(1000), None));
    assert!(!w.buffer.settle(second.start), "the first is not settled");
    assert_eq!(times(&w), (Some(1000), None));
    assert!(w.buffer.settle(first.start));
    assert_eq!(times(&w), (None, None));
}

// ---- whole records ----

/// Limits of a claim of whole records.
const WHOLE: Limits = Limits { events: u32::MAX, bytes: u64::MAX, ..ALL };

/// Offset and length of each part of a span.
type Parts = [(usize, usize); 2];

/// Claims whole records: the span, and where its parts lie in memory: offset and length.
fn claim_whole(w: &Written, limits: &Limits) -> Option<(Span, Layout, Parts)> {
    let (span, layout) = w.buffer.claim_whole(limits, &mut Vec::new())?;
    let base = w.buffer.memory.start().cast_const();
    let parts = w.buffer.parts(&span, &layout).map(|(at, len)| (at.addr() - base.addr(), len));
    Some((span, layout, parts))
}

/// The sequence numbers of the records in the bytes of a span.
fn sequences(w: &Written, span: &Span, layout: &Layout) -> Vec<u64> {
    let mut all = Vec::new();
    for (at, len) in w.buffer.parts(span, layout) {
        // SAFETY: claimed, and not settled before the end of this function.
        let bytes = unsafe { std::slice::from_raw_parts(at, len) };
        all.extend(Records::new(bytes).map(|record| record.head.sequence));
    }
    all
}

#[test]
fn the_bytes_of_a_span_are_those_of_its_records_and_no_pads_wherever_it_lies() {
    // Records of 56, 64 and 48 bytes; the memory ends at 256.
    // Before it, records that are claimed and settled alone; the records; the parts.
    type Case = (&'static [usize], &'static [usize], Parts);
    let cases: [Case; 7] = [
        (&[], &[8, 16, 0], [(0, 168), (168, 0)]),
        // Up to the last byte, without a pad.
        (&[8, 8], &[24, 24, 0], [(112, 144), (0, 48)]),
        // A pad of 40 bytes, in the middle of the span.
        (&[0, 0, 0], &[24, 8], [(144, 72), (0, 56)]),
        // The pad of 40 bytes comes first.
        (&[0, 0, 0, 24], &[8, 0], [(0, 104), (104, 0)]),
        // The span begins where the memory does, on its second lap.
        (&[16, 16, 16, 16], &[0, 0], [(0, 96), (96, 0)]),
        // One record up to the last byte.
        (&[16, 16, 16], &[16], [(192, 64), (0, 0)]),
        // It ends before a pad.
        (&[0, 0, 0], &[24], [(144, 72), (216, 0)]),
    ];
    for (before, lengths, wanted) in cases {
        let mut w = Written::new(before);
        while let Some(span) = w.buffer.claim(&ALL) {
            w.buffer.settle(span.start);
        }
        lengths.iter().for_each(|&len| assert!(w.write(len).is_ok(), "{before:?} {lengths:?}"));
        if wanted == [(144, 72), (216, 0)] {
            // What follows, behind the pad, is not claimed.
            w.write(8).unwrap();
        }
        let limits = if wanted == [(144, 72), (216, 0)] { Limits { bytes: 72, ..WHOLE } } else { WHOLE };
        let (span, layout, parts) = claim_whole(&w, &limits).unwrap();
        assert_eq!(parts.map(|part| part.1), wanted.map(|part| part.1), "{before:?} {lengths:?}");
        assert_eq!(parts[0].0, wanted[0].0, "{before:?} {lengths:?}");
        assert!(parts[1].1 == 0 || parts[1].0 == wanted[1].0);
        let first = before.len() as u64;
        let all: Vec<u64> = (first..first + lengths.len() as u64).collect();
        assert_eq!(sequences(&w, &span, &layout), all, "{before:?} {lengths:?}");
        assert_eq!(span.bytes, lengths.iter().sum::<usize>() as u64, "payload bytes");
        // The first and the last record, and the flags of all.
        let number = |at: u64| w.buffer.header(at).1.sequence;
        assert_eq!(
            (number(w.buffer.first(&span, &layout)), number(layout.last)),
            (all[0], all[all.len() - 1])
        );
        assert_eq!(layout.flags, all.iter().fold(0, |union, &n| union | n as u32));
    }
}

#[test]
fn a_claim_of_whole_records_is_limited_by_their_bytes_and_takes_one_in_any_case() {
    // Of 56, 64, 48 and 48 bytes.
    for (bytes, exceed, wanted) in [
        (216, false, 4),
        (215, false, 3),
        (168, false, 3),
        (167, true, 2),
        (120, true, 2),
        (119, true, 1),
        (56, false, 1),
        (55, true, 1),
        (0, true, 1),
        (55, false, 0),
    ] {
        let w = Written::new(&[8, 16, 0, 0]);
        let claimed = claim_whole(&w, &Limits { bytes, exceed, ..WHOLE });
        assert_eq!(claimed.map_or(0, |(span, ..)| span.events), wanted, "{bytes} {exceed}");
    }
    // A pad counts: 72 bytes, 40 of pad, 56 bytes.
    for (bytes, wanted) in [(168, 2), (167, 1)] {
        let mut w = Written::new(&[0, 0, 0]);
        w.buffer.settle(w.claim(3).start);
        [24, 8].iter().for_each(|&len| assert!(w.write(len).is_ok()));
        assert_eq!(claim_whole(&w, &Limits { bytes, ..WHOLE }).unwrap().0.events, wanted, "{bytes}");
    }
}

#[test]
fn every_sixteenth_record_of_a_claim_is_marked_as_long_as_there_is_room() {
    let capacity = 4096;
    let mut w = Written {
        buffer: RingBuffer::new(Memory::new(capacity).unwrap(), 8).unwrap(),
        cursor: Cursor::default(),
        next: 0,
    };
    w.cursor = w.buffer.cursor();
    (0..50).for_each(|_| assert!(w.write(0).is_ok()));
    let limits = Limits { bytes: 20 * 48 + 47, cover: capacity, ..WHOLE };
    let mut marks = Vec::with_capacity(6);
    marks.push(7);
    let room = marks.capacity();
    let (span, _) = w.buffer.claim_whole(&limits, &mut marks).unwrap();
    assert_eq!((span.start, &marks[..]), (0, &[7, 0, 16 * 48][..]));
    let (span, _) = w.buffer.claim_whole(&Limits { bytes: u64::MAX, ..limits }, &mut marks).unwrap();
    assert_eq!(span.events, 30);
    assert_eq!(marks, [7, 0, 16 * 48, 20 * 48, 36 * 48]);
    // A list without room stays as it is.
    while marks.len() < room {
        marks.push(8);
    }
    w.buffer.settle(0);
    w.buffer.settle(span.start);
    assert!(w.write(0).is_ok());
    let before = marks.clone();
    assert!(w.buffer.claim_whole(&limits, &mut marks).is_some());
    assert_eq!((marks, room), (before, room));
}
