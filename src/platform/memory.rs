//! The memory reserve: small allocations still succeed when the system has no memory left.
//!
//! Rust's standard library ends the process when an allocation fails, and its reference-counted boxes, strings and formatted
//! messages cannot report the failure instead. A library must not end its host. So the library's allocator calls the host's
//! `malloc` first, and takes small blocks from a static reserve when that fails. Allocations that may be large, or that grow
//! with the configuration or the input, report their failure and do not use the reserve. [`check`] refuses new work while much of the
//! reserve is in use, so that there is enough for the work in progress.
//! Without the reserve, a failing `malloc` ends the process in 29 of the cases of `tests/c/hosts/failing_allocator.c`, with it in none.
//!
//! The reserve is zero-initialised static memory, so its pages become resident when they are first used. A block is taken and returned
//! by one atomic operation on a bitmap. There is no lock, so signal handlers and forks may come at any moment.

use super::time;
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, Result};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Blocks of one size.
struct Class {
    /// Bytes of a block.
    size: usize,
    /// The number of words in the bitmap, each for 64 blocks.
    words: usize,
    /// The offset of the first block in the reserve.
    offset: usize,
    /// The index of its first word in the bitmap.
    first_word: usize,
}

/// The block size and the number of words of each class.
const SIZES: [(usize, usize); 5] = [(64, 16), (256, 8), (1024, 4), (4096, 1), (8192, 1)];

const fn classes() -> [Class; SIZES.len()] {
    let mut classes = [const { Class { size: 0, words: 0, offset: 0, first_word: 0 } }; SIZES.len()];
    let (mut n, mut offset, mut first_word) = (0, 0, 0);
    while n < SIZES.len() {
        let (size, words) = SIZES[n];
        classes[n] = Class { size, words, offset, first_word };
        offset += size * words * 64;
        first_word += words;
        n += 1;
    }
    classes
}

static CLASSES: [Class; SIZES.len()] = classes();
const LAST: Class = {
    let [.., last] = classes();
    last
};
const WORDS: usize = LAST.first_word + LAST.words;
const BYTES: usize = LAST.offset + LAST.size * LAST.words * 64;
/// The alignment of the reserve, and the largest alignment of its blocks.
const ALIGN: usize = 4096;
/// New work is refused if this many bytes are in use and `malloc` fails.
const SCARCE: usize = BYTES / 4;
/// Bytes by which `malloc` is tested: more than any call needs in small blocks.
const PROBE: usize = 32 << 10;

#[repr(C, align(4096))]
struct Blocks(UnsafeCell<[u8; BYTES]>);

// SAFETY: a block belongs to the thread that has set its bit in the bitmap.
unsafe impl Sync for Blocks {}

static BLOCKS: Blocks = Blocks(UnsafeCell::new([0; BYTES]));
static TAKEN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
static IN_USE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OF_THE_LIBRARY: Cell<bool> = const { Cell::new(false) };
}

/// Marks the calling thread as one of the library's own. It waits for memory when even the reserve is exhausted.
pub fn mark_own_thread() {
    OF_THE_LIBRARY.set(true);
}

/// Whether the calling thread is one of the library's own.
pub fn is_own_thread() -> bool {
    OF_THE_LIBRARY.get()
}

/// Fails if the system has no memory and much of the reserve is in use. To be called at the beginning of calls that allocate.
pub fn check() -> Result<()> {
    if is_scarce() {
        return Err(Error::new(
            PIPELINE_ERR_NO_MEMORY,
            "no memory: malloc fails, and a quarter of the library's reserve is in use; try again when there is memory",
        ));
    }
    Ok(())
}

/// Whether the system has no memory and much of the reserve is in use.
pub fn is_scarce() -> bool {
    IN_USE.load(Ordering::Relaxed) >= SCARCE && !system_has_memory()
}

/// Whether `malloc` succeeds for more than a few bytes.
pub fn system_has_memory() -> bool {
    // SAFETY: the layout is not empty, and the block is freed at once by the allocator that it came from.
    unsafe {
        let layout = Layout::from_size_align_unchecked(PROBE, 16);
        let block = System.alloc(layout);
        if block.is_null() {
            return false;
        }
        System.dealloc(block, layout);
        true
    }
}

/// `count` values, in one allocation that may fail.
pub fn boxed<T>(count: usize, make: impl FnMut() -> T) -> Result<Box<[T]>> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).map_err(|_| refused(count * size_of::<T>()))?;
    all.extend(std::iter::repeat_with(make).take(count));
    Ok(all.into_boxed_slice())
}

/// Maps zeroed pages of their own. NULL: the system refuses.
pub fn map(bytes: usize) -> *mut c_void {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping, which overlaps with no other.
    let pages = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
    if pages == libc::MAP_FAILED { std::ptr::null_mut() } else { pages }
}

/// Asks for large pages where that is possible, for memory that is soon written as a whole.
///
/// # Safety
/// The memory is mapped, and the caller's.
pub unsafe fn prefer_huge_pages(at: *mut c_void, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: by contract; the call changes no byte. Where it is refused, pages are small.
    unsafe {
        libc::madvise(at, bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (at, bytes);
}

/// Asks for the pages of mapped memory, which is written soon. Where that is refused (before Linux 5.14), they come as they are written.
///
/// # Safety
/// The memory is mapped, from the start of the page on, and the caller's.
pub unsafe fn populate(at: *mut c_void, bytes: usize) {
    /// The call wants the start of a page.
    const PAGE: usize = 4096;
    #[cfg(target_os = "linux")]
    // SAFETY: by contract; the call changes no byte.
    unsafe {
        let before = at.addr() % PAGE;
        libc::madvise(at.byte_sub(before), bytes + before, libc::MADV_POPULATE_WRITE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (at, bytes, PAGE);
}

/// The error of an allocation that failed.
pub fn refused(bytes: usize) -> Error {
    Error::new(PIPELINE_ERR_NO_MEMORY, format!("no memory: {bytes} bytes cannot be allocated"))
}

/// Takes a block of the reserve; NULL: there is no free block that is large enough.
fn take(layout: Layout) -> *mut u8 {
    let need = layout.size().max(layout.align());
    if layout.align() > ALIGN {
        return std::ptr::null_mut();
    }
    for class in CLASSES.iter().filter(|class| class.size >= need) {
        for (n, word) in TAKEN[class.first_word..class.first_word + class.words].iter().enumerate() {
            let mut seen = word.load(Ordering::Relaxed);
            while seen != u64::MAX {
                let bit = seen.trailing_ones();
                match word.compare_exchange_weak(seen, seen | 1 << bit, Ordering::Acquire, Ordering::Relaxed)
                {
                    Ok(_) => {
                        IN_USE.fetch_add(class.size, Ordering::Relaxed);
                        let at = class.offset + (n * 64 + bit as usize) * class.size;
                        // SAFETY: the offset is inside the reserve.
                        return unsafe { BLOCKS.0.get().cast::<u8>().add(at) };
                    }
                    Err(now) => seen = now,
                }
            }
        }
    }
    std::ptr::null_mut()
}

/// The offset of a block in the reserve; `None`: it is not part of the reserve.
fn offset_of(block: *mut u8) -> Option<usize> {
    let at = block.addr().wrapping_sub(BLOCKS.0.get().addr());
    (at < BYTES).then_some(at)
}

/// Returns a block to the reserve.
fn give_back(at: usize) {
    let Some(class) = CLASSES.iter().rfind(|class| class.offset <= at) else { return };
    let n = (at - class.offset) / class.size;
    IN_USE.fetch_sub(class.size, Ordering::Relaxed);
    TAKEN[class.first_word + n / 64].fetch_and(!(1 << (n % 64)), Ordering::Release);
}

/// Allocates a small block after `malloc` has failed; NULL for a larger one.
#[cold]
fn take_or_wait(layout: Layout) -> *mut u8 {
    /// A thread of the host waits for one second at most.
    const TRIES: u32 = 1_000;
    if layout.size() > LAST.size || layout.align() > ALIGN {
        return std::ptr::null_mut();
    }
    let mut tries = 0;
    loop {
        let block = take(layout);
        if !block.is_null() {
            return block;
        }
        tries += 1;
        if tries > TRIES && !OF_THE_LIBRARY.get() {
            return std::ptr::null_mut();
        }
        time::sleep_us(999);
        // SAFETY: the caller vouches for the layout.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            return block;
        }
    }
}

/// The library's allocator: the system's, and the reserve if that fails.
#[derive(Debug)]
pub struct WithReserve;

// SAFETY: each block comes from `System` or from the reserve, and its address tells to which it goes back. Blocks of the
// reserve are aligned to the size of their class, up to `ALIGN`, which is at least the requested alignment, and no two callers have the same one.
unsafe impl GlobalAlloc for WithReserve {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { take_or_wait(layout) } else { block }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = take_or_wait(layout);
        if !block.is_null() {
            // SAFETY: the block has at least this size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match offset_of(block) {
            // SAFETY: passed on.
            None => unsafe { System.dealloc(block, layout) },
            Some(at) => give_back(at),
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if offset_of(block).is_none() {
            // SAFETY: passed on.
            let moved = unsafe { System.realloc(block, layout, size) };
            if !moved.is_null() {
                return moved;
            }
        }
        // SAFETY: the caller's contract makes `size` valid for this alignment.
        unsafe { self.move_block(block, layout, size) }
    }
}

impl WithReserve {
    /// Moves a block out of the reserve, or into it.
    #[cold]
    unsafe fn move_block(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the contract of `realloc` makes both layouts valid, and the new block has room for the bytes copied.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// Held by each test: the reserve belongs to the process, one test exhausts it, and one compares its figures.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    // One test, because it compares figures of the whole process.
    #[test]
    fn blocks_of_the_reserve_are_disjoint_aligned_and_returned() {
        let _alone = alone();
        let mut taken = Vec::new();
        let mut ranges = HashSet::new();
        for (size, align) in [(1, 1), (64, 64), (65, 8), (8, 128), (300, 16), (4096, 4096), (8192, 16)] {
            let block = take(layout(size, align));
            assert!(!block.is_null() && block.addr().is_multiple_of(align), "{size} {align}");
            // SAFETY: the block has that size and is this test's.
            unsafe { block.write_bytes(0xAB, size) };
            assert!(ranges.insert(block.addr()));
            taken.push(offset_of(block).unwrap());
        }
        assert!(IN_USE.load(Ordering::Relaxed) >= 64 + 64 + 256 + 256 + 1024 + 4096 + 8192);
        taken.drain(..).for_each(give_back);
        assert!(take(layout(8193, 1)).is_null() && take(layout(1, 16_384)).is_null());

        // With many threads at once, no block belongs to two.
        std::thread::scope(|scope| {
            for mark in 1..=4u8 {
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let blocks: Vec<_> =
                            (0..20).map(|n| take(layout(1 + (round + n * 37) % 1024, 8))).collect();
                        for &block in blocks.iter().filter(|b| !b.is_null()) {
                            // SAFETY: the block is this thread's until it is returned.
                            unsafe { block.write(mark) };
                        }
                        for &block in blocks.iter().filter(|b| !b.is_null()) {
                            // SAFETY: as above.
                            assert_eq!(unsafe { block.read() }, mark);
                            give_back(offset_of(block).unwrap());
                        }
                    }
                });
            }
        });

        // Larger blocks take the place of an exhausted class, and all blocks are returned.
        let before = IN_USE.load(Ordering::Relaxed);
        loop {
            let block = take(layout(16, 16));
            let Some(at) = offset_of(block) else { break };
            taken.push(at);
        }
        assert!(taken.len() > 16 * 64 + 8 * 64 + 4 * 64);
        taken.drain(..).for_each(give_back);
        assert_eq!(IN_USE.load(Ordering::Relaxed), before);
    }

    #[test]
    fn a_block_moves_out_of_the_reserve_with_its_bytes() {
        let _alone = alone();
        let small = layout(100, 8);
        let block = take(small);
        // SAFETY: the block has 100 bytes, is moved once, and then freed.
        unsafe {
            (0..100).for_each(|n| block.add(n).write(n as u8));
            let moved = WithReserve.realloc(block, small, 5_000);
            assert!(offset_of(moved).is_none());
            assert!((0..100).all(|n| moved.add(n).read() == n as u8));
            WithReserve.dealloc(moved, layout(5_000, 8));
        }
    }
}
