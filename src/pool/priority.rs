//! Batches with priority, and what they have to themselves.
//!
//! A batch holds events of priority rings, or of the others, never of both. Priority batches are claimed first and tried again first, but every eighth call is an
//! ordinary one ([`turns`](super::state::turns)). While there are such events, one of the places in flight is theirs, and one writer where there
//! are at least two and calls may overlap. Otherwise the next call is theirs: a writer looks for them whenever it is free.

use super::Pool;
use super::state::State;
use super::state::sleep::Work;
use super::state::turns::Which;
use crate::platform::time;

/// What a free writer may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct May {
    /// Events without priority.
    pub ordinary: bool,
    /// Those with priority.
    pub priority: bool,
}

impl May {
    /// Nothing.
    pub const fn nothing() -> Self {
        Self { ordinary: false, priority: false }
    }

    /// Whether it may claim anything.
    #[inline]
    pub fn any(self) -> bool {
        self.ordinary || self.priority
    }

    #[inline]
    fn of(self, priority: bool) -> bool {
        if priority { self.priority } else { self.ordinary }
    }
}

impl Pool {
    /// Whether a call of the storage may begin. None does while a permit is waited for. A storage that is not concurrent gets one at a time, and a thread that claims is about to
    /// make one.
    #[inline]
    pub(super) fn may_call(&self, st: &State) -> bool {
        (self.can.concurrent || st.writers.calling + st.batches.claiming == 0) && !st.permits.waits
    }

    /// Whether a call may begin that is not for a priority batch: one writer is kept for those, where there are at least two.
    #[inline]
    pub(super) fn may_call_ordinary(&self, st: &State) -> bool {
        !self.can.concurrent || !Self::keeps(st) || Self::leaves_a_writer(st)
    }

    #[cold]
    fn leaves_a_writer(st: &State) -> bool {
        let writers = st.writers.staying();
        let others = st.writers.calling_ordinary() + st.batches.claiming - st.batches.priority_claiming;
        writers < 2 || others < writers - 1
    }

    /// Whether anything is kept free for priority batches.
    #[inline]
    pub(super) fn keeps(st: &State) -> bool {
        st.turns.keeps() && st.life.is_running()
    }

    /// What a free writer could claim now.
    #[inline]
    pub(super) fn may_claim(&self, st: &State) -> May {
        self.may_claim_without(st, None)
    }

    /// The same if a batch had left that is in flight, one with priority or another.
    #[inline]
    pub(super) fn may_claim_without(&self, st: &State, gone: Option<bool>) -> May {
        let batches = &st.batches;
        let (recovered, all) = (batches.recovered_in_flight, st.config.max_in_flight);
        let most = match recovered {
            0 => all,
            _ => all.saturating_sub(recovered).max(all.min(Self::kept_from_recovered(st))),
        };
        let open = batches.in_flight + batches.claiming - recovered - u32::from(gone.is_some());
        let any = st.life.claims() && self.may_call(st) && open < most && self.circuit_allows(st);
        if !any || !Self::keeps(st) {
            return May { ordinary: any, priority: any };
        }
        let priority = batches.priority_in_flight + batches.priority_claiming;
        let ordinary = open - (priority - u32::from(gone == Some(true)));
        May { ordinary: (ordinary + 1 < most || most == 1) && self.may_call_ordinary(st), priority: true }
    }

    /// Whether the circuit breaker lets a newly claimed batch through. While the circuit is not closed, it lets one through at a time, the
    /// probe.
    #[inline]
    fn circuit_allows(&self, st: &State) -> bool {
        let breaker = &st.retries.breaker;
        breaker.is_closed() || (st.batches.claiming == 0 && breaker.allows(time::now_ns()))
    }

    /// Whether a claim of what may be claimed would find something.
    #[inline]
    pub(super) fn any_claimable(&self, may: May) -> bool {
        may.ordinary && self.rings.any_claimable(false, self.ordered)
            || may.priority && self.rings.any_claimable(true, self.ordered)
    }

    /// The same, whatever may be claimed.
    #[inline]
    pub(super) fn anything_claimable(&self) -> bool {
        self.any_claimable(May { ordinary: true, priority: true })
    }

    /// In which order a writer looks for batches. Where no event with priority was ever captured, it looks for all at once. So it does while the
    /// circuit is not closed: then batches take turns as probes.
    #[inline]
    pub(super) fn looks(&self, st: &State) -> &'static [Which] {
        if !self.intake().priority.is_in_use() || !st.retries.breaker.is_closed() {
            &[Which::All]
        } else if st.turns.priority_first() {
            &[Which::Priority, Which::Ordinary]
        } else {
            &[Which::Ordinary, Which::Priority]
        }
    }

    /// What a free writer is to claim next of those: events with priority, or others. `None`: nothing.
    #[inline]
    pub(super) fn to_claim(&self, st: &mut State, now: u64, which: Which) -> Option<bool> {
        let may = self.may_claim(st);
        self.to_claim_of(st, now, which, may)
    }

    /// The same where this may be claimed.
    pub(super) fn to_claim_of(&self, st: &mut State, now: u64, which: Which, may: May) -> Option<bool> {
        if !may.any() {
            return None;
        }
        let first = st.turns.priority_first();
        [first, !first].into_iter().find(|&priority| {
            which.includes(priority) && may.of(priority) && self.work(st, now, priority) == Work::Ripe
        })
    }

    /// What lies in the rings that may be claimed.
    pub(super) fn work_of(&self, st: &mut State, now: u64, may: May) -> Work {
        if may.priority && self.work(st, now, true) == Work::Ripe {
            Work::Ripe
        } else if may.ordinary {
            self.work(st, now, false)
        } else {
            Work::None
        }
    }
}
