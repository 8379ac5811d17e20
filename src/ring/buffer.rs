//! A ring buffer with its identity: whose it is, and who waits for space in it.

use super::front::Front;
use super::log::{Cursor, Log};
use crate::platform::park;
use crate::platform::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::OnceLock;
use std::time::Duration;

/// Whose a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Nobody's, and empty.
    Free = 0,
    /// A producer's.
    Live = 1,
    /// Nobody's any more; what is in it gets stored.
    Draining = 2,
    /// Left behind by its producer because a batch pins it; what is in it gets stored.
    Retired = 3,
    /// Its producer is on the way to the successor: it is offered no other, and is nobody else's yet.
    Moving = 4,
}

impl State {
    /// Whether another may have the ring, once it is drained.
    pub(super) fn is_given_up(self) -> bool {
        matches!(self, Self::Free | Self::Draining | Self::Retired)
    }
}

/// A ring buffer with its identity.
#[derive(Debug)]
pub struct Ring {
    log: OnceLock<Log>,
    /// Overwritten records on their way to the storage's `release`, where that is wanted.
    spill: OnceLock<Log>,
    id: AtomicU64,
    state: AtomicU32,
    /// 1: it carries the library's own events.
    meta: AtomicU32,
    /// Events that writers have claimed, under all ids; written by writers, under the log's own lock.
    claimed_events: AtomicU64,
    /// What `claimed_events` was when the ring got its id.
    claimed_before: AtomicU64,
    /// The ring to go on in, if this one is pinned.
    successor: AtomicPtr<Ring>,
    /// 1: a producer waits for space.
    waiting: AtomicU32,
    /// Counts releases of space, for those who wait; a futex word.
    space: AtomicU32,
}

impl Ring {
    pub(super) fn new() -> Self {
        Self {
            log: OnceLock::new(),
            spill: OnceLock::new(),
            id: AtomicU64::new(0),
            state: AtomicU32::new(State::Free as u32),
            meta: AtomicU32::new(0),
            claimed_events: AtomicU64::new(0),
            claimed_before: AtomicU64::new(0),
            successor: AtomicPtr::new(std::ptr::null_mut()),
            waiting: AtomicU32::new(0),
            space: AtomicU32::new(0),
        }
    }

    /// Its bytes and positions, if it was ever used.
    #[inline]
    pub fn log(&self) -> Option<&Log> {
        self.log.get()
    }

    /// Overwritten records that wait for their release.
    pub fn spill(&self) -> Option<&Log> {
        self.spill.get()
    }

    /// Its present identity.
    pub fn id(&self) -> u64 {
        self.id.load(Ordering::Acquire)
    }

    /// Whose it is.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Free,
            1 => State::Live,
            2 => State::Draining,
            3 => State::Retired,
            _ => State::Moving,
        }
    }

    /// Gets its memory; once.
    pub(super) fn furnish(&self, log: Log, spill: Option<Log>) {
        if let Some(spill) = spill {
            let _ = self.spill.set(spill);
        }
        let _ = self.log.set(log);
    }

    /// Becomes a producer's, under a new id. It is empty and nobody's.
    pub(super) fn begin(&self, id: u64, meta: bool) {
        self.id.store(id, Ordering::Release);
        self.meta.store(meta.into(), Ordering::Release);
        self.claimed_before.store(self.all_claimed_events(), Ordering::Relaxed);
        self.successor.store(std::ptr::null_mut(), Ordering::Release);
        self.set_state(State::Live);
    }

    /// Is nobody's any more; what is in it gets stored.
    pub(super) fn give_up(&self) {
        self.set_state(State::Draining);
    }

    /// Its producer shall go on in `ring` when it finds this one full.
    pub(super) fn set_successor(&self, ring: &Self) {
        self.successor.store(std::ptr::from_ref(ring).cast_mut(), Ordering::Release);
        self.announce_space();
    }

    /// Events claimed under all its ids.
    pub(super) fn all_claimed_events(&self) -> u64 {
        self.claimed_events.load(Ordering::Relaxed)
    }

    fn set_state(&self, state: State) {
        self.state.store(state as u32, Ordering::Release);
    }

    /// Whether it carries the library's own events.
    pub fn is_meta(&self) -> bool {
        self.meta.load(Ordering::Acquire) != 0
    }

    /// Notes that a writer has claimed `events` of it.
    pub fn add_claimed(&self, events: u64) {
        self.claimed_events.fetch_add(events, Ordering::Relaxed);
    }

    /// Events claimed since the ring got its id.
    pub fn claimed_events(&self) -> u64 {
        self.claimed_events.load(Ordering::Relaxed).wrapping_sub(self.claimed_before.load(Ordering::Relaxed))
    }

    /// Whether nothing is in it, claimed or not.
    pub fn is_drained(&self) -> bool {
        let empty = |log: Option<&Log>| log.is_none_or(|l| l.released() == l.head());
        empty(self.log()) && empty(self.spill())
    }

    /// Whether there is a ring to go on in.
    pub(super) fn has_successor(&self) -> bool {
        !self.successor.load(Ordering::Acquire).is_null()
    }

    /// The ring to go on in, taken: at most one caller gets it.
    pub(super) fn take_successor(&self) -> Option<&Ring> {
        // SAFETY: successors are rings of the same `Rings`, which outlive their producers.
        unsafe { self.successor.swap(std::ptr::null_mut(), Ordering::AcqRel).as_ref() }
    }

    /// Its producer begins to move to the successor.
    pub(super) fn begin_to_move(&self) {
        self.set_state(State::Moving);
    }

    /// Its producer has moved.
    pub(super) fn retire(&self) {
        self.set_state(State::Retired);
    }

    /// Lets a producer wait for space: until `released` differs from what the caller saw, there is a successor, or the pipeline
    /// is closed; at most for `timeout`.
    pub(super) fn wait_for_space(&self, front: &Front, seen_released: u64, timeout: Duration) {
        let Some(log) = self.log() else { return };
        let seen = self.space.load(Ordering::Acquire);
        self.waiting.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let closed = front.closed.load(Ordering::SeqCst) != 0;
        if log.released() == seen_released && !self.has_successor() && !closed {
            park::wait(&self.space, seen, Some(timeout));
        }
    }

    /// Space was released: whether a producer waits for it, who is to be told by [`announce_space`](Self::announce_space).
    pub fn is_waited_for(&self) -> bool {
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::SeqCst) != 0
    }

    /// Space was released (or a successor came, or the pipeline closed): whoever waits looks again.
    pub fn announce_space(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.waiting.store(0, Ordering::SeqCst);
            self.space.fetch_add(1, Ordering::AcqRel);
            park::wake(&self.space, u32::MAX);
        }
    }
}

/// The producer's cursor in a ring that was just handed to it.
pub(super) fn cursors(ring: &Ring) -> (Cursor, Cursor) {
    (ring.log().map(Log::cursor).unwrap_or_default(), ring.spill().map(Log::cursor).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::front::Overflow;
    use crate::ring::front::tests::front;
    use crate::ring::memory::Memory;
    use std::sync::Arc;
    use std::time::Instant;

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::yield_now();
        }
    }

    /// A thread that waits in a ring whose `released` is 0, having seen `seen`; for an hour, if need be.
    fn waits(ring: &Arc<Ring>, front: &Arc<Front>, seen: u64) -> std::thread::JoinHandle<()> {
        ring.furnish(Log::new(Memory::new(256).unwrap(), 4), None);
        let (ring, front) = (Arc::clone(ring), Arc::clone(front));
        std::thread::spawn(move || ring.wait_for_space(&front, seen, Duration::from_secs(3600)))
    }

    #[test]
    fn whoever_waits_for_space_is_woken_by_its_announcement() {
        let (ring, front) = (Arc::new(Ring::new()), Arc::new(front(Overflow::Block)));
        let waiter = waits(&ring, &front, 0);
        until("a producer that waits", || ring.waiting.load(Ordering::SeqCst) == 1);
        ring.announce_space();
        until("its return", || waiter.is_finished());
    }

    #[test]
    fn nobody_waits_where_there_is_space_a_successor_or_an_end() {
        let successor = Ring::new();
        for case in 0..3 {
            let (ring, front) = (Arc::new(Ring::new()), Arc::new(front(Overflow::Block)));
            match case {
                0 => {}
                1 => ring.set_successor(&successor),
                _ => front.closed.store(1, Ordering::SeqCst),
            }
            let waiter = waits(&ring, &front, if case == 0 { 8 } else { 0 });
            until("a return without a wait", || waiter.is_finished());
        }
    }
}
