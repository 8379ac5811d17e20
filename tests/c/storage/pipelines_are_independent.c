/* Pipelines are independent. The storage of one hangs or fails for ever, ends its threads, or never answers; the other pipeline stores
 * every event, its calls succeed, and its metrics show nothing of it. The calls of the broken pipeline keep their timeouts. */
#include "../recorder.h"

enum { THREADS = 3, EVENTS = 20000, FLUSHES = 20 };

/* ---- the storage that is broken ---- */

static atomic_bool broken;
static atomic_int inside;
static atomic_uint kept;
static _Atomic uint64_t tokens[4096];

static int32_t hangs(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    inside++;
    while (broken)
        pause_a_little();
    inside--;
    return PIPELINE_STORE_OK;
}

static int32_t fails(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    return broken ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static int32_t never_answers(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (!broken)
        return PIPELINE_STORE_OK;
    tokens[kept++ % 4096] = batch->token;
    return PIPELINE_STORE_PENDING;
}

static int32_t deadly_store(void *user_data, const pipeline_batch_t *batch)
{
    if (broken)
        pthread_exit(NULL);
    return recorder_store(user_data, batch);
}

/* ---- threads that capture into both ---- */

static pipeline_t *bad, *good;

static void *captures(void *number)
{
    uint64_t first = (uint64_t)(uintptr_t)number * EVENTS, n;
    for (n = first; n < first + EVENTS; n++) {
        int32_t status = capture_number(bad, n);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
        CHECK_STATUS(capture_number(good, n), PIPELINE_OK);
        if (n % (EVENTS / FLUSHES) == 0)
            CHECK_STATUS(pipeline_flush(good, PATIENCE_MS), PIPELINE_OK);
    }
    return NULL;
}

static void beside(recorder_t *bad_rec, recorder_t *good_rec, uint32_t bad_flags,
                   int32_t (*answer)(recorder_t *, const pipeline_batch_t *))
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(bad_rec);
    pipeline_metrics_t m;
    pipeline_health_t h;
    pthread_t threads[THREADS];
    uintptr_t i;
    bool stays;
    broken = true;
    kept = 0;
    c.name = "bad";
    c.writers = 2;
    c.storage_deadline_ms = 20;
    c.retry_max_us = 10000;
    c.ring_bytes = 65536;
    s.flags = bad_flags;
    if (answer == NULL)
        s.store = deadly_store;
    bad_rec->answer = answer;
    bad = start_pipeline(&c, &s);

    c = config_defaults();
    c.name = "good";
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = (uint64_t)PATIENCE_MS * 1000;
    s = recorder_storage(good_rec);
    s.flush = recorder_flush;
    good = start_pipeline(&c, &s);

    /* It is broken before anything else happens. */
    CHECK_STATUS(capture_number(bad, 0), PIPELINE_OK);
    WAIT_FOR(health_of(bad).status != PIPELINE_HEALTHY);

    for (i = 0; i < THREADS; i++)
        threads[i] = start_thread(captures, (void *)i);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    /* The good one: its metrics show its own events, and no others. */
    CHECK_STATUS(pipeline_flush(good, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(good);
    CHECK_U64(m.offered, (uint64_t)THREADS * EVENTS);
    CHECK_U64(m.stored, (uint64_t)THREADS * EVENTS);
    CHECK_U64(m.retries + m.bad_results + m.writer_restarts + m.writers_stuck + m.in_doubt, 0);
    CHECK_U64(m.circuit + m.circuit_openings + m.circuit_probes, 0);
    CHECK_U64(m.rings_retired, 0);
    CHECK_U64(m.writers_live, 1);
    h = health_of(good);
    CHECK_U64(h.status, PIPELINE_HEALTHY);
    CHECK_U64(h.faults, 0);
    CHECK(good_rec->flush_calls >= 1);

    /* The bad one: every call keeps its timeout, or does not wait. */
    CHECK(health_of(bad).status != PIPELINE_HEALTHY);
    CHECK_FAILS(pipeline_flush(bad, 30), PIPELINE_ERR_TIMEOUT, "30 ms");
    CHECK_FAILS(pipeline_flush(bad, 0), PIPELINE_ERR_TIMEOUT, "");
    CHECK_STATUS(pipeline_scale(bad, 3), PIPELINE_OK);
    CHECK_STATUS(pipeline_pause(bad), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(bad), PIPELINE_OK);
    memset(&c, 0, sizeof c);
    c.struct_size = sizeof c;
    CHECK_STATUS(pipeline_config_read(bad, &c), PIPELINE_OK);
    c.batch_size = 100;
    CHECK_STATUS(pipeline_update(bad, &c), PIPELINE_OK);
    m = metrics_of(bad);
    CHECK_U64(m.stored, 0);
    CHECK_U64(m.captured + m.dropped_full, (uint64_t)THREADS * EVENTS + 1);
    CHECK_FAILS(pipeline_close(bad, 30), PIPELINE_ERR_TIMEOUT, "pipeline_close");
    CHECK_LEDGER(bad);

    /* Another one can be started, used and ended beside it, and the good one ended. */
    {
        recorder_t *third = recorder_new();
        pipeline_t *p;
        s = recorder_storage(third);
        p = start_pipeline(NULL, &s);
        capture_numbers(p, 0, 1000);
        END(p);
        CHECK_VALUES(&third->stored, 0, 1000);
        recorder_free(third);
    }
    END(good);
    CHECK_U64(good_rec->destroy_calls, 1);
    CHECK_VALUES(&good_rec->stored, 0, (uint64_t)THREADS * EVENTS);

    /* Abandoned: the end of the last call or token frees it. */
    stays = inside > 0 || kept > 0;
    if (stays)
        CHECK_FAILS(pipeline_destroy(bad), PIPELINE_ERR_BUSY, "");
    CHECK_STATUS(pipeline_abandon(bad), PIPELINE_OK);
    if (stays)
        CHECK_U64(RECORDED(bad_rec, destroy_calls), 0);
    broken = false;
    for (i = 0; i < kept; i++)
        CHECK_STATUS(pipeline_batch_complete(tokens[i], PIPELINE_STORE_OK), PIPELINE_OK);
    WAIT_FOR(RECORDED(bad_rec, destroy_calls) == 1);
    CHECK_DISTINCT(&bad_rec->stored);
}

/* One of eight hangs, one is paused, one is closed: the others do not notice. */
static void eight(void)
{
    recorder_t *recs[8];
    pipeline_t *ps[8];
    size_t i;
    for (i = 0; i < 8; i++) {
        pipeline_storage_t s;
        recs[i] = recorder_new();
        s = recorder_storage(recs[i]);
        ps[i] = start_pipeline(NULL, &s);
    }
    recorder_hold(recs[0]);
    capture_numbers(ps[0], 0, 10);
    WAIT_FOR(RECORDED(recs[0], waiting) == 1);
    CHECK_STATUS(pipeline_pause(ps[1]), PIPELINE_OK);
    capture_numbers(ps[1], 0, 10);
    END(ps[2]);
    for (i = 3; i < 8; i++) {
        capture_numbers(ps[i], i * 100, i * 100 + 50);
        CHECK_STATUS(pipeline_flush(ps[i], PATIENCE_MS), PIPELINE_OK);
        CHECK_VALUES(&recs[i]->stored, i * 100, i * 100 + 50);
        END(ps[i]);
        CHECK_U64(recs[i]->destroy_calls, 1);
    }
    CHECK_U64(metrics_of(ps[1]).buffered, 10);
    CHECK_U64(RECORDED(recs[0], stored.count), 0);
    recorder_let_go(recs[0]);
    END(ps[0]);
    END(ps[1]);
    CHECK_VALUES(&recs[0]->stored, 0, 10);
    CHECK_VALUES(&recs[1]->stored, 0, 10);
    for (i = 0; i < 8; i++)
        recorder_free(recs[i]);
}

int main(void)
{
    static recorder_t rec[10];
    static const recorder_t fresh = RECORDER_INIT;
    int i;
    for (i = 0; i < 10; i++)
        rec[i] = fresh;
    beside(&rec[0], &rec[1], 0, hangs);
    beside(&rec[2], &rec[3], PIPELINE_STORAGE_CONCURRENT, hangs);
    beside(&rec[4], &rec[5], 0, fails);
    beside(&rec[6], &rec[7], 0, never_answers);
    beside(&rec[8], &rec[9], 0, NULL);
    eight();
    return SUMMARY();
}
