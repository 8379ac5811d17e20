//! All ring buffers and producers of a pipeline: a fixed number, made when first needed. [`registry`] is how they are handed
//! from thread to thread.

mod registry;
#[cfg(test)]
pub(super) mod tests;

use super::buffer::{Ring, State};
use super::front::Front;
use super::log::Log;
use super::producer::Producer;
use crate::platform::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use crate::platform::thread;
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, Result};
pub use registry::NoRing;
use registry::Registry;

/// How many rings of what size.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a ring.
    pub ring_bytes: u64,
    /// Rings of threads and handles.
    pub max_rings: u32,
    /// Rings to replace pinned ones.
    pub max_retired_rings: u32,
    /// Claims that may be out at once.
    pub max_claims: usize,
    /// Whether overwritten records are kept until they were released.
    pub spill: bool,
    /// Whether anybody wants the library's own events.
    pub meta: bool,
}

/// All rings and producers of a pipeline.
#[derive(Debug)]
pub struct Rings {
    /// What every producer reads.
    pub front: Front,
    shape: Shape,
    rings: Box<[Ring]>,
    producers: Box<[Producer]>,
    registry: Mutex<Registry>,
    /// Only producers before this one were ever a thread's.
    owned: AtomicU32,
    /// Counts rings that were given back, for threads that had to do without one.
    vacancies: AtomicU64,
}

const META_RING_BYTES: u64 = 1 << 16;

impl Rings {
    /// No ring yet but the shared one and the one for the library's own events.
    pub fn new(front: Front, shape: Shape) -> Result<std::sync::Arc<Self>> {
        let producers = shape.max_rings as usize + 2;
        let rings = producers + shape.max_retired_rings as usize;
        let mut this = std::sync::Arc::new(Self {
            front,
            shape,
            rings: (0..rings).map(|_| Ring::new()).collect(),
            producers: (0..producers).map(|_| Producer::new()).collect(),
            registry: Mutex::new(Registry { next_ring_id: 1 }),
            owned: AtomicU32::new(0),
            vacancies: AtomicU64::new(0),
        });
        let at = std::sync::Arc::as_ptr(&this);
        if let Some(rings) = std::sync::Arc::get_mut(&mut this) {
            for producer in &mut rings.producers {
                // SAFETY: behind the `Arc`, where they stay.
                unsafe { producer.bind(at) };
            }
        }
        {
            let mut held = this.hold();
            for (producer, bytes, meta) in
                [(this.shared(), shape.ring_bytes, false), (this.meta(), META_RING_BYTES, true)]
            {
                let ring = this.ready_ring(&mut held.registry, bytes, meta, true).map_err(|_| {
                    Error::new(
                        PIPELINE_ERR_NO_MEMORY,
                        format!(
                            "ring_bytes: {bytes} bytes cannot be mapped: {}",
                            std::io::Error::last_os_error()
                        ),
                    )
                })?;
                producer.attach(ring, 0);
            }
        }
        Ok(this)
    }

    /// The producer for captures that have no ring of their own.
    pub fn shared(&self) -> &Producer {
        &self.producers[self.shape.max_rings as usize]
    }

    /// The producer of the library's own events.
    fn meta(&self) -> &Producer {
        &self.producers[self.shape.max_rings as usize + 1]
    }

    /// How many rings were ever given back.
    pub fn vacancies(&self) -> u64 {
        self.vacancies.load(Ordering::Acquire)
    }

    /// Every ring that was ever used.
    pub fn iter(&self) -> impl Iterator<Item = &Ring> {
        // The first ones, see `used`: a pipeline may have room for many more than it ever needs.
        self.rings.iter().take_while(|r| r.log().is_some())
    }

    /// Where a ring is among all of them.
    pub(super) fn place_of(&self, ring: &Ring) -> u32 {
        let behind = std::ptr::from_ref(ring).addr().wrapping_sub(self.rings.as_ptr().addr());
        (behind / size_of::<Ring>()) as u32
    }

    /// The ring whose capture was the last to wake a writer, as a rule: its place.
    pub fn knocker(&self) -> usize {
        self.front.knocker.load(Ordering::Relaxed) as usize
    }

    /// Every ring's place.
    pub fn all(&self) -> &[Ring] {
        &self.rings
    }

    /// The producers whose counts make the ledger: all but the one of the library's own events.
    pub fn counted(&self) -> &[Producer] {
        &self.producers[..=self.shape.max_rings as usize]
    }

    /// How many places of [`all`](Self::all) were ever used; those are the first ones.
    pub fn used(&self) -> usize {
        self.rings.iter().position(|r| r.log().is_none()).unwrap_or(self.rings.len())
    }

    /// How much of a ring claims may cover together. Where producers overwrite, a quarter (so, with one event more, at most half), so
    /// that there is something left to overwrite.
    pub fn cover(&self, log: &Log) -> u64 {
        let overwriting =
            self.front.overflow.load(Ordering::Relaxed) == super::front::Overflow::DropOldest as u32;
        if overwriting { log.capacity() / 4 } else { log.capacity() }
    }

    /// Whether a claim would find something; `alone`: in a ring of which nothing is claimed.
    pub fn any_claimable(&self, alone: bool) -> bool {
        let claimable = |log: &Log| log.is_claimable(self.cover(log)) && (!alone || log.spans() == 0);
        // Whoever was woken finds it there.
        self.rings.get(self.knocker()).and_then(Ring::log).is_some_and(claimable)
            || self.rings.iter().map_while(Ring::log).any(claimable)
    }

    /// Whether overwritten events wait for their release.
    pub fn any_spilled(&self) -> bool {
        self.shape.spill && self.iter().filter_map(Ring::spill).any(Log::has_unclaimed)
    }

    /// Whether overwritten events are kept until they were released.
    pub fn keeps_overwritten(&self) -> bool {
        self.shape.spill
    }

    /// What lies unclaimed: events, bytes, and the bytes of the fullest ring.
    pub fn unclaimed(&self) -> (u64, u64, u64) {
        let (mut bytes, mut fullest, mut claimed) = (0, 0, 0u64);
        for ring in self.iter() {
            let here = ring.log().map_or(0, |l| l.head().saturating_sub(l.claimed()));
            bytes += here;
            fullest = fullest.max(here);
            claimed += ring.all_claimed_events();
        }
        let events: u64 =
            self.producers.iter().map(|p| p.counts()).map(|c| c.captured.saturating_sub(c.overwritten)).sum();
        (events.saturating_sub(claimed), bytes, fullest)
    }

    /// Rings in use that are not retired; and retired ones.
    pub fn in_use(&self) -> (usize, usize) {
        let mut used = 0;
        let mut retired = 0;
        for ring in self.iter() {
            match ring.state() {
                State::Live | State::Moving => used += 1,
                State::Draining if !ring.is_drained() => used += 1,
                State::Retired if !ring.is_drained() => retired += 1,
                _ => {}
            }
        }
        (used, retired)
    }

    /// The producer that a thread has here already.
    pub fn find_owner(&self, owner: u64) -> Option<&Producer> {
        self.ever_owned().iter().find(|p| p.owner() == owner)
    }

    /// The producers that were ever a thread's. (A thread's own is among them for that thread.)
    pub(super) fn ever_owned(&self) -> &[Producer] {
        &self.producers[..self.owned.load(Ordering::Acquire) as usize]
    }

    /// In a forked child: gives the memory of the parent's rings back, and nothing else.
    ///
    /// # Safety
    /// Nobody uses the rings in this process any more; `self` is never dropped here.
    pub unsafe fn unmap(&self) {
        for ring in &self.rings {
            for log in [ring.log(), ring.spill()].into_iter().flatten() {
                // SAFETY: passed on.
                unsafe { log.unmap() };
            }
        }
    }

    /// Whether a capture is under way at this moment.
    pub fn any_capturing(&self) -> bool {
        self.producers.iter().any(Producer::is_capturing)
    }

    /// No new events from here on: on return every capture that was let in is published, as far as `patience` allows. Answers
    /// whether that is so.
    pub fn shut(&self, mut patience: impl FnMut() -> bool) -> bool {
        {
            // Under the registry's lock, so that no ring is attached behind our back.
            let _held = self.hold();
            self.front.close();
            crate::platform::barrier::heavy(self.front.asymmetric);
        }
        let tries = AtomicU32::new(0);
        loop {
            // Also for those who wait for space in the shared ring, and are not busy meanwhile.
            for ring in self.iter() {
                ring.announce_space();
            }
            let all_in = !self.any_capturing();
            if all_in || !patience() {
                return all_in;
            }
            thread::pause(&tries);
        }
    }
}
