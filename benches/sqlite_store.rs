//! Throughput of the SQLite storage: alone, with synthetic batches, and at the end of a pipeline.
//!
//! `cargo bench --bench sqlite_store -- [events] [directory]`. Prints events per second of elapsed time and of
//! the library's processor time, and checks that every event is in the database.

use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::capture::Offer;
use capture_pipeline::config::{Config, Overflow};
use capture_pipeline::event::EventView;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::storage::sqlite::{Options, SqliteStorage};
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, Storage};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const PAYLOAD: usize = 64;

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let events: usize = args.next().and_then(|a| a.parse().ok()).unwrap_or(3_000_000);
    let directory = args.next().map_or_else(std::env::temp_dir, Into::into);
    let path = directory.join(format!("sqlite_store-{}.db", std::process::id()));
    println!("{events} events of {PAYLOAD} bytes, {}", path.display());
    for (rings, batch, options) in [
        (1, 512, Options { indexes: false, ..Options::default() }),
        (4, 512, Options { indexes: false, ..Options::default() }),
        (4, 512, Options { indexes: false, commit_events: 1_024, ..Options::default() }),
        (4, 512, Options { indexes: false, commit_events: 16_384, ..Options::default() }),
        (4, 32, Options { indexes: false, ..Options::default() }),
        (4, 512, Options { indexes: false, max_bytes: 64 << 20, ..Options::default() }),
    ] {
        alone(&path, events, rings, batch, options);
    }
    for producers in [1, 2] {
        pipeline(&path, events, producers);
    }
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
}

/// Processor time of all threads of the process except the calling one.
fn other_threads_cpu() -> Duration {
    let read = |clock| {
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes to a local.
        unsafe { libc::clock_gettime(clock, &raw mut t) };
        Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
    };
    let own = read(libc::CLOCK_THREAD_CPUTIME_ID);
    read(libc::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(own)
}

/// Checks the database and prints a line.
fn report(what: &str, path: &Path, events: usize, bounded: bool, wall: Duration, cpu: Duration) {
    let db = rusqlite::Connection::open(path).expect("the database opens");
    let (rows, deleted): (i64, i64) = db
        .query_row("SELECT (SELECT count(*) FROM events), (SELECT sum(deleted) FROM runs)", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
        .expect("the tables exist");
    assert_eq!(rows + deleted, events as i64, "rows and deleted rows are all events");
    assert!(bounded || deleted == 0);
    let bytes = std::fs::metadata(path).map_or(0, |m| m.len());
    println!(
        "{what}: {:.0} events/s, {:.0} per second of the library's processor time, {:.1} bytes a row",
        events as f64 / wall.as_secs_f64(),
        events as f64 / cpu.as_secs_f64(),
        bytes as f64 / rows as f64,
    );
}

#[derive(Default)]
struct Answers {
    free: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl token::Answered for Answers {
    fn set_stored(&self, _: usize, _: u64, _: usize) -> capture_pipeline::status::Result<()> {
        unreachable!("the SQLite storage stores all of a batch or nothing")
    }
    fn set_rejected(&self, _: usize, _: u64, index: usize) -> capture_pipeline::status::Result<()> {
        panic!("event {index} was rejected")
    }
    fn complete(
        self: Arc<Self>,
        slot: usize,
        _: u64,
        _: usize,
        result: i32,
    ) -> capture_pipeline::status::Result<()> {
        assert_eq!(result, PIPELINE_STORE_OK);
        self.free.lock().expect("not poisoned").push(slot);
        self.changed.notify_one();
        Ok(())
    }
}

fn alone(path: &Path, events: usize, rings: usize, batch: usize, options: Options) {
    const IN_FLIGHT: usize = 64;
    remove(path);
    let storage = SqliteStorage::open(path, options).expect("the database opens");
    let payload: Vec<u8> = (0..PAYLOAD * batch).map(|i| (i * 31) as u8).collect();
    let mut views: Vec<Vec<EventView>> = vec![Vec::new(); IN_FLIGHT];
    let mut batches: Vec<Box<BatchView>> = Vec::new();
    for _ in 0..IN_FLIGHT {
        batches.push(Box::new(BatchView {
            struct_size: size_of::<BatchView>() as u32,
            event_stride: size_of::<EventView>() as u32,
            pipeline_id: 1,
            generation: 0x8123_4567_89ab_cdef,
            batch_id: 0,
            token: 0,
            attempt: 1,
            writer_id: 1,
            processed_at_ns: 1,
            realtime_offset_ns: 1_700_000_000_000_000_000,
            writer_data: std::ptr::null_mut(),
            count: 0,
            events: std::ptr::null(),
        }));
    }
    let answers = Arc::new(Answers { free: Mutex::new((0..IN_FLIGHT).collect()), changed: Condvar::new() });
    let answered: Arc<dyn token::Answered> = answers.clone();
    let mut issuers: Vec<token::Issuer> = (0..IN_FLIGHT)
        .map(|slot| token::Issuer::new(Arc::downgrade(&answered), slot).expect("memory"))
        .collect();
    let mut sequences = vec![0u64; rings];
    let mut at = 0;
    let (cpu, start) = (other_threads_cpu(), Instant::now());
    while at < events {
        let slot = {
            let mut free = answers.free.lock().expect("not poisoned");
            loop {
                match free.pop() {
                    Some(slot) => break slot,
                    None => free = answers.changed.wait(free).expect("not poisoned"),
                }
            }
        };
        let count = batch.min(events - at);
        views[slot].clear();
        for i in 0..count {
            let ring = i * rings / count;
            views[slot].push(EventView {
                ring_id: ring as u64 + 1,
                sequence: sequences[ring],
                timestamp_ns: 1_000_000_000 + 1_000 * (at + i) as u64,
                correlation_id: ((at + i) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                node_id: 0x5500_0000_0000 + (at + i) as u64 % 1_000,
                kind: 1 + i as u32 % 5,
                flags: 0,
                weight: 1.0,
                data: payload[PAYLOAD * i..].as_ptr().cast(),
                len: PAYLOAD,
            });
            sequences[ring] += 1;
        }
        at += count;
        let view = &mut batches[slot];
        view.count = count;
        view.events = views[slot].as_ptr();
        view.token = issuers[slot].issue().expect("a token");
        assert_eq!(storage.store(view), PIPELINE_STORE_PENDING);
    }
    assert_eq!(storage.flush(60_000), 0);
    let (wall, cpu) = (start.elapsed(), other_threads_cpu() - cpu);
    assert_eq!(storage.finish(-1), 0); // closes the database, so that its size is final
    drop(storage);
    let what = format!(
        "alone, {rings} rings, batches of {batch}, {} events a commit, max_bytes {}",
        options.commit_events, options.max_bytes
    );
    report(&what, path, events, options.max_bytes != 0, wall, cpu);
    remove(path);
}

fn pipeline(path: &Path, events: usize, producers: usize) {
    remove(path);
    let storage = SqliteStorage::open(path, Options { indexes: false, ..Options::default() })
        .expect("the database opens");
    let config = Config { overflow: Overflow::Block, block_timeout_us: 60_000_000, ..Config::default() };
    let pipeline = Pipeline::start(config, storage).expect("the pipeline starts");
    let each = events / producers;
    let (cpu, start) = (other_threads_cpu(), Instant::now());
    let mut captured_cpu = Duration::ZERO;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..producers)
            .map(|_| {
                let pipeline = &pipeline;
                scope.spawn(move || {
                    let payload = [7u8; PAYLOAD];
                    for i in 0..each {
                        let offer = Offer {
                            correlation_id: i as u64,
                            node_id: 5,
                            ..Offer::new(1, payload.as_ptr(), payload.len())
                        };
                        // SAFETY: the payload is a local.
                        assert_eq!(unsafe { pipeline.capture(&offer) }, 0);
                    }
                    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                    // SAFETY: writes to a local.
                    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut t) };
                    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
                })
            })
            .collect();
        for thread in threads {
            captured_cpu += thread.join().expect("the producer does not panic");
        }
    });
    pipeline.flush(Some(Duration::from_secs(60))).expect("the flush succeeds");
    let (wall, cpu) = (start.elapsed(), (other_threads_cpu() - cpu).saturating_sub(captured_cpu));
    pipeline.close(Some(Duration::from_secs(60))).expect("the close succeeds");
    let metrics = pipeline.metrics();
    assert_eq!(metrics.ledger.stored as usize, each * producers);
    pipeline.destroy().expect("no thread is left");
    drop(pipeline);
    report(&format!("pipeline, {producers} producers"), path, each * producers, false, wall, cpu);
    println!(
        "    batches {}, latency p50 {} us, p99 {} us, capture {:.0} ns of processor time an event",
        metrics.batches,
        metrics.latency.p50 / 1_000,
        metrics.latency.p99 / 1_000,
        captured_cpu.as_nanos() as f64 / (each * producers) as f64
    );
    remove(path);
}
