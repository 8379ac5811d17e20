//! `top`: what is seen of processes that run, are stopped, or have ended, by their ring files and their live figures.

use super::ring_files::{Event, Idle, RingFile, ended, process};
use super::*;
use capture_pipeline::metrics::pipeline_writer_metrics_t;
use capture_pipeline::platform::time;
use capture_pipeline::pool::health::{PIPELINE_DEGRADED, PIPELINE_HEALTH_PAUSED, PIPELINE_HEALTH_STUCK};
use capture_pipeline::ring_file::format::ring;
use capture_pipeline::storage::journal::{JournalStorage, Options};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const GENERATION: u64 = 0xFEED_0000_0000_0001;

/// What `--once --json` prints.
fn once(arguments: &[&str]) -> Value {
    let all: Vec<&str> =
        ["top", "--once", "--json", "--interval", "0.1"].iter().chain(arguments).copied().collect();
    serde_json::from_str(&well(&all)).expect("JSON")
}

fn members(value: &Value, names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), value[*name].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A directory and its path.
fn directory() -> (Scratch, String) {
    let scratch = Scratch::new();
    let path = text(scratch.path());
    (scratch, path)
}

/// A file with a ring that has 192 of 4,096 bytes, 64 of them claimed, and a priority ring that is full.
fn sample_file(scratch: &Scratch, owner: capture_pipeline::journal::format::segment::Owner) -> RingFile {
    let mut file = RingFile::new(scratch.path(), GENERATION, owner);
    file.ring(1, 7, 4711, "worker");
    file.begin(1, 8000);
    file.capture(1, &Event::new(5, 1, 900, b"sixteen bytes..."));
    file.capture(1, &Event::new(5, 2, 901, b"sixteen bytes..."));
    file.capture(1, &Event::new(5, 3, 902, b""));
    file.word(1, ring::RELEASED, 8064 - 64 + 32);
    file.word(1, ring::CLAIMED, 8064 + 32);
    file.ring(3, 1 << 60, 0, "");
    file.word(3, ring::HEAD, 8192);
    file
}

#[test]
fn rings_and_figures_are_shown_as_the_file_has_them() {
    let (scratch, path) = directory();
    let idle = Idle::new(Stdio::null());
    let file = sample_file(&scratch, process(idle.id()));
    let mut live = file.live(|live| {
        live.figures.metrics.offered = 30;
        live.figures.metrics.captured = 20;
        live.figures.metrics.dropped_full = 6;
        live.figures.metrics.dropped_rule = 4;
        live.figures.metrics.discarded = 1;
        live.figures.metrics.pressure = 80;
        live.figures.condition.status = PIPELINE_DEGRADED;
        live.figures.condition.reasons = PIPELINE_HEALTH_STUCK | PIPELINE_HEALTH_PAUSED;
        live.figures.condition.stuck_ns = 5_000_000_000;
        live.figures.spread.count = 100;
        live.figures.spread.up_to = [0; 26];
        live.figures.spread.up_to[3] = 98;
        live.figures.spread.up_to[4..].fill(100);
        live.figures.spread.max_ns = 10_000;
    });
    let mut writer = pipeline_writer_metrics_t::from_words([]);
    (writer.writer_id, writer.state, writer.thread_id, writer.in_call_ns) = (3, 2, idle.id(), 5_000_000_001);
    live.figures.writers = vec![writer];
    file.figures(&live);
    let before = std::fs::read(&file.path).expect("the file");

    let seen = once(&[&path]);
    let pipeline = &seen["pipelines"][0];
    assert_eq!((seen["pipelines"].as_array().map(Vec::len), &seen["unread"]), (Some(1), &json!([])));
    let file_path = text(&file.path);
    let wanted = json!({
        "generation": "feed000000000001", "name": "audit", "storage": "sqlite", "program": "/usr/bin/service", "pid": idle.id(),
        "file": file_path, "process": "runs", "stale": false, "bytes_per_s": 0.0, "backlog_bytes": 8192 + 144, "in_flight_bytes": 64,
        "fill_percent": 100.0, "lost": 7, "pressure": 80, "circuit": "closed", "health": "degraded", "reasons": ["stuck", "paused"],
        "stuck_ns": 5_000_000_000_u64, "latency": {"p50_ns": 8191, "p99_ns": 10_000}, "recent_latency": null, "writers_left_out": 0,
    });
    let names: Vec<&str> = wanted.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members(pipeline, &names), wanted);
    assert_eq!(
        members(&pipeline["events"], &["offered", "captured", "dropped_full", "dropped_rule"]),
        json!({"offered": 30, "captured": 20, "dropped_full": 6, "dropped_rule": 4})
    );
    // The fullest comes first, because all are as fast.
    assert_eq!(
        pipeline["rings"],
        json!([
            {"ring_id": "7", "priority": false, "tid": 4711, "thread_name": "worker", "bytes": 4096, "bytes_per_s": 0.0, "released_per_s": 0.0,
             "backlog_bytes": 144, "in_flight_bytes": 64, "fill_percent": 3.5},
            {"ring_id": (1_u64 << 60).to_string(), "priority": true, "tid": null, "thread_name": null, "bytes": 8192, "bytes_per_s": 0.0,
             "released_per_s": 0.0, "backlog_bytes": 8192, "in_flight_bytes": 0, "fill_percent": 100.0},
        ])
    );
    let writer = &pipeline["writers"][0];
    assert_eq!(
        members(writer, &["writer_id", "tid", "state", "in_call_ns", "kernel_state"]),
        json!({"writer_id": "3", "tid": idle.id(), "state": "in_call", "in_call_ns": 5_000_000_001_u64, "kernel_state": "S"})
    );
    assert_eq!(std::fs::read(&file.path).expect("the file"), before, "it is not changed");

    // The same as text.
    let tables = well(&["top", "--once", "--interval", "0.1", "--sort", "fill", &path]);
    let line = |part: &str| {
        tables.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part} in\n{tables}"))
    };
    assert!(line("8.1 KiB").contains("degraded, stuck, paused"), "{tables}");
    assert!(line("in a call of the storage").contains("5.0 s"), "{tables}");
    assert!(line("worker/4711").contains("4 %"), "{tables}");
    let place = |part: &str| tables.find(part).expect("it is there");
    assert!(place("priority") < place("worker/4711"), "the fullest ring comes first:\n{tables}");
}

#[test]
fn a_process_that_is_stopped_or_has_ended_is_seen_as_well() {
    let (scratch, path) = directory();
    let mut idle = Idle::new(Stdio::null());
    let mut file = sample_file(&scratch, process(idle.id()));
    let ten_seconds_ago = time::now_ns() - 10_000_000_000;
    file.figures(&file.live(|live| live.monotonic_ns = ten_seconds_ago));
    let state = || {
        let seen = once(&[&path]);
        members(&seen["pipelines"][0], &["process", "stale", "backlog_bytes", "captured_per_s"])
    };
    assert_eq!(
        state(),
        json!({"process": "runs", "stale": false, "backlog_bytes": 8336, "captured_per_s": 0.0})
    );
    idle.signal("STOP");
    let end = Instant::now() + PATIENCE;
    while state()["process"] != "stopped" {
        assert!(Instant::now() < end, "{}", state());
    }
    // What it would count is not known while it cannot write it.
    assert_eq!(
        state(),
        json!({"process": "stopped", "stale": true, "backlog_bytes": 8336, "captured_per_s": null})
    );
    let tables = well(&["top", "--once", "--interval", "0.1", &path]);
    assert!(tables.contains("stopped") && tables.contains(" old"), "{tables}");
    idle.signal("KILL");
    idle.0.wait().expect("it has ended");
    file.unlock();
    assert_eq!(
        state(),
        json!({"process": "ended", "stale": false, "backlog_bytes": 8336, "captured_per_s": null})
    );
}

/// The lines that `top --json` prints.
struct Stream {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Stream {
    fn new(arguments: &[&str]) -> Self {
        let all: Vec<&str> =
            ["top", "--json", "--interval", "0.1"].iter().chain(arguments).copied().collect();
        let mut child = command(&all).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// The pipeline of the next line.
    fn next(&mut self) -> Value {
        let line = self.lines.next().expect("a line").expect("it is read");
        let mut seen: Value = serde_json::from_str(&line).expect("JSON");
        seen["pipelines"][0].take()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn rates_are_what_has_changed_from_look_to_look() {
    let (scratch, path) = directory();
    let idle = Idle::new(Stdio::null());
    let mut file = sample_file(&scratch, process(idle.id()));
    let moment = time::now_ns();
    let live = |captured: u64, stored: u64, at: u64| {
        file.live(|live| {
            (live.figures.metrics.captured, live.figures.metrics.stored) = (captured, stored);
            live.figures.metrics.dropped_full = captured;
            live.figures.spread.count = stored;
            live.figures.spread.up_to[(stored > 100) as usize..].fill(stored);
            live.figures.spread.max_ns = 1 << 40;
            live.monotonic_ns = at;
        })
    };
    let (first, second) = (live(1_000, 100, moment), live(1_600, 400, moment + 2_000_000_000));
    file.figures(&first);
    let mut stream = Stream::new(&[&path]);
    let seen = stream.next();
    assert_eq!(
        members(&seen, &["bytes_per_s", "lost_per_s"]),
        json!({"bytes_per_s": null, "lost_per_s": null})
    );
    file.figures(&second);
    file.capture(1, &Event::new(5, 4, 903, &[1; 8]));
    let end = Instant::now() + PATIENCE;
    let mut moved = 0.0;
    let seen = loop {
        let seen = stream.next();
        moved += seen["bytes_per_s"].as_f64().expect("a number");
        if moved > 0.0 && seen["captured_per_s"].as_f64() > Some(0.0) {
            break seen;
        }
        assert!(Instant::now() < end, "{seen}");
    };
    // 72 bytes, with the pad, in a tenth of a second or more.
    assert!((1.0..=720.0).contains(&moved), "{moved}");
    assert_eq!(
        members(&seen, &["captured_per_s", "stored_per_s", "lost_per_s", "recent_latency"]),
        json!({"captured_per_s": 300.0, "stored_per_s": 150.0, "lost_per_s": 300.0, "recent_latency": {"p50_ns": 2047, "p99_ns": 2047}})
    );
}

#[test]
fn a_process_is_found_by_the_files_that_it_has_open() {
    let (scratch, path) = directory();
    let file = RingFile::new(scratch.path(), GENERATION, process(std::process::id()));
    let open = || std::fs::File::open(&file.path).expect("the file");
    let (owner, other) = (Idle::new(open()), Idle::new(open()));
    file.put(
        0,
        &capture_pipeline::ring_file::format::Header { owner: process(owner.id()), ..file.header.clone() }
            .encode(),
    );
    file.ring(0, 1, 1, "one");
    let pid = owner.id().to_string();
    let seen = || {
        let seen = once(&[&pid]);
        members(&seen["pipelines"][0], &["generation", "process", "file"])
    };
    let wanted = json!({"generation": "feed000000000001", "process": "runs", "file": text(&file.path)});
    assert_eq!(seen(), wanted);
    // Another process has it open as well, and is not its owner.
    let message = refused(&["top", "--once", &other.id().to_string()]);
    assert!(message.contains("no ring file") && message.contains("ring_dir"), "{message}");
    // It may be deleted while the process has it.
    std::fs::remove_file(&file.path).expect("deleted");
    assert_eq!(seen(), wanted);
    let none = run(&["top", "--once", "--interval", "0.1", &path]);
    assert_eq!((none.status, none.out.as_str()), (0, ""));
    assert!(none.err.contains("no pipeline is there"), "{}", none.err);

    let message = refused(&["top", "--once", "4194305"]);
    assert!(message.contains("there is no process 4194305"), "{message}");
    for (arguments, part) in [
        (&["top", "--once", "0"][..], "process id"),
        (&["top", "--once", "/nowhere/at/all"], "/nowhere/at/all"),
        (&["top", &path], "--once"),
        (&["top", "--once", "--interval", "0", &path], "0.1 to 3600"),
        (&["top", "--once", "--sort", "size", &path], "backlog"),
    ] {
        let message = refused(arguments);
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_shown() {
    let (scratch, path) = directory();
    let file = sample_file(&scratch, ended());
    let other = |generation: u64| RingFile::new(scratch.path(), generation, ended());
    let (version, cut, unfinished) = (other(2), other(3), other(4));
    version.put(12, &9_u32.to_le_bytes());
    std::fs::File::options().write(true).open(&cut.path).and_then(|file| file.set_len(4096)).expect("cut");
    unfinished.put(0, &[0; 8]);
    std::fs::write(scratch.path().join("0000000000000005.rings"), b"rubbish, and more of it")
        .expect("written");
    std::os::unix::fs::symlink(&file.path, scratch.path().join("0000000000000006.rings")).expect("a link");
    std::fs::write(scratch.path().join("0000000000000007.figures"), b"rubbish").expect("written");
    // Words that no library writes, and a pipe that nobody writes to.
    let wild = other(8);
    wild.ring(0, 9, 0, "\u{1b}]0;owned\u{7}");
    for (at, to) in [(ring::HEAD, 7), (ring::CLAIMED, u64::MAX), (ring::RELEASED, u64::MAX - 3)] {
        wild.word(0, at, to);
    }
    wild.ring(1, 10, 5, "\u{1b}]0;owned\u{7}");
    wild.word(1, ring::HEAD, u64::MAX);
    let made = Command::new("mkfifo").arg(scratch.path().join("000000000000000a.rings")).status();
    assert!(made.expect("mkfifo is there").success());

    let done = run(&["top", "--once", "--json", "--interval", "0.1", &path]);
    let seen: Value = serde_json::from_str(&done.out).expect("JSON");
    let generations: Vec<&Value> = seen["pipelines"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|pipeline| &pipeline["generation"])
        .collect();
    assert_eq!(generations, ["0000000000000008", "feed000000000001"]);
    let wild: Vec<&Value> = seen["pipelines"][0]["rings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|ring| &ring["backlog_bytes"])
        .collect();
    assert_eq!(wild, [0, 4096]);
    assert_eq!(done.status, 2);
    let unread: Vec<(&str, &str)> = seen["unread"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|unread| {
            (
                unread["file"].as_str().expect("a text").rsplit('/').next().expect("a name"),
                unread["reason"].as_str().expect("a text"),
            )
        })
        .collect();
    for (name, part) in [
        ("0000000000000002.rings", "layout version 9"),
        ("0000000000000003.rings", "cut"),
        ("0000000000000005.rings", "no ring file"),
        ("0000000000000006.rings", "symbolic link"),
        ("0000000000000007.figures", "no file of live figures"),
        ("000000000000000a.rings", "no ring file"),
    ] {
        assert!(unread.iter().any(|(file, why)| *file == name && why.contains(part)), "{name}: {unread:?}");
        assert!(done.err.contains(name), "{}", done.err);
    }
    assert_eq!(unread.len(), 6, "{unread:?}");
    let tables = run(&["top", "--once", "--interval", "0.1", &path]).out;
    assert!(tables.contains("owned") && !tables.contains('\u{1b}'), "{tables:?}");
}

#[test]
fn the_live_figures_of_a_journal_are_shown_without_rings() {
    let (scratch, path) = directory();
    let options = Options { live_figures: true, ..Options::default() };
    let pipeline = service::start(JournalStorage::open(scratch.path(), options).expect("it opens"));
    for n in 1..=7 {
        service::capture(&pipeline, service::REQUEST, n, None, &service::request(n));
    }
    let end = Instant::now() + PATIENCE;
    let own = std::process::id().to_string();
    for subject in [&path, &own] {
        loop {
            // (Other tests have files open in this process that cannot be read.)
            let seen = run(&["top", "--once", "--json", "--interval", "0.1", subject]).out;
            let seen: Value = serde_json::from_str(&seen).expect("JSON");
            let found = seen["pipelines"].as_array().expect("a list").iter();
            let found = found
                .filter(|pipeline| pipeline["file"].as_str().is_some_and(|file| file.starts_with(&path)));
            let seen: Vec<&Value> = found.collect();
            if let [pipeline] = seen[..]
                && pipeline["events"]["stored"] == 7
            {
                let names = ["storage", "process", "lost", "rings", "in_flight_bytes", "bytes_per_s"];
                assert_eq!(
                    members(pipeline, &names),
                    json!({"storage": "journal", "process": "runs", "lost": 0,
                    "rings": null, "in_flight_bytes": null, "bytes_per_s": null})
                );
                break;
            }
            assert!(Instant::now() < end, "{seen:?}");
        }
    }
    service::close(&pipeline);
}
