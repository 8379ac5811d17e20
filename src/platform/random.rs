//! Randomness: the generation of a pipeline, and the jitter of its retries.

pub use super::splitmix::mix;
use super::time;

/// 64 random bits from the kernel, or from the clock and the process id if it has none yet.
pub fn seed() -> u64 {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return super::simulator::dice(u64::MAX);
    }
    let mut bits = 0u64;
    // SAFETY: the call writes at most eight bytes, to a local of that size.
    let got = unsafe { libc::getrandom((&raw mut bits).cast(), 8, libc::GRND_NONBLOCK) };
    if got == 8 {
        return bits;
    }
    mix(time::now_ns() ^ u64::from(std::process::id()).rotate_left(32))
}
