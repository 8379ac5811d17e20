//! How far the recovery has come: the parts of runs that have ended, from when they are offered to the writers until they have left.

use crate::batch::recovered::Part;
use crate::platform::memory;
use crate::status::Result;
use std::collections::VecDeque;

/// The most parts that are offered, or in batches, at a time.
pub const MOST_PARTS: usize = 2;

/// The recovery of a pipeline.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Its thread runs.
    running: bool,
    /// Parts that no writer has claimed.
    offered: VecDeque<Box<Part>>,
    /// Parts that are in batches.
    claimed: usize,
    /// Parts whose batch has left, and that the thread has not acknowledged.
    settled: VecDeque<Box<Part>>,
    /// Damaged records that were found.
    torn: u64,
    /// What is in the way of it.
    problem: Option<String>,
}

impl Recovery {
    /// Its thread is about to start. No part needs memory from here on.
    pub fn begin(&mut self) -> Result<()> {
        let refused = |_| memory::refused(MOST_PARTS * size_of::<Box<Part>>());
        self.offered.try_reserve(MOST_PARTS).map_err(refused)?;
        self.settled.try_reserve(MOST_PARTS).map_err(refused)?;
        self.running = true;
        Ok(())
    }

    /// Its thread has ended, or could not be started.
    pub fn end(&mut self) {
        self.running = false;
    }

    /// Whether its thread runs.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Whether a close has nothing to wait for but that the thread acknowledges what has left.
    pub fn is_ending(&self) -> bool {
        self.running && self.claimed == 0
    }

    /// Whether another part may be offered.
    pub fn has_room(&self) -> bool {
        self.parts() < MOST_PARTS
    }

    /// Whether no part is offered or in a batch, and all are acknowledged.
    pub fn is_empty(&self) -> bool {
        self.parts() == 0
    }

    fn parts(&self) -> usize {
        self.offered.len() + self.claimed + self.settled.len()
    }

    /// Whether the part may be offered while those that are offered have not been claimed. (Those in batches are asked besides.)
    pub fn may_follow(&self, part: &Part, ordered: bool) -> bool {
        self.offered.iter().all(|other| part.may_overlap(other, ordered))
    }

    /// Offers a part to the writers.
    pub fn offer(&mut self, part: Box<Part>) {
        self.offered.push_back(part);
    }

    /// Whether a part waits for a writer.
    #[inline]
    pub fn has_offered(&self) -> bool {
        !self.offered.is_empty()
    }

    /// A writer claims the part that has waited longest.
    pub fn claim(&mut self) -> Option<Box<Part>> {
        let part = self.offered.pop_front()?;
        self.claimed += 1;
        Some(part)
    }

    /// Nothing is to be claimed any more: what was not stays where it was found.
    pub fn withdraw(&mut self) -> VecDeque<Box<Part>> {
        std::mem::take(&mut self.offered)
    }

    /// All events of a part have left.
    pub fn left(&mut self, part: Box<Part>) {
        self.claimed -= 1;
        self.settled.push_back(part);
    }

    /// A part that is to be acknowledged. It counts until it [is](Self::acknowledged).
    pub fn to_acknowledge(&self) -> Option<u64> {
        self.settled.front().map(|part| part.number)
    }

    /// The part is acknowledged. Returns it, to be dropped without the lock.
    pub fn acknowledged(&mut self, number: u64) -> Option<Box<Part>> {
        let at = self.settled.iter().position(|part| part.number == number)?;
        self.settled.remove(at)
    }

    /// What the source has found besides events.
    pub fn note(&mut self, torn: u64, problem: Option<String>) {
        self.torn += torn;
        self.problem = problem;
    }

    /// Damaged records that were found.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// What is in the way of it, in words.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::recovered::Run;
    use crate::batch::recovered::tests::{part, run};

    fn numbers(recovery: &mut Recovery) -> Vec<u64> {
        std::iter::from_fn(|| recovery.claim()).map(|part| part.number).collect()
    }

    #[test]
    fn a_part_counts_until_it_is_acknowledged() {
        let mut recovery = Recovery::default();
        recovery.begin().unwrap();
        assert!(recovery.is_empty() && recovery.is_ending());
        let run = run(1);
        recovery.offer(Box::new(part(&run, 5, 1, 0..2)));
        assert!(recovery.has_room() && !recovery.is_empty());
        recovery.offer(Box::new(part(&run, 6, 2, 0..2)));
        assert!(!recovery.has_room());
        let first = recovery.claim().unwrap();
        assert_eq!((first.number, recovery.has_offered(), recovery.is_ending()), (1, true, false));
        recovery.left(first);
        assert!(recovery.is_ending() && !recovery.has_room());
        assert_eq!(recovery.to_acknowledge(), Some(1));
        assert!(recovery.acknowledged(2).is_none());
        assert_eq!(recovery.acknowledged(1).map(|part| part.number), Some(1));
        assert!(recovery.has_room() && recovery.to_acknowledge().is_none());
        assert_eq!(numbers(&mut recovery), [2]);
        assert!(!recovery.is_empty());
    }

    #[test]
    fn what_is_withdrawn_is_not_claimed() {
        let mut recovery = Recovery::default();
        recovery.begin().unwrap();
        recovery.offer(Box::new(part(&run(1), 5, 1, 0..2)));
        assert_eq!(recovery.withdraw().len(), 1);
        assert!(recovery.is_empty() && recovery.claim().is_none());
        recovery.end();
        assert!(!recovery.is_ending());
    }

    #[test]
    fn facts_go_alone_and_the_order_of_a_ring_counts_if_it_is_asked_for() {
        let (one, other): (std::sync::Arc<Run>, _) = (run(1), run(2));
        let offered = |part: Part| {
            let mut recovery = Recovery::default();
            recovery.begin().unwrap();
            recovery.offer(Box::new(part));
            recovery
        };
        let events = offered(part(&one, 5, 1, 0..2));
        for (run, ring, ordered, may) in
            [(&one, 5, false, true), (&one, 5, true, false), (&one, 6, true, true), (&other, 5, true, true)]
        {
            assert_eq!(events.may_follow(&part(run, ring, 2, 2..4), ordered), may, "{ring} {ordered}");
        }
        let facts = offered(crate::batch::recovered::tests::facts(&one, 1));
        assert!(!facts.may_follow(&part(&one, 5, 2, 0..2), false));
        assert!(facts.may_follow(&part(&other, 5, 2, 0..2), true));
    }
}
