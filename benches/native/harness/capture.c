/* The cost of a capture on the capturing thread: bursts, with pauses in which everything is drained. */
#include "harness.h"

#include <stdlib.h>

/* Bursts before the steady state. A consumer may limit how often per second it is woken, and may have saved up wake-ups while it
 * was idle; these bursts use them up. */
enum { WARM = 400 };
enum { BURST = 1000, BURST_BYTES = 512 << 10, REST_US = 60 };

/* The size of a burst, so that it fills no queue. */
static uint32_t burst_events(const struct measurement *m) {
    uint32_t count = BURST;
    if (m->contender->burst_limit && count > m->contender->burst_limit) count = m->contender->burst_limit;
    while (count > 16 && count * m->setup.payload > BURST_BYTES) count /= 2;
    return count;
}

/* Waits until all events so far are stored and the consumer has gone to sleep. */
static void settle(struct capturer *c) {
    const struct measurement *m = c->m;
    if (m->contender->drain) m->contender->drain(c->handle);
    capturers_barrier(m);
    if (c->number == 0) {
        if (m->contender->stores_at_stop) sleep_for_us(1000);
        else if (!wait_until_stored(m, c->offered * m->setup.threads)) fail("%s: %llu events were not stored within 20 s", m->contender->name, (unsigned long long)(c->offered * m->setup.threads));
        sleep_for_us(REST_US);
    }
    capturers_barrier(m);
    /* Brings the processor back from its idle state. */
    spin_us(m, 20);
}

/* Writes to every page, so that no page fault is timed. */
static void allocate_samples(struct capturer *c, uint64_t count) {
    if (!(c->samples = malloc(count * sizeof *c->samples))) fail("out of memory");
    memset(c->samples, 1, count * sizeof *c->samples);
}

static void bursts(struct capturer *c) {
    const struct measurement *m = c->m;
    uint32_t events = burst_events(m);
    allocate_samples(c, m->bursts);
    for (uint32_t i = 0; i < m->bursts + WARM; i++) {
        struct bench_burst burst = capturer_fill(c, events);
        capturers_barrier(m);
        uint64_t began = ticks();
        m->contender->capture(c->handle, &burst);
        uint64_t took = ticks() - began;
        if (i >= WARM) c->samples[c->sample_count++] = took;
        settle(c);
    }
}

/* The same, but every capture is timed on its own. */
static void single_captures(struct capturer *c) {
    const struct measurement *m = c->m;
    uint32_t events = burst_events(m);
    allocate_samples(c, (uint64_t)m->bursts * events);
    for (uint32_t i = 0; i < m->bursts + WARM; i++) {
        struct bench_burst burst = capturer_fill(c, events);
        struct bench_burst one = burst;
        one.count = 1;
        capturers_barrier(m);
        uint64_t last = ticks();
        for (uint32_t e = 0; e < events; e++) {
            one.payloads = burst.payloads + (size_t)(e & burst.mask) * burst.stride;
            m->contender->capture(c->handle, &one);
            uint64_t now = ticks();
            if (i >= WARM) c->samples[c->sample_count++] = now - last;
            last = now;
        }
        settle(c);
    }
}

static struct offered measure(const struct measurement *m, void (*work)(struct capturer *), double each) {
    struct capturer all[MAX_THREADS];
    struct offered offered = capturers_run(m, all, work);
    uint64_t count = 0, *together;
    for (uint32_t i = 0; i < m->setup.threads; i++) count += all[i].sample_count;
    if (!(together = malloc(count * sizeof *together))) fail("out of memory");
    count = 0;
    for (uint32_t i = 0; i < m->setup.threads; i++) {
        memcpy(together + count, all[i].samples, all[i].sample_count * sizeof *together);
        count += all[i].sample_count;
        free(all[i].samples);
    }
    print_percentiles(m, "ns", together, count, each);
    free(together);
    return offered;
}

struct offered measure_capture(const struct measurement *m) { return measure(m, bursts, burst_events(m)); }

struct offered measure_each(const struct measurement *m) { return measure(m, single_captures, 1); }
