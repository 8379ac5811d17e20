/* Time: the clocks, sleeping and spinning. */
#include "harness.h"

static double read_s(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double now_s(void) { return read_s(CLOCK_MONOTONIC); }

double processor_s(void) { return read_s(CLOCK_PROCESS_CPUTIME_ID); }

void sleep_for_us(double us) {
    struct timespec t = {(time_t)(us / 1e6), (long)((us - 1e6 * (double)(time_t)(us / 1e6)) * 1e3)};
    nanosleep(&t, NULL);
}

double measure_ns_per_tick(void) {
    double began = now_s();
    uint64_t first = ticks();
    sleep_for_us(20e3);
    double took = now_s() - began;
    return took * 1e9 / (double)(ticks() - first);
}

void spin_us(const struct measurement *m, double us) {
    uint64_t until = ticks() + (uint64_t)(us * 1000 / m->ns_per_tick);
    while (ticks() < until) relax();
}
