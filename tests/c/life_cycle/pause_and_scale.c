/* Pause, resume and scale: with no writer events are buffered, with one they drain. Metrics and health show both, and no event is lost
 * when the calls come in random order. */
#include "../recorder.h"

static void pause_and_scale(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = start_pipeline(NULL, &s);
    uint64_t i;
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 100);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_PAUSED, PIPELINE_HEALTH_PAUSED);
    CHECK_U64(health_of(p).status, PIPELINE_DEGRADED);
    CHECK_HAS(health_of(p).message, "paused");
    CHECK_FAILS(pipeline_flush(p, 20), PIPELINE_ERR_TIMEOUT, "100 events");
    CHECK_U64(metrics_of(p).buffered, 100);
    CHECK_U64(RECORDED(&rec, seen.count), 0);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 100);

    CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writers_live == 0);
    capture_numbers(p, 100, 200);
    CHECK_U64(metrics_of(p).buffered, 100);
    CHECK_U64(metrics_of(p).writers_target, 0);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_NO_WRITERS, PIPELINE_HEALTH_NO_WRITERS);
    CHECK_FAILS(pipeline_flush(p, 20), PIPELINE_ERR_TIMEOUT, "100 events");
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 200);

    /* Up and down at random while events come. */
    for (i = 200; i < 3000; i += 20) {
        CHECK_STATUS(pipeline_scale(p, (uint32_t)(i * 7919 / 20 % 6)), PIPELINE_OK);
        capture_numbers(p, i, i + 20);
        if (i % 400 == 0)
            CHECK_STATUS(i % 800 ? pipeline_pause(p) : pipeline_resume(p), PIPELINE_OK);
    }
    END(p);
    CHECK_VALUES(&rec.stored, 0, 3000);
    CHECK_U64(rec.most_inside, 1);
}

int main(void)
{
    pause_and_scale();
    return SUMMARY();
}
