//! Randomness: the generation of a pipeline, and the jitter of its retries.

use super::time;

/// 64 random bits from the kernel; from the clock and the process id where it refuses.
pub fn seed() -> u64 {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return super::simulator::dice(u64::MAX);
    }
    let mut bits = 0u64;
    // SAFETY: writes at most eight bytes to a local.
    let got = unsafe { libc::getrandom((&raw mut bits).cast(), 8, libc::GRND_NONBLOCK) };
    if got == 8 {
        return bits;
    }
    mix(time::now_ns() ^ u64::from(std::process::id()).rotate_left(32))
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): turns a counter into well-spread bits.
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
