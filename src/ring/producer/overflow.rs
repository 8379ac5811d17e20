//! Where there is no room: the overflow policies, and the move to a fresh ring if a batch pins this one.

use super::{Producer, add};
use crate::platform::sync::Ordering;
use crate::platform::{thread, time};
use crate::ring::buffer::Ring;
use crate::ring::front::Overflow;
use crate::ring::log::Log;
use std::cell::Cell;
use std::time::Duration;

/// So long a capture that may wait looks for room, and gives way to other threads in between, before it sleeps. As a rule writers make
/// enough within this time, and to be woken takes longer where a processor has gone idle meanwhile.
const LOOKS_NS: u64 = 30_000;
/// What is enough: such a part of the ring, or what it needs if that is more. With less it would be back at once.
const ENOUGH: u64 = 8;

impl Producer {
    /// The ring has no room for `need` bytes: `missing` are not free. Whatever the policy allows is done about that; under
    /// `drop_newest` that is nothing, and costs next to nothing.
    #[cold]
    #[inline(never)]
    pub(super) fn make_room(&self, need: u64, mut missing: u64, wait: bool) -> Option<(&Log, u64)> {
        let policy = Overflow::from_number(self.front().overflow.load(Ordering::Relaxed));
        let mut deadline = None;
        loop {
            let ring = self.ring()?;
            let moved = ring.has_successor();
            if moved {
                ring.begin_to_move();
                if let Some(successor) = ring.take_successor() {
                    self.move_to(successor);
                    ring.retire();
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
            let log = self.ring()?.log()?;
            let mut cursor = self.cursor();
            let found = log.room(&mut cursor, need);
            self.set_cursor(cursor);
            match found {
                Ok(position) => return Some((log, position)),
                // The oldest are claimed: there is nothing to overwrite.
                Err(_) if policy == Overflow::DropOldest && !moved => return None,
                Err(still) => missing = still,
            }
        }
    }

    /// Waits once for space, of which `missing` bytes are needed, a successor or the pipeline's close. `None`: the time is over, or the
    /// pipeline is closed.
    fn wait_in(&self, ring: &Ring, missing: u64, until: u64) -> Option<()> {
        let now = time::now_ns();
        if now >= until || self.front().is_closed() {
            return None;
        }
        let log = ring.log()?;
        let seen = self.seen_released(log);
        self.front().call(1);
        let enough = seen + missing.max(log.capacity() / ENOUGH);
        let asleep_from = until.min(now + LOOKS_NS);
        let mut now = now;
        while now < asleep_from {
            if log.released() >= enough || ring.has_successor() || self.front().is_closed() {
                return Some(());
            }
            thread::give_way();
            now = time::now_ns();
        }
        ring.wait_for_space(self.front(), seen, Duration::from_nanos(until.saturating_sub(now)));
        Some(())
    }

    /// What `released` was when its ring was last found to have no room; only for whoever holds the busy word.
    pub(super) fn seen_released(&self, log: &Log) -> u64 {
        self.cursor().limit - log.capacity()
    }

    /// Until when a capture that finds no room may wait; `None` where it may not.
    pub(super) fn may_wait(&self) -> Option<u64> {
        let front = self.front();
        if Overflow::from_number(front.overflow.load(Ordering::Relaxed)) != Overflow::Block
            || thread::works_for() != 0
        {
            return None;
        }
        let patience = front.block_timeout_us.load(Ordering::Relaxed).saturating_mul(1000);
        Some(time::now_ns().saturating_add(patience))
    }

    pub(super) fn overwrite(&self, ring: &Ring, missing: u64) {
        let Some(log) = ring.log() else { return };
        let mut cursor = self.cursor();
        let gone = match ring.spill() {
            None => log.overwrite(
                &mut cursor,
                missing,
                |_| true,
                |tag, head, payload| {
                    if let Some(evict) = &self.front().evict {
                        (evict.0)(ring.id(), tag, &head, payload);
                    }
                },
            ),
            Some(spill) => {
                let at = Cell::new(self.spill.get());
                let gone = log.overwrite(
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
