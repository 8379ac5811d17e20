/* Random structs for random_calls.c: configurations, storages and options, valid and invalid, of every size; and the pipelines that are
 * started with them. */
#ifndef CAPTURE_PIPELINE_RANDOM_STRUCTS_H
#define CAPTURE_PIPELINE_RANDOM_STRUCTS_H

#include "model.h"

/* An invalid size. */
static uint32_t wrong_size(rng_t *rng, size_t known)
{
    const uint32_t sizes[] = {0, 1, 3, 4, (uint32_t)known / 2, (uint32_t)known - 1, 4097, 65536, 0x80000000u, UINT32_MAX};
    return sizes[below(rng, sizeof sizes / sizeof *sizes)];
}

typedef struct {
    size_t at, width;
    uint64_t low, high, limit; /* good values for a round; the highest that is allowed at all */
} field_t;
#define FIELD(name, low, high, limit)                                                                                  \
    {offsetof(pipeline_config_t, name), sizeof(((pipeline_config_t *)NULL)->name), (low), (high), (limit)}
static const field_t fields[] = {
    FIELD(writers, 0, 4, PIPELINE_MAX_WRITERS),
    FIELD(min_writers, 0, 2, PIPELINE_MAX_WRITERS),
    FIELD(max_writers, 0, 4, PIPELINE_MAX_WRITERS),
    FIELD(batch_size, 1, 64, 65536),
    FIELD(batch_bytes, 1, 8192, UINT64_C(1) << 32),
    FIELD(linger_us, 0, 1500, 60000000),
    FIELD(poll_interval_ms, 1, 50, 60000),
    FIELD(max_in_flight, 1, 16, 4096),
    FIELD(max_in_doubt, 0, 4, 4096),
    FIELD(ring_bytes, 4096, 4096, UINT64_C(1) << 32),
    FIELD(priority_ring_bytes, 4096, 4096, UINT64_C(1) << 32),
    FIELD(max_rings, 1, 8, 65536),
    FIELD(max_retired_rings, 0, 4, 4096),
    FIELD(max_event_bytes, 512, 960, UINT64_C(1) << 32),
    FIELD(overflow, 0, 2, 2),
    FIELD(ordering, 0, 1, 1),
    FIELD(block_timeout_us, 0, 1500, UINT64_C(86400000000)),
    FIELD(retry_limit, 1, 8, UINT32_MAX),
    FIELD(retry_initial_us, 0, 200, UINT64_C(86400000000)),
    FIELD(retry_max_us, 0, 2000, UINT64_C(86400000000)),
    FIELD(retry_max_age_ms, 0, 60, UINT64_MAX / 1000000),
    FIELD(storage_deadline_ms, 1, 20, 86400000),
    FIELD(exit_timeout_ms, 0, 1000, 86400000),
    FIELD(breaker_failures, 0, 8, UINT32_MAX),
    FIELD(clock, PIPELINE_CLOCK_AUTO, PIPELINE_CLOCK_MONOTONIC, PIPELINE_CLOCK_TICKS),
    FIELD(writer_class, PIPELINE_SCHED_INHERIT, PIPELINE_SCHED_BATCH, PIPELINE_SCHED_RR),
    FIELD(writer_priority, 0, 0, 99),
    FIELD(writer_nice, 0, 3, 19),
    FIELD(writer_slice_us, 100, 3000, 100000),
    FIELD(flags, 0, 0, 0),
    FIELD(reserved, 0, 0, 0),
};

static void set_field(pipeline_config_t *c, const field_t *f, uint64_t value)
{
    uint32_t narrow = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    if (f->width == 8)
        memcpy((char *)c + f->at, &value, 8);
    else
        memcpy((char *)c + f->at, &narrow, 4);
}

static uint64_t good_value(rng_t *rng, const field_t *f)
{
    return f->low + below(rng, (uint32_t)(f->high - f->low + 1));
}

/* Lists of processors, and whether they are: some there are on every machine, others may be refused by this one. */
static const struct {
    const char *list;
    bool right;
} processors[] = {
    {NULL, true}, {"0-1023", true}, {"0", true}, {" 1, 0-2,5", true}, {"1023", true}, {"1024", false}, {"", false}, {"0-", false},
    {"2-1", false}, {"0,,1", false}, {"-1", false}, {"0x1", false}, {"99999999999999999999", false},
};

/* Fields that depend on each other, and that the system must grant: at times with values that do not fit, or are refused. */
static void random_placement(rng_t *rng, pipeline_config_t *c)
{
    c->clock = below(rng, PIPELINE_CLOCK_TICKS + 2);
    c->writer_class = below(rng, PIPELINE_SCHED_RR + 2);
    c->writer_priority = below(rng, 2) ? 0 : below(rng, 101);
    c->writer_nice = below(rng, 2) ? 0 : (int32_t)below(rng, 43) - 21;
    c->writer_slice_us = below(rng, 2) ? 0 : 99 + below(rng, 100002 - 99);
    c->writer_cpus = processors[below(rng, sizeof processors / sizeof *processors)].list;
}

/* Whether the library accepts it. */
static bool placed_right(const pipeline_config_t *c)
{
    bool real_time = c->writer_class == PIPELINE_SCHED_FIFO || c->writer_class == PIPELINE_SCHED_RR, listed = false;
    size_t i;
    for (i = 0; i < sizeof processors / sizeof *processors; i++)
        listed = listed || (processors[i].right && processors[i].list == c->writer_cpus);
    return listed && c->clock <= PIPELINE_CLOCK_TICKS && c->writer_class <= PIPELINE_SCHED_RR &&
           (real_time ? c->writer_priority >= 1 && c->writer_priority <= 99 : c->writer_priority == 0) && c->writer_nice >= -20 &&
           c->writer_nice <= 19 && (c->writer_nice == 0 || (!real_time && c->writer_class != PIPELINE_SCHED_IDLE)) &&
           (c->writer_slice_us == 0 || (c->writer_slice_us >= 100 && c->writer_slice_us <= 100000));
}

/* Whether the system may refuse it. */
static bool placed_at_all(const pipeline_config_t *c)
{
    return c->writer_class != PIPELINE_SCHED_INHERIT || c->writer_nice != 0 || c->writer_cpus != NULL;
}

/* Sets so many fields to random values, in or out of their range. */
static void random_fields(rng_t *rng, pipeline_config_t *c, unsigned count)
{
    while (count-- > 0) {
        const field_t *f = &fields[below(rng, sizeof fields / sizeof *fields)];
        if (below(rng, 4))
            set_field(c, f, good_value(rng, f));
        else
            set_field(c, f, below(rng, 3) ? f->limit + 1 : f->low > 0 ? f->low - 1 : UINT64_MAX);
    }
}

static pipeline_config_t good_config(rng_t *rng)
{
    pipeline_config_t c = config_defaults();
    size_t i;
    for (i = 0; i < sizeof fields / sizeof *fields; i++)
        set_field(&c, &fields[i], good_value(rng, &fields[i]));
    c.min_writers = c.max_writers = 0;
    c.ring_bytes = UINT64_C(4096) << below(rng, 5);
    c.priority_ring_bytes = below(rng, 4) ? UINT64_C(4096) << below(rng, 6) : 0;
    if (below(rng, 2))
        c.max_event_bytes = 0;
    if (below(rng, 2))
        c.storage_deadline_ms = 30000;
    if (below(rng, 2))
        c.retry_max_age_ms = 60000;
    if (below(rng, 2))
        c.writer_slice_us = 0;
    if (below(rng, 4) == 0)
        c.writer_cpus = "0-1023";
    return c;
}

/* ---- another pipeline, beside: started with random structs, ended at once ---- */

typedef struct {
    atomic_uint destroyed, stored;
} other_t;

static int32_t other_store(void *user_data, const pipeline_batch_t *batch)
{
    ((other_t *)user_data)->stored += (unsigned)batch->count;
    return PIPELINE_STORE_OK;
}

static void other_destroy(void *user_data)
{
    ((other_t *)user_data)->destroyed++;
}

/* The smallest size of a storage that is accepted: without `finish`. */
#define STORAGE_FIRST offsetof(pipeline_storage_t, finish)

/* A heap block of exactly `size` bytes if that is a size, of four if not, that begins with the struct. Sizes begin at `first`. */
static void *exactly(rng_t *rng, const void *from, size_t first, size_t known, uint32_t size, bool tail)
{
    size_t room = size < first || size > 4096 ? 4 : size;
    unsigned char *block = (unsigned char *)calloc(1, room);
    CHECK_OR_STOP(block != NULL);
    memcpy(block, from, room < known ? room : known);
    memcpy(block, &size, 4);
    if (tail && room > known)
        block[known + below(rng, (uint32_t)(room - known))] = 0xFF;
    return block;
}

static uint32_t random_size(rng_t *rng, size_t known)
{
    switch (below(rng, 6)) {
    case 0:
        return wrong_size(rng, known);
    case 1:
        return (uint32_t)known + 1 + below(rng, 64);
    default:
        return (uint32_t)known;
    }
}

static bool random_sqlite(rng_t *rng, const char *path, pipeline_storage_t *out)
{
    pipeline_sqlite_options_t o;
    uint32_t *words = (uint32_t *)(void *)&o;
    int32_t status;
    void *block;
    memset(&o, 0xA5, sizeof o);
    CHECK_AMONG(pipeline_sqlite_options_init(&o, sizeof o), PIPELINE_OK, PIPELINE_ERR_UNSUPPORTED);
    o.synchronous = PIPELINE_SQLITE_SYNC_OFF;
    o.cache_kib = 256;
    if (below(rng, 2))
        words[1 + below(rng, sizeof o / 4 - 1)] = (uint32_t)(next(rng) >> below(rng, 64));
    block = exactly(rng, &o, sizeof o, sizeof o, random_size(rng, sizeof o), below(rng, 4) == 0);
    status = pipeline_storage_sqlite(path, (const pipeline_sqlite_options_t *)block, sizeof *out, out);
    free(block);
    CHECK_AMONG(status, PIPELINE_OK, PIPELINE_ERR_INVALID, PIPELINE_ERR_VERSION, PIPELINE_ERR_UNSUPPORTED);
    return status == PIPELINE_OK;
}

static void start_another(rng_t *rng)
{
    static atomic_uint files;
    other_t *other = (other_t *)calloc(1, sizeof *other);
    pipeline_storage_t s;
    pipeline_config_t c = good_config(rng);
    pipeline_t *p = NULL;
    char path[64] = "";
    uint32_t size = random_size(rng, sizeof s), config_size = random_size(rng, sizeof c);
    bool tail = below(rng, 8) == 0, config_tail = below(rng, 8) == 0, sqlite, null_out = below(rng, 16) == 0;
    bool taken = size >= STORAGE_FIRST && size <= 4096 && !(tail && size > sizeof s);
    void *storage, *config;
    bool placed;
    unsigned i, stored = 0;
    int32_t status;
    CHECK_OR_STOP(other != NULL);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    snprintf(path, sizeof path, "random-%d-%u.db", (int)getpid(), files++);
    sqlite = below(rng, 6) == 0 && random_sqlite(rng, path, &s);
    if (!sqlite) {
        s.user_data = other;
        s.store = below(rng, 16) ? other_store : NULL;
        s.destroy = other_destroy;
        s.flags = below(rng, 8) ? below(rng, 4) : (uint32_t)next(rng);
    }
    if (below(rng, 3) == 0)
        random_placement(rng, &c);
    random_fields(rng, &c, below(rng, 4));
    if (sqlite && c.retry_max_age_ms > 60) /* it may be told to leave more of the disk free than there is, and retries then */
        c.retry_max_age_ms = 60;
    if (c.writers > 16 && c.writers <= PIPELINE_MAX_WRITERS)
        c.writers = 16;
    c.exit_timeout_ms = c.exit_timeout_ms > 1000 ? UINT64_MAX : c.exit_timeout_ms;
    c.ring_dir = below(rng, 32) ? NULL : "/nowhere/rings";
    storage = exactly(rng, &s, STORAGE_FIRST, sizeof s, size, tail);
    config = sqlite || below(rng, 8) ? exactly(rng, &c, sizeof c, sizeof c, config_size, config_tail) : NULL;
    placed = config == NULL || placed_right(&c);
    status = pipeline_start((const pipeline_config_t *)config, (const pipeline_storage_t *)storage, null_out ? NULL : &p);
    free(storage);
    free(config);
    CHECK_AMONG(status, PIPELINE_OK, PIPELINE_ERR_NULL, PIPELINE_ERR_INVALID, PIPELINE_ERR_VERSION,
                c.ring_dir != NULL ? PIPELINE_ERR_STORAGE : NO_STATUS, placed && placed_at_all(&c) ? PIPELINE_ERR_SYSTEM : NO_STATUS);
    CHECK((status == PIPELINE_OK) == (p != NULL));
    CHECK(placed || p == NULL);
    if (!taken) {
        CHECK_STATUS(status, PIPELINE_ERR_VERSION);
        CHECK_U64(other->destroyed, 0);
        if (sqlite)
            s.destroy(s.user_data);
    } else if (p == NULL && !sqlite) {
        CHECK_U64(other->destroyed, 1);
    }
    if (p != NULL) {
        for (i = 0; i < 3; i++)
            stored += pipeline_capture(p, i, "12345678", i) == PIPELINE_OK;
        if (below(rng, 2)) {
            if (!CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK))
                fprintf(stderr, "  of another pipeline, sqlite %d, flags %x, writers %u\n", sqlite, s.flags, c.writers);
            CHECK_LEDGER(p);
            if (!sqlite && (s.flags & PIPELINE_STORAGE_META) == 0)
                CHECK_U64(other->stored, stored);
        }
        if (!sqlite && below(rng, 2))
            CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
        else
            DESTROY_SOON(p);
        if (!sqlite)
            WAIT_FOR(other->destroyed == 1);
    }
    if (sqlite) {
        char side[80];
        unlink(path);
        snprintf(side, sizeof side, "%s-wal", path);
        unlink(side);
        snprintf(side, sizeof side, "%s-shm", path);
        unlink(side);
    }
    free(other);
}

#endif
