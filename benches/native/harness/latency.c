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

/* One event to an idle contender. */
static void single(struct capturer *c) {
    const struct measurement *m = c->m;
    struct bench_burst burst = capturer_fill(c, 1);
    rest_us(REST_LEAST_US + (double)(c->seed >> 40) / (1 << 24) * (REST_MOST_US - REST_LEAST_US));
    spin_us(m, 5);
    carry(c, &burst, ticks());
    if (!drained(m, c->offered)) fail("%s: an event does not arrive", m->who->name);
}

/* In turns with the one beside it, if there is one: whatever the machine does meanwhile meets both. */
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

static void want_latencies(const struct measurement *m, uint64_t events) {
    struct bench_store *store = m->store;
    store->room = events;
    store->latencies = malloc(events * sizeof *store->latencies);
    if (!store->latencies) fail("no memory");
    memset(store->latencies, 0, events * sizeof *store->latencies);
}

static void print_latencies(const struct measurement *m, const char *name) {
    uint64_t warm = m->store->room / 20;
    print_percentiles(m, name, m->store->latencies + warm, m->store->room - warm, 1);
}

static struct offered measure(const struct measurement *m, void (*work)(struct capturer *), uint64_t events) {
    struct capturer all[MOST_THREADS];
    want_latencies(m, events);
    if (m->beside) want_latencies(m->beside, events);
    struct offered offered = capturers_run(m, all, work);
    if (!drained(m, offered.count)) fail("%s: events do not arrive", m->who->name);
    print_latencies(m, "ns");
    if (m->beside) print_latencies(m->beside, "beside_ns");
    return offered;
}

struct offered measure_wake(const struct measurement *m) { return measure(m, singles, m->bursts); }

struct offered measure_load(const struct measurement *m) { return measure(m, stream, (uint64_t)(m->rate * m->seconds)); }
