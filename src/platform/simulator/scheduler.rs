//! Who runs: the baton, which is passed on at points, and a run from its first thread to its last.

use super::choice::{BEGAN_NS, Policy, Scheduler, State, Thread};
use crate::platform::random::mix;
use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// What a thread is blocked on when it only waits for time.
const TIME: usize = 0;
/// What a thread is blocked on when it waits for all others to end.
const THE_END: usize = 1;

thread_local! {
    static ME: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Cage(UnsafeCell<Option<Scheduler>>);
// SAFETY: only the thread with the baton looks inside; `run` lets one run at a time begin.
unsafe impl Sync for Cage {}
static CAGE: Cage = Cage(UnsafeCell::new(None));

/// What a run was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Points passed.
    pub steps: u64,
    /// Times that the baton was passed on.
    pub switches: u64,
    /// Virtual time that passed.
    pub virtual_ns: u64,
    /// Threads that lived.
    pub threads: u64,
    /// A hash of who ran when: equal for equal seeds.
    pub trace: u64,
}

/// Whether the calling thread is one of a run.
#[inline]
pub fn is_simulated() -> bool {
    ME.get() != usize::MAX
}

/// The scheduler, for the thread with the baton.
fn with<T>(f: impl FnOnce(&mut Scheduler, usize) -> T) -> T {
    let me = ME.get();
    // SAFETY: a simulated thread runs only while it holds the baton, and `f` never calls back here.
    match unsafe { (*CAGE.0.get()).as_mut() } {
        Some(scheduler) if me != usize::MAX => f(scheduler, me),
        _ => unreachable!("not a thread of the simulator"),
    }
}

/// Passes the baton to `to`, and waits for it to come back if `me` is still to run.
fn pass(me: usize, to: usize, comes_back: bool) {
    if me == to {
        return;
    }
    let (mine, theirs) = with(|s, _| {
        s.switches += 1;
        s.trace = mix(s.trace ^ (to as u64) << 48 ^ s.steps);
        (Arc::clone(&s.threads[me].baton), Arc::clone(&s.threads[to].baton))
    });
    give(&theirs);
    if comes_back {
        take(&mine);
    }
}

fn give(baton: &AtomicU32) {
    baton.store(1, Ordering::Release);
    // SAFETY: only the word's address is used.
    unsafe { libc::syscall(libc::SYS_futex, baton.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
}

fn take(baton: &AtomicU32) {
    while baton.swap(0, Ordering::Acquire) == 0 {
        let none = std::ptr::null::<libc::timespec>();
        // SAFETY: the word outlives the call; without a timeout.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                baton.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                0,
                none,
            )
        };
    }
}

/// A point at which another thread may come between.
#[inline]
pub fn point() {
    if !is_simulated() {
        return;
    }
    if with(|s, _| s.pass_point()) {
        let to = with(|s, me| s.relieve(me));
        pass(ME.get(), to, true);
    }
}

/// Lets another thread run, if one can.
pub fn step_aside() {
    let to = with(|s, me| {
        s.steps += 1;
        s.now += 1_000;
        s.lower(me);
        s.choose(Some(me))
    });
    pass(ME.get(), to, true);
}

/// Blocks the calling thread until it is woken or the time has come.
pub fn block(on: usize, until: u64) {
    let to = with(|s, me| {
        s.threads[me].state = State::Blocked { on, until };
        s.choose(None)
    });
    pass(ME.get(), to, true);
}

/// Makes up to `count` of the threads that sleep on an address runnable, in random order. By a thread that is not simulated:
/// nothing.
pub fn wake(on: usize, count: usize) {
    if !is_simulated() {
        return;
    }
    with(|s, _| {
        for _ in 0..count {
            let asleep: Vec<usize> = (0..s.threads.len())
                .filter(|&t| matches!(s.threads[t].state, State::Blocked { on: o, .. } if o == on))
                .collect();
            if asleep.is_empty() {
                break;
            }
            let at = s.below(asleep.len() as u64) as usize;
            s.threads[asleep[at]].state = State::Runnable;
            if matches!(s.policy, Policy::Priority { .. }) {
                s.countdown = 0;
            }
        }
    });
}

/// Sleeps in virtual time.
pub fn sleep_ns(ns: u64) {
    block(TIME, now_ns().saturating_add(ns));
}

/// The virtual clock; a point.
pub fn now_ns() -> u64 {
    point();
    with(|s, _| s.now)
}

/// The virtual processor's counter; a point. It drifts against the virtual clock, by up to 500 parts in a million, to and fro.
pub fn ticks() -> u64 {
    let now = now_ns();
    let phase = now & ((1 << 24) - 1);
    2 * now + phase.min((1 << 24) - phase) / 1_000
}

/// For how long the machine has stood still in this run.
pub fn stalled_ns() -> u64 {
    with(|s, _| s.stalled)
}

/// The longest time for which it did.
pub fn longest_stall_ns() -> u64 {
    with(|s, _| s.longest_stall)
}

/// Whether every thread that can run does so before long.
pub fn is_fair() -> bool {
    with(|s, _| matches!(s.policy, Policy::Random { .. }))
}

/// A random number below `n`.
pub fn dice(n: u64) -> u64 {
    with(|s, _| s.below(n))
}

/// True once in `n`.
pub fn once_in(n: u64) -> bool {
    dice(n) == 0
}

/// Ends the process: the run has shown a defect.
pub fn fail(what: &str) -> ! {
    with(|s, _| s.fail(what))
}

pub(super) fn refuses_threads() -> bool {
    with(|s, _| s.thread_failures)
}

/// A place for a thread that is about to be created.
pub(super) fn enter_new() -> (usize, Arc<AtomicU32>) {
    with(|s, _| {
        let priority = s.roll() >> 16 | 1 << 47;
        let baton = Arc::<AtomicU32>::default();
        s.threads.push(Thread { baton: Arc::clone(&baton), state: State::Runnable, priority });
        s.alive += 1;
        (s.threads.len() - 1, baton)
    })
}

/// The first thing that a new thread does: waits for its turn.
pub(super) fn begin(place: usize, baton: &AtomicU32) {
    take(baton);
    ME.set(place);
}

/// The calling thread is at its end.
pub(super) fn leave() {
    let to = with(|s, me| {
        s.threads[me].state = State::Gone;
        s.alive -= 1;
        let alone = s.alive == 1;
        for t in &mut s.threads {
            let waits =
                matches!(t.state, State::Blocked { on, .. } if on == me + 16 || (on == THE_END && alone));
            if waits {
                t.state = State::Runnable;
            }
        }
        s.choose(None)
    });
    let me = ME.get();
    pass(me, to, false);
    ME.set(usize::MAX);
}

/// Waits until the thread of a place is gone.
pub(super) fn wait_for(place: usize) {
    while with(|s, _| s.threads[place].state != State::Gone) {
        block(place + 16, u64::MAX);
    }
}

/// One run: `body`, and all threads that it starts, until the last has ended.
pub fn run(seed: u64, thread_failures: bool, body: impl FnOnce() + Send + 'static) -> Report {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let scheduler = Scheduler::new(seed, thread_failures);
    // SAFETY: no run is under way, so nobody looks inside.
    unsafe { *CAGE.0.get() = Some(scheduler) };
    // On a thread of its own, so that nothing in thread-local words is left of an earlier run.
    let root = std::thread::spawn(move || {
        ME.set(0);
        body();
        if with(|s, _| s.alive > 1) {
            block(THE_END, u64::MAX);
        }
        let report = with(|s, _| Report {
            steps: s.steps,
            switches: s.switches,
            virtual_ns: s.now - BEGAN_NS,
            threads: s.threads.len() as u64,
            trace: s.trace,
        });
        ME.set(usize::MAX);
        report
    });
    match root.join() {
        Ok(report) => report,
        // SAFETY: the root is gone; the others wait for a baton that nobody has.
        Err(_) => match unsafe { (*CAGE.0.get()).as_ref() } {
            Some(scheduler) => scheduler.fail("the first thread panicked"),
            None => unreachable!("a run has a scheduler"),
        },
    }
}
