/* The model of random_calls.c: a pipeline whose storage answers at random, what is known of every event, and which
 * statuses an offer may have. One pipeline at a time; `world` is all that is known of it. */
#ifndef CAPTURE_PIPELINE_RANDOM_MODEL_H
#define CAPTURE_PIPELINE_RANDOM_MODEL_H

#include "check.h"

#define WORKERS 4
#define SOURCES (WORKERS + 1) /* the last: captures from inside callbacks */
#define EVENTS 4096
#define RINGS 4096
#define BAD_FLUSH (-77)       /* what the storage's flush answers at times */
#define NO_STATUS INT32_MIN

/* ---- random numbers: xorshift64*, one state for each thread; a fuzzer gives bytes to be used before ---- */

typedef struct {
    uint64_t state;
    const unsigned char *at, *end;
} rng_t;

static rng_t seeded(uint64_t seed, uint64_t which)
{
    rng_t r = {(seed + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ (which + 1) * UINT64_C(0xD1B54A32D192ED03), NULL, NULL};
    r.state |= 1;
    return r;
}

static bool spent(const rng_t *r)
{
    return r->at != NULL && r->at == r->end;
}

static uint64_t next(rng_t *r)
{
    if (r->at != NULL && r->end - r->at >= 8) {
        uint64_t given;
        memcpy(&given, r->at, 8);
        r->at += 8;
        return given;
    }
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * UINT64_C(0x2545F4914F6CDD1D);
}

static uint32_t below(rng_t *r, uint32_t n)
{
    if (r->at != NULL && r->at != r->end) {
        uint32_t given = *r->at++;
        if (n > 256 && r->at != r->end)
            given = given << 8 | *r->at++;
        return given % n;
    }
    return (uint32_t)((next(r) >> 32) * n >> 32);
}

/* ---- what is known ---- */

typedef struct {
    atomic_uchar captured, stored, dead, released, seen;
    atomic_uint_fast64_t ring_id, sequence;
} fate_t;

typedef struct {
    uint64_t ring_id, last, open; /* last: highest sequence seen; open: batch that is with the storage */
    bool used;
} ring_t;

static struct {
    uint64_t seed;
    uint32_t round; /* part of every key, so that nothing of an earlier round passes for this one's */
    pipeline_t *p;
    pthread_rwlock_t holding; /* read: a callback uses p; write: p is about to go */
    size_t max_event_bytes;
    bool has_release, has_dead, concurrent, meta, ordered;
    uint64_t slow_us;
    atomic_bool may_overwrite, close_called, calm, over;
    atomic_int inside, exclusive; /* callbacks that run; those of them that may not overlap */
    atomic_uint destroyed;
    atomic_uint_fast64_t stored, dead, counts[32]; /* counts: offers by their negative status */
    atomic_uint callback_events;
    atomic_uint opened[1024];
    atomic_uint_fast64_t generation;
    pthread_mutex_t mutex; /* for all below */
    ring_t rings[RINGS];
    const pipeline_batch_t *waiting[4096 + 4096];
    size_t waiting_count;
} world = {.holding = PTHREAD_RWLOCK_INITIALIZER, .mutex = PTHREAD_MUTEX_INITIALIZER};

static fate_t fates[SOURCES][EVENTS];
static uint64_t captured_in_all;
static char writer_words[1024];

static bool check_among(const char *file, int line, const char *what, int32_t got, const int32_t *allowed, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        if (allowed[i] == got && got != NO_STATUS) {
            checks_done++;
            return true;
        }
    check_fail(file, line, what);
    fprintf(stderr, ": %d (%s; last error \"%s\") is none of those expected\n", got, pipeline_status_message(got),
            pipeline_last_error());
    return false;
}
/* The call comes first, then the statuses: what it answers depends on what others had begun by then. */
#define CHECK_AMONG(call, ...)                                                                                         \
    (__extension__({                                                                                                   \
        int32_t got_ = (call);                                                                                         \
        const int32_t allowed_[] = {__VA_ARGS__};                                                                      \
        check_among(__FILE__, __LINE__, #call, got_, allowed_, sizeof allowed_ / sizeof *allowed_);                    \
    }))

/* PIPELINE_ERR_CLOSED, if somebody has asked for that. */
static int32_t closed(void)
{
    return world.close_called ? PIPELINE_ERR_CLOSED : NO_STATUS;
}

/* ---- events: all of one follows from its key ---- */

static uint64_t key_of(unsigned source, uint32_t number)
{
    CHECK_OR_STOP(number < EVENTS);
    return (uint64_t)(world.round | UINT32_C(1) << 31) << 32 | source << 16 | number;
}

static uint32_t kind_of(uint64_t key)
{
    return (uint32_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 40) % 1000;
}

static uint64_t node_of(uint64_t key)
{
    return ~key;
}

static uint64_t time_of(uint64_t key)
{
    return key * 3;
}

static void fill_payload(unsigned char *payload, uint64_t key, size_t from, size_t to)
{
    size_t i;
    for (i = from; i < to; i++)
        payload[i] = (unsigned char)(key * 31 + i * 7);
}

/* The fate of an event that came back, once all that it carries is found to be what was offered. */
static fate_t *fate_of(const pipeline_event_view_t *e)
{
    const unsigned char *data = (const unsigned char *)e->data;
    uint64_t key = e->correlation_id;
    size_t i, from = 0;
    fate_t *fate;
    CHECK_OR_STOP(data != NULL && (uintptr_t)data % 8 == 0);
    if (key == 0) {
        CHECK_OR_STOP(e->len >= 8);
        memcpy(&key, data, 8);
        from = 8;
        CHECK_U64(e->node_id, 0);
    } else {
        CHECK_U64(e->node_id, node_of(key));
    }
    CHECK_OR_STOP((uint32_t)(key >> 32) == (world.round | UINT32_C(1) << 31));
    CHECK_OR_STOP((key >> 16 & 0xFFFF) < SOURCES && (key & 0xFFFF) < EVENTS);
    for (i = from; i < e->len; i++)
        CHECK_OR_STOP(data[i] == (unsigned char)(key * 31 + i * 7));
    CHECK_U64(e->kind, kind_of(key));
    CHECK(e->weight == 1.0);
    if (e->flags & PIPELINE_EVENT_OWN_TIME)
        CHECK_U64(e->timestamp_ns, time_of(key));
    fate = &fates[key >> 16 & 0xFFFF][key & 0xFFFF];
    if (fate->seen == 0) {
        fate->ring_id = e->ring_id;
        fate->sequence = e->sequence;
        fate->seen = 1;
    } else {
        CHECK(fate->ring_id == e->ring_id && fate->sequence == e->sequence);
    }
    return fate;
}

enum { CAPTURED, REFUSED_INVALID, REFUSED_UNREAD, REFUSED_NULL, REFUSED_LARGE, REFUSED_BUSY };

/* An offer was made and answered: one of those that it may be, and counted. */
static void offered(uint64_t key, int32_t status, unsigned allowed)
{
    switch (allowed) {
    case CAPTURED:
        CHECK_AMONG(status, PIPELINE_OK, PIPELINE_ERR_FULL, PIPELINE_ERR_BUSY, PIPELINE_ERR_NO_RING, closed());
        break;
    case REFUSED_INVALID:
        CHECK_AMONG(status, PIPELINE_ERR_INVALID, PIPELINE_ERR_BUSY, closed());
        break;
    case REFUSED_LARGE:
        CHECK_AMONG(status, PIPELINE_ERR_TOO_LARGE, PIPELINE_ERR_BUSY, closed());
        break;
    case REFUSED_BUSY:
        CHECK_STATUS(status, PIPELINE_ERR_BUSY);
        break;
    case REFUSED_UNREAD:
        CHECK_AMONG(status, PIPELINE_ERR_VERSION, PIPELINE_ERR_INVALID);
        status = PIPELINE_ERR_INVALID;
        break;
    default:
        CHECK_STATUS(status, PIPELINE_ERR_NULL);
        status = PIPELINE_ERR_INVALID;
    }
    if (status > 0 || status < -31)
        return;
    world.counts[-status]++;
    if (status == PIPELINE_OK)
        fates[key >> 16 & 0xFFFF][key & 0xFFFF].captured = 1;
}

/* ---- the storage ---- */

static void enter(void *user_data, bool exclusive)
{
    CHECK(user_data == &world);
    CHECK_U64(world.destroyed, 0);
    world.inside++;
    if (exclusive && world.exclusive++ > 0)
        CHECK(world.concurrent);
}

static void leave(bool exclusive)
{
    if (exclusive)
        world.exclusive--;
    world.inside--;
}

static rng_t callback_rng(uint64_t what)
{
    return seeded(world.seed ^ what * UINT64_C(0xA24BAED4963EE407), 1000);
}

/* Calls back into the library, while the handle is there. */
static void reenter(rng_t *rng)
{
    pipeline_metrics_t m;
    if (world.calm || below(rng, 4) || pthread_rwlock_tryrdlock(&world.holding) != 0)
        return;
    if (world.p != NULL && !world.calm) {
        switch (below(rng, 10)) {
        case 0:
            CHECK_STATUS(pipeline_flush(world.p, -1), PIPELINE_ERR_WOULD_DEADLOCK);
            break;
        case 1:
            CHECK_STATUS(pipeline_close(world.p, -1), PIPELINE_ERR_WOULD_DEADLOCK);
            break;
        case 2:
            CHECK_STATUS(pipeline_destroy(world.p), PIPELINE_ERR_WOULD_DEADLOCK);
            break;
        case 3:
            CHECK_AMONG(pipeline_scale(world.p, below(rng, 5)), PIPELINE_OK, closed());
            break;
        case 4:
            CHECK_AMONG(below(rng, 2) ? pipeline_pause(world.p) : pipeline_resume(world.p), PIPELINE_OK, closed());
            break;
        case 5:
            memset(&m, 0, sizeof m);
            m.struct_size = sizeof m;
            CHECK_STATUS(pipeline_metrics(world.p, &m), PIPELINE_OK);
            break;
        default: {
            uint32_t number = world.callback_events++;
            if (number < EVENTS) {
                unsigned char payload[64];
                uint64_t key = key_of(WORKERS, number);
                size_t len = 8 + below(rng, 56);
                memcpy(payload, &key, 8);
                fill_payload(payload, key, 8, len);
                offered(key, pipeline_capture(world.p, kind_of(key), payload, len), CAPTURED);
            }
        }
        }
    }
    pthread_rwlock_unlock(&world.holding);
}

static ring_t *ring_of(uint64_t id)
{
    size_t at = (size_t)(id * UINT64_C(0x9E3779B97F4A7C15) >> 52) % RINGS;
    while (world.rings[at].used && world.rings[at].ring_id != id)
        at = (at + 1) % RINGS;
    world.rings[at].used = true;
    world.rings[at].ring_id = id;
    return &world.rings[at];
}

/* Whether a batch is of the library's own events; of the others, each is what was offered, and in order. */
static bool check_batch(const pipeline_batch_t *batch, bool first)
{
    size_t i;
    bool meta = PIPELINE_BATCH_EVENT(batch, 0)->kind >= PIPELINE_KIND_RESERVED;
    uint64_t expected = 0;
    CHECK_OR_STOP(batch->count > 0);
    CHECK(batch->struct_size == sizeof *batch && batch->attempt >= 1);
    CHECK(atomic_compare_exchange_strong(&world.generation, &expected, batch->generation) ||
          expected == batch->generation);
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        CHECK_OR_STOP((e->kind >= PIPELINE_KIND_RESERVED) == meta);
        if (!meta)
            fate_of(e);
        if (world.ordered && i > 0) {
            CHECK_U64(e->ring_id, PIPELINE_BATCH_EVENT(batch, 0)->ring_id);
            CHECK(e->sequence > PIPELINE_BATCH_EVENT(batch, i - 1)->sequence);
        }
    }
    CHECK(!meta || world.meta);
    if (world.ordered && !meta) {
        ring_t *ring;
        pthread_mutex_lock(&world.mutex);
        ring = ring_of(PIPELINE_BATCH_EVENT(batch, 0)->ring_id);
        if (first && batch->attempt == 1)
            CHECK(ring->last <= PIPELINE_BATCH_EVENT(batch, 0)->sequence);
        CHECK(ring->open == 0 || ring->open == batch->batch_id + 1);
        ring->open = batch->batch_id + 1;
        ring->last = PIPELINE_BATCH_EVENT(batch, batch->count - 1)->sequence + 1;
        pthread_mutex_unlock(&world.mutex);
    }
    return meta;
}

/* The storage has done with a batch for now. Before it answers. */
static void put_down(const pipeline_batch_t *batch)
{
    if (!world.ordered || PIPELINE_BATCH_EVENT(batch, 0)->kind >= PIPELINE_KIND_RESERVED)
        return;
    pthread_mutex_lock(&world.mutex);
    ring_of(PIPELINE_BATCH_EVENT(batch, 0)->ring_id)->open = 0;
    pthread_mutex_unlock(&world.mutex);
}

static void mark_stored(const pipeline_batch_t *batch, size_t to, const bool *rejected)
{
    size_t i;
    if (PIPELINE_BATCH_EVENT(batch, 0)->kind >= PIPELINE_KIND_RESERVED)
        return;
    for (i = 0; i < to; i++)
        if (rejected == NULL || !rejected[i]) {
            CHECK_U64(fate_of(PIPELINE_BATCH_EVENT(batch, i))->stored++, 0);
            world.stored++;
        }
}

/* Rejects some events of a batch, one by one. */
static bool *reject_some(rng_t *rng, const pipeline_batch_t *batch)
{
    bool *rejected = (bool *)calloc(batch->count, sizeof *rejected);
    size_t i;
    CHECK_OR_STOP(rejected != NULL);
    for (i = 0; i < batch->count; i++)
        if (below(rng, 4) == 0) {
            rejected[i] = true;
            CHECK_STATUS(pipeline_batch_set_rejected(batch, i), PIPELINE_OK);
        }
    return rejected;
}

static int32_t some_answer(rng_t *rng, bool pending)
{
    int32_t answer = below(rng, 8) ? (int32_t)below(rng, 3) : (int32_t)next(rng);
    if (answer == PIPELINE_STORE_OK || (!pending && answer == PIPELINE_STORE_PENDING))
        answer = PIPELINE_STORE_RETRY;
    return answer;
}

/* Answers a batch by its token: one that store has answered with PENDING, or is about to. */
static void complete(rng_t *rng, const pipeline_batch_t *batch)
{
    uint64_t token = batch->token;
    size_t count = batch->count, prefix = below(rng, (uint32_t)count + 1), first = 0;
    if (below(rng, 8) == 0) {
        CHECK_STATUS(pipeline_batch_complete_at(token, count + 1 + below(rng, 9), PIPELINE_STORE_OK),
                     PIPELINE_ERR_INVALID);
        CHECK_STATUS(pipeline_batch_set_stored(batch, count + 1), PIPELINE_ERR_INVALID);
        CHECK_STATUS(pipeline_batch_set_rejected(batch, count), PIPELINE_ERR_INVALID);
    }
    put_down(batch);
    switch (world.calm ? 9 : below(rng, 8)) {
    case 0:
    case 1:
        if (below(rng, 2)) {
            first = below(rng, (uint32_t)count + 1);
            CHECK_STATUS(pipeline_batch_set_stored(batch, first), PIPELINE_OK);
        }
        mark_stored(batch, prefix > first ? prefix : first, NULL);
        CHECK_STATUS(pipeline_batch_complete_at(token, prefix, some_answer(rng, true)), PIPELINE_OK);
        break;
    case 2:
        CHECK_STATUS(pipeline_batch_complete(token, some_answer(rng, true)), PIPELINE_OK);
        break;
    case 3: {
        bool *rejected = reject_some(rng, batch);
        mark_stored(batch, count, rejected);
        free(rejected);
        CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
        break;
    }
    default:
        mark_stored(batch, count, NULL);
        CHECK_STATUS(pipeline_batch_complete_at(token, prefix, PIPELINE_STORE_OK), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN);
}

/* Completes one of the batches that wait for it. */
static bool complete_one(rng_t *rng)
{
    const pipeline_batch_t *batch = NULL;
    pthread_mutex_lock(&world.mutex);
    if (world.waiting_count > 0) {
        size_t at = below(rng, (uint32_t)world.waiting_count);
        batch = world.waiting[at];
        world.waiting[at] = world.waiting[--world.waiting_count];
    }
    pthread_mutex_unlock(&world.mutex);
    if (batch != NULL)
        complete(rng, batch);
    return batch != NULL;
}

static int32_t world_store(void *user_data, const pipeline_batch_t *batch)
{
    rng_t rng = callback_rng(batch->token);
    int32_t answer = PIPELINE_STORE_OK;
    size_t prefix;
    enter(user_data, true);
    check_batch(batch, true);
    reenter(&rng);
    if (!world.calm && below(&rng, 16) == 0) {
        /* A storage that is slow at times. */
        struct timespec t = {0, (long)below(&rng, (uint32_t)world.slow_us + 1) * 1000};
        nanosleep(&t, NULL);
    }
    switch (world.calm ? 99 : below(&rng, 16)) {
    case 0:
    case 1:
        answer = some_answer(&rng, false);
        break;
    case 2:
    case 3:
        prefix = below(&rng, (uint32_t)batch->count + 1);
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count), PIPELINE_OK); /* the last word counts */
        CHECK_STATUS(pipeline_batch_set_stored(batch, prefix), PIPELINE_OK);
        mark_stored(batch, prefix, NULL);
        answer = some_answer(&rng, false);
        break;
    case 4:
    case 5: {
        bool *rejected = reject_some(&rng, batch);
        mark_stored(batch, batch->count, rejected);
        free(rejected);
        break;
    }
    case 6:
    case 7:
    case 8:
        answer = PIPELINE_STORE_PENDING;
        pthread_mutex_lock(&world.mutex);
        CHECK_OR_STOP(world.waiting_count < sizeof world.waiting / sizeof *world.waiting);
        world.waiting[world.waiting_count++] = batch;
        pthread_mutex_unlock(&world.mutex);
        if (below(&rng, 4) == 0)
            complete_one(&rng);
        break;
    case 9:
        complete(&rng, batch);
        answer = below(&rng, 2) ? PIPELINE_STORE_PENDING : (int32_t)below(&rng, 9); /* the first answer stands */
        break;
    default:
        mark_stored(batch, batch->count, NULL);
    }
    if (answer != PIPELINE_STORE_PENDING)
        put_down(batch);
    leave(true);
    return answer;
}

static int32_t world_dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    rng_t rng = callback_rng(batch->batch_id * 77 + batch->attempt);
    int32_t answer = 0;
    size_t i;
    enter(user_data, true);
    CHECK(reason >= PIPELINE_REASON_REJECTED && reason <= PIPELINE_REASON_RETRY_AGE);
    CHECK(!check_batch(batch, false));
    put_down(batch);
    reenter(&rng);
    if (!world.calm && below(&rng, 3) == 0)
        answer = some_answer(&rng, true);
    if (answer == 0)
        for (i = 0; i < batch->count; i++) {
            CHECK_U64(fate_of(PIPELINE_BATCH_EVENT(batch, i))->dead++, 0);
            world.dead++;
        }
    leave(true);
    return answer;
}

static int32_t world_flush(void *user_data, int64_t timeout_ms)
{
    rng_t rng = callback_rng((uint64_t)now_ms());
    int32_t answer = 0;
    enter(user_data, true);
    CHECK(timeout_ms >= -1);
    reenter(&rng);
    if (!world.calm && below(&rng, 4) == 0)
        answer = below(&rng, 2) ? BAD_FLUSH : 5;
    leave(true);
    return answer;
}

static int32_t world_open(void *user_data, uint32_t writer_id, void **writer_data)
{
    static atomic_uint turn;
    rng_t rng = callback_rng(turn++);
    int32_t answer = 0;
    enter(user_data, false);
    reenter(&rng);
    if (!world.calm && below(&rng, 4) == 0) {
        answer = (int32_t)next(&rng) | 1;
    } else {
        CHECK_OR_STOP(writer_id < 1024);
        CHECK_U64(world.opened[writer_id]++, 0);
        *writer_data = &writer_words[writer_id];
    }
    leave(false);
    return answer;
}

static void world_close(void *user_data, uint32_t writer_id, void *writer_data)
{
    enter(user_data, false);
    CHECK(writer_data == &writer_words[writer_id]);
    CHECK_U64(world.opened[writer_id]--, 1);
    leave(false);
}

static void world_release(void *user_data, const pipeline_event_view_t *event)
{
    rng_t rng = callback_rng(event->sequence);
    enter(user_data, false);
    CHECK(event->kind < PIPELINE_KIND_RESERVED);
    CHECK_U64(fate_of(event)->released++, 0);
    if (below(&rng, 16) == 0)
        reenter(&rng);
    leave(false);
}

static void world_destroy(void *user_data)
{
    size_t i;
    CHECK(user_data == &world);
    CHECK_U64(world.inside, 0);
    for (i = 0; i < 1024; i++)
        CHECK_U64(world.opened[i], 0);
    CHECK_U64(world.destroyed++, 0);
}

#endif
