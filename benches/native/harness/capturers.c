/* The capturing threads: their payloads, start, end, and the barrier between them. */
#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* The payloads of a thread fit into the first-level cache together with the other data in use. */
enum { PAYLOAD_BYTES = 8192, MOST_PAYLOADS = 64 };

static uint64_t mixed(uint64_t *seed) {
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void capturer_open(struct capturer *c, const struct measurement *m, uint32_t number) {
    uint32_t count = MOST_PAYLOADS;
    while (count > 1 && count * m->setup.payload > PAYLOAD_BYTES) count /= 2;
    *c = (struct capturer){.m = m, .number = number, .stride = (m->setup.payload + 7) & ~7u, .mask = count - 1};
    c->seed = number * 77777 + 1;
    if (posix_memalign((void **)&c->payloads, 4096, (size_t)count * c->stride + 4096)) fail("out of memory");
    for (size_t i = 0; i < (size_t)count * c->stride; i++) c->payloads[i] = (unsigned char)(i * 31 + 1);
    if (!(c->handle = m->contender->open(number))) fail("%s: open() failed for a thread", m->contender->name);
}

void capturer_close(struct capturer *c) {
    c->m->contender->close(c->handle);
    free(c->payloads);
    c->payloads = NULL;
}

struct bench_burst capturer_fill(struct capturer *c, uint32_t count) {
    struct bench_burst burst = {c->payloads, c->stride, c->mask, count, c->m->setup.payload};
    for (uint32_t i = 0; i <= c->mask && i < count; i++) {
        uint64_t value = mixed(&c->seed), times = (count - i + c->mask) / (c->mask + 1);
        memcpy(c->payloads + (size_t)i * c->stride, &value, 8);
        c->sum += value * times;
    }
    c->offered += count;
    return burst;
}

/* The barrier. Waiting threads spin, so that all continue within a fraction of a microsecond. */
static struct { uint32_t arrived, round; } barrier __attribute__((aligned(64)));

void capturers_barrier(const struct measurement *m) {
    uint32_t round = __atomic_load_n(&barrier.round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&barrier.arrived, 1, __ATOMIC_ACQ_REL) == m->setup.threads) {
        __atomic_store_n(&barrier.arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier.round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (uint32_t spins = 0; __atomic_load_n(&barrier.round, __ATOMIC_ACQUIRE) == round; spins++) {
        if (spins < 2000 && m->setup.threads <= 2) relax();
        else sched_yield();
    }
}

struct start { struct capturer *c; const struct measurement *m; uint32_t number; void (*work)(struct capturer *); };

static void pin_to(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static bool is_pinned(const struct measurement *m) { return m->pin && m->setup.threads <= 2 && sysconf(_SC_NPROCESSORS_ONLN) >= 2; }

void place_contender(const struct measurement *m) {
    if (is_pinned(m) && m->setup.threads == 1) pin_to(m->pin == APART ? 1 : 0);
}

static void *run(void *argument) {
    struct start *s = argument;
    if (is_pinned(s->m)) pin_to((int)s->number);
    capturer_open(s->c, s->m, s->number);
    capturers_barrier(s->m);
    s->work(s->c);
    capturers_barrier(s->m);
    capturer_close(s->c);
    return NULL;
}

struct offered capturers_run(const struct measurement *m, struct capturer *all, void (*work)(struct capturer *)) {
    uint32_t count = m->setup.threads;
    pthread_t threads[MAX_THREADS];
    struct start starts[MAX_THREADS];
    struct offered offered = {0, 0};
    if (count > MAX_THREADS) fail("%u threads are too many; the limit is %d", count, MAX_THREADS);
    for (uint32_t i = 0; i < count; i++) {
        starts[i] = (struct start){&all[i], m, i, work};
        if (pthread_create(&threads[i], NULL, run, &starts[i])) fail("a thread cannot be created");
    }
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        offered.count += all[i].offered;
        offered.sum += all[i].sum;
    }
    return offered;
}

bool wait_until_stored(const struct measurement *m, uint64_t count) {
    double began = now_s();
    while (__atomic_load_n(&m->store->count, __ATOMIC_ACQUIRE) < count) {
        if (now_s() - began > 20) return false;
        sleep_for_us(5);
    }
    return true;
}
