//! The log on one thread: how much room there is, how much a claim takes, what is overwritten, which event is the oldest. What
//! producer and writers do to each other is for loom and the simulator.

use super::*;
use crate::ring::record::stride;

const CAPACITY: u64 = 256;
const ALL: Limits = Limits { events: 100, bytes: 1 << 20, exceed: true, alone: false, cover: CAPACITY };

/// A log and its producer. Event `n` has the sequence number `n`, the timestamp 1000 + `n` and the flags `n`.
struct Written {
    log: Log,
    cursor: Cursor,
    next: u64,
}

impl Written {
    /// With an event of each of these lengths, for which there is room.
    fn new(lengths: &[usize]) -> Self {
        let mut this =
            Self { log: Log::new(Memory::new(CAPACITY).unwrap(), 8), cursor: Cursor::default(), next: 0 };
        this.cursor = this.log.cursor();
        for &len in lengths {
            this.write(len).unwrap();
        }
        this
    }

    fn write(&mut self, len: usize) -> Result<u64, u64> {
        let position = self.log.room(&mut self.cursor, stride(len))?;
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
        // SAFETY: nobody else uses the log.
        unsafe { self.log.write(position, tag, &head) };
        self.log.publish(&mut self.cursor, end);
    }

    /// Overwrites for `missing` bytes as long as `may` allows; the events that went, and those that it was asked about.
    fn overwrite(&mut self, missing: u64, may: impl Fn(u64) -> bool) -> (Vec<u64>, Vec<u64>) {
        let (mut gone, mut asked) = (Vec::new(), Vec::new());
        let count = self.log.overwrite(
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
        self.log.claim(&Limits { events, ..ALL }).expect("something to claim")
    }
}

/// The oldest event's timestamp and flags.
fn oldest(w: &Written) -> Option<(u64, u32)> {
    w.log.oldest().map(|(tag, time)| (time, tag.flags()))
}

fn oldest_unclaimed(w: &Written) -> Option<(u64, u32)> {
    w.log.oldest_unclaimed().map(|(tag, time)| (time, tag.flags()))
}

#[test]
fn there_is_room_to_the_last_byte_and_what_is_missing_is_told_exactly() {
    let mut w = Written::new(&[0, 0, 0, 64]);
    assert_eq!((w.log.head(), w.cursor.limit), (CAPACITY, CAPACITY));
    assert_eq!((w.write(0), w.write(8)), (Err(48), Err(56)));
    let first = w.claim(1);
    assert!(w.log.settle(first.start));
    assert_eq!(w.write(8), Err(8));
    assert_eq!(w.write(0), Ok(CAPACITY));
}

#[test]
fn a_record_never_wraps_and_the_pad_before_it_is_nobodys_event() {
    let mut w = Written::new(&[0, 0, 0, 0, 0]);
    let five = w.claim(5);
    w.log.settle(five.start);
    assert_eq!(w.write(0), Ok(CAPACITY), "16 bytes before the end are left");
    assert_eq!(oldest_unclaimed(&w), Some((1005, 5)));
    let sixth = w.claim(5);
    assert_eq!((sixth.start, sixth.end, sixth.events), (240, CAPACITY + 48, 1));
    assert_eq!(oldest(&w), Some((1005, 5)));
    let mut shown = Vec::new();
    w.log.read(&sixth, |_, head, _| shown.push(head.sequence));
    assert_eq!(shown, [5]);
}

#[test]
fn a_claim_takes_what_its_limits_allow_and_one_event_at_least_where_it_may() {
    let claims = |limits: Limits| Written::new(&[8, 8, 8, 8]).log.claim(&limits);
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
    let claims: Vec<Option<Span>> = (0..3).map(|_| w.log.claim(&limits)).collect();
    assert_eq!(claims.iter().flatten().count(), 2, "{claims:?}");
    assert!(!w.log.is_claimable(112) && w.log.is_claimable(113));
    assert!(w.log.settle(0));
    assert!(w.log.is_claimable(112));
    assert_eq!(w.log.claim(&limits).map(|s| s.start), Some(112));
}

#[test]
fn a_walk_ends_at_what_cannot_be_a_record() {
    for nonsense in [Tag::event(4096, 0), Tag::pad(4096), Tag::pad(9), Tag::pad(0)] {
        let mut w = Written::new(&[0]);
        w.put(48, nonsense, 144);
        assert_eq!(w.log.claim(&ALL).map(|s| (s.end, s.events)), Some((48, 1)), "{nonsense:?}");
        assert_eq!(w.log.claim(&ALL), None, "{nonsense:?}");
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
    // Now the pad goes, of which nobody is asked.
    assert_eq!(w.write(72), Err(112));
    assert_eq!(w.overwrite(112, |_| true), (vec![3, 4], vec![3, 4]));
    assert_eq!(w.write(72), Ok(CAPACITY + 136));
    assert_eq!(oldest(&w), Some((1005, 5)));
    // More than there is: all of it, and no more.
    assert_eq!(w.overwrite(10_000, |_| true).0, [5, 6, 7]);
    assert!(!w.log.has_unclaimed());
    assert_eq!(w.log.released(), w.log.head());
}

#[test]
fn overwriting_ends_where_it_is_told_to_and_at_what_is_claimed() {
    let mut w = Written::new(&[0, 0, 0, 0, 0]);
    assert_eq!(w.overwrite(256, |n| n < 2), (vec![0, 1], vec![0, 1, 2]));
    let third = w.claim(1);
    assert_eq!(w.overwrite(256, |_| true), (vec![], vec![]));
    assert_eq!(w.log.released(), third.start);
    assert!(w.log.settle(third.start));
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
    assert!(!w.log.settle(second.start), "the first is not settled");
    assert_eq!(times(&w), (Some(1000), None));
    assert!(w.log.settle(first.start));
    assert_eq!(times(&w), (None, None));
}
