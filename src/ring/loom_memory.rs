//! The memory of a ring buffer under loom: words whose every access it checks.

use super::record::{Head, Tag};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU64, Ordering};

/// A tag per 8 bytes, and one checked cell per record for everything that is not a tag.
#[derive(Debug)]
pub struct Memory {
    tags: Vec<AtomicU64>,
    heads: Vec<UnsafeCell<Head>>,
}

// SAFETY: loom checks every access.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

#[allow(missing_docs)] // as on the real memory
impl Memory {
    pub fn new(capacity: u64) -> Option<Self> {
        let blank = Head { kind: 0, weight: 0.0, sequence: 0, timestamp: 0, correlation_id: 0, node_id: 0 };
        let words = capacity as usize / 8;
        Some(Self {
            tags: (0..words).map(|_| AtomicU64::new(0)).collect(),
            heads: (0..words).map(|_| UnsafeCell::new(blank)).collect(),
        })
    }

    pub fn capacity(&self) -> u64 {
        self.tags.len() as u64 * 8
    }

    pub fn tag(&self, offset: u64) -> Tag {
        Tag(self.tags[offset as usize / 8].load(Ordering::Relaxed))
    }

    /// loom has no payloads, so this always reads a tag, be it an old one.
    pub fn peek(&self, offset: u64) -> Tag {
        self.tag(offset)
    }

    /// Not modelled.
    pub fn fetch(&self, _offset: u64) {}

    /// Not modelled.
    pub fn peek_time(&self, _offset: u64) -> u64 {
        0
    }

    pub fn set_tag(&self, offset: u64, tag: Tag) {
        self.tags[offset as usize / 8].store(tag.0, Ordering::Relaxed);
    }

    /// # Safety
    /// As on the real memory.
    pub unsafe fn set_header(&self, offset: u64, tag: Tag, head: &Head) {
        self.set_tag(offset, tag);
        // SAFETY: loom reports any other access that is not ordered with this one.
        self.heads[offset as usize / 8].with_mut(|p| unsafe { *p = *head });
    }

    /// # Safety
    /// As on the real memory.
    pub unsafe fn head(&self, offset: u64) -> Head {
        // SAFETY: as above.
        self.heads[offset as usize / 8].with(|p| unsafe { *p })
    }

    /// # Safety
    /// As on the real memory; no payload is modelled.
    pub unsafe fn set_payload(&self, _offset: u64, _from: *const u8, _len: usize) {}

    pub fn payload(&self, _offset: u64) -> *mut u8 {
        std::ptr::NonNull::dangling().as_ptr()
    }
}
