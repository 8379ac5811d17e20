//! Shares: permits for calls of storages, over all pipelines of a process.
//!
//! Each pipeline may have one call at any time. What is permitted beyond that goes to the pipelines that have work, in the proportion of their shares: where
//! several wait, the next permit goes to the one with the fewest calls for its share. A call that is stuck holds no permit. Without a limit, which is the default,
//! nothing here costs more than the load of one word.
//!
//! A pipeline tells the others of its calls only while there is a limit, and under its own lock. The list's lock is held for moments, and nothing is called
//! under it.

use super::Pool;
use super::state::State;
use crate::capture::registry::Registry;
use crate::platform::memory;
use crate::platform::process::PerProcess;
use crate::platform::sync::{AtomicU32, Mutex, Ordering};
use crate::status::Result;
use std::sync::{Arc, Weak};

/// A pipeline that has called its storage since there is a limit.
#[derive(Debug)]
struct Member {
    id: u64,
    share: u32,
    /// Its calls that hold a permit.
    calls: u32,
    /// It has work for another call, and no permit.
    waits: bool,
    rings: Weak<Registry>,
}

#[derive(Debug, Default)]
struct Shares {
    members: Mutex<Vec<Member>>,
}

static SHARES: PerProcess<Shares> = PerProcess::new();
/// How many calls may run at once; 0: any number.
static PERMITS: AtomicU32 = AtomicU32::new(0);

/// Limits the calls of all pipelines of this process together; 0: no limit.
pub fn limit_calls(permits: u32) -> Result<()> {
    let shares = SHARES.get_or_make(Shares::default).ok_or_else(Pool::no_memory)?;
    PERMITS.store(permits, Ordering::SeqCst);
    shares.wake_waiting();
    Ok(())
}

/// The limit.
pub fn permits() -> u32 {
    if SHARES.get().is_some() { PERMITS.load(Ordering::SeqCst) } else { 0 }
}

/// Whether the member with this index may begin another call.
fn may_begin(members: &[Member], index: usize, permits: u32) -> bool {
    let own = &members[index];
    if own.calls == 0 || permits == 0 {
        return true;
    }
    // Each pipeline's first call is set aside for it.
    let taken: u64 = members.iter().map(|member| u64::from(member.calls.max(1))).sum();
    // The member that would have fewer calls for its share, compared without a division.
    let is_poorer = |other: &Member| {
        let (others, owns) = (u64::from(other.calls) + 1, u64::from(own.calls) + 1);
        other.id != own.id && other.waits && others * u64::from(own.share) < owns * u64::from(other.share)
    };
    taken < u64::from(permits) && !members.iter().any(is_poorer)
}

impl Shares {
    /// A pipeline with so many calls asks for a permit for another one. (A writer that is back from a call asks at once, so that it keeps its permit if nobody has
    /// a better claim.) If it gets none, it waits from here on. `goes_on`: if it gets one, another of its
    /// writers asks next, so it still waits if it did.
    fn ask(&self, id: u64, share: u32, calls: u32, goes_on: bool, rings: &Arc<Registry>) -> Result<bool> {
        let mut members = self.members.lock();
        let index = match members.iter().position(|member| member.id == id) {
            Some(index) => index,
            None => {
                members.retain(|member| member.rings.strong_count() > 0);
                members.try_reserve(1).map_err(|_| memory::refused(size_of::<Member>()))?;
                let rings = Arc::downgrade(rings);
                members.push(Member { id, share, calls, waits: false, rings });
                members.len() - 1
            }
        };
        let fewer = calls < members[index].calls;
        (members[index].share, members[index].calls) = (share, calls);
        let may = may_begin(&members, index, PERMITS.load(Ordering::SeqCst));
        members[index].waits = !may || goes_on;
        members[index].calls += u32::from(may);
        drop(members);
        if fewer && !may {
            // Its permit goes to another one.
            self.wake_waiting();
        }
        Ok(may)
    }

    /// A pipeline has so many calls, and waits or does not. If it has fewer than before, or has waited, others may begin one.
    fn tell(&self, id: u64, calls: u32, waits: bool) {
        let fewer = {
            let mut members = self.members.lock();
            let Some(own) = members.iter_mut().find(|member| member.id == id) else { return };
            let fewer = calls < own.calls || (own.waits && !waits);
            (own.calls, own.waits) = (calls, waits);
            fewer
        };
        if fewer {
            self.wake_waiting();
        }
    }

    fn leave(&self, id: u64) {
        self.members.lock().retain(|member| member.id != id);
        self.wake_waiting();
    }

    /// Has every pipeline that waits ask again.
    fn wake_waiting(&self) {
        for member in self.members.lock().iter().filter(|member| member.waits) {
            if let Some(rings) = member.rings.upgrade() {
                rings.intake.wake(1);
            }
        }
    }
}

impl Pool {
    /// Whether a writer may begin a call, as far as other pipelines are concerned. `false`: it sleeps until it is woken.
    #[inline]
    pub(super) fn gets_permit(&self, st: &mut State) -> bool {
        if PERMITS.load(Ordering::Relaxed) == 0 {
            st.permits.waits = false;
            return true;
        }
        self.ask_for_permit(st)
    }

    #[cold]
    fn ask_for_permit(&self, st: &mut State) -> bool {
        let Some(shares) = SHARES.get() else {
            // Of the parent process.
            st.permits.waits = false;
            return true;
        };
        let waited = std::mem::take(&mut st.permits.waits);
        let calls = Self::calls(st);
        if !self.wants_call(st) {
            // (If something comes before this writer sleeps, it does not sleep.)
            st.permits.told = calls;
            shares.tell(self.id, calls, false);
            return false;
        }
        let goes_on = waited && (st.writers.sleeping > 0 || st.writers.searching > 1);
        // Without memory for an entry in the list, a pipeline is not limited.
        let gets = shares.ask(self.id, st.config.share, calls, goes_on, &self.rings).unwrap_or(true);
        if gets && goes_on {
            self.intake().wake(1);
        }
        st.permits.member = true;
        st.permits.told = calls + u32::from(gets);
        st.permits.waits = !gets;
        st.permits.waited += u64::from(!gets && !waited);
        gets
    }

    /// Whether there is anything for another call.
    fn wants_call(&self, st: &State) -> bool {
        self.any_claimable(self.may_claim(st))
            || st.batches.has_queued()
            || self.may_claim_recovered(st)
            || !st.flushes.is_empty()
            || !st.life.is_running()
            || self.rings.any_spilled()
    }

    /// Tells the other pipelines of permits that this one no longer holds.
    #[inline]
    pub(super) fn keep_permits(&self, st: &mut State) {
        if st.permits.told > 0 {
            self.tell_of_permits(st);
        }
    }

    #[cold]
    fn tell_of_permits(&self, st: &mut State) {
        let calls = Self::calls(st);
        if calls < st.permits.told {
            st.permits.told = calls;
            if let Some(shares) = SHARES.get() {
                shares.tell(self.id, calls, st.permits.waits);
            }
        }
    }

    /// Its last writer has ended: what was set aside for it is free.
    pub(super) fn leave_shares(&self, st: &mut State) {
        if st.writers.list.is_empty()
            && std::mem::take(&mut st.permits.member)
            && let Some(shares) = SHARES.get()
        {
            (st.permits.told, st.permits.waits) = (0, false);
            shares.leave(self.id);
        }
    }

    /// Calls of the storage that hold a permit, and those that are about to begin.
    fn calls(st: &State) -> u32 {
        let stuck = st.writers.list.iter().filter(|w| w.stuck && w.is_calling()).count();
        (st.writers.calling + st.batches.claiming).saturating_sub(stuck as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::registry::tests::shape;
    use crate::ring::intake::Overflow;
    use crate::ring::intake::tests::fast_intake;

    /// Pipelines with so many calls and such shares, of which the latter ones wait.
    fn members(of: &[(u32, u32, bool)]) -> Vec<Member> {
        (0..)
            .zip(of)
            .map(|(id, &(calls, share, waits))| Member { id, share, calls, waits, rings: Weak::new() })
            .collect()
    }

    #[test]
    fn each_pipeline_may_have_one_call_whatever_the_limit_is() {
        let all = members(&[(5, 1, false), (0, 1, false), (1, 1, false)]);
        for permits in 1..4 {
            assert!(may_begin(&all, 1, permits) && !may_begin(&all, 2, permits), "{permits}");
        }
    }

    #[test]
    fn what_is_set_aside_for_a_pipeline_without_calls_goes_to_no_other() {
        let all = members(&[(2, 1, false), (0, 1, false)]);
        assert!(!may_begin(&all, 0, 3) && may_begin(&all, 0, 4));
        assert!(may_begin(&all, 0, 0), "no limit");
    }

    #[test]
    fn the_next_permit_goes_to_the_one_with_the_fewest_calls_for_its_share() {
        let all = members(&[(1, 1, true), (2, 3, true)]);
        assert!(!may_begin(&all, 0, 9) && may_begin(&all, 1, 9));
        let all = members(&[(1, 1, true), (6, 3, true)]);
        assert!(may_begin(&all, 0, 9) && !may_begin(&all, 1, 9));
        let equal = members(&[(1, 1, true), (5, 3, true)]);
        assert!(may_begin(&equal, 0, 9) && may_begin(&equal, 1, 9));
        let alone = members(&[(1, 1, false), (6, 3, true)]);
        assert!(may_begin(&alone, 1, 9), "the other one has no work");
    }

    #[test]
    fn who_waits_is_woken_when_another_has_fewer_calls_or_waits_no_more() {
        let rings = [(), ()]
            .map(|()| Arc::new(Registry::new(fast_intake(Overflow::DropNewest), shape(1, 0)).unwrap()));
        let shares = Shares::default();
        let mut all = members(&[(3, 1, false), (1, 1, true)]);
        for (member, rings) in all.iter_mut().zip(&rings) {
            member.rings = Arc::downgrade(rings);
        }
        *shares.members.lock() = all;
        // A writer that is woken finds the word of its doorbell changed.
        let words = || rings.each_ref().map(|rings| rings.intake.doorbell.state.load(Ordering::Acquire));
        for (calls, waits, wakes) in [
            (3, false, false),
            (2, false, true),
            (2, false, false),
            (2, true, false),
            (2, false, true),
            (4, false, false),
        ] {
            let before = words();
            shares.tell(0, calls, waits);
            let woken = (words()[0] != before[0], words()[1] != before[1]);
            assert_eq!(woken, (false, wakes), "{calls} {waits}");
        }
    }
}
