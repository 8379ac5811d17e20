//! Which process this is: a word that a fork wipes, and globals that a forked child replaces.

use super::sync::{AtomicPtr, AtomicU32, Ordering};
use std::sync::Once;

/// The alive word of this process. It lies on a page of its own that the kernel wipes in a forked child
/// (MADV_WIPEONFORK; where that is refused, or cannot be believed, an atfork handler does it).
static ALIVE: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// The word that is 1 in this process and 0 in every child forked from now on. Never unmapped. `None`: no memory.
pub fn alive() -> Option<&'static AtomicU32> {
    let seen = ALIVE.load(Ordering::Acquire);
    // SAFETY: the pages behind ALIVE are never unmapped.
    if let Some(word) = unsafe { seen.as_ref() }
        && word.load(Ordering::Relaxed) == 1
    {
        return Some(word);
    }
    let fresh = map_word()?;
    match ALIVE.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: just mapped, never unmapped.
        Ok(_) => Some(unsafe { &*fresh }),
        // Another thread was first. The page is a few kilobytes, once: it stays.
        // SAFETY: never unmapped.
        Err(other) => Some(unsafe { &*other }),
    }
}

fn map_word() -> Option<*mut AtomicU32> {
    // SAFETY: a fresh anonymous page, checked for failure; zeroed pages make a valid AtomicU32.
    unsafe {
        let size = libc::sysconf(libc::_SC_PAGESIZE).max(4096) as usize;
        let page = libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if page == libc::MAP_FAILED {
            return None;
        }
        // Emulators of a process (QEMU's) answer 0 to advice that they do not know, and do nothing.
        const UNKNOWN: libc::c_int = -1;
        let wiped = libc::madvise(page, size, libc::MADV_WIPEONFORK) == 0;
        if !wiped || libc::madvise(page, size, UNKNOWN) == 0 {
            static ATFORK: Once = Once::new();
            ATFORK.call_once(|| {
                libc::pthread_atfork(None, None, Some(wipe));
            });
        }
        let word = page.cast::<AtomicU32>();
        (*word).store(1, Ordering::Release);
        Some(word)
    }
}

/// In a forked child, where the kernel does not wipe.
extern "C" fn wipe() {
    // SAFETY: the pages behind ALIVE are never unmapped.
    if let Some(word) = unsafe { ALIVE.load(Ordering::Acquire).as_ref() } {
        word.store(0, Ordering::Relaxed);
    }
}

/// Which boot of the machine this is: the bytes of the kernel's own id. All zeros where it does not say.
pub fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.trim_end().chars().filter(|&c| c != '-').collect();
    if digits.len() != 32 { [0; 16] } else { u128::from_str_radix(&digits, 16).unwrap_or(0).to_be_bytes() }
}

struct Node<T> {
    alive: &'static AtomicU32,
    value: T,
}

/// A global that a forked child starts anew: whatever was locked at the fork belongs to the parent's.
pub struct PerProcess<T>(AtomicPtr<Node<T>>);

impl<T: Send + Sync> PerProcess<T> {
    /// Nothing yet.
    #[allow(clippy::new_without_default)] // a const fn, for statics
    pub const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// This process's value, if one was made.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: nodes are never freed.
        let node = unsafe { self.0.load(Ordering::Acquire).as_ref() }?;
        (node.alive.load(Ordering::Relaxed) == 1).then_some(&node.value)
    }

    /// This process's value, made by `make` if there is none yet. `None`: no memory for the alive word.
    pub fn get_or_make(&self, make: impl FnOnce() -> T) -> Option<&'static T> {
        let seen = self.0.load(Ordering::Acquire);
        if let Some(value) = self.get() {
            return Some(value);
        }
        let fresh = Box::into_raw(Box::new(Node { alive: alive()?, value: make() }));
        match self.0.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just made, never freed from here on.
            Ok(_) => Some(unsafe { &(*fresh).value }),
            Err(other) => {
                // SAFETY: `fresh` was never shared; `other` is never freed.
                unsafe {
                    drop(Box::from_raw(fresh));
                    Some(&(*other).value)
                }
            }
        }
    }
}
