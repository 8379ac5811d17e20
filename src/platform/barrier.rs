//! The asymmetric fence: whoever is about to sleep pays, so that whoever captures does not.
//!
//! A producer stores (its head, its busy word), then loads (the gate, the closed word); the other side stores those, then loads the
//! producer's. One of the two must see the other, which takes a full fence on each side, or `membarrier(2)` on
//! one: it makes every running thread of the process pass a fence. Source: the `membarrier(2)` manual page, and the
//! `sys_membarrier` use of liburcu.

use super::sync::{Ordering, fence};

/// Tells the kernel that this process will use the heavy side. `false`: it refuses, and both sides need a real fence.
#[cfg(not(loom))]
pub fn register() -> bool {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return !super::simulator::once_in(4);
    }
    // SAFETY: a system call without pointers.
    unsafe {
        libc::syscall(
            libc::SYS_membarrier,
            libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as libc::c_long,
            0 as libc::c_long,
            0 as libc::c_long,
        ) == 0
    }
}

/// The producer's side: free if `asymmetric` (what [`register`] answered), a full fence otherwise.
#[inline(always)]
pub fn light(asymmetric: bool) {
    if cfg!(not(any(loom, simulator))) && asymmetric {
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The other side: after it, every store that a producer made before its [`light`] is visible here, or the producer's
/// loads after it see the stores that this thread made before.
pub fn heavy(asymmetric: bool) {
    fence(Ordering::SeqCst);
    #[cfg(not(any(loom, simulator)))]
    if asymmetric {
        // SAFETY: a system call without pointers. It cannot fail once registered.
        unsafe {
            libc::syscall(
                libc::SYS_membarrier,
                libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED as libc::c_long,
                0 as libc::c_long,
                0 as libc::c_long,
            );
        }
    }
    let _ = asymmetric;
}
