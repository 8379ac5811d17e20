/* How many events a second get to the storage, from the first capture until the last is there; how much an idle contender uses. */
#include "harness.h"

enum { BURST = 256, LEAST_EVENTS = 2000 };

static double ends_at;

static void as_fast_as_possible(struct capturer *c) {
    while (now_s() < ends_at || c->offered * c->m->setup.threads < LEAST_EVENTS) {
        struct bench_burst burst = capturer_fill(c, BURST);
        c->m->who->capture(c->handle, &burst);
        if (c->m->who->drain) c->m->who->drain(c->handle);
    }
}

struct offered measure_throughput(const struct measurement *m) {
    struct capturer all[MOST_THREADS];
    double began = now_s();
    ends_at = began + m->seconds;
    struct offered offered = capturers_run(m, all, as_fast_as_possible);
    const char *failed = NULL;
    /* Where the storage is filled at the end only, that end is part of it. */
    if (m->who->blind) failed = m->who->stop();
    else if (!drained(m, offered.count)) fail("%s: events do not arrive", m->who->name);
    if (failed) fail("%s: %s", m->who->name, failed);
    double took = now_s() - began;
    printf("\"events_per_s\": %.0f, \"batches_per_s\": %.1f, ", (double)offered.count / took, (double)m->store->batches / took);
    return offered;
}

static void one_then_rest(struct capturer *c) {
    const struct measurement *m = c->m;
    struct bench_burst burst = capturer_fill(c, 100);
    m->who->capture(c->handle, &burst);
    if (!m->who->blind) drained(m, c->offered * m->setup.threads);
    rest_us(300e3);
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    rest_us(m->seconds * 1e6);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    printf("\"cpu_s\": %.4f, ", (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9);
}

struct offered measure_idle(const struct measurement *m) {
    struct capturer all[MOST_THREADS];
    return capturers_run(m, all, one_then_rest);
}
