/* Batches of offers for random_calls.c: 0 to 64 events in one call, valid and invalid ones, of one size or of several. Also twins: two
 * pipelines that are offered the same events, one by one and in batches, and must end in the same state. */
#ifndef CAPTURE_PIPELINE_RANDOM_MANY_H
#define CAPTURE_PIPELINE_RANDOM_MANY_H

#include "offers.h"

#define MANY 64

typedef struct {
    size_t count;
    uint32_t stride;
    unsigned char *block; /* count * stride bytes, none more */
    unsigned char *payloads[MANY];
    uint64_t keys[MANY];
    unsigned allowed[MANY];
} batch_t;

static pipeline_event_t *event_at(const batch_t *b, size_t i)
{
    return (pipeline_event_t *)(void *)(b->block + i * b->stride);
}

static uint32_t size_at(const batch_t *b, size_t i)
{
    uint32_t size;
    memcpy(&size, event_at(b, i), sizeof size);
    return size;
}

/* The next event of a batch. The first one has the size of the batch, because it sets the size. The library must not read a later event
 * that claims another size. */
static void add_event(worker_t *me, batch_t *b, bool good)
{
    size_t i = b->count++;
    pipeline_event_t *e;
    bool usual;
    b->keys[i] = next_key(me);
    for (;;) {
        b->allowed[i] = random_event(me, b->keys[i], &b->payloads[i], &e);
        usual = e->struct_size == sizeof *e;
        if (usual ? !good || b->allowed[i] == CAPTURED : !good && i > 0)
            break;
        free(b->payloads[i]);
        free(e);
    }
    if (usual) {
        memcpy(event_at(b, i), e, sizeof *e);
        memcpy(event_at(b, i), &b->stride, sizeof b->stride);
        if (!good && b->stride > sizeof *e && below(&me->rng, 16) == 0)
            b->block[(i + 1) * b->stride - 1] = 1;
    } else {
        uint32_t room = e->struct_size < sizeof *e || e->struct_size > 4096 ? 4 : e->struct_size;
        memcpy(event_at(b, i), e, room < b->stride ? room : b->stride);
    }
    b->allowed[i] = answers_of(event_at(b, i), expected_in_batch(event_at(b, i), b->stride, world.max_event_bytes));
    free(e);
}

static batch_t random_batch(worker_t *me)
{
    batch_t b = {0, sizeof(pipeline_event_t), NULL, {NULL}, {0}, {0}};
    size_t count = below(&me->rng, 4) ? below(&me->rng, MANY + 1) : below(&me->rng, 3);
    bool good = below(&me->rng, 3) != 0; /* or all would end soon */
    if (below(&me->rng, 4) == 0)
        b.stride += 1 + below(&me->rng, 40);
    b.block = (unsigned char *)calloc(count > 0 ? count : 1, b.stride);
    CHECK_OR_STOP(b.block != NULL);
    while (b.count < count)
        add_event(me, &b, good);
    return b;
}

static void free_batch(batch_t *b)
{
    while (b->count > 0)
        free(b->payloads[--b->count]);
    free(b->block);
}

/* A batch that cannot be read: NULL, or events of an invalid size (of which only the four bytes of the size exist). */
static void offer_nothing(worker_t *me, pipeline_producer_t *r)
{
    uint32_t size = wrong_size(&me->rng, sizeof(pipeline_event_t));
    bool null = below(&me->rng, 2);
    unsigned char *block = (unsigned char *)malloc(sizeof size);
    pipeline_event_t *events = null ? NULL : (pipeline_event_t *)(void *)block;
    size_t captured = 12345, count = 1 + below(&me->rng, MANY);
    CHECK_OR_STOP(block != NULL);
    memcpy(block, &size, sizeof size);
    offered(0,
            r ? pipeline_producer_capture_many(r, events, count, &captured)
              : pipeline_capture_many(world.p, events, count, &captured),
            null ? REFUSED_NULL : REFUSED_UNREAD);
    CHECK_U64(captured, 0);
    free(block);
}

/* The captured events are those before the first that must be refused. That one is counted, and none behind it. */
static void capture_a_batch(worker_t *me, pipeline_producer_t *r, bool reserved)
{
    size_t captured = 12345, i;
    int32_t status;
    bool told;
    batch_t b;
    if (me->number > EVENTS / 2)
        return;
    if (below(&me->rng, 16) == 0)
        offer_nothing(me, r);
    b = random_batch(me);
    told = b.count > 1 || below(&me->rng, 2); /* of a single one, the status says it */
    status = r ? pipeline_producer_capture_many(r, event_at(&b, 0), b.count, told ? &captured : NULL)
               : pipeline_capture_many(world.p, event_at(&b, 0), b.count, told ? &captured : NULL);
    if (!told)
        captured = status == PIPELINE_OK ? b.count : 0;
    CHECK_OR_STOP(captured <= b.count);
    CHECK((status == PIPELINE_OK) == (captured == b.count));
    for (i = 0; i < captured; i++)
        offered(b.keys[i], PIPELINE_OK, b.allowed[i]);
    if (captured < b.count)
        offered(b.keys[captured], status,
                reserved && b.allowed[captured] == CAPTURED ? REFUSED_BUSY : b.allowed[captured]);
    free_batch(&b);
}

/* Through the thread's ring or a producer, which may have a reservation open. */
static void capture_many_somewhere(worker_t *me)
{
    unsigned at = below(&me->rng, 4);
    pipeline_producer_t *r = at < 3 ? me->producer[at].handle : NULL;
    capture_a_batch(me, r, r != NULL && me->producer[at].reserved != 0);
}

/* ---- twins ---- */

typedef struct {
    pipeline_t *p;
    pipeline_producer_t *r;
    uint64_t hash; /* of all that was stored, in its order */
} twin_t;

static void fold(uint64_t *hash, uint64_t value)
{
    *hash = (*hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    *hash ^= *hash >> 29;
}

static int32_t twin_store(void *user_data, const pipeline_batch_t *batch)
{
    twin_t *twin = (twin_t *)user_data;
    size_t i, j;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        fold(&twin->hash, e->sequence);
        fold(&twin->hash, e->correlation_id);
        fold(&twin->hash, e->node_id);
        fold(&twin->hash, (uint64_t)e->kind << 32 | e->flags);
        fold(&twin->hash, e->flags & PIPELINE_EVENT_OWN_TIME ? e->timestamp_ns : 0);
        fold(&twin->hash, e->len);
        for (j = 0; j < e->len; j++)
            fold(&twin->hash, ((const unsigned char *)e->data)[j]);
    }
    return PIPELINE_STORE_OK;
}

static void begin_twin(twin_t *twin, const pipeline_config_t *c, bool handle)
{
    pipeline_storage_t s;
    memset(twin, 0, sizeof *twin);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.user_data = twin;
    s.store = twin_store;
    CHECK_STATUS(pipeline_start(c, &s, &twin->p), PIPELINE_OK);
    CHECK_OR_STOP(twin->p != NULL);
    CHECK_STATUS(pipeline_pause(twin->p), PIPELINE_OK);
    if (handle)
        CHECK_STATUS(pipeline_producer_open(twin->p, &twin->r), PIPELINE_OK);
}

static void empty_twin(twin_t *twin)
{
    CHECK_STATUS(pipeline_resume(twin->p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(twin->p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_pause(twin->p), PIPELINE_OK);
}

static int32_t one_by_one(const twin_t *twin, const batch_t *b, size_t *captured)
{
    int32_t status = PIPELINE_OK;
    *captured = 0;
    while (*captured < b->count && status == PIPELINE_OK) {
        const pipeline_event_t *e = size_at(b, *captured) == b->stride ? event_at(b, *captured) : NULL;
        status = twin->r ? pipeline_producer_capture_event(twin->r, e) : pipeline_capture_event(twin->p, e);
        *captured += status == PIPELINE_OK;
        if (e == NULL && CHECK_STATUS(status, PIPELINE_ERR_NULL))
            status = PIPELINE_ERR_VERSION; /* counted alike */
    }
    return status;
}

static void compare_twins(const twin_t *one, const twin_t *many)
{
    pipeline_metrics_t a = metrics_of(one->p), b = metrics_of(many->p);
    CHECK_U64(b.offered, a.offered);
    CHECK_U64(b.captured, a.captured);
    CHECK_U64(b.bytes_captured, a.bytes_captured);
    CHECK_U64(b.dropped_full, a.dropped_full);
    CHECK_U64(b.overwritten, a.overwritten);
    CHECK_U64(b.refused_invalid, a.refused_invalid);
    CHECK_U64(b.refused_too_large, a.refused_too_large);
    CHECK_U64(b.refused_busy + b.refused_no_ring + b.refused_closed, 0);
    CHECK_U64(b.buffered, a.buffered);
    CHECK_U64(b.backlog_bytes, a.backlog_bytes);
    CHECK_U64(b.stored, a.stored);
    CHECK_LEDGER(many->p);
}

/* Small rings that are not drained while events come, so that most are full soon, under each policy. */
static void capture_alike(worker_t *as)
{
    pipeline_config_t c = config_defaults();
    worker_t me = *as;
    twin_t one, many;
    unsigned calls = 1 + below(&me.rng, 12);
    bool handle = below(&me.rng, 2);
    c.writers = 1;
    c.ring_bytes = UINT64_C(4096) << below(&me.rng, 3);
    c.max_rings = 2;
    c.overflow = below(&me.rng, 3);
    c.ordering = PIPELINE_ORDERING_PER_PRODUCER;
    c.block_timeout_us = below(&me.rng, 200);
    begin_twin(&one, &c, handle);
    begin_twin(&many, &c, handle);
    me.number = 0;
    while (calls-- > 0) {
        size_t singly, together = 12345;
        int32_t status;
        batch_t b = random_batch(&me);
        status = one_by_one(&one, &b, &singly);
        CHECK_STATUS(many.r ? pipeline_producer_capture_many(many.r, event_at(&b, 0), b.count, &together)
                            : pipeline_capture_many(many.p, event_at(&b, 0), b.count, &together),
                     status);
        CHECK_U64(together, singly);
        compare_twins(&one, &many);
        free_batch(&b);
        if (below(&me.rng, 4) == 0) {
            empty_twin(&one);
            empty_twin(&many);
        }
    }
    if (handle) {
        CHECK_STATUS(pipeline_producer_close(one.r), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_close(many.r), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_close(one.p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(many.p, PATIENCE_MS), PIPELINE_OK);
    compare_twins(&one, &many);
    CHECK_U64(many.hash, one.hash);
    CHECK_STATUS(pipeline_destroy(one.p), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(many.p), PIPELINE_OK);
    as->rng = me.rng;
}

#endif
