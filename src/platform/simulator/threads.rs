//! Threads: each enters the scheduler when it is created, and leaves it after the last destructor of the library has run.

use super::scheduler;
use std::ffi::c_void;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

/// The start routine of a thread.
type Main = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// The start routine of a new thread and its argument, and its index in the scheduler.
struct Start {
    main: Main,
    argument: *mut c_void,
    index: usize,
    turn: Arc<AtomicU32>,
}

/// Rounds of key destructors that the library's own get before the thread leaves the scheduler. (POSIX promises four.)
const ROUNDS: usize = 3;

static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();

fn key() -> libc::pthread_key_t {
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the destructor is a function of this program.
        let failed = unsafe { libc::pthread_key_create(&raw mut key, Some(on_destructors)) };
        assert_eq!(failed, 0, "no key for the simulator");
        key
    })
}

fn set_rounds(left: usize) {
    // SAFETY: the key exists, and its value is a number.
    unsafe { libc::pthread_setspecific(key(), left as *const c_void) };
}

extern "C" fn on_destructors(left: *mut c_void) {
    let left = left as usize;
    if left > 1 { set_rounds(left - 1) } else { scheduler::leave() }
}

/// Adds a thread that is about to be created. Returns the start routine and the argument with which to create it, and its index.
pub fn wrap(main: Main, argument: *mut c_void) -> (Main, *mut c_void, usize) {
    let (index, turn) = scheduler::enter_new();
    (run_thread, Box::into_raw(Box::new(Start { main, argument, index, turn })).cast(), index)
}

extern "C-unwind" fn run_thread(start: *mut c_void) -> *mut c_void {
    let (main, argument) = begin(start);
    main(argument)
}

/// A function of its own, so that the frame of `run_thread` has nothing to unwind.
fn begin(start: *mut c_void) -> (Main, *mut c_void) {
    // SAFETY: the pointer comes from the box in `wrap`, and only this thread has it.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    scheduler::begin(start.index, &start.turn);
    set_rounds(ROUNDS);
    (start.main, start.argument)
}

/// Whether this creation of a thread fails, as it may in a real system.
pub fn refuse_thread() -> bool {
    scheduler::refuses_threads() && scheduler::once_in(12)
}
