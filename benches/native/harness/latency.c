/* How long an event takes to the storage: one on an idle contender, and a stream of so many a second.
 *
 * The payload carries the ticks at which its event was due, not those at which the capture got round to it. */
#include "harness.h"

#include <stdlib.h>

enum { REST_LEAST_US = 1500, REST_MOST_US = 2500 };

static void carry(struct capturer *c, struct bench_burst *burst, uint64_t due) {
    memcpy(c->payloads + 8, &due, 8);
    burst->count = 1;
    c->m->who->capture(c->handle, burst);
}

static void singles(struct capturer *c) {
    const struct measurement *m = c->m;
    uint64_t rest = 12345;
    for (uint32_t i = 0; i < m->bursts; i++) {
        struct bench_burst burst = capturer_fill(c, 1);
        rest = rest * 6364136223846793005u + 1442695040888963407u;
        rest_us(REST_LEAST_US + (double)(rest >> 40) / (1 << 24) * (REST_MOST_US - REST_LEAST_US));
        spin_us(m, 5);
        carry(c, &burst, ticks());
        if (!drained(m, c->offered)) fail("%s: an event does not arrive", m->who->name);
    }
}

static void stream(struct capturer *c) {
    const struct measurement *m = c->m;
    double apart = 1e9 / m->rate / m->ns_a_tick, due = (double)ticks();
    uint64_t events = (uint64_t)(m->rate * m->seconds);
    for (uint64_t i = 0; i < events; i++, due += apart) {
        struct bench_burst burst = capturer_fill(c, 1);
        /* Far ahead it sleeps, so that the processor is there for others; the event is due all the same. */
        uint64_t now = ticks();
        if ((double)now < due && (due - (double)now) * m->ns_a_tick > 200e3) rest_us((due - (double)now) * m->ns_a_tick / 1e3 - 100);
        while ((double)ticks() < due) relax();
        carry(c, &burst, (uint64_t)due);
    }
}

static struct offered measure(const struct measurement *m, void (*work)(struct capturer *), uint64_t events) {
    struct capturer all[MOST_THREADS];
    struct bench_store *store = m->store;
    store->room = events;
    store->latencies = malloc(events * sizeof *store->latencies);
    if (!store->latencies) fail("no memory");
    memset(store->latencies, 0, events * sizeof *store->latencies);
    struct offered offered = capturers_run(m, all, work);
    if (!drained(m, offered.count)) fail("%s: events do not arrive", m->who->name);
    uint64_t warm = events / 20;
    print_percentiles(m, "ns", store->latencies + warm, events - warm, 1);
    return offered;
}

struct offered measure_wake(const struct measurement *m) { return measure(m, singles, m->bursts); }

struct offered measure_load(const struct measurement *m) { return measure(m, stream, (uint64_t)(m->rate * m->seconds)); }
