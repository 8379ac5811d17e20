//! The runs: seed after seed, one in 64 twice, on one processor; the sums at the end.

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
    // Whatever is made once in a process is made here.
    run_one(0);
    if std::env::var_os("TRACE").is_some() {
        capture_pipeline::ffi::log::pipeline_log_callback(Some(say), std::ptr::null_mut(), 4);
    }
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        let (report, sums) = run_one(seed);
        println!("SEED={seed}: {report:?} {sums:?}");
        return;
    }
    let began = std::time::Instant::now();
    let (mut steps, mut switches, mut virtual_ns, mut all) = (0u64, 0u64, 0u64, Sums::default());
    for i in 0..count {
        let seed = from + i;
        let (report, sums) = run_one(seed);
        if i % 64 == 0 {
            let again = run_one(seed).0;
            assert_eq!(report, again, "SEED={seed} is not had again");
        }
        steps += report.steps;
        switches += report.switches;
        virtual_ns += report.virtual_ns;
        all.captured += sums.captured;
        all.stored += sums.stored;
        all.retries += sums.retries;
        all.exchanges += sums.exchanges;
        all.restarts += sums.restarts;
        all.spans += sums.spans;
        if (i + 1) % (count / 10).max(1) == 0 {
            println!("simulator: {} of {count} seeds in {:.0} s", i + 1, began.elapsed().as_secs_f64());
        }
    }
    println!(
        "simulator: {count} seeds from {from}: {steps} points, {switches} switches, {:.0} s of virtual time; {} events \
         captured, {} stored, {} retries, {} answers exchanged, {} writers replaced, {} attempts \
         shown as spans",
        virtual_ns as f64 / 1e9,
        all.captured,
        all.stored,
        all.retries,
        all.exchanges,
        all.restarts,
        all.spans
    );
    assert!(count < 1_000 || all.spans > 0, "no batch was shown as spans");
    println!("test result: ok. {count} passed; 0 failed");
}
