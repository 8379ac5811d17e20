/* Measures one contender once, and prints the figures as a JSON object.
 *
 *   harness OBJECT.so NAME capture|each|throughput|wake|load|idle [KEY=VALUE...]
 *
 * Keys: threads, payload, writers, batch, lossless, metrics, bursts, pin, seconds, rate, sleep_us; and beside=OBJECT.so:NAME, for wake:
 * another contender, measured in turns with the first. It fails where the storage has not got exactly what was offered.
 * `harness OBJECT.so` lists the names, a tab, and the configurations. */
#include "harness.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

void fail(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    vfprintf(stderr, format, rest);
    va_end(rest);
    fputc('\n', stderr);
    _exit(1);
}

double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void rest_us(double us) {
    struct timespec t = {(time_t)(us / 1e6), (long)((us - 1e6 * (double)(time_t)(us / 1e6)) * 1e3)};
    nanosleep(&t, NULL);
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void print_percentiles(const struct measurement *m, const char *name, uint64_t *samples, uint64_t count, double each) {
    static const double wanted[] = {1, 10, 50, 75, 90, 99, 99.9, 99.99, 100};
    qsort(samples, count, sizeof *samples, by_size);
    printf("\"%s\": {", name);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        uint64_t at = (uint64_t)((double)count * wanted[i] / 100);
        if (at >= count) at = count - 1;
        printf("%s\"%g\": %.2f", i ? ", " : "", wanted[i], (double)samples[at] * m->ns_a_tick / each);
    }
    printf("}, ");
}

static double measure_ticks(void) {
    double began = now_s();
    uint64_t first = ticks();
    rest_us(20e3);
    double took = now_s() - began;
    return took * 1e9 / (double)(ticks() - first);
}

static void take(struct bench_store *store, const void *first, size_t stride, size_t count) {
    struct bench_batch batch = batch_begin(store);
    for (size_t i = 0; i < count; i++) batch_event(&batch, (const char *)first + i * stride);
    batch_end(&batch);
}

/* The contenders of an object. */
static const struct contender *load(const char *path, size_t *count) {
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) fail("%s", dlerror());
    const struct contender *(*list)(size_t *);
    *(void **)&list = dlsym(object, "contenders");
    if (!list) fail("%s: no contenders()", path);
    return list(count);
}

static const struct contender *find(const char *path, const char *name) {
    size_t count;
    const struct contender *all = load(path, &count);
    for (size_t i = 0; i < count; i++)
        if (!strcmp(all[i].name, name)) return &all[i];
    fail("%s has no %s", path, name);
}

/* OBJECT.so:NAME */
static struct measurement *put_beside(const struct measurement *m, char *object) {
    static struct bench_store store;
    static struct measurement beside;
    char *name = strchr(object, ':');
    if (!name) fail("beside: not OBJECT.so:NAME: %s", object);
    *name++ = 0;
    beside = *m;
    beside.who = find(object, name);
    beside.store = beside.setup.store = &store;
    return &beside;
}

static void begin(const struct measurement *m) {
    const char *failed = m->who->start(&m->setup);
    if (failed) fail("%s: %s", m->who->name, failed);
}

/* The storage has exactly what was offered. */
static void check(const struct measurement *m, struct offered offered) {
    uint64_t seen = __atomic_load_n(&m->store->count, __ATOMIC_ACQUIRE);
    if (seen != offered.count || m->store->sum != offered.sum)
        fail("%s: %llu events offered, %llu stored; sums %s", m->who->name, (unsigned long long)offered.count,
             (unsigned long long)seen, m->store->sum == offered.sum ? "equal" : "differ");
}

static void end(const struct measurement *m, struct offered offered) {
    const char *failed = m->who->stop();
    if (failed) fail("%s: %s", m->who->name, failed);
    check(m, offered);
}

static void read_keys(struct measurement *m, char **keys) {
    static const struct { const char *name; size_t at; } words[] = {
        {"threads", offsetof(struct measurement, setup.threads)}, {"payload", offsetof(struct measurement, setup.payload)},
        {"writers", offsetof(struct measurement, setup.writers)}, {"batch", offsetof(struct measurement, setup.batch)},
        {"lossless", offsetof(struct measurement, setup.lossless)}, {"metrics", offsetof(struct measurement, setup.metrics)},
        {"bursts", offsetof(struct measurement, bursts)}, {"pin", offsetof(struct measurement, pin)},
    };
    for (; *keys; keys++) {
        char *value = strchr(*keys, '=');
        if (!value) fail("not a KEY=VALUE: %s", *keys);
        *value++ = 0;
        bool known = true;
        if (!strcmp(*keys, "seconds")) m->seconds = atof(value);
        else if (!strcmp(*keys, "rate")) m->rate = atof(value);
        else if (!strcmp(*keys, "sleep_us")) m->store->sleep_us = (uint32_t)atoi(value);
        else if (!strcmp(*keys, "beside")) m->beside = put_beside(m, value);
        else known = false;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (!strcmp(*keys, words[i].name)) {
                uint32_t number = (uint32_t)atoi(value);
                memcpy((char *)m + words[i].at, &number, sizeof number);
                known = true;
            }
        if (!known) fail("unknown key: %s", *keys);
    }
}

int main(int argc, char **argv) {
    static const struct { const char *name; struct offered (*measure)(const struct measurement *); } kinds[] = {
        {"capture", measure_capture}, {"each", measure_each}, {"throughput", measure_throughput},
        {"wake", measure_wake}, {"load", measure_load}, {"idle", measure_idle},
    };
    static struct bench_store store;
    struct measurement m = {.setup = {.threads = 1, .payload = 64, .writers = 1, .store = &store, .take = take}, .store = &store,
                            .bursts = 500, .seconds = 0.3, .rate = 1e5};
    if (argc < 2) fail("harness OBJECT.so NAME MEASUREMENT [KEY=VALUE...]");
    if (argc < 4) {
        size_t count;
        const struct contender *all = load(argv[1], &count);
        for (size_t i = 0; i < count; i++) printf("%s\t%s\n", all[i].name, all[i].configuration);
        return 0;
    }
    m.who = find(argv[1], argv[2]);
    m.ns_a_tick = m.setup.ns_a_tick = measure_ticks();
    read_keys(&m, argv + 4);
    if (m.setup.threads < 1 || m.setup.threads > MOST_THREADS) fail("threads: 1 to %d", MOST_THREADS);
    if (m.setup.payload < 16 || m.setup.payload > 4096) fail("payload: 16 to 4096");
    store.shared = m.setup.writers > 1;
    place_others(&m);
    begin(&m);
    if (m.beside) begin(m.beside);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, argv[3])) continue;
        if (m.beside && kinds[i].measure != measure_wake) fail("beside: for wake alone");
        printf("{");
        struct offered offered = kinds[i].measure(&m);
        if (m.who->blind && kinds[i].measure == measure_throughput) check(&m, offered); /* it is stopped */
        else end(&m, offered);
        if (m.beside) end(m.beside, m.beside->offered);
        printf("\"events\": %llu}\n", (unsigned long long)offered.count);
        fflush(stdout);
        /* Threads that a peer leaves behind are none of ours. */
        _exit(0);
    }
    fail("no such measurement: %s", argv[3]);
}
