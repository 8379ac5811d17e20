//! What a pipeline's producers and writers share about priority rings: their limits, whether they are in use at all, and a bell for captures into them.
//!
//! A writer may be free for priority events alone: the places in flight for others are taken, or every other writer is in a call. If it went
//! to sleep behind the doorbell, each ordinary capture would wake it in vain. So it sets the *priority bell* instead, which captures into priority rings look at.

use crate::platform::sync::{AtomicU32, Ordering};

/// The priority rings of a pipeline.
#[derive(Debug)]
pub struct Priority {
    /// The largest payload that goes to a priority ring. `None`: there are none.
    pub max_bytes: Option<usize>,
    /// So many times as large as a priority ring are the other rings.
    ratio: u64,
    /// 1: an event was captured into a priority ring. Before that nobody looks there.
    in_use: AtomicU32,
    /// 1: a writer sleeps that may claim nothing but priority events.
    bell: AtomicU32,
}

impl Priority {
    /// Rings of `ring_bytes`, and priority rings of `priority_bytes` (0: none) for payloads up to `limit`.
    pub fn new(ring_bytes: u64, priority_bytes: u64, limit: Option<u64>) -> Self {
        Self {
            max_bytes: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            ratio: ring_bytes / priority_bytes.max(1),
            in_use: AtomicU32::new(0),
            bell: AtomicU32::new(0),
        }
    }

    /// An event is about to be published in a priority ring. A writer that goes to sleep says so, passes the heavy barrier and looks; so this comes
    /// before the capture's light barrier, as the head does.
    #[inline]
    pub fn note_use(&self) {
        if self.in_use.load(Ordering::Relaxed) == 0 {
            self.in_use.store(1, Ordering::Relaxed);
        }
    }

    /// Whether writers must look into the priority rings.
    #[inline]
    pub fn is_in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed) != 0
    }

    /// Whether a capture into a priority ring, which is published, has to ring.
    #[inline]
    pub fn may_need_ring(&self) -> bool {
        self.bell.load(Ordering::Relaxed) != 0
    }

    /// A writer is about to sleep that may claim priority events only. It passes the heavy barrier and looks at the priority rings after this.
    pub fn set_bell(&self) {
        self.bell.store(1, Ordering::Release);
    }

    /// Returns whether the bell was set. It is not any more.
    pub fn take_bell(&self) -> bool {
        self.bell.swap(0, Ordering::AcqRel) != 0
    }

    /// What a priority ring with so many unclaimed bytes counts as, where captures ring once enough has gathered: events and bytes. Writers that
    /// linger are woken by any event of it. Those that nap are woken when it is as full as another ring would have to be.
    pub fn gathered(&self, bytes: u64) -> (u64, u64) {
        (u64::MAX - 1, bytes.saturating_mul(self.ratio))
    }
}
