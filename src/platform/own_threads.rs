//! The list of the library's own threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// The most threads of the library that are known. If there were more, the process would only stay alive.
const MOST: usize = 512;

/// The library's threads: process and thread id. The process is there because a forked child has none of its parent's threads.
static OWN: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];

fn own_word() -> u64 {
    u64::from(std::process::id()) << 32 | u64::from(os_id())
}

/// The calling thread is one of the library's.
pub fn begins() {
    let word = own_word();
    let here = u64::from(std::process::id());
    for slot in &OWN {
        let seen = slot.load(Ordering::Relaxed);
        let is_free = seen == 0 || seen >> 32 != here;
        if seen == word
            || is_free && slot.compare_exchange(seen, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            return;
        }
    }
}

/// The calling thread ends. `true`: it was one of the library's.
pub fn ends() -> bool {
    let word = own_word();
    OWN.iter().any(|slot| slot.compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok())
}

/// Whether a thread of this process is one of the library's.
pub fn has(tid: u32) -> bool {
    let word = u64::from(std::process::id()) << 32 | u64::from(tid);
    OWN.iter().any(|slot| slot.load(Ordering::Acquire) == word)
}

/// Whether this process has threads of the library.
pub fn any() -> bool {
    let here = u64::from(std::process::id());
    OWN.iter().any(|slot| slot.load(Ordering::Relaxed) >> 32 == here)
}

/// The operating system's id of the calling thread.
pub fn os_id() -> u32 {
    // SAFETY: the call has no arguments.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}
