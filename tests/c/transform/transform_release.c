/* PIPELINE_STORAGE_RELEASE_UNSTORED with a transform: the storage releases the events that it has stored as they were captured. The library
 * releases the rest, and the originals of those that were rewritten. */
#include "transform.h"

enum { EVENTS = 3000 };

static atomic_int released[EVENTS];

static int32_t take_over(const pipeline_batch_t *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        /* A rewritten payload is no handle; with a changed id alone it still is, but the library releases it. */
        if ((e->flags & PIPELINE_EVENT_TRANSFORMED) == 0) {
            CHECK_U64(e->flags & PIPELINE_EVENT_RELEASE, PIPELINE_EVENT_RELEASE);
            released[number_of(e)]++;
        } else {
            CHECK_U64(e->flags & PIPELINE_EVENT_RELEASE, e->len == 8 ? PIPELINE_EVENT_RELEASE : 0);
        }
    }
    return PIPELINE_STORE_OK;
}

static void release(void *user_data, const pipeline_event_view_t *e)
{
    (void)user_data;
    CHECK_U64(e->flags, PIPELINE_EVENT_RELEASE);
    released[number_of(e)]++;
}

static int32_t change(transforming_t *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    (void)t;
    (void)e;
    switch (number % 10) {
    case 0:
        return PIPELINE_TRANSFORM_FILTER;
    case 3:
        memset(out->scratch, 1, 40);
        out->data = out->scratch;
        out->len = 40;
        return PIPELINE_TRANSFORM_REWRITE;
    case 7:
        out->node_id = 5;
        return PIPELINE_TRANSFORM_REWRITE;
    default:
        return PIPELINE_TRANSFORM_KEEP;
    }
}

/* A batch is stored whole at its first or second answer, in two parts, rejected in part, or given up. `whole`: always at its first. */
static bool whole;
static bool in_parts[EVENTS + 1];
static int32_t answer_variously(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (whole)
        return take_over(batch);
    switch (batch->batch_id % 5) {
    case 0:
        if (batch->attempt > 1)
            return in_parts[batch->batch_id] ? PIPELINE_STORE_OK : take_over(batch);
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count / 2), PIPELINE_OK);
        in_parts[batch->batch_id] = batch->count > 1;
        return PIPELINE_STORE_RETRY;
    case 1:
        CHECK_STATUS(pipeline_batch_set_rejected(batch, 0), PIPELINE_OK);
        return PIPELINE_STORE_OK;
    case 2:
        return PIPELINE_STORE_REJECT;
    case 3:
        return batch->attempt == 1 ? PIPELINE_STORE_RETRY : take_over(batch);
    default:
        return take_over(batch);
    }
}

static void run(uint64_t batch_bytes)
{
    recorder_t *r = recorder_new();
    transforming_t t = { .decide = change };
    pipeline_storage_t s = recorder_storage(r);
    pipeline_config_t c = config_defaults();
    memset(released, 0, sizeof released);
    s.flags |= PIPELINE_STORAGE_RELEASE_MARKED | PIPELINE_STORAGE_RELEASE_UNSTORED;
    s.release = release;
    s.dead_letter = recorder_dead_letter;
    r->answer = answer_variously;
    c.batch_size = 40;
    c.batch_bytes = batch_bytes;
    c.max_event_bytes = 64;
    c.retry_initial_us = 10;
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    for (uint64_t i = 0; i < EVENTS; i++) {
        pipeline_event_t e = event_of(1, &i, sizeof i);
        e.flags = PIPELINE_EVENT_RELEASE;
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_U64(metrics_of(p).filtered, EVENTS / 10);
    END(p);
    for (size_t i = 0; i < EVENTS; i++)
        CHECK_U64(released[i], 1);
    recorder_free(r);
}

int main(void)
{
    run(262144);
    whole = true;
    run(262144);
    /* In parts. */
    run(500);
    whole = false;
    memset(in_parts, 0, sizeof in_parts);
    return SUMMARY();
}
