/* However a pipeline ends, the storage's destroy runs exactly once, and release runs exactly once for each captured event: after a
 * failed start, close and destroy, destroy alone, and abandon at rest, with a token out, and during a call. */
#include "../recorder.h"

static pipeline_config_t small(void)
{
    pipeline_config_t c = config_defaults();
    c.ring_bytes = 65536;
    c.batch_size = 50;
    c.retry_initial_us = 10;
    return c;
}

/* Never freed, because late calls may still come; kept reachable, so that a search for leaks does not report them. */
static recorder_t *fresh(void)
{
    static recorder_t *volatile kept[256];
    static atomic_size_t count;
    recorder_t *r = recorder_new();
    CHECK_OR_STOP(count < sizeof kept / sizeof *kept);
    kept[count++] = r;
    return r;
}

/* At the end: destroyed once, and each number released once. */
static void check_over(int line, recorder_t *r, uint64_t captured)
{
    int failed = checks_failed;
    WAIT_FOR(RECORDED(r, destroy_calls) == 1);
    pthread_mutex_lock(&r->mutex);
    CHECK_U64(r->released.count, captured);
    CHECK_DISTINCT(&r->released);
    CHECK_VALUES(&r->released, 0, captured);
    pthread_mutex_unlock(&r->mutex);
    if (checks_failed != failed)
        fprintf(stderr, "  checked from line %d\n", line);
}
#define OVER(r, captured) check_over(__LINE__, r, captured)

static pipeline_t *begin(recorder_t *r, const pipeline_config_t *c)
{
    pipeline_storage_t s = recorder_storage(r);
    s.release = recorder_release;
    s.dead_letter = recorder_dead_letter;
    return start_pipeline(c, &s);
}

static void failed_start(void)
{
    recorder_t *r = fresh();
    pipeline_storage_t s = recorder_storage(r);
    pipeline_config_t c = small();
    pipeline_t *p = NULL;
    c.batch_size = 0;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID);
    CHECK(p == NULL);
    OVER(r, 0);
}

static void closed_and_destroyed(void)
{
    recorder_t *r = fresh();
    pipeline_config_t c = small();
    pipeline_t *p = begin(r, &c);
    capture_numbers(p, 0, 500);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(r->destroy_calls, 0);
    CHECK_U64(r->released.count, 500);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    OVER(r, 500);
}

/* Never stored: left in the ring when the pipeline ends. */
static void left_behind(bool abandon)
{
    recorder_t *r = fresh();
    pipeline_config_t c = small();
    pipeline_t *p;
    pipeline_producer_t *handle = NULL;
    uint64_t n;
    c.writers = 0;
    p = begin(r, &c);
    capture_numbers(p, 0, 300);
    CHECK_STATUS(pipeline_producer_open(p, &handle), PIPELINE_OK);
    for (n = 300; n < 500; n++)
        CHECK_STATUS(pipeline_producer_capture(handle, 1, &n, sizeof n), PIPELINE_OK);
    if (abandon)
        CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    else
        DESTROY_SOON(p);
    OVER(r, 500);
    CHECK_U64(r->seen.count, 0);
    n = 7;
    CHECK_STATUS(pipeline_producer_capture(handle, 1, &n, sizeof n), PIPELINE_ERR_CLOSED);
    CHECK_STATUS(pipeline_producer_close(handle), PIPELINE_OK);
}

static int32_t reject_some(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (batch->batch_id % 4 == 0)
        return PIPELINE_STORE_REJECT;
    if (batch->batch_id % 4 == 1 && batch->attempt == 1) {
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count / 2), PIPELINE_OK);
        return PIPELINE_STORE_RETRY;
    }
    if (batch->batch_id % 4 == 2)
        CHECK_STATUS(pipeline_batch_set_rejected(batch, 0), PIPELINE_OK);
    return PIPELINE_STORE_OK;
}

static int32_t dead_some(recorder_t *r, const pipeline_batch_t *batch, int32_t reason)
{
    (void)r;
    (void)reason;
    return batch->batch_id % 8 == 0 ? PIPELINE_STORE_REJECT : 0;
}

static void every_fate(void)
{
    recorder_t *r = fresh();
    pipeline_config_t c = small();
    pipeline_t *p;
    pipeline_metrics_t m;
    r->answer = reject_some;
    r->dead_answer = dead_some;
    p = begin(r, &c);
    capture_together(p, 0, 900);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK(m.stored > 0 && m.dead_lettered > 0 && m.discarded > 0);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    OVER(r, 900);
}

/* drop_oldest: overwritten events are released too, once. */
static void overwritten(bool drained)
{
    recorder_t *r = fresh();
    pipeline_config_t c = small();
    pipeline_t *p;
    pipeline_metrics_t m;
    uint64_t n, captured = 0;
    c.ring_bytes = 4096;
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    p = begin(r, &c);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    for (n = 0; n < 5000; n++) {
        int32_t status = capture_number(p, captured);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
        captured += status == PIPELINE_OK;
        if (n % 500 == 0)
            sched_yield();
    }
    m = metrics_of(p);
    CHECK_U64(m.captured, captured);
    CHECK(m.overwritten > 0);
    CHECK_LEDGER(p);
    if (drained) {
        CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
        m = metrics_of(p);
        CHECK_U64(m.stored + m.overwritten, captured);
        CHECK_U64(r->stored.count, m.stored);
        CHECK_LEDGER(p);
        CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    } else {
        CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    }
    OVER(r, captured);
}

/* An answer is outstanding when the pipeline is abandoned: the teardown waits for it, and for nothing else. */
static atomic_uint_fast64_t token;
static int32_t pending(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    token = batch->token;
    return PIPELINE_STORE_PENDING;
}

static void token_out(int32_t answer)
{
    recorder_t *r = fresh();
    pipeline_config_t c = small();
    pipeline_t *p;
    r->answer = pending;
    token = 0;
    c.max_in_flight = 1;
    p = begin(r, &c);
    capture_numbers(p, 0, 100);
    WAIT_FOR(token != 0 && metrics_of(p).in_flight > 0);
    WAIT_FOR(RECORDED(r, inside) == 0);
    CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "token");
    CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "token");
    CHECK_STATUS(capture_number(p, 100), PIPELINE_ERR_CLOSED);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    CHECK_U64(RECORDED(r, destroy_calls), 0);
    CHECK_STATUS(pipeline_batch_complete(token, answer), PIPELINE_OK);
    CHECK_STATUS(pipeline_batch_complete(token, answer), PIPELINE_ERR_UNKNOWN_TOKEN);
    OVER(r, 100);
}

/* A call runs when the pipeline is abandoned. */
static void during_a_call(bool abandon)
{
    recorder_t *r = fresh();
    pipeline_config_t c = small();
    pipeline_t *p = begin(r, &c);
    recorder_hold(r);
    capture_numbers(p, 0, 200);
    WAIT_FOR(RECORDED(r, waiting) == 1);
    CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "");
    if (abandon)
        CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    CHECK_U64(RECORDED(r, destroy_calls), 0);
    recorder_let_go(r);
    if (!abandon)
        DESTROY_SOON(p);
    OVER(r, 200);
    CHECK_U64(r->store_calls, 1); /* no call begins after the abandon */
}

/* Producers that outlive everything. */
static void producers_last(void)
{
    recorder_t *r = fresh();
    pipeline_config_t c = small();
    pipeline_t *p = begin(r, &c);
    pipeline_producer_t *handles[10];
    uint64_t i;
    void *payload = NULL;
    for (i = 0; i < 10; i++) {
        CHECK_STATUS(pipeline_producer_open(p, &handles[i]), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_capture(handles[i], 1, &i, sizeof i), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_producer_reserve(handles[0], NULL, 64, &payload), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(handles[9]), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    OVER(r, 10);
    memset(payload, 1, 64); /* the handle keeps its memory */
    CHECK_STATUS(pipeline_producer_commit(handles[0], 64), PIPELINE_ERR_CLOSED);
    for (i = 0; i < 9; i++) {
        CHECK_STATUS(pipeline_producer_capture(handles[i], 1, &i, sizeof i), PIPELINE_ERR_CLOSED);
        CHECK_STATUS(pipeline_producer_reserve(handles[i], NULL, 8, &payload), PIPELINE_ERR_CLOSED);
        CHECK_STATUS(pipeline_producer_close(handles[i]), PIPELINE_OK);
    }
}

/* Many at once, ended from many threads. */
static void *churn(void *unused)
{
    int i;
    (void)unused;
    for (i = 0; i < 40; i++) {
        recorder_t *r = fresh();
        pipeline_config_t c = small();
        pipeline_t *p = begin(r, &c);
        capture_numbers(p, 0, 20);
        if (i % 3 == 0)
            END(p);
        else if (i % 3 == 1)
            DESTROY_SOON(p);
        else
            CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
        OVER(r, 20);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[4];
    int i;
    failed_start();
    closed_and_destroyed();
    left_behind(false);
    left_behind(true);
    every_fate();
    overwritten(true);
    overwritten(false);
    token_out(PIPELINE_STORE_OK);
    token_out(PIPELINE_STORE_RETRY);
    token_out(PIPELINE_STORE_REJECT);
    during_a_call(false);
    during_a_call(true);
    producers_last();
    for (i = 0; i < 4; i++)
        threads[i] = start_thread(churn, NULL);
    for (i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return SUMMARY();
}
