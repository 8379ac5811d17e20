//! Tests of feeding a storage.

use super::*;
use crate::batch::token;
use std::sync::Mutex as StdMutex;

/// Generation, sequences and wall time of a batch.
type Seen = (u64, Vec<u64>, i64);

/// Answers by the kind of the first event: 0 OK, 1 RETRY, 2 REJECT, 3 later from another thread, 4 OK but for the event at index 1.
#[derive(Default)]
struct Answering {
    seen: Arc<StdMutex<Vec<Seen>>>,
    threads: StdMutex<Vec<std::thread::JoinHandle<()>>>,
}

// SAFETY: a batch is used before its answer alone.
unsafe impl Storage for Answering {
    fn store(&self, batch: &BatchView) -> i32 {
        let sequences = batch.events().iter().map(|event| event.sequence).collect();
        let wall = batch.processed_at_ns as i64 + batch.realtime_offset_ns;
        self.seen.lock().unwrap().push((batch.generation, sequences, wall));
        let later = batch.token;
        match batch.events()[0].kind {
            3 => {
                let answer = move || token::complete(later, 0, PIPELINE_STORE_OK).unwrap();
                self.threads.lock().unwrap().push(std::thread::spawn(answer));
                PIPELINE_STORE_PENDING
            }
            4 => {
                token::set_rejected(batch.token, 1).unwrap();
                PIPELINE_STORE_OK
            }
            answer => answer as i32,
        }
    }
}

fn part(generation: u64, kind: u32, sequences: std::ops::Range<u64>) -> Part<'static> {
    let mut part = Part::new(generation, 1_000_000);
    for sequence in sequences {
        let event = Event {
            generation,
            ring_id: 1,
            sequence,
            timestamp_ns: 5,
            realtime_ns: 6,
            correlation_id: 0,
            node_id: 0,
            kind,
            flags: 0,
            weight: 1.0,
            segment: 0,
            payload: b"payload",
        };
        part.push(&event).unwrap();
    }
    part
}

#[test]
fn each_part_gets_its_own_answer_whenever_that_comes() {
    let storage = Answering::default();
    let seen = Arc::clone(&storage.seen);
    let mut feed = Feed::new(storage);
    for round in 0..50 {
        let kinds = [3, 0, 1, 4, 2, 3, 0];
        let parts: Vec<Part> = (0..).zip(kinds).map(|(n, kind)| part(n, kind, 10 * n..10 * n + 3)).collect();
        let fed = feed.store(&parts).unwrap();
        let stored = || Fed::Stored(Vec::new());
        let wanted =
            [stored(), stored(), Fed::NotNow, Fed::Stored(vec![1]), Fed::Rejected, stored(), stored()];
        assert_eq!(fed, wanted, "round {round}");
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert!(seen.iter().map(|(generation, ..)| *generation).eq(0..7));
        assert_eq!(seen[6].1, [60, 61, 62]);
        let now = time::now_ns() as i64 + time::realtime_offset_ns();
        assert!(seen.iter().all(|(.., wall)| (now - wall).abs() < 3_600_000_000_000));
    }
    assert_eq!(feed.store(&[]).unwrap(), []);
    assert_eq!(feed.store(&[Part::new(1, 0)]).unwrap(), [Fed::Stored(Vec::new())]);
    // What only looks like an event or a fact.
    let mut part = Part::new(1, 0);
    let named = FactRef { kind: 5, correlation_id: 0, node_id: 0, payload: b"name" };
    part.push_fact(named).unwrap();
    assert!(part.is_empty());
    part.push_fact(FactRef { kind: PIPELINE_KIND_RESERVED + 1, ..named }).unwrap();
    assert_eq!(part.len(), 1);
    // A storage that has no flush and no finish.
    assert_eq!((feed.flush(), feed.finish()), (0, 0));
}
