//! Time: the monotonic clock, the processor's counter, and the offset of wall time.

use std::sync::atomic::{AtomicI64, Ordering};

/// CLOCK_MONOTONIC in nanoseconds, without a system call if the vDSO has it. Async-signal-safe.
#[inline]
pub fn now_ns() -> u64 {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return super::simulator::now_ns();
    }
    clock(libc::CLOCK_MONOTONIC)
}

/// The processor time of the calling thread in nanoseconds.
pub fn used_ns() -> u64 {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return 0;
    }
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The processor's counter, which costs half as much as [`now_ns`]. [`why_no_ticks`] tells whether it can serve as a clock. 0 if there is none.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return super::simulator::ticks();
    }
    counter::read()
}

/// The counter and the monotonic clock at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The counter.
    pub ticks: u64,
    /// The clock. It was read while the counter was between `ticks` - `width`/2 and `ticks` + `width`/2.
    pub ns: u64,
    /// The precision in ticks.
    pub width: u64,
}

/// Reads both, several times if necessary, until the width is at most `enough`. The width shows whether the thread has lost its processor in between.
pub fn pair(enough: u64) -> Pair {
    const TRIES: u32 = 8;
    let mut best = Pair { ticks: 0, ns: 0, width: u64::MAX };
    for _ in 0..TRIES {
        let before = ordered_ticks();
        let ns = now_ns();
        let width = ordered_ticks().saturating_sub(before);
        if width < best.width {
            best = Pair { ticks: before + width / 2, ns, width };
        }
        if width <= enough {
            break;
        }
    }
    best
}

fn ordered_ticks() -> u64 {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return super::simulator::ticks();
    }
    counter::read_in_order()
}

/// Why the counter cannot serve as a clock. `None`: it runs at one rate on all processors, and no hypervisor intercepts its readings.
pub fn why_no_ticks() -> Option<&'static str> {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return None;
    }
    /// An intercepted reading takes longer.
    const TRAPPED_NS: u64 = 20_000;
    const READINGS: u64 = 20;
    if let Some(why) = counter::why_not() {
        return Some(why);
    }
    let took = (0..5).map(|_| {
        let began = now_ns();
        (0..READINGS).for_each(|_| {
            std::hint::black_box(ticks());
        });
        now_ns() - began
    });
    (took.min() > Some(TRAPPED_NS)).then_some("each reading of the counter takes a microsecond or more")
}

/// Whether the kernel uses this counter for its own time. It compares the counters of the processors and watches them.
pub fn kernel_trusts_ticks() -> bool {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return !super::simulator::once_in(4);
    }
    let source = std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    source.is_ok_and(|s| s.trim_ascii() == counter::SOURCE)
}

#[cfg(target_arch = "x86_64")]
mod counter {
    use std::arch::x86_64::{__cpuid, _mm_lfence, _rdtsc, CpuidResult};

    /// Its name in Linux.
    pub(super) const SOURCE: &[u8] = b"tsc";

    #[inline(always)]
    pub(super) fn read() -> u64 {
        // SAFETY: every x86_64 has the instruction, and `why_not` detects before its first use whether it is forbidden.
        unsafe { _rdtsc() }
    }

    /// Reads it after all earlier instructions and before all later ones.
    pub(super) fn read_in_order() -> u64 {
        // SAFETY: as above.
        unsafe {
            _mm_lfence();
            let ticks = _rdtsc();
            _mm_lfence();
            ticks
        }
    }

    pub(super) fn why_not() -> Option<&'static str> {
        const POWER_MANAGEMENT: u32 = 0x8000_0007;
        const INVARIANT: u32 = 1 << 8;
        // Older compilers declare it as unsafe, newer ones as safe.
        let cpuid: unsafe fn(u32) -> CpuidResult = __cpuid;
        // SAFETY: every x86_64 has the instruction.
        let (most, features) = unsafe { (cpuid(0x8000_0000).eax, cpuid(POWER_MANAGEMENT).edx) };
        let invariant = most >= POWER_MANAGEMENT && features & INVARIANT != 0;
        if !invariant {
            return Some("the processor does not say that its time stamp counter is invariant");
        }
        let mut mode: libc::c_int = 0;
        // SAFETY: the call writes an int to a local.
        let asked = unsafe { libc::prctl(libc::PR_GET_TSC, &raw mut mode) } == 0;
        (asked && mode == libc::PR_TSC_SIGSEGV).then_some("PR_SET_TSC forbids the time stamp counter")
    }
}

#[cfg(target_arch = "aarch64")]
mod counter {
    /// Its name in Linux.
    pub(super) const SOURCE: &[u8] = b"arch_sys_counter";

    #[inline(always)]
    pub(super) fn read() -> u64 {
        let ticks: u64;
        // SAFETY: Linux lets programs read this register.
        unsafe {
            std::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags))
        };
        ticks
    }

    /// Reads it after all earlier instructions.
    pub(super) fn read_in_order() -> u64 {
        // SAFETY: the barrier changes no state.
        unsafe { std::arch::asm!("isb", options(nostack, preserves_flags)) };
        read()
    }

    /// The architecture's counter runs at one rate on all processors.
    pub(super) fn why_not() -> Option<&'static str> {
        None
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod counter {
    pub(super) const SOURCE: &[u8] = b"";

    pub(super) fn read() -> u64 {
        0
    }

    pub(super) fn read_in_order() -> u64 {
        0
    }

    pub(super) fn why_not() -> Option<&'static str> {
        Some("this library knows no counter of this processor")
    }
}

/// The number to add to [`now_ns`] for nanoseconds since 1970.
///
/// Linux slews both clocks alike, so this number only changes when the wall clock is set. Smaller changes are errors of the measurement: the answer
/// stays the same then, so that the wall times of events are in the order of their monotonic times.
pub fn realtime_offset_ns() -> i64 {
    /// The last answer; 0 before the first.
    static LAST: AtomicI64 = AtomicI64::new(0);
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return 1_000_000_000_000_000_000;
    }
    let (offset, width) = measure_realtime_offset();
    let kept = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        (!offset_stays(last, offset, width)).then_some(offset)
    });
    kept.map_or_else(|last| last, |_| offset)
}

/// Whether a new measurement, whose error is less than `width`, is no reason to give up the last answer.
fn offset_stays(last: i64, offset: i64, width: u64) -> bool {
    last != 0 && offset.abs_diff(last) <= width.max(OFFSET_ERROR_NS)
}

/// An error that every answer may have.
const OFFSET_ERROR_NS: u64 = 1_000;

/// The difference of the clocks, and in how many nanoseconds it was read.
fn measure_realtime_offset() -> (i64, u64) {
    // Read between two readings of the monotonic clock, so that a preemption shows. Then it is read again.
    let mut best = (u64::MAX, 0);
    for _ in 0..4 {
        let before = now_ns();
        let wall = clock(libc::CLOCK_REALTIME);
        let after = now_ns();
        let width = after - before;
        if width < best.0 {
            best = (width, wall.wrapping_sub(before + width / 2) as i64);
        }
        if width < OFFSET_ERROR_NS {
            break;
        }
    }
    (best.1, best.0)
}

/// Sleeps for so many microseconds, at least 50 because of the kernel's timer slack. It makes the system call directly, because the
/// C library's nanosleep is a cancellation point.
pub fn sleep_us(us: u32) {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return super::simulator::sleep_ns(u64::from(us) * 1_000);
    }
    let pause = libc::timespec { tv_sec: 0, tv_nsec: (us.min(999_999) * 1_000).into() };
    // SAFETY: reads a local.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const pause, std::ptr::null_mut::<libc::timespec>()) };
}

#[inline]
fn clock(id: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to a local, and these clocks exist on every Linux.
    unsafe { libc::clock_gettime(id, &raw mut t) };
    (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_wall_time_changes_when_the_clock_is_set_and_not_by_errors_of_measurement() {
        let last = 1_000_000;
        assert!(!offset_stays(0, last, 50), "there is none yet");
        for (offset, width, stays) in [
            (last, 50, true),
            (last + 999, 50, true),
            (last - 999, 50, true),
            (last + 1_001, 50, false),
            (last - 1_001, 50, false),
            (last + 20_000, 20_000, true),
            (last - 20_001, 20_000, false),
            (i64::MIN, 50, false),
        ] {
            assert_eq!(offset_stays(last, offset, width), stays, "{offset} {width}");
        }
    }

    #[test]
    fn the_offset_of_wall_time_is_the_same_for_all_threads() {
        let ask = || (0..10_000).map(|_| realtime_offset_ns()).collect::<std::collections::BTreeSet<_>>();
        let [mut answers, others] = std::thread::scope(|scope| {
            let threads = [scope.spawn(ask), scope.spawn(ask)];
            threads.map(|thread| thread.join().expect("no panic"))
        });
        answers.extend(others);
        // A first measurement that was disturbed is replaced by a better one, and the clock may be set meanwhile.
        assert!(answers.len() <= 3, "{answers:?}");
    }
}
