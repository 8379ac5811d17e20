//! Whose turn the next call of the storage is: that of batches with priority, or of the others. And for how long something is kept free for the former.

/// While others wait, at most so many calls in a row are with priority batches. So every eighth call is an ordinary one.
const MOST_IN_A_ROW: u32 = 7;
/// While other events wait, so many calls come before one with events of a run that has ended. So at most every fourth call is one.
const BEFORE_RECOVERED: u32 = 3;
/// A place in flight and a writer are kept free until no priority batch was claimed for so long. A pipeline that has no priority events gives up
/// nothing for them.
const KEEP_NS: u64 = 10_000_000_000;

/// Which batches are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those without priority.
    Ordinary,
    /// Those with priority.
    Priority,
}

impl Which {
    /// Whether such batches are among them.
    #[inline]
    pub fn includes(self, priority: bool) -> bool {
        match self {
            Self::All => true,
            Self::Ordinary => !priority,
            Self::Priority => priority,
        }
    }
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub struct Turns {
    /// Calls with priority batches since the last with another.
    in_a_row: u32,
    /// Calls since the last with events of a run that has ended.
    since_recovered: u32,
    /// When a priority batch was last claimed. `None`: nothing is kept free.
    claimed_ns: Option<u64>,
}

impl Turns {
    /// Whether the next call is for a priority batch, if there are both.
    #[inline]
    pub fn priority_first(&self) -> bool {
        self.in_a_row < MOST_IN_A_ROW
    }

    /// A call with a batch has begun.
    #[inline]
    pub fn begun(&mut self, priority: bool, recovered: bool) {
        self.since_recovered = if recovered { 0 } else { self.since_recovered.saturating_add(1) };
        self.in_a_row = if priority { self.in_a_row.saturating_add(1) } else { 0 };
    }

    /// Whether the next call may be with events of a run that has ended, although others wait.
    pub fn recovered_may_go(&self) -> bool {
        self.since_recovered >= BEFORE_RECOVERED
    }

    /// A priority batch was claimed.
    pub fn claimed(&mut self, now_ns: u64) {
        self.claimed_ns = Some(now_ns);
    }

    /// Whether a place in flight and a writer are kept free for priority batches.
    #[inline]
    pub fn keeps(&self) -> bool {
        self.claimed_ns.is_some()
    }

    /// Gives up what is kept free, if no priority batch was claimed for long.
    pub fn look(&mut self, now_ns: u64) {
        self.claimed_ns = self.claimed_ns.filter(|&claimed| now_ns.saturating_sub(claimed) < KEEP_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_eighth_call_is_an_ordinary_one_if_there_is_one() {
        let mut turns = Turns::default();
        let calls: Vec<bool> = (0..24)
            .map(|_| {
                let priority = turns.priority_first();
                turns.begun(priority, false);
                priority
            })
            .collect();
        assert!(calls.chunks(8).all(|eight| eight == [true, true, true, true, true, true, true, false]));
        // Without ordinary batches the calls go on, and the first ordinary one is next.
        (0..100).for_each(|_| turns.begun(true, false));
        assert!(!turns.priority_first());
        turns.begun(false, false);
        assert!(turns.priority_first());
    }

    #[test]
    fn at_most_every_fourth_call_is_with_recovered_events_while_others_wait() {
        let mut turns = Turns::default();
        let calls: Vec<bool> = (0..12)
            .map(|_| {
                let recovered = turns.recovered_may_go();
                turns.begun(false, recovered);
                recovered
            })
            .collect();
        assert!(calls.chunks(4).all(|four| four == [false, false, false, true]));
    }

    #[test]
    fn something_is_kept_free_from_the_first_priority_batch_until_long_after_the_last() {
        let mut turns = Turns::default();
        turns.look(u64::MAX);
        assert!(!turns.keeps());
        turns.claimed(5);
        turns.claimed(7);
        turns.look(6 + KEEP_NS);
        assert!(turns.keeps());
        turns.look(7 + KEEP_NS);
        assert!(!turns.keeps());
    }
}
