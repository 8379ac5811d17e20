//! Sleeping on a word, and waking who sleeps on it: `futex(2)`. Waking is async-signal-safe.

#[cfg(simulator)]
use super::simulator;
use super::sync::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` is `expected`, at most for `timeout` (`None`: for ever). May return for no reason. Keeps `errno`, as
/// captures may wait.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    #[cfg(simulator)]
    if simulator::is_simulated() {
        let until = timeout.map_or(u64::MAX, |t| simulator::now_ns().saturating_add(t.as_nanos() as u64));
        // SAFETY: only this thread runs; the word is the caller's.
        let unchanged = unsafe { *word.as_ptr() } == expected;
        if unchanged && !simulator::once_in(64) {
            simulator::block(word.as_ptr() as usize, until);
        }
        return;
    }
    let spec = timeout.map(|t| libc::timespec {
        // 68 years at most, which every size of time_t can say (the libc crate does not want its name said with musl).
        tv_sec: t.as_secs().min(i32::MAX as u64) as _,
        tv_nsec: t.subsec_nanos().into(),
    });
    let spec = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `errno` is the thread's own; `word` outlives the call, `spec` is NULL or points to a local; a relative timeout
    // on the monotonic clock.
    unsafe {
        let errno = libc::__errno_location();
        let kept = *errno;
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            spec,
        );
        *errno = kept;
    }
}

/// Wakes up to `count` threads that sleep on `word`. Keeps `errno`, as it is called from captures.
pub fn wake(word: &AtomicU32, count: u32) {
    #[cfg(simulator)]
    if simulator::is_simulated() {
        simulator::point();
        return simulator::wake(word.as_ptr() as usize, count as usize);
    }
    // SAFETY: `errno` is the thread's own; the futex call only uses the word's address.
    unsafe {
        let errno = libc::__errno_location();
        let kept = *errno;
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            count.min(i32::MAX as u32),
        );
        *errno = kept;
    }
}
