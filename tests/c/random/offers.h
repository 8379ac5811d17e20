/* The offers of random_calls.c: valid and invalid events, captured by a thread, through a producer handle, or written in place. */
#ifndef CAPTURE_PIPELINE_RANDOM_OFFERS_H
#define CAPTURE_PIPELINE_RANDOM_OFFERS_H

#include "model.h"
#include "structs.h"

#include <capture_pipeline_fast.h>

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

/* A payload in a heap block of exactly its length. */
static unsigned char *payload_of(uint64_t key, size_t from, size_t len)
{
    unsigned char *payload = (unsigned char *)malloc(len > 0 ? len : 1);
    CHECK_OR_STOP(payload != NULL);
    memcpy(payload, &key, from);
    fill_payload(payload, key, from, len);
    return payload;
}

/* A valid or invalid event in a heap block of exactly the size that its struct_size claims, or of four bytes if that size is invalid.
 * Returns the statuses that its offer may have. */
static unsigned random_event(worker_t *me, uint64_t key, unsigned char **payload, pipeline_event_t **out)
{
    pipeline_event_t e;
    uint32_t size = sizeof e, room = sizeof e;
    bool surplus = false;
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
    if (below(&me->rng, 4) == 0)
        e.flags |= PIPELINE_EVENT_RELEASE;
    switch (below(&me->rng, 24)) {
    case 0:
        size = wrong_size(&me->rng, sizeof e);
        room = size < sizeof e || size > 4096 ? 4 : size;
        break;
    case 1: /* longer, and zero past what is known: as good */
        size = room = (uint32_t)sizeof e + 1 + below(&me->rng, 200);
        break;
    case 2: /* longer, and not zero */
        size = room = (uint32_t)sizeof e + 1 + below(&me->rng, 200);
        surplus = true;
        break;
    case 3:
        e.kind = PIPELINE_KIND_RESERVED + below(&me->rng, 65536);
        break;
    case 4:
        e.flags |= UINT32_C(16) << below(&me->rng, 28);
        break;
    case 5:
        e.reserved = 1 + below(&me->rng, 1000);
        break;
    case 6:
        e.data = big;
        e.len = below(&me->rng, 2) ? world.max_event_bytes + 1 + below(&me->rng, 100) : SIZE_MAX - below(&me->rng, 100);
        break;
    case 7:
        e.data = NULL;
        e.len = 1 + below(&me->rng, 100);
        break;
    default:
        break;
    }
    e.struct_size = size;
    *out = (pipeline_event_t *)calloc(1, room);
    CHECK_OR_STOP(*out != NULL);
    memcpy(*out, &e, room < sizeof e ? room : sizeof e);
    if (surplus)
        ((unsigned char *)*out)[sizeof e + below(&me->rng, (uint32_t)(room - sizeof e))] = 1;
    return answers_of(*out, expected_status(*out, size, world.max_event_bytes));
}

/* Every other capture through a handle is inlined; with NULL it is a call. */
static pipeline_fast_t *maybe_fast(worker_t *me, pipeline_producer_t *r)
{
    return below(&me->rng, 2) ? pipeline_fast_of(r) : NULL;
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
        status = r ? pipeline_fast_capture_event(r, maybe_fast(me, r), e) : pipeline_capture_event(world.p, e);
        free(e);
    } else {
        size_t len = 8 + below(&me->rng, 200);
        uint32_t kind = kind_of(key);
        payload = payload_of(key, 8, len);
        if (below(&me->rng, 30) == 0) {
            kind = PIPELINE_KIND_RESERVED;
            allowed = REFUSED_INVALID;
        }
        status = r ? pipeline_fast_capture(r, maybe_fast(me, r), kind, payload, len) : pipeline_capture(world.p, kind, payload, len);
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
        if (below(&me->rng, 4) == 0)
            e.flags = PIPELINE_EVENT_PRIORITY;
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

#endif
