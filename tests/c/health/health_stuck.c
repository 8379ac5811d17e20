/* Health names calls and answers that take too long: the writer, the call, the batch, and the time. */
#include "health.h"

/* One call is stuck. With a concurrent storage another writer goes on. */
static void a_stuck_writer(uint32_t flags)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(flags);
    pipeline_t *p = start_pipeline(&c, &s);
    pipeline_health_t h;
    uint64_t before;
    act = HANGS;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).in_doubt == 1);
    /* (Until there is a substitute, every writer is stuck.) */
    WAIT_FOR(flags == 0 || metrics_of(p).writers_live == 2);
    h = AILS(p, PIPELINE_HEALTH_STUCK, flags ? PIPELINE_DEGRADED : PIPELINE_FAILING,
             "writer 0 is stuck in store with batch 1 for ");
    CHECK_U64(h.writers_stuck, 1);
    CHECK_U64(h.stuck_writer, 0);
    CHECK_U64(h.stuck_batch, 1);
    CHECK(h.stuck_ns >= 20000000);
    before = h.stuck_ns;
    WAIT_FOR(health_of(p).stuck_ns > before + 1100000000u);
    CHECK_HAS(health_of(p).message, "for 1.");
    act = WORKS;
    HEALTHY(p);
    END(p);
}

static void many_stuck_writers(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(PIPELINE_STORAGE_CONCURRENT);
    pipeline_t *p;
    pipeline_health_t h;
    int i;
    c.writers = 5;
    c.batch_size = 1;
    c.max_in_doubt = 0; /* no substitutes */
    p = start_pipeline(&c, &s);
    act = HANGS;
    for (i = 0; i < 5; i++)
        CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(inside == 5);
    WAIT_FOR(health_of(p).writers_stuck == 5);
    h = AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, " is stuck in store with batch ");
    CHECK_HAS(h.message, ", 3 more stuck");
    act = WORKS;
    HEALTHY(p);
    END(p);
}

static atomic_int dead_hangs, flush_hangs, release_hangs, released;

static void hang_while(atomic_int *word)
{
    inside++;
    while (*word)
        pause_a_little();
    inside--;
}

static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)batch;
    (void)reason;
    hang_while(&dead_hangs);
    return 0;
}

static int32_t flush(void *user_data, int64_t timeout_ms)
{
    (void)user_data;
    (void)timeout_ms;
    hang_while(&flush_hangs);
    return 0;
}

static void release(void *user_data, const pipeline_event_view_t *event)
{
    (void)user_data;
    (void)event;
    hang_while(&release_hangs);
    released++;
}

/* The other calls that can be stuck. */
static void stuck_elsewhere(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    s.dead_letter = dead_letter;
    s.flush = flush;
    s.release = release;
    p = start_pipeline(&c, &s);
    act = REJECTS;
    dead_hangs = 1;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(health_of(p).writers_stuck == 1);
    WAIT_FOR(metrics_of(p).in_doubt == 1);
    CHECK_U64(AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, "writer 0 is stuck in dead_letter with batch 1 for ").stuck_batch, 1);
    dead_hangs = 0;
    HEALTHY(p);
    WAIT_FOR(released == 1); /* otherwise this call would hang instead */
    act = WORKS;
    release_hangs = 1;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(health_of(p).writers_stuck == 1);
    AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, "writer 0 is stuck in release with batch 2 for ");
    release_hangs = 0;
    HEALTHY(p);
    flush_hangs = 1;
    CHECK_FAILS(pipeline_flush(p, 50), PIPELINE_ERR_TIMEOUT, "50 ms");
    WAIT_FOR(health_of(p).writers_stuck == 1);
    CHECK_U64(AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, "writer 0 is stuck in flush for ").stuck_batch, 0);
    flush_hangs = 0;
    HEALTHY(p);
    END(p);
}

/* Answers that do not come: health is degraded while other batches may be in flight, and failing when none may. */
static void pending_answers(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    pipeline_health_t h;
    c.max_in_flight = 1;
    c.max_in_doubt = 1;
    p = start_pipeline(&c, &s);
    act = PENDS;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).in_doubt == 1);
    h = AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_DEGRADED, "batch 1 of writer 0 awaits its answer for ");
    CHECK_U64(h.writers_stuck, 0);
    CHECK_U64(h.stuck_batch, 1);
    CHECK(h.stuck_ns >= 20000000);
    CHECK_STATUS(capture_number(p, 2), PIPELINE_OK);
    WAIT_FOR(pending == 2);
    WAIT_FOR(health_of(p).status == PIPELINE_FAILING);
    h = AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, "batch 2 of writer 0 awaits its answer for ");
    CHECK_U64(h.stuck_batch, 1);
    act = WORKS;
    CHECK_STATUS(pipeline_batch_complete(tokens[1], PIPELINE_STORE_OK), PIPELINE_OK);
    WAIT_FOR(health_of(p).status == PIPELINE_DEGRADED);
    CHECK_STATUS(pipeline_batch_complete(tokens[0], PIPELINE_STORE_OK), PIPELINE_OK);
    HEALTHY(p);
    END(p);
}

int main(void)
{
    a_stuck_writer(0);
    a_stuck_writer(PIPELINE_STORAGE_CONCURRENT);
    many_stuck_writers();
    stuck_elsewhere();
    pending_answers();
    return SUMMARY();
}
