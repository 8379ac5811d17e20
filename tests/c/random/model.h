/* The model of random_calls.c: what is known of each event, and the statuses that an offer may return. There is one pipeline at a time;
 * `world` holds all that is known of it. */
#ifndef CAPTURE_PIPELINE_RANDOM_MODEL_H
#define CAPTURE_PIPELINE_RANDOM_MODEL_H

#include "expected.h"
#include "fates.h"

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
    uint64_t ring_id, last, open; /* last: highest sequence seen; open: batch that is with the storage */
    bool used;
} ring_t;

static struct {
    uint64_t seed;
    uint32_t round; /* part of every key, so that nothing of an earlier round passes for this one's */
    pipeline_t *p;
    pthread_rwlock_t holding; /* read: a callback uses p; write: p is about to go */
    size_t max_event_bytes;
    bool has_release, has_dead, concurrent, meta, ordered, exchanges; /* the last: most batches are answered later, few may be out */
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
/* The call is evaluated first, then the list of statuses, because other threads may have changed what is allowed. */
#define CHECK_AMONG(call, ...)                                                                                         \
    (__extension__({                                                                                                   \
        int32_t got_ = (call);                                                                                         \
        const int32_t allowed_[] = {__VA_ARGS__};                                                                      \
        check_among(__FILE__, __LINE__, #call, got_, allowed_, sizeof allowed_ / sizeof *allowed_);                    \
    }))

/* PIPELINE_ERR_CLOSED, if a thread has called pipeline_close. */
static int32_t closed(void)
{
    return world.close_called ? PIPELINE_ERR_CLOSED : NO_STATUS;
}

/* ---- events: every field of an event follows from its key ---- */

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

/* Checks that an event is as it was offered, and returns its fate. */
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
    fate_seen(fate, e);
    return fate;
}

/* The statuses that an offer may return. REFUSED_UNREAD: its struct cannot be read, which is checked before anything else. */
enum { CAPTURED, REFUSED_INVALID, REFUSED_UNREAD, REFUSED_NULL, REFUSED_LARGE, REFUSED_BUSY };

static unsigned answers_of(const pipeline_event_t *e, int32_t expected)
{
    switch (expected) {
    case PIPELINE_OK:
        return CAPTURED;
    case PIPELINE_ERR_TOO_LARGE:
        return REFUSED_LARGE;
    case PIPELINE_ERR_INVALID:
        return e->reserved != 0 ? REFUSED_UNREAD : REFUSED_INVALID;
    default:
        return REFUSED_UNREAD;
    }
}

/* Checks the status of an offer, and counts it. */
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

#endif
