//! All slots and producers of a pipeline. Their number is fixed; the memory of a ring buffer is made when it is first needed.
//! [`assignments`] is which thread has which.

mod assignments;
pub(super) mod rules;
mod slots;
#[cfg(test)]
pub(crate) mod tests;

use super::{Keeper, Producer};
use crate::platform::memory;
use crate::platform::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use crate::platform::thread;
use crate::ring::intake::{Intake, Overflow};
use crate::ring::ring_buffer::RingBuffer;
use crate::ring::slot::{Slot, State};
use crate::ring_file::run_file::RunFile;
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, Result};
pub use assignments::NoRing;
use assignments::{Assignments, Purpose};
use slots::Slots;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// How many rings of what size.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Bytes of a ring.
    pub ring_bytes: u64,
    /// Bytes of a priority ring; 0: there are none.
    pub priority_ring_bytes: u64,
    /// Rings of threads and handles.
    pub max_rings: u32,
    /// Rings to replace pinned ones.
    pub max_retired_rings: u32,
    /// Claims that may be out at once.
    pub max_claims: usize,
    /// Whether overwritten records are kept until they were released.
    pub spill: bool,
    /// Whether the storage wants the library's own events.
    pub meta: bool,
    /// The file that the rings lie in. `None`: they lie in memory.
    pub file: Option<Arc<RunFile>>,
}

/// All slots and producers of a pipeline.
#[derive(Debug)]
pub struct Registry {
    /// The part of the pipeline that producers read.
    pub intake: Intake,
    shape: Shape,
    slots: Slots,
    producers: Box<[Producer]>,
    assignments: Mutex<Assignments>,
    rules: Mutex<rules::Sets>,
    /// Only producers before this one were ever a thread's.
    owned: AtomicU32,
    /// Counts rings that were given back, for threads that had to do without one.
    vacancies: AtomicU64,
}

const META_RING_BYTES: u64 = 1 << 16;

impl Registry {
    /// No ring yet but the shared one and the one for the library's own events.
    pub fn new(intake: Intake, shape: Shape) -> Result<Arc<Self>> {
        let producers = shape.max_rings as usize + 2;
        let slots = producers + shape.max_retired_rings as usize;
        // All but the library's own producer have a priority ring.
        let slots = Slots::new(slots, if shape.priority_ring_bytes == 0 { 0 } else { slots - 1 })?;
        let producers = memory::boxed(producers, || Producer::new(false))?;
        let mut this = Arc::new(Self {
            intake,
            shape,
            slots,
            producers,
            assignments: Mutex::new(Assignments { next_ring_id: 1 }),
            rules: Mutex::default(),
            owned: AtomicU32::new(0),
            vacancies: AtomicU64::new(0),
        });
        let at = Arc::as_ptr(&this).cast_mut();
        if let (Some(keeper), Some(registry)) = (NonNull::new(at as *mut dyn Keeper), Arc::get_mut(&mut this))
        {
            for (index, producer) in (0..).zip(&mut registry.producers) {
                // SAFETY: behind the `Arc`, where all three stay.
                unsafe { producer.bind(keeper, &raw const (*at).intake, index) };
            }
        }
        {
            let mut held = this.hold();
            let refused = |field: &str, bytes: u64| {
                let error = std::io::Error::last_os_error();
                Error::new(
                    PIPELINE_ERR_NO_MEMORY,
                    format!("{field}: {bytes} bytes cannot be mapped: {error}"),
                )
            };
            let (shared, rings) = (this.shared(), &mut held.assignments);
            for (producer, what) in [(shared, Purpose::Ordinary), (this.meta(), Purpose::Meta)] {
                let bytes = this.bytes_for(what);
                let ring = this.ready_ring(rings, what, true).map_err(|_| refused("ring_bytes", bytes))?;
                producer.attach(ring, 0);
            }
            if !this.slots.without_priority() {
                let bytes = this.bytes_for(Purpose::Priority);
                let ring = this.ready_ring(rings, Purpose::Priority, true);
                shared.make_priority()?.attach(ring.map_err(|_| refused("priority_ring_bytes", bytes))?, 0);
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
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.part(false).chain(self.slots.part(true))
    }

    /// The index of the slot whose capture was the last to wake a writer, as a rule.
    pub fn last_waker(&self) -> usize {
        self.intake.last_waker.load(Ordering::Relaxed) as usize
    }

    /// The slot with this index.
    #[inline]
    pub fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    /// The indices of all slots that were ever used, for events with priority or for others. In each of the two parts new ones come at the end.
    pub fn used(&self, priority: bool) -> Range<usize> {
        self.slots.used(priority)
    }

    /// The index of the first slot for events with priority, or for others.
    pub fn first(&self, priority: bool) -> usize {
        self.slots.first(priority)
    }

    /// The indices of all slots that were ever used.
    pub fn all_used(&self) -> impl Iterator<Item = usize> {
        self.used(false).chain(self.used(true))
    }

    /// The producers whose counts make the ledger: all but the one of the library's own events. Each may have a [priority
    /// producer](Producer::priority).
    pub fn counted(&self) -> &[Producer] {
        &self.producers[..=self.shape.max_rings as usize]
    }

    /// How much of a ring claims may cover together. Where producers overwrite, a quarter (so, with one event more, at most half), so
    /// that there is something left to overwrite.
    pub fn cover(&self, buffer: &RingBuffer) -> u64 {
        let overwriting = self.intake.overflow.load(Ordering::Relaxed) == Overflow::DropOldest as u32;
        if overwriting { buffer.capacity() / 4 } else { buffer.capacity() }
    }

    /// Whether a claim of events with priority, or of others, would find something; `alone`: in a ring of which nothing is claimed.
    pub fn any_claimable(&self, priority: bool, alone: bool) -> bool {
        if priority && !self.intake.priority.is_in_use() {
            return false;
        }
        let claimable = |ring: &Slot| {
            ring.buffer().is_some_and(|buffer| {
                buffer.is_claimable(self.cover(buffer))
                    && (!(alone || ring.is_meta()) || buffer.spans() == 0)
                    && self.is_its_turn(ring)
            })
        };
        // A writer that was woken finds it there.
        let last = self.slot(self.last_waker()).filter(|ring| ring.is_priority() == priority);
        last.is_some_and(claimable) || self.slots.part(priority).any(claimable)
    }

    /// Whether the events of a ring may be claimed before those of other rings are settled. The library's own events may not: they are facts of which
    /// the last one counts, also where an earlier one is tried again. For the same reason one batch of such a ring is out at a time.
    pub fn is_its_turn(&self, ring: &Slot) -> bool {
        let is_older = |other: &&Slot| other.is_meta() && other.id() < ring.id();
        !ring.is_meta() || self.iter().filter(is_older).all(Slot::is_drained)
    }

    /// Whether overwritten events wait for their release.
    pub fn any_spilled(&self) -> bool {
        self.shape.spill && self.iter().filter_map(Slot::spill).any(RingBuffer::has_unclaimed)
    }

    /// The file that the rings lie in, if they outlive the process.
    pub fn file(&self) -> Option<&RunFile> {
        self.shape.file.as_deref()
    }

    /// Whether overwritten events are kept until they were released.
    pub fn keeps_overwritten(&self) -> bool {
        self.shape.spill
    }

    /// What lies unclaimed: events, bytes, and the bytes of the fullest ring.
    pub fn unclaimed(&self) -> (u64, u64, u64) {
        let (mut bytes, mut fullest, mut claimed) = (0, 0, 0u64);
        for ring in self.iter() {
            let here = ring.buffer().map_or(0, |l| l.head().saturating_sub(l.claimed()));
            bytes += here;
            fullest = fullest.max(here);
            claimed += ring.all_claimed_events();
        }
        let kept = |producer: &Producer| {
            let counts = producer.counts();
            counts.captured.saturating_sub(counts.overwritten)
        };
        let events: u64 = self.producers.iter().map(|p| kept(p) + p.priority().map_or(0, kept)).sum();
        (events.saturating_sub(claimed), bytes, fullest)
    }

    /// Rings in use that are not retired, and retired ones; the priority rings included among the retired ones alone. A ring and its successor are one,
    /// whether the producer has moved or not.
    pub fn in_use(&self) -> (usize, usize) {
        let (used, retired) = self.in_use_of(false);
        (used, retired + self.in_use_of(true).1)
    }

    /// The same for priority rings alone, or for all others.
    fn in_use_of(&self, priority: bool) -> (usize, usize) {
        let mut used = 0;
        let mut retired = 0;
        for ring in self.slots.part(priority) {
            let has_successor = ring.has_successor();
            match ring.state() {
                State::Live if !has_successor => used += 1,
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
    /// No thread uses the rings in this process any more; `self` is never dropped here.
    pub unsafe fn unmap(&self) {
        for ring in self.iter() {
            for buffer in [ring.buffer(), ring.spill()].into_iter().flatten() {
                // SAFETY: passed on.
                unsafe { buffer.unmap() };
            }
        }
        if let Some(file) = &self.shape.file {
            // SAFETY: passed on.
            unsafe { file.unmap() };
        }
    }

    /// Whether a capture is under way at this moment.
    pub fn any_capturing(&self) -> bool {
        let captures = |p: &Producer| p.is_capturing() || p.priority().is_some_and(Producer::is_capturing);
        self.producers.iter().any(captures)
    }

    /// Waits until each capture that is under way is published, or `patience` is over. Later captures are not waited for.
    pub fn wait_for_captures(&self, patience: impl Fn() -> bool) {
        crate::platform::barrier::heavy(self.intake.asymmetric);
        let priority = self.producers.iter().filter_map(Producer::priority);
        for producer in self.producers.iter().chain(priority) {
            let tries = AtomicU32::new(0);
            while producer.is_capturing() && patience() {
                thread::pause(&tries);
            }
        }
    }

    /// Closes the intake, and waits until every capture under way is published, or `patience` is over. Returns whether all are.
    pub fn shut(&self, mut patience: impl FnMut() -> bool) -> bool {
        {
            // Under the registry's lock, so that no ring is attached meanwhile.
            let _held = self.hold();
            self.intake.close();
            crate::platform::barrier::heavy(self.intake.asymmetric);
        }
        let tries = AtomicU32::new(0);
        loop {
            // Also for captures that wait for space in the shared ring, which are not busy meanwhile.
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
