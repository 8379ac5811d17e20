use super::*;
use crate::platform::sync::{AtomicBool, Ordering};
use crate::ring::memory::Memory;
use crate::ring::record::{HEADER, Head, Record, Records, Tag, stride};
use crate::ring::ring_buffer::{Cursor, Limits, Progress, RingBuffer};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CAPACITY: u64 = 4096;

/// The producer of a ring. Event `n` has the sequence `n`, and a payload of `n % 23` words that are all `n`.
struct Producer {
    ring: Arc<RingBuffer>,
    cursor: Cursor,
    next: u64,
}

impl Producer {
    fn new(capacity: u64) -> Self {
        let ring = Arc::new(RingBuffer::new(Memory::new(capacity).unwrap(), 8).unwrap());
        Self { cursor: ring.cursor(), ring, next: 0 }
    }

    /// Writes the next event; `overwrites`: in place of the oldest ones. `false`: there is no room.
    fn write(&mut self, overwrites: bool) -> bool {
        let (n, words) = (self.next, (self.next % 23) as usize);
        let need = stride(8 * words);
        let position = loop {
            match self.ring.room(&mut self.cursor, need) {
                Ok(position) => break position,
                Err(_) if !overwrites => return false,
                Err(missing) => self.ring.overwrite(&mut self.cursor, missing, |_| true, |_, _, _| ()),
            };
        };
        let payload = [n; 23];
        let head = Head { kind: 1, weight: 1.0, sequence: n, timestamp: n, correlation_id: n, node_id: n };
        // SAFETY: `room` gave the place, and the payload has so many bytes.
        unsafe {
            self.ring.write(position, Tag::event(8 * words, 0), &head);
            self.ring.write_payload(position, payload.as_ptr().cast(), 8 * words);
        }
        self.ring.publish(&mut self.cursor, position + need);
        self.next += 1;
        true
    }
}

/// Copies a ring from its beginning.
fn take(copies: &mut Copies, ring: &RingBuffer) -> Option<Copied> {
    copies.take(ring, &mut Progress::default())
}

/// The sequences in a copy. Each record is whole.
fn sequences(mut bytes: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(&tag) = bytes.first_chunk() {
        let tag = Tag(u64::from_ne_bytes(tag));
        if !tag.is_pad() {
            let Record { head, payload, .. } = Records::new(bytes).next().expect("a whole record");
            let n = head.sequence;
            assert_eq!((head.timestamp, head.correlation_id, head.node_id), (n, n, n));
            assert_eq!(payload.len(), 8 * (n % 23) as usize);
            assert!(payload.chunks(8).all(|word| word == n.to_ne_bytes()), "the payload of {n}");
            found.push(n);
        }
        bytes = &bytes[tag.stride() as usize..];
    }
    assert!(found.windows(2).all(|two| two[0] + 1 == two[1]), "no gap: {found:?}");
    found
}

#[test]
fn a_copy_has_what_is_published_and_not_released() {
    let mut p = Producer::new(CAPACITY);
    let mut copies = Copies::new(CAPACITY as usize).unwrap();
    let all = Limits { events: 3, bytes: u64::MAX, exceed: true, alone: false, cover: CAPACITY };
    let mut settled = 0;
    for round in 0..200 {
        while p.write(false) {}
        copies.back_to(0);
        let copied = take(&mut copies, &p.ring).unwrap();
        let content = p.ring.content();
        assert_eq!(copies.bytes(&copied).len() as u64, content.end - content.start);
        assert_eq!(copied.passed, 0);
        assert_eq!(sequences(copies.bytes(&copied)), (settled..p.next).collect::<Vec<_>>(), "{round}");
        // What is claimed is there until it is settled.
        let span = p.ring.claim(&all).unwrap();
        copies.back_to(0);
        let copied = take(&mut copies, &p.ring).unwrap();
        assert_eq!(sequences(copies.bytes(&copied)).first(), Some(&settled));
        p.ring.settle(span.start);
        settled += u64::from(span.events);
    }
}

#[test]
fn copies_lie_behind_each_other_as_long_as_there_is_room() {
    let mut rings = [Producer::new(CAPACITY), Producer::new(CAPACITY), Producer::new(CAPACITY)];
    for (n, p) in rings.iter_mut().enumerate() {
        (0..=n).for_each(|_| assert!(p.write(false)));
    }
    let size = |n: u64| (0..=n).map(|each| HEADER + 8 * each).sum::<u64>() as usize;
    let mut copies = Copies::new(size(0) + size(1)).unwrap();
    let (first, mark) = (take(&mut copies, &rings[0].ring).unwrap(), copies.mark());
    let second = take(&mut copies, &rings[1].ring).unwrap();
    assert_eq!(take(&mut copies, &rings[2].ring), None);
    assert_eq!(sequences(copies.bytes(&first)), [0]);
    assert_eq!(sequences(copies.bytes(&second)), [0, 1]);
    copies.back_to(mark);
    assert_eq!(sequences(copies.bytes(&first)), [0]);
    assert!(copies.bytes(&second).is_empty(), "its memory is used again");
}

/// Less memory than the ring has: each part ends anywhere, and the next one begins behind its last whole record.
#[test]
fn a_copy_in_parts_has_each_record_once() {
    let mut p = Producer::new(CAPACITY);
    while p.write(false) {}
    for bytes in [512, 1024, 4000, 4096] {
        let (mut copies, mut progress) = (Copies::new(bytes).unwrap(), Progress::default());
        let (mut found, mut parts) = (Vec::new(), 0);
        loop {
            copies.back_to(0);
            let copied = copies.take(&p.ring, &mut progress).unwrap();
            let part = copies.bytes(&copied);
            let whole = whole(part);
            found.extend(sequences(&part[..whole]));
            progress.used(whole as u64);
            parts += 1;
            if copied.last {
                assert_eq!(whole, part.len());
                break;
            }
        }
        assert_eq!(found, (0..p.next).collect::<Vec<_>>());
        assert!(parts >= CAPACITY as usize / bytes, "{parts} parts of {bytes}");
    }
}

/// Where the last whole record or pad ends.
fn whole(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&tag) = bytes[at..].first_chunk() {
        let end = at + Tag(u64::from_ne_bytes(tag)).stride() as usize;
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}

/// The copy is discarded where the producer overwrites it, and nothing else of it is.
#[test]
#[cfg_attr(miri, ignore)] // which would report the race that the assembly hides from the language
fn a_copy_beside_a_producer_that_overwrites_has_whole_records_up_to_the_newest() {
    const LARGE: u64 = 1 << 17;
    let (mut p, stop) = (Producer::new(LARGE), Arc::new(AtomicBool::new(false)));
    let (ring, stops) = (Arc::clone(&p.ring), Arc::clone(&stop));
    let producer = std::thread::spawn(move || {
        while !stops.load(Ordering::Relaxed) {
            assert!(p.write(true));
        }
        p.next
    });
    let mut copies = Copies::new(LARGE as usize).unwrap();
    let (mut newest, mut passed, mut events) = (0, 0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while (events < 100_000 || passed < 20) && Instant::now() < deadline {
        copies.back_to(0);
        let copied = take(&mut copies, &ring).unwrap();
        let found = sequences(copies.bytes(&copied));
        passed += u64::from(copied.passed != 0);
        if let Some(&last) = found.last() {
            assert!(last >= newest);
            newest = last;
        }
        events += found.len();
    }
    stop.store(true, Ordering::Relaxed);
    let written = producer.join().unwrap();
    assert!(newest <= written && events > 0);
    assert!(passed >= 20, "the test means something only if copies were overwritten");
}
