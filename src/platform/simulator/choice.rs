//! The choice of the next thread: the virtual clock, the random numbers, the two policies.

use super::files::Files;
use crate::platform::splitmix::mix;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// Virtual time that an access takes.
const TICK_NS: u64 = 25;
/// The number of points after which a thread must let others run, even with the highest priority.
const FAIR: u64 = 20_000;
/// More points than any finite run has.
const MOST_STEPS: u64 = 30_000_000;
/// Longer than any finite run: ten hours.
const MOST_NS: u64 = 36_000_000_000_000;
/// The virtual clock at the beginning of a run.
pub(super) const BEGAN_NS: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Runnable,
    /// Until the time `until`, or until a thread wakes the sleepers on the address `on`.
    Blocked {
        on: usize,
        until: u64,
    },
    Gone,
}

pub(super) struct Thread {
    pub(super) turn: Arc<AtomicU32>,
    pub(super) state: State,
    pub(super) priority: u64,
}

/// How the next thread is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Policy {
    /// Any runnable thread, after so many points on average.
    Random { every: u64 },
    /// The runnable thread with the highest priority. Priorities change after so many points on average.
    Priority { every: u64 },
}

pub(super) struct Scheduler {
    pub(super) seed: u64,
    pub(super) dice: u64,
    pub(super) now: u64,
    pub(super) steps: u64,
    pub(super) switches: u64,
    pub(super) countdown: u64,
    pub(super) since_switch: u64,
    pub(super) stalled: u64,
    pub(super) longest_stall: u64,
    pub(super) trace: u64,
    pub(super) policy: Policy,
    /// Whether the creation of a thread may fail.
    pub(super) thread_failures: bool,
    pub(super) threads: Vec<Thread>,
    pub(super) alive: usize,
    files: Files,
}

impl Scheduler {
    /// At the beginning of a run. The policy and the first thread's priority depend on the seed.
    pub(super) fn new(seed: u64, thread_failures: bool) -> Self {
        let mut dice = mix(seed);
        let mut next = || {
            dice = mix(dice);
            dice
        };
        let every = [3, 10, 40, 200, 2_000][(next() % 5) as usize];
        let policy =
            if next() % 3 == 0 { Policy::Priority { every: every * 8 } } else { Policy::Random { every } };
        let first = Thread { turn: Arc::default(), state: State::Runnable, priority: next() >> 16 };
        Self {
            seed,
            dice: next(),
            now: BEGAN_NS,
            steps: 0,
            switches: 0,
            countdown: 0,
            since_switch: 0,
            stalled: 0,
            longest_stall: 0,
            trace: 0,
            policy,
            thread_failures,
            threads: vec![first],
            alive: 1,
            files: Files::new(seed),
        }
    }

    /// The files of the run, which are told the time.
    pub(super) fn files_now(&mut self) -> &mut Files {
        self.files.now_ns = self.now;
        &mut self.files
    }

    /// Counts a point and lets virtual time pass. `true`: another thread may run now.
    pub(super) fn pass_point(&mut self) -> bool {
        self.steps += 1;
        self.since_switch += 1;
        self.now += TICK_NS;
        if self.steps > MOST_STEPS {
            self.fail("no end after 30,000,000 points");
        }
        if self.countdown > 0 && self.since_switch < FAIR {
            self.countdown -= 1;
            return false;
        }
        true
    }

    /// Chooses the next thread at a point where `me` has to stop.
    pub(super) fn choose_after(&mut self, me: usize) -> usize {
        let tired = self.since_switch >= FAIR;
        if matches!(self.policy, Policy::Priority { .. }) {
            self.lower(me);
        }
        self.choose(tired.then_some(me))
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(1);
        mix(self.dice)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }

    /// Makes the threads runnable whose time has come.
    fn wake_expired(&mut self) {
        let now = self.now;
        for thread in &mut self.threads {
            if matches!(thread.state, State::Blocked { until, .. } if until <= now) {
                thread.state = State::Runnable;
            }
        }
    }

    fn set_countdown(&mut self) {
        let (Policy::Random { every } | Policy::Priority { every }) = self.policy;
        self.countdown = self.below(2 * every);
        self.since_switch = 0;
    }

    /// Chooses the next thread: not `except`, if there is another.
    pub(super) fn choose(&mut self, except: Option<usize>) -> usize {
        // From time to time the machine stands still for a while.
        if self.below(64) == 0 {
            let most = [10_000, 200_000, 3_000_000, 60_000_000][self.below(4) as usize];
            if most < 60_000_000 || self.below(40) == 0 {
                let pause = self.below(most);
                self.now += pause;
                self.stalled += pause;
                self.longest_stall = self.longest_stall.max(pause);
            }
        }
        self.wake_expired();
        let mut able: Vec<usize> = self.able();
        if able.is_empty() {
            // All threads wait, so time passes.
            let next = self.threads.iter().filter_map(|t| match t.state {
                State::Blocked { until, .. } => Some(until),
                _ => None,
            });
            match next.min() {
                Some(until) if until != u64::MAX => self.now = self.now.max(until),
                _ => self.fail("deadlock: all threads wait without a timeout"),
            }
            if self.now > MOST_NS {
                self.fail("no end after ten hours of virtual time");
            }
            self.wake_expired();
            able = self.able();
        }
        if able.len() > 1
            && let Some(except) = except
        {
            able.retain(|&t| t != except);
        }
        let chosen = match self.policy {
            Policy::Random { .. } => {
                let at = self.below(able.len() as u64);
                able[at as usize]
            }
            Policy::Priority { .. } => {
                able.iter().copied().max_by_key(|&t| self.threads[t].priority).unwrap_or(able[0])
            }
        };
        self.set_countdown();
        chosen
    }

    fn able(&self) -> Vec<usize> {
        (0..self.threads.len()).filter(|&t| self.threads[t].state == State::Runnable).collect()
    }

    pub(super) fn lower(&mut self, thread: usize) {
        let lowest = self.threads.iter().map(|t| t.priority).min().unwrap_or(1);
        self.threads[thread].priority = lowest.saturating_sub(1);
    }

    pub(super) fn fail(&self, what: &str) -> ! {
        let mut text = format!(
            "\nsimulator: SEED={} failed at step {}, {} us: {what}\n",
            self.seed,
            self.steps,
            self.now / 1000
        );
        for (i, thread) in self.threads.iter().enumerate() {
            if thread.state != State::Gone {
                let _ = writeln!(text, "    thread {i}: {:?}", thread.state);
            }
        }
        eprint!("{text}");
        // Not `exit`, whose handlers would wait for threads that do not run any more.
        // SAFETY: the call ends the process.
        unsafe { libc::_exit(1) }
    }
}
