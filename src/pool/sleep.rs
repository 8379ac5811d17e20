//! How writers sleep and are woken.
//!
//! The last one to go to sleep closes the gate, passes the heavy barrier, and looks once more: a capture that it does
//! not see then, sees the gate, and wakes one. While anyone is awake, captures do not look beyond one load.
//! The barrier interrupts the host's cores, so it is rationed: beyond the ration a writer naps with the gate half open
//! (captures wake it only when much has gathered), and looks again by itself: see [`nap`](super::nap).

use super::Pool;
use super::state::{Doing, Life, State};
use crate::platform::sync::{MutexGuard, Ordering};
use crate::platform::{barrier, park, time};
use crate::ring::front::gate;
use std::time::Duration;

/// Heavy barriers that may come at once, and the time in which one more is earned.
const BARRIER_BURST: u32 = 128;
pub(super) const BARRIER_EARNED_NS: u64 = 1_000_000;
/// Storage calls shorter than this on average are not worth waking another writer for.
pub(crate) const WORTH_WAKING_NS: u64 = 20_000;

/// What lies in the rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    None,
    /// A batch's worth, or what has waited long enough.
    Ripe,
    /// Something that may wait until this time.
    RipeAt(u64),
}

impl Pool {
    /// What lies unclaimed in the rings.
    pub(super) fn work(&self, st: &mut State, now: u64) -> Work {
        if !self.rings.any_claimable(self.ordered) {
            st.unclaimed_since = None;
            return Work::None;
        }
        let linger = st.config.linger_us * 1000;
        if linger == 0 || st.life != Life::Running || !st.flushes.is_empty() || st.waiters > 0 {
            return Work::Ripe;
        }
        self.ripening(st, now, linger)
    }

    /// The same while a batch may fill.
    #[cold]
    fn ripening(&self, st: &mut State, now: u64, linger: u64) -> Work {
        // What fills meanwhile is of all rings, and leaves together: what stayed behind would linger once more.
        st.knocked = false;
        let since = *st.unclaimed_since.get_or_insert(now);
        let (events, bytes, fullest) = self.rings.unclaimed();
        let full = st.gathered
            || events >= u64::from(st.config.batch_size)
            || bytes >= st.config.batch_bytes
            || fullest >= st.config.ring_bytes / 4;
        if full || now >= since + linger { Work::Ripe } else { Work::RipeAt(since + linger) }
    }

    /// Whether a call may begin. Who claims is about to call.
    pub(super) fn may_call(&self, st: &State) -> bool {
        self.can.concurrent || st.calls + st.claiming == 0
    }

    /// Whether a writer that is free could do something about new events.
    pub(super) fn may_claim(&self, st: &State) -> bool {
        let held = st.paused && st.life == Life::Running;
        !held
            && st.life != Life::Stopped
            && self.may_call(st)
            && st.open + st.claiming < st.config.max_in_flight
            && self.lets_through(st)
    }

    /// Sleeps until there may be something to do for writer `id`; `naps`: for a moment, though there is a little.
    pub(super) fn sleep<'a>(
        &'a self,
        mut st: MutexGuard<'a, State>,
        id: u32,
        naps: bool,
    ) -> MutexGuard<'a, State> {
        let front = self.front();
        let seen = front.signs.gate.load(Ordering::Acquire);
        self.announce_owed(&mut st);
        st.set_doing(id, Doing::Asleep);
        let last = st.searching == 0;
        // Before anything is decided by a later time: a probe that becomes due in between is claimed, or has its time kept.
        let now = time::now_ns();
        let watch = last && self.may_claim(&st);
        // (While no call may begin, whoever is in one looks at what is due when it is back.)
        let keeps_time = last && self.may_call(&st);
        let mut until = if keeps_time { st.next_due(now).unwrap_or(u64::MAX) } else { u64::MAX };
        let mut mode = gate::ASLEEP;
        let mut lingers = false;
        let mut napping = false;
        if watch {
            // From a second on, the supervisor's look is as good.
            if !st.polled || st.config.poll_interval_ms < super::supervisor::IDLE_MS {
                until = until.min(now + st.config.poll_interval_ms * 1_000_000);
            }
            match self.work(&mut st, now) {
                Work::Ripe if !naps => return self.awake(st, id),
                Work::RipeAt(time) => {
                    mode = gate::LINGERING;
                    lingers = true;
                    until = until.min(time);
                    self.set_linger_marks(&st);
                }
                Work::None if !st.naps.goes_on() && Self::afford_barrier(&mut st, now) => {}
                Work::None | Work::Ripe => {
                    mode = gate::LINGERING;
                    napping = true;
                    until = until.min(now + st.naps.next());
                    front.linger_events.store(u64::MAX, Ordering::Relaxed);
                    front.linger_bytes.store(st.config.ring_bytes / 8, Ordering::Relaxed);
                }
            }
        }
        drop(st);
        let mut expected = seen;
        let mut asleep = true;
        let mut cost = None;
        if watch {
            expected = (seen & !gate::STATE) | mode;
            asleep = front
                .signs
                .gate
                .compare_exchange(seen, expected, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
            if asleep && mode == gate::ASLEEP {
                barrier::heavy(front.asymmetric);
                asleep = !self.rings.any_claimable(self.ordered);
            }
        }
        if asleep {
            let timeout = (until != u64::MAX).then(|| Duration::from_nanos(until.saturating_sub(now)));
            let began = if napping { time::used_ns() } else { 0 };
            park::wait(&front.signs.gate, expected, timeout);
            cost = napping.then(|| time::used_ns() - began);
        }
        let mut knocked = false;
        if watch {
            // Whoever woke us has opened the gate already, unless it was time that did.
            let open = (expected & !gate::STATE).wrapping_add(gate::STEP);
            knocked = front
                .signs
                .gate
                .compare_exchange(expected, open, Ordering::AcqRel, Ordering::Acquire)
                .is_err();
        }
        let mut st = self.lock();
        // A ring has reached its share of a batch: enough, or each further capture would knock again.
        st.gathered |= lingers && knocked;
        if watch {
            st.knocked = knocked && mode == gate::ASLEEP;
        }
        st.polled |= watch && mode == gate::ASLEEP && asleep && !knocked;
        if let Some(cost) = cost {
            st.naps.cost(cost);
        }
        self.awake(st, id)
    }

    fn awake<'a>(&self, mut st: MutexGuard<'a, State>, id: u32) -> MutexGuard<'a, State> {
        st.set_doing(id, Doing::Searching);
        st
    }

    /// While writers linger, each ring wakes one when it holds its share of a batch.
    fn set_linger_marks(&self, st: &State) {
        let front = self.front();
        // Not counted: the shared ring, and the one for the library's own events.
        let rings = self.rings.in_use().0.saturating_sub(2).max(1) as u64;
        front.linger_events.store((u64::from(st.config.batch_size) / rings).max(1), Ordering::Relaxed);
        let bytes = (st.config.batch_bytes / rings).min(st.config.ring_bytes / 4);
        front.linger_bytes.store(bytes, Ordering::Relaxed);
    }

    /// A token bucket for heavy barriers.
    fn afford_barrier(st: &mut State, now: u64) -> bool {
        if !cfg!(target_os = "linux") {
            return true;
        }
        let (since, left) = st.barrier_budget;
        let earned = ((now - since) / BARRIER_EARNED_NS).min(u64::from(BARRIER_BURST)) as u32;
        let (since, left) =
            if earned > 0 { (now, (left + earned).min(BARRIER_BURST)) } else { (since, left) };
        st.barrier_budget = (since, left.saturating_sub(1));
        left > 0
    }

    /// A writer is about to enter a call, and nobody else looks for work: leaves the gate so that a capture wakes one of those
    /// who sleep, if that is worth it. Answers whether to wake one right away.
    pub(super) fn hand_over_watch(&self, st: &State) -> bool {
        if st.searching > 0 || st.sleeping == 0 || !self.can.concurrent {
            return false;
        }
        if !st.back_off.is_empty() {
            return true; // somebody must keep the time
        }
        if !st.breaker.is_closed() {
            return false; // there is nothing to be claimed
        }
        if st.call_average_ns < WORTH_WAKING_NS {
            return false; // this writer is back before another is awake; the supervisor looks in besides
        }
        if self.rings.any_claimable(self.ordered) {
            return true;
        }
        // Without the barrier: what slips through in these nanoseconds waits for this writer, or the supervisor.
        let front = self.front();
        let seen = front.signs.gate.load(Ordering::Acquire);
        let shut = (seen & !gate::STATE) | gate::ASLEEP;
        let _ = front.signs.gate.compare_exchange(seen, shut, Ordering::AcqRel, Ordering::Acquire);
        self.rings.any_claimable(self.ordered)
    }
}
