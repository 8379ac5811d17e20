//! A fork while another thread is inside SQLite.
//!
//! SQLite guards its globals (memory counters, the list of files, the random numbers) with static mutexes. If another thread holds one at a
//! fork, it stays locked in the child, and the child's first database waits for it for ever. So a fork takes the mutexes first, and both
//! sides release them afterwards, as the C library does with those of malloc. Each is held for a few list operations at most.
//! If one does not come free in time, the fork goes on without it. Measured with a program that forks 100 times while it stores events,
//! where each child opens a database of its own: 5 children hang without this, none with it, and a fork does not take longer.
//!
//! A fork also waits for the first use of SQLite. The descriptors are the work of [`crate::files::fork`].

use super::files;
use crate::files::fork;
use crate::platform::sync::{AtomicU32, AtomicU64, Ordering};
use crate::platform::{thread, time};
use rusqlite::ffi;

/// In the order in which SQLite itself takes them, if it holds several.
const STATIC_MUTEXES: [i32; 7] = [
    ffi::SQLITE_MUTEX_STATIC_OPEN,
    ffi::SQLITE_MUTEX_STATIC_MASTER,
    ffi::SQLITE_MUTEX_STATIC_VFS1,
    ffi::SQLITE_MUTEX_STATIC_LRU,
    ffi::SQLITE_MUTEX_STATIC_PMEM,
    ffi::SQLITE_MUTEX_STATIC_MEM,
    ffi::SQLITE_MUTEX_STATIC_PRNG,
];

/// Time between two tries.
const RETRY_US: u32 = 50;
/// Tries for each mutex before a fork goes on without it: some 100 ms.
const TRIES: u32 = 2_000;

/// The mutexes that the present fork holds, as bits.
static LOCKED: AtomicU32 = AtomicU32::new(0);

/// The token of the forking thread; 0: none. From 2.36 on, glibc lets several threads run their handlers at a time. They must run one after the
/// other here, or one thread would release the mutexes between another's handlers and its fork.
static FORKING: AtomicU64 = AtomicU64::new(0);

/// The state of [`prepare`]: [`NOT_YET`], the id of the process that is at it, or [`DONE`].
static PREPARED: AtomicU32 = AtomicU32::new(NOT_YET);
const NOT_YET: u32 = 0;
const DONE: u32 = u32::MAX;

/// Prepares SQLite, once: its mutexes survive a fork, and its system calls go through the library's. Later calls do nothing.
///
/// A `std::sync::Once` that another thread holds at a fork would stay locked in the child. This child repeats the preparation
/// that the parent had begun, which changes nothing.
pub(super) fn prepare() {
    // Handlers run in the reverse order before a fork. Those of the descriptors must come after the mutexes, because a thread that
    // holds one of the mutexes may be about to close a descriptor.
    fork::prepare();
    let process = std::process::id();
    loop {
        let seen = PREPARED.load(Ordering::Acquire);
        if seen == DONE {
            return;
        }
        if seen == process {
            time::sleep_us(RETRY_US); // another thread is at it
        } else if PREPARED.compare_exchange(seen, process, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            break;
        }
    }
    // SAFETY: the handlers are functions of this library, which is never unmapped, and a second call of one does nothing. SQLite
    // makes its static mutexes when they are first used.
    unsafe {
        libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child));
        ffi::sqlite3_initialize();
    }
    files::install();
    PREPARED.store(DONE, Ordering::Release);
}

/// Runs on a thread of the host. Nothing in it is a cancellation point.
extern "C" fn before_fork() {
    for _ in 0..TRIES {
        if matches!(PREPARED.load(Ordering::Acquire), NOT_YET | DONE) {
            break;
        }
        time::sleep_us(RETRY_US);
    }
    let me = thread::token();
    let mut tries = 0;
    while let Err(other) = FORKING.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
        tries += 1;
        if other == me || tries > 2 * TRIES {
            // Either the handlers are registered twice (see `prepare`), or the other fork takes too long: it holds the mutexes for both.
            return;
        }
        time::sleep_us(RETRY_US);
    }
    let mut locked = 0;
    for (bit, &id) in STATIC_MUTEXES.iter().enumerate() {
        for _ in 0..TRIES {
            // SAFETY: a static mutex exists once SQLite is initialised and is never freed; in a build without threads it is NULL, which SQLite
            // accepts.
            if unsafe { ffi::sqlite3_mutex_try(ffi::sqlite3_mutex_alloc(id)) } == ffi::SQLITE_OK {
                locked |= 1 << bit;
                break;
            }
            time::sleep_us(RETRY_US);
        }
    }
    LOCKED.store(locked, Ordering::Relaxed);
}

extern "C" fn after_fork_in_child() {
    // Also releases the mutexes that another forking thread of the parent holds, because that thread is not in the child.
    unlock_all();
    FORKING.store(0, Ordering::Release);
}

extern "C" fn after_fork_in_parent() {
    // Where the handlers are registered twice, the second call does nothing.
    if FORKING.load(Ordering::Acquire) == thread::token() {
        unlock_all();
        FORKING.store(0, Ordering::Release);
    }
}

fn unlock_all() {
    let locked = LOCKED.swap(0, Ordering::Relaxed);
    for (bit, &id) in STATIC_MUTEXES.iter().enumerate().rev() {
        if locked & (1 << bit) != 0 {
            // SAFETY: this thread has entered the mutex in `before_fork`; in the child it is the only thread.
            unsafe { ffi::sqlite3_mutex_leave(ffi::sqlite3_mutex_alloc(id)) };
        }
    }
    // Keeps the last call from being a jump: ThreadSanitizer in a host knows calls of this library by their return
    // address, and would report the unlock of a mutex whose lock it was told to ignore.
    std::hint::black_box(locked);
}
