//! How a writer sleeps: what is remembered of sleeping and waking, and the plan for the next sleep.
//!
//! [`Plan::of`] is a function of what was [`Seen`] and of nothing else. The plan says whether the writer watches the rings, how it leaves
//! the doorbell that captures ring, and until when it sleeps. `wake` carries it out.

use super::naps::{BARRIER_EARNED_NS, Barriers, Naps};

/// What lies unclaimed in the rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    None,
    /// A batch's worth, or events that have waited long enough.
    Ripe,
    /// Events that may wait until this time for more.
    RipeAt(u64),
}

/// What is remembered of sleeping and waking.
#[derive(Debug, Default)]
pub struct Sleep {
    /// A writer has looked by itself, after `poll_interval_ms`, and found nothing. Until events are claimed, the supervisor looks instead.
    pub polled: bool,
    /// A ring that held its share of a batch has woken a lingering writer: what there is, is ripe.
    pub gathered: bool,
    /// A capture has woken a writer that slept because all rings were empty, and nothing was claimed since.
    pub woken_by_capture: bool,
    /// Since when there are unclaimed events, as far as writers have seen (for the linger time).
    pub unclaimed_since: Option<u64>,
    /// How long writers nap for want of a barrier.
    pub naps: Naps,
    /// The ration of heavy barriers.
    pub barriers: Barriers,
}

/// What is known when a writer goes to sleep. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The time.
    pub now: u64,
    /// No other writer looks for work.
    pub is_last: bool,
    /// A call of the storage may begin. While none may, the writer that is in one looks at what is due when it is back.
    pub may_call: bool,
    /// A writer that is free could claim new events.
    pub may_claim: bool,
    /// It could claim none but those with priority.
    pub priority_only: bool,
    /// When something is due that waits for nothing but the time.
    pub next_due: Option<u64>,
    /// What lies in the rings; `Work::None` unless events may be claimed.
    pub work: Work,
    /// The writer has just claimed a little, and lets events gather.
    pub gathering: bool,
    /// When the writer is to look by itself, for captures that have woken no writer.
    pub poll_at: Option<u64>,
    /// The naps so far.
    pub naps: Naps,
    /// There is a heavy barrier to be used.
    pub has_barrier: bool,
}

/// How a writer that watches the rings leaves the doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Each capture rings it. A heavy barrier makes sure that no capture is missed.
    Sleep,
    /// A capture rings it when its ring holds its share of a batch.
    Linger,
    /// A capture rings it only when much has gathered; the writer looks again by the clock, without a barrier.
    Nap,
    /// It leaves the doorbell as it is, and sets the bell for captures of events with priority. A heavy barrier makes sure that none is missed, if there is one to
    /// be used.
    Priority,
}

/// How the next sleep goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How it leaves the doorbell. `None`: as it is, because other writers watch, or because nothing could be claimed.
    pub watch: Option<Watch>,
    /// Until when it sleeps if nothing wakes it; `None`: for ever.
    pub until: Option<u64>,
}

impl Plan {
    /// The plan for the next sleep. `None`: there is work, so the writer stays awake.
    pub fn of(seen: &Seen) -> Option<Self> {
        let due = seen.next_due.filter(|_| seen.is_last && seen.may_call);
        if !seen.is_last || !seen.may_claim {
            return Some(Self { watch: None, until: due });
        }
        let nap = Some(seen.now + seen.naps.next());
        let (watch, end) = match seen.work {
            Work::Ripe if !seen.gathering => return None,
            Work::Ripe => (Watch::Nap, nap),
            // Without a barrier a capture that comes at this very moment may be missed. The next barrier is earned by then.
            _ if seen.priority_only => {
                (Watch::Priority, (!seen.has_barrier).then_some(seen.now + BARRIER_EARNED_NS))
            }
            Work::RipeAt(time) => (Watch::Linger, Some(time)),
            Work::None if !seen.naps.go_on() && seen.has_barrier => (Watch::Sleep, None),
            Work::None => (Watch::Nap, nap),
        };
        let until = [due, seen.poll_at, end].into_iter().flatten().min();
        Some(Self { watch: Some(watch), until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only writer, in a pool without work, with barriers to spare.
    const IDLE: Seen = Seen {
        now: 1_000_000,
        is_last: true,
        may_call: true,
        may_claim: true,
        priority_only: false,
        next_due: None,
        work: Work::None,
        gathering: false,
        poll_at: None,
        naps: Naps::NONE,
        has_barrier: true,
    };

    #[test]
    fn the_plan_follows_from_what_is_seen() {
        let plan = |watch, until| Some(Plan { watch, until });
        let (sleep, linger, nap) = (Some(Watch::Sleep), Some(Watch::Linger), Some(Watch::Nap));
        let (ripe, full) =
            (Seen { work: Work::Ripe, ..IDLE }, Seen { may_claim: false, next_due: Some(7), ..IDLE });
        let ripens = Seen { work: Work::RipeAt(1_500_000), ..IDLE };
        let nap_end = Some(IDLE.now + IDLE.naps.next());
        for (case, seen, expected) in [
            ("the last writer of an idle pool sleeps until a capture wakes it", IDLE, plan(sleep, None)),
            ("or until it polls", Seen { poll_at: Some(5_000_000), ..IDLE }, plan(sleep, Some(5_000_000))),
            (
                "only the last writer watches and keeps the time",
                Seen { is_last: false, next_due: Some(7), ..ripe },
                plan(None, None),
            ),
            (
                "while nothing may be claimed, the doorbell stays as it is and the time is kept",
                full,
                plan(None, Some(7)),
            ),
            (
                "a writer in a call looks at what is due when it is back",
                Seen { may_call: false, ..full },
                plan(None, None),
            ),
            ("a writer stays awake for ripe work", ripe, None),
            ("unless it lets events gather", Seen { gathering: true, ..ripe }, plan(nap, nap_end)),
            ("it lingers until the events are ripe", ripens, plan(linger, Some(1_500_000))),
            (
                "or something else is due",
                Seen { next_due: Some(1_200_000), ..ripens },
                plan(linger, Some(1_200_000)),
            ),
            ("without a barrier it naps", Seen { has_barrier: false, ..IDLE }, plan(nap, nap_end)),
        ] {
            assert_eq!(Plan::of(&seen), expected, "{case}");
        }
    }

    #[test]
    fn a_writer_that_naps_goes_on_napping_until_naps_are_over() {
        let mut naps = Naps::NONE;
        naps.begin();
        assert_eq!(Plan::of(&Seen { naps, ..IDLE }).unwrap().watch, Some(Watch::Nap));
        while naps.go_on() {
            naps.begin();
        }
        assert_eq!(Plan::of(&Seen { naps, ..IDLE }).unwrap().watch, Some(Watch::Sleep));
    }
}
