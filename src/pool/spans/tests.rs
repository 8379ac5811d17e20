//! What is decided about spans, how their latency is noted, and what a storage gets where clock pieces cannot tell the times.

use super::*;
use crate::batch::BatchView;
use crate::batch::spans::SpanBatch;
use crate::capture::{Offer, Producer};
use crate::config::Clock as WantedClock;
use crate::platform::{barrier, process};
use crate::ring::memory::Memory;
use crate::ring::record::{TICKS, stride};
use crate::status::PIPELINE_OK;
use crate::storage::{Abilities, PIPELINE_STORE_OK, Storage};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const OWN: u32 = PIPELINE_EVENT_OWN_TIME;

#[test]
fn the_first_and_the_last_stamp_tell_the_extent_of_a_span_of_one_clock() {
    let (reading, time, own) = (Tag::event(0, TICKS), Tag::event(0, 0), Tag::event(0, OWN));
    assert!(ends_tell(TICKS, reading, reading));
    assert!(ends_tell(0, time, time));
    assert!(!ends_tell(TICKS, reading, time), "the counter has given way to the clock in between");
    assert!(!ends_tell(TICKS | OWN, reading, reading));
    assert!(!ends_tell(OWN, own, own));
}

#[test]
fn a_batch_of_spans_is_limited_by_the_bytes_of_records_alone() {
    let config = Config { batch_size: 7, batch_bytes: 1000, ..Config::default() };
    assert_eq!(most_of_a_batch(&config, None), (7, 1000));
    assert_eq!(most_of_a_batch(&config, Some(999)), (u32::MAX, 999));
    assert_eq!(most_of_a_batch(&config, Some(1001)), (u32::MAX, 1000));
}

#[test]
fn stamps_are_told_apart_by_the_clock_that_they_are_of() {
    let mut stamps = Stamps::default();
    for (flags, stamp) in [(TICKS, 5), (OWN, 1), (0, 70), (TICKS, 9), (OWN, 900), (0, 60)] {
        stamps.add(Tag::event(0, flags), stamp);
    }
    let extent = |least, most| Extent(Some((least, most)));
    let wanted = Stamps { readings: extent(5, 9), times: extent(60, 70), own: extent(1, 900) };
    assert_eq!(stamps, wanted);
    // The readings are times 105 and 109.
    let pieces = [Piece { start: 0, end: 10, ns: 100, rate: 1 << 48 }];
    assert_eq!(stamps.convert(&pieces), ((1, 900), 109));
    assert_eq!(Stamps { own: Extent(None), ..stamps }.convert(&pieces), ((60, 109), 109));
}

// ---- latency ----

/// A ring that holds a record without payload for each of these flags and stamps.
fn ring(records: &[(u32, u64)]) -> RingBuffer {
    let ring = RingBuffer::new(Memory::new(1 << 16).unwrap(), 4).unwrap();
    let mut cursor = ring.cursor();
    for (sequence, &(flags, timestamp)) in (0..).zip(records) {
        let position = ring.room(&mut cursor, stride(0)).unwrap();
        let head = Head { kind: 0, weight: 1.0, sequence, timestamp, correlation_id: 0, node_id: 0 };
        // SAFETY: no other thread uses the ring.
        unsafe { ring.write(position, Tag::event(0, flags), &head) };
        ring.publish(&mut cursor, position + stride(0));
    }
    ring
}

/// Notes a span of these records, with room for so many marks, and its events one by one: the same must come of it.
fn noted_alike(records: &[(u32, u64)], pieces: &[Piece], now: u64, room: usize) {
    let ring = ring(records);
    let mut marks = Vec::with_capacity(room);
    let limits = Limits { events: 0, bytes: u64::MAX, exceed: true, alone: false, cover: u64::MAX };
    let (span, layout) = ring.claim_whole(&limits, &mut marks).unwrap();
    let time = |&(flags, stamp): &(u32, u64)| if flags & TICKS != 0 { convert(pieces, stamp) } else { stamp };
    let times = records.iter().map(time);
    let how = KeptSpan {
        ring_id: 1,
        parts: ring.parts(&span, &layout),
        count: span.events,
        flags: layout.flags,
        sequences: (0, 0),
        times: (times.clone().min().unwrap(), times.clone().max().unwrap()),
        pieces: 0..0,
        marks: 0..marks.len(),
    };
    let (mut together, mut singly) = (Latency::default(), Latency::default());
    note_span(&mut together, &ring, &span, &how, &marks, pieces, now);
    for (record, time) in records.iter().zip(times).filter(|(record, _)| record.0 & OWN == 0) {
        assert!(time <= now, "{record:?}");
        singly.note(now - time);
    }
    assert_eq!(
        format!("{together:?}"),
        format!("{singly:?}"),
        "{} records, {} marks",
        records.len(),
        marks.len()
    );
}

#[test]
fn the_latency_of_a_span_is_that_of_its_events_one_by_one() {
    let pieces = [
        Piece { start: 1_000, end: 2_000, ns: 50_000, rate: 1 << 48 },
        Piece { start: 2_000, end: 9_000, ns: 51_000, rate: 3 << 47 },
    ];
    for count in [1, 2, 15, 16, 17, 31, 32, 33, 500, 1_000] {
        for step in [0, 1, 7] {
            let readings: Vec<_> = (0..count).map(|n| (TICKS, 1_000 + n * step)).collect();
            let times: Vec<_> = (0..count).map(|n| (0, 50_000 + n * step)).collect();
            let latest = convert(&pieces, 1_000 + count * 7);
            for (records, now) in
                [(&readings, latest), (&readings, 1 << 40), (&times, latest), (&times, 1 << 40)]
            {
                for room in [64, 3, 0] {
                    noted_alike(records, &pieces, now.max(50_000 + count * 7), room);
                }
            }
        }
    }
    // Callers' own times are not noted, the others all the same.
    let mixed: Vec<_> =
        (0..100).map(|n| if n % 3 == 0 { (OWN, 1 << 60) } else { (0, 50_000 + n * 9) }).collect();
    noted_alike(&mixed, &pieces, 60_000, 64);
}

// ---- what a storage gets ----

/// How an event came: as part of a span or as a view; its sequence number, time, and flags.
type Came = (bool, u64, u64, u32);

struct Taker {
    came: Arc<Mutex<Vec<Came>>>,
    /// The bytes of records that it wants in a batch.
    most: u64,
}

// SAFETY: the storage does not use a batch after its answer.
unsafe impl Storage for Taker {
    fn abilities(&self) -> Abilities {
        Abilities { span_bytes: Some(self.most), ..Abilities::default() }
    }
    fn store(&self, batch: &BatchView) -> i32 {
        let events = batch.events().iter().map(|e| (false, e.sequence, e.timestamp_ns, e.flags));
        self.came.lock().unwrap().extend(events);
        PIPELINE_STORE_OK
    }
    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        for span in batch.spans() {
            let events = span.read().map(|r| (true, r.head.sequence, span.time(&r), r.tag.flags()));
            let events: Vec<Came> = events.collect();
            let times = || events.iter().map(|event| event.2);
            assert_eq!(Some((span.earliest_ns, span.latest_ns)), times().min().zip(times().max()));
            self.came.lock().unwrap().extend(events);
        }
        PIPELINE_STORE_OK
    }
}

fn capture(producer: &Producer, own: Option<u64>) {
    let offer = Offer {
        flags: if own.is_some() { OWN } else { 0 },
        timestamp: own.unwrap_or(0),
        ..Offer::new(1, b"x".as_ptr(), 1)
    };
    // SAFETY: the payload is static.
    assert_eq!(unsafe { producer.capture(&offer) }, PIPELINE_OK);
}

/// Runs a pipeline whose events are captured by `capture`, with no writer yet. `None`: there is no counter here that serves as a clock.
fn came(captures: impl FnOnce(&Pool, &Producer)) -> Option<Vec<Came>> {
    let came = Arc::new(Mutex::new(Vec::new()));
    let config = Config { writers: 0, clock: WantedClock::Auto, ..Config::default() };
    let alive = process::alive().unwrap();
    let storage = Box::new(Taker { came: Arc::clone(&came), most: 1 << 16 });
    let pool = Pool::start(config, storage, 1 << 43, alive, barrier::register(), |_| {}).unwrap();
    let is_counter = pool.clock.is_counter();
    let producer = pool.rings.attach_handle().unwrap();
    captures(&pool, producer);
    pool.scale(1).unwrap();
    pool.close(Some(Duration::from_secs(60))).unwrap();
    let metrics = pool.metrics();
    assert!(metrics.ledger.balances() && metrics.ledger.stored == metrics.ledger.captured);
    while !pool.tear_down_if_at_rest() {
        std::thread::yield_now();
    }
    let came = came.lock().unwrap().clone();
    is_counter.then_some(came)
}

#[test]
fn a_span_may_have_readings_times_of_the_clock_and_times_of_its_callers() {
    let came = came(|pool, producer| {
        capture(producer, None);
        capture(producer, Some(3));
        // (As if another clock had taken over, while the timeline is right still.)
        pool.intake().distrust_ticks();
        capture(producer, None);
        capture(producer, Some(u64::MAX));
    });
    let Some(came) = came else { return };
    let all: Vec<_> = came.iter().map(|&(span, sequence, _, flags)| (span, sequence, flags)).collect();
    assert_eq!(all, [(true, 0, 0), (true, 1, OWN), (true, 2, 0), (true, 3, OWN)]);
    assert_eq!((came[1].2, came[3].2), (3, u64::MAX));
    assert!(came[2].2.abs_diff(came[0].2) < 60_000_000_000, "{came:?}");
}

#[test]
fn a_batch_comes_as_views_if_the_counter_is_no_clock_any_more_and_as_spans_again_without_readings() {
    let came = came(|pool, producer| {
        for _ in 0..20 {
            capture(producer, None);
        }
        if let Some(timeline) = pool.clock.timeline() {
            timeline.distrust(777);
        }
        pool.intake().distrust_ticks();
    });
    let Some(came) = came else { return };
    let wanted: Vec<Came> = (0..20).map(|n| (false, n, 777, 0)).collect();
    assert_eq!(came, wanted, "as views, and no later than the counter was a clock");

    let came = self::came(|pool, producer| {
        if let Some(timeline) = pool.clock.timeline() {
            timeline.distrust(777);
        }
        pool.intake().distrust_ticks();
        for _ in 0..20 {
            capture(producer, None);
        }
    });
    assert!(came.is_some_and(|came| came.len() == 20 && came.iter().all(|event| event.0)));
}

// ---- without memory ----

/// Their views take more than the 64 MB of address space that the C library keeps for the allocations of a thread.
const EVENTS: u64 = 1_200_000;

/// The address space of the process in bytes.
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("the process's size");
    let pages: u64 = pages.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number");
    // SAFETY: the call has no pointers.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

/// Limits the address space of the process.
fn limit_memory(bytes: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: plain data.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// Whether there is memory for the views of all events.
fn has_memory() -> bool {
    Vec::<EventView>::new().try_reserve(EVENTS as usize).is_ok()
}

#[test]
fn a_batch_whose_times_no_pieces_tell_waits_until_there_is_memory_for_its_views() {
    const NAME: &str =
        "pool::spans::tests::a_batch_whose_times_no_pieces_tell_waits_until_there_is_memory_for_its_views";
    const ALONE: &str = "CAPTURE_PIPELINE_TEST_ALONE";
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain data.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) }, 0);
    if limit.rlim_max != libc::RLIM_INFINITY || address_space() > 1 << 40 {
        println!(
            "the process has a limit already, or a sanitizer, which ends it where there is no memory: not tried"
        );
        return;
    }
    if std::env::var_os(ALONE).is_none() {
        // In a process of its own, because the limit is one of the process.
        let this = std::env::current_exe().expect("this program");
        let run =
            std::process::Command::new(this).args(["--exact", NAME, "--nocapture"]).env(ALONE, "1").output();
        let run = run.expect("it runs");
        let out = String::from_utf8_lossy(&run.stdout);
        assert!(
            run.status.success() && out.contains("1 passed"),
            "{out}{}",
            String::from_utf8_lossy(&run.stderr)
        );
        return;
    }
    let came = Arc::new(Mutex::new(Vec::with_capacity(EVENTS as usize)));
    let config = Config { ring_bytes: 64 << 20, batch_bytes: 1 << 32, ..Config::default() };
    let storage = Box::new(Taker { came: Arc::clone(&came), most: u64::MAX });
    let pool = Pool::start(config, storage, 1 << 43, process::alive().unwrap(), barrier::register(), |_| {})
        .unwrap();
    let Some(timeline) = pool.clock.timeline() else { return };
    pool.set_paused(true).unwrap();
    let producer = pool.rings.attach_handle().unwrap();
    for _ in 0..EVENTS {
        // SAFETY: no payload.
        assert_eq!(unsafe { producer.capture(&Offer::new(1, std::ptr::null(), 0)) }, PIPELINE_OK);
    }
    timeline.distrust(777);
    pool.intake().distrust_ticks();
    limit_memory(address_space() + (8 << 20));
    if has_memory() {
        println!("this system does not limit memory: not tried");
        return;
    }
    pool.set_paused(false).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(60);
    // A batch is put there when its views could not be made.
    while pool.lock().batches.ready.is_empty() {
        assert!(std::time::Instant::now() < until, "no batch waits: {:?}", pool.ledger());
        std::thread::yield_now();
    }
    let (ledger, shown) = (pool.ledger(), came.lock().unwrap().len());
    limit_memory(libc::RLIM_INFINITY);
    assert_eq!((ledger.in_flight, ledger.stored, shown), (EVENTS, 0, 0), "claimed, and shown to nobody");
    pool.close(Some(Duration::from_secs(60))).unwrap();
    let ledger = pool.ledger();
    assert!(ledger.balances() && ledger.stored == EVENTS, "{ledger:?}");
    while !pool.tear_down_if_at_rest() {
        std::thread::yield_now();
    }
    let came = came.lock().unwrap();
    assert_eq!(came.len() as u64, EVENTS);
    assert!(came.iter().zip(0..).all(|(event, n)| *event == (false, n, 777, 0)));
}
