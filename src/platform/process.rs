//! The identity of the process: a word that a fork wipes, and globals that a forked child makes anew.

use super::memory;
use super::sync::{AtomicPtr, AtomicU32, Ordering};

/// The alive word of this process, on a page of its own. The kernel wipes the page in a forked child (MADV_WIPEONFORK). If the kernel refuses that, or
/// only seems to accept it, an atfork handler wipes the word.
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
        // SAFETY: the page was just mapped, and is never unmapped.
        Ok(_) => Some(unsafe { &*fresh }),
        // Another thread was first. This thread's page stays mapped, a few kilobytes once.
        // SAFETY: the page is never unmapped.
        Err(other) => Some(unsafe { &*other }),
    }
}

fn map_word() -> Option<*mut AtomicU32> {
    // SAFETY: the page is new and checked for NULL, and zeroes are a valid AtomicU32.
    unsafe {
        let size = libc::sysconf(libc::_SC_PAGESIZE).max(4096) as usize;
        let page = memory::map(size);
        if page.is_null() {
            return None;
        }
        // Emulators such as QEMU accept advice that they do not know, and ignore it. They also accept advice that does not exist, which is
        // how this is detected.
        const UNKNOWN: libc::c_int = -1;
        let wiped = libc::madvise(page, size, libc::MADV_WIPEONFORK) == 0;
        let believed = wiped && libc::madvise(page, size, UNKNOWN) != 0;
        if !believed && !register_wipe() {
            libc::munmap(page, size);
            return None;
        }
        let word = page.cast::<AtomicU32>();
        (*word).store(1, Ordering::Release);
        Some(word)
    }
}

/// Registers the atfork handler, which children inherit. A `Once` that another thread holds at a fork would stay locked in the child. Here two
/// threads may register the handler twice instead, which changes nothing. `false`: no memory.
fn register_wipe() -> bool {
    static REGISTERED: AtomicU32 = AtomicU32::new(0);
    if REGISTERED.load(Ordering::Acquire) == 0 {
        // SAFETY: a function of this library, which is never unmapped.
        let failed = unsafe { libc::pthread_atfork(None, None, Some(wipe)) };
        REGISTERED.store(u32::from(failed == 0), Ordering::Release);
        return failed == 0;
    }
    true
}

/// Wipes the alive word, in a forked child.
extern "C" fn wipe() {
    // SAFETY: the pages behind ALIVE are never unmapped.
    if let Some(word) = unsafe { ALIVE.load(Ordering::Acquire).as_ref() } {
        word.store(0, Ordering::Relaxed);
    }
}

/// The state of a thread of this process, as /proc has it: `b'Z'` is one that has ended. `None`: it is not listed, or cannot be read.
pub fn state_of_thread(tid: u32) -> Option<u8> {
    let stat = std::fs::read(format!("/proc/self/task/{tid}/stat")).ok()?;
    // The name before it may have spaces and parentheses.
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(name_end + 2).copied()
}

/// The kernel's id of this boot of the machine; all zeros if it is unknown.
pub fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.trim_end().chars().filter(|&c| c != '-').collect();
    if digits.len() != 32 { [0; 16] } else { u128::from_str_radix(&digits, 16).unwrap_or(0).to_be_bytes() }
}

struct Node<T> {
    alive: &'static AtomicU32,
    value: T,
}

/// A global that a forked child makes anew, because a lock in the parent's may have been held at the fork.
pub struct PerProcess<T>(AtomicPtr<Node<T>>);

impl<T: Send + Sync> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + Sync> PerProcess<T> {
    /// No value yet.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// This process's value, if there is one.
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
            // SAFETY: the node is shared now, and shared nodes are never freed.
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
