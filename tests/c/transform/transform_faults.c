/* Transforms that return nonsense, sleep, capture, wait and end their thread: each is counted and named, no event is lost. */
#include "transform.h"

enum { EVENTS = 350 };

/* Nonsense of each kind, in turn. */
static int32_t nonsense(transforming_t *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    (void)e;
    const int kind = t->extra != NULL ? *(int *)t->extra : (int)(number % 7);
    switch (kind) {
    case 0:
        return 7;
    case 1:
        return -1;
    case 2:
        out->kind = PIPELINE_KIND_RESERVED;
        return PIPELINE_TRANSFORM_REWRITE;
    case 3:
        out->len = 65537;
        return PIPELINE_TRANSFORM_REWRITE;
    case 4:
        out->data = NULL;
        return PIPELINE_TRANSFORM_REWRITE;
    case 5:
        out->flags |= PIPELINE_EVENT_TAG_1 | PIPELINE_EVENT_PRIORITY | PIPELINE_EVENT_PARTIAL;
        return PIPELINE_TRANSFORM_REWRITE;
    default:
        return PIPELINE_TRANSFORM_KEEP;
    }
}

static void bad_answers(void)
{
    static const char *const words[] = {
        "the transform returned 7 (allowed: 0 to 2)", "the transform returned -1 (allowed: 0 to 2)",
        "the transform set kind 0xffff0000 (allowed: below 0xffff0000)",
        "the transform set a payload of 65537 bytes (max_event_bytes is 65536)", "the transform set a payload of 8 bytes at NULL",
        "the transform changed the flags 0x101 (allowed: 0xff0008)"
    };
    static recorder_t r = RECORDER_INIT;
    int kind = 0;
    transforming_t t = { .decide = nonsense };
    pipeline_storage_t s = recorder_storage(&r);
    pipeline_t *p = start_pipeline(NULL, &s);
    set_transform(p, &t);
    capture_numbers(p, 0, EVENTS);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    pipeline_metrics_t m = metrics_of(p);
    CHECK_U64(m.transform_faults, EVENTS - EVENTS / 7);
    CHECK_U64(m.stored, EVENTS);
    CHECK_U64(m.transformed + m.filtered + m.bad_results + m.writer_restarts, 0);
    CHECK_VALUES(&r.stored, 0, EVENTS);
    for (size_t i = 0; i < r.stored.count; i++)
        CHECK(r.stored.at[i].flags == 0 && r.stored.at[i].kind == 1);
    t.extra = &kind;
    for (kind = 0; kind < 6; kind++) {
        CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        pipeline_health_t h = health_of(p);
        CHECK_U64(h.status, PIPELINE_DEGRADED);
        CHECK_U64(h.reasons & PIPELINE_HEALTH_TRANSFORM, PIPELINE_HEALTH_TRANSFORM);
        CHECK_U64(h.reasons & PIPELINE_HEALTH_FAULT, 0);
        CHECK_HAS(h.message, words[kind]);
        CHECK_HAS(h.message, "with batch");
    }
    /* A batch that is transformed as it should be, or another transform, ends it. */
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_TRANSFORM, 0);
    kind = 0;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_TRANSFORM, PIPELINE_HEALTH_TRANSFORM);
    CHECK_STATUS(pipeline_transform(p, NULL), PIPELINE_OK);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_TRANSFORM, 0);
    CHECK_LEDGER(p);
    END(p);
}

/* It ends its thread in every tenth event: that one stays as it was, the others are shown once each. */
static int32_t end_thread(transforming_t *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    (void)t;
    (void)e;
    if (number % 10 == 9)
        pthread_exit(NULL);
    return by_number(number, out);
}

static void ended_threads(uint32_t flags)
{
    recorder_t *r = recorder_new();
    transforming_t t = { .decide = end_thread };
    pipeline_storage_t s = recorder_storage(r);
    pipeline_config_t c = config_defaults();
    s.flags |= flags;
    s.release = recorder_release;
    c.writers = 2;
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    capture_together(p, 0, 60);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    pipeline_metrics_t m = metrics_of(p);
    CHECK_LEDGER(p);
    CHECK_U64(t.calls, 60);
    CHECK_U64(m.transform_faults, 6);
    CHECK_U64(m.writer_restarts, 6);
    /* Of the 20 that are multiples of 3, 9 and 39 end the thread. */
    CHECK_U64(m.filtered, 20 - 2);
    CHECK_U64(m.transformed, 8);
    CHECK_U64(m.stored, 60 - m.filtered);
    CHECK_HAS(health_of(p).message, "the transform ended the thread of writer");
    CHECK_STATUS(pipeline_transform(p, NULL), PIPELINE_OK);
    WAIT_FOR(t.destroyed == 1);
    END(p);
    CHECK_U64(t.destroyed, 1);
    CHECK_VALUES(&r->released, 0, 60);
    recorder_free(r);
}

/* A call past the deadline: the batch is in doubt, health names it, another writer stores the events behind, and the late end counts once. */
static atomic_int let_go;
static int32_t sleep_on_first(transforming_t *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    (void)t;
    (void)e;
    if (number == 1)
        while (!let_go)
            pause_a_little();
    return by_number(number, out);
}

static void stuck(bool concurrent)
{
    recorder_t *r = recorder_new();
    transforming_t t = { .decide = sleep_on_first };
    pipeline_storage_t s = recorder_storage(r);
    pipeline_config_t c = config_defaults();
    let_go = 0;
    s.flags |= concurrent ? PIPELINE_STORAGE_CONCURRENT : 0;
    c.storage_deadline_ms = 20;
    c.writers = 1;
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    capture_together(p, 1, 11);
    WAIT_FOR(metrics_of(p).in_doubt > 0);
    CHECK_HAS(health_of(p).message, "stuck in the transform with batch 1");
    CHECK_U64(health_of(p).stuck_batch, 1);
    CHECK_U64(metrics_of(p).in_doubt, 10);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_ERR_BUSY) ;
    let_go = 1;
    DESTROY_SOON(p);
    CHECK_U64(t.destroyed, 1);

    let_go = 0;
    transforming_t again = { .decide = sleep_on_first };
    p = start_pipeline(&c, &s);
    set_transform(p, &again);
    capture_together(p, 1, 11);
    WAIT_FOR(metrics_of(p).in_doubt > 0);
    /* It is replaced, but destroyed only when its call has returned. */
    CHECK_STATUS(pipeline_transform(p, NULL), PIPELINE_OK);
    CHECK_U64(again.destroyed, 0);
    if (concurrent) {
        capture_numbers(p, 11, 20);
        WAIT_FOR(metrics_of(p).stored == 9);
        CHECK_U64(metrics_of(p).in_doubt, 10);
    }
    let_go = 1;
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(again.destroyed == 1);
    pipeline_metrics_t m = metrics_of(p);
    CHECK_U64(m.filtered, 3);
    CHECK_U64(m.stored, concurrent ? 16 : 7);
    CHECK_LEDGER(p);
    END(p);
    CHECK_U64(again.destroyed, 1);
    recorder_free(r);
}

/* Calls into the library: those that would wait for the transform say so, a capture never blocks, it may replace itself. */
static _Atomic(pipeline_t *) inside;
static atomic_int captured, full;
static transforming_t next = { 0 };
static int32_t call_inside(transforming_t *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    pipeline_t *p = inside;
    (void)e;
    (void)out;
    CHECK_STATUS(pipeline_flush(p, -1), PIPELINE_ERR_WOULD_DEADLOCK);
    CHECK_STATUS(pipeline_close(p, -1), PIPELINE_ERR_WOULD_DEADLOCK);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_ERR_WOULD_DEADLOCK);
    metrics_of(p);
    health_of(p);
    CHECK_STATUS(pipeline_kind_name(p, 3, "three"), PIPELINE_OK);
    /* Until its ring buffer is full, which a blocking pipeline would wait for. */
    while (number == 0) {
        const int32_t status = capture_number(p, 1);
        captured += status == PIPELINE_OK;
        if (status == PIPELINE_OK)
            continue;
        CHECK_STATUS(status, PIPELINE_ERR_FULL);
        full++;
        set_transform(p, &next);
        CHECK_U64(t->destroyed, 0);
        break;
    }
    return PIPELINE_TRANSFORM_KEEP;
}

static void calls_inside(void)
{
    static recorder_t r = RECORDER_INIT;
    transforming_t t = { .decide = call_inside };
    pipeline_storage_t s = recorder_storage(&r);
    pipeline_config_t c = config_defaults();
    c.ring_bytes = 4096;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 86400000000;
    pipeline_t *p = start_pipeline(&c, &s);
    inside = p;
    set_transform(p, &t);
    CHECK_STATUS(capture_number(p, 0), PIPELINE_OK);
    WAIT_FOR(full == 1);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(t.destroyed == 1);
    CHECK(captured > 10);
    CHECK_U64(t.calls, 1);
    CHECK_U64(next.calls, captured);
    CHECK_U64(metrics_of(p).stored, 1 + captured);
    CHECK_U64(metrics_of(p).dropped_full, 1);
    CHECK_LEDGER(p);
    END(p);
    CHECK_U64(next.destroyed, 1);
}

int main(void)
{
    bad_answers();
    ended_threads(0);
    ended_threads(PIPELINE_STORAGE_CONCURRENT);
    stuck(false);
    stuck(true);
    calls_inside();
    return SUMMARY();
}
