//! What a storage in Rust learns of its pipeline: names of kinds, readings of the clock, the threads of rings, and the ledger.

use capture_pipeline::batch::BatchView;
use capture_pipeline::capture::Offer;
use capture_pipeline::config::{Config, Ordering as EventOrdering, Overflow};
use capture_pipeline::event::{
    ClockFacts, PIPELINE_CLOCK_TICKS, PIPELINE_KIND_CLOCK, PIPELINE_KIND_KIND_NAME, PIPELINE_KIND_RESERVED,
    PIPELINE_KIND_THREAD,
};
use capture_pipeline::facts::{Facts, MOST_FACTS};
use capture_pipeline::ledger::Ledger;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::platform::thread;
use capture_pipeline::status::{
    PIPELINE_ERR_CLOSED, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, PIPELINE_ERR_TIMEOUT, PIPELINE_OK,
};
use capture_pipeline::storage::{
    Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_RETRY, Source, Storage, Thread,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// What the storage has seen.
#[derive(Default)]
struct Seen {
    /// Calls of anything, in order.
    calls: Mutex<Vec<&'static str>>,
    source: OnceLock<Weak<dyn Source>>,
    facts: OnceLock<Arc<Facts>>,
    /// Events of each reserved kind.
    own_kinds: Mutex<Vec<u32>>,
    rings: Mutex<BTreeMap<u64, Ring>>,
    /// The ledger inside `store`, and the events of that batch.
    ledgers: Mutex<Vec<(Ledger, usize)>>,
    /// For each event of a kind: the name that the facts have for it then.
    names: Mutex<Vec<(u32, Option<Vec<u8>>)>>,
    held: AtomicBool,
    in_store: AtomicU32,
}

/// The thread that the source names for a ring, and the kinds of its events.
type Ring = (Option<Thread>, Vec<u32>);

struct Curious(Arc<Seen>, Abilities);

impl Curious {
    fn called(&self, what: &'static str) {
        self.0.calls.lock().unwrap().push(what);
    }
}

// SAFETY: the storage does not use a batch after its answer.
unsafe impl Storage for Curious {
    fn abilities(&self) -> Abilities {
        self.called("abilities");
        self.1
    }
    fn attach(&self, source: &Arc<dyn Source>) {
        self.called("attach");
        assert!(self.0.source.set(Arc::downgrade(source)).is_ok());
        assert!(self.0.facts.set(Arc::clone(source.facts())).is_ok());
    }
    fn open_writer(&self, _: u32) -> Result<capture_pipeline::batch::WriterData, i32> {
        self.called("open_writer");
        Ok(capture_pipeline::batch::WriterData::NONE)
    }
    fn store(&self, batch: &BatchView) -> i32 {
        self.0.in_store.fetch_add(1, Ordering::AcqRel);
        wait_for("store may go on", || !self.0.held.load(Ordering::Acquire));
        let source = self.0.source.get().unwrap().upgrade().unwrap();
        let facts = self.0.facts.get().unwrap();
        for event in batch.events() {
            if event.kind >= PIPELINE_KIND_RESERVED {
                self.0.own_kinds.lock().unwrap().push(event.kind);
                continue;
            }
            let mut rings = self.0.rings.lock().unwrap();
            let ring = rings.entry(event.ring_id).or_default();
            ring.0 = source.thread(event.ring_id);
            ring.1.push(event.kind);
            let name = facts.since(0).filter(|f| f.kind == PIPELINE_KIND_KIND_NAME);
            let name = name.filter(|f| f.node_id == u64::from(event.kind)).last();
            self.0.names.lock().unwrap().push((event.kind, name.map(|fact| fact.payload.to_vec())));
        }
        let own = batch.events().iter().filter(|event| event.kind >= PIPELINE_KIND_RESERVED).count();
        self.0.ledgers.lock().unwrap().push((source.ledger(), batch.count - own));
        self.0.in_store.fetch_sub(1, Ordering::AcqRel);
        PIPELINE_STORE_OK
    }
}

fn start(config: Config, can: Abilities) -> (Pipeline, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    (Pipeline::start(config, Curious(Arc::clone(&seen), can)).expect("starts"), seen)
}

fn capture(pipeline: &Pipeline, kind: u32) -> i32 {
    // SAFETY: the payload is a slice.
    unsafe { pipeline.capture(&Offer::new(kind, b"payload".as_ptr(), 7)) }
}

fn end(pipeline: &Pipeline) {
    pipeline.close(Some(PATIENCE)).expect("closes");
    assert!(pipeline.metrics().ledger.balances());
    pipeline.destroy().expect("is destroyed");
}

#[test]
fn a_storage_is_attached_once_before_every_other_call_and_its_source_does_not_keep_the_pipeline() {
    let (pipeline, seen) = start(Config::default(), Abilities::default());
    assert_eq!(capture(&pipeline, 1), PIPELINE_OK);
    end(&pipeline);
    let calls = seen.calls.lock().unwrap().clone();
    assert_eq!(calls, ["abilities", "attach", "open_writer"]);
    let source = seen.source.get().unwrap();
    drop(pipeline);
    wait_for("the pipeline is freed", || source.strong_count() == 0);
    let facts = seen.facts.get().unwrap();
    assert_eq!(
        facts.since(0).next().map(|fact| fact.kind),
        Some(PIPELINE_KIND_CLOCK),
        "the facts outlive it"
    );
}

#[test]
fn a_name_is_known_to_the_storage_before_each_event_that_is_captured_after_the_call() {
    for meta in [false, true] {
        let (pipeline, seen) = start(Config::default(), Abilities { meta, ..Abilities::default() });
        for kind in 0..100u32 {
            pipeline.kind_name(kind, format!("kind {kind}").as_bytes()).expect("a name");
            assert_eq!(capture(&pipeline, kind), PIPELINE_OK);
        }
        pipeline.kind_name(7, b"another").expect("a name");
        assert_eq!(capture(&pipeline, 7), PIPELINE_OK);
        assert_eq!(
            pipeline.kind_name(PIPELINE_KIND_RESERVED, b"no").unwrap_err().status,
            PIPELINE_ERR_INVALID
        );
        pipeline.close(Some(PATIENCE)).expect("closes");
        let closed = pipeline.kind_name(1, b"late").unwrap_err().status;
        assert_eq!(closed, PIPELINE_ERR_CLOSED);
        end_closed(&pipeline);
        let names = seen.names.lock().unwrap();
        assert_eq!(names.len(), 101);
        for (n, (kind, name)) in names.iter().enumerate() {
            let wanted = if n == 100 { b"another".to_vec() } else { format!("kind {kind}").into_bytes() };
            // (Of kind 7's first event the storage may have learnt late.)
            assert!(*name == Some(wanted) || (*kind == 7 && name.is_some()), "{n}: {kind} {name:?}");
        }
        // A storage with META gets events of them as well, others do not.
        let own = seen.own_kinds.lock().unwrap();
        let named = own.iter().filter(|&&kind| kind == PIPELINE_KIND_KIND_NAME).count();
        assert_eq!(named, if meta { 101 } else { 0 });
        assert_eq!(own.contains(&PIPELINE_KIND_THREAD), meta);
    }
}

fn end_closed(pipeline: &Pipeline) {
    assert!(pipeline.metrics().ledger.balances());
    pipeline.destroy().expect("is destroyed");
}

#[test]
fn the_facts_about_the_clock_are_there_from_the_start_and_follow_what_is_measured() {
    let config = Config { storage_deadline_ms: 40, ..Config::default() };
    let (pipeline, seen) = start(config, Abilities::default());
    let facts = seen.facts.get().unwrap();
    let clocks = || -> Vec<ClockFacts> {
        let clocks = facts.since(0).filter(|fact| fact.kind == PIPELINE_KIND_CLOCK);
        clocks.map(|fact| ClockFacts::from_bytes(&fact.payload).expect("facts about the clock")).collect()
    };
    let first = clocks()[0];
    assert_eq!(first.pid, std::process::id());
    if first.clock == PIPELINE_CLOCK_TICKS {
        wait_for("the rate is measured", || facts.count() == 2);
        assert!(clocks()[1].ticks_hz > 0 && clocks()[1].ticks > first.ticks);
    }
    end(&pipeline);
}

#[test]
fn the_thread_of_a_ring_is_named_while_its_events_are_stored() {
    let (pipeline, seen) = start(Config::default(), Abilities::default());
    let mut threads = BTreeMap::new();
    std::thread::scope(|scope| {
        let named = (1..=4u32).map(|kind| {
            let pipeline = &pipeline;
            let thread = std::thread::Builder::new().name(format!("catcher {kind}"));
            let body = move || {
                assert_eq!(capture(pipeline, kind), PIPELINE_OK);
                thread::os_id()
            };
            (kind, thread.spawn_scoped(scope, body).expect("a thread"))
        });
        threads.extend(named.map(|(kind, thread)| (kind, thread.join().expect("no panic"))));
    });
    let handle = pipeline.open_producer().expect("a producer");
    // SAFETY: the handle is open, and this thread's; it is closed once.
    unsafe {
        assert_eq!((*handle).capture(&Offer::new(5, b"five".as_ptr(), 4)), PIPELINE_OK);
        capture_pipeline::manager::Producer::close(handle);
    }
    end(&pipeline);
    let rings = seen.rings.lock().unwrap();
    let mut kinds = Vec::new();
    for (thread, of_ring) in rings.values() {
        // (A ring that has been drained passes to the next thread under another id.)
        let kind = of_ring[0];
        assert!(of_ring.iter().all(|&k| k == kind));
        kinds.push(kind);
        match thread {
            Some(thread) => {
                assert_eq!(
                    (threads.get(&kind), thread.name()),
                    (Some(&thread.tid), format!("catcher {kind}").as_bytes())
                );
            }
            None => assert_eq!(kind, 5, "the producer handle's ring is no thread's"),
        }
    }
    kinds.sort_unstable();
    assert_eq!(kinds, [1, 2, 3, 4, 5]);
}

#[test]
fn a_ring_that_takes_the_place_of_a_pinned_one_is_the_same_threads() {
    let config = Config {
        ring_bytes: 4096,
        max_rings: 1,
        max_retired_rings: 1,
        storage_deadline_ms: 20,
        batch_size: 1,
        overflow: Overflow::DropNewest,
        ordering: EventOrdering::None,
        ..Config::default()
    };
    let (pipeline, seen) = start(config, Abilities::default());
    seen.held.store(true, Ordering::Release);
    assert_eq!(capture(&pipeline, 1), PIPELINE_OK);
    wait_for("the storage pins the ring", || seen.in_store.load(Ordering::Acquire) == 1);
    wait_for("another ring takes its place", || {
        capture(&pipeline, 1);
        pipeline.metrics().rings_retired == 1
    });
    assert_eq!(capture(&pipeline, 2), PIPELINE_OK);
    seen.held.store(false, Ordering::Release);
    end(&pipeline);
    let rings = seen.rings.lock().unwrap();
    assert_eq!(rings.len(), 2);
    let own = thread::os_id();
    assert!(rings.values().all(|(thread, _)| thread.is_some_and(|t| t.tid == own)), "{rings:?}");
}

#[test]
fn inside_store_the_ledger_has_the_batch_in_flight() {
    let config = Config { batch_size: 10, ..Config::default() };
    let (pipeline, seen) = start(config, Abilities::default());
    for _ in 0..1000 {
        assert_eq!(capture(&pipeline, 1), PIPELINE_OK);
    }
    end(&pipeline);
    let ledgers = seen.ledgers.lock().unwrap();
    let mut stored = 0;
    for (ledger, batch) in ledgers.iter() {
        assert_eq!(ledger.stored, stored, "one writer, one batch after the other");
        assert_eq!(ledger.in_flight, *batch as u64);
        assert!(ledger.captured >= ledger.stored + ledger.in_flight);
        stored += *batch as u64;
    }
    assert_eq!(stored, 1000);
}

#[test]
fn a_pipeline_has_a_limit_of_names_and_a_repeated_one_is_free() {
    let (pipeline, seen) = start(Config::default(), Abilities::default());
    for kind in 0..MOST_FACTS as u32 {
        if let Err(error) = pipeline.kind_name(kind, b"x") {
            // One or two places went to the clock.
            assert!(kind as usize >= MOST_FACTS - 2, "{kind}: {error}");
            assert_eq!(error.status, PIPELINE_ERR_LIMIT);
            assert!(error.to_string().contains("65536"), "{error}");
            break;
        }
        assert_eq!(pipeline.kind_name(kind, b"x").map_err(|error| error.status), Ok(()));
    }
    assert!(seen.facts.get().unwrap().count() >= MOST_FACTS);
    assert_eq!(capture(&pipeline, 1), PIPELINE_OK);
    end(&pipeline);
}

#[test]
fn a_flush_that_waits_for_the_librarys_own_events_in_vain_says_so() {
    let (pipeline, seen) = start(Config::default(), Abilities { meta: true, ..Abilities::default() });
    pipeline.flush(Some(PATIENCE)).expect("flushes");
    seen.held.store(true, Ordering::Release);
    pipeline.kind_name(7, b"seven").expect("a name");
    let error = pipeline.flush(Some(Duration::from_millis(20))).expect_err("the storage does not answer");
    assert_eq!(error.status, PIPELINE_ERR_TIMEOUT);
    assert!(error.to_string().contains("0 in doubt; the library's own events"), "{error}");
    seen.held.store(false, Ordering::Release);
    end(&pipeline);
}

/// Keeps the last name that it gets, and answers the first batch with a name by a retry.
#[derive(Clone, Default)]
struct LastName {
    last: Arc<Mutex<Vec<u8>>>,
    attempts: Arc<AtomicU32>,
}

// SAFETY: the storage does not use a batch after its answer.
unsafe impl Storage for LastName {
    fn abilities(&self) -> Abilities {
        Abilities { concurrent: true, meta: true, ..Abilities::default() }
    }
    fn store(&self, batch: &BatchView) -> i32 {
        let mut names = batch.events().iter().filter(|event| event.kind == PIPELINE_KIND_KIND_NAME);
        let Some(name) = names.next_back() else { return PIPELINE_STORE_OK };
        if self.attempts.fetch_add(1, Ordering::AcqRel) == 0 {
            return PIPELINE_STORE_RETRY;
        }
        *self.last.lock().unwrap() = name.payload().to_vec();
        PIPELINE_STORE_OK
    }
}

#[test]
fn the_last_name_of_a_kind_comes_last_also_if_an_earlier_one_is_tried_again() {
    let storage = LastName::default();
    let config = Config { writers: 2, retry_initial_us: 300_000, retry_max_us: 300_000, ..Config::default() };
    let pipeline = Pipeline::start(config, storage.clone()).expect("starts");
    pipeline.kind_name(7, b"first").expect("a name");
    wait_for("an attempt", || storage.attempts.load(Ordering::Acquire) > 0);
    pipeline.kind_name(7, b"second").expect("a name");
    // Other events give the writers reasons to look at all ring buffers.
    wait_for("another attempt", || {
        capture(&pipeline, 1);
        storage.attempts.load(Ordering::Acquire) > 1
    });
    pipeline.flush(Some(PATIENCE)).expect("flushes");
    assert_eq!(*storage.last.lock().unwrap(), b"second");
    end(&pipeline);
}
