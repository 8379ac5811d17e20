//! A fork while the committing thread is inside SQLite.
//!
//! SQLite guards its few globals (the count of its memory, the list of its files, its random numbers) with static mutexes. A
//! child forked while another thread holds one would wait for it for ever with the first database of its own. So a fork takes
//! them first and both sides give them back after, as the C library does with malloc's. Each is held for the length of a
//! few list operations at most; should one not come free in time, the fork goes on without it.

use crate::platform::sync::{AtomicU32, Ordering};
use rusqlite::ffi;
use std::sync::Once;

/// In the order in which SQLite itself takes them, where it holds several.
const STATIC_MUTEXES: [i32; 7] = [
    ffi::SQLITE_MUTEX_STATIC_OPEN,
    ffi::SQLITE_MUTEX_STATIC_MASTER,
    ffi::SQLITE_MUTEX_STATIC_VFS1,
    ffi::SQLITE_MUTEX_STATIC_LRU,
    ffi::SQLITE_MUTEX_STATIC_PMEM,
    ffi::SQLITE_MUTEX_STATIC_MEM,
    ffi::SQLITE_MUTEX_STATIC_PRNG,
];

/// Tries for each mutex before a fork goes on without it: some 100 ms.
const TRIES: u32 = 2_000;

/// Which of them the fork that is under way holds, as bits. The C library lets one fork at a time run its handlers.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// Has forks of this process leave SQLite usable in the child. Once; later calls do nothing.
pub(super) fn protect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handlers are functions of this library, which is never unmapped. SQLite must have been initialised
        // before its mutexes are asked for.
        unsafe {
            ffi::sqlite3_initialize();
            libc::pthread_atfork(Some(take), Some(give), Some(give));
        }
    });
}

extern "C" fn take() {
    let mut taken = 0;
    for (bit, &id) in STATIC_MUTEXES.iter().enumerate() {
        for _ in 0..TRIES {
            // SAFETY: a static mutex needs no release, and exists from initialisation on (NULL, which SQLite accepts, in
            // a build without threads).
            if unsafe { ffi::sqlite3_mutex_try(ffi::sqlite3_mutex_alloc(id)) } == ffi::SQLITE_OK {
                taken |= 1 << bit;
                break;
            }
            let pause = libc::timespec { tv_sec: 0, tv_nsec: 50_000 };
            // SAFETY: reads a local.
            unsafe { libc::nanosleep(&raw const pause, std::ptr::null_mut()) };
        }
    }
    TAKEN.store(taken, Ordering::Relaxed);
}

extern "C" fn give() {
    let taken = TAKEN.swap(0, Ordering::Relaxed);
    for (bit, &id) in STATIC_MUTEXES.iter().enumerate().rev() {
        if taken & (1 << bit) != 0 {
            // SAFETY: entered by this very thread in `take`; in the child it is the only one.
            unsafe { ffi::sqlite3_mutex_leave(ffi::sqlite3_mutex_alloc(id)) };
        }
    }
}
