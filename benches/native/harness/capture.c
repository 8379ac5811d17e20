/* What a capture costs the thread that makes it: bursts with rests between them, in which everything is drained. */
#include "harness.h"

#include <stdlib.h>

/* After so many bursts it goes as it will for good: a consumer that may sleep and be woken only so often has used up by then what it had
 * to its credit from the time before. */
enum { WARM = 400 };
enum { BURST = 1000, BURST_BYTES = 512 << 10, REST_US = 60 };

/* What a burst may hold without filling anyone's queue. */
static uint32_t burst_events(const struct measurement *m) {
    uint32_t count = BURST;
    if (m->who->room && count > m->who->room) count = m->who->room;
    while (count > 16 && count * m->setup.payload > BURST_BYTES) count /= 2;
    return count;
}

/* Everybody's events so far are with the storage, and its thread has gone to rest. */
static void settle(struct capturer *c) {
    const struct measurement *m = c->m;
    if (m->who->drain) m->who->drain(c->handle);
    capturers_meet(m);
    if (c->number == 0) {
        if (m->who->blind) rest_us(1000);
        else if (!drained(m, c->offered * m->setup.threads)) fail("%s: events do not arrive", m->who->name);
        rest_us(REST_US);
    }
    capturers_meet(m);
    /* The processor is awake and at speed. */
    spin_us(m, 20);
}

/* Every page of them is there before anything is timed. */
static void samples_for(struct capturer *c, uint64_t count) {
    if (!(c->samples = malloc(count * sizeof *c->samples))) fail("no memory");
    memset(c->samples, 1, count * sizeof *c->samples);
}

static void bursts(struct capturer *c) {
    const struct measurement *m = c->m;
    uint32_t events = burst_events(m);
    samples_for(c, m->bursts);
    for (uint32_t i = 0; i < m->bursts + WARM; i++) {
        struct bench_burst burst = capturer_fill(c, events);
        capturers_meet(m);
        uint64_t began = ticks();
        m->who->capture(c->handle, &burst);
        uint64_t took = ticks() - began;
        if (i >= WARM) c->samples[c->taken++] = took;
        settle(c);
    }
}

/* The same, each capture timed by itself. */
static void singly(struct capturer *c) {
    const struct measurement *m = c->m;
    uint32_t events = burst_events(m);
    samples_for(c, (uint64_t)m->bursts * events);
    for (uint32_t i = 0; i < m->bursts + WARM; i++) {
        struct bench_burst burst = capturer_fill(c, events);
        struct bench_burst one = burst;
        one.count = 1;
        capturers_meet(m);
        uint64_t last = ticks();
        for (uint32_t e = 0; e < events; e++) {
            one.payloads = burst.payloads + (size_t)(e & burst.mask) * burst.stride;
            m->who->capture(c->handle, &one);
            uint64_t now = ticks();
            if (i >= WARM) c->samples[c->taken++] = now - last;
            last = now;
        }
        settle(c);
    }
}

static struct offered measure(const struct measurement *m, void (*work)(struct capturer *), double each) {
    struct capturer all[MOST_THREADS];
    struct offered offered = capturers_run(m, all, work);
    uint64_t count = 0, *together;
    for (uint32_t i = 0; i < m->setup.threads; i++) count += all[i].taken;
    if (!(together = malloc(count * sizeof *together))) fail("no memory");
    count = 0;
    for (uint32_t i = 0; i < m->setup.threads; i++) {
        memcpy(together + count, all[i].samples, all[i].taken * sizeof *together);
        count += all[i].taken;
        free(all[i].samples);
    }
    print_percentiles(m, "ns", together, count, each);
    free(together);
    return offered;
}

struct offered measure_capture(const struct measurement *m) { return measure(m, bursts, burst_events(m)); }

struct offered measure_each(const struct measurement *m) { return measure(m, singly, 1); }
