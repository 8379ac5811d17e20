//! The words of a ring buffer that say what of its memory is committed, and whose it is. In a ring file they are a ring's header, as
//! `ring_file::format` lays it out, so that another process can read them.

use crate::platform::sync::{AtomicU64, Ordering};

/// A word in cache lines of its own: it is written by other threads than its neighbours, and processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Line<T>(pub T);

/// Whose a ring is.
#[derive(Debug, Default)]
#[repr(C)]
pub struct About {
    pub(crate) ring_id: AtomicU64,
    pub(crate) tid: AtomicU64,
    pub(crate) name: [AtomicU64; 2],
}

/// The words of a ring buffer. Positions are in bytes and never decrease.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Words {
    /// Records are published up to here. Written by the producer.
    pub head: Line<AtomicU64>,
    /// Records are claimed, or overwritten, up to here. Moved by writers, and by a producer that overwrites.
    pub claimed: Line<AtomicU64>,
    /// Space is released up to here. Moved by writers that settle, and by a producer that overwrites.
    pub released: Line<AtomicU64>,
    /// For other processes.
    pub about: Line<About>,
}

impl About {
    /// The ring has this id from here on. It is empty.
    pub fn set_ring_id(&self, id: u64) {
        self.ring_id.store(id, Ordering::Release);
    }

    /// This thread captures into it; 0: no single thread.
    pub fn set_thread(&self, tid: u32, name: [u8; 16]) {
        self.tid.store(tid.into(), Ordering::Relaxed);
        for (part, word) in name.chunks_exact(8).zip(&self.name) {
            word.store(u64::from_ne_bytes(std::array::from_fn(|n| part[n])), Ordering::Relaxed);
        }
    }
}
