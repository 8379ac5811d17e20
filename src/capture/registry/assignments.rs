//! The assignment of slots to producers, under one lock.
//!
//! A slot passes to another thread only when it is drained, and then has a new id. A slot that a batch pins for too long
//! is replaced: the supervisor gives it a successor, and its producer moves there when it next finds its ring full.

use super::super::{Keeper, Offer, Producer};
use super::{META_RING_BYTES, Registry};
use crate::event::PIPELINE_KIND_THREAD;
use crate::facts::Fact;
use crate::platform::sync::{MutexGuard, Ordering};
use crate::platform::thread;
use crate::ring::memory::Memory;
use crate::ring::ring_buffer::RingBuffer;
use crate::ring::slot::{Slot, State};
use crate::status::{
    Error, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FULL, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT,
    PIPELINE_ERR_NO_MEMORY, PIPELINE_OK, Result,
};
use std::cell::Cell;

/// What a ring is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Events of callers.
    Ordinary,
    /// Those of them with priority.
    Priority,
    /// The library's own events.
    Meta,
}

impl Purpose {
    /// What this ring is for.
    fn of(ring: &Slot) -> Self {
        match (ring.is_priority(), ring.is_meta()) {
            (true, _) => Self::Priority,
            (false, true) => Self::Meta,
            (false, false) => Self::Ordinary,
        }
    }
}

#[derive(Debug)]
pub(super) struct Assignments {
    pub(super) next_ring_id: u64,
}

thread_local! {
    /// The calling thread holds a registry's lock. Code that interrupts it (a signal handler, an allocator's hook) must not wait
    /// for that.
    static HOLDING: Cell<bool> = const { Cell::new(false) };
}

/// The registry's lock, held.
pub(super) struct Registered<'a> {
    pub(super) assignments: MutexGuard<'a, Assignments>,
    /// Dropped after the lock: fields go in their order.
    _holding: Holding,
}

/// The calling thread holds a registry's lock, or is about to.
struct Holding(bool);

impl Holding {
    fn begin() -> Self {
        Self(HOLDING.replace(true))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        HOLDING.set(self.0);
    }
}

/// Why a thread gets no ring of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRing {
    /// The pipeline is closed.
    Closed,
    /// All are in use.
    AllInUse,
    /// There is no memory for one.
    NoMemory,
    /// Another thread holds the lock, and the caller does not wait.
    NotNow,
}

impl Keeper for Registry {
    fn close(&self, producer: &Producer) {
        self.detach(producer);
    }
}

impl Registry {
    /// Takes the registry's lock.
    pub(super) fn hold(&self) -> Registered<'_> {
        let holding = Holding::begin();
        Registered { assignments: self.assignments.lock(), _holding: holding }
    }

    /// Whether the calling thread has been interrupted while it holds a registry's lock.
    pub fn interrupted() -> bool {
        HOLDING.get()
    }

    /// The size of a ring.
    pub(super) fn bytes_for(&self, purpose: Purpose) -> u64 {
        match purpose {
            Purpose::Ordinary => self.shape.ring_bytes,
            Purpose::Meta => META_RING_BYTES,
            Purpose::Priority => self.shape.priority_ring_bytes,
        }
    }

    /// Takes a slot that is empty and has no owner, and gives it a new id. With `fresh`, one that was never used may be taken: that
    /// allocates its ring buffer.
    pub(super) fn ready_ring(
        &self,
        assignments: &mut Assignments,
        purpose: Purpose,
        fresh: bool,
    ) -> Result<&Slot, NoRing> {
        let (bytes, meta, priority) =
            (self.bytes_for(purpose), purpose == Purpose::Meta, purpose == Purpose::Priority);
        let spills = self.shape.spill && !meta;
        let idle = |r: &&Slot| {
            r.state().is_given_up()
                && r.is_drained()
                && r.buffer().is_none_or(|l| l.capacity() == bytes)
                && r.spill().is_some() == spills
        };
        let ring = match self.slots.part(priority).find(idle) {
            Some(idle) => idle,
            None if fresh => {
                self.slots.fresh(priority).map_err(|_| NoRing::NoMemory)?.ok_or(NoRing::AllInUse)?
            }
            None => return Err(NoRing::AllInUse),
        };
        if ring.buffer().is_none() {
            let in_memory =
                |bytes, claims| Memory::new(bytes).and_then(|memory| RingBuffer::new(memory, claims));
            let spill = if spills { Some(in_memory(bytes / 2, 16).ok_or(NoRing::NoMemory)?) } else { None };
            let claims = self.shape.max_claims;
            let buffer = match &self.shape.file {
                // (The library's own events are in the file as facts.)
                Some(file) if !meta => {
                    let (words, memory) = file.ring(priority).ok_or(NoRing::AllInUse)?;
                    RingBuffer::with_words(memory, words, claims)
                }
                _ => in_memory(bytes, claims),
            };
            ring.set_buffer(buffer.ok_or(NoRing::NoMemory)?, spill);
        }
        ring.begin(assignments.next_ring_id, meta);
        assignments.next_ring_id += 1;
        Ok(ring)
    }

    /// A producer with a ring of its own, for a handle.
    pub fn attach_handle(&self) -> Result<&Producer> {
        self.attach(&mut self.hold().assignments, 0, true).map_err(|why| match why {
            NoRing::Closed => Error::new(PIPELINE_ERR_CLOSED, "the pipeline is closed"),
            NoRing::NoMemory => Error::new(
                PIPELINE_ERR_NO_MEMORY,
                format!(
                    "ring_bytes, priority_ring_bytes: {} and {} bytes cannot be mapped",
                    self.shape.ring_bytes, self.shape.priority_ring_bytes
                ),
            ),
            NoRing::AllInUse | NoRing::NotNow => Error::new(
                PIPELINE_ERR_LIMIT,
                format!("max_rings: {} allowed, all of them in use", self.shape.max_rings),
            ),
        })
    }

    /// A producer with a ring of its own for the calling thread, whose token is `owner`. Only a thread's first try may `wait`: a later
    /// one may come from a signal handler.
    pub fn attach_thread(&self, owner: u64, wait: bool) -> Result<&Producer, NoRing> {
        if wait {
            return self.attach(&mut self.hold().assignments, owner, true);
        }
        let _holding = Holding::begin(); // dropped after the lock
        let mut assignments = self.assignments.try_lock().ok_or(NoRing::NotNow)?;
        self.attach(&mut assignments, owner, false)
    }

    fn attach(&self, assignments: &mut Assignments, owner: u64, fresh: bool) -> Result<&Producer, NoRing> {
        if self.intake.is_closed() {
            return Err(NoRing::Closed);
        }
        // The shared and the library's own ring are not counted.
        let most = self.shape.max_rings as usize + 2;
        if self.in_use_of(false).0 >= most || self.in_use_of(true).0 + 1 >= most {
            return Err(NoRing::AllInUse);
        }
        let own = &self.producers[..self.shape.max_rings as usize];
        let (at, producer) = own.iter().enumerate().find(|(_, p)| p.is_free()).ok_or(NoRing::AllInUse)?;
        let ring = self.ready_ring(assignments, Purpose::Ordinary, fresh)?;
        let second = self.attach_priority(assignments, producer, owner, fresh).inspect_err(|_| {
            ring.set_state(State::Free);
        })?;
        producer.attach(ring, owner);
        if owner != 0 {
            self.owned.fetch_max(at as u32 + 1, Ordering::AcqRel);
            for ring in [Some(ring), second].into_iter().flatten() {
                self.tell_thread(assignments, ring, thread::os_id(), thread::name());
            }
        }
        Ok(producer)
    }

    /// Gives a producer that is about to be attached its priority ring, if the pipeline has such rings: so the first event with priority allocates nothing,
    /// and may come from a signal handler.
    fn attach_priority(
        &self,
        assignments: &mut Assignments,
        producer: &Producer,
        owner: u64,
        fresh: bool,
    ) -> Result<Option<&Slot>, NoRing> {
        if self.slots.without_priority() {
            return Ok(None);
        }
        if producer.priority().is_none() && !fresh {
            return Err(NoRing::AllInUse);
        }
        let second = producer.make_priority().map_err(|_| NoRing::NoMemory)?;
        let ring = self.ready_ring(assignments, Purpose::Priority, fresh)?;
        second.attach(ring, owner);
        Ok(Some(ring))
    }

    /// The producer's thread has ended, or its handle is closed: what it captured gets stored, its ring passes on.
    pub fn detach(&self, producer: &Producer) {
        let _held = self.hold();
        let both = [producer.detach(), producer.priority().and_then(Producer::detach)];
        for ring in both.into_iter().flatten() {
            ring.set_state(State::Draining);
            if let Some(unused) = ring.take_successor() {
                unused.set_state(State::Draining);
            }
        }
        if both[0].is_some() {
            self.vacancies.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The producers of a thread that has ended.
    pub fn detach_owner(&self, owner: u64) {
        for producer in self.ever_owned().iter().filter(|p| p.owner() == owner) {
            self.detach(producer);
        }
    }

    /// Gives a pinned slot a successor. `false`: none is free, or it has one.
    pub fn offer_successor(&self, pinned: &Slot) -> bool {
        let mut held = self.hold();
        // The successor first: its producer retires the ring, and then takes it.
        if pinned.has_successor() || pinned.state() != State::Live {
            return false;
        }
        // Each ring in one look, the successor before the state: a producer in the middle of its move has taken the one, and not
        // yet changed the other.
        let leaves = |r: &&Slot| {
            r.has_successor()
                || match r.state() {
                    State::Moving => true,
                    State::Retired => !r.is_drained(),
                    _ => false,
                }
        };
        if self.iter().filter(leaves).count() >= self.shape.max_retired_rings as usize {
            return false;
        }
        let Ok(ring) = self.ready_ring(&mut held.assignments, Purpose::of(pinned), true) else {
            return false;
        };
        pinned.set_successor(ring);
        let second = pinned.is_priority();
        let mut producers = self.counted().iter().filter_map(|p| if second { p.priority() } else { Some(p) });
        if let Some(p) = producers.find(|p| p.ring().is_some_and(|r| std::ptr::eq(r, pinned))) {
            let (tid, name) = p.thread();
            if tid != 0 {
                self.tell_thread(&held.assignments, ring, tid, name);
            }
        }
        true
    }

    /// Notes, and tells the storage, which thread captures into a ring.
    fn tell_thread(&self, assignments: &Assignments, ring: &Slot, tid: u32, name: [u8; 16]) {
        ring.set_thread(tid, name);
        let len = name.iter().position(|&b| b == 0).unwrap_or(16);
        // No room means that the storage has not kept up with such events. Only the name is missing there then.
        let _ = self.tell(assignments, PIPELINE_KIND_THREAD, u64::from(tid), ring.id(), &name[..len]);
    }

    /// Captures one of the library's own events. The registry's lock makes their ring single-producer.
    fn tell(&self, _: &Assignments, kind: u32, correlation_id: u64, node_id: u64, payload: &[u8]) -> i32 {
        if !self.shape.meta {
            return PIPELINE_OK;
        }
        let offer = Offer { correlation_id, node_id, ..Offer::new(kind, payload.as_ptr(), payload.len()) };
        // SAFETY: the payload is a slice.
        unsafe { self.meta().capture_own(&offer) }
    }

    /// The thread that captures into the ring with this id, or did: its id, and its name padded with zeros. `None`: it is not one thread's,
    /// or no ring has that id any more.
    pub fn thread_of(&self, ring_id: u64) -> Option<(u32, [u8; 16])> {
        let _held = self.hold();
        let thread = self.iter().find(|ring| ring.id() == ring_id)?.thread();
        (thread.0 != 0).then_some(thread)
    }

    /// Tells the storage a fact.
    pub fn tell_fact(&self, fact: &Fact) -> Result<()> {
        let Fact { kind, correlation_id, node_id, payload } = fact;
        match self.tell(&self.hold().assignments, *kind, *correlation_id, *node_id, payload) {
            PIPELINE_OK => Ok(()),
            PIPELINE_ERR_FULL => Err(Error::new(
                PIPELINE_ERR_FULL,
                format!(
                    "{fact}: the {META_RING_BYTES} bytes for such facts are full until more of them are stored"
                ),
            )),
            PIPELINE_ERR_CLOSED => Err(Error::new(PIPELINE_ERR_CLOSED, "the pipeline is closed")),
            status => Err(Error::new(status, format!("{fact}: the storage cannot be told"))),
        }
    }

    /// Checks that a kind is below the reserved ones.
    pub fn check_kind(kind: u32) -> Result<()> {
        if kind >= crate::event::PIPELINE_KIND_RESERVED {
            return Err(Error::new(
                PIPELINE_ERR_INVALID,
                format!("kind: below {:#x} allowed, {kind:#x} given", crate::event::PIPELINE_KIND_RESERVED),
            ));
        }
        Ok(())
    }
}
