/* The processor's time-stamp counter: the cheapest clock. */
#ifndef BENCH_TICKS_H
#define BENCH_TICKS_H

#include <stdint.h>

static inline uint64_t ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
#error "ticks() supports x86_64 and aarch64 only"
#endif
}

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

#endif
