//! The asymmetric fence: a thread that is about to sleep pays for it, so that captures do not.
//!
//! A producer stores its head and its busy word, then loads the words of the other side (whether a writer sleeps, whether the pipeline is
//! closed). The other side stores those, then loads the producer's. One of the two must see the other's store. That takes a full fence on both
//! sides, or `membarrier(2)` on one, which makes every running thread of the process pass a fence. Sources: the manual page of
//! `membarrier(2)`, and its use in liburcu.

use super::sync::{Ordering, fence};

/// Registers this process for [`heavy`]. `false`: the kernel refuses, and both sides need a full fence.
#[cfg(not(loom))]
pub fn register() -> bool {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return !super::simulator::once_in(4);
    }
    membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

/// Returns whether the kernel has carried out the command.
#[cfg(not(loom))]
fn membarrier(command: libc::c_int) -> bool {
    const NO_FLAGS: libc::c_long = 0;
    const NO_CPU: libc::c_long = 0;
    // SAFETY: the call has no pointers.
    unsafe { libc::syscall(libc::SYS_membarrier, libc::c_long::from(command), NO_FLAGS, NO_CPU) == 0 }
}

/// The producer's side. It costs nothing if `asymmetric` (the result of [`register`]), otherwise it is a full fence.
#[inline(always)]
pub fn light(asymmetric: bool) {
    if cfg!(not(any(loom, simulator))) && asymmetric {
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The other side. After it, either this thread sees every store that a producer made before its [`light`], or that producer's later
/// loads see the stores that this thread made before.
pub fn heavy(asymmetric: bool) {
    fence(Ordering::SeqCst);
    #[cfg(not(any(loom, simulator)))]
    if asymmetric {
        // It cannot fail once the process is registered.
        membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    }
    let _ = asymmetric;
}
