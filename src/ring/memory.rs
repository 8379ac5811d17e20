//! The memory of a ring buffer: anonymous pages, or a part of a mapped file. Under loom, `loom_memory` takes its place.
//!
//! Offsets are positions modulo the capacity, 8-byte aligned, and never reach past the end: the ring buffer guarantees both.

mod resident;

use super::copy;
use super::record::{self, Head, Tag};
use crate::platform::sync::{AtomicU64, Ordering};
use crate::platform::{cache, memory};
use resident::Resident;
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

/// The memory of a ring buffer.
#[derive(Debug)]
pub struct Memory {
    base: *mut u8,
    capacity: u64,
    /// What keeps the pages mapped. `None`: the memory itself.
    keeper: Option<Arc<dyn Any + Send + Sync>>,
    /// Used by the producer only.
    resident: Resident,
}

// SAFETY: plain memory; the ring buffer's protocol says which thread may touch which part of it.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps `capacity` bytes, a power of two. The kernel hands out pages as they are first written, or [asked for](resident).
    /// `None`: the system refuses.
    pub fn new(capacity: u64) -> Option<Self> {
        let base = memory::map(capacity as usize);
        (!base.is_null()).then(|| Self {
            base: base.cast(),
            capacity,
            keeper: None,
            resident: Resident::new(capacity),
        })
    }

    /// `capacity` bytes, a power of two, of pages that `keeper` keeps mapped.
    ///
    /// # Safety
    /// The pages are readable and writable as long as `keeper` lives, and only this memory writes to them.
    pub unsafe fn within(base: NonNull<u8>, capacity: u64, keeper: Arc<dyn Any + Send + Sync>) -> Self {
        Self { base: base.as_ptr(), capacity, keeper: Some(keeper), resident: Resident::new(capacity) }
    }

    /// Whether it is a part of a file.
    pub fn is_in_file(&self) -> bool {
        self.keeper.is_some()
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

    /// The position up to which the producer may write without [`reach`](Self::reach).
    #[inline(always)]
    pub fn populated(&self) -> u64 {
        self.resident.end()
    }

    /// Gives the memory back, unless another keeps it.
    ///
    /// # Safety
    /// No thread uses it any more, and it is not dropped either.
    pub unsafe fn unmap(&self) {
        if self.keeper.is_none() {
            // SAFETY: mapped in `new`; unmapped once, by contract.
            unsafe { libc::munmap(self.base.cast(), self.capacity as usize) };
        }
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

    /// Reads the tag of a record that no thread overwrites.
    #[inline(always)]
    pub fn tag(&self, offset: u64) -> Tag {
        Tag(self.tag_word(offset).load(Ordering::Relaxed))
    }

    /// Reads eight bytes that may be a tag, or a part of a payload that the producer copies in, or its caller writes in place, at this
    /// moment. The caller must find out whether it was a tag, and discard it otherwise.
    ///
    /// Those stores are plain ones; a load in Rust at the same time, atomic or not, would be a data race. To the language this instruction
    /// is a call that returns some number. The number is a tag only where one is published and stays; the code assumes nothing else of it.
    #[inline(always)]
    pub fn peek(&self, offset: u64) -> Tag {
        Tag(self.peek_word(offset))
    }

    /// The same for the timestamp of a record that may be overwritten by now.
    pub fn peek_time(&self, offset: u64) -> u64 {
        self.peek_word(offset + (8 + std::mem::offset_of!(Head, timestamp)) as u64)
    }

    #[inline(always)]
    fn peek_word(&self, offset: u64) -> u64 {
        // (Miri knows no assembly. It checks tests of one thread, where an ordinary load is no race.)
        #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
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
        #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
        self.tag(offset).0
    }

    /// Copies `len` bytes that the producer may be writing at this moment to `to`. The caller must find out which of them were, and use none
    /// of those. Both numbers are multiples of 8.
    ///
    /// As with [`peek`](Self::peek), a read in Rust at the same time as the producer's plain stores would be a data race. To the language
    /// these instructions are a call that writes some bytes to `to`.
    ///
    /// # Safety
    /// `offset + len` is at most the capacity, and `to` has `len` writable bytes, 8-byte aligned, that are no part of a ring buffer.
    pub unsafe fn copy_out(&self, offset: u64, to: *mut u8, len: u64) {
        if len == 0 {
            return;
        }
        debug_assert!(len.is_multiple_of(8) && offset + len <= self.capacity);
        #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
        // SAFETY: reads inside the mapping, and writes to the caller's bytes, as many of either. The direction flag is clear where Rust
        // code runs.
        unsafe {
            let from = self.at(offset);
            #[cfg(target_arch = "x86_64")]
            std::arch::asm!("rep movsq", inout("rcx") len / 8 => _, inout("rsi") from => _, inout("rdi") to => _,
                options(nostack, preserves_flags));
            #[cfg(target_arch = "aarch64")]
            std::arch::asm!("2:", "ldr {word}, [{from}], #8", "str {word}, [{to}], #8", "subs {words}, {words}, #1", "b.ne 2b",
                word = out(reg) _, from = inout(reg) from => _, to = inout(reg) to => _, words = inout(reg) len / 8 => _,
                options(nostack));
        }
        #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
        for at in (0..len).step_by(8) {
            // SAFETY: by contract.
            unsafe { to.add(at as usize).cast::<u64>().write(self.tag(offset + at).0) };
        }
    }

    /// Prefetches the cache line at `offset`, which will be read soon.
    #[inline(always)]
    pub fn fetch(&self, offset: u64) {
        cache::fetch(self.at(offset));
    }

    /// Writes the tag of a pad.
    #[inline(always)]
    pub fn set_tag(&self, offset: u64, tag: Tag) {
        self.tag_word(offset).store(tag.0, Ordering::Relaxed);
    }

    /// Writes a record without its payload.
    ///
    /// # Safety
    /// The record is the producer's: neither published nor still held by a writer.
    #[inline(always)]
    pub unsafe fn set_header(&self, offset: u64, tag: Tag, head: &Head) {
        // SAFETY: the record fits before the end, and is ours by contract.
        unsafe { record::write(self.at(offset), tag, head) }
    }

    /// Reads the rest of a header.
    ///
    /// # Safety
    /// The record is claimed (or no thread writes any more).
    #[inline(always)]
    pub unsafe fn head(&self, offset: u64) -> Head {
        // SAFETY: a claimed record is not written.
        unsafe { self.at(offset).add(8).cast::<Head>().read() }
    }

    /// Copies a payload in.
    ///
    /// # Safety
    /// As for [`set_header`](Self::set_header); `from` has `len` readable bytes, and the record has room for them.
    #[inline(always)]
    pub unsafe fn set_payload(&self, offset: u64, from: *const u8, len: usize) {
        // SAFETY: the record fits before the end, and is ours by contract.
        unsafe { copy::long(from, self.payload(offset), len) }
    }

    /// Where the record at `offset` lies.
    #[inline(always)]
    pub fn record(&self, offset: u64) -> *mut u8 {
        self.at(offset)
    }

    /// Where its payload lies.
    #[inline(always)]
    pub fn payload(&self, offset: u64) -> *mut u8 {
        // SAFETY: a header fits before the end wherever a record starts.
        unsafe { self.at(offset).add(record::HEADER as usize) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: no thread uses a value that is being dropped.
        unsafe { self.unmap() };
    }
}

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod tests {
    use super::*;

    /// Bytes of address space that this process has.
    pub(crate) fn mapped() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmSize:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    #[test]
    fn dropped_memory_is_given_back() {
        const EACH: u64 = 64 << 20;
        let before = mapped();
        for _ in 0..1000 {
            assert_eq!(Memory::new(EACH).unwrap().capacity(), EACH);
        }
        // Other tests map and unmap meanwhile, but none of them so much.
        assert!(mapped() < before + 500 * EACH);
    }
}
