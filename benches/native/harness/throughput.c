/* Throughput, from the first capture until the last event is stored; and the processor time of an idle contender. */
#include "harness.h"

enum { BURST = 256, MIN_EVENTS = 2000 };

static double ends_at;

static void as_fast_as_possible(struct capturer *c) {
    while (now_s() < ends_at || c->offered * c->m->setup.threads < MIN_EVENTS) {
        struct bench_burst burst = capturer_fill(c, BURST);
        c->m->contender->capture(c->handle, &burst);
        if (c->m->contender->drain) c->m->contender->drain(c->handle);
    }
}

struct offered measure_throughput(const struct measurement *m) {
    struct capturer all[MAX_THREADS];
    double began = now_s();
    ends_at = began + m->seconds;
    struct offered offered = capturers_run(m, all, as_fast_as_possible);
    const char *failed = NULL;
    /* If events are stored only by stop(), stop() is part of the measured time. */
    if (m->contender->stores_at_stop) failed = m->contender->stop();
    else if (!wait_until_stored(m, offered.count)) fail("%s: %llu events were not stored within 20 s", m->contender->name, (unsigned long long)offered.count);
    if (failed) fail("%s: %s", m->contender->name, failed);
    double took = now_s() - began;
    printf("\"events_per_s\": %.0f, \"batches_per_s\": %.1f, ", (double)offered.count / took, (double)m->store->batches / took);
    return offered;
}

static void burst_then_idle(struct capturer *c) {
    const struct measurement *m = c->m;
    struct bench_burst burst = capturer_fill(c, 100);
    m->contender->capture(c->handle, &burst);
    if (!m->contender->stores_at_stop) wait_until_stored(m, c->offered * m->setup.threads);
    sleep_for_us(300e3);
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    sleep_for_us(m->seconds * 1e6);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    printf("\"cpu_s\": %.4f, ", (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9);
}

struct offered measure_idle(const struct measurement *m) {
    struct capturer all[MAX_THREADS];
    return capturers_run(m, all, burst_then_idle);
}
