//! The processor's caches: lines that are fetched before they are needed.

/// Has the cache line at `place` fetched, to be written soon. Only a hint: `place` may be any address. Nothing on processors that this
/// library does not know.
#[inline(always)]
pub fn prefetch_to_write(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which changes nothing and never faults; processors without it take it for no operation.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    let _ = place;
}
