/* A storage whose dead_letter or release does not return: health names the call, and another writer goes on storing. */
#include "../health/health.h"

static atomic_int dead_hangs, release_hangs;

static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)batch;
    (void)reason;
    while (dead_hangs)
        pause_a_little();
    return 0;
}

static void release(void *user_data, const pipeline_event_view_t *event)
{
    (void)user_data;
    (void)event;
    while (release_hangs)
        pause_a_little();
}

static void hangs_in(atomic_int *word, const char *words)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(PIPELINE_STORAGE_CONCURRENT);
    pipeline_t *p;
    s.dead_letter = dead_letter;
    s.release = release;
    p = start_pipeline(&c, &s);
    act = word == &dead_hangs ? REJECTS : WORKS;
    *word = 1;
    CHECK_STATUS(capture_number(p, 0), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writers_stuck == 1);
    CHECK_HAS(health_of(p).message, words);
    WAIT_FOR(metrics_of(p).writers_live == 2);
    act = WORKS;
    if (word == &dead_hangs) {
        capture_numbers(p, 1, 101);
        WAIT_FOR(metrics_of(p).stored == 100);
    }
    CHECK_LEDGER(p);
    *word = 0;
    HEALTHY(p);
    WAIT_FOR(metrics_of(p).writers_live == 1);
    END(p);
}

int main(void)
{
    hangs_in(&dead_hangs, "writer 0 is stuck in dead_letter with batch 1 for ");
    hangs_in(&release_hangs, "writer 0 is stuck in release with batch 1 for ");
    return SUMMARY();
}
