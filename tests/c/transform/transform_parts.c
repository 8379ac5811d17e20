/* New payloads of a batch have batch_bytes in all: where they would have more, the batch goes to the storage in parts, one after the other. */
#include "transform.h"

enum { EVENTS = 200, LARGE = 1000, BATCH_BYTES = 4096, EVENT_BYTES = 1024 };

/* Every event becomes LARGE bytes that tell its number; the program's memory is used again for the next one. */
static int32_t enlarge(transforming_t *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    static _Thread_local unsigned char large[LARGE];
    (void)t;
    (void)e;
    CHECK_U64(out->scratch_len, EVENT_BYTES);
    memset(large, (int)(number % 251), sizeof large);
    memcpy(large, &number, sizeof number);
    if (number % 2 == 0) {
        out->data = large;
    } else {
        /* Not at the begin of the library's memory. */
        memcpy((char *)out->scratch + 24, large, sizeof large);
        out->data = (char *)out->scratch + 24;
    }
    out->len = sizeof large;
    return PIPELINE_TRANSFORM_REWRITE;
}

typedef struct {
    uint64_t parts, last, most;
} parts_t;

static void check_payloads(const pipeline_batch_t *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        const unsigned char *data = e->data;
        size_t wrong = e->len == LARGE ? 0 : 1;
        for (size_t at = 8; wrong == 0 && at < LARGE; at++)
            wrong += data[at] != number_of(e) % 251;
        CHECK_U64(wrong, 0);
        CHECK_U64((uintptr_t)data % 8, 0);
    }
}

/* A part is tried again, stored in two steps, rejected in parts, and given up. */
static int32_t store_parts(recorder_t *r, const pipeline_batch_t *batch)
{
    parts_t *parts = r->extra;
    check_payloads(batch);
    if (batch->attempt == 1) {
        parts->parts++;
        if (batch->batch_id > parts->last)
            parts->last = batch->batch_id;
        if (batch->count > parts->most)
            parts->most = batch->count;
    }
    if (batch->attempt > 1)
        return PIPELINE_STORE_OK;
    switch (parts->parts % 4) {
    case 0:
        return PIPELINE_STORE_RETRY;
    case 1:
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count / 2), PIPELINE_OK);
        return PIPELINE_STORE_RETRY;
    case 2:
        CHECK_STATUS(pipeline_batch_set_rejected(batch, 0), PIPELINE_OK);
        return PIPELINE_STORE_OK;
    default:
        return PIPELINE_STORE_OK;
    }
}

static int32_t check_dead(recorder_t *r, const pipeline_batch_t *batch, int32_t reason)
{
    (void)r;
    (void)reason;
    check_payloads(batch);
    return 0;
}

static void in_parts(void)
{
    static recorder_t r = RECORDER_INIT;
    parts_t parts = { 0 };
    transforming_t t = { .decide = enlarge };
    pipeline_storage_t s = recorder_storage(&r);
    pipeline_config_t c = config_defaults();
    r.extra = &parts;
    r.answer = store_parts;
    r.dead_answer = check_dead;
    s.dead_letter = recorder_dead_letter;
    s.release = recorder_release;
    c.batch_bytes = BATCH_BYTES;
    c.max_event_bytes = EVENT_BYTES;
    c.batch_size = 100;
    c.retry_initial_us = 10;
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    capture_together(p, 0, EVENTS);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    pipeline_metrics_t m = metrics_of(p);
    CHECK_LEDGER(p);
    /* 3 payloads and a fourth that fits at its most: 3 * 1000 + 1024 <= 4096. */
    CHECK_U64(parts.most, 4);
    CHECK_U64(parts.parts, EVENTS / 4);
    CHECK_U64(parts.last, EVENTS / 100);
    CHECK_U64(m.batches, EVENTS / 100);
    CHECK_U64(m.stored + m.dead_lettered, EVENTS);
    CHECK(m.dead_lettered > 0);
    CHECK_U64(m.transformed, EVENTS);
    CHECK_U64(t.calls, EVENTS);
    /* Payload bytes stored are those that were stored. */
    CHECK_U64(m.bytes_stored, m.stored * LARGE);
    END(p);
    CHECK_U64(r.released.count, EVENTS);
    CHECK_DISTINCT(&r.released);
    for (size_t i = 0; i < r.released.count; i++)
        CHECK_U64(r.released.at[i].len, 8);
}

/* Of a batch whose first part is in a call, the rest is not settled: it is in flight, and left if the pipeline ends. */
static void left(void)
{
    static recorder_t r = RECORDER_INIT;
    transforming_t t = { .decide = enlarge };
    pipeline_storage_t s = recorder_storage(&r);
    pipeline_config_t c = config_defaults();
    s.release = recorder_release;
    c.batch_bytes = BATCH_BYTES;
    c.max_event_bytes = EVENT_BYTES;
    recorder_hold(&r);
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    capture_together(p, 0, 50);
    WAIT_FOR(RECORDED(&r, waiting) == 1);
    pipeline_metrics_t m = metrics_of(p);
    CHECK_U64(m.in_flight + m.buffered, 50);
    CHECK(m.in_flight > 4);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_close(p, 0), PIPELINE_ERR_TIMEOUT);
    recorder_let_go(&r);
    WAIT_FOR(metrics_of(p).stored > 0);
    m = metrics_of(p);
    CHECK_U64(m.stored, 4);
    CHECK_U64(m.left, 46);
    CHECK_LEDGER(p);
    CHECK_U64(t.destroyed, 0);
    DESTROY_SOON(p);
    CHECK_U64(t.destroyed, 1);
    CHECK_U64(r.released.count, 50);
    CHECK_DISTINCT(&r.released);
}

/* A part of the event's own payload, and a payload of the largest size in a batch_bytes of one byte. */
static int32_t cut_off(transforming_t *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    (void)t;
    if (number % 2 == 0) {
        out->data = (const char *)e->data + 4;
        out->len = e->len - 4;
    } else {
        memset(out->scratch, 7, out->scratch_len);
        out->data = out->scratch;
        out->len = out->scratch_len;
    }
    return PIPELINE_TRANSFORM_REWRITE;
}

static int32_t check_cut(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    CHECK_U64(batch->count, 1);
    const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, 0);
    if (e->sequence % 2 == 0)
        CHECK(e->len == 4 && memcmp(e->data, "\0\0\0", 4) == 0);
    else
        CHECK(e->len == EVENT_BYTES && ((const char *)e->data)[EVENT_BYTES - 1] == 7);
    return PIPELINE_STORE_OK;
}

static void one_by_one(void)
{
    static recorder_t r = RECORDER_INIT;
    transforming_t t = { .decide = cut_off };
    pipeline_storage_t s = recorder_storage(&r);
    pipeline_config_t c = config_defaults();
    r.answer = check_cut;
    c.batch_bytes = 1;
    c.max_event_bytes = EVENT_BYTES;
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    capture_together(p, 0, 20);
    END(p);
    CHECK_U64(r.store_calls, 20);
}

int main(void)
{
    in_parts();
    left();
    one_by_one();
    return SUMMARY();
}
