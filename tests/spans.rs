//! Which batches a storage gets as spans, how large they are, and what its answers do to them. That every event is accounted for,
//! whatever the answers, is for `tests/ledger` and the simulator.

use capture_pipeline::batch::spans::SpanBatch;
use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::capture::Offer;
use capture_pipeline::config::{Config, Ordering as EventOrdering};
use capture_pipeline::event::{EventView, PIPELINE_EVENT_RELEASE, PIPELINE_KIND_RESERVED};
use capture_pipeline::manager::{Pipeline, Producer};
use capture_pipeline::status::PIPELINE_OK;
use capture_pipeline::storage::{
    Abilities, PIPELINE_REASON_REJECTED, PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT,
    PIPELINE_STORE_RETRY, Storage,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a record with a payload of 16 bytes.
const RECORD: u64 = 64;

/// A call of the storage.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    what: &'static str,
    batch: u64,
    attempt: u32,
    /// Bytes of records, where spans were shown.
    bytes: u64,
    /// Of each span, or of each ring of a batch of views: the ring and the sequence numbers.
    events: Vec<(u64, Vec<u64>)>,
}

impl Call {
    fn sequences(&self) -> Vec<u64> {
        self.events.iter().flat_map(|(_, sequences)| sequences.clone()).collect()
    }
}

type Answer = dyn Fn(&Call, u64) -> i32 + Send + Sync;

struct Scripted {
    can: Abilities,
    calls: Arc<Mutex<Vec<Call>>>,
    /// Answers a call, given its token.
    answer: Box<Answer>,
}

fn rings<'a>(events: impl Iterator<Item = &'a EventView>) -> Vec<(u64, Vec<u64>)> {
    let mut all: Vec<(u64, Vec<u64>)> = Vec::new();
    for event in events {
        match all.last_mut().filter(|(ring, _)| *ring == event.ring_id) {
            Some((_, sequences)) => sequences.push(event.sequence),
            None => all.push((event.ring_id, vec![event.sequence])),
        }
    }
    all
}

impl Scripted {
    fn called(&self, call: Call, token: u64) -> i32 {
        self.calls.lock().unwrap().push(call.clone());
        (self.answer)(&call, token)
    }

    fn views(&self, what: &'static str, batch: &BatchView) -> i32 {
        let own = batch.events().iter().all(|event| event.kind >= PIPELINE_KIND_RESERVED);
        let what = if own { "own" } else { what };
        let events = rings(batch.events().iter());
        let call = Call { what, batch: batch.batch_id, attempt: batch.attempt, bytes: 0, events };
        self.called(call, batch.token)
    }
}

// SAFETY: the storage uses a batch only inside its calls.
unsafe impl Storage for Scripted {
    fn abilities(&self) -> Abilities {
        self.can
    }
    fn store(&self, batch: &BatchView) -> i32 {
        self.views("store", batch)
    }
    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        let spans = || batch.spans();
        let call = Call {
            what: "store_spans",
            batch: batch.batch_id(),
            attempt: batch.attempt(),
            bytes: spans().flat_map(|span| span.records).map(|part| part.len() as u64).sum(),
            events: spans().map(|s| (s.ring_id, s.read().map(|r| r.head.sequence).collect())).collect(),
        };
        self.called(call, batch.token())
    }
    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        assert_eq!(reason, PIPELINE_REASON_REJECTED);
        self.views("dead_letter", batch);
        PIPELINE_STORE_OK
    }
    fn release(&self, _: &EventView) {}
}

const SPANS: Abilities = Abilities {
    ordered: false,
    concurrent: false,
    meta: false,
    flush: false,
    finish: false,
    dead_letter: true,
    release: false,
    release_anywhere: false,
    release_marked: false,
    release_unstored: false,
    span_bytes: Some(10 * RECORD),
    old_facts: false,
    one_run: false,
};

/// A pipeline without a writer, for events that are captured before the first one starts.
fn start(
    config: Config,
    can: Abilities,
    answer: impl Fn(&Call, u64) -> i32 + Send + Sync + 'static,
) -> (Pipeline, Arc<Mutex<Vec<Call>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let storage = Scripted { can, calls: Arc::clone(&calls), answer: Box::new(answer) };
    (Pipeline::start(Config { writers: 0, ..config }, storage).expect("starts"), calls)
}

fn ok(_: &Call, _: u64) -> i32 {
    PIPELINE_STORE_OK
}

fn capture(pipeline: &Pipeline, events: usize, len: usize) {
    let payload = vec![7; len];
    let offer = Offer::new(1, payload.as_ptr(), len);
    for _ in 0..events {
        // SAFETY: the payload is a vector of that length.
        assert_eq!(unsafe { pipeline.capture(&offer) }, PIPELINE_OK);
    }
}

/// Stores what was captured, and ends the pipeline: the calls of the storage.
fn drain(pipeline: &Pipeline, calls: &Mutex<Vec<Call>>) -> Vec<Call> {
    pipeline.scale(1).expect("a writer");
    pipeline.close(Some(PATIENCE)).expect("closes");
    let ledger = pipeline.metrics().ledger;
    assert!(ledger.balances() && ledger.in_flight + ledger.buffered + ledger.left == 0, "{ledger:?}");
    pipeline.destroy().expect("is destroyed");
    calls.lock().unwrap().clone()
}

fn names(calls: &[Call]) -> Vec<&'static str> {
    calls.iter().map(|call| call.what).collect()
}

#[test]
fn the_number_of_events_does_not_limit_a_batch_of_spans_and_its_bytes_do() {
    for (batch_bytes, most) in [(1 << 20, 10), (5 * RECORD + 63, 5), (1, 1)] {
        let config = Config { batch_size: 3, batch_bytes, ..Config::default() };
        let (pipeline, calls) = start(config, SPANS, ok);
        capture(&pipeline, 100, 16);
        let calls = drain(&pipeline, &calls);
        let counts: Vec<usize> = calls.iter().map(|call| call.sequences().len()).collect();
        assert_eq!(counts, vec![most; 100 / most], "{batch_bytes}");
        let all: Vec<u64> = calls.iter().flat_map(Call::sequences).collect();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert!(calls.iter().all(|call| call.what == "store_spans" && call.bytes == most as u64 * RECORD));
    }
}

#[test]
fn a_record_that_is_larger_than_a_batch_comes_alone() {
    let (pipeline, calls) = start(Config::default(), SPANS, ok);
    capture(&pipeline, 3, 16);
    capture(&pipeline, 1, 50_000);
    capture(&pipeline, 3, 16);
    let calls = drain(&pipeline, &calls);
    let sequences: Vec<_> = calls.iter().map(Call::sequences).collect();
    assert_eq!(sequences, [vec![0, 1, 2], vec![3], vec![4, 5, 6]]);
}

#[test]
fn a_batch_has_a_span_of_each_ring_unless_the_order_of_producers_counts() {
    for ordering in [EventOrdering::None, EventOrdering::PerProducer] {
        let config = Config { ordering, ..Config::default() };
        let (pipeline, calls) = start(config, SPANS, ok);
        let handles = [0; 3].map(|_| pipeline.open_producer().expect("a producer"));
        for handle in handles {
            for _ in 0..2 {
                // SAFETY: the handle is open, and the payload is static.
                let status = unsafe { (*handle).capture(&Offer::new(1, b"0123456789abcdef".as_ptr(), 16)) };
                assert_eq!(status, PIPELINE_OK);
            }
            // SAFETY: not used again.
            unsafe { Producer::close(handle) };
        }
        let calls = drain(&pipeline, &calls);
        let spans: Vec<usize> = calls.iter().map(|call| call.events.len()).collect();
        assert_eq!(spans, if ordering == EventOrdering::None { vec![3] } else { vec![1, 1, 1] });
        assert!(calls.iter().flat_map(|call| &call.events).all(|(_, sequences)| *sequences == [0, 1]));
    }
}

#[test]
fn what_is_tried_again_whole_comes_as_spans_again_and_a_rest_as_views() {
    let (pipeline, calls) = start(Config::default(), SPANS, |call, token| match call.attempt {
        1 => PIPELINE_STORE_RETRY,
        2 => {
            token::set_stored(token, 4).expect("a prefix");
            PIPELINE_STORE_RETRY
        }
        _ => PIPELINE_STORE_OK,
    });
    capture(&pipeline, 10, 16);
    let calls = drain(&pipeline, &calls);
    assert_eq!(names(&calls), ["store_spans", "store_spans", "store"]);
    assert_eq!(calls[0].events, calls[1].events);
    assert_eq!(calls[2].sequences(), (4..10).collect::<Vec<_>>());
    assert!(calls.iter().all(|call| call.batch == calls[0].batch));
}

#[test]
fn a_rejected_event_of_a_span_goes_to_the_dead_letter_and_the_others_are_stored() {
    let (pipeline, calls) = start(Config::default(), SPANS, |call, token| {
        if call.what == "store_spans" {
            token::set_rejected(token, 7).expect("an event");
            token::set_rejected(token, 2).expect("an event");
        }
        PIPELINE_STORE_OK
    });
    capture(&pipeline, 10, 16);
    let calls = drain(&pipeline, &calls);
    assert_eq!(names(&calls), ["store_spans", "dead_letter"]);
    assert_eq!(calls[1].sequences(), [2, 7]);
    let ledger = pipeline.metrics().ledger;
    assert_eq!((ledger.stored, ledger.dead_lettered), (8, 2));
}

#[test]
fn a_rejected_batch_of_spans_goes_to_the_dead_letter_as_views() {
    let (pipeline, calls) = start(Config::default(), SPANS, |_, _| PIPELINE_STORE_REJECT);
    capture(&pipeline, 20, 16);
    let calls = drain(&pipeline, &calls);
    assert_eq!(names(&calls), ["store_spans", "dead_letter", "store_spans", "dead_letter"]);
    assert_eq!(calls[1].sequences(), calls[0].sequences());
    assert_eq!(pipeline.metrics().ledger.dead_lettered, 20);
}

#[test]
fn a_batch_of_spans_may_be_answered_later() {
    let (later, answers) = std::sync::mpsc::channel();
    let later = Mutex::new(later);
    let (pipeline, calls) = start(Config::default(), SPANS, move |_, token| {
        later.lock().unwrap().send(token).expect("the test waits");
        PIPELINE_STORE_PENDING
    });
    capture(&pipeline, 10, 16);
    pipeline.scale(1).expect("a writer");
    let token = answers.recv_timeout(PATIENCE).expect("a call");
    let pending = Instant::now();
    while pipeline.metrics().ledger.in_flight != 10 {
        assert!(pending.elapsed() < PATIENCE);
    }
    token::complete(token, 3, PIPELINE_STORE_RETRY).expect("an answer");
    let token = answers.recv_timeout(PATIENCE).expect("another call");
    assert_eq!(pipeline.metrics().ledger.stored, 3);
    token::complete(token, 0, PIPELINE_STORE_OK).expect("an answer");
    let calls = drain(&pipeline, &calls);
    assert_eq!(names(&calls), ["store_spans", "store"]);
    assert_eq!(calls[1].sequences(), (3..10).collect::<Vec<_>>());
}

#[test]
fn spans_are_counted_as_views_are() {
    let (pipeline, calls) = start(Config::default(), SPANS, ok);
    capture(&pipeline, 25, 9);
    pipeline.scale(1).expect("a writer");
    pipeline.flush(Some(PATIENCE)).expect("a flush");
    let (metrics, writer) = (pipeline.metrics(), pipeline.writer_metrics(0).expect("a writer"));
    assert_eq!((metrics.ledger.stored, metrics.bytes_stored), (25, 25 * 9));
    assert_eq!((writer.events, writer.bytes), (25, 25 * 9));
    assert!(metrics.latency.max > 0 && metrics.latency.p50 > 0);
    assert_eq!(metrics.batches, drain(&pipeline, &calls).len() as u64);
}

#[test]
fn a_storage_with_a_release_gets_views() {
    let (pipeline, calls) = start(Config::default(), Abilities { release: true, ..SPANS }, ok);
    capture(&pipeline, 100, 16);
    assert_eq!(names(&drain(&pipeline, &calls)), ["store"]);
}

#[test]
fn the_librarys_own_events_come_as_views_beside_spans() {
    let (pipeline, calls) = start(Config::default(), Abilities { meta: true, ..SPANS }, ok);
    pipeline.kind_name(1, b"one").expect("a name");
    capture(&pipeline, 10, 16);
    let calls = drain(&pipeline, &calls);
    assert!(calls.iter().all(|call| matches!(call.what, "own" | "store_spans")), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.what == "store_spans").count(), 1);
}

#[test]
fn the_flags_of_a_span_say_that_it_has_handles() {
    let flags = Arc::new(Mutex::new(Vec::new()));
    struct Flags(Arc<Mutex<Vec<u32>>>);
    // SAFETY: the storage does not use a batch after its answer.
    unsafe impl Storage for Flags {
        fn abilities(&self) -> Abilities {
            SPANS
        }
        fn store(&self, _: &BatchView) -> i32 {
            PIPELINE_STORE_RETRY
        }
        fn store_spans(&self, batch: &SpanBatch) -> i32 {
            self.0.lock().unwrap().push(batch.flags() & PIPELINE_EVENT_RELEASE);
            PIPELINE_STORE_OK
        }
    }
    let config = Config { writers: 0, ..Config::default() };
    let pipeline = Pipeline::start(config, Flags(Arc::clone(&flags))).expect("starts");
    for n in 0..30 {
        let handle = if n == 15 { PIPELINE_EVENT_RELEASE } else { 0 };
        let offer = Offer { flags: handle, ..Offer::new(1, b"0123456789abcdef".as_ptr(), 16) };
        // SAFETY: the payload is static.
        assert_eq!(unsafe { pipeline.capture(&offer) }, PIPELINE_OK);
    }
    drain(&pipeline, &Mutex::new(Vec::new()));
    assert_eq!(*flags.lock().unwrap(), [0, PIPELINE_EVENT_RELEASE, 0]);
}

#[test]
fn batches_of_spans_linger_until_their_bytes_have_gathered() {
    let config = Config { linger_us: 60_000_000, batch_size: 2, ..Config::default() };
    let (pipeline, calls) = start(config, SPANS, ok);
    pipeline.scale(1).expect("a writer");
    capture(&pipeline, 4, 16);
    // Not full: it lingers, whatever the number of events. With the tenth it is.
    capture(&pipeline, 6, 16);
    let began = Instant::now();
    while calls.lock().unwrap().is_empty() {
        assert!(began.elapsed() < PATIENCE / 2, "a full batch lingers");
        std::thread::yield_now();
    }
    assert_eq!(drain(&pipeline, &calls).len(), 1, "one batch of ten");
}
