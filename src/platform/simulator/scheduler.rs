//! The scheduler: switching between threads at points, and a run from its first thread to its last.

use super::choice::{BEGAN_NS, Policy, Scheduler, State, Thread};
use super::files::Files;
use crate::platform::splitmix::mix;
use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// The address of a thread that waits only for time.
const TIME: usize = 0;
/// The address of a thread that waits for the end of all others.
const THE_END: usize = 1;

thread_local! {
    static ME: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Current(UnsafeCell<Option<Scheduler>>);
// SAFETY: only the running simulated thread uses it, and `run` allows one run at a time.
unsafe impl Sync for Current {}
static CURRENT: Current = Current(UnsafeCell::new(None));

/// The report of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The number of points.
    pub steps: u64,
    /// The number of switches between threads.
    pub switches: u64,
    /// The virtual time that has passed.
    pub virtual_ns: u64,
    /// The number of threads.
    pub threads: u64,
    /// A hash of all switches, which is equal for equal seeds.
    pub trace: u64,
}

/// Whether the calling thread belongs to a run.
#[inline]
pub fn is_simulated() -> bool {
    ME.get() != usize::MAX
}

/// Calls `f` with the scheduler and the index of the calling thread, which must be simulated.
fn with<T>(f: impl FnOnce(&mut Scheduler, usize) -> T) -> T {
    let me = ME.get();
    // SAFETY: only one simulated thread runs at a time, and `f` never calls this function.
    match unsafe { (*CURRENT.0.get()).as_mut() } {
        Some(scheduler) if me != usize::MAX => f(scheduler, me),
        _ => unreachable!("not a thread of the simulator"),
    }
}

/// Calls `f` with the files of the run and the index of the calling thread.
pub(super) fn with_files<T>(f: impl FnOnce(&mut Files, usize) -> T) -> T {
    with(|s, me| f(s.files_now(), me))
}

/// Switches to the thread `to`, and waits for the next turn of `me` if it `continues`.
fn switch(me: usize, to: usize, continues: bool) {
    if me == to {
        return;
    }
    let (mine, theirs) = with(|s, _| {
        s.switches += 1;
        s.trace = mix(s.trace ^ (to as u64) << 48 ^ s.steps);
        (Arc::clone(&s.threads[me].turn), Arc::clone(&s.threads[to].turn))
    });
    give_turn(&theirs);
    if continues {
        wait_turn(&mine);
    }
}

fn give_turn(turn: &AtomicU32) {
    turn.store(1, Ordering::Release);
    // SAFETY: the call uses only the word's address.
    unsafe { libc::syscall(libc::SYS_futex, turn.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
}

fn wait_turn(turn: &AtomicU32) {
    while turn.swap(0, Ordering::Acquire) == 0 {
        let none = std::ptr::null::<libc::timespec>();
        // SAFETY: the word outlives the call, and NULL means no timeout.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                turn.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                0,
                none,
            )
        };
    }
}

/// A point at which the scheduler may switch to another thread.
#[inline]
pub fn point() {
    if !is_simulated() {
        return;
    }
    if with(|s, _| s.pass_point()) {
        let to = with(|s, me| s.choose_after(me));
        switch(ME.get(), to, true);
    }
}

/// Lets another thread run, if there is one.
pub fn step_aside() {
    let to = with(|s, me| {
        s.steps += 1;
        s.now += 1_000;
        s.lower(me);
        s.choose(Some(me))
    });
    switch(ME.get(), to, true);
}

/// Blocks the calling thread until it is woken or the time has come.
pub fn block(on: usize, until: u64) {
    let to = with(|s, me| {
        s.threads[me].state = State::Blocked { on, until };
        s.choose(None)
    });
    switch(ME.get(), to, true);
}

/// Makes up to `count` threads that sleep on an address runnable, in random order. Does nothing on a thread that is not simulated.
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

/// The virtual clock. Reading it is a point.
pub fn now_ns() -> u64 {
    point();
    with(|s, _| s.now)
}

/// The virtual processor's counter. Reading it is a point. It drifts against the virtual clock by up to 500 parts in a million, in both directions.
pub fn ticks() -> u64 {
    let now = now_ns();
    let phase = now & ((1 << 24) - 1);
    2 * now + phase.min((1 << 24) - phase) / 1_000
}

/// The time for which the machine has stood still in this run.
pub fn stalled_ns() -> u64 {
    with(|s, _| s.stalled)
}

/// The longest time for which the machine has stood still.
pub fn longest_stall_ns() -> u64 {
    with(|s, _| s.longest_stall)
}

/// Whether every runnable thread runs before long.
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

/// Ends the process, because the run has found a defect.
pub fn fail(what: &str) -> ! {
    with(|s, _| s.fail(what))
}

pub(super) fn refuses_threads() -> bool {
    with(|s, _| s.thread_failures)
}

/// Adds a thread that is about to be created. Returns its index and its turn word.
pub(super) fn enter_new() -> (usize, Arc<AtomicU32>) {
    with(|s, _| {
        let priority = s.roll() >> 16 | 1 << 47;
        let turn = Arc::<AtomicU32>::default();
        s.threads.push(Thread { turn: Arc::clone(&turn), state: State::Runnable, priority });
        s.alive += 1;
        (s.threads.len() - 1, turn)
    })
}

/// Waits for the first turn of a new thread.
pub(super) fn begin(index: usize, turn: &AtomicU32) {
    wait_turn(turn);
    ME.set(index);
}

/// Removes the calling thread, which is at its end.
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
    switch(me, to, false);
    ME.set(usize::MAX);
}

/// Waits until a thread has left.
pub fn join(index: usize) {
    while with(|s, _| s.threads[index].state != State::Gone) {
        block(index + 16, u64::MAX);
    }
}

/// Runs `body` and all threads that it starts, until the last has ended.
pub fn run(seed: u64, thread_failures: bool, body: impl FnOnce() + Send + 'static) -> Report {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let scheduler = Scheduler::new(seed, thread_failures);
    // SAFETY: no other run is in progress, so no thread uses it.
    unsafe { *CURRENT.0.get() = Some(scheduler) };
    // On a new thread, whose thread-local words hold nothing of an earlier run.
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
        // SAFETY: the first thread has ended, and the others wait for a turn.
        Err(_) => match unsafe { (*CURRENT.0.get()).as_ref() } {
            Some(scheduler) => scheduler.fail("the first thread panicked"),
            None => unreachable!("a run has a scheduler"),
        },
    }
}
