/* A serial storage never has two calls at once; a concurrent one does. Writers open, carry their data and close. A stuck call gets a
 * substitute writer only if calls may overlap. */
#include "../recorder.h"

/* Waits inside store until `extra` calls are inside together: proof of overlap that needs no clock. */
static int32_t meet(recorder_t *r, const pipeline_batch_t *batch)
{
    uint64_t deadline = now_ms() + PATIENCE_MS;
    (void)batch;
    pthread_mutex_lock(&r->mutex);
    while (r->most_inside < (int)(intptr_t)r->extra && now_ms() < deadline) {
        pthread_mutex_unlock(&r->mutex);
        pause_a_little();
        pthread_mutex_lock(&r->mutex);
    }
    pthread_mutex_unlock(&r->mutex);
    return PIPELINE_STORE_OK;
}

static void concurrent_calls_overlap(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    c.writers = 4;
    c.batch_size = 10;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    rec.answer = meet;
    rec.extra = (void *)4;
    p = start_pipeline(&c, &s);
    capture_together(p, 0, 400);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(rec.most_inside, 4);
    END(p);
    CHECK_VALUES(&rec.stored, 0, 400);
}

/* Four writers, many threads that flush, rejected batches for the dead letter, and retries: never two calls at once. */
static int32_t varied(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    sched_yield();
    if (batch->batch_id % 3 == 0)
        return PIPELINE_STORE_REJECT;
    return batch->batch_id % 3 == 1 && batch->attempt == 1 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static void *flushing(void *p)
{
    int i;
    for (i = 0; i < 30; i++)
        CHECK_STATUS(pipeline_flush((pipeline_t *)p, PATIENCE_MS), PIPELINE_OK);
    return NULL;
}

static void serial_calls_never_overlap(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pthread_t threads[3];
    int i;
    c.writers = 4;
    c.batch_size = 16;
    c.retry_initial_us = 5;
    s.flush = recorder_flush;
    s.dead_letter = recorder_dead_letter;
    rec.answer = varied;
    p = start_pipeline(&c, &s);
    for (i = 0; i < 3; i++)
        threads[i] = start_thread(flushing, p);
    for (i = 0; i < 8000; i++) {
        CHECK_STATUS(capture_number(p, (uint64_t)i), PIPELINE_OK);
        if (i % 64 == 0)
            sched_yield();
    }
    for (i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_U64(rec.most_inside, 1);
    CHECK(rec.flush_calls >= 90);
    CHECK(rec.dead_calls > 0);
    CHECK_U64(metrics_of(p).stored + metrics_of(p).dead_lettered, 8000);
    CHECK_U64(rec.stored.count, metrics_of(p).stored);
    CHECK_U64(rec.dead.count, metrics_of(p).dead_lettered);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

/* Each writer's batches carry the data of its open_writer; each open has its close. */
static void writer_data(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    size_t i;
    c.writers = 3;
    c.batch_size = 8;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    s.open_writer = recorder_open;
    s.close_writer = recorder_close;
    p = start_pipeline(&c, &s);
    WAIT_FOR(RECORDED(&rec, opened) == 3);
    capture_numbers(p, 0, 2000);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    WAIT_FOR(RECORDED(&rec, closed) == 2);
    capture_numbers(p, 2000, 3000);
    CHECK_STATUS(pipeline_scale(p, 5), PIPELINE_OK);
    WAIT_FOR(RECORDED(&rec, opened) == 7);
    capture_numbers(p, 3000, 5000);
    END(p);
    CHECK_U64(rec.opened, 7);
    CHECK_U64(rec.closed, 7);
    for (i = 0; i < rec.seen.count; i++)
        CHECK(rec.seen.at[i].writer_data == &recorder_words[rec.seen.at[i].writer_id % 256]);
    CHECK_VALUES(&rec.stored, 0, 5000);
}

/* open_writer fails at first: no event is stored or lost, health gives the reason, and the call is repeated. */
static void a_writer_that_cannot_open(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p;
    pipeline_health_t h;
    s.open_writer = recorder_open;
    s.close_writer = recorder_close;
    rec.open_failures = UINT64_MAX;
    p = start_pipeline(NULL, &s);
    capture_numbers(p, 0, 100);
    WAIT_FOR(RECORDED(&rec, open_failures) < UINT64_MAX - 2);
    h = health_of(p);
    CHECK_U64(h.reasons & PIPELINE_HEALTH_WRITER_OPEN, PIPELINE_HEALTH_WRITER_OPEN);
    CHECK_U64(h.status, PIPELINE_FAILING);
    CHECK_HAS(h.message, "open");
    CHECK_FAILS(pipeline_flush(p, 20), PIPELINE_ERR_TIMEOUT, "100 events");
    CHECK_U64(metrics_of(p).buffered, 100);
    CHECK_U64(RECORDED(&rec, seen.count), 0);
    pthread_mutex_lock(&rec.mutex);
    rec.open_failures = 1;
    pthread_mutex_unlock(&rec.mutex);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 100);
    CHECK_U64(health_of(p).status, PIPELINE_HEALTHY);
    END(p);
    CHECK_U64(rec.opened, 1);
    CHECK_U64(rec.closed, 1);
}

/* The first call hangs past the deadline: with a concurrent storage another writer takes over, the batch is in doubt,
 * health says so, and the late answer is honoured. */
static atomic_bool hang;
static int32_t first_hangs(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (batch->batch_id == 1)
        while (hang)
            pause_a_little();
    return PIPELINE_STORE_OK;
}

static void a_stuck_call(recorder_t *rec, bool concurrent)
{
    pipeline_storage_t s = recorder_storage(rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pipeline_metrics_t m;
    pipeline_health_t h;
    c.storage_deadline_ms = 20;
    s.flags = concurrent ? PIPELINE_STORAGE_CONCURRENT : 0;
    rec->answer = first_hangs;
    hang = true;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 10);
    WAIT_FOR(metrics_of(p).in_doubt > 0);
    WAIT_FOR(metrics_of(p).writers_stuck == 1);
    h = health_of(p);
    CHECK_U64(h.reasons & PIPELINE_HEALTH_STUCK, PIPELINE_HEALTH_STUCK);
    CHECK_U64(h.writers_stuck, 1);
    CHECK(h.status != PIPELINE_HEALTHY);
    capture_numbers(p, 10, 100);
    if (concurrent) {
        WAIT_FOR(RECORDED(rec, stored.count) + metrics_of(p).in_doubt == 100);
    } else {
        CHECK_FAILS(pipeline_flush(p, 50), PIPELINE_ERR_TIMEOUT, "in doubt");
        CHECK_U64(RECORDED(rec, stored.count), 0);
    }
    m = metrics_of(p);
    CHECK(m.in_doubt >= 1 && m.in_doubt <= 10);
    CHECK_LEDGER(p);
    hang = false;
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 100);
    CHECK_U64(metrics_of(p).in_doubt, 0);
    WAIT_FOR(metrics_of(p).writers_live == 1);
    CHECK_U64(health_of(p).status, PIPELINE_HEALTHY);
    CHECK_U64(rec->most_inside <= 1, !concurrent);
    END(p);
    CHECK_VALUES(&rec->stored, 0, 100);
}

int main(void)
{
    static recorder_t serial = RECORDER_INIT, parallel = RECORDER_INIT;
    concurrent_calls_overlap();
    serial_calls_never_overlap();
    writer_data();
    a_writer_that_cannot_open();
    a_stuck_call(&serial, false);
    a_stuck_call(&parallel, true);
    return SUMMARY();
}
