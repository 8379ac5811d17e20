/* Measures one contender once and prints the figures as a JSON object.
 *
 *   harness OBJECT.so NAME capture|each|throughput|wake|load|idle|storage|read|paced [KEY=VALUE...]
 *
 * Keys: threads, payload, writers, batch, lossless, metrics, bursts, events, keep, pin, seconds, rate, sleep_us.
 * beside=OBJECT.so:NAME, for wake only, names a second contender, which is measured alternately with the first. The harness
 * fails if the storage has not received exactly the offered events. `harness OBJECT.so` prints a line for each contender: its
 * name, a tab, its configuration. */
#include "harness.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void store_payloads(struct bench_store *store, const void *first, size_t stride, size_t count) {
    struct bench_batch batch = batch_begin(store);
    for (size_t i = 0; i < count; i++) batch_event(&batch, (const char *)first + i * stride);
    batch_end(&batch);
}

/* A contender of a shared object. Of the two, the second is NULL for one that writes no files. */
struct found { const struct contender *contender; const struct storage_contender *storage; };

static void *symbol(const char *path, const char *name) {
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) fail("%s", dlerror());
    return dlsym(object, name);
}

/* Calls `each` for the contenders of a shared object until it returns true. */
static bool any(const char *path, bool (*each)(struct found, void *), void *with) {
    const struct contender *(*plain)(size_t *);
    const struct storage_contender *(*storages)(size_t *);
    size_t count;
    *(void **)&plain = symbol(path, "contenders");
    *(void **)&storages = symbol(path, "storage_contenders");
    if (!plain && !storages) fail("%s: exports neither contenders() nor storage_contenders()", path);
    const struct contender *all = plain ? plain(&count) : NULL;
    for (size_t i = 0; all && i < count; i++)
        if (each((struct found){&all[i], NULL}, with)) return true;
    const struct storage_contender *writing = storages ? storages(&count) : NULL;
    for (size_t i = 0; writing && i < count; i++)
        if (each((struct found){&writing[i].contender, &writing[i]}, with)) return true;
    return false;
}

struct wanted { const char *name; struct found found; };

static bool has_name(struct found found, void *with) {
    struct wanted *wanted = with;
    wanted->found = found;
    return !strcmp(found.contender->name, wanted->name);
}

static struct found find(const char *path, const char *name) {
    struct wanted wanted = {.name = name};
    if (!any(path, has_name, &wanted)) fail("%s: has no contender named %s", path, name);
    return wanted.found;
}

static bool print(struct found found, void *unused) {
    (void)unused;
    printf("%s\t%s\n", found.contender->name, found.contender->configuration);
    return false;
}

/* The second contender, from OBJECT.so:NAME. */
static struct measurement *measurement_beside(const struct measurement *m, char *object) {
    static struct bench_store store;
    static struct measurement beside;
    char *name = strchr(object, ':');
    if (!name) fail("beside: %s is not OBJECT.so:NAME", object);
    *name++ = 0;
    beside = *m;
    beside.contender = find(object, name).contender;
    beside.store = beside.setup.store = &store;
    return &beside;
}

static void begin(const struct measurement *m) {
    const char *failed = m->contender->start(&m->setup);
    if (failed) fail("%s: %s", m->contender->name, failed);
}

/* Fails unless the storage has exactly the offered events. */
static void check(const struct measurement *m, struct offered offered) {
    uint64_t seen = __atomic_load_n(&m->store->count, __ATOMIC_ACQUIRE);
    if (seen != offered.count || m->store->sum != offered.sum)
        fail("%s: %llu events offered, %llu stored; sums %s", m->contender->name, (unsigned long long)offered.count,
             (unsigned long long)seen, m->store->sum == offered.sum ? "equal" : "differ");
}

static void end(const struct measurement *m, struct offered offered) {
    const char *failed = m->contender->stop();
    if (failed) fail("%s: %s", m->contender->name, failed);
    check(m, offered);
}

static void read_keys(struct measurement *m, char **keys) {
    static const struct { const char *name; size_t at; } words[] = {
        {"threads", offsetof(struct measurement, setup.threads)}, {"payload", offsetof(struct measurement, setup.payload)},
        {"writers", offsetof(struct measurement, setup.writers)}, {"batch", offsetof(struct measurement, setup.batch)},
        {"lossless", offsetof(struct measurement, setup.lossless)}, {"metrics", offsetof(struct measurement, setup.metrics)},
        {"bursts", offsetof(struct measurement, bursts)}, {"pin", offsetof(struct measurement, pin)},
        {"keep", offsetof(struct measurement, keep)},
    };
    for (; *keys; keys++) {
        char *value = strchr(*keys, '=');
        if (!value) fail("%s is not KEY=VALUE", *keys);
        *value++ = 0;
        bool known = true;
        if (!strcmp(*keys, "seconds")) m->seconds = atof(value);
        else if (!strcmp(*keys, "rate")) m->rate = atof(value);
        else if (!strcmp(*keys, "events")) m->events = strtoull(value, NULL, 10);
        else if (!strcmp(*keys, "sleep_us")) m->store->sleep_us = (uint32_t)atoi(value);
        else if (!strcmp(*keys, "beside")) m->beside = measurement_beside(m, value);
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
    static const struct { const char *name; struct offered (*measure)(const struct measurement *); bool storage; } kinds[] = {
        {"capture", measure_capture, false}, {"each", measure_each, false}, {"throughput", measure_throughput, false},
        {"wake", measure_wake, false}, {"load", measure_load, false}, {"idle", measure_idle, false},
        {"storage", measure_storage, true}, {"read", measure_read, true}, {"paced", measure_paced, true},
    };
    static struct bench_store store;
    struct measurement m = {.setup = {.threads = 1, .payload = 64, .writers = 1, .store = &store, .store_payloads = store_payloads}, .store = &store,
                            .bursts = 500, .seconds = 0.3, .rate = 1e5, .events = 1000000};
    if (argc < 2) fail("usage: harness OBJECT.so NAME MEASUREMENT [KEY=VALUE...]");
    if (argc < 4) {
        any(argv[1], print, NULL);
        return 0;
    }
    struct found found = find(argv[1], argv[2]);
    m.contender = found.contender;
    m.storage = found.storage;
    m.ns_per_tick = m.setup.ns_per_tick = measure_ns_per_tick();
    read_keys(&m, argv + 4);
    if (m.setup.threads < 1 || m.setup.threads > MAX_THREADS) fail("threads is %u; allowed are 1 to %d", m.setup.threads, MAX_THREADS);
    if (m.setup.payload < 16 || m.setup.payload > 4096) fail("payload is %u; allowed are 16 to 4096", m.setup.payload);
    store.shared = m.setup.writers > 1;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, argv[3])) continue;
        if (m.beside && kinds[i].measure != measure_wake) fail("beside is for wake only");
        if (kinds[i].storage != (m.storage != NULL)) fail("%s: %s is not measured so", m.contender->name, argv[3]);
        place_contender(&m);
        begin(&m);
        if (m.beside) begin(m.beside);
        printf("{");
        struct offered offered = kinds[i].measure(&m);
        bool stopped = kinds[i].storage || (m.contender->stores_at_stop && kinds[i].measure == measure_throughput);
        if (stopped) check(&m, offered);
        else end(&m, offered);
        if (m.beside) end(m.beside, m.beside->offered);
        printf("\"events\": %llu}\n", (unsigned long long)offered.count);
        fflush(stdout);
        /* Without exit handlers: a peer may have left threads behind. */
        _exit(0);
    }
    fail("no such measurement: %s", argv[3]);
}
