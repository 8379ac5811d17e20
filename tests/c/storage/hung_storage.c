/* A storage that hangs: calls with a timeout return in time, pipeline_close reports the events that are left, and destroy never waits.
 * When the hang ends, everything is accounted for. */
#include "../recorder.h"

static recorder_t rec = RECORDER_INIT;

int main(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pipeline_metrics_t m;
    uint64_t began, taken;
    c.batch_size = 10;
    recorder_hold(&rec);
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 100);
    WAIT_FOR(RECORDED(&rec, waiting) == 1);
    taken = RECORDED(&rec, seen.count); /* the events of the one batch that hangs */
    CHECK(taken >= 1 && taken <= 10);

    began = now_ms();
    CHECK_FAILS(pipeline_flush(p, 50), PIPELINE_ERR_TIMEOUT, "50 ms");
    CHECK(now_ms() >= began + 50);
    m = metrics_of(p);
    CHECK_U64(m.in_flight, taken);
    CHECK_U64(m.buffered, 100 - taken);
    CHECK_LEDGER(p);

    /* Captures are not affected. */
    capture_numbers(p, 100, 200);

    began = now_ms();
    CHECK_FAILS(pipeline_close(p, 100), PIPELINE_ERR_TIMEOUT, "in flight");
    CHECK(now_ms() >= began + 100);
    m = metrics_of(p);
    CHECK_U64(m.in_flight, taken);
    CHECK_U64(m.left, 200 - taken);
    CHECK_U64(m.buffered, 0);
    CHECK_U64(m.stored, 0);
    CHECK_LEDGER(p);
    CHECK_STATUS(capture_number(p, 1), PIPELINE_ERR_CLOSED);
    CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "");
    CHECK_U64(RECORDED(&rec, destroy_calls), 0);

    /* Closing again goes on waiting, and goes on draining once the storage answers. */
    CHECK_FAILS(pipeline_close(p, 20), PIPELINE_ERR_TIMEOUT, "in flight");
    recorder_let_go(&rec);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.stored, 200);
    CHECK_U64(m.left, 0);
    CHECK_U64(m.in_flight, 0);
    CHECK_U64(m.refused_closed, 1);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_U64(rec.destroy_calls, 1);
    CHECK_VALUES(&rec.stored, 0, 200);

    /* The same without a second close: destroy as soon as the hang is over; what is left is not stored. */
    {
        static recorder_t other = RECORDER_INIT;
        s = recorder_storage(&other);
        recorder_hold(&other);
        p = start_pipeline(&c, &s);
        capture_numbers(p, 0, 100);
        WAIT_FOR(RECORDED(&other, waiting) == 1);
        taken = RECORDED(&other, seen.count);
        CHECK_FAILS(pipeline_close(p, 1), PIPELINE_ERR_TIMEOUT, "");
        CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "");
        recorder_let_go(&other);
        WAIT_FOR(metrics_of(p).in_flight == 0);
        m = metrics_of(p);
        CHECK_U64(m.stored, taken);
        CHECK_U64(m.left, 100 - taken);
        CHECK_LEDGER(p);
        DESTROY_SOON(p);
        CHECK_U64(other.destroy_calls, 1);
        CHECK_U64(other.store_calls, 1);
    }

    /* A hanging flush of the storage: the caller's timeout holds. */
    {
        static recorder_t third = RECORDER_INIT;
        s = recorder_storage(&third);
        s.flush = recorder_flush;
        recorder_hold(&third);
        p = start_pipeline(&c, &s);
        capture_numbers(p, 0, 1);
        WAIT_FOR(RECORDED(&third, waiting) == 1);
        CHECK_FAILS(pipeline_flush(p, 20), PIPELINE_ERR_TIMEOUT, "20 ms");
        recorder_let_go(&third);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        CHECK(third.flush_calls >= 1);
        END(p);
    }
    return SUMMARY();
}
