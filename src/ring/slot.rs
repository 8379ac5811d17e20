//! A slot: a ring buffer with an identity, an owner, and a producer that may wait for space in it.

use super::intake::Intake;
use super::ring_buffer::RingBuffer;
use crate::platform::park;
use crate::platform::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::OnceLock;
use std::time::Duration;

/// The owner of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// It has none, and the ring buffer is empty.
    Free = 0,
    /// A producer.
    Live = 1,
    /// It has none any more. The events in it are still stored.
    Draining = 2,
    /// It has none any more: its producer left it because a batch pins it. The events in it are still stored.
    Retired = 3,
    /// A producer that is moving to the successor. The slot gets no other successor now, and no other owner yet.
    Moving = 4,
}

impl State {
    /// Whether another producer may get the slot, once it is drained.
    pub(crate) fn is_given_up(self) -> bool {
        matches!(self, Self::Free | Self::Draining | Self::Retired)
    }
}

/// A slot.
#[derive(Debug, Default)]
pub struct Slot {
    buffer: OnceLock<RingBuffer>,
    /// Overwritten records that wait for the storage's `release`, if it has one.
    spill: OnceLock<RingBuffer>,
    /// Where it is among the pipeline's slots.
    index: u32,
    /// It is for events with priority.
    priority: bool,
    id: AtomicU64,
    /// A [`State`]; 0 is free.
    state: AtomicU32,
    /// 1: it carries the library's own events.
    meta: AtomicU32,
    /// The thread that captures into it; see [`thread`](Self::thread).
    tid: AtomicU32,
    name: [AtomicU64; 2],
    /// Events that writers have claimed, under all ids.
    claimed_events: AtomicU64,
    /// The value of `claimed_events` when the slot got its id.
    claimed_before: AtomicU64,
    /// The slot that the producer moves to, if a batch pins this one.
    successor: AtomicPtr<Slot>,
    /// 1: a producer waits for space.
    waiting: AtomicU32,
    /// Counts releases of space. Producers that wait park on this word.
    space: AtomicU32,
}

impl Slot {
    pub(crate) fn new(index: u32, priority: bool) -> Self {
        Self { index, priority, ..Self::default() }
    }

    /// Whether it is for events with priority.
    pub fn is_priority(&self) -> bool {
        self.priority
    }

    /// Its ring buffer, if it was ever used.
    #[inline]
    pub fn buffer(&self) -> Option<&RingBuffer> {
        self.buffer.get()
    }

    /// The overwritten records that wait for their release.
    pub fn spill(&self) -> Option<&RingBuffer> {
        self.spill.get()
    }

    /// Where it is among the pipeline's slots.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Its present identity.
    pub fn id(&self) -> u64 {
        self.id.load(Ordering::Acquire)
    }

    /// Its owner.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Free,
            1 => State::Live,
            2 => State::Draining,
            3 => State::Retired,
            _ => State::Moving,
        }
    }

    /// Gives it its ring buffer. This happens once.
    pub(crate) fn set_buffer(&self, buffer: RingBuffer, spill: Option<RingBuffer>) {
        if let Some(spill) = spill {
            let _ = self.spill.set(spill);
        }
        let _ = self.buffer.set(buffer);
    }

    /// Gives it an owner and a new id. Before that it is empty and has neither.
    pub(crate) fn begin(&self, id: u64, meta: bool) {
        self.id.store(id, Ordering::Release);
        if let Some(buffer) = self.buffer() {
            buffer.about().set_ring_id(id);
        }
        self.meta.store(meta.into(), Ordering::Release);
        self.set_thread(0, [0; 16]);
        self.claimed_before.store(self.all_claimed_events(), Ordering::Relaxed);
        self.successor.store(std::ptr::null_mut(), Ordering::Release);
        self.set_state(State::Live);
    }

    /// Its producer moves to `ring` when it finds this one full.
    pub(crate) fn set_successor(&self, ring: &Self) {
        self.successor.store(std::ptr::from_ref(ring).cast_mut(), Ordering::Release);
        self.announce_space();
    }

    /// Events claimed under all its ids.
    pub(crate) fn all_claimed_events(&self) -> u64 {
        self.claimed_events.load(Ordering::Relaxed)
    }

    /// Changes its state.
    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u32, Ordering::Release);
    }

    /// Whether it carries the library's own events.
    pub fn is_meta(&self) -> bool {
        self.meta.load(Ordering::Acquire) != 0
    }

    /// The thread that captures into it: its id, and its name padded with zeros; id 0 if it is not one thread's. Only for callers that
    /// hold the lock of the slot's registry, as for [`set_thread`](Self::set_thread).
    pub(crate) fn thread(&self) -> (u32, [u8; 16]) {
        let mut name = [0; 16];
        for (part, word) in name.chunks_exact_mut(8).zip(&self.name) {
            part.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        (self.tid.load(Ordering::Relaxed), name)
    }

    /// Notes which thread captures into it.
    pub(crate) fn set_thread(&self, tid: u32, name: [u8; 16]) {
        self.tid.store(tid, Ordering::Relaxed);
        if let Some(buffer) = self.buffer() {
            buffer.about().set_thread(tid, name);
        }
        for (part, word) in name.chunks_exact(8).zip(&self.name) {
            word.store(u64::from_ne_bytes(std::array::from_fn(|n| part[n])), Ordering::Relaxed);
        }
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
        let empty = |buffer: Option<&RingBuffer>| buffer.is_none_or(|l| l.released() == l.head());
        empty(self.buffer()) && empty(self.spill())
    }

    /// Whether it has a successor.
    pub(crate) fn has_successor(&self) -> bool {
        !self.successor.load(Ordering::Acquire).is_null()
    }

    /// Takes the successor: at most one caller gets it.
    pub(crate) fn take_successor(&self) -> Option<&Slot> {
        // SAFETY: successors are slots of the same registry, which outlive their producers.
        unsafe { self.successor.swap(std::ptr::null_mut(), Ordering::AcqRel).as_ref() }
    }

    /// Lets a producer wait for space: until `released` differs from what the caller saw, there is a successor, or the pipeline
    /// is closed; at most for `timeout`.
    pub(crate) fn wait_for_space(&self, intake: &Intake, seen_released: u64, timeout: Duration) {
        let Some(buffer) = self.buffer() else { return };
        let seen = self.space.load(Ordering::Acquire);
        self.waiting.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let closed = intake.is_closed();
        if buffer.released() == seen_released && !self.has_successor() && !closed {
            park::wait(&self.space, seen, Some(timeout));
        }
    }

    /// Returns whether a producer waits for space. If so, the thread that has released some calls [`announce_space`](Self::announce_space).
    pub fn is_waited_for(&self) -> bool {
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::SeqCst) != 0
    }

    /// Wakes the producers that wait: space was released, a successor came, or the pipeline was closed.
    pub fn announce_space(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.waiting.store(0, Ordering::SeqCst);
            self.space.fetch_add(1, Ordering::AcqRel);
            park::wake(&self.space, u32::MAX);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ring::intake::Overflow;
    use crate::ring::intake::tests::intake;
    use crate::ring::memory::Memory;
    use std::sync::Arc;
    use std::time::Instant;

    #[track_caller]
    pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::yield_now();
        }
    }

    /// A thread that waits in a ring whose `released` is 0, having seen `seen`; for an hour, if need be.
    fn waits(ring: &Arc<Slot>, intake: &Arc<Intake>, seen: u64) -> std::thread::JoinHandle<()> {
        ring.set_buffer(RingBuffer::new(Memory::new(256).unwrap(), 4).unwrap(), None);
        let (ring, intake) = (Arc::clone(ring), Arc::clone(intake));
        std::thread::spawn(move || ring.wait_for_space(&intake, seen, Duration::from_secs(3600)))
    }

    #[test]
    fn a_producer_that_waits_for_space_is_woken_by_its_announcement() {
        let (ring, intake) = (Arc::new(Slot::new(0, false)), Arc::new(intake(Overflow::Block)));
        let waiter = waits(&ring, &intake, 0);
        until("a producer that waits", || ring.waiting.load(Ordering::SeqCst) == 1);
        ring.announce_space();
        until("its return", || waiter.is_finished());
    }

    #[test]
    fn no_producer_waits_where_there_is_space_a_successor_or_a_close() {
        let successor = Slot::new(0, false);
        for case in 0..3 {
            let (ring, intake) = (Arc::new(Slot::new(0, false)), Arc::new(intake(Overflow::Block)));
            match case {
                0 => {}
                1 => ring.set_successor(&successor),
                _ => intake.close(),
            }
            let waiter = waits(&ring, &intake, if case == 0 { 8 } else { 0 });
            until("a return without a wait", || waiter.is_finished());
        }
    }
}
