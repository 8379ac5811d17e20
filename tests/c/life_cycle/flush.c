/* pipeline_flush waits for the events captured before it, and returns the status of the storage's flush. It goes on if another writer
 * dies, and each of many threads that flush at once finds its own events stored. */
#include "../recorder.h"

static void flush_waits_for_what_was_captured_before(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p;
    int i;
    s.flush = recorder_flush;
    p = start_pipeline(NULL, &s);
    for (i = 0; i < 200; i++) {
        capture_numbers(p, (uint64_t)i * 5, (uint64_t)i * 5 + 5);
        CHECK_STATUS(pipeline_flush(p, i % 2 ? -1 : PATIENCE_MS), PIPELINE_OK);
        CHECK_U64(RECORDED(&rec, stored.count), (uint64_t)i * 5 + 5);
        CHECK_STATUS(pipeline_flush(p, 0), PIPELINE_OK);
    }
    CHECK(rec.flush_calls >= 200);
    /* A storage's flush may return any negative status; a positive one is a failure of the storage. */
    rec.flush_answer = PIPELINE_ERR_STORAGE;
    CHECK_FAILS(pipeline_flush(p, PATIENCE_MS), PIPELINE_ERR_STORAGE, "flush");
    rec.flush_answer = 5;
    CHECK_FAILS(pipeline_flush(p, PATIENCE_MS), PIPELINE_ERR_STORAGE, "5");
    rec.flush_answer = -777;
    CHECK_FAILS(pipeline_flush(p, PATIENCE_MS), -777, "-777");
    rec.flush_answer = 0;
    END(p);
}

/* A writer dies while another one is in flush: that flush goes on, and is not called again. */
static atomic_int flush_calls, flush_held, deadly;
static int32_t held_flush(void *user_data, int64_t timeout_ms)
{
    (void)user_data;
    (void)timeout_ms;
    flush_calls++;
    while (flush_held)
        pause_a_little();
    return 0;
}

static int32_t dies_if_told(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    if (atomic_exchange(&deadly, 0))
        pthread_exit(NULL);
    return PIPELINE_STORE_OK;
}

static void *flushes(void *p)
{
    CHECK_STATUS(pipeline_flush((pipeline_t *)p, PATIENCE_MS), PIPELINE_OK);
    return NULL;
}

static void a_death_beside_a_flush(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pthread_t thread;
    uint64_t n;
    c.writers = 2;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    s.flush = held_flush;
    rec.answer = dies_if_told;
    flush_held = 1;
    p = start_pipeline(&c, &s);
    thread = start_thread(flushes, p);
    WAIT_FOR(flush_calls == 1);
    deadly = 1;
    /* Each capture wakes a writer once more. */
    for (n = 0; n < 20; n++) {
        capture_numbers(p, n, n + 1);
        WAIT_FOR(metrics_of(p).stored == n + 1);
    }
    CHECK_U64(metrics_of(p).writer_restarts, 1);
    CHECK_U64(flush_calls, 1);
    flush_held = 0;
    pthread_join(thread, NULL);
    END(p);
}

/* Many threads capture and flush at once. A thread whose flush has returned finds its own events stored. */
static recorder_t many_rec = RECORDER_INIT;
static pipeline_t *many;
static void *captures_and_flushes(void *kind)
{
    uint32_t k = (uint32_t)(uintptr_t)kind;
    uint64_t n;
    size_t i, mine;
    for (n = 0; n < 300; n++) {
        CHECK_STATUS(pipeline_capture(many, k, &n, sizeof n), PIPELINE_OK);
        if (n % 30 != 29)
            continue;
        CHECK_STATUS(pipeline_flush(many, PATIENCE_MS), PIPELINE_OK);
        pthread_mutex_lock(&many_rec.mutex);
        for (i = mine = 0; i < many_rec.stored.count; i++)
            mine += many_rec.stored.at[i].kind == k;
        pthread_mutex_unlock(&many_rec.mutex);
        CHECK_U64(mine, n + 1);
    }
    return NULL;
}

static void flushes_from_many_threads(void)
{
    pipeline_storage_t s = recorder_storage(&many_rec);
    pthread_t threads[4];
    uintptr_t i;
    many = start_pipeline(NULL, &s);
    for (i = 0; i < 4; i++)
        threads[i] = start_thread(captures_and_flushes, (void *)(i + 1));
    for (i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    END(many);
}

int main(void)
{
    flush_waits_for_what_was_captured_before();
    a_death_beside_a_flush();
    flushes_from_many_threads();
    return SUMMARY();
}
