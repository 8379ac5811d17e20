/* The threads that capture: their payloads, their start and end, where they meet. */
#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* All the payloads of a thread fit into the first-level cache, beside what else is used. */
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
    if (posix_memalign((void **)&c->payloads, 4096, (size_t)count * c->stride + 4096)) fail("no memory");
    for (size_t i = 0; i < (size_t)count * c->stride; i++) c->payloads[i] = (unsigned char)(i * 31 + 1);
    if (!(c->handle = m->who->open(number))) fail("%s: a thread could not be opened", m->who->name);
}

void capturer_close(struct capturer *c) {
    c->m->who->close(c->handle);
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

/* Where they meet: those who arrive first look for the last, so that all go on within a fraction of a microsecond. */
static struct { uint32_t here, round; } meeting __attribute__((aligned(64)));

void capturers_meet(const struct measurement *m) {
    uint32_t round = __atomic_load_n(&meeting.round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&meeting.here, 1, __ATOMIC_ACQ_REL) == m->setup.threads) {
        __atomic_store_n(&meeting.here, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&meeting.round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (uint32_t looks = 0; __atomic_load_n(&meeting.round, __ATOMIC_ACQUIRE) == round; looks++) {
        if (looks < 2000 && m->setup.threads <= 2) relax();
        else sched_yield();
    }
}

struct start { struct capturer *c; const struct measurement *m; uint32_t number; void (*work)(struct capturer *); };

static void place(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static bool placed(const struct measurement *m) { return m->pin && m->setup.threads <= 2 && sysconf(_SC_NPROCESSORS_ONLN) >= 2; }

void place_others(const struct measurement *m) {
    if (placed(m) && m->setup.threads == 1) place(m->pin == APART ? 1 : 0);
}

static void *run(void *argument) {
    struct start *s = argument;
    if (placed(s->m)) place((int)s->number);
    capturer_open(s->c, s->m, s->number);
    capturers_meet(s->m);
    s->work(s->c);
    capturers_meet(s->m);
    capturer_close(s->c);
    return NULL;
}

struct offered capturers_run(const struct measurement *m, struct capturer *all, void (*work)(struct capturer *)) {
    uint32_t count = m->setup.threads;
    pthread_t threads[MOST_THREADS];
    struct start starts[MOST_THREADS];
    struct offered offered = {0, 0};
    if (count > MOST_THREADS) fail("at most %d threads", MOST_THREADS);
    for (uint32_t i = 0; i < count; i++) {
        starts[i] = (struct start){&all[i], m, i, work};
        if (pthread_create(&threads[i], NULL, run, &starts[i])) fail("no thread");
    }
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        offered.count += all[i].offered;
        offered.sum += all[i].sum;
    }
    return offered;
}

bool drained(const struct measurement *m, uint64_t count) {
    double began = now_s();
    while (__atomic_load_n(&m->store->count, __ATOMIC_ACQUIRE) < count) {
        if (now_s() - began > 20) return false;
        rest_us(5);
    }
    return true;
}

void spin_us(const struct measurement *m, double us) {
    uint64_t until = ticks() + (uint64_t)(us * 1000 / m->ns_a_tick);
    while (ticks() < until) relax();
}
