//! A ring without room: the overflow policies, and the move to a fresh ring if a batch pins this one.

use super::{Producer, add};
use crate::platform::sync::Ordering;
use crate::platform::{thread, time};
use crate::ring::intake::Overflow;
use crate::ring::ring_buffer::RingBuffer;
use crate::ring::slot::{Slot, State};
use std::cell::Cell;
use std::time::Duration;

/// A blocked capture spins for this long, and yields the processor in between, before it sleeps. As a rule writers release enough
/// space within this time: a write of 256 KiB takes 80 us. A wake-up takes longer if the processor has gone idle meanwhile.
const SPIN_NS: u64 = 150_000;
/// It spins for this long only if the wait before took more than [`LONG_WAIT_NS`]. Then the storage is slow, or there are more threads than processors, and who
/// spins would keep a writer from running.
const SHORT_SPIN_NS: u64 = 30_000;
const LONG_WAIT_NS: u64 = 2 * SPIN_NS;
/// The longest sleep of a blocked capture between two looks. A signal handler may fork just before the sleep begins, and come back in the child, where nobody
/// wakes it.
pub(super) const LOOK_AGAIN_NS: u64 = 50_000_000;
/// A blocked capture waits for this part of the ring, or for the space that it needs if that is more. If it went on with less, it would
/// soon wait again.
const ENOUGH: u64 = 8;

impl Producer {
    /// Makes room for `need` bytes, of which `missing` are not free, in the way that the overflow policy allows. `drop_newest` allows none.
    #[cold]
    #[inline(never)]
    pub(super) fn make_room(&self, need: u64, mut missing: u64, wait: bool) -> Option<(&RingBuffer, u64)> {
        let policy = Overflow::from_number(self.intake().overflow.load(Ordering::Relaxed));
        let mut deadline = None;
        loop {
            let ring = self.ring()?;
            let moved = ring.has_successor();
            if moved {
                ring.set_state(State::Moving);
                if let Some(successor) = ring.take_successor() {
                    self.move_to(successor);
                    ring.set_state(State::Retired);
                }
            } else {
                match policy {
                    Overflow::DropOldest if !ring.is_meta() => self.overwrite(ring, missing),
                    Overflow::Block if wait => {
                        let until = *deadline.get_or_insert_with(|| self.may_wait());
                        self.wait_in(ring, missing, until?)?;
                    }
                    _ => return None,
                }
            }
            let buffer = self.ring()?.buffer()?;
            let mut cursor = self.cursor();
            let found = buffer.room(&mut cursor, need);
            self.set_cursor(cursor);
            match found {
                Ok(position) => return Some((buffer, position)),
                // The oldest events are claimed, so they cannot be overwritten.
                Err(_) if policy == Overflow::DropOldest && !moved => return None,
                Err(still) => missing = still,
            }
        }
    }

    /// Waits once for space, of which `missing` bytes are needed, a successor or the pipeline's close. `None`: the time is over, or the
    /// pipeline is closed.
    fn wait_in(&self, ring: &Slot, missing: u64, until: u64) -> Option<()> {
        let now = time::now_ns();
        // In a forked child if a signal handler has forked, and has come back to this wait there as well.
        if now >= until || self.intake().is_closed() || self.intake().forked() {
            return None;
        }
        let buffer = ring.buffer()?;
        let seen = self.seen_released(buffer);
        self.intake().wake(1);
        let enough = seen + missing.max(buffer.capacity() / ENOUGH);
        let began = now;
        let spin_ns = if self.waited_long.get() { SHORT_SPIN_NS } else { SPIN_NS };
        let asleep_from = until.min(began + spin_ns);
        let mut now = now;
        while now < asleep_from {
            if buffer.released() >= enough || ring.has_successor() || self.intake().is_closed() {
                self.waited_long.set(false);
                return Some(());
            }
            thread::give_way();
            now = time::now_ns();
        }
        ring.wait_for_space(
            self.intake(),
            seen,
            Duration::from_nanos(until.saturating_sub(now).min(LOOK_AGAIN_NS)),
        );
        self.waited_long.set(time::now_ns().saturating_sub(began) > LONG_WAIT_NS);
        Some(())
    }

    /// The value of `released` when the ring was last found to have no room; only for the thread that holds the busy word.
    pub(super) fn seen_released(&self, buffer: &RingBuffer) -> u64 {
        self.cursor().limit - buffer.capacity()
    }

    /// The deadline of a capture that finds no room; `None`: it may not wait.
    pub(super) fn may_wait(&self) -> Option<u64> {
        let intake = self.intake();
        if Overflow::from_number(intake.overflow.load(Ordering::Relaxed)) != Overflow::Block
            || thread::works_for() != 0
        {
            return None;
        }
        let patience = intake.block_timeout_us.load(Ordering::Relaxed).saturating_mul(1000);
        Some(time::now_ns().saturating_add(patience))
    }

    fn overwrite(&self, ring: &Slot, missing: u64) {
        let Some(buffer) = ring.buffer() else { return };
        let mut cursor = self.cursor();
        let gone = match ring.spill() {
            None => buffer.overwrite(
                &mut cursor,
                missing,
                |_| true,
                |tag, head, payload| {
                    if let Some(evict) = &self.intake().evict {
                        (evict.0)(ring.id(), tag, &head, payload);
                    }
                },
            ),
            Some(spill) => {
                let at = Cell::new(self.spill.get());
                let gone = buffer.overwrite(
                    &mut cursor,
                    missing,
                    |tag| {
                        let mut c = at.get();
                        let room = spill.room(&mut c, tag.stride()).is_ok();
                        at.set(c);
                        room
                    },
                    |tag, head, payload| {
                        let mut c = at.get();
                        if let Ok(position) = spill.room(&mut c, tag.stride()) {
                            // SAFETY: `room` gave the range; the payload is the evicted record's, still whole.
                            unsafe {
                                spill.write(position, tag, &head);
                                spill.write_payload(position, payload, tag.payload_len());
                            }
                            spill.publish(&mut c, position + tag.stride());
                        }
                        at.set(c);
                    },
                );
                self.spill.set(at.get());
                gone
            }
        };
        self.set_cursor(cursor);
        add(&self.overwritten, gone);
    }
}
