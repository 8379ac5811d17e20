//! A process of its own whose pipeline has a ring file, and what `top` shows of it while it runs, is stopped, and has been killed.

use super::*;
use capture_pipeline::config::Config;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::storage::journal::{JournalStorage, Options};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// Events that are stored, and events that are captured after that.
pub const STORED: u64 = 100;
pub const WAITING: u64 = 50;

/// A directory on tmpfs, removed when it is dropped.
pub struct Shared(PathBuf);

impl Shared {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/dev/shm/capture-pipeline-cli-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The process: it has stored events and has captured others since.
pub struct Living {
    child: Child,
    /// The directory of its ring files.
    pub rings: String,
    /// The directory of its journal.
    pub journal: String,
    _directory: Shared,
}

impl Living {
    /// Starts it, and waits until it has captured.
    pub fn start(name: &str) -> Self {
        let directory = Shared::new(name);
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["living::the_process", "--exact", "--ignored", "--nocapture"])
            .env("LIVING_DIRECTORY", &directory.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert!(lines.any(|line| line.expect("a line") == "captured"), "the process has ended");
        let rings = text(&directory.0.join("rings"));
        let journal = text(&directory.0.join("journal"));
        Self { child, rings, journal, _directory: directory }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(done.expect("kill is there").success());
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What [`Living`] runs.
#[test]
#[ignore = "a process of other tests"]
fn the_process() {
    let Some(directory) = std::env::var_os("LIVING_DIRECTORY").map(PathBuf::from) else { return };
    let config = Config {
        name: "living".into(),
        ring_dir: Some(text(&directory.join("rings"))),
        ring_bytes: 64 << 10,
        max_rings: 4,
        ..Config::default()
    };
    let journal = JournalStorage::open(&directory.join("journal"), Options::default()).expect("it opens");
    let pipeline = Pipeline::start(config, journal).expect("the pipeline starts");
    pipeline.kind_name(service::NOTE, b"note").expect("named");
    let capture = |from: u64, to: u64| {
        for n in from..to {
            service::capture(&pipeline, service::NOTE, n, None, &n.to_le_bytes());
        }
    };
    capture(0, STORED);
    pipeline.flush(Some(PATIENCE)).expect("all are stored");
    pipeline.pause().expect("paused");
    capture(STORED, STORED + WAITING);
    println!("captured");
    // Until it is killed, or the test that has started it is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// What `top` sees of the only pipeline, when that is so.
fn until(subject: &str, what: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = well(&["top", "--once", "--json", "--interval", "0.1", subject]);
        let mut seen: Value = serde_json::from_str(&seen).expect("JSON");
        let pipelines = seen["pipelines"].as_array().map_or(0, Vec::len);
        let pipeline = seen["pipelines"][0].take();
        if pipelines == 1 && what(&pipeline) {
            return pipeline;
        }
        assert!(Instant::now() < end, "{pipeline}");
    }
}

#[test]
fn a_pipeline_is_seen_while_it_runs_is_stopped_and_when_it_was_killed() {
    let mut living = Living::start("top");
    let pid = living.id().to_string();
    // (The figures are written each second.)
    let counted = |pipeline: &Value| pipeline["events"]["captured"] == STORED + WAITING;
    for subject in [&living.rings, &pid] {
        let seen = until(subject, counted);
        assert_eq!((&seen["name"], &seen["pid"]), (&json!("living"), &json!(living.id())));
        assert_eq!((&seen["process"], &seen["health"]), (&json!("runs"), &json!("degraded")), "{seen}");
        assert_eq!(seen["reasons"], json!(["paused"]), "{seen}");
        assert_eq!(seen["events"]["stored"], STORED, "{seen}");
        // Records of 48 bytes, and their payload.
        assert_eq!(seen["backlog_bytes"], WAITING * 56, "{seen}");
        assert!(seen["latency"]["p99_ns"].as_u64() > Some(0), "{seen}");
        assert_eq!(seen["writers"][0]["state"], "asleep", "{seen}");
        assert_eq!(seen["writers"][0]["kernel_state"], "S", "{seen}");
        let ring = seen["rings"].as_array().expect("a list").iter().find(|ring| ring["backlog_bytes"] != 0);
        let ring = ring.expect("a ring that has events");
        assert!(ring["tid"].as_u64() > Some(0) && ring["bytes"] == 64 << 10, "{ring}");
    }
    living.signal("STOP");
    let seen = until(&living.rings, |pipeline| pipeline["process"] == "stopped");
    assert_eq!(seen["backlog_bytes"], WAITING * 56, "{seen}");
    until(&pid, |pipeline| pipeline["process"] == "stopped" && pipeline["stale"] == true);
    living.kill();
    let seen = until(&living.rings, |pipeline| pipeline["process"] == "ended");
    assert_eq!((&seen["backlog_bytes"], &seen["stale"]), (&json!(WAITING * 56), &json!(false)), "{seen}");
    assert_eq!(seen["events"]["stored"], STORED, "{seen}");
    assert!(refused(&["top", "--once", &pid]).contains("there is no process"));
}
