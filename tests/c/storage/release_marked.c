/* PIPELINE_STORAGE_RELEASE_MARKED: `release` is called once for each event with PIPELINE_EVENT_RELEASE, however it leaves, and for no
 * other. Without the storage's flag the event's flag has no effect. */
#include "../recorder.h"

enum { EVENTS = 3000 };

/* The event `i` is one of those to be released. */
static bool is_marked(uint64_t i)
{
    return i % 3 == 0;
}

static int32_t offer(pipeline_t *p, uint64_t i)
{
    pipeline_event_t e = { .struct_size = sizeof e, .kind = 1, .data = &i, .len = sizeof i };
    e.flags = is_marked(i) ? PIPELINE_EVENT_RELEASE : 0;
    return pipeline_capture_event(p, &e);
}

/* Every fifth batch goes to the dead letter, of every fourth one an event is rejected, others are tried twice. */
static int32_t answer_variously(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (batch->batch_id % 5 == 0)
        return PIPELINE_STORE_REJECT;
    if (batch->batch_id % 4 == 0)
        CHECK_STATUS(pipeline_batch_set_rejected(batch, batch->count / 2), PIPELINE_OK);
    return batch->batch_id % 3 == 0 && batch->attempt == 1 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static void reset(recorder_t *r)
{
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->seen.count = r->stored.count = r->released.count = r->dead.count = 0;
    r->answer = NULL;
}

static void check_released(recorder_t *r, uint64_t count, bool only_marked)
{
    CHECK_DISTINCT(&r->released);
    CHECK_U64(r->released.count, count);
    for (size_t i = 0; only_marked && i < r->released.count; i++) {
        CHECK(is_marked(r->released.at[i].value));
        CHECK_U64(r->released.at[i].flags, PIPELINE_EVENT_RELEASE);
    }
}

static pipeline_t *start(recorder_t *r, uint32_t flags, uint32_t overflow, uint32_t writers)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(r);
    reset(r);
    s.flags |= flags;
    s.dead_letter = recorder_dead_letter;
    s.release = recorder_release;
    c.batch_size = 64;
    c.writers = writers;
    c.retry_initial_us = 10;
    c.overflow = overflow;
    c.ring_bytes = overflow == PIPELINE_OVERFLOW_DROP_OLDEST ? 16384 : 1 << 20;
    return start_pipeline(&c, &s);
}

/* Stored, retried, dead-lettered. */
static void settled(uint32_t flags)
{
    static recorder_t r;
    pipeline_t *p = start(&r, flags, PIPELINE_OVERFLOW_DROP_NEWEST, 2);
    r.answer = answer_variously;
    for (uint64_t i = 0; i < EVENTS; i++)
        CHECK_STATUS(offer(p, i), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK(r.dead.count > 0);
    bool only_marked = flags & PIPELINE_STORAGE_RELEASE_MARKED;
    check_released(&r, only_marked ? (EVENTS + 2) / 3 : EVENTS, only_marked);
}

/* Overwritten events, and events that are left at the end. */
static void overwritten(uint32_t flags)
{
    static recorder_t r;
    pipeline_metrics_t m = { .struct_size = sizeof m };
    pipeline_t *p = start(&r, flags, PIPELINE_OVERFLOW_DROP_OLDEST, 0);
    uint64_t marked = 0;
    for (uint64_t i = 0; i < EVENTS; i++)
        marked += offer(p, i) == PIPELINE_OK && is_marked(i);
    CHECK_STATUS(pipeline_metrics(p, &m), PIPELINE_OK);
    CHECK(m.overwritten > 0 || !(flags & PIPELINE_STORAGE_RELEASE_ANYWHERE));
    CHECK_STATUS(pipeline_close(p, 0), PIPELINE_ERR_TIMEOUT);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_U64(r.seen.count, 0);
    check_released(&r, marked, true);
}

int main(void)
{
    settled(PIPELINE_STORAGE_RELEASE_MARKED);
    settled(0);
    overwritten(PIPELINE_STORAGE_RELEASE_MARKED | PIPELINE_STORAGE_RELEASE_ANYWHERE);
    overwritten(PIPELINE_STORAGE_RELEASE_MARKED);
    return SUMMARY();
}
