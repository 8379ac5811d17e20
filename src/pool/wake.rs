//! How writers sleep and are woken.
//!
//! After each publication a capture loads the doorbell's state. The last writer that goes to sleep sets the state to "asleep", executes
//! the heavy barrier, and looks at the rings once more. A capture whose event it does not see there is certain to see the state, and wakes
//! a writer. While a writer is awake, the load is all that a capture does. The barrier interrupts the host's cores, so it is rationed:
//! beyond the ration a writer naps (see [`naps`](super::state::naps)). [`Plan`] says how the next sleep goes; here it is carried out.

use super::Pool;
use super::priority::May;
use super::spans::most_of_a_batch;
use super::state::State;
use super::state::sleep::{Plan, Seen, Watch, Work};
use super::state::turns::Which;
use super::state::writer::Doing;
use super::supervisor::IDLE_MS;
use crate::platform::sync::{MutexGuard, Ordering};
use crate::platform::{barrier, park, time};
use crate::ring::intake::doorbell;
use std::time::Duration;

impl Pool {
    /// Sleeps until there may be something to do for writer `id`. `gathering`: sleeps for a moment only, and although there are a few
    /// events.
    pub(super) fn sleep<'a>(
        &'a self,
        mut st: MutexGuard<'a, State>,
        id: u32,
        gathering: bool,
    ) -> MutexGuard<'a, State> {
        let state = &self.intake().doorbell.state;
        let seen = state.load(Ordering::Acquire);
        self.tell_of_deferred_space(&mut st);
        self.keep_permits(&mut st);
        // (A permit that came free before the state was read has woken nobody.)
        if st.permits.waits && self.gets_permit(&mut st) {
            return st;
        }
        st.writers.set_doing(id, Doing::Asleep);
        // Read before `plan`, where `may_claim` reads the time again: a probe that becomes due in between may be claimed, or is waited
        // for. In the other order, neither might be so.
        let now = time::now_ns();
        if self.intake().pressure.percent() > 0 {
            self.keep_pressure_now(now);
        }
        if let Some(plan) = self.plan(&mut st, now, gathering) {
            let timeout = plan.until.map(|until| Duration::from_nanos(until.saturating_sub(now)));
            st = match plan.watch {
                Some(watch) => self.watch(st, watch, now, seen, timeout),
                None => {
                    drop(st);
                    park::wait(state, seen, timeout);
                    self.lock()
                }
            };
        }
        st.writers.set_doing(id, Doing::Searching);
        st
    }

    /// How the next sleep goes.
    fn plan(&self, st: &mut State, now: u64, gathering: bool) -> Option<Plan> {
        let is_last = st.writers.searching == 0;
        let may = if is_last { self.may_claim(st) } else { May::nothing() };
        let due_with = if self.may_call_ordinary(st) { Which::All } else { Which::Priority };
        // From a poll interval of a second on, the supervisor's look is as good.
        let polls = !st.sleep.polled || st.config.poll_interval_ms < IDLE_MS;
        Plan::of(&Seen {
            now,
            is_last,
            may_call: self.may_call(st),
            may_claim: may.any(),
            priority_only: may.priority && !may.ordinary,
            next_due: if is_last { st.next_due(now, due_with) } else { None },
            work: if is_last && self.may_claim_recovered(st) {
                Work::Ripe
            } else {
                self.work_of(st, now, may)
            },
            gathering,
            poll_at: polls.then_some(now + st.config.poll_interval_ms * 1_000_000),
            naps: st.sleep.naps,
            has_barrier: st.sleep.barriers.any(now),
        })
    }

    /// Sleeps, with the doorbell's state set as `watch` says. `seen`: the state when the plan was made. If it has changed since, the
    /// writer does not sleep.
    fn watch<'a>(
        &'a self,
        mut st: MutexGuard<'a, State>,
        watch: Watch,
        now: u64,
        seen: u32,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let looks = matches!(watch, Watch::Sleep | Watch::Priority);
        let barrier = watch == Watch::Sleep || looks && st.sleep.barriers.any(now);
        let mode = self.prepare(&mut st, watch, now);
        drop(st);
        let state = &self.intake().doorbell.state;
        let expected = (seen & !doorbell::MASK) | mode;
        let mut asleep = state.compare_exchange(seen, expected, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if asleep && barrier {
            barrier::heavy(self.intake().asymmetric);
        }
        if asleep && looks {
            asleep = !self.any_claimable(May { ordinary: watch == Watch::Sleep, priority: true });
        }
        let mut cost = None;
        if asleep {
            let began = if watch == Watch::Nap { time::used_ns() } else { 0 };
            park::wait(state, expected, timeout);
            cost = (watch == Watch::Nap).then(|| time::used_ns() - began);
        }
        // Whoever woke this writer has opened the doorbell already. If the timeout ended the sleep, nobody has.
        let open = (expected & !doorbell::MASK).wrapping_add(doorbell::STEP);
        let woken = state.compare_exchange(expected, open, Ordering::AcqRel, Ordering::Acquire).is_err();
        let mut st = self.lock();
        let sleep = &mut st.sleep;
        sleep.woken_by_capture = woken && watch == Watch::Sleep;
        match watch {
            // A ring has reached its share of a batch. That is enough, or each further capture would wake a writer again.
            // (An event with priority wakes as well, and is no reason to let the others linger no more.)
            Watch::Linger => sleep.gathered |= woken && !self.rings.any_claimable(true, self.ordered),
            Watch::Sleep => sleep.polled |= asleep && !woken,
            Watch::Nap | Watch::Priority => {}
        }
        if let Some(cost) = cost {
            sleep.naps.note_cost(cost);
        }
        st
    }

    /// Sets how much must gather before a capture rings the doorbell, and takes a barrier from the ration if the sleep needs one. Returns
    /// the doorbell's mode.
    fn prepare(&self, st: &mut State, watch: Watch, now: u64) -> u32 {
        let intake = self.intake();
        let marks = |events: u64, bytes: u64| {
            intake.linger_events.store(events, Ordering::Relaxed);
            intake.linger_bytes.store(bytes, Ordering::Relaxed);
        };
        match watch {
            Watch::Sleep => {
                st.sleep.naps.end();
                st.sleep.barriers.spend(now);
                return doorbell::ASLEEP;
            }
            Watch::Linger => {
                // Each ring's share of a batch. Not counted: the shared ring, and the one for the library's own events.
                let rings = self.rings.in_use().0.saturating_sub(2).max(1) as u64;
                let (events, bytes) = most_of_a_batch(&st.config, self.can.span_bytes);
                marks((u64::from(events) / rings).max(1), (bytes / rings).min(st.config.ring_bytes / 4));
            }
            Watch::Priority => {
                if st.sleep.barriers.any(now) {
                    st.sleep.barriers.spend(now);
                }
                intake.priority.set_bell();
                return doorbell::AWAKE;
            }
            Watch::Nap => {
                st.sleep.naps.begin();
                marks(u64::MAX, st.config.ring_bytes / 8);
            }
        }
        doorbell::LINGERING
    }

    /// Called when a writer is about to enter a call. If no other one looks for work, it sets the doorbell so that a capture wakes a
    /// sleeping writer, where that is worth it. Returns whether to wake one right away.
    #[inline]
    pub(super) fn hand_over_watch(&self, st: &State) -> bool {
        let writers = &st.writers;
        if writers.searching > 0 || writers.sleeping == 0 || !self.can.concurrent {
            return false;
        }
        if !st.batches.back_off.is_empty() {
            return true; // a writer must keep the time
        }
        // Nothing can be claimed while the circuit is open. And if calls are quick, this writer is back before another is awake (the
        // supervisor looks besides).
        if !st.retries.breaker.is_closed() || writers.calls_are_quick() {
            return false;
        }
        let may = self.may_claim(st);
        may.any() && (self.any_claimable(may) || self.leave_watch(may))
    }

    /// Sets the doorbell so that the next capture rings it. There is no barrier: a capture that is missed in these nanoseconds waits until
    /// the writer is back from its call, or the supervisor looks. Returns whether there is something to be claimed.
    fn leave_watch(&self, may: May) -> bool {
        if may.ordinary {
            let state = &self.intake().doorbell.state;
            let seen = state.load(Ordering::Acquire);
            let shut = (seen & !doorbell::MASK) | doorbell::ASLEEP;
            let _ = state.compare_exchange(seen, shut, Ordering::AcqRel, Ordering::Acquire);
        } else {
            self.intake().priority.set_bell();
        }
        self.any_claimable(may)
    }

    /// Wakes every writer, those too that wait to open themselves.
    pub(super) fn wake_all(&self) {
        self.openers.fetch_add(1, Ordering::AcqRel);
        park::wake(&self.openers, u32::MAX);
        self.intake().wake(u32::MAX);
    }
}
