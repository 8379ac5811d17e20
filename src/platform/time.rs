//! Time: the monotonic clock, the processor's counter, and the offset of wall time.

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
pub fn realtime_offset_ns() -> i64 {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return 1_000_000_000_000_000_000;
    }
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
        if width < 1_000 {
            break;
        }
    }
    best.1
}

/// Sleeps for so many microseconds, at least 50 because of the kernel's timer slack. It makes the system call directly, because the
/// C library's nanosleep is a cancellation point.
pub fn sleep_us(us: u32) {
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
