//! The runs: seed after seed, one in 64 twice, on one processor; the sums at the end. Each seed has a run with the storage that fails, and
//! one in four has one with a journal besides.

use crate::journal;
use crate::scene::{Sums, play};
use crate::world;
use capture_pipeline::platform::simulator;
use std::ffi::c_void;
use std::sync::Arc;

fn run_one(seed: u64) -> (simulator::Report, Sums) {
    let sums = Arc::new(std::sync::Mutex::new(Sums::default()));
    let kept = Arc::clone(&sums);
    let report = simulator::run(seed, seed % 4 == 1, move || match play(seed) {
        Ok(sums) => *kept.lock().unwrap() = sums,
        Err(what) => simulator::fail(&what),
    });
    let sums = *sums.lock().unwrap();
    (report, sums)
}

/// The run of a seed with a journal, whose files are judged after its end.
fn run_journal(seed: u64) -> (simulator::Report, journal::Sums) {
    let (report, judged) = journal::run_one(seed);
    match judged {
        Ok(sums) => (report, sums),
        Err(what) => {
            eprintln!("\nsimulator: SEED={seed} failed at step {}, its end: {what}", report.steps);
            journal::remove_scratch();
            std::process::exit(1);
        }
    }
}

/// One seed in 64 is run twice, and must pass through the same points.
fn check_again<S>(seed: u64, report: &simulator::Report, run: fn(u64) -> (simulator::Report, S)) {
    if seed.is_multiple_of(64) {
        assert_eq!(*report, run(seed).0, "SEED={seed} is not had again");
    }
}

/// Which runs are made.
struct Scenes {
    /// One with the storage that fails, for each seed.
    pool: bool,
    /// One with a journal, for one seed in so many; 0: none.
    journal: u64,
}

impl Scenes {
    /// As the variable SCENE says.
    fn wanted() -> Self {
        match std::env::var("SCENE").as_deref() {
            Ok("pool") => Self { pool: true, journal: 0 },
            Ok("journal") => Self { pool: false, journal: 1 },
            Ok(other) => panic!("SCENE is pool or journal, not {other}"),
            Err(_) => Self { pool: true, journal: 4 },
        }
    }
}

/// The reports of many runs.
#[derive(Default)]
struct Points {
    steps: u64,
    switches: u64,
    virtual_ns: u64,
}

impl Points {
    fn add(&mut self, report: &simulator::Report) {
        self.steps += report.steps;
        self.switches += report.switches;
        self.virtual_ns += report.virtual_ns;
    }
}

impl std::fmt::Display for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.virtual_ns as f64 / 1e9;
        write!(f, "{} points, {} switches, {seconds:.0} s of virtual time", self.steps, self.switches)
    }
}

unsafe extern "C" fn say(_: *mut c_void, _level: i32, text: *const std::ffi::c_char) {
    // SAFETY: the library gives a string.
    println!("{}: {:?}", world::now_ns(), unsafe { std::ffi::CStr::from_ptr(text) });
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|s| s.parse().ok()).unwrap_or(default)
}

/// Only one thread runs at a time: the baton is passed ten times as fast where nobody has to be woken on another processor.
fn stay_on_one_processor() {
    // SAFETY: plain data, written and read by the calls.
    unsafe {
        let (mut all, mut one): (libc::cpu_set_t, libc::cpu_set_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut all);
        let cpus: Vec<usize> =
            (0..libc::CPU_SETSIZE as usize).filter(|&i| libc::CPU_ISSET(i, &all)).collect();
        if !cpus.is_empty() {
            libc::CPU_SET(cpus[number("JOB", 0) as usize % cpus.len()], &mut one);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one);
        }
    }
}

pub fn main() {
    // Panics of the storage are part of the play.
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        if !text.contains("the storage's own fault") {
            eprintln!("{text}");
        }
    }));
    stay_on_one_processor();
    let (count, from) = (number("SEEDS", 5_000), number("FROM", 1));
    let scenes = Scenes::wanted();
    // Whatever is made once in a process is made here.
    run_one(0);
    crate::files::check();
    run_journal(0);
    if std::env::var_os("TRACE").is_some() {
        capture_pipeline::ffi::log::pipeline_log_callback(Some(say), std::ptr::null_mut(), 4);
    }
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        if scenes.pool {
            let (report, sums) = run_one(seed);
            println!("SEED={seed}: {report:?} {sums:?}");
        }
        if scenes.journal != 0 {
            let (report, sums) = run_journal(seed);
            println!("SEED={seed}, with a journal: {report:?} {sums:?}");
        }
        journal::remove_scratch();
        return;
    }
    let began = std::time::Instant::now();
    let (mut points, mut all, mut journals) = (Points::default(), Sums::default(), journal::Sums::default());
    let (mut pool_runs, mut journal_runs) = (0u64, 0u64);
    for i in 0..count {
        let seed = from + i;
        if scenes.pool {
            let (report, sums) = run_one(seed);
            check_again(seed, &report, run_one);
            points.add(&report);
            all.add(&sums);
            pool_runs += 1;
        }
        if scenes.journal != 0 && seed.is_multiple_of(scenes.journal) {
            let (report, sums) = run_journal(seed);
            check_again(seed, &report, run_journal);
            points.add(&report);
            journals.add(&sums);
            journal_runs += 1;
        }
        if (i + 1) % (count / 10).max(1) == 0 {
            println!("simulator: {} of {count} seeds in {:.0} s", i + 1, began.elapsed().as_secs_f64());
        }
    }
    println!("simulator: {count} seeds from {from}: {points}");
    if pool_runs > 0 {
        println!("simulator: {pool_runs} runs with a storage that fails: {all}");
        assert!(pool_runs < 1_000 || all.sampled > 0, "no event was sampled out");
        assert!(pool_runs < 1_000 || all.ruled_out > 0, "no event was dropped by a rule");
        assert!(pool_runs < 1_000 || all.spans > 0, "no batch was shown as spans");
        let turns = all.first > 0 && all.eighth > 0;
        assert!(pool_runs < 1_000 || turns, "no call with priority, or none without, while both waited");
        let traces = all.cut > 0 && all.partial > 0 && all.weighed > 0;
        assert!(pool_runs < 1_000 || traces, "no trace was sampled out, flagged or kept with a weight");
        assert!(pool_runs < 1_000 || all.recovered > 0, "no event was recovered");
        let transformed = all.filtered > 0 && all.rewritten > 0;
        assert!(pool_runs < 1_000 || transformed, "no event was filtered or rewritten");
    }
    if journal_runs > 0 {
        println!("simulator: {journal_runs} runs with a journal: {journals}");
        let missing = journals.missing();
        assert!(journal_runs < 500 || missing.is_empty(), "never happened with a journal: {missing:?}");
    }
    journal::remove_scratch();
    println!("test result: ok. {count} passed; 0 failed");
}
