/* PIPELINE_STORAGE_RELEASE_UNSTORED: `release` is called for every event but those of a batch that was answered OK as a whole. So such a batch
 * is exchanged for the next one although its events are to be released. */
#include "kept_batches.h"

enum { EVENTS = 3000 };

static bool own[EVENTS];    /* events that the storage releases by itself */

static void capture_marked(pipeline_t *p, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        pipeline_event_t e = { .struct_size = sizeof e, .kind = 1, .data = &i, .len = sizeof i };
        e.flags = PIPELINE_EVENT_RELEASE;
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
}

/* The storage has stored the whole batch. */
static int32_t take_over(const pipeline_batch_t *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        uint64_t value;
        memcpy(&value, PIPELINE_BATCH_EVENT(batch, i)->data, sizeof value);
        CHECK(!own[value]);
        own[value] = true;
    }
    return PIPELINE_STORE_OK;
}

/* Every event was released once: by the storage, or by the library. */
static void check_released(recorder_t *r, size_t captured)
{
    size_t owned = 0, both = 0;
    for (size_t i = 0; i < captured; i++)
        owned += own[i];
    CHECK_DISTINCT(&r->released);
    CHECK_U64(r->released.count + owned, captured);
    for (size_t i = 0; i < r->released.count; i++)
        both += own[r->released.at[i].value];
    CHECK_U64(both, 0);
}

static pipeline_t *start(recorder_t *r, pipeline_config_t *c)
{
    pipeline_storage_t s = recorder_storage(r);
    s.flags |= PIPELINE_STORAGE_CONCURRENT | PIPELINE_STORAGE_RELEASE_MARKED | PIPELINE_STORAGE_RELEASE_UNSTORED |
        PIPELINE_STORAGE_RELEASE_ANYWHERE;
    s.dead_letter = recorder_dead_letter;
    s.release = recorder_release;
    c->retry_initial_us = 10;
    return start_pipeline(c, &s);
}

static bool in_parts[EVENTS + 1];   /* batches of which a part was stored before, by their ids; a batch has an event at least */

/* Every seventh batch goes to the dead letter, of every fifth an event is rejected, every fourth is stored in two parts; of the others,
 * every third is tried twice. */
static int32_t answer_variously(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (batch->batch_id % 7 == 0)
        return PIPELINE_STORE_REJECT;
    if (batch->batch_id % 5 == 0) {
        CHECK_STATUS(pipeline_batch_set_rejected(batch, batch->count / 2), PIPELINE_OK);
        return PIPELINE_STORE_OK;
    }
    if (batch->batch_id % 4 == 0) {
        if (batch->attempt > 1)
            return in_parts[batch->batch_id] ? PIPELINE_STORE_OK : take_over(batch);
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count / 2), PIPELINE_OK);
        in_parts[batch->batch_id] = batch->count > 1;
        return PIPELINE_STORE_RETRY;
    }
    if (batch->batch_id % 3 == 0 && batch->attempt == 1)
        return PIPELINE_STORE_RETRY;
    return take_over(batch);
}

static int32_t try_again(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    return PIPELINE_STORE_RETRY;
}

static void settled(void)
{
    static recorder_t r = RECORDER_INIT;
    pipeline_config_t c = config_defaults();
    memset(own, 0, sizeof own);
    r.answer = answer_variously;
    c.batch_size = 16;
    c.writers = 1;
    pipeline_t *p = start(&r, &c);
    capture_marked(p, 0, EVENTS);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK(r.dead.count > 0 && r.released.count > r.dead.count && r.released.count < EVENTS);
    check_released(&r, EVENTS);
}

/* The answer by token: the next batch comes in exchange. Events that are left are released by the library. */
static void exchanged(void)
{
    static recorder_t r = RECORDER_INIT;
    pipeline_config_t c = config_defaults();
    pipeline_writer_metrics_t m = { .struct_size = sizeof m };
    const pipeline_batch_t *next = NULL;
    int32_t status;
    memset(own, 0, sizeof own);
    r.answer = keep;
    c.batch_size = 10;
    c.max_in_flight = 1;
    c.writers = 1;
    pipeline_t *p = start(&r, &c);
    capture_marked(p, 0, 1);
    WAIT_FOR(count_kept() == 1);
    const pipeline_batch_t *batch = take_kept(0);
    capture_marked(p, 1, 41);
    /* Before store has returned, an exchange returns no batch. */
    WAIT_FOR(pipeline_writer_metrics(p, 0, &m) == PIPELINE_OK && m.state != PIPELINE_WRITER_IN_CALL);
    for (int i = 0; i < 4; i++) {
        const uint64_t token = batch->token;
        take_over(batch);
        do
            status = pipeline_batch_exchange(token, PIPELINE_STORE_OK, &next);
        while (status == PIPELINE_ERR_BUSY);
        CHECK_STATUS(status, PIPELINE_OK);
        CHECK_OR_STOP(next != NULL);
        CHECK_U64(next->count, 10);
        batch = next;
    }
    CHECK_U64(RECORDED(&r, store_calls), 1);
    CHECK_U64(RECORDED(&r, released.count), 0);
    /* The last one is given back, tried in vain from then on, and left with a new one behind it. */
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    r.answer = try_again;
    CHECK_STATUS(pipeline_batch_complete(batch->token, PIPELINE_STORE_RETRY), PIPELINE_OK);
    capture_marked(p, 41, 50);
    CHECK_STATUS(pipeline_close(p, 0), PIPELINE_ERR_TIMEOUT);
    DESTROY_SOON(p);
    CHECK_U64(r.released.count, 19);
    check_released(&r, 50);
}

int main(void)
{
    settled();
    exchanged();
    return SUMMARY();
}
