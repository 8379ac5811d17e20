//! Who runs next: the virtual clock, the dice, the two policies.

use crate::platform::random::mix;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// Virtual time that an access takes.
const TICK_NS: u64 = 25;
/// Points after which a thread must let others run, whatever its priority.
const FAIR: u64 = 20_000;
/// More points than any run that ends.
const MOST_STEPS: u64 = 30_000_000;
/// Longer than any run that ends: ten hours.
const MOST_NS: u64 = 36_000_000_000_000;
/// What the virtual clock shows when a run begins.
pub(super) const BEGAN_NS: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Runnable,
    /// Until the time, or until somebody wakes who sleeps on the address.
    Blocked {
        on: usize,
        until: u64,
    },
    Gone,
}

pub(super) struct Thread {
    pub(super) baton: Arc<AtomicU32>,
    pub(super) state: State,
    pub(super) priority: u64,
}

/// How the next thread is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Policy {
    /// Any that can run, after so many points on average.
    Random { every: u64 },
    /// The one with the highest priority; priorities change after so many points on average.
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
    /// Creations of threads fail now and then.
    pub(super) thread_failures: bool,
    pub(super) threads: Vec<Thread>,
    pub(super) alive: usize,
}

impl Scheduler {
    /// At the beginning of a run: its first thread, and how the next is chosen, follow from the seed.
    pub(super) fn new(seed: u64, thread_failures: bool) -> Self {
        let mut dice = mix(seed);
        let mut next = || {
            dice = mix(dice);
            dice
        };
        let every = [3, 10, 40, 200, 2_000][(next() % 5) as usize];
        let policy =
            if next() % 3 == 0 { Policy::Priority { every: every * 8 } } else { Policy::Random { every } };
        let first = Thread { baton: Arc::default(), state: State::Runnable, priority: next() >> 16 };
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
        }
    }

    /// Time passes by an access. Whether the baton is to change hands.
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

    /// Who runs after a point at which the baton changes hands, `me` having had it.
    pub(super) fn relieve(&mut self, me: usize) -> usize {
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

    /// Makes all runnable whose time has come.
    fn ring_clocks(&mut self) {
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

    /// Chooses who runs next; `aside`: not this one, if there is another.
    pub(super) fn choose(&mut self, aside: Option<usize>) -> usize {
        // Now and then the machine stands still for a while.
        if self.below(64) == 0 {
            let most = [10_000, 200_000, 3_000_000, 60_000_000][self.below(4) as usize];
            if most < 60_000_000 || self.below(40) == 0 {
                let pause = self.below(most);
                self.now += pause;
                self.stalled += pause;
                self.longest_stall = self.longest_stall.max(pause);
            }
        }
        self.ring_clocks();
        let mut able: Vec<usize> = self.able();
        if able.is_empty() {
            // Everybody waits: time passes.
            let next = self.threads.iter().filter_map(|t| match t.state {
                State::Blocked { until, .. } => Some(until),
                _ => None,
            });
            match next.min() {
                Some(until) if until != u64::MAX => self.now = self.now.max(until),
                _ => self.fail("everybody waits, and nothing will ever happen"),
            }
            if self.now > MOST_NS {
                self.fail("no end after ten hours of virtual time");
            }
            self.ring_clocks();
            able = self.able();
        }
        if able.len() > 1
            && let Some(aside) = aside
        {
            able.retain(|&t| t != aside);
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
        // Not by `exit`: its handlers would run on a machine that stands still.
        // SAFETY: ends the process.
        unsafe { libc::_exit(1) }
    }
}
