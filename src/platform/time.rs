//! Time: the monotonic clock, and where wall time stands beside it.

/// CLOCK_MONOTONIC in nanoseconds. No system call where the vDSO has it; async-signal-safe.
#[inline]
pub fn now_ns() -> u64 {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return super::simulator::now_ns();
    }
    clock(libc::CLOCK_MONOTONIC)
}

/// What to add to [`now_ns`] for nanoseconds since 1970.
pub fn realtime_offset_ns() -> i64 {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return 1_000_000_000_000_000_000;
    }
    // Between two readings of the monotonic clock, so that a preemption in between shows and is tried again.
    let mut best = (u64::MAX, 0);
    for _ in 0..4 {
        let before = now_ns();
        let wall = clock(libc::CLOCK_REALTIME);
        let after = now_ns();
        let width = after - before;
        if width < best.0 {
            best = (width, wall.wrapping_sub(before + width / 2) as i64);
        }
        if width < 1_000 {
            break;
        }
    }
    best.1
}

#[inline]
fn clock(id: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a local; both clocks exist on every Linux.
    unsafe { libc::clock_gettime(id, &raw mut t) };
    (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec as u64)
}
