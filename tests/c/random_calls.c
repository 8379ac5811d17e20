/* Random calls: several threads make every public call in random order, with random structs, sizes and timeouts, right
 * ones and wrong ones, while a storage answers at random: at once, later, in part, wrongly, too late. A model knows what
 * must hold all the same: which statuses a call may answer; that the figures are what the calls answered and the storage
 * acknowledged, to the last event; that contents and identities stay; that calls which must not overlap do not; that
 * release and destroy run exactly once, and nothing after destroy.
 *
 *   SEED=n      begins there (a failing round prints its own)
 *   ROUNDS=n    so many, each with the next seed; 40 otherwise */
#include "random_structs.h"

#include <sched.h>

/* ---- what a thread does ---- */

typedef struct {
    unsigned source;
    rng_t rng;
    uint32_t number;
    struct {
        pipeline_producer_t *handle;
        uint64_t reserved; /* key of the event that room is reserved for; 0: none */
        size_t len;
        void *room;
    } producer[3];
} worker_t;

static unsigned char big[32768]; /* more than any max_event_bytes here */

static uint64_t next_key(worker_t *me)
{
    return key_of(me->source, me->number++);
}

/* In a heap block that is not a byte too long. */
static unsigned char *payload_of(uint64_t key, size_t from, size_t len)
{
    unsigned char *payload = (unsigned char *)malloc(len > 0 ? len : 1);
    CHECK_OR_STOP(payload != NULL);
    memcpy(payload, &key, from);
    fill_payload(payload, key, from, len);
    return payload;
}

/* An event in a heap block of exactly the size that its struct_size claims (or of the four bytes that may be read if that
 * is no size), right or wrong. Answers which statuses its offer may have. */
static unsigned random_event(worker_t *me, uint64_t key, unsigned char **payload, pipeline_event_t **out)
{
    pipeline_event_t e;
    unsigned allowed = CAPTURED;
    uint32_t size = sizeof e, room = sizeof e;
    size_t len = below(&me->rng, 200);
    memset(&e, 0, sizeof e);
    *payload = payload_of(key, 0, len);
    e.kind = kind_of(key);
    e.correlation_id = key;
    e.node_id = node_of(key);
    e.data = len == 0 && below(&me->rng, 2) ? NULL : *payload;
    e.len = len;
    if (below(&me->rng, 4) == 0)
        e.flags = PIPELINE_EVENT_PRIORITY;
    if (below(&me->rng, 4) == 0) {
        e.flags |= PIPELINE_EVENT_OWN_TIME;
        e.timestamp_ns = time_of(key);
    }
    switch (below(&me->rng, 24)) {
    case 0:
        size = wrong_size(&me->rng, sizeof e);
        room = size < sizeof e || size > 4096 ? 4 : size;
        allowed = REFUSED_UNREAD;
        break;
    case 1: /* longer, and zero past what is known: as good */
        size = room = (uint32_t)sizeof e + 1 + below(&me->rng, 200);
        break;
    case 2: /* longer, and not zero */
        size = room = (uint32_t)sizeof e + 1 + below(&me->rng, 200);
        allowed = REFUSED_UNREAD;
        break;
    case 3:
        e.kind = PIPELINE_KIND_RESERVED + below(&me->rng, 65536);
        allowed = REFUSED_INVALID;
        break;
    case 4:
        e.flags |= UINT32_C(4) << below(&me->rng, 30);
        allowed = REFUSED_INVALID;
        break;
    case 5:
        e.reserved = 1 + below(&me->rng, 1000);
        allowed = REFUSED_UNREAD;
        break;
    case 6:
        e.data = big;
        e.len = below(&me->rng, 2) ? world.max_event_bytes + 1 + below(&me->rng, 100) : SIZE_MAX - below(&me->rng, 100);
        allowed = REFUSED_LARGE;
        break;
    case 7:
        e.data = NULL;
        e.len = 1 + below(&me->rng, 100);
        allowed = REFUSED_INVALID;
        break;
    default:
        break;
    }
    e.struct_size = size;
    *out = (pipeline_event_t *)calloc(1, room);
    CHECK_OR_STOP(*out != NULL);
    memcpy(*out, &e, room < sizeof e ? room : sizeof e);
    if (allowed == REFUSED_UNREAD && room > sizeof e)
        ((unsigned char *)*out)[sizeof e + below(&me->rng, (uint32_t)(room - sizeof e))] = 1;
    return allowed;
}

static void capture_something(worker_t *me, pipeline_producer_t *r)
{
    unsigned char *payload;
    uint64_t key = next_key(me);
    int32_t status;
    unsigned allowed = CAPTURED;
    if (below(&me->rng, 2)) {
        pipeline_event_t *e;
        allowed = random_event(me, key, &payload, &e);
        status = r ? pipeline_producer_capture_event(r, e) : pipeline_capture_event(world.p, e);
        free(e);
    } else {
        size_t len = 8 + below(&me->rng, 200);
        uint32_t kind = kind_of(key);
        payload = payload_of(key, 8, len);
        if (below(&me->rng, 30) == 0) {
            kind = PIPELINE_KIND_RESERVED;
            allowed = REFUSED_INVALID;
        }
        status = r ? pipeline_producer_capture(r, kind, payload, len) : pipeline_capture(world.p, kind, payload, len);
    }
    free(payload);
    offered(key, status, allowed);
}

static void use_producer(worker_t *me)
{
    unsigned at = below(&me->rng, 3);
    pipeline_producer_t *r = me->producer[at].handle;
    uint64_t key;
    int32_t status;
    if (r == NULL) {
        status = pipeline_producer_open(world.p, &me->producer[at].handle);
        me->producer[at].reserved = 0;
        CHECK_AMONG(status, PIPELINE_OK, PIPELINE_ERR_LIMIT, closed());
        CHECK((status == PIPELINE_OK) == (me->producer[at].handle != NULL));
        return;
    }
    if (me->producer[at].reserved != 0) {
        size_t used, len = me->producer[at].len;
        key = me->producer[at].reserved;
        switch (below(&me->rng, 6)) {
        case 0:
            CHECK_STATUS(pipeline_producer_abort(r), PIPELINE_OK);
            CHECK_STATUS(pipeline_producer_abort(r), PIPELINE_ERR_STATE);
            break;
        case 1:
            CHECK_STATUS(pipeline_producer_commit(r, len + 1 + below(&me->rng, 100)), PIPELINE_ERR_INVALID);
            return;
        case 2:
            offered(0, pipeline_producer_capture(r, 1, &key, 8), REFUSED_BUSY);
            return;
        case 3:
            break;
        default:
            used = 8 + below(&me->rng, (uint32_t)(len - 7));
            memcpy(me->producer[at].room, &key, 8);
            fill_payload((unsigned char *)me->producer[at].room, key, 8, used);
            status = pipeline_producer_commit(r, used);
            CHECK_AMONG(status, PIPELINE_OK, closed());
            offered(key, status, CAPTURED);
            CHECK_STATUS(pipeline_producer_commit(r, 8), PIPELINE_ERR_STATE);
            break;
        case 5:
            CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
            me->producer[at].handle = NULL;
        }
        if (me->producer[at].handle != NULL)
            pipeline_producer_abort(r);
        me->producer[at].reserved = 0;
        return;
    }
    switch (below(&me->rng, 8)) {
    case 0:
        CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
        me->producer[at].handle = NULL;
        break;
    case 1:
        CHECK_STATUS(pipeline_producer_commit(r, 0), PIPELINE_ERR_STATE);
        CHECK_STATUS(pipeline_producer_reserve(r, NULL, 8, NULL), PIPELINE_ERR_NULL);
        break;
    case 2:
    case 3: {
        pipeline_event_t e = event_of(0, NULL, 0);
        size_t len = 8 + below(&me->rng, 300);
        unsigned allowed = CAPTURED;
        void *room = NULL;
        key = next_key(me);
        e.kind = kind_of(key);
        if (below(&me->rng, 8) == 0) {
            len = world.max_event_bytes + 1;
            allowed = REFUSED_LARGE;
        }
        status = pipeline_producer_reserve(r, &e, len, &room);
        if (status == PIPELINE_OK) {
            CHECK(allowed == CAPTURED && room != NULL && (uintptr_t)room % 8 == 0);
            memset(room, 0xEE, len);
            me->producer[at].reserved = key;
            me->producer[at].len = len;
            me->producer[at].room = room;
        } else {
            offered(0, status, allowed);
        }
        break;
    }
    default:
        capture_something(me, r);
    }
}

/* A struct that the library fills: in a heap block of exactly the size claimed. */
static void read_figures(worker_t *me)
{
    static const size_t known[] = {sizeof(pipeline_metrics_t), sizeof(pipeline_health_t), sizeof(pipeline_config_t),
                                   sizeof(pipeline_writer_metrics_t)};
    unsigned which = below(&me->rng, 4);
    uint32_t size = (uint32_t)known[which];
    uint32_t room, i;
    unsigned char *out;
    int32_t status;
    if (below(&me->rng, 3) == 0)
        size = below(&me->rng, 2) ? wrong_size(&me->rng, known[which]) : size + below(&me->rng, 4097 - size);
    room = size < known[which] || size > 4096 ? 4 : size;
    out = (unsigned char *)malloc(room);
    CHECK_OR_STOP(out != NULL);
    memset(out, 0xA5, room);
    memcpy(out, &size, 4);
    switch (which) {
    case 0:
        status = pipeline_metrics(world.p, (pipeline_metrics_t *)(void *)out);
        break;
    case 1:
        status = pipeline_health(world.p, (pipeline_health_t *)(void *)out);
        break;
    case 2:
        status = pipeline_config_read(world.p, (pipeline_config_t *)(void *)out);
        break;
    default:
        status = pipeline_writer_metrics(world.p, below(&me->rng, 4), (pipeline_writer_metrics_t *)(void *)out);
    }
    if (room == 4) {
        CHECK_AMONG(status, PIPELINE_ERR_VERSION, which == 3 ? PIPELINE_ERR_NOT_FOUND : NO_STATUS);
    } else {
        CHECK_AMONG(status, PIPELINE_OK, which == 3 ? PIPELINE_ERR_NOT_FOUND : NO_STATUS);
    }
    CHECK(memcmp(out, &size, 4) == 0);
    if (status == PIPELINE_OK) {
        for (i = (uint32_t)known[which]; i < size; i++)
            CHECK_OR_STOP(out[i] == 0);
        if (which == 0) {
            pipeline_metrics_t m;
            memcpy(&m, out, sizeof m);
            CHECK(m.captured <= m.offered);
            CHECK(m.stored + m.dead_lettered + m.discarded + m.overwritten <= m.captured);
        }
        if (which == 1)
            CHECK(memchr(out + offsetof(pipeline_health_t, message), 0, 256) != NULL);
    }
    free(out);
}

static void update_something(worker_t *me)
{
    pipeline_config_t c;
    bool overwrites;
    int32_t status;
    memset(&c, 0, sizeof c);
    c.struct_size = sizeof c;
    CHECK_STATUS(pipeline_config_read(world.p, &c), PIPELINE_OK);
    random_fields(&me->rng, &c, 1 + below(&me->rng, 3));
    overwrites = c.overflow == PIPELINE_OVERFLOW_DROP_OLDEST;
    if (overwrites && !world.has_release)
        world.may_overwrite = true;
    status = pipeline_update(world.p, &c);
    CHECK_AMONG(status, PIPELINE_OK, PIPELINE_ERR_INVALID, PIPELINE_ERR_FIXED, PIPELINE_ERR_UNSUPPORTED,
                PIPELINE_ERR_VERSION, closed());
    if (overwrites && world.has_release && !world.may_overwrite)
        CHECK(status != PIPELINE_OK);
}

static atomic_int hooked;

static void thread_begins(void *user_data)
{
    CHECK(user_data == &hooked);
    hooked++;
}

static void thread_ends(void *user_data)
{
    CHECK(user_data == &hooked);
    CHECK(hooked-- > 0);
}

static void hear(void *user_data, int32_t level, const char *message)
{
    CHECK(user_data == &hooked && level >= PIPELINE_LOG_ERROR && level <= PIPELINE_LOG_DEBUG && *message != 0);
}

static void wrong_calls(worker_t *me)
{
    uint64_t token = below(&me->rng, 2) ? next(&me->rng) : below(&me->rng, 8) ? UINT64_MAX - below(&me->rng, 9) : 0;
    pipeline_t *none = NULL;
    char name[300];
    switch (below(&me->rng, 20)) {
    case 0:
        CHECK_STATUS(pipeline_batch_complete(token | UINT64_C(1) << 62, (int32_t)below(&me->rng, 5)),
                     PIPELINE_ERR_UNKNOWN_TOKEN);
        break;
    case 1:
        CHECK_STATUS(pipeline_batch_complete_at(token | UINT64_C(1) << 62, below(&me->rng, 9), 0),
                     PIPELINE_ERR_UNKNOWN_TOKEN);
        break;
    case 2:
        CHECK_STATUS(pipeline_start(NULL, NULL, &none), PIPELINE_ERR_NULL);
        break;
    case 3:
        CHECK_STATUS(pipeline_capture(NULL, 1, &token, 8), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_capture_event(NULL, NULL), PIPELINE_ERR_NULL);
        break;
    case 4:
        CHECK_STATUS(pipeline_flush(NULL, -1), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_close(NULL, -1), PIPELINE_ERR_NULL);
        break;
    case 5:
        CHECK_STATUS(pipeline_destroy(NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_abandon(NULL), PIPELINE_ERR_NULL);
        break;
    case 6:
        CHECK_STATUS(pipeline_metrics(world.p, NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_health(world.p, NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_config_read(world.p, NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_update(world.p, NULL), PIPELINE_ERR_NULL);
        break;
    case 7:
        CHECK_STATUS(pipeline_producer_open(world.p, NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_close(NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_commit(NULL, 1), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_abort(NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_capture(NULL, 1, NULL, 0), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_capture_event(NULL, NULL), PIPELINE_ERR_NULL);
        break;
    case 8:
        CHECK_STATUS(pipeline_batch_set_stored(NULL, 1), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_batch_set_rejected(NULL, 1), PIPELINE_ERR_NULL);
        break;
    case 9:
        offered(0, pipeline_capture_event(world.p, NULL), REFUSED_NULL);
        break;
    case 10:
        CHECK_AMONG(pipeline_scale(world.p, PIPELINE_MAX_WRITERS + 1 + below(&me->rng, 1000)), PIPELINE_ERR_LIMIT,
                    closed());
        break;
    case 11: {
        uint32_t size = (uint32_t)next(&me->rng) >> below(&me->rng, 32);
        bool fits = size >= sizeof(pipeline_storage_t) && size <= 4096;
        unsigned char *out = (unsigned char *)malloc(fits ? size : 1);
        CHECK_STATUS(pipeline_storage_init((pipeline_storage_t *)(void *)out, size),
                     fits ? PIPELINE_OK : PIPELINE_ERR_VERSION);
        free(out);
        break;
    }
    case 12: {
        size_t size = (size_t)(next(&me->rng) >> below(&me->rng, 64));
        bool fits = size >= sizeof(pipeline_config_t) && size <= 4096;
        unsigned char *out = (unsigned char *)malloc(fits ? size : 1);
        CHECK_STATUS(pipeline_config_init((pipeline_config_t *)(void *)out, size),
                     fits ? PIPELINE_OK : PIPELINE_ERR_VERSION);
        free(out);
        break;
    }
    case 13:
        memset(name, 'n', sizeof name);
        name[below(&me->rng, 299)] = 0;
        name[299] = 0;
        CHECK_AMONG(pipeline_kind_name(world.p, below(&me->rng, 4) ? below(&me->rng, 40) : PIPELINE_KIND_RESERVED, name),
                    PIPELINE_OK, PIPELINE_ERR_INVALID, PIPELINE_ERR_FULL, closed());
        CHECK_STATUS(pipeline_kind_name(world.p, 1, NULL), PIPELINE_ERR_NULL);
        break;
    case 14:
        CHECK(pipeline_version() == PIPELINE_VERSION);
        CHECK(pipeline_status_message((int32_t)next(&me->rng)) != NULL && pipeline_last_error() != NULL);
        break;
    case 15: {
        int32_t level = (int32_t)below(&me->rng, 7);
        bool known = level >= PIPELINE_LOG_ERROR && level <= PIPELINE_LOG_DEBUG;
        CHECK_STATUS(pipeline_log_callback(hear, &hooked, level), known ? PIPELINE_OK : PIPELINE_ERR_INVALID);
        if (below(&me->rng, 2))
            CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK);
        break;
    }
    default:
        start_another(&me->rng);
    }
}

static void *working(void *argument)
{
    worker_t *me = (worker_t *)argument;
    unsigned calls = 60 + below(&me->rng, 200);
    while (calls-- > 0 && !spent(&me->rng)) {
        switch (below(&me->rng, 32)) {
        case 0:
            CHECK_AMONG(pipeline_flush(world.p, below(&me->rng, 4)), PIPELINE_OK, PIPELINE_ERR_TIMEOUT, BAD_FLUSH,
                        PIPELINE_ERR_STORAGE, closed());
            break;
        case 1:
            CHECK_AMONG(pipeline_scale(world.p, below(&me->rng, 5)), PIPELINE_OK, closed());
            break;
        case 2:
            CHECK_AMONG(pipeline_pause(world.p), PIPELINE_OK, closed());
            break;
        case 3:
            CHECK_AMONG(pipeline_resume(world.p), PIPELINE_OK, closed());
            break;
        case 4:
        case 5:
            read_figures(me);
            break;
        case 6:
            update_something(me);
            break;
        case 7:
            wrong_calls(me);
            break;
        case 8:
            complete_one(&me->rng);
            break;
        case 9:
            if (below(&me->rng, 40) == 0) {
                world.close_called = true;
                CHECK_AMONG(pipeline_close(world.p, below(&me->rng, 3)), PIPELINE_OK, PIPELINE_ERR_TIMEOUT, BAD_FLUSH,
                            PIPELINE_ERR_STORAGE, PIPELINE_ERR_CLOSED);
            }
            break;
        case 10:
            sched_yield();
            break;
        case 11:
            if (below(&me->rng, 4) == 0)
                pause_a_little();
            break;
        case 12:
        case 13:
        case 14:
        case 15:
        case 16:
        case 17:
        case 18:
            use_producer(me);
            break;
        case 19: { /* faster than any writer, until its ring is full */
            unsigned burst = below(&me->rng, 100);
            pipeline_producer_t *r = me->producer[0].reserved == 0 ? me->producer[0].handle : NULL;
            while (burst-- > 0 && !spent(&me->rng))
                capture_something(me, r);
            for (burst = 0; burst < 3; burst++)
                use_producer(me);
            break;
        }
        default:
            capture_something(me, NULL);
        }
    }
    return NULL;
}

static void *completing(void *argument)
{
    rng_t *rng = (rng_t *)argument;
    while (!world.over || complete_one(rng))
        if (!complete_one(rng))
            pause_a_little();
    return NULL;
}

/* ---- begin and end ---- */

static void begin_world(rng_t *rng, uint64_t seed)
{
    pipeline_config_t c = good_config(rng);
    pipeline_storage_t s;
    size_t i;
    world.seed = seed;
    world.round = (world.round + 1) & 0x7FFFFFFF;
    world.has_release = below(rng, 2);
    world.has_dead = below(rng, 2);
    world.concurrent = below(rng, 2);
    world.meta = below(rng, 4) == 0;
    world.ordered = c.ordering == PIPELINE_ORDERING_PER_PRODUCER;
    world.slow_us = below(rng, 2) ? 4000 : 300;
    world.may_overwrite = c.overflow == PIPELINE_OVERFLOW_DROP_OLDEST;
    world.max_event_bytes = c.max_event_bytes != 0 ? c.max_event_bytes : c.ring_bytes / 4 - 64;
    world.close_called = world.calm = world.over = false;
    world.destroyed = 0;
    world.stored = world.dead = 0;
    world.callback_events = 0;
    world.generation = 0;
    for (i = 0; i < 32; i++)
        world.counts[i] = 0;
    memset(world.rings, 0, sizeof world.rings);
    memset(fates, 0, sizeof fates);
    CHECK_U64(world.waiting_count, 0);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.user_data = &world;
    s.flags = (world.concurrent ? PIPELINE_STORAGE_CONCURRENT : 0) | (world.meta ? PIPELINE_STORAGE_META : 0);
    s.store = world_store;
    s.destroy = world_destroy;
    if (world.has_release)
        s.release = world_release;
    if (world.has_dead)
        s.dead_letter = world_dead_letter;
    if (below(rng, 2))
        s.flush = world_flush;
    if (below(rng, 2)) {
        s.open_writer = world_open;
        s.close_writer = world_close;
    }
    pthread_rwlock_wrlock(&world.holding); /* a writer's first callback may be quicker than we are */
    CHECK_STATUS(pipeline_start(&c, &s, &world.p), PIPELINE_OK);
    CHECK_OR_STOP(world.p != NULL);
    pthread_rwlock_unlock(&world.holding);
}

/* Closes, and compares the figures with what the calls answered and the storage acknowledged. */
static void close_exactly(void)
{
    pipeline_metrics_t m;
    uint64_t lost = 0;
    unsigned s, n;
    bool before = world.close_called;
    world.close_called = true;
    CHECK_AMONG(pipeline_close(world.p, PATIENCE_MS), PIPELINE_OK, before ? PIPELINE_ERR_CLOSED : NO_STATUS);
    CHECK_STATUS(pipeline_close(world.p, PATIENCE_MS), PIPELINE_ERR_CLOSED);
    m = metrics_of(world.p);
    CHECK_LEDGER(world.p);
    for (s = 0; s < SOURCES; s++)
        for (n = 0; n < EVENTS; n++)
            lost += fates[s][n].captured && fates[s][n].stored + fates[s][n].dead == 0;
    CHECK_U64(m.captured, world.counts[0]);
    CHECK_U64(m.dropped_full, world.counts[-PIPELINE_ERR_FULL]);
    CHECK_U64(m.refused_too_large, world.counts[-PIPELINE_ERR_TOO_LARGE]);
    CHECK_U64(m.refused_closed, world.counts[-PIPELINE_ERR_CLOSED]);
    CHECK_U64(m.refused_invalid, world.counts[-PIPELINE_ERR_INVALID]);
    CHECK_U64(m.refused_busy, world.counts[-PIPELINE_ERR_BUSY]);
    CHECK_U64(m.refused_no_ring, world.counts[-PIPELINE_ERR_NO_RING]);
    CHECK_U64(m.stored, world.stored);
    CHECK_U64(m.dead_lettered, world.dead);
    CHECK_U64(m.discarded + m.overwritten, lost);
    CHECK_U64(m.buffered + m.in_flight + m.in_doubt + m.left, 0);
    if (!world.may_overwrite)
        CHECK_U64(m.overwritten, 0);
    captured_in_all += m.captured;
}

static void destroy_soon(void)
{
    uint64_t deadline = now_ms() + PATIENCE_MS;
    int32_t status;
    do {
        pthread_rwlock_wrlock(&world.holding);
        status = pipeline_destroy(world.p);
        if (status == PIPELINE_OK)
            world.p = NULL;
        pthread_rwlock_unlock(&world.holding);
        if (status == PIPELINE_ERR_BUSY)
            pause_a_little();
    } while (status == PIPELINE_ERR_BUSY && now_ms() < deadline);
    CHECK_STATUS(status, PIPELINE_OK);
    CHECK_U64(world.destroyed, 1);
    CHECK_U64(world.inside, 0);
}

static void abandon(void)
{
    pthread_rwlock_wrlock(&world.holding);
    CHECK_STATUS(pipeline_abandon(world.p), PIPELINE_OK);
    world.p = NULL;
    pthread_rwlock_unlock(&world.holding);
}

static int by_ids(const void *a, const void *b)
{
    const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;
    return x[0] != y[0] ? (x[0] < y[0] ? -1 : 1) : x[1] == y[1] ? 0 : x[1] < y[1] ? -1 : 1;
}

/* After everything: no event twice, none from nowhere, each released once. */
static void account(void)
{
    static uint64_t ids[SOURCES * EVENTS][2];
    uint64_t seen = 0, twice = 0, unknown = 0, unreleased = 0, i;
    unsigned s, n;
    for (s = 0; s < SOURCES; s++)
        for (n = 0; n < EVENTS; n++) {
            fate_t *f = &fates[s][n];
            twice += f->stored + f->dead > 1;
            unknown += !f->captured && f->seen;
            unreleased += f->released != (world.has_release ? f->captured : 0);
            if (f->seen) {
                ids[seen][0] = f->ring_id;
                ids[seen++][1] = f->sequence;
            }
        }
    CHECK_U64(twice, 0);
    CHECK_U64(unknown, 0);
    CHECK_U64(unreleased, 0);
    qsort(ids, seen, sizeof *ids, by_ids);
    for (i = 1; i < seen; i++)
        twice += by_ids(ids[i - 1], ids[i]) == 0;
    CHECK_U64(twice, 0);
    CHECK_U64(world.destroyed, 1);
}

/* ---- a round ---- */

/* `bytes`: of a fuzzer, to be used instead of random numbers as long as there are any; then by one thread. */
static void round_of(uint64_t seed, const unsigned char *bytes, size_t size)
{
    static worker_t workers[SOURCES];
    pthread_t threads[SOURCES], completer;
    rng_t rng = seeded(seed, 0), completer_rng = seeded(seed, 99);
    unsigned count = bytes != NULL ? 1 : 1 + below(&rng, WORKERS), i, j, end;
    size_t first = size < 48 ? size : 48;
    int failed = checks_failed;
    if (bytes != NULL) {
        rng.at = bytes;
        rng.end = bytes + first;
    }
    begin_world(&rng, seed);
    completer = start_thread(completing, &completer_rng);
    for (i = 0; i < count; i++) {
        memset(&workers[i], 0, sizeof workers[i]);
        workers[i].source = i;
        workers[i].rng = seeded(seed, i + 1);
        if (bytes != NULL) {
            workers[i].rng.at = bytes + first;
            workers[i].rng.end = bytes + size;
        }
        threads[i] = start_thread(working, &workers[i]);
    }
    for (i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    end = below(&rng, 4);
    for (i = 0; i < count; i++)
        for (j = 0; j < 3; j++)
            if (workers[i].producer[j].handle != NULL && (end == 0 || below(&rng, 2))) {
                CHECK_STATUS(pipeline_producer_close(workers[i].producer[j].handle), PIPELINE_OK);
                workers[i].producer[j].handle = NULL;
            }
    world.calm = true;
    if (end <= 1)
        close_exactly();
    if (end <= 2)
        destroy_soon();
    else
        abandon();
    /* What is left is a producer here and there, and answers to come. */
    for (i = 0; i < count; i++)
        for (j = 0; j < 3; j++)
            if (workers[i].producer[j].handle != NULL) {
                pipeline_producer_t *r = workers[i].producer[j].handle;
                if (workers[i].producer[j].reserved != 0)
                    memset(workers[i].producer[j].room, 1, workers[i].producer[j].len);
                CHECK_AMONG(pipeline_producer_capture(r, 1, "", 1), PIPELINE_ERR_CLOSED,
                            workers[i].producer[j].reserved != 0 ? PIPELINE_ERR_BUSY : NO_STATUS);
                CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
            }
    WAIT_FOR(world.destroyed == 1);
    world.over = true;
    pthread_join(completer, NULL);
    account();
    if (checks_failed != failed)
        fprintf(stderr, "  in the round SEED=%" PRIu64 " ROUNDS=1 (ended in way %u)\n", seed, end);
}

int main(void)
{
    uint64_t seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : now_ms() * 1000003u % 1000000000u;
    uint64_t rounds = getenv("ROUNDS") ? strtoull(getenv("ROUNDS"), NULL, 10) : 40;
    uint64_t i;
    printf("SEED=%" PRIu64 " ROUNDS=%" PRIu64 "\n", seed, rounds);
    fflush(stdout);
    CHECK_STATUS(pipeline_thread_hooks(thread_begins, thread_ends, &hooked), PIPELINE_OK);
    for (i = 0; i < rounds && checks_failed == 0; i++)
        round_of(seed + i, NULL, 0);
    WAIT_FOR(hooked == 0); /* every thread of the library has ended */
    printf("%" PRIu64 " rounds, %" PRIu64 " events captured\n", i, captured_in_all);
    return SUMMARY();
}
