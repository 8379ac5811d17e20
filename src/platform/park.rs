//! Sleeping on a word and waking its sleepers, by `futex(2)`. A wake is async-signal-safe.
//!
//! Both calls keep `errno`, because captures make them.

use super::errno::KeptErrno;
#[cfg(simulator)]
use super::simulator;
use super::sync::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` is `expected`, at most for `timeout` (`None`: without limit). Wake-ups may be spurious.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    #[cfg(simulator)]
    if simulator::is_simulated() {
        let until = timeout.map_or(u64::MAX, |t| simulator::now_ns().saturating_add(t.as_nanos() as u64));
        // SAFETY: a simulated thread runs alone, so no other thread writes the word meanwhile.
        let unchanged = unsafe { *word.as_ptr() } == expected;
        if unchanged && !simulator::once_in(64) {
            simulator::block(word.as_ptr() as usize, until);
        }
        return;
    }
    let spec = timeout.map(|t| libc::timespec {
        // At most 68 years, which fits every width of time_t (with musl, the libc crate deprecates the type's name).
        tv_sec: t.as_secs().min(i32::MAX as u64) as _,
        tv_nsec: t.subsec_nanos().into(),
    });
    let spec = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let _errno = KeptErrno::begin();
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word outlives the call, and `spec` is NULL or points to a local.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, expected, spec) };
}

/// Wakes up to `count` threads that sleep on `word`.
pub fn wake(word: &AtomicU32, count: u32) {
    #[cfg(simulator)]
    if simulator::is_simulated() {
        simulator::point();
        return simulator::wake(word.as_ptr() as usize, count as usize);
    }
    let _errno = KeptErrno::begin();
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the call uses the word's address only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, count.min(i32::MAX as u32)) };
}
