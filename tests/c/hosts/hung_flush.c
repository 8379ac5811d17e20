/* A storage whose flush does not return: health names the call, and another writer goes on storing, even if every flush hangs. */
#include "../health/health.h"

static atomic_int flushes, flush_hangs;

static int32_t flush(void *user_data, int64_t timeout_ms)
{
    (void)user_data;
    (void)timeout_ms;
    flushes++;
    while (flush_hangs)
        pause_a_little();
    return 0;
}

static void *flush_in_vain(void *p)
{
    CHECK_STATUS(pipeline_flush((pipeline_t *)p, 300), PIPELINE_ERR_TIMEOUT);
    return NULL;
}

static void one_flush(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(PIPELINE_STORAGE_CONCURRENT);
    pipeline_t *p;
    s.flush = flush;
    flush_hangs = 1;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(capture_number(p, 0), PIPELINE_OK);
    CHECK_FAILS(pipeline_flush(p, 50), PIPELINE_ERR_TIMEOUT, "writer 0 is in flush for ");
    capture_numbers(p, 1, 101);
    WAIT_FOR(metrics_of(p).stored == 101);
    AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_DEGRADED, "writer 0 is stuck in flush for ");
    CHECK_U64(metrics_of(p).writers_stuck, 1);
    CHECK_U64(metrics_of(p).writers_live, 2);
    flush_hangs = 0;
    HEALTHY(p);
    WAIT_FOR(metrics_of(p).writers_live == 1);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    END(p);
}

/* One writer is always left to store. */
static void every_flush(uint32_t max_in_doubt)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(PIPELINE_STORAGE_CONCURRENT);
    pthread_t callers[8];
    pipeline_t *p;
    int i;
    s.flush = flush;
    c.max_in_doubt = max_in_doubt;
    flush_hangs = 1;
    flushes = 0;
    p = start_pipeline(&c, &s);
    for (i = 0; i < 8; i++)
        callers[i] = start_thread(flush_in_vain, p);
    for (i = 0; i < 8; i++)
        pthread_join(callers[i], NULL);
    capture_numbers(p, 0, 100);
    WAIT_FOR(metrics_of(p).stored == 100);
    CHECK(flushes <= (int)max_in_doubt + 1);
    CHECK(metrics_of(p).writers_live <= max_in_doubt + 1);
    flush_hangs = 0;
    HEALTHY(p);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    END(p);
}

int main(void)
{
    one_flush();
    every_flush(1);
    every_flush(3);
    return SUMMARY();
}
