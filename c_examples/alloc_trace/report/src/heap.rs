//! The heap of a process image, followed call by call in the order of time.

use crate::calls::{COUNTERS, Effect};
use crate::event::Call;
use crate::timeline::Timeline;
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;

#[cfg(test)]
mod tests;

/// Where allocations come from: a stack, or without stacks a call site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    Site(u64),
    Stack(u32),
}

/// The totals of the allocations that have something in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub calls: u64,
    pub bytes: u64,
    /// Released by the very next call of the thread that had allocated.
    pub temporary: u64,
    pub live_blocks: u64,
    pub live_bytes: u64,
    /// Of those live when the heap was largest.
    pub peak_blocks: u64,
    pub peak_bytes: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.temporary += other.temporary;
        self.live_blocks += other.live_blocks;
        self.live_bytes = self.live_bytes.wrapping_add(other.live_bytes);
        self.peak_blocks += other.peak_blocks;
        self.peak_bytes = self.peak_bytes.wrapping_add(other.peak_bytes);
    }
}

/// The totals of an origin. What was live at the peak is what is live now, unless that has changed since the peak.
#[derive(Clone, Debug)]
struct OriginTotals {
    origin: Origin,
    site: u64,
    totals: Totals,
    /// The peak that `peak_blocks` and `peak_bytes` belong to.
    peak: u64,
}

/// A block that is allocated.
#[derive(Clone, Copy, Debug)]
struct Block {
    size: u64,
    time_ns: u64,
    origin: u32,
    thread: u32,
    /// The number of its call.
    call: u64,
}

/// The totals of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadTotals {
    pub calls: u64,
    pub allocations: u64,
    pub bytes: u64,
    pub temporary: u64,
    pub live_bytes: u64,
    /// The address that its last call has allocated; 0: it was another call.
    last: u64,
}

/// The heap when it was largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    pub bytes: u64,
    pub blocks: u64,
    pub time_ns: u64,
    /// How many peaks there were so far, each larger than the one before.
    number: u64,
}

/// A class of sizes: those of so many significant bits.
pub const SIZE_CLASSES: usize = 65;

/// Sums wrap around: sizes are what the file says.
#[derive(Clone, Debug)]
pub struct Heap {
    blocks: FxHashMap<u64, Block>,
    indexes: FxHashMap<Origin, u32>,
    origins: Vec<OriginTotals>,
    threads: FxHashMap<u32, ThreadTotals>,
    pub timeline: Timeline,
    pub by_call: [u64; COUNTERS],
    /// Allocations and their bytes, by the class of their size.
    pub by_size: [(u64, u64); SIZE_CLASSES],
    pub calls: u64,
    pub allocations: u64,
    pub bytes: u64,
    pub failed: u64,
    pub releases: u64,
    pub releases_of_null: u64,
    /// Releases of addresses whose allocation is not in the trace: it was made before a fork, or its event was lost.
    pub unknown_releases: u64,
    /// Allocations of an address that was allocated already: the release was lost.
    pub replaced: u64,
    pub temporary: u64,
    pub live_bytes: u64,
    pub peak: Peak,
    pub first_ns: u64,
    pub last_ns: u64,
}

impl Default for Heap {
    fn default() -> Self {
        Self {
            blocks: FxHashMap::default(),
            indexes: FxHashMap::default(),
            origins: Vec::new(),
            threads: FxHashMap::default(),
            timeline: Timeline::default(),
            by_call: [0; COUNTERS],
            by_size: [(0, 0); SIZE_CLASSES],
            calls: 0,
            allocations: 0,
            bytes: 0,
            failed: 0,
            releases: 0,
            releases_of_null: 0,
            unknown_releases: 0,
            replaced: 0,
            temporary: 0,
            live_bytes: 0,
            peak: Peak::default(),
            first_ns: u64::MAX,
            last_ns: 0,
        }
    }
}

impl Heap {
    /// Follows a call, which the caller has numbered. Answers the number of the call whose block this one has released, if there is one.
    pub fn follow(&mut self, call: &Call, number: u64) -> Option<u64> {
        self.calls += 1;
        self.by_call[call.kind as usize % COUNTERS] += 1;
        self.first_ns = self.first_ns.min(call.time_ns);
        self.last_ns = self.last_ns.max(call.time_ns);
        let released = match call.effect {
            Effect::Allocates => None,
            Effect::Releases => self.release(call, call.address, call.time_ns),
            // A failed one has released nothing; one of size 0 may have released its block and return nothing.
            Effect::Resizes if call.old != 0 && (call.address != 0 || call.size == 0) => {
                self.release(call, call.old, call.time_ns.saturating_sub(call.took_ns))
            }
            Effect::Resizes => None,
        };
        if call.effect != Effect::Releases {
            self.allocate(call, number);
        }
        let thread = self.threads.entry(call.thread).or_default();
        thread.calls += 1;
        thread.last = if call.effect == Effect::Releases { 0 } else { call.address };
        self.timeline.note(
            call.time_ns,
            self.live_bytes,
            call.effect != Effect::Releases && call.address != 0,
        );
        released
    }

    fn allocate(&mut self, call: &Call, number: u64) {
        if call.address == 0 {
            self.failed += u64::from(call.size != 0);
            return;
        }
        let origin = if call.stack == 0 { Origin::Site(call.site) } else { Origin::Stack(call.stack) };
        let origins = &mut self.origins;
        let index = *self.indexes.entry(origin).or_insert_with(|| {
            origins.push(OriginTotals { origin, site: call.site, totals: Totals::default(), peak: 0 });
            origins.len() as u32 - 1
        });
        let block = Block {
            size: call.size,
            time_ns: call.time_ns,
            origin: index,
            thread: call.thread,
            call: number,
        };
        let before = self.blocks.insert(call.address, block);
        if let Some(before) = before {
            // A resize that is not over yet has released it, or the event of its release was lost.
            self.replaced += 1;
            self.retire(before);
        }
        let thread = self.threads.entry(call.thread).or_default();
        thread.allocations += 1;
        thread.bytes = thread.bytes.wrapping_add(call.size);
        thread.live_bytes = thread.live_bytes.wrapping_add(call.size);
        self.allocations += 1;
        self.bytes = self.bytes.wrapping_add(call.size);
        self.live_bytes = self.live_bytes.wrapping_add(call.size);
        let class = &mut self.by_size[(64 - call.size.leading_zeros()) as usize];
        *class = (class.0 + 1, class.1.wrapping_add(call.size));
        let totals = self.changed(index);
        totals.calls += 1;
        totals.bytes = totals.bytes.wrapping_add(call.size);
        totals.live_blocks += 1;
        totals.live_bytes = totals.live_bytes.wrapping_add(call.size);
        if self.live_bytes > self.peak.bytes {
            self.peak = Peak {
                bytes: self.live_bytes,
                blocks: self.blocks.len() as u64,
                time_ns: call.time_ns,
                number: self.peak.number + 1,
            };
        }
    }

    /// Releases the block at an address. One that another thread has allocated after `until_ns` stays: the thread got the address while this call
    /// was under way.
    fn release(&mut self, call: &Call, address: u64, until_ns: u64) -> Option<u64> {
        self.releases += 1;
        if address == 0 {
            self.releases_of_null += 1;
            return None;
        }
        let Entry::Occupied(entry) = self.blocks.entry(address) else {
            self.unknown_releases += 1;
            return None;
        };
        if entry.get().time_ns > until_ns && entry.get().thread != call.thread {
            return None;
        }
        let block = entry.remove();
        self.retire(block);
        let thread = self.threads.entry(call.thread).or_default();
        if thread.last == address {
            thread.temporary += 1;
            self.temporary += 1;
            self.origins[block.origin as usize].totals.temporary += 1;
        }
        Some(block.call)
    }

    fn retire(&mut self, block: Block) {
        self.live_bytes = self.live_bytes.wrapping_sub(block.size);
        if let Some(thread) = self.threads.get_mut(&block.thread) {
            thread.live_bytes = thread.live_bytes.wrapping_sub(block.size);
        }
        let totals = self.changed(block.origin);
        totals.live_blocks -= 1;
        totals.live_bytes = totals.live_bytes.wrapping_sub(block.size);
    }

    /// The totals of an origin whose live blocks are about to change: what it had at the last peak is kept first.
    fn changed(&mut self, index: u32) -> &mut Totals {
        let origin = &mut self.origins[index as usize];
        if origin.peak != self.peak.number {
            origin.peak = self.peak.number;
            origin.totals.peak_blocks = origin.totals.live_blocks;
            origin.totals.peak_bytes = origin.totals.live_bytes;
        }
        &mut origin.totals
    }

    /// The live blocks.
    pub fn live_blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// The origins with their call sites and totals.
    pub fn origins(&self) -> impl Iterator<Item = (Origin, u64, Totals)> {
        self.origins.iter().map(|origin| {
            let mut totals = origin.totals;
            if origin.peak != self.peak.number {
                (totals.peak_blocks, totals.peak_bytes) = (totals.live_blocks, totals.live_bytes);
            }
            (origin.origin, origin.site, totals)
        })
    }

    /// The threads with their ids.
    pub fn threads(&self) -> impl Iterator<Item = (u32, &ThreadTotals)> {
        self.threads.iter().map(|(id, totals)| (*id, totals))
    }
}
