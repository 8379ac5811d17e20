//! Messages are made of batches as a storage sees them, and read again.

use super::{Encoder, Message, NotEncoded, Reader};
use crate::batch::BatchView;
use crate::event::{EventView, PIPELINE_EVENT_RELEASE, PIPELINE_KIND_THREAD};
use crate::facts::{Fact, Facts};
use crate::journal::format::block::codec;
use crate::status::{PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, PIPELINE_ERR_UNSUPPORTED};

const GENERATION: u64 = 0xFEDC_BA98_7654_3210;
const OFFSET: i64 = 1_000_000;
const CODECS: [Option<u8>; 4] = [None, Some(codec::NONE), Some(codec::LZ4), Some(codec::ZSTD)];

/// Events with their payloads, and a batch of them.
struct Events {
    payloads: Vec<Vec<u8>>,
    views: Vec<EventView>,
}

impl Events {
    /// Stretches of some rings: each a ring, a first sequence, and the lengths of payloads.
    fn new(stretches: &[(u64, u64, &[usize])]) -> Self {
        let mut all = Self { payloads: Vec::new(), views: Vec::new() };
        for (ring_id, first, lens) in stretches {
            for (n, len) in (0..).zip(*lens) {
                // (Rounded up, as in a ring: the address is aligned.)
                let payload: Vec<u8> = (0..*len).map(|byte| (byte as u64 + n) as u8).collect();
                all.views.push(EventView {
                    ring_id: *ring_id,
                    sequence: first + 2 * n,
                    timestamp_ns: 5_000 + n,
                    correlation_id: n / 3,
                    node_id: u64::MAX - n,
                    kind: 7 + (n % 3) as u32,
                    flags: 2,
                    weight: 1.5,
                    data: payload.as_ptr().cast(),
                    len: payload.len(),
                });
                all.payloads.push(payload);
            }
        }
        all
    }

    fn batch(&self) -> BatchView {
        BatchView {
            generation: GENERATION,
            realtime_offset_ns: OFFSET,
            count: self.views.len(),
            events: self.views.as_ptr(),
            ..BatchView::default()
        }
    }

    fn encode(
        &self,
        encoder: &mut Encoder,
        first: usize,
        most: usize,
        size: usize,
    ) -> Result<(Message, Vec<u8>), NotEncoded> {
        let thread =
            |ring_id| (ring_id % 2 == 1).then_some((ring_id as u32 + 100, *b"thread\0\0\0\0\0\0\0\0\0\0"));
        // SAFETY: the batch lives as long as `self`.
        let made = unsafe { encoder.encode(&self.batch(), first, most, size, thread) }?;
        Ok((made, bytes(encoder)))
    }

    /// The events from `first` on are those of the message.
    fn compare(&self, reader: &mut Reader, message: &[u8], first: usize, made: &Message) {
        let taken = reader.take(message).expect("a message");
        assert_eq!(
            (taken.generation, taken.events, taken.stretches),
            (GENERATION, made.count as u64, made.stretches)
        );
        assert_eq!((taken.ring_id, taken.first_sequence), (made.ring_id, made.first_sequence));
        let mut read = reader.events(message);
        for (at, view) in self.views.iter().enumerate().skip(first).take(made.count) {
            let event = read.next().expect("an event");
            assert_eq!(
                (event.generation, event.ring_id, event.sequence, event.timestamp_ns, event.realtime_ns),
                (
                    GENERATION,
                    view.ring_id,
                    view.sequence,
                    view.timestamp_ns,
                    view.timestamp_ns + OFFSET as u64
                )
            );
            assert_eq!(
                (event.correlation_id, event.node_id, event.kind, event.flags, event.weight),
                (view.correlation_id, view.node_id, view.kind, view.flags, view.weight)
            );
            assert_eq!(event.payload, self.payloads[at], "the payload at {at}");
        }
        assert_eq!(read.next(), None);
        let stretches = || reader.stretches(message);
        assert!(stretches().all(|stretch| stretch.realtime_offset_ns == OFFSET));
        assert_eq!(stretches().count(), made.stretches as usize);
        let of_ring = stretches().flat_map(|part| part.events.map(move |event| (part.ring_id, event)));
        let all: Vec<_> = reader.events(message).map(|event| (event.ring_id, event)).collect();
        assert_eq!(of_ring.collect::<Vec<_>>(), all);
        assert!(reader.events(b"another").next().is_none());
    }
}

fn bytes(encoder: &mut Encoder) -> Vec<u8> {
    encoder.bytes().collect::<Vec<_>>().concat()
}

#[test]
fn a_batch_is_read_as_it_was_encoded_in_messages_of_any_size() {
    let large = [40_000, 0, 33_000, 8];
    let many = [56; 300];
    let events = Events::new(&[
        (3, 10, &[0, 1, 8, 15, 16, 17, 64]),
        (2, 0, &many),
        (5, 1, &large),
        (3, 900, &many[..40]),
        (4, 0, &[]),
    ]);
    for codec in CODECS {
        for threads in [false, true] {
            let mut encoder = Encoder::new(codec, threads);
            let mut reader = Reader::default();
            for size in [40_500, 41_000, 60_000, 70_001, 1 << 20] {
                for most in [1, 7, usize::MAX] {
                    let (mut first, mut messages) = (0, 0);
                    while first < events.views.len() {
                        let (made, message) =
                            events.encode(&mut encoder, first, most, size).expect("a message");
                        assert!(made.count <= most && made.count > 0);
                        assert_eq!((made.len, message.len() % 64), (message.len(), 0));
                        assert!(made.len <= size, "{} of {size}", made.len);
                        // A retry keeps the cut, and with the same clocks the bytes.
                        let again = events.encode(&mut encoder, first, made.count, size).expect("a message");
                        assert_eq!(again, (made, message.clone()));
                        events.compare(&mut reader, &message, first, &made);
                        (first, messages) = (first + made.count, messages + 1);
                    }
                    assert_eq!(first, events.views.len());
                    if most == usize::MAX && size == 1 << 20 {
                        assert_eq!(messages, 1);
                    }
                    assert_eq!(
                        reader.facts(GENERATION).threads.get(&(GENERATION, 5)).map(|thread| thread.thread_id),
                        threads.then_some(105)
                    );
                    assert!(!reader.facts(GENERATION).threads.contains_key(&(GENERATION, 2)));
                }
            }
            let at_end = events.encode(&mut encoder, events.views.len(), 1, 1 << 20);
            assert_eq!(at_end, Err(NotEncoded::Nothing));
        }
    }
}

#[test]
fn compressed_messages_are_filled() {
    let events = Events::new(&[(1, 0, &[56; 20_000])]);
    let mut encoder = Encoder::new(Some(codec::LZ4), false);
    let size = 64 << 10;
    let (made, message) = events.encode(&mut encoder, 0, usize::MAX, size).unwrap();
    assert!(message.len() > size / 2, "{} of {size} bytes are used", message.len());
    // As they lie, some 600 events would take as much.
    assert!(made.count > 1200, "{} events", made.count);
    events.compare(&mut Reader::default(), &message, 0, &made);
}

#[test]
fn an_event_that_does_not_fit_alone_says_what_it_needs() {
    let events = Events::new(&[(2, 0, &[8, 5_000, 8]), (1, 0, &[3_000])]);
    let mut encoder = Encoder::new(None, true);
    let (first, _) = events.encode(&mut encoder, 0, usize::MAX, 4_000).unwrap();
    assert_eq!(first.count, 1);
    let needed = match events.encode(&mut encoder, 1, usize::MAX, 4_000) {
        Err(NotEncoded::TooLarge(needed)) => needed,
        other => panic!("{other:?}"),
    };
    assert_eq!(needed, 128 + 48 + 5_000 + 8); // up to a multiple of 64
    assert!(events.encode(&mut encoder, 1, usize::MAX, needed - 1).is_err());
    let (one, message) = events.encode(&mut encoder, 1, usize::MAX, needed).unwrap();
    assert_eq!((one.count, one.len, message.len()), (1, needed, needed));
    // The name of the thread is left out rather than the event.
    let needed = 128 + 3_000 + 48 + 24;
    let (one, message) = events.encode(&mut encoder, 3, usize::MAX, needed).unwrap();
    assert_eq!((one.count, message.len()), (1, needed));
    events.compare(&mut Reader::default(), &message, 3, &one);
    // In columns it takes less.
    let mut encoder = Encoder::new(Some(codec::LZ4), false);
    let (one, message) = events.encode(&mut encoder, 1, 1, 4_000).unwrap();
    assert!(one.count == 1 && message.len() <= 4_000);
    events.compare(&mut Reader::default(), &message, 1, &one);
}

#[test]
fn what_is_no_event_of_a_program_is_refused_and_the_rest_is_not() {
    let mut events = Events::new(&[(1, 0, &[8; 5])]);
    events.views[2].flags |= PIPELINE_EVENT_RELEASE;
    events.views[4].kind = PIPELINE_KIND_THREAD;
    let mut encoder = Encoder::new(None, false);
    let mut encode =
        |first| events.encode(&mut encoder, first, usize::MAX, 4_000).map(|(made, _)| made.count);
    assert_eq!((encode(0), encode(3)), (Ok(2), Ok(1)));
    assert!(matches!(encode(2), Err(NotEncoded::Refused(why)) if why.contains("PIPELINE_EVENT_RELEASE")));
    assert!(matches!(encode(4), Err(NotEncoded::Refused(why)) if why.contains("PIPELINE_STORAGE_META")));
}

#[test]
fn facts_come_in_parts_that_stay_as_they_are() {
    let facts = Facts::default();
    let name = |kind: u32| Fact::kind_name(kind, format!("kind_{kind}").as_bytes()).unwrap();
    (0..500).for_each(|kind| facts.add(name(kind), |_| Ok(())).unwrap());
    facts.add(Fact::attribute(0, b"host", b"a").unwrap(), |_| Ok(())).unwrap();
    for codec in CODECS {
        for size in [256, 1_000, 4_096, 1 << 20] {
            let mut encoder = Encoder::new(codec, true);
            let mut reader = Reader::default();
            let (mut first, mut parts) = (0, Vec::new());
            while first < facts.count() {
                let made = encoder.encode_facts(GENERATION, &facts, first, size).unwrap();
                let message = bytes(&mut encoder);
                assert_eq!((made.len, made.first_sequence, made.stretches), (message.len(), first as u64, 0));
                assert!(made.len <= size);
                first += made.count;
                parts.push(message);
            }
            // They may come in any order.
            for part in parts.iter().rev() {
                let taken = reader.take(part).unwrap();
                assert_eq!((taken.generation, taken.events), (GENERATION, 0));
                assert!(taken.facts > 0);
            }
            let known = reader.facts(GENERATION);
            assert_eq!(known.kind_names.len(), 500);
            assert_eq!(known.kind_names[&(GENERATION, 499)], b"kind_499");
            assert_eq!(known.attributes_of(GENERATION).next(), Some((&b"host"[..], &b"a"[..])));
            assert!(reader.facts(1).kind_names.is_empty());
            assert_eq!(encoder.encode_facts(GENERATION, &facts, 501, size), Err(NotEncoded::Nothing));
        }
    }
    let mut encoder = Encoder::new(None, false);
    assert_eq!(encoder.encode_facts(GENERATION, &facts, 0, 192).map(|made| made.count), Ok(1));
    assert_eq!(encoder.encode_facts(GENERATION, &facts, 0, 100), Err(NotEncoded::TooLarge(192)));
}

#[test]
fn a_later_name_counts_whatever_comes_first() {
    let facts = Facts::default();
    for name in [&b"old"[..], b"new"] {
        facts.add(Fact::kind_name(1, name).unwrap(), |_| Ok(())).unwrap();
    }
    let mut encoder = Encoder::new(None, false);
    let mut part = |first, size| {
        encoder.encode_facts(GENERATION, &facts, first, size).unwrap();
        bytes(&mut encoder)
    };
    let (old, new) = (part(0, 192), part(1, 192));
    for order in [[&old, &new], [&new, &old]] {
        let mut reader = Reader::default();
        order.iter().for_each(|part| assert_eq!(reader.take(part).unwrap().facts, 1));
        assert_eq!(reader.facts(GENERATION).kind_names[&(GENERATION, 1)], b"new");
    }
}

#[test]
fn any_change_of_a_message_is_refused_as_a_whole() {
    let events = Events::new(&[(1, 0, &[8, 9, 70]), (2, 5, &[0, 1])]);
    for codec in CODECS {
        let mut encoder = Encoder::new(codec, true);
        let (made, message) = events.encode(&mut encoder, 0, usize::MAX, 1 << 20).unwrap();
        let mut reader = Reader::default();
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 0x40;
            match reader.take(&changed) {
                // What pads a block has no meaning.
                Ok(_) => events.compare(&mut reader, &changed, 0, &made),
                Err(error) => {
                    assert_eq!(error.status, PIPELINE_ERR_INVALID, "{at}: {error}");
                    assert!(reader.events(&changed).next().is_none());
                }
            }
            let cut = &message[..at];
            if let Ok(taken) = reader.take(cut) {
                // It is cut behind a block, or in what pads one.
                assert!(taken.events < made.count as u64 || at > message.len() - 64, "{at}");
            }
        }
        events.compare(&mut reader, &message, 0, &made);
    }
}

#[test]
fn what_is_no_message_is_named() {
    let mut reader = Reader::default();
    let mut why = |bytes: &[u8]| reader.take(bytes).map(drop).unwrap_err();
    assert_eq!(why(b"").detail, "the message is empty");
    assert!(why(b"{\"json\": 1}").detail.contains("no message of capture_pipeline: 11 bytes"));
    assert_eq!(why(&[0; 256]).status, PIPELINE_ERR_INVALID);
    let events = Events::new(&[(1, 0, &[8; 100])]);
    let mut encoder = Encoder::new(None, false);
    let (_, mut message) = events.encode(&mut encoder, 0, usize::MAX, 1 << 20).unwrap();
    message.extend_from_slice(b"rest");
    assert!(why(&message).detail.contains("4 bytes behind the last block"), "{:?}", why(&message));
    message.truncate(message.len() - 4 - 64);
    assert!(why(&message).detail.contains("has a body of"), "{:?}", why(&message));
}

/// Headers whose checksums are right, and whose numbers are not.
#[test]
fn numbers_that_lie_are_refused_before_memory_is_asked_for() {
    use crate::journal::format::block::{BlockHeader, BlockType, CRITICAL, filter};
    use crate::journal::format::checksum::Salted;
    let block = |header: BlockHeader, body: &[u8]| {
        let mut bytes = Vec::new();
        let body_sum = Salted::new(0).of(&[body]);
        BlockHeader { generation: 1, stored_len: body.len() as u64, body_sum, ..header }.encode(
            &[],
            Salted::new(0),
            &mut bytes,
        );
        bytes.extend_from_slice(body);
        bytes
    };
    let events = BlockHeader { kind: BlockType::EVENTS, count: 1, raw_len: 64, ..BlockHeader::default() };
    let columns = BlockHeader { filter: filter::COLUMNS, codec: codec::ZSTD, ..events };
    let mut reader = Reader::new(16 << 20).unwrap();
    let mut status = |header, body: &[u8]| reader.take(&block(header, body)).unwrap_err().status;
    assert_eq!(status(BlockHeader { raw_len: u64::MAX, ..columns }, &[1; 64]), PIPELINE_ERR_LIMIT);
    assert_eq!(status(BlockHeader { raw_len: 3 << 20, ..columns }, &[1; 64]), PIPELINE_ERR_LIMIT);
    assert_eq!(status(BlockHeader { raw_len: 1 << 20, ..columns }, &[1; 64]), PIPELINE_ERR_INVALID);
    assert_eq!(status(BlockHeader { codec: 9, ..columns }, &[1; 64]), PIPELINE_ERR_UNSUPPORTED);
    assert_eq!(status(BlockHeader { filter: 9, ..columns }, &[1; 64]), PIPELINE_ERR_UNSUPPORTED);
    assert_eq!(status(BlockHeader { count: u32::MAX, ..events }, &[0; 64]), PIPELINE_ERR_INVALID);
    let other = BlockHeader { kind: BlockType(77), flags: CRITICAL, ..BlockHeader::default() };
    assert_eq!(status(other, &[]), PIPELINE_ERR_UNSUPPORTED);
    assert!(reader.take(&block(BlockHeader { flags: 0, ..other }, &[])).is_ok());
    assert_eq!(Reader::new((16 << 20) - 1).map(drop).unwrap_err().status, PIPELINE_ERR_INVALID);
}

#[test]
fn random_changes_give_no_event_that_was_not_written() {
    let lens: Vec<usize> = (0..60).map(|n| n * 7 % 50).collect();
    let events = Events::new(&[(1, 0, &lens), (2, 5, &lens), (9, 1 << 40, &lens)]);
    let mut state = 7_u64;
    let mut random = || {
        // (xorshift64)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut reader = Reader::new(16 << 20).unwrap();
    let mut refused = 0;
    for round in 0..4_000 {
        let mut encoder = Encoder::new(CODECS[round % 4], round % 3 == 0);
        let (_, mut message) = events.encode(&mut encoder, 0, usize::MAX, 1 << 20).unwrap();
        for _ in 0..=random() % 3 {
            let at = (random() % message.len() as u64) as usize;
            let line = at / 64 * 64;
            match random() % 5 {
                0 => message[at] ^= 1 << (random() % 8),
                1 => message.truncate(at.max(1)),
                2 => {
                    let end = message.len().min(line + 64 * (1 + random() % 4) as usize);
                    message.drain(line..end);
                    message.push(0);
                }
                3 => {
                    let end = message.len().min(line + 64 * (1 + random() % 4) as usize);
                    let lines = message[line..end].to_vec();
                    message.splice(line..line, lines);
                }
                _ => {
                    let end = message.len().min(at + 8);
                    let word = random().to_le_bytes();
                    message[at..end].copy_from_slice(&word[..end - at]);
                }
            }
        }
        if reader.take(&message).is_err() {
            refused += 1;
            continue;
        }
        for event in reader.events(&message) {
            let is_there = events.views.iter().zip(&events.payloads).any(|(view, payload)| {
                (view.ring_id, view.sequence) == (event.ring_id, event.sequence) && payload == event.payload
            });
            assert!(is_there, "round {round}: {event:?}");
        }
    }
    assert!(refused > 1_000, "{refused}");
}
