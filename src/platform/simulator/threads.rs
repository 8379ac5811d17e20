//! Threads: each is born into the scheduler, and leaves it after the last destructor of the library has run.

use super::scheduler;
use crate::platform::thread::Main;
use std::ffi::c_void;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

/// What a new thread is to run, and its place in the scheduler.
struct Birth {
    main: Main,
    argument: *mut c_void,
    place: usize,
    baton: Arc<AtomicU32>,
}

/// Rounds of key destructors that the library's own get before the thread leaves the scheduler. (POSIX promises four.)
const ROUNDS: usize = 3;

static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();

fn key() -> libc::pthread_key_t {
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the destructor is a function of this program.
        let failed = unsafe { libc::pthread_key_create(&raw mut key, Some(dies)) };
        assert_eq!(failed, 0, "no key for the simulator");
        key
    })
}

fn set_rounds(left: usize) {
    // SAFETY: the key exists; its value is a number.
    unsafe { libc::pthread_setspecific(key(), left as *const c_void) };
}

extern "C" fn dies(left: *mut c_void) {
    let left = left as usize;
    if left > 1 { set_rounds(left - 1) } else { scheduler::leave() }
}

/// Makes a place for a thread that is about to be created. Gives what the thread is to be started with instead.
pub fn born(main: Main, argument: *mut c_void) -> (Main, *mut c_void, usize) {
    let (place, baton) = scheduler::enter_new();
    (lives, Box::into_raw(Box::new(Birth { main, argument, place, baton })).cast(), place)
}

extern "C-unwind" fn lives(birth: *mut c_void) -> *mut c_void {
    let (main, argument) = awake(birth);
    main(argument)
}

/// Apart, so that the frame of `lives` holds nothing to unwind.
fn awake(birth: *mut c_void) -> (Main, *mut c_void) {
    // SAFETY: made by `born`, for this thread alone.
    let birth = unsafe { Box::from_raw(birth.cast::<Birth>()) };
    scheduler::begin(birth.place, &birth.baton);
    set_rounds(ROUNDS);
    (birth.main, birth.argument)
}

/// Whether this creation of a thread fails, as the system may let it.
pub fn refuse_thread() -> bool {
    scheduler::is_simulated() && scheduler::refuses_threads() && scheduler::once_in(12)
}

/// Waits until the thread of a place has left the scheduler.
pub fn join(place: usize) {
    scheduler::wait_for(place);
}
