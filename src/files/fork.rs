//! A fork while descriptors of storages are open, or are being opened.
//!
//! A forked child would inherit the descriptors, and keep the locks of their open file descriptions after its parent has died. So the child
//! closes them, and gives up the shared [mappings](super::mappings). A fork waits until no descriptor is between the system call that opens or closes it and the change of its entry in the table.

use super::{descriptors, mappings};
use crate::platform::sync::{AtomicU32, Ordering};
use crate::platform::time;

/// The state of [`prepare`]: [`NOT_YET`], the id of the process that is at it, or [`DONE`].
static PREPARED: AtomicU32 = AtomicU32::new(NOT_YET);
const NOT_YET: u32 = 0;
const DONE: u32 = u32::MAX;
/// Time between two looks at another thread's preparation.
const RETRY_US: u32 = 50;

/// To be called before a storage opens its files: registers the handlers, once, and makes the table of descriptors this process's own.
///
/// A `std::sync::Once` that another thread holds at a fork would stay locked in the child. This child repeats the preparation that the parent had
/// begun. The handlers are registered twice then, which changes nothing.
pub fn prepare() {
    let process = std::process::id();
    loop {
        let seen = PREPARED.load(Ordering::Acquire);
        if seen == DONE {
            break;
        }
        if seen == process {
            time::sleep_us(RETRY_US); // another thread is at it
        } else if PREPARED.compare_exchange(seen, process, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // SAFETY: the handlers are functions of this library, which is never unmapped.
            unsafe {
                libc::pthread_atfork(
                    Some(before_fork),
                    Some(after_fork_in_parent),
                    Some(after_fork_in_child),
                );
            }
            PREPARED.store(DONE, Ordering::Release);
        }
    }
    if descriptors::adopt_process() {
        mappings::replace_inherited();
    }
}

/// Runs on a thread of the host. Nothing in it is a cancellation point.
extern "C" fn before_fork() {
    descriptors::hold_for_fork();
}

extern "C" fn after_fork_in_parent() {
    descriptors::resume_after_fork();
}

extern "C" fn after_fork_in_child() {
    mappings::replace_inherited();
    descriptors::close_inherited();
}
