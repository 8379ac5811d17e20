//! The rounds: which process is killed where, and what must be true in the end.

use crate::child::{EACH, NO_WRITERS, Progress, THREADS, number, parts};
use crate::target::{self, Found};
use capture_pipeline::platform::kill_point::Point;
use capture_pipeline::recovery::{Options, recover};
use std::io::{IsTerminal, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a point is passed before the process is killed there.
const TIMES: [u64; 4] = [1, 2, 37, 800];
const PATIENCE: Duration = Duration::from_secs(120);

/// Random numbers (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

/// The directory of a round, on tmpfs.
struct Place(PathBuf);

impl Place {
    fn new(round: usize) -> Self {
        let path = PathBuf::from(format!("/dev/shm/kill-matrix-{}-{round}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a name").to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// At a point that it has passed so often.
    At(Point, u64),
    /// The same in a process without writers.
    IdleAt(Point, u64),
    /// After so many microseconds.
    After(u64),
}

fn spawn(arguments: &[&str], kill: Kill) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(arguments).stdin(Stdio::null());
    if let Kill::At(point, times) | Kill::IdleAt(point, times) = kill {
        command.env("KILL_AT", format!("{}:{times}", point.name()));
    }
    if let Kill::IdleAt(..) = kill {
        command.env(NO_WRITERS, "1");
    }
    command.spawn().expect("it starts")
}

/// Waits for a process, and kills it if it is time. Returns whether it was killed.
fn end(mut child: Child, kill: Kill) -> bool {
    if let Kill::After(us) = kill {
        std::thread::sleep(Duration::from_micros(us));
        let _ = child.kill();
    }
    let deadline = Instant::now() + PATIENCE;
    let status: ExitStatus = loop {
        match child.try_wait().expect("it is a child") {
            Some(status) => break status,
            None => assert!(Instant::now() < deadline, "{kill:?}: the process does not end"),
        }
        std::thread::sleep(Duration::from_micros(200));
    };
    assert!(status.success() || status.signal() == Some(libc::SIGKILL), "{kill:?}: {status}");
    status.signal().is_some()
}

/// How many processes of a round were killed: at a point, and later.
#[derive(Clone, Copy, Debug, Default)]
struct Killed {
    at_points: usize,
    later: usize,
}

impl Killed {
    fn note(&mut self, child: Child, kill: Kill) {
        let killed = usize::from(end(child, kill));
        match kill {
            Kill::At(..) => self.at_points += killed,
            Kill::IdleAt(..) | Kill::After(_) => self.later += killed,
        }
    }

    fn add(&mut self, other: Self) {
        self.at_points += other.at_points;
        self.later += other.later;
    }
}

/// One round.
fn round(index: usize, sort: &str, captures: &[Kill], recoveries: &[Kill]) -> Killed {
    let place = Place::new(index);
    let (rings, path, snapshots) = (place.at("rings"), place.at("target"), place.at("snapshots"));
    let mut killed = Killed::default();
    for (run, &kill) in captures.iter().enumerate() {
        let progress = place.at(&format!("progress-{run}"));
        let run = run.to_string();
        killed.note(spawn(&["capture", &rings, &path, sort, &progress, &run, &snapshots], kill), kill);
        // The last runs are recovered together.
        if run == "0" || captures.len() == 1 {
            for &kill in recoveries {
                if Path::new(&rings).exists() {
                    killed.note(spawn(&["recover", &rings, &path, sort], kill), kill);
                }
            }
        }
    }
    if Path::new(&rings).exists() {
        let mut feed = target::feed(sort, Path::new(&path));
        let report = recover(Path::new(&rings), &mut feed, &Options::default(), |_| {}).expect("a directory");
        assert!(report.stopped.is_none() && report.torn == 0, "{report:?}");
        assert_eq!((feed.flush(), feed.finish()), (0, 0));
        let left: Vec<_> = std::fs::read_dir(&rings)
            .expect("it is listed")
            .map(|entry| entry.expect("an entry").file_name())
            .filter(|name| name.to_string_lossy().ends_with(".rings"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let keyed = sort != "file";
    let in_snapshots = target::found("journal", Path::new(&snapshots));
    assert!(
        in_snapshots.values().all(|&times| times == 1),
        "one identity is one event, in however many snapshots it is"
    );
    check_begun(&place, captures.len() as u64, in_snapshots.into_keys());
    check(&place, captures.len() as u64, keyed, target::found(sort, Path::new(&path)));
    killed
}

/// No event that was not begun.
fn check_begun(place: &Place, runs: u64, numbers: impl Iterator<Item = u64>) {
    let begun: Vec<u64> = (0..runs)
        .flat_map(|run| {
            let progress = Progress::open(Path::new(&place.at(&format!("progress-{run}"))));
            (0..THREADS).map(move |thread| progress.of(thread).0)
        })
        .collect();
    for found in numbers {
        let (run, thread, nth) = parts(found);
        assert!(
            nth < begun[(run * THREADS + thread) as usize],
            "event {nth} of thread {thread} of run {run} in a snapshot"
        );
    }
}

fn check(place: &Place, runs: u64, keyed: bool, mut found: Found) {
    for run in 0..runs {
        let progress = Progress::open(Path::new(&place.at(&format!("progress-{run}"))));
        for thread in 0..THREADS {
            let (begun, returned) = progress.of(thread);
            assert!(returned <= begun && begun <= returned + 1 && begun <= EACH);
            for nth in 0..begun {
                let times = found.remove(&number(run, thread, nth)).unwrap_or(0);
                let least = u64::from(nth < returned);
                let right = times >= least && (times <= 1 || !keyed);
                assert!(
                    right,
                    "event {nth} of thread {thread} of run {run} of {begun} begun, {returned} returned: {times} times"
                );
            }
        }
    }
    assert!(found.is_empty(), "invented: {found:?}");
}

/// All rounds.
pub fn run_all() {
    let from_env = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (rounds, seed) = (from_env("KILL_ROUNDS", 150), from_env("KILL_SEED", 1));
    let mut random = Random(seed);
    let mut index = 0;
    let mut total = Killed::default();
    let recovers =
        |point| (Point::EventsRead as usize..=Point::FileEmptied as usize).contains(&(point as usize));
    let in_a_journal = |point| matches!(point, Point::SegmentSealed | Point::SegmentNamed);
    let points = Point::ALL;
    let all = points.len() * TIMES.len() + rounds as usize;
    let tell = |index: usize, what: &str| {
        if std::io::stderr().is_terminal() {
            eprint!("\r{index} of {all} rounds: {what:<40}");
            let _ = std::io::stderr().flush();
        }
    };
    // Every point, with each sort of storage in turn.
    for &point in points {
        let mut killed = Killed::default();
        for (nth, &times) in TIMES.iter().enumerate() {
            tell(index, point.name());
            let sort =
                if in_a_journal(point) { "journal" } else { target::ALL[(index + nth) % target::ALL.len()] };
            let at = Kill::At(point, times);
            killed.add(if recovers(point) {
                round(index, sort, &[Kill::IdleAt(Point::EventPublished, 200)], &[at, at])
            } else {
                let later = Kill::After(20_000 + random.below(30_000));
                round(index, sort, &[at, later], &[Kill::After(random.below(5_000))])
            });
            index += 1;
        }
        assert!(killed.at_points > 0, "{}: never reached", point.name());
        total.add(killed);
    }
    println!(
        "{} points, {index} rounds, {} processes killed at a point, {} at another moment",
        points.len(),
        total.at_points,
        total.later
    );
    let mut killed = Killed::default();
    for nth in 0..rounds {
        tell(index, "random moments");
        let sort = target::ALL[random.below(3) as usize];
        let mut moments = |most: u64| -> Vec<Kill> {
            (0..1 + random.below(most)).map(|_| Kill::After(random.below(60_000))).collect()
        };
        let (captures, recoveries) = (moments(3), moments(2));
        killed.add(round(index, sort, &captures, &recoveries));
        index += 1;
        if (nth + 1) % 500 == 0 {
            println!("{} random rounds, {} processes killed", nth + 1, killed.later);
        }
    }
    println!(
        "{rounds} random rounds (KILL_SEED={seed}), {} processes killed: every event is there, none twice",
        killed.later
    );
}
