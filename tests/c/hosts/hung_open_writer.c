/* A storage whose open_writer does not return: health names the call, another writer opens in its place and stores, and the number of
 * such writers is bounded. A close_writer that does not return is named as well. */
#include "../health/health.h"

static atomic_int hanging, hangs, calls;

static int32_t open_writer(void *user_data, uint32_t writer_id, void **writer_data)
{
    (void)user_data;
    (void)writer_id;
    (void)writer_data;
    calls++;
    if (hangs > 0) {
        hangs--;
        hanging++;
        while (hanging > 0 && act != WORKS)
            pause_a_little();
    }
    return 0;
}

static void close_writer(void *user_data, uint32_t writer_id, void *writer_data)
{
    (void)user_data;
    (void)writer_id;
    (void)writer_data;
    while (act == HANGS)
        pause_a_little();
}

/* The first call hangs, the others do not. */
static void the_first_writer(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(PIPELINE_STORAGE_CONCURRENT);
    pipeline_t *p;
    s.open_writer = open_writer;
    act = PENDS;
    hangs = 1;
    p = start_pipeline(&c, &s);
    WAIT_FOR(health_of(p).writers_stuck == 1);
    CHECK(health_of(p).status != PIPELINE_HEALTHY);
    CHECK(health_of(p).reasons & PIPELINE_HEALTH_STUCK);
    CHECK_HAS(health_of(p).message, "writer 0 is stuck in open_writer for ");
    CHECK_U64(metrics_of(p).writers_stuck, 1);
    /* Another takes its place. */
    WAIT_FOR(metrics_of(p).writers_live == 2);
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(pending == 1);
    CHECK_STATUS(pipeline_batch_complete(tokens[0], PIPELINE_STORE_OK), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).stored == 1);
    act = WORKS;
    HEALTHY(p);
    WAIT_FOR(metrics_of(p).writers_live == 1);
    END(p);
    CHECK_U64(calls, 2);
}

/* Each call hangs: so many writers get another in their place, and no more. */
static void every_writer(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(PIPELINE_STORAGE_CONCURRENT);
    pipeline_t *p;
    pipeline_health_t h;
    uint64_t until;
    s.open_writer = open_writer;
    c.max_in_doubt = 3;
    act = PENDS;
    hangs = 1000;
    calls = 0;
    p = start_pipeline(&c, &s);
    WAIT_FOR(calls == 4);
    WAIT_FOR(health_of(p).writers_stuck == 4);
    /* Time is the subject here: however long they hang, no further writer is opened. */
    until = now_ms() + 200;
    while (now_ms() < until)
        pause_a_little();
    CHECK_U64(calls, 4);
    h = health_of(p);
    CHECK_U64(h.status, PIPELINE_FAILING);
    CHECK_HAS(h.message, "is stuck in open_writer for ");
    CHECK_HAS(h.message, "2 more stuck");
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    CHECK_FAILS(pipeline_flush(p, 50), PIPELINE_ERR_TIMEOUT, "is in open_writer for ");
    hangs = 0;
    act = WORKS;
    HEALTHY(p);
    END(p);
}

/* Without PIPELINE_STORAGE_CONCURRENT there is no substitute; the verdict is that nothing is stored. */
static void a_serial_storage(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    s.open_writer = open_writer;
    act = PENDS;
    hangs = 1;
    p = start_pipeline(&c, &s);
    WAIT_FOR(health_of(p).writers_stuck == 1);
    AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, "writer 0 is stuck in open_writer for ");
    act = WORKS;
    HEALTHY(p);
    END(p);
}

static void at_the_end(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    s.close_writer = close_writer;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).stored == 1);
    act = HANGS;
    CHECK_FAILS(pipeline_close(p, 100), PIPELINE_ERR_TIMEOUT, "writer 0 is in close_writer for ");
    WAIT_FOR(health_of(p).writers_stuck == 1);
    CHECK_HAS(health_of(p).message, "writer 0 is stuck in close_writer for ");
    CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "writer 0 is in close_writer for ");
    act = WORKS;
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

int main(void)
{
    the_first_writer();
    every_writer();
    a_serial_storage();
    at_the_end();
    return SUMMARY();
}
