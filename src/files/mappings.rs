//! The shared mappings of files of this process. A forked child would inherit them: it would write to the parent's memory, and keep the locks of the files after its
//! parent has died. So the child replaces them by memory of its own at the same addresses, where a capture that the fork has interrupted finishes in vain.

use super::descriptors::InTransit;
use crate::platform::sync::Ordering;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicUsize};

/// The most mappings of a process.
pub const MOST: usize = 256;

struct Entry {
    /// NULL: free. Written last when an entry is made, and first when it is removed.
    at: AtomicPtr<c_void>,
    bytes: AtomicUsize,
}

static ENTRIES: [Entry; MOST] =
    [const { Entry { at: AtomicPtr::new(std::ptr::null_mut()), bytes: AtomicUsize::new(0) } }; MOST];
/// Stands in an entry that is being made.
static TAKEN: u8 = 0;

fn taken() -> *mut c_void {
    (&raw const TAKEN).cast_mut().cast()
}

/// A shared mapping of a file, from its beginning on.
#[derive(Debug)]
pub struct Mapping {
    at: *mut c_void,
    bytes: usize,
}

// SAFETY: an address and a size.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps so many bytes of a [file](super::file::File) that is open. An errno: the system refuses; `EMFILE`: there are [`MOST`] mappings.
    pub fn new(fd: i32, bytes: usize) -> Result<Self, i32> {
        let free = |entry: &&Entry| {
            let null = std::ptr::null_mut();
            entry.at.compare_exchange(null, taken(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let entry = ENTRIES.iter().find(free).ok_or(libc::EMFILE)?;
        let _in_transit = InTransit::begin();
        // SAFETY: a new mapping, which overlaps with no other.
        let at = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, fd, 0)
        };
        if at == libc::MAP_FAILED {
            let errno = super::identity::errno();
            entry.at.store(std::ptr::null_mut(), Ordering::Release);
            return Err(errno);
        }
        entry.bytes.store(bytes, Ordering::Relaxed);
        entry.at.store(at, Ordering::Release);
        Ok(Self { at, bytes })
    }

    /// Where it begins.
    pub fn start(&self) -> *mut u8 {
        self.at.cast()
    }

    /// Gives the addresses back, in this process or in a forked child.
    ///
    /// # Safety
    /// No thread uses the memory any more, and the mapping is not dropped either.
    pub unsafe fn unmap(&self) {
        let _in_transit = InTransit::begin();
        if let Some(entry) = ENTRIES.iter().find(|entry| entry.at.load(Ordering::Acquire) == self.at) {
            entry.at.store(taken(), Ordering::Release);
            // SAFETY: mapped in `new`, or replaced at the same place in a forked child; unmapped once, by contract.
            unsafe { libc::munmap(self.at, self.bytes) };
            entry.at.store(std::ptr::null_mut(), Ordering::Release);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: no thread uses a value that is being dropped.
        unsafe { self.unmap() };
    }
}

/// In a forked child: puts private memory in the place of each mapping. Async-signal-safe. Where the system refuses that, the mapping stays.
pub(super) fn replace_inherited() {
    for entry in &ENTRIES {
        let at = entry.at.load(Ordering::Acquire);
        if at == taken() {
            // Another thread of the parent was at it: forks wait for that, but not without end.
            entry.at.store(std::ptr::null_mut(), Ordering::Release);
        } else if !at.is_null() {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
            // SAFETY: the range is a mapping of this module, in this child alone; its memory stays readable and writable.
            unsafe { libc::mmap(at, entry.bytes.load(Ordering::Relaxed), access, kind, -1, 0) };
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn file(bytes: u64) -> std::fs::File {
        let path = std::env::temp_dir().join(format!("mapping-{}-{bytes}", std::process::id()));
        let file =
            std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(bytes).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    /// A test that takes all entries leaves none to another.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

    fn count() -> usize {
        ENTRIES.iter().filter(|entry| !entry.at.load(Ordering::Acquire).is_null()).count()
    }

    #[test]
    fn a_child_has_memory_of_its_own_at_the_place_of_a_mapping() {
        let _one = ONE_AT_A_TIME.lock().unwrap();
        crate::files::fork::prepare();
        let file = file(8192);
        let mapping = Mapping::new(file.as_raw_fd(), 8192).unwrap();
        // SAFETY: the mapping has 8192 bytes, which this thread alone uses. The child calls nothing but async-signal-safe functions.
        unsafe {
            *mapping.start() = 7;
            let child = libc::fork();
            if child == 0 {
                let was = *mapping.start();
                *mapping.start() = 9;
                libc::_exit(i32::from(was));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!((status, *mapping.start()), (0, 7));
        }
        drop(mapping);
    }

    #[test]
    fn their_number_is_limited_and_a_place_is_used_again() {
        let _one = ONE_AT_A_TIME.lock().unwrap();
        crate::files::fork::prepare();
        let file = file(4096);
        let mut all = Vec::new();
        let refused = loop {
            match Mapping::new(file.as_raw_fd(), 4096) {
                Ok(mapping) => all.push(mapping),
                Err(errno) => break errno,
            }
        };
        assert_eq!(refused, libc::EMFILE);
        assert!(count() == MOST && all.len() <= MOST);
        drop(all);
        drop(Mapping::new(file.as_raw_fd(), 4096).unwrap());
        assert_eq!(Mapping::new(-1, 4096).unwrap_err(), libc::EBADF);
    }
}
