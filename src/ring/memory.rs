//! The memory of a ring buffer: anonymous pages, or, under loom, words whose every access it checks.
//!
//! Offsets are positions modulo the capacity, 8-byte aligned, and never reach past the end: the log sees to both.

#[cfg(not(loom))]
mod resident;

#[cfg(not(loom))]
use super::copy;
use super::record::{Head, Tag};
#[cfg(not(loom))]
use crate::platform::cache;
#[cfg(not(loom))]
use crate::platform::sync::{AtomicU64, Ordering};
#[cfg(not(loom))]
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, Result};
#[cfg(not(loom))]
use resident::Resident;

/// The memory of a ring buffer.
#[cfg(not(loom))]
#[derive(Debug)]
pub struct Memory {
    base: *mut u8,
    capacity: u64,
    /// The producer's.
    resident: Resident,
}

// SAFETY: plain memory; who may touch which part of it when is the log's protocol.
#[cfg(not(loom))]
unsafe impl Send for Memory {}
// SAFETY: as above.
#[cfg(not(loom))]
unsafe impl Sync for Memory {}

#[cfg(not(loom))]
impl Memory {
    /// Maps `capacity` bytes, a power of two. The kernel hands out pages as they are first written, or [asked for](resident).
    pub fn new(capacity: u64) -> Result<Self> {
        // SAFETY: a fresh anonymous mapping, checked for failure.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                capacity as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(Error::new(
                PIPELINE_ERR_NO_MEMORY,
                format!("ring_bytes: {capacity} bytes cannot be mapped: {}", std::io::Error::last_os_error()),
            ));
        }
        Ok(Self { base: base.cast(), capacity, resident: Resident::new(capacity) })
    }

    /// Its size in bytes.
    #[inline(always)]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The producer is about to write up to the position `end`.
    #[inline(always)]
    pub fn reach(&self, end: u64) {
        if end > self.resident.end() {
            self.resident.reach(end, self.base, self.capacity);
        }
    }

    /// Up to which position the producer need not [tell](Self::reach) how far it writes.
    #[inline(always)]
    pub fn told(&self) -> u64 {
        self.resident.end()
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// Nobody uses it any more, and it is not dropped either.
    pub unsafe fn unmap(&self) {
        // SAFETY: mapped in `new`; unmapped once, by contract.
        unsafe { libc::munmap(self.base.cast(), self.capacity as usize) };
    }

    /// Where it begins.
    pub fn start(&self) -> *mut u8 {
        self.base
    }

    #[inline(always)]
    fn at(&self, offset: u64) -> *mut u8 {
        debug_assert!(offset < self.capacity && offset.is_multiple_of(8));
        // SAFETY: inside the mapping.
        unsafe { self.base.add(offset as usize) }
    }

    #[inline(always)]
    fn tag_word(&self, offset: u64) -> &AtomicU64 {
        // SAFETY: 8-byte aligned, inside the mapping, and tags are only ever accessed as atomics.
        unsafe { AtomicU64::from_ptr(self.at(offset).cast()) }
    }

    /// Reads the tag of a record that nobody overwrites.
    #[inline(always)]
    pub fn tag(&self, offset: u64) -> Tag {
        Tag(self.tag_word(offset).load(Ordering::Relaxed))
    }

    /// Reads what may be a tag, or by now anything else: eight bytes of a payload that the producer copies in, or its
    /// caller writes in place, at this moment. Whoever asks must find out whether it was a tag, and else throw it away.
    ///
    /// Those stores are plain ones, and cannot be others where the caller makes them; a load in Rust at the same time, atomic
    /// or not, would be a data race. To the language this instruction is a call that answers some number, and a tag's number
    /// where one is published and stays: no more is assumed of it.
    #[inline(always)]
    pub fn peek(&self, offset: u64) -> Tag {
        Tag(self.peek_word(offset))
    }

    /// The same for the timestamp of what was a record a moment ago.
    pub fn peek_time(&self, offset: u64) -> u64 {
        self.peek_word(offset + (8 + std::mem::offset_of!(Head, timestamp)) as u64)
    }

    #[inline(always)]
    fn peek_word(&self, offset: u64) -> u64 {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        {
            let word: u64;
            let at = self.at(offset);
            // SAFETY: one aligned load inside the mapping, which cannot fault and changes nothing.
            unsafe {
                #[cfg(target_arch = "x86_64")]
                std::arch::asm!("mov {}, qword ptr [{}]", out(reg) word, in(reg) at, options(nostack, preserves_flags, readonly));
                #[cfg(target_arch = "aarch64")]
                std::arch::asm!("ldr {}, [{}]", out(reg) word, in(reg) at, options(nostack, preserves_flags, readonly));
            }
            word
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        self.tag(offset).0
    }

    /// Asks for the cache line at `offset`, which will be read soon. Changes nothing, whatever lies there.
    #[inline(always)]
    pub fn fetch(&self, offset: u64) {
        cache::fetch(self.at(offset));
    }

    /// Writes a tag.
    #[inline(always)]
    pub fn set_tag(&self, offset: u64, tag: Tag) {
        self.tag_word(offset).store(tag.0, Ordering::Relaxed);
    }

    /// Writes the rest of a header.
    ///
    /// # Safety
    /// The record is the producer's: neither published nor still held by a writer.
    #[inline(always)]
    pub unsafe fn set_head(&self, offset: u64, head: &Head) {
        // SAFETY: the record fits before the end, and is ours by contract.
        unsafe { self.at(offset).add(8).cast::<Head>().write(*head) }
    }

    /// Reads the rest of a header.
    ///
    /// # Safety
    /// The record is claimed (or nobody writes any more).
    #[inline(always)]
    pub unsafe fn head(&self, offset: u64) -> Head {
        // SAFETY: a claimed record is not written.
        unsafe { self.at(offset).add(8).cast::<Head>().read() }
    }

    /// Copies a payload in.
    ///
    /// # Safety
    /// As for [`set_head`](Self::set_head); `from` has `len` readable bytes, and the record has room for them.
    #[inline(always)]
    pub unsafe fn set_payload(&self, offset: u64, from: *const u8, len: usize) {
        // SAFETY: the record fits before the end, and is ours by contract.
        unsafe { copy::long(from, self.payload(offset), len) }
    }

    /// Where the payload of the record at `offset` lies.
    #[inline(always)]
    pub fn payload(&self, offset: u64) -> *mut u8 {
        // SAFETY: a header fits before the end wherever a record starts.
        unsafe { self.at(offset).add(super::record::HEADER as usize) }
    }
}

#[cfg(not(loom))]
impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: nobody uses what is being dropped.
        unsafe { self.unmap() };
    }
}

/// The same on loom's types: a tag per 8 bytes, and one checked cell per record for everything that is not a tag.
#[cfg(loom)]
#[derive(Debug)]
pub struct Memory {
    tags: Vec<loom::sync::atomic::AtomicU64>,
    heads: Vec<loom::cell::UnsafeCell<Head>>,
}

#[cfg(loom)]
// SAFETY: loom checks every access.
unsafe impl Send for Memory {}
#[cfg(loom)]
// SAFETY: as above.
unsafe impl Sync for Memory {}

#[cfg(loom)]
#[allow(missing_docs)] // as on the real memory above
impl Memory {
    pub fn new(capacity: u64) -> crate::status::Result<Self> {
        let blank = Head { kind: 0, weight: 0.0, sequence: 0, timestamp: 0, correlation_id: 0, node_id: 0 };
        let words = capacity as usize / 8;
        Ok(Self {
            tags: (0..words).map(|_| loom::sync::atomic::AtomicU64::new(0)).collect(),
            heads: (0..words).map(|_| loom::cell::UnsafeCell::new(blank)).collect(),
        })
    }

    pub fn capacity(&self) -> u64 {
        self.tags.len() as u64 * 8
    }

    pub fn tag(&self, offset: u64) -> Tag {
        Tag(self.tags[offset as usize / 8].load(loom::sync::atomic::Ordering::Relaxed))
    }

    /// loom has no payloads, so what is read is a tag, be it an old one.
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
        self.tags[offset as usize / 8].store(tag.0, loom::sync::atomic::Ordering::Relaxed);
    }

    /// # Safety
    /// As on the real memory.
    pub unsafe fn set_head(&self, offset: u64, head: &Head) {
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

#[cfg(all(test, target_os = "linux"))]
pub(super) mod tests {
    use super::*;

    /// Bytes of address space that this process has.
    pub(in crate::ring) fn mapped() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmSize:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    #[test]
    fn what_is_dropped_is_given_back() {
        const EACH: u64 = 64 << 20;
        let before = mapped();
        for _ in 0..1000 {
            assert_eq!(Memory::new(EACH).unwrap().capacity(), EACH);
        }
        // Other tests map and unmap meanwhile; none of them that much.
        assert!(mapped() < before + 500 * EACH);
    }
}
