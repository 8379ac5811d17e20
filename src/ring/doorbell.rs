//! The words that every capture reads: whether it may take the fast path, and whether it must wake a writer.

use crate::platform::sync::{AtomicU32, Ordering};

/// The low bits of the doorbell's state: what a capture must do about the writers.
pub mod state {
    /// A writer is awake: nothing.
    pub(crate) const AWAKE: u32 = 0;
    /// All writers sleep: wake one.
    pub(crate) const ASLEEP: u32 = 1;
    /// All writers sleep so that a batch can fill: wake one if enough has gathered.
    pub(crate) const LINGERING: u32 = 2;
    /// These bits; the rest counts changes, so that a sleeper notices each.
    pub(crate) const MASK: u32 = 3;
    /// One change.
    pub(crate) const STEP: u32 = 4;
}

/// Why captures must take the slow path: bits of one word, so that one load shows that there is no reason.
pub(crate) mod slow_path {
    /// No new events.
    pub(crate) const CLOSED: u32 = 1;
    /// The monotonic clock stamps events, not the processor's counter.
    pub(crate) const MONOTONIC: u32 = 2;
    /// Each capture pays for its fences.
    pub(crate) const FENCED: u32 = 4;
    /// Rules are in force.
    pub(crate) const RULES: u32 = 8;
    /// Events are sampled by their traces.
    pub(crate) const SAMPLING: u32 = 16;
    /// Each offer is judged: see [`rules`](crate::rules).
    pub(crate) const JUDGED: u32 = RULES | SAMPLING;
}

/// The two words that each capture reads: one before it writes, one after it has published. `pipeline_fast_doorbell_t` in
/// `capture_pipeline_fast.h`.
#[derive(Debug)]
#[repr(C)]
pub struct Doorbell {
    /// If not 0, captures must take the slow path. Each bit is a reason.
    pub(crate) slow_path: AtomicU32,
    /// If the lowest two bits are not 0, a writer may have to be woken. Writers park on this word.
    pub state: AtomicU32,
}

impl Doorbell {
    /// Whether captures may take the fast path: the pipeline is open, the counter stamps events, and fences are free.
    #[inline(always)]
    pub(crate) fn allows_fast_path(&self) -> bool {
        self.slow_path.load(Ordering::Relaxed) == 0
    }

    /// Why captures must take the slow path: bits of [`slow_path`].
    #[inline(always)]
    pub(crate) fn slow_path(&self) -> u32 {
        self.slow_path.load(Ordering::Relaxed)
    }

    /// Why offers are judged: bits of [`slow_path::JUDGED`].
    #[inline(always)]
    pub(crate) fn judged(&self) -> u32 {
        self.slow_path() & slow_path::JUDGED
    }

    /// Whether a capture that has published may have to wake a writer.
    #[inline(always)]
    pub(crate) fn may_need_ring(&self) -> bool {
        self.state.load(Ordering::Relaxed) & state::MASK != state::AWAKE
    }
}
