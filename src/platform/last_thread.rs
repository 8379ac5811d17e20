//! The end of a process whose main thread has called `pthread_exit`.
//!
//! The C library ends such a process, as by `exit(0)`, when its last thread ends. The library's own threads would keep it alive for ever. So when a
//! thread of the host ends and the main thread has ended as well, a thread begins to look which threads are left. Once they are the library's alone, it
//! calls `exit(0)` in the place of the last one.

use super::own_threads;
use super::process;
use super::thread;
use super::time;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};

/// The process that is watched; 0: none.
static WATCHED: AtomicU32 = AtomicU32::new(0);

/// Time from one look to the next, which becomes longer with the time since the main thread's end, so that a process which lives on for hours pays
/// nothing that could be measured.
const FIRST_US: u64 = 10_000;
const LONGEST_US: u64 = 1_000_000;
/// So many looks one after the other must agree: the system may leave out a thread while another one ends.
const LOOKS: u32 = 3;

/// The calling thread ends. If it is one of the host's, and the main thread has ended, the process is watched from now on. (The end of a thread that has
/// not used the library is not noticed, so the main thread's end may be noticed at that of a later one.)
pub fn thread_ends() {
    let here = std::process::id();
    if own_threads::has(thread::os_id()) || !own_threads::any() || WATCHED.load(Ordering::Relaxed) == here {
        return;
    }
    if thread::os_id() != here && !is_zombie(here) {
        return;
    }
    if WATCHED.swap(here, Ordering::AcqRel) == here {
        return;
    }
    // The host's exit handlers run on the new thread, so it gets the host's signal mask.
    let mut mask = Box::new(std::mem::MaybeUninit::<libc::sigset_t>::uninit());
    // SAFETY: the set is written as a whole.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), mask.as_mut_ptr()) };
    let mask = Box::into_raw(mask);
    if let Err(error) = thread::spawn_plain(watch, mask.cast()) {
        // SAFETY: no thread has the pointer.
        drop(unsafe { Box::from_raw(mask) });
        WATCHED.store(0, Ordering::Release);
        log::warn!("the process may not end with its last thread: {}", error.detail);
    }
}

extern "C-unwind" fn watch(mask: *mut c_void) -> *mut c_void {
    // SAFETY: the pointer comes from the box above, whose content is initialised, and only this thread has it.
    let mask = unsafe { Box::from_raw(mask.cast::<libc::sigset_t>()) };
    thread::begin_own();
    thread::set_name(&thread::short_name("cp-last-thread"));
    thread::run_start_hook();
    let (mut waits_us, mut agreed) = (FIRST_US, 0);
    while agreed < LOOKS {
        time::sleep_us(u32::try_from(waits_us).unwrap_or(u32::MAX));
        if others_are_left() {
            agreed = 0;
            waits_us = (waits_us + waits_us / 8).min(LONGEST_US);
        } else {
            agreed += 1;
            waits_us = FIRST_US;
        }
    }
    // SAFETY: the mask was read from a thread of the host. exit() is what the C library calls for the last thread.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const *mask, std::ptr::null_mut());
        libc::exit(0)
    }
}

/// Whether the process has threads that are not the library's. Also if that cannot be found out: the process then stays alive.
fn others_are_left() -> bool {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return true };
    let here = std::process::id();
    for task in tasks {
        let Some(tid) = task.ok().and_then(|task| task.file_name().to_str()?.parse::<u32>().ok()) else {
            return true;
        };
        let has_ended = tid == here && is_zombie(tid);
        if !own_threads::has(tid) && !has_ended {
            return true;
        }
    }
    false
}

/// Whether a thread has ended. (The main thread stays listed.)
fn is_zombie(tid: u32) -> bool {
    process::state_of_thread(tid) == Some(b'Z')
}
