/* Latency from the capture to the storage: of single events on an idle contender, and of a stream with a fixed rate.
 *
 * The payload carries the time at which its event was due, not the time at which it was captured: a capture that comes late
 * counts as latency. */
#include "harness.h"

#include <stdlib.h>

enum { MIN_PAUSE_US = 1500, MAX_PAUSE_US = 2500 };

static void capture_due(struct capturer *c, struct bench_burst *burst, uint64_t due) {
    memcpy(c->payloads + 8, &due, 8);
    burst->count = 1;
    c->m->contender->capture(c->handle, burst);
}

/* One event to an idle contender. */
static void single(struct capturer *c) {
    const struct measurement *m = c->m;
    struct bench_burst burst = capturer_fill(c, 1);
    sleep_for_us(MIN_PAUSE_US + (double)(c->seed >> 40) / (1 << 24) * (MAX_PAUSE_US - MIN_PAUSE_US));
    spin_us(m, 5);
    capture_due(c, &burst, ticks());
    if (!wait_until_stored(m, c->offered)) fail("%s: an event was not stored within 20 s", m->contender->name);
}

/* Alternates with the second contender, if there is one, so that disturbances of the machine affect both. */
static void singles(struct capturer *c) {
    struct capturer other;
    if (c->m->beside) capturer_open(&other, c->m->beside, c->number);
    for (uint32_t i = 0; i < c->m->bursts; i++) {
        if (c->m->beside) single(&other);
        single(c);
    }
    if (!c->m->beside) return;
    c->m->beside->offered = (struct offered){other.offered, other.sum};
    capturer_close(&other);
}

static void stream(struct capturer *c) {
    const struct measurement *m = c->m;
    double interval = 1e9 / m->rate / m->ns_per_tick, due = (double)ticks();
    uint64_t events = (uint64_t)(m->rate * m->seconds);
    for (uint64_t i = 0; i < events; i++, due += interval) {
        struct bench_burst burst = capturer_fill(c, 1);
        /* Sleeps if there is time, so that other threads can use the processor. */
        uint64_t now = ticks();
        if ((double)now < due && (due - (double)now) * m->ns_per_tick > 200e3) sleep_for_us((due - (double)now) * m->ns_per_tick / 1e3 - 100);
        while ((double)ticks() < due) relax();
        capture_due(c, &burst, (uint64_t)due);
    }
}

static void prepare_latencies(const struct measurement *m, uint64_t events) {
    struct bench_store *store = m->store;
    store->latency_limit = events;
    store->latencies = malloc(events * sizeof *store->latencies);
    if (!store->latencies) fail("out of memory");
    memset(store->latencies, 0, events * sizeof *store->latencies);
}

static void print_latencies(const struct measurement *m, const char *name) {
    uint64_t warm = m->store->latency_limit / 20;
    print_percentiles(m, name, m->store->latencies + warm, m->store->latency_limit - warm, 1);
}

static struct offered measure(const struct measurement *m, void (*work)(struct capturer *), uint64_t events) {
    struct capturer all[MAX_THREADS];
    prepare_latencies(m, events);
    if (m->beside) prepare_latencies(m->beside, events);
    struct offered offered = capturers_run(m, all, work);
    if (!wait_until_stored(m, offered.count)) fail("%s: %llu events were not stored within 20 s", m->contender->name, (unsigned long long)offered.count);
    print_latencies(m, "ns");
    if (m->beside) print_latencies(m->beside, "beside_ns");
    return offered;
}

struct offered measure_wake(const struct measurement *m) { return measure(m, singles, m->bursts); }

struct offered measure_load(const struct measurement *m) { return measure(m, stream, (uint64_t)(m->rate * m->seconds)); }
