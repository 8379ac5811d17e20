//! Who has which ring, under one lock.
//!
//! A ring passes to another thread only when it is drained, and then has a new id. A ring that a batch pins for too long
//! is replaced: the supervisor puts a successor beside it, and its producer moves over when it next finds it full.

use super::{META_RING_BYTES, Rings};
use crate::event::{ClockFacts, PIPELINE_KIND_CLOCK, PIPELINE_KIND_KIND_NAME, PIPELINE_KIND_THREAD};
use crate::platform::sync::{MutexGuard, Ordering};
use crate::platform::thread;
use crate::ring::buffer::{Ring, State};
use crate::ring::log::Log;
use crate::ring::memory::Memory;
use crate::ring::producer::{Offer, Producer};
use crate::status::{
    Error, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FULL, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT,
    PIPELINE_ERR_NO_MEMORY, PIPELINE_OK, Result,
};
use std::cell::Cell;

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) next_ring_id: u64,
}

thread_local! {
    /// The calling thread holds a registry's lock. What interrupts it (a signal handler, an allocator's hook) must not wait
    /// for that.
    static HOLDING: Cell<bool> = const { Cell::new(false) };
}

/// The registry's lock, held.
pub(super) struct Registered<'a> {
    pub(super) registry: MutexGuard<'a, Registry>,
    /// Dropped after the lock: fields go in their order.
    _holding: Holding,
}

/// The calling thread holds a registry's lock, or is about to.
struct Holding {
    before: bool,
}

impl Holding {
    fn begin() -> Self {
        Self { before: HOLDING.replace(true) }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        HOLDING.set(self.before);
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
    /// Another thread is at the registry, and the caller would not wait.
    NotNow,
}

impl Rings {
    /// Takes the registry's lock.
    pub(super) fn hold(&self) -> Registered<'_> {
        let holding = Holding::begin();
        Registered { registry: self.registry.lock(), _holding: holding }
    }

    /// Whether the calling thread has been interrupted while it holds a registry's lock.
    pub fn interrupted() -> bool {
        HOLDING.get()
    }

    /// A ring that is nobody's and empty, with its memory and a new id.
    /// Only with `fresh` one that was never used: that allocates.
    pub(super) fn ready_ring(
        &self,
        registry: &mut Registry,
        bytes: u64,
        meta: bool,
        fresh: bool,
    ) -> Result<&Ring, NoRing> {
        let spills = self.shape.spill && !meta;
        let idle = |r: &&Ring| {
            r.state().is_given_up()
                && r.is_drained()
                && r.log().is_none_or(|l| l.capacity() == bytes)
                && r.spill().is_some() == spills
        };
        let ring = self
            .iter()
            .find(idle)
            .or_else(|| self.rings.iter().find(|r| fresh && r.log().is_none()))
            .ok_or(NoRing::AllInUse)?;
        if ring.log().is_none() {
            let memory = |bytes| Memory::new(bytes).map_err(|_| NoRing::NoMemory);
            let log = Log::new(memory(bytes)?, self.shape.max_claims);
            let spill = if spills { Some(Log::new(memory(bytes / 2)?, 16)) } else { None };
            ring.furnish(log, spill);
        }
        ring.begin(registry.next_ring_id, meta);
        registry.next_ring_id += 1;
        Ok(ring)
    }

    /// A producer with a ring of its own, for a handle.
    pub fn attach_handle(&self) -> Result<&Producer> {
        self.attach(&mut self.hold().registry, 0, true).map_err(|why| match why {
            NoRing::Closed => Error::new(PIPELINE_ERR_CLOSED, "the pipeline is closed"),
            NoRing::NoMemory => Error::new(
                PIPELINE_ERR_NO_MEMORY,
                format!("ring_bytes: {} bytes cannot be mapped", self.shape.ring_bytes),
            ),
            NoRing::AllInUse | NoRing::NotNow => Error::new(
                PIPELINE_ERR_LIMIT,
                format!("max_rings: {} allowed, all of them in use", self.shape.max_rings),
            ),
        })
    }

    /// A producer with a ring of its own, for the calling thread, whose token `owner` is. Only a thread's first try may `wait`: later
    /// ones can come from a signal handler.
    pub fn attach_thread(&self, owner: u64, wait: bool) -> Result<&Producer, NoRing> {
        if wait {
            return self.attach(&mut self.hold().registry, owner, true);
        }
        let holding = Holding::begin();
        let registry = self.registry.try_lock().ok_or(NoRing::NotNow)?;
        let mut held = Registered { registry, _holding: holding };
        self.attach(&mut held.registry, owner, false)
    }

    fn attach(&self, registry: &mut Registry, owner: u64, fresh: bool) -> Result<&Producer, NoRing> {
        if self.front.is_closed() {
            return Err(NoRing::Closed);
        }
        // The shared and the library's own ring are not counted.
        if self.in_use().0 >= self.shape.max_rings as usize + 2 {
            return Err(NoRing::AllInUse);
        }
        let own = &self.producers[..self.shape.max_rings as usize];
        let (at, producer) = own.iter().enumerate().find(|(_, p)| p.is_free()).ok_or(NoRing::AllInUse)?;
        let ring = self.ready_ring(registry, self.shape.ring_bytes, false, fresh)?;
        producer.attach(ring, owner);
        if owner != 0 {
            self.owned.fetch_max(at as u32 + 1, Ordering::AcqRel);
            self.tell_thread(registry, ring.id(), thread::os_id(), &thread::name());
        }
        Ok(producer)
    }

    /// The producer's thread has ended, or its handle is closed: what it captured gets stored, its ring passes on.
    pub fn detach(&self, producer: &Producer) {
        let _held = self.hold();
        if let Some(ring) = producer.detach() {
            ring.give_up();
            if let Some(unused) = ring.take_successor() {
                unused.give_up();
            }
            self.vacancies.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The producers of a thread that has ended.
    pub fn detach_owner(&self, owner: u64) {
        for producer in self.ever_owned().iter().filter(|p| p.owner() == owner) {
            self.detach(producer);
        }
    }

    /// Gives a pinned ring a successor to go on in. `false`: none is free, or it has one.
    pub fn offer_successor(&self, pinned: &Ring) -> bool {
        let mut held = self.hold();
        // The successor first: its producer retires the ring, and then takes it.
        if pinned.has_successor() || pinned.state() != State::Live {
            return false;
        }
        // Each ring in one look, the successor before the state: a producer in the middle of its move has taken the one, and not
        // yet changed the other.
        let leaves = |r: &&Ring| {
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
        let Some(log) = pinned.log() else { return false };
        let ready = self.ready_ring(&mut held.registry, log.capacity(), pinned.is_meta(), true);
        let Ok(ring) = ready else { return false };
        pinned.set_successor(ring);
        if let Some(p) = self.counted().iter().find(|p| p.ring().is_some_and(|r| std::ptr::eq(r, pinned))) {
            let (tid, name) = p.thread();
            if tid != 0 {
                self.tell_thread(&held.registry, ring.id(), tid, &name);
            }
        }
        true
    }

    fn tell_thread(&self, registry: &Registry, ring_id: u64, tid: u32, name: &[u8; 16]) {
        let len = name.iter().position(|&b| b == 0).unwrap_or(16);
        // No room means that the storage has not kept up with these: the name is missing there, and nothing else.
        let _ = self.tell(registry, PIPELINE_KIND_THREAD, u64::from(tid), ring_id, &name[..len]);
    }

    /// The lock of the registry makes the library's own ring single-producer.
    fn tell(&self, _: &Registry, kind: u32, correlation_id: u64, node_id: u64, payload: &[u8]) -> i32 {
        if !self.shape.meta {
            return PIPELINE_OK;
        }
        let offer = Offer {
            kind,
            flags: 0,
            timestamp: 0,
            correlation_id,
            node_id,
            data: payload.as_ptr(),
            len: payload.len(),
        };
        // SAFETY: the payload is a slice.
        unsafe { self.meta().capture_own(&offer) }
    }

    /// Tells the storage the name of a kind.
    pub fn tell_kind(&self, kind: u32, name: &[u8]) -> Result<()> {
        let status = self.tell(&self.hold().registry, PIPELINE_KIND_KIND_NAME, 0, u64::from(kind), name);
        match status {
            PIPELINE_OK => Ok(()),
            PIPELINE_ERR_FULL => Err(Error::new(
                PIPELINE_ERR_FULL,
                format!(
                    "kind {kind}: the {META_RING_BYTES} bytes for names are full until more of them are stored"
                ),
            )),
            PIPELINE_ERR_CLOSED => Err(Error::new(PIPELINE_ERR_CLOSED, "the pipeline is closed")),
            status => Err(Error::new(status, format!("kind {kind}: cannot be named"))),
        }
    }

    /// Tells the storage of the clock. `false`: there is no room for that at present.
    pub fn tell_clock(&self, facts: &ClockFacts) -> bool {
        let status = self.tell(&self.hold().registry, PIPELINE_KIND_CLOCK, 0, 0, &facts.bytes());
        status != PIPELINE_ERR_FULL
    }

    /// Whether the storage wants to be told anything.
    pub fn tells(&self) -> bool {
        self.shape.meta
    }

    /// Whether kinds below the reserved ones only are given.
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
