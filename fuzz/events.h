/* The events of fuzz/structs.c, offered to a pipeline that runs throughout: one by one, by reservation, and in batches. */
#ifndef CAPTURE_PIPELINE_FUZZ_EVENTS_H
#define CAPTURE_PIPELINE_FUZZ_EVENTS_H

#include "bytes.h"

/* ---- the storage ---- */

typedef struct {
    atomic_uint destroyed;
    atomic_uint_fast64_t stored, released;
} kept_t;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    ((kept_t *)user_data)->stored += batch->count;
    return PIPELINE_STORE_OK;
}

static int32_t open_writer(void *user_data, uint32_t writer_id, void **writer_data)
{
    (void)user_data;
    (void)writer_id;
    *writer_data = NULL;
    return 0;
}

static void close_writer(void *user_data, uint32_t writer_id, void *writer_data)
{
    (void)user_data;
    (void)writer_id;
    (void)writer_data;
}

static int32_t flush(void *user_data, int64_t timeout_ms)
{
    (void)user_data;
    (void)timeout_ms;
    return 0;
}

static int32_t finish(void *user_data, int64_t timeout_ms)
{
    return flush(user_data, timeout_ms);
}

static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)batch;
    (void)reason;
    return 0;
}

static void release(void *user_data, const pipeline_event_view_t *event)
{
    (void)event;
    ((kept_t *)user_data)->released++;
}

static void destroy(void *user_data)
{
    ((kept_t *)user_data)->destroyed++;
}

/* ---- the pipeline that runs throughout ---- */

static kept_t staying;
static pipeline_t *p;
static pipeline_producer_t *producer;
#define STAYING_MAX 4096

static void begin(void)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    MUST(pipeline_storage_init(&s, sizeof s) == PIPELINE_OK);
    s.user_data = &staying;
    s.store = store;
    s.destroy = destroy;
    c.max_event_bytes = STAYING_MAX;
    c.ring_bytes = 65536;
    MUST(pipeline_start(&c, &s, &p) == PIPELINE_OK);
    MUST(pipeline_producer_open(p, &producer) == PIPELINE_OK);
}

/* ---- events ---- */

static unsigned char payload[STAYING_MAX];

static void fuzz_event(void)
{
    pipeline_event_t e;
    uint32_t claimed;
    unsigned choice = (unsigned)number(1);
    uint64_t len = choice & 8 ? number(8) : number(2) % (STAYING_MAX + 64);
    pipeline_event_t *block;
    int32_t status, expected;
    void *room = NULL;
    memset(&e, 0, sizeof e);
    e.struct_size = sizeof e;
    block = (pipeline_event_t *)block_of(&e, sizeof e, &claimed);
    if (claimed >= sizeof e && claimed <= 4096) {
        block->len = (size_t)len;
        block->data = choice & 16 ? NULL : payload;
    }
    switch (choice & 3) {
    case 0:
        status = pipeline_capture_event(p, block);
        break;
    case 1:
        status = pipeline_producer_capture_event(producer, block);
        break;
    case 2:
        status = pipeline_producer_reserve(producer, block, (size_t)len, &room);
        if (status == PIPELINE_OK) {
            uint64_t used = number(3);
            MUST(room != NULL);
            memset(room, 1, (size_t)len);
            status = explained(pipeline_producer_commit(producer, (size_t)used));
            MUST(status == (used <= len ? PIPELINE_OK : PIPELINE_ERR_INVALID));
            if (status != PIPELINE_OK)
                MUST(pipeline_producer_abort(producer) == PIPELINE_OK);
            status = PIPELINE_OK;
        }
        break;
    default: {
        uint32_t kind = (uint32_t)number(4);
        status = pipeline_capture(p, kind, choice & 16 ? NULL : payload, (size_t)len);
        MUST(known(status) == (kind >= PIPELINE_KIND_RESERVED    ? PIPELINE_ERR_INVALID
                               : len > STAYING_MAX               ? PIPELINE_ERR_TOO_LARGE
                               : (choice & 16) != 0 && len != 0  ? PIPELINE_ERR_INVALID
                               : status == PIPELINE_ERR_FULL     ? PIPELINE_ERR_FULL
                                                                 : PIPELINE_OK));
        free(block);
        return;
    }
    }
    known(status);
    /* A reservation does not look at the data. */
    if (readable(block, sizeof e, claimed) && (choice & 3) == 2)
        block->data = payload;
    expected = expected_status(block, claimed, STAYING_MAX);
    MUST(status == expected || (expected == PIPELINE_OK && status == PIPELINE_ERR_FULL));
    free(block);
}

/* Up to 64 events in one call, some of their bytes overwritten by the input's: how many are captured, which status ends it,
 * and what is counted. */
static void fuzz_many(void)
{
    size_t count = (size_t)number(1) % 65, captured = 12345, i, first;
    unsigned choice = (unsigned)number(1), patches = choice >> 5;
    uint32_t stride = sizeof(pipeline_event_t);
    pipeline_metrics_t before = metrics_of(p), after;
    int32_t status, want = PIPELINE_OK;
    unsigned char *block;
    if ((choice & 3) == 0)
        stride += (uint32_t)number(1);
    else if ((choice & 31) == 1)
        stride = (uint32_t)number(4);
    if (stride < sizeof(pipeline_event_t) || stride > 4096) { /* nothing but the size may be read */
        block = (unsigned char *)malloc(sizeof stride);
        MUST(block != NULL);
        memcpy(block, &stride, sizeof stride);
        first = 0;
        if (count > 0)
            want = PIPELINE_ERR_VERSION;
    } else {
        block = (unsigned char *)calloc(count > 0 ? count : 1, stride);
        MUST(block != NULL);
        for (i = 0; i < count; i++) {
            pipeline_event_t e = event_of((uint32_t)i, payload, i * 5);
            e.struct_size = stride;
            memcpy(block + i * stride, &e, sizeof e);
        }
        while (patches-- > 0 && count > 0 && at != end) {
            size_t where = (size_t)number(2) * 4 % (count * stride), width = 1 + (size_t)number(1) % 8;
            uint64_t value = number(width);
            memcpy(block + where, &value, width < count * stride - where ? width : count * stride - where);
        }
        memcpy(block, &stride, sizeof stride); /* the first event sets the size of all */
        for (first = 0; first < count && want == PIPELINE_OK; first += want == PIPELINE_OK) {
            pipeline_event_t *e = (pipeline_event_t *)(void *)(block + first * stride);
            const void *data = payload;
            memcpy(&data, (unsigned char *)e + offsetof(pipeline_event_t, data), sizeof data);
            if (data != NULL)
                data = payload;
            memcpy((unsigned char *)e + offsetof(pipeline_event_t, data), &data, sizeof data);
            want = expected_in_batch(e, stride, STAYING_MAX);
        }
    }
    status = choice & 4 ? pipeline_producer_capture_many(producer, (pipeline_event_t *)(void *)block, count, &captured)
                        : pipeline_capture_many(p, (pipeline_event_t *)(void *)block, count, &captured);
    known(status);
    if (status == PIPELINE_ERR_FULL)
        MUST(captured < count && captured <= first);
    else
        MUST(status == want && captured == first);
    after = metrics_of(p);
    MUST(after.captured - before.captured == captured);
    MUST(after.offered - before.offered == captured + (status != PIPELINE_OK));
    free(block);
}

#endif
